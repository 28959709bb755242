//! Which node holds what.

use zookeeper_client::{Acls, CreateMode, CreateOptions};

use crate::codec;

/// The kinds of records that are sharded, and the number of shards of each. Part of the layout: a
/// change needs a new version of it.
const KINDS: [(&str, u32); 7] = [
    ("audit", 1),
    ("deployments", 16),
    ("instances", 256),
    ("modules", 16),
    ("revisions", 64),
    ("tasks", 256),
    ("workloads", 16),
];

/// Kinds that came after the first version of the layout: their directories are made at the start of
/// a term when they are not there. A version of Gantry that does not know them reports each as a record
/// that it leaves out and leaves alone.
const ADDED: [&str; 1] = ["modules"];

/// The paths of what is not sharded: records, and the mark of a replacement.
pub(super) const SINGLE: [&str; 4] = ["access", "brake", "framework", codec::RESTORING_PATH];

/// The nodes below `gantry` that hold no records.
pub(super) const OWN: [&str; 4] = [codec::LAYOUT_PATH, "epoch", "leader", "transactions"];

/// The paths of all nodes of a framework.
#[derive(Debug)]
pub(super) struct Layout {
    root: String,
    // With a slash at the end.
    gantry: String,
    only_us: bool,
}

impl Layout {
    pub(super) fn new(chroot: &str, root: &str, only_us: bool) -> Self {
        let root = format!("{chroot}{root}");
        Self {
            gantry: format!("{root}/gantry/"),
            root,
            only_us,
        }
    }

    pub(super) fn root(&self) -> &str {
        &self.root
    }

    /// The part above the root, if there is one: `/a/b` of `/a/b/c`.
    pub(super) fn above_root(&self) -> Option<&str> {
        let (above, _) = self.root.rsplit_once('/')?;
        (!above.is_empty()).then_some(above)
    }

    /// A node directly below `gantry`.
    pub(super) fn own(&self, name: &str) -> String {
        format!("{}{name}", self.gantry)
    }

    /// `gantry` itself.
    pub(super) fn gantry(&self) -> &str {
        &self.gantry[..self.gantry.len() - 1]
    }

    pub(super) fn epoch(&self) -> String {
        self.own("epoch")
    }

    pub(super) fn transactions(&self) -> String {
        self.own("transactions")
    }

    pub(super) fn leader(&self) -> String {
        self.own("leader")
    }

    /// The nodes that are there as long as the store is, without those that hold others.
    pub(super) fn frame(&self) -> [String; 3] {
        [
            self.own(codec::LAYOUT_PATH),
            self.epoch(),
            self.transactions(),
        ]
    }

    /// The original's node of the framework's id.
    pub(super) fn framework_id(&self) -> String {
        format!("{}/framework-id", self.root)
    }

    /// The original's tasks.
    pub(super) fn original_tasks(&self) -> String {
        format!("{}/tasks", self.root)
    }

    /// The directories of records, each before what lies below it.
    pub(super) fn directories(&self) -> Vec<String> {
        KINDS
            .into_iter()
            .flat_map(|kind| self.directories_of(kind))
            .collect()
    }

    /// The kinds that are among `names` of children of `gantry`: the directory of each, and those in it.
    pub(super) fn kinds(&self, names: &[String]) -> Vec<(String, Vec<String>)> {
        KINDS
            .into_iter()
            .filter(|(kind, _)| names.iter().any(|name| name == kind))
            .map(|(kind, shards)| {
                let shards = (0..shards).map(|shard| self.shard(kind, shard));
                (self.own(kind), shards.collect())
            })
            .collect()
    }

    /// The directories of those kinds that have to be there, and are not among `names` of children of
    /// `gantry`.
    pub(super) fn gone(&self, names: &[String]) -> Vec<String> {
        KINDS
            .into_iter()
            .filter(|(kind, _)| !may_be_missing(kind) && !names.iter().any(|name| name == kind))
            .map(|(kind, _)| self.own(kind))
            .collect()
    }

    /// The directories of those kinds that may be missing, and are not among `names` of children of
    /// `gantry`. All of a kind are made at once.
    pub(super) fn missing(&self, names: &[String]) -> Vec<String> {
        KINDS
            .into_iter()
            .filter(|(kind, _)| may_be_missing(kind) && !names.iter().any(|name| name == kind))
            .flat_map(|kind| self.directories_of(kind))
            .collect()
    }

    fn directories_of(&self, (kind, shards): (&str, u32)) -> Vec<String> {
        let shards = (0..shards).map(|shard| self.shard(kind, shard));
        std::iter::once(self.own(kind)).chain(shards).collect()
    }

    /// All shards.
    pub(super) fn shards(&self) -> impl Iterator<Item = Shard> + '_ {
        KINDS.iter().flat_map(move |&(kind, shards)| {
            (0..shards).map(move |number| Shard {
                kind,
                number,
                node: self.shard(kind, number),
            })
        })
    }

    fn shard(&self, kind: &str, number: u32) -> String {
        format!("{}{kind}/{number:02x}", self.gantry)
    }

    /// The node of a record's path. Every path has one, also such as name no record.
    pub(super) fn node(&self, path: &str) -> String {
        let sharded = path.split_once('/').and_then(|(kind, rest)| {
            let (_, shards) = KINDS.iter().find(|(name, _)| *name == kind)?;
            Some((kind, rest, shard_of(path, *shards)))
        });
        match sharded {
            None => self.own(path),
            Some((kind, rest, shard)) => {
                let mut node = self.shard(kind, shard);
                node.reserve(1 + rest.len());
                node.push('/');
                node.extend(rest.chars().map(|c| if c == '/' { ':' } else { c }));
                node
            }
        }
    }

    /// Whether `name` is that of a kind of records.
    pub(super) fn is_kind(name: &str) -> bool {
        KINDS.iter().any(|(kind, _)| *kind == name)
    }

    /// How to make a lasting node.
    pub(super) fn lasting(&self) -> CreateOptions<'static> {
        CreateMode::Persistent.with_acls(self.access())
    }

    /// Who may do what with our nodes.
    pub(super) fn access(&self) -> Acls<'static> {
        if self.only_us {
            Acls::creator_all()
        } else {
            Acls::anyone_all()
        }
    }

    /// Whether our nodes are for us alone.
    pub(super) fn only_us(&self) -> bool {
        self.only_us
    }
}

/// A directory of records.
#[derive(Clone, Debug)]
pub(super) struct Shard {
    kind: &'static str,
    number: u32,
    node: String,
}

impl Shard {
    /// Its node.
    pub(super) fn node(&self) -> &str {
        &self.node
    }

    /// Whether its records are of a few hundred bytes each, and many; others may have any size.
    pub(super) fn is_of_small_records(&self) -> bool {
        matches!(self.kind, "instances" | "tasks")
    }

    /// Whether its kind is there, going by the names of the children of `gantry`.
    pub(super) fn is_expected(&self, names: &[String]) -> bool {
        names.iter().any(|name| name == self.kind)
    }

    /// The record's path of a child, if that belongs here.
    pub(super) fn path(&self, child: &str) -> Result<String, String> {
        let path = format!("{}/{}", self.kind, child.replace(':', "/"));
        let shards = KINDS
            .iter()
            .find(|(kind, _)| *kind == self.kind)
            .map_or(1, |(_, shards)| *shards);
        if shard_of(&path, shards) == self.number {
            Ok(path)
        } else {
            Err(path)
        }
    }
}

fn may_be_missing(kind: &str) -> bool {
    ADDED.contains(&kind)
}

fn shard_of(path: &str, shards: u32) -> u32 {
    (fingerprint(path) % u64::from(shards)) as u32
}

/// FNV-1a: the same on every machine and in every version.
pub(super) fn fingerprint(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_path_has_one_node_and_comes_back_from_it() {
        let layout = Layout::new("/a", "/dcos-service-x", false);
        assert_eq!(layout.gantry(), "/a/dcos-service-x/gantry");
        assert_eq!(layout.above_root(), Some("/a"));
        assert_eq!(
            layout.node("framework"),
            "/a/dcos-service-x/gantry/framework"
        );
        let shards: Vec<_> = layout.shards().collect();
        assert_eq!(shards.len(), 625);
        for path in [
            "tasks/fw.web-1.x",
            "instances/web/1",
            "revisions/a%2Fb/77",
            "audit/499",
            "modules/leader/state%2Fweb",
        ] {
            let node = layout.node(path);
            let (directory, name) = node.rsplit_once('/').expect("a path");
            let shard = shards.iter().find(|shard| shard.node() == directory);
            let shard = shard.expect("a shard");
            assert_eq!(shard.path(name), Ok(path.to_owned()));
            let other = shards
                .iter()
                .find(|other| other.kind == shard.kind && other.number != shard.number);
            if let Some(other) = other {
                assert_eq!(other.path(name), Err(path.to_owned()));
            }
        }
        // What is written down must be found by every later version.
        assert_eq!(
            layout.node("tasks/fw.web-1.x"),
            "/a/dcos-service-x/gantry/tasks/05/fw.web-1.x"
        );
    }

    #[test]
    fn shards_are_evenly_filled() {
        let mut counts = [0_u32; 256];
        for number in 0..100_000 {
            counts[shard_of(&format!("tasks/fw.web-{number}"), 256) as usize] += 1;
        }
        assert!(
            counts.iter().all(|count| (250..550).contains(count)),
            "{counts:?}"
        );
    }
}

//! Reading everything.

use std::{collections::HashSet, collections::VecDeque};

use futures_util::{StreamExt as _, stream::FuturesOrdered};
use gantry_core::{FrameworkId, FrameworkRecord, Key, Record, TaskId, Timestamp};
use zookeeper_client::{Client, Error, MultiReadResult, Stat};

use super::{
    Shared, import,
    layout::{self, Layout, Shard, fingerprint},
    session::failed,
};
use crate::{Loaded, Rejected, StoreError, codec};

/// Requests that are on the way at once.
const WINDOW: usize = 16;

/// What one answer should not exceed, going by what is known of its nodes. One larger record comes
/// alone.
const ANSWER_BYTES: usize = 256 * 1024;

/// Nodes of one request, as long as nothing is known of them, and at most.
const NODES_FIRST: usize = 32;
const NODES_MAX: usize = 128;

/// What a node has in an answer besides its data.
const NODE_BYTES: usize = 100;

/// Questions for sizes that are on the way at once.
const QUESTIONS: usize = 256;

/// The most names of strangers that are reported.
const STRANGERS_MAX: usize = 100;

/// All that was found.
pub(super) struct Read {
    pub(super) loaded: Loaded,
    /// Fingerprints of the nodes of records that exist.
    pub(super) nodes: HashSet<u64>,
    /// Tasks of the original.
    pub(super) original: Vec<import::Original>,
}

/// What stands below the root.
#[derive(Debug)]
pub(super) enum Found {
    /// Nothing of ours: a new framework, or one of the original.
    Nothing,
    /// A store of this layout.
    Store(u32),
    /// What cannot be told the layout of: good to be replaced or removed, and for nothing else.
    Damaged(Unusable),
}

/// What says nothing about records: who stands in the queue, and which term and transaction were the
/// last.
const LEFT_BEHIND: [&str; 3] = ["leader", "epoch", "transactions"];

/// Looks for the layout.
pub(super) async fn look(client: &Client, shared: &Shared) -> Result<Found, StoreError> {
    let layout = &shared.layout;
    let node = layout.own(codec::LAYOUT_PATH);
    loop {
        match shared.call(client.get_data(&node)).await {
            Ok((bytes, _)) => {
                return match codec::decode_layout(layout.gantry(), &bytes) {
                    Ok(version) => Ok(Found::Store(version)),
                    Err(StoreError::Corrupt { place, reason }) => {
                        Ok(Found::Damaged(Unusable::new(place, reason)))
                    }
                    Err(error) => Err(error),
                };
            }
            Err(Error::NoNode) => {}
            Err(error) => return Err(failed(&format!("read `{node}`"), &error)),
        }
        let children = children(client, shared, layout.gantry()).await?;
        let children = children.unwrap_or_default();
        if children.iter().any(|name| name == codec::LAYOUT_PATH) {
            // Made since we looked.
            continue;
        }
        // What a removal of everything left, by a version that removed these after the layout.
        let says_nothing = |name: &String| LEFT_BEHIND.contains(&name.as_str());
        return match children.iter().find(|name| !says_nothing(name)) {
            None => Ok(Found::Nothing),
            Some(name) => Ok(Found::Damaged(Unusable::new(
                layout.gantry().to_owned(),
                format!("it has `{name}` but no `{}`", codec::LAYOUT_PATH),
            ))),
        };
    }
}

/// Reads everything.
pub(super) async fn everything(client: &Client, shared: &Shared) -> Result<Read, StoreError> {
    let gathered = gather(client, shared).await?;
    let mut loaded = gathered.loading.finish()?;
    if let Some(damage) = gathered.damage.into_iter().next() {
        return Err(damage.into());
    }
    let settled = match gathered.plain {
        Ok(plain) => settle_framework(&shared.layout, &mut loaded, plain),
        Err(unusable) => Err(unusable),
    };
    settled?;
    for task in gathered
        .original
        .iter()
        .filter_map(|task| task.record.as_ref())
    {
        let node = shared
            .layout
            .node(&codec::path(&Key::Task(task.id.clone())));
        if !gathered.nodes.contains(&fingerprint(&node)) {
            loaded.records.push(Record::Task(task.clone()));
        }
    }
    Ok(Read {
        loaded,
        nodes: gathered.nodes,
        original: gathered.original,
    })
}

/// Reads all that can be read, for [`crate::Store::salvage`].
pub(super) async fn salvage(client: &Client, shared: &Shared) -> Result<Loaded, StoreError> {
    let gathered = gather(client, shared).await?;
    let mut loaded = gathered.loading.salvage();
    let settled = match gathered.plain {
        Ok(plain) => settle_framework(&shared.layout, &mut loaded, plain),
        Err(unusable) => Err(unusable),
    };
    let damage = gathered.damage.into_iter().map(|damage| (damage, None));
    let of_framework = settled
        .err()
        .map(|unusable| (unusable, Some(Key::Framework)));
    for (Unusable { place, reason, .. }, of) in damage.chain(of_framework) {
        loaded.rejected.push(Rejected {
            key: place,
            of,
            reason,
        });
    }
    let originals = gathered.original.into_iter();
    let originals = originals.filter_map(|task| task.record.map(Record::Task));
    loaded.records.extend(originals);
    Ok(loaded)
}

/// All that is there.
struct Gathered {
    loading: codec::Loading,
    nodes: HashSet<u64>,
    /// What else makes the whole store unusable.
    damage: Vec<Unusable>,
    /// What the plain node says of the framework.
    plain: Result<Option<FrameworkRecord>, Unusable>,
    original: Vec<import::Original>,
}

/// What makes the whole store unusable.
#[derive(Debug)]
pub(super) struct Unusable {
    place: String,
    reason: String,
    /// It holds nothing: the original, which makes it first and fills it then, died in between.
    is_empty: bool,
}

impl Unusable {
    fn new(place: String, reason: String) -> Self {
        Self {
            place,
            reason,
            is_empty: false,
        }
    }
}

impl From<Unusable> for StoreError {
    fn from(unusable: Unusable) -> Self {
        Self::Corrupt {
            place: unusable.place,
            reason: unusable.reason,
        }
    }
}

async fn gather(client: &Client, shared: &Shared) -> Result<Gathered, StoreError> {
    let found = look(client, shared).await?;
    let place = shared.layout.root();
    let mut reading = Reading {
        client,
        shared,
        nodes: HashSet::new(),
        damage: Vec::new(),
    };
    let (version, mut loading) = match found {
        Found::Nothing => (codec::LAYOUT, codec::Loading::new(place, codec::LAYOUT)),
        Found::Store(version) => (version, reading.records(version).await?),
        Found::Damaged(damage) => {
            reading.damage.push(damage);
            (codec::LAYOUT, reading.records(codec::LAYOUT).await?)
        }
    };
    debug_assert!(version <= codec::LAYOUT);
    let plain = reading.framework_id().await?;
    let mut original = Vec::new();
    let originals = reading.originals().await?;
    let had_tasks = !originals.is_empty();
    for (name, bytes, stat) in originals {
        match import::Original::read(&name, &bytes, &stat) {
            Ok(task) => original.push(task),
            Err(reason) => {
                let task = Key::Task(TaskId::new(name.as_str()));
                let node = shared.layout.node(&codec::path(&task));
                if reading.nodes.contains(&fingerprint(&node)) {
                    // Taken over since, by what Mesos said of it.
                    original.push(import::Original { name, record: None });
                    continue;
                }
                let place = format!("{}/{name}", shared.layout.original_tasks());
                loading.reject_record(Some(task), &place, reason);
            }
        }
    }
    let plain = match plain {
        Err(unusable) if unusable.is_empty && !had_tasks && !loading.may_have_tasks() => Ok(None),
        plain => plain,
    };
    Ok(Gathered {
        loading,
        nodes: reading.nodes,
        damage: reading.damage,
        plain,
        original,
    })
}

/// The plain node and the record must speak of the same framework.
fn settle_framework(
    layout: &Layout,
    loaded: &mut Loaded,
    plain: Option<FrameworkRecord>,
) -> Result<(), Unusable> {
    let ours = loaded.records.iter().find_map(|record| match record {
        Record::Framework(record) => Some(record),
        _ => None,
    });
    match (ours, plain) {
        (None, Some(plain)) => loaded.records.push(Record::Framework(plain)),
        (Some(ours), Some(plain)) if ours.id != plain.id => {
            return Err(Unusable::new(
                layout.framework_id(),
                format!(
                    "it names the framework {}, and `{}` the framework {}: make both the same, or remove both",
                    plain.id,
                    layout.own("framework"),
                    ours.id
                ),
            ));
        }
        _ => {}
    }
    Ok(())
}

/// The children of a node; `None` without the node.
pub(super) async fn children(
    client: &Client,
    shared: &Shared,
    node: &str,
) -> Result<Option<Vec<String>>, StoreError> {
    match shared.call(client.list_children(node)).await {
        Ok(children) => Ok(Some(children)),
        Err(Error::NoNode) => Ok(None),
        Err(error) => Err(failed(&format!("list `{node}`"), &error)),
    }
}

/// A node to be read.
struct Wanted {
    node: String,
    /// What the reader calls it.
    name: String,
    /// What it has in an answer, where that was asked before.
    bytes: Option<usize>,
}

impl Wanted {
    fn new(node: String, name: String) -> Self {
        Self {
            node,
            name,
            bytes: None,
        }
    }
}

/// How many of the next nodes are asked for in one request.
fn together(next: &VecDeque<Wanted>, largest: usize) -> usize {
    let guess = match largest {
        0 => ANSWER_BYTES / NODES_FIRST,
        largest => largest,
    };
    let mut sum = 0;
    let fitting = next.iter().take(NODES_MAX).take_while(|wanted| {
        sum += wanted.bytes.unwrap_or(guess);
        sum <= ANSWER_BYTES
    });
    fitting.count().max(1).min(next.len())
}

struct Reading<'a> {
    client: &'a Client,
    shared: &'a Shared,
    nodes: HashSet<u64>,
    damage: Vec<Unusable>,
}

impl Reading<'_> {
    /// All records below `gantry`.
    async fn records(&mut self, version: u32) -> Result<codec::Loading, StoreError> {
        let layout = &self.shared.layout;
        let mut loading = codec::Loading::new(layout.root(), version);
        let names = children(self.client, self.shared, layout.gantry()).await?;
        let names = names.unwrap_or_default();
        for name in &names {
            if layout::OWN.contains(&name.as_str()) || Layout::is_kind(name) {
                continue;
            }
            if !layout::SINGLE.contains(&name.as_str()) {
                self.stranger(name, &mut loading).await?;
            }
        }
        let mut single: Vec<_> = layout::SINGLE
            .iter()
            .map(|path| Wanted::new(layout.own(path), (*path).to_owned()))
            .collect();
        self.measure(single.iter_mut()).await?;
        self.read(single, |path, bytes, _| loading.entry(&path, &bytes))
            .await?;

        // Made together with the layout, and never removed.
        let gone = layout.gone(&names).into_iter();
        let gone = gone.map(|kind| Unusable::new(kind, "it is gone".to_owned()));
        self.damage.extend(gone);
        let shards: Vec<Shard> = layout
            .shards()
            .filter(|shard| shard.is_expected(&names))
            .collect();
        let lists = self.lists(&shards).await?;
        let mut wanted = Vec::new();
        let mut misplaced = Vec::new();
        let mut of_any_size = Vec::new();
        for (shard, names) in shards.iter().zip(lists) {
            let Some(mut names) = names else {
                // What was in it was removed before it.
                let reason = "it is gone, with all that was in it: who leads next makes it anew";
                loading.reject_record(None, shard.node(), reason.to_owned());
                continue;
            };
            names.sort_unstable();
            for name in names {
                let node = format!("{}/{name}", shard.node());
                match shard.path(&name) {
                    Ok(path) => {
                        if !shard.is_of_small_records() {
                            of_any_size.push(wanted.len());
                        }
                        wanted.push(Wanted::new(node, path));
                    }
                    Err(path) => misplaced.push((path, node)),
                }
            }
        }
        let mut of_any_size = of_any_size.into_iter().peekable();
        let measured = wanted
            .iter_mut()
            .enumerate()
            .filter_map(|(index, wanted)| of_any_size.next_if_eq(&index).map(|_| wanted));
        self.measure(measured).await?;
        self.nodes.reserve(wanted.len());
        self.read(wanted, |path, bytes, _| loading.entry(&path, &bytes))
            .await?;
        loading.say_where(|path| layout.node(path));
        for (path, node) in misplaced {
            loading.reject(&path, format!("its node `{node}` is in the wrong shard"));
        }
        Ok(loading)
    }

    /// The names in each shard that is there.
    async fn lists(&self, shards: &[Shard]) -> Result<Vec<Option<Vec<String>>>, StoreError> {
        let mut lists = Vec::with_capacity(shards.len());
        let mut calls = FuturesOrdered::new();
        let mut rest = shards.iter();
        loop {
            while calls.len() < WINDOW
                && let Some(shard) = rest.next()
            {
                calls.push_back(children(self.client, self.shared, shard.node()));
            }
            let Some(names) = calls.next().await else {
                return Ok(lists);
            };
            lists.push(names?);
        }
    }

    /// A child of `gantry` that this version knows nothing of.
    async fn stranger(&self, name: &str, loading: &mut codec::Loading) -> Result<(), StoreError> {
        const REASON: &str = "no record has this path";
        let node = self.shared.layout.own(name);
        let below = children(self.client, self.shared, &node).await?;
        let below = below.unwrap_or_default();
        if below.is_empty() {
            loading.reject(name, REASON.to_owned());
        }
        for child in below.iter().take(STRANGERS_MAX) {
            loading.reject(&format!("{name}/{child}"), REASON.to_owned());
        }
        Ok(())
    }

    async fn framework_id(
        &mut self,
    ) -> Result<Result<Option<FrameworkRecord>, Unusable>, StoreError> {
        let node = self.shared.layout.framework_id();
        let (bytes, stat) = match self.shared.call(self.client.get_data(&node)).await {
            Ok(found) => found,
            Err(Error::NoNode) => return Ok(Ok(None)),
            Err(error) => return Err(failed(&format!("read `{node}`"), &error)),
        };
        self.nodes.insert(fingerprint(&node));
        Ok(match std::str::from_utf8(&bytes).map(str::trim) {
            Ok(id) if !id.is_empty() && id.len() <= 1024 => Ok(Some(FrameworkRecord {
                id: FrameworkId::new(id),
                registered_at: time(stat.ctime),
            })),
            text => Err(Unusable {
                place: node,
                is_empty: text == Ok(""),
                reason: "it should hold the framework's id: write it there, or remove the node \
                    when there are no tasks"
                    .to_owned(),
            }),
        })
    }

    async fn originals(&mut self) -> Result<Vec<(String, Vec<u8>, Stat)>, StoreError> {
        let directory = self.shared.layout.original_tasks();
        let names = children(self.client, self.shared, &directory).await?;
        let mut wanted: Vec<_> = names
            .unwrap_or_default()
            .into_iter()
            .map(|name| Wanted::new(format!("{directory}/{name}"), name))
            .collect();
        self.measure(wanted.iter_mut()).await?;
        let mut found = Vec::new();
        self.read(wanted, |name, bytes, stat| found.push((name, bytes, stat)))
            .await?;
        Ok(found)
    }

    /// Asks for the sizes of nodes that may have any: a guess by what came before might be wrong by a
    /// thousand times.
    async fn measure<'w>(
        &self,
        wanted: impl Iterator<Item = &'w mut Wanted>,
    ) -> Result<(), StoreError> {
        let mut wanted: Vec<_> = wanted.collect();
        for some in wanted.chunks_mut(QUESTIONS) {
            let mut answers: FuturesOrdered<_> = some
                .iter()
                .map(|wanted| self.shared.call(self.client.check_stat(&wanted.node)))
                .collect();
            let mut sizes = Vec::with_capacity(some.len());
            while let Some(stat) = answers.next().await {
                let stat = stat.map_err(|error| failed("tell the sizes of records", &error))?;
                // One that is gone since it was listed is so small.
                let bytes = stat.map_or(0, |stat| stat.data_length);
                sizes.push(usize::try_from(bytes).unwrap_or_default());
            }
            drop(answers);
            for (wanted, bytes) in some.iter_mut().zip(sizes) {
                wanted.bytes = Some(bytes + NODE_BYTES);
            }
        }
        Ok(())
    }

    /// Reads nodes, many at a time.
    async fn read(
        &mut self,
        wanted: Vec<Wanted>,
        mut take: impl FnMut(String, Vec<u8>, Stat),
    ) -> Result<(), StoreError> {
        let mut rest = VecDeque::from(wanted);
        let mut calls = FuturesOrdered::new();
        let mut asked: VecDeque<Vec<Wanted>> = VecDeque::new();
        // Bytes of the largest node lately, of those whose size is not known before.
        let mut largest = 0;
        loop {
            while calls.len() < WINDOW && !rest.is_empty() {
                let count = together(&rest, largest);
                let nodes: Vec<_> = rest.drain(..count).collect();
                let mut request = self.client.new_multi_reader();
                for Wanted { node, .. } in &nodes {
                    request
                        .add_get_data(node)
                        .map_err(|error| failed(&format!("read `{node}`"), &error))?;
                }
                calls.push_back(self.shared.call(request.commit()));
                asked.push_back(nodes);
            }
            let Some(answer) = calls.next().await else {
                return Ok(());
            };
            let nodes = asked.pop_front().unwrap_or_default();
            let answer = answer.map_err(|error| failed("read records", &error))?;
            if answer.len() != nodes.len() {
                return Err(StoreError::Unavailable {
                    reason: "ZooKeeper answered other questions than it was asked".to_owned(),
                });
            }
            largest -= largest / 8;
            for (Wanted { node, name, bytes }, result) in nodes.into_iter().zip(answer) {
                match result {
                    MultiReadResult::Data { data, stat } => {
                        self.nodes.insert(fingerprint(&node));
                        if bytes.is_none() {
                            largest = largest.max(data.len() + NODE_BYTES);
                        }
                        take(name, data, stat);
                    }
                    // Removed since it was listed.
                    MultiReadResult::Error { err: Error::NoNode } => {}
                    MultiReadResult::Error { err } => {
                        return Err(failed(&format!("read `{node}`"), &err));
                    }
                    _ => {
                        return Err(StoreError::Unavailable {
                            reason: format!("ZooKeeper gave no data of `{node}`"),
                        });
                    }
                }
            }
        }
    }
}

/// The time of a node.
pub(super) fn time(millis: i64) -> Timestamp {
    Timestamp::from_millis(u64::try_from(millis).unwrap_or_default())
}

//! Which nodes there are, whatever they hold.

use std::collections::HashSet;

use futures_util::future::join_all;
use zookeeper_client::Client;

use super::{
    Shared,
    layout::{self, Layout, fingerprint},
    load::children,
};
use crate::StoreError;

/// Questions that are on the way at once.
const WINDOW: usize = 64;

/// All nodes of a framework but those that are there as long as it is ([`Layout::frame`]) and those of
/// the candidates.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    /// Of records that are not sharded, and the original's of the framework's id.
    pub(super) singles: Vec<String>,
    /// In the shards, and the original's tasks.
    pub(super) entries: Vec<String>,
    /// Of records and of the original's tasks, each before those in it.
    pub(super) directories: Vec<String>,
    /// Those that this version knows nothing of, each before those below it.
    pub(super) strangers: Vec<String>,
}

impl Nodes {
    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &String> {
        let some = [
            &self.singles,
            &self.entries,
            &self.directories,
            &self.strangers,
        ];
        some.into_iter().flatten()
    }

    /// Their fingerprints, and those of the frame.
    pub(super) fn fingerprints(&self, layout: &Layout) -> HashSet<u64> {
        let frame = layout.frame();
        let all = self.iter().chain(&frame);
        all.map(|node| fingerprint(node)).collect()
    }
}

/// Looks for all nodes.
pub(super) async fn nodes(client: &Client, shared: &Shared) -> Result<Nodes, StoreError> {
    let layout = &shared.layout;
    let mut nodes = Nodes::default();
    let plain = layout.framework_id();
    let at_root = children(client, shared, layout.root()).await?;
    let names = at_root.iter().flatten();
    if names
        .into_iter()
        .any(|name| plain.ends_with(&format!("/{name}")))
    {
        nodes.singles.push(plain);
    }
    let own = children(client, shared, layout.gantry()).await?;
    for name in own.unwrap_or_default() {
        if layout::SINGLE.contains(&name.as_str()) {
            nodes.singles.push(layout.own(&name));
        } else if !layout::OWN.contains(&name.as_str()) && !Layout::is_kind(&name) {
            nodes.strangers.push(layout.own(&name));
        }
    }

    let mut directories = vec![layout.original_tasks()];
    directories.extend(layout.directories());
    let known: HashSet<&String> = directories.iter().collect();
    for (directory, names) in lists(client, shared, &directories).await? {
        let below = names.into_iter().map(|name| format!("{directory}/{name}"));
        // A shard is a child of its kind.
        nodes
            .entries
            .extend(below.filter(|node| !known.contains(node)));
        nodes.directories.push(directory);
    }

    let mut level = nodes.strangers.clone();
    while !level.is_empty() {
        let found = lists(client, shared, &level).await?;
        let below = found
            .into_iter()
            .flat_map(|(node, names)| names.into_iter().map(move |name| format!("{node}/{name}")));
        level = below.collect();
        nodes.strangers.extend_from_slice(&level);
    }
    Ok(nodes)
}

/// The names of the children of each of these nodes that is there.
async fn lists(
    client: &Client,
    shared: &Shared,
    nodes: &[String],
) -> Result<Vec<(String, Vec<String>)>, StoreError> {
    let mut lists = Vec::with_capacity(nodes.len());
    for some in nodes.chunks(WINDOW) {
        let answers = join_all(some.iter().map(|node| children(client, shared, node))).await;
        for (node, names) in some.iter().zip(answers) {
            lists.extend(names?.map(|names| (node.clone(), names)));
        }
    }
    Ok(lists)
}

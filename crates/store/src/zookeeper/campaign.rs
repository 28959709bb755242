//! Becoming the one that may write: a lock that Curator's tools can read, then a new epoch.

use std::{collections::HashSet, sync::Arc, time::Duration};

use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout},
};
use zookeeper_client::{Acls, AuthId, Client, CreateMode, CreateOptions, Error, MultiWriteError};

use super::{
    Member, Shared,
    load::{Found, children, look},
    session::failed,
    term::Term,
    tree,
    write::Fence,
};
use crate::{StoreError, codec};

/// Between an attempt that failed and the next.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// A candidate looks again after so long, even if nothing was heard of the one before it.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Access lists that are set at once.
const PROTECT_WINDOW: usize = 64;

/// Of the names of lock nodes, as Curator's `LeaderLatch` makes them.
const LATCH: &str = "-latch-";

/// What the node `epoch` holds.
#[derive(Serialize, Deserialize)]
struct Epoch {
    epoch: u64,
    // The lock node whose owner leads; with the number it names one term of one process.
    leader: String,
}

/// Waits until we lead; as long as ZooKeeper is connected, attempts do not go on to fail for longer than
/// a session lasts.
pub(super) async fn lead(shared: &Arc<Shared>) -> Result<Term, StoreError> {
    let limit = shared.call_limit();
    let mut failing: Option<Instant> = None;
    loop {
        let client = shared.client().await;
        let mut queued = Duration::ZERO;
        let error = match attempt(shared, &client, &mut queued).await {
            Err(error @ StoreError::Unavailable { .. }) => error,
            outcome => return outcome,
        };
        // Of a lost connection the status tells. Whoever waited for so long had nothing to complain of
        // meanwhile; several that all fail do not keep each other waiting.
        if !shared.link.is_connected() || queued > limit {
            failing = None;
        } else if failing.get_or_insert_with(Instant::now).elapsed() > limit {
            return Err(error);
        }
        tracing::debug!(%error, "the campaign begins anew");
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

/// `queued` is how long others stood before us.
async fn attempt(
    shared: &Arc<Shared>,
    client: &Client,
    queued: &mut Duration,
) -> Result<Term, StoreError> {
    let layout = &shared.layout;
    if let Some(above) = layout.above_root() {
        // Others live there too.
        let open = CreateMode::Persistent.with_acls(Acls::anyone_all());
        ensure(shared, client, above, &open).await?;
    }
    ensure(shared, client, &layout.leader(), &layout.lasting()).await?;
    // What a later version has written is none of our business, whether or not it runs. What is damaged
    // has to be led by whoever replaces or removes it.
    look(client, shared).await?;

    let candidate = Candidate::enter(shared, client).await?;
    let entered = Instant::now();
    let first = candidate.wait(shared).await;
    *queued = entered.elapsed();
    first?;
    match look(client, shared).await? {
        Found::Nothing => {
            if layout.only_us() {
                // The original's are open to everybody.
                protect(shared, client).await?;
            }
            found(shared, client, &candidate.lock).await?;
        }
        found @ (Found::Store(_) | Found::Damaged(_)) => {
            complete(shared, client, &candidate.lock).await?;
            let is_damaged = matches!(found, Found::Damaged(_));
            if layout.only_us() && (is_damaged || is_open(shared, client).await?) {
                protect(shared, client).await?;
            }
        }
    }
    let (epoch, version) = bump(shared, client, &candidate.lock).await?;
    let fence = Fence {
        lock: candidate.lock.clone(),
        epoch: layout.epoch(),
        version,
        transactions: layout.transactions(),
    };
    let term = Term::begin(shared.clone(), client.clone(), fence, epoch).await?;
    candidate.elected();
    Ok(term)
}

/// Makes a node, and those above it, unless it is there.
async fn ensure(
    shared: &Shared,
    client: &Client,
    node: &str,
    options: &CreateOptions<'_>,
) -> Result<(), StoreError> {
    let wrong = |error: Error| failed(&format!("make `{node}`"), &error);
    // Looking first: who may not make a node may still use it.
    match shared.call(client.check_stat(node)).await.map_err(wrong)? {
        Some(_) => Ok(()),
        None => shared
            .call(client.mkdir(node, options))
            .await
            .map_err(wrong),
    }
}

// === The lock ===

/// Our place in the queue. Given up when dropped.
struct Candidate {
    client: Client,
    lock: String,
    elected: bool,
}

impl Candidate {
    /// Enters the queue, or finds our place in it again.
    async fn enter(shared: &Shared, client: &Client) -> Result<Self, StoreError> {
        let wrong = |error: Error| failed("take us for a candidate", &error);
        let directory = shared.layout.leader();
        let prefix = format!("_c_{}{LATCH}", shared.config.member.id);
        let mut place = None;
        for (_, name) in queue(shared, client).await? {
            if !name.starts_with(&prefix) {
                continue;
            }
            let node = format!("{directory}/{name}");
            let stat = shared.call(client.check_stat(&node)).await.map_err(wrong)?;
            let owner = stat.map(|stat| stat.ephemeral_owner);
            if owner == Some(client.session_id().0) && place.is_none() {
                place = Some(node);
            } else if owner.is_some() {
                // Of a session of ours that has not quite expired yet.
                match shared.call(client.delete(&node, None)).await {
                    Ok(()) | Err(Error::NoNode) => {}
                    Err(error) => return Err(wrong(error)),
                }
            }
        }
        match place {
            Some(lock) => Ok(Self::at(client.clone(), lock)),
            None => {
                let member = serde_json::to_vec(&shared.config.member);
                let member = member.map_err(|error| StoreError::Unavailable {
                    reason: format!("this process cannot be named: {error}"),
                })?;
                let prefix = format!("{directory}/{prefix}");
                // Should the answer be lost, the next attempt finds the node.
                shared
                    .call(enter(client, prefix, member, shared.layout.access()))
                    .await
                    .map_err(wrong)
            }
        }
    }

    fn at(client: Client, lock: String) -> Self {
        Self {
            client,
            lock,
            elected: false,
        }
    }

    /// Waits until nobody stands before us.
    async fn wait(&self, shared: &Shared) -> Result<(), StoreError> {
        let directory = shared.layout.leader();
        loop {
            let queue = queue(shared, &self.client).await?;
            let place = queue.iter().position(|(_, name)| {
                self.lock.strip_prefix(&directory) == Some(&format!("/{name}"))
            });
            let before = match place {
                None => {
                    return Err(StoreError::Unavailable {
                        reason: "our lock node is gone".to_owned(),
                    });
                }
                Some(0) => return Ok(()),
                Some(place) => format!("{directory}/{}", queue[place - 1].1),
            };
            let seen = shared.call(self.client.check_and_watch_stat(&before)).await;
            let (stat, gone) = seen.map_err(|error| failed("watch the queue", &error))?;
            if stat.is_some() {
                // However it ends, the queue says how things stand.
                let _ = timeout(LOOK_AGAIN, gone.changed()).await;
            }
        }
    }

    /// From now on the term gives the lock up.
    fn elected(mut self) {
        self.elected = true;
    }
}

impl Drop for Candidate {
    fn drop(&mut self) {
        if !self.elected {
            give_up(&self.client, &self.lock);
        }
    }
}

/// Makes a lock node. It is given up when nobody waits for the answer any more, or when the
/// answer has come and nobody has taken it.
async fn enter(
    client: &Client,
    prefix: String,
    member: Vec<u8>,
    access: Acls<'static>,
) -> Result<Candidate, Error> {
    let (tell, made) = oneshot::channel();
    let client = client.clone();
    tokio::spawn(async move {
        let options = CreateMode::EphemeralSequential.with_acls(access);
        let made = client.create(&prefix, &member, &options).await;
        // Not the name but the candidate is told: it gives its place up wherever it is dropped.
        drop(tell.send(
            made.map(|(_, sequence)| Candidate::at(client.clone(), format!("{prefix}{sequence}"))),
        ));
    });
    made.await.unwrap_or(Err(Error::ClientClosed))
}

/// Sends the removal of a lock node, before anything that is sent later. It is not waited for.
pub(super) fn give_up(client: &Client, lock: &str) {
    drop(client.delete(lock, None));
}

/// All candidates, the leader first.
pub(super) async fn queue(
    shared: &Shared,
    client: &Client,
) -> Result<Vec<(i64, String)>, StoreError> {
    let names = children(client, shared, &shared.layout.leader()).await?;
    Ok(in_order(names.unwrap_or_default()))
}

fn in_order(names: Vec<String>) -> Vec<(i64, String)> {
    let mut queue: Vec<_> = names
        .into_iter()
        .filter_map(|name| {
            let (_, sequence) = name.rsplit_once(LATCH)?;
            Some((sequence.parse().ok()?, name))
        })
        .collect();
    queue.sort_unstable();
    queue
}

/// Nobody but the leader may be among the candidates.
pub(super) async fn require_alone(shared: &Shared, client: &Client) -> Result<(), StoreError> {
    let directory = shared.layout.leader();
    let mut others = Vec::new();
    for (_, name) in queue(shared, client).await?.into_iter().skip(1) {
        match shared
            .call(client.get_data(&format!("{directory}/{name}")))
            .await
        {
            Ok((bytes, _)) => others.push(match serde_json::from_slice::<Member>(&bytes) {
                Ok(member) => member.host,
                Err(_) => name,
            }),
            Err(Error::NoNode) => {}
            Err(error) => return Err(failed("say who stands by", &error)),
        }
    }
    if others.is_empty() {
        return Ok(());
    }
    Err(StoreError::Refused {
        reason: format!(
            "other processes stand by ({}): stop them first",
            others.join(", ")
        ),
    })
}

/// Tells who leads, again and again, until ZooKeeper cannot be asked.
pub(super) async fn follow_leader(
    shared: &Shared,
    client: &Client,
    tell: impl Fn(Option<Member>),
) -> Result<(), Error> {
    let directory = shared.layout.leader();
    loop {
        let call = client.get_and_watch_children(&directory);
        let (names, changed) = match shared.call(call).await {
            Ok((names, _, changed)) => (names, changed),
            Err(Error::NoNode) => {
                tell(None);
                let (stat, made) = shared.call(client.check_and_watch_stat(&directory)).await?;
                if stat.is_none() {
                    made.changed().await;
                }
                continue;
            }
            Err(error) => return Err(error),
        };
        match in_order(names).first() {
            None => tell(None),
            Some((_, name)) => {
                let node = format!("{directory}/{name}");
                match shared.call(client.get_data(&node)).await {
                    Ok((bytes, _)) => tell(serde_json::from_slice(&bytes).ok()),
                    // Gone since it was listed.
                    Err(Error::NoNode) => continue,
                    Err(error) => return Err(error),
                }
            }
        }
        changed.changed().await;
        if client.state().is_terminated() {
            return Err(Error::SessionExpired);
        }
    }
}

// === The store's beginning, and each term's ===

/// Makes the layout: whole, or not at all.
async fn found(shared: &Shared, client: &Client, lock: &str) -> Result<(), StoreError> {
    let layout = &shared.layout;
    let wrong = |error: Error| failed("make the layout", &error);
    let make = layout.lasting();
    let mut multi = client.new_multi_writer();
    multi.add_check_version(lock, -1).map_err(wrong)?;
    for directory in layout.directories() {
        multi.add_create(&directory, b"", &make).map_err(wrong)?;
    }
    let epoch = encode(&Epoch {
        epoch: 0,
        leader: String::new(),
    })?;
    for (node, data) in [
        (layout.epoch(), &epoch[..]),
        (layout.transactions(), &b""[..]),
    ] {
        // Left behind by a removal that was cut off. The next number is as good as the first.
        if shared
            .call(client.check_stat(&node))
            .await
            .map_err(wrong)?
            .is_none()
        {
            multi.add_create(&node, data, &make).map_err(wrong)?;
        }
    }
    let node = layout.own(codec::LAYOUT_PATH);
    multi
        .add_create(&node, &codec::encode_layout(), &make)
        .map_err(wrong)?;
    // Should an earlier attempt have been made after all, the next one sees it.
    let made = shared.call(multi.commit()).await;
    made.map(drop).map_err(|error| wrong(error.into()))
}

/// Whether the store was made when no user was set. The layout's node tells of all others: it is
/// protected last.
async fn is_open(shared: &Shared, client: &Client) -> Result<bool, StoreError> {
    let node = shared.layout.own(codec::LAYOUT_PATH);
    match shared.call(client.get_acl(&node)).await {
        Ok((access, _)) => Ok(access
            .iter()
            .any(|entry| entry.auth_id() == &AuthId::anyone())),
        Err(error) => Err(failed(&format!("say who may use `{node}`"), &error)),
    }
}

/// Makes all nodes ours alone, whoever made them. Only the first candidate does; doing it again,
/// after it was cut off, is harmless.
async fn protect(shared: &Shared, client: &Client) -> Result<(), StoreError> {
    let layout = &shared.layout;
    let nodes = tree::nodes(client, shared).await?;
    let access = layout.access();
    let protect = async |node: &str| match shared.call(client.set_acl(node, &access, None)).await {
        Ok(_) | Err(Error::NoNode) => Ok(()),
        Err(error) => Err(failed(&format!("protect `{node}`"), &error)),
    };
    let above = [layout.root(), layout.gantry()].map(str::to_owned);
    let [mark, frame @ ..] = layout.frame();
    let leader = layout.leader();
    let all = above.iter().chain([&leader]).chain(&frame);
    let all: Vec<&String> = all.chain(nodes.iter()).collect();
    for some in all.chunks(PROTECT_WINDOW) {
        try_join_all(some.iter().map(|node| protect(node))).await?;
    }
    protect(&mark).await?;
    tracing::info!(
        nodes = all.len(),
        "what is on ZooKeeper is now for our user alone"
    );
    Ok(())
}

/// Makes the directories that a store of an earlier version of Gantry does not have yet, and what was
/// lost of what the records stand in: a directory goes only after what is in it, so that nothing is
/// hidden by making it anew. Without all directories of a kind the store stays unusable.
async fn complete(shared: &Shared, client: &Client, lock: &str) -> Result<(), StoreError> {
    let layout = &shared.layout;
    let names = children(client, shared, layout.gantry()).await?;
    let names = names.unwrap_or_default();
    let kinds = layout.kinds(&names);
    let lists = kinds.iter().map(|(kind, _)| children(client, shared, kind));
    let lists = try_join_all(lists).await?;
    let mut lost = Vec::new();
    for ((kind, shards), there) in kinds.into_iter().zip(lists) {
        let there = there.unwrap_or_default().into_iter();
        let there: HashSet<String> = there.map(|name| format!("{kind}/{name}")).collect();
        lost.extend(shards.into_iter().filter(|shard| !there.contains(shard)));
    }
    let is_missing = |node: &String| !names.iter().any(|name| node.ends_with(&format!("/{name}")));
    lost.extend(Some(layout.transactions()).filter(is_missing));
    let epoch = Some(layout.epoch()).filter(is_missing);
    let missing = layout.missing(&names);
    if missing.is_empty() && lost.is_empty() && epoch.is_none() {
        return Ok(());
    }
    let wrong = |error: Error| failed("make the directories of a store", &error);
    let make = layout.lasting();
    let mut multi = client.new_multi_writer();
    multi.add_check_version(lock, -1).map_err(wrong)?;
    for directory in missing.iter().chain(&lost) {
        multi.add_create(directory, b"", &make).map_err(wrong)?;
    }
    if let Some(epoch) = &epoch {
        let number = lost_number(shared, client).await?;
        let leader = String::new();
        let data = encode(&Epoch {
            epoch: number,
            leader,
        })?;
        multi.add_create(epoch, &data, &make).map_err(wrong)?;
    }
    // Should the answer be lost, the next attempt sees what was made.
    let made = shared.call(multi.commit()).await;
    made.map_err(|error| wrong(error.into()))?;
    lost.extend(epoch);
    if let Some(first) = lost.first() {
        let nodes = lost.len();
        tracing::error!(
            nodes,
            first,
            "nodes of the store were gone, with all that was in them, and are made anew"
        );
    }
    Ok(())
}

/// A number in the place of the last epoch's: how often candidates came and went. It is larger unless
/// one led again and again with the same lock; what keeps former leaders out is not the number.
async fn lost_number(shared: &Shared, client: &Client) -> Result<u64, StoreError> {
    let wrong = |error: Error| failed("say how many candidates there were", &error);
    let queue = shared.layout.leader();
    let queue = shared
        .call(client.check_stat(&queue))
        .await
        .map_err(wrong)?;
    let changes = queue.map_or(0, |queue| queue.cversion);
    Ok(u64::try_from(changes).unwrap_or_default())
}

/// Begins a new epoch: from then on no transaction of an earlier one is made. Returns its number and
/// the version of its node.
async fn bump(shared: &Shared, client: &Client, lock: &str) -> Result<(u64, i32), StoreError> {
    let node = shared.layout.epoch();
    let wrong = |error: Error| failed("begin an epoch", &error);
    let mut tried = None;
    loop {
        shared.call(client.sync(&node)).await.map_err(wrong)?;
        let (bytes, stat) = shared.call(client.get_data(&node)).await.map_err(wrong)?;
        let before = match serde_json::from_slice::<Epoch>(&bytes) {
            Ok(before) => before.epoch,
            Err(error) => {
                tracing::error!(node, %error, "it does not hold an epoch, which is made anew");
                // Each epoch has filled the node once.
                let fillings = u64::try_from(stat.version).unwrap_or_default();
                lost_number(shared, client).await?.max(fillings)
            }
        };
        if tried.as_ref() == Some(&bytes) {
            // The answer to an earlier attempt was lost.
            return Ok((before, stat.version));
        }
        let epoch = before.saturating_add(1);
        let token = encode(&Epoch {
            epoch,
            leader: lock.to_owned(),
        })?;
        let mut multi = client.new_multi_writer();
        multi.add_check_version(lock, -1).map_err(wrong)?;
        multi
            .add_set_data(&node, &token, Some(stat.version))
            .map_err(wrong)?;
        match shared.call(multi.commit()).await {
            Ok(_) => return Ok((epoch, stat.version.wrapping_add(1))),
            // Another process has begun one meanwhile.
            Err(MultiWriteError::OperationFailed {
                source: Error::BadVersion,
                ..
            }) => {}
            Err(
                error @ (MultiWriteError::OperationFailed { .. }
                | MultiWriteError::RequestFailed {
                    source: Error::SessionExpired | Error::ClientClosed | Error::AuthFailed,
                }),
            ) => return Err(wrong(error.into())),
            Err(_) => tried = Some(token),
        }
    }
}

fn encode(epoch: &Epoch) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(epoch).map_err(|error| StoreError::Unavailable {
        reason: format!("an epoch cannot be written down: {error}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_stand_in_the_order_of_their_numbers() {
        let names = [
            "_c_b-latch-0000000010",
            "_c_c-latch-0000000009",
            "_c_a-latch-2147483648",
            "_c_a-lock-0000000001",
            "_c_a-latch-x",
        ];
        let queue = in_order(names.map(str::to_owned).to_vec());
        let order: Vec<_> = queue.iter().map(|(_, name)| &name[3..4]).collect();
        assert_eq!(order, ["c", "b", "a"]);
    }
}

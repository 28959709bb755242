//! Writing: transactions that take effect in order, each once, and only while we lead.

use std::{collections::HashSet, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream::FuturesOrdered};
use gantry_core::{Record, Write};
use zookeeper_client::{Client, Error, MultiWriteError, MultiWriteResult};

use super::{
    Shared,
    layout::{Layout, fingerprint},
    session::failed,
};
use crate::{Lease, StoreError, codec, lease::Moment};

/// A transaction has at most so many bytes, unless one record alone has more. ZooKeeper would take
/// 1 MiB (`jute.maxbuffer`), but keeps the last 500 transactions in memory (`commitLogCount`), so that
/// these would fill 500 MB; a server with a heap of 256 MB was seen to die of them.
pub const TRANSACTION_BYTES: usize = 64 * 1024;

/// A transaction has at most so many operations, so that its answer stays small too.
const OPERATIONS_MAX: usize = 500;

/// Transactions that are on the way at once.
const WINDOW: usize = 16;

/// Bytes of an operation apart from its path and data: numbers and the access list.
const OPERATION_BYTES: usize = 64;

/// Questions that are on the way at once when it is not known which nodes exist.
const QUESTIONS: usize = 256;

/// Rounds without any progress before the caller is told.
const STUCK_MAX: u32 = 4;

/// The change of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) node: String,
    /// What it is to hold; `None`: it is to be gone.
    pub(super) data: Option<Vec<u8>>,
    /// Made together with the next change or not at all.
    pub(super) with_next: bool,
}

impl Change {
    pub(super) fn put(node: String, data: Vec<u8>) -> Self {
        Self {
            node,
            data: Some(data),
            with_next: false,
        }
    }

    pub(super) fn delete(node: String) -> Self {
        Self {
            node,
            data: None,
            with_next: false,
        }
    }

    /// The same, together with the next.
    pub(super) fn and(mut self) -> Self {
        self.with_next = true;
        self
    }

    fn bytes(&self) -> usize {
        OPERATION_BYTES + self.node.len() + self.data.as_ref().map_or(0, Vec::len)
    }
}

/// The changes of nodes that a batch asks for.
pub(super) fn changes(layout: &Layout, batch: &[Write]) -> Result<Vec<Change>, StoreError> {
    let mut changes = Vec::with_capacity(batch.len());
    for (write, (path, bytes)) in batch.iter().zip(codec::changes(batch)?) {
        let node = layout.node(&path);
        // The original's node of the framework's id goes with the record.
        let plain = match write {
            Write::Put(Record::Framework(record)) => Some(Change::put(
                layout.framework_id(),
                record.id.as_str().as_bytes().to_vec(),
            )),
            Write::Delete(gantry_core::Key::Framework) => {
                Some(Change::delete(layout.framework_id()))
            }
            _ => None,
        };
        changes.extend(plain.map(Change::and));
        changes.push(match bytes {
            Some(bytes) => Change::put(node, bytes),
            None => Change::delete(node),
        });
    }
    Ok(changes)
}

/// What makes sure that transactions are made only in our term, in order, and each once.
#[derive(Debug)]
pub(super) struct Fence {
    /// Our lock node.
    pub(super) lock: String,
    /// The node `epoch`.
    pub(super) epoch: String,
    /// Its version in our term.
    pub(super) version: i32,
    /// The node whose version counts the transactions of all terms. The epoch's own version
    /// cannot: where we expect our first transaction to have moved it, the next leader may have.
    pub(super) transactions: String,
}

/// The writing side of a term.
#[derive(Debug)]
pub(super) struct Writer {
    // How many transactions there were: the version of the node `transactions` that the next one
    // expects. It wraps around after four billion, as ZooKeeper's does.
    made: i32,
    // Fingerprints of the nodes that exist, as far as we know: ZooKeeper wants to be told whether a
    // node is to be made or filled anew. When we are wrong a transaction fails, and we ask. `None`
    // before the first load.
    known: Option<HashSet<u64>>,
    // Changes that were sent and whose outcome is not known.
    doubtful: Option<Arc<[Change]>>,
    // Whether the last write failed though it was asked what exists.
    contradicted: bool,
}

/// What a writer needs of its term.
#[derive(Clone, Copy)]
pub(super) struct Means<'a> {
    pub(super) client: &'a Client,
    pub(super) shared: &'a Shared,
    pub(super) lease: &'a Lease,
    pub(super) fence: &'a Fence,
    /// How long the lease lasts after the sending of a transaction that was made.
    pub(super) lasts: Duration,
}

impl Means<'_> {
    /// The term is over, for a cause that may be there in the next one too.
    fn refused(&self, reason: &str) -> StoreError {
        self.lease.take_back(reason);
        StoreError::Refused {
            reason: reason.to_owned(),
        }
    }
}

/// A transaction on its way.
type Answer = Result<Vec<MultiWriteResult>, MultiWriteError>;

/// What became of the transactions that were sent in one go.
struct Sent {
    /// Where in the changes each ends.
    ends: Vec<usize>,
    /// The first that did not succeed.
    failure: Option<MultiWriteError>,
}

impl Writer {
    /// After so many transactions.
    pub(super) fn new(made: i32) -> Self {
        Self {
            made,
            known: None,
            doubtful: None,
            contradicted: false,
        }
    }

    /// Whether it was told what exists.
    pub(super) fn knows(&self) -> bool {
        self.known.is_some()
    }

    /// Tells it what exists.
    pub(super) fn learn(&mut self, nodes: HashSet<u64>) {
        self.known = Some(nodes);
    }

    /// Makes the changes, in order.
    pub(super) async fn write(
        &mut self,
        means: Means<'_>,
        changes: Vec<Change>,
    ) -> Result<(), StoreError> {
        if let Some(doubtful) = self.doubtful.clone() {
            self.settle(means).await?;
            self.ask(means, &doubtful).await?;
            self.doubtful = None;
        }
        let changes: Arc<[Change]> = changes.into();
        let mut done = 0;
        let mut stuck = 0;
        while done < changes.len() {
            let before = self.made;
            self.doubtful = Some(changes.clone());
            let sent = self.send(means, &changes, done).await?;
            let Some(failure) = sent.failure else {
                break;
            };
            tracing::debug!(error = %failure, "a transaction has failed or was not answered");
            match &failure {
                MultiWriteError::OperationFailed {
                    index: 0,
                    source: Error::NoNode,
                } => return Err(means.refused("our lock node is gone")),
                MultiWriteError::OperationFailed { source, .. }
                | MultiWriteError::RequestFailed { source } => match source {
                    Error::NoAuth | Error::AuthFailed => return Err(failed("write", source)),
                    Error::SessionExpired | Error::ClientClosed => {
                        let reason = "the session has expired";
                        means.lease.end(reason);
                        return Err(StoreError::Refused {
                            reason: reason.to_owned(),
                        });
                    }
                    _ => {}
                },
            }
            self.settle(means).await?;
            let made = self.made.wrapping_sub(before) as usize;
            let until = made.checked_sub(1).and_then(|last| sent.ends.get(last));
            done = until.copied().unwrap_or(done);
            self.ask(means, &changes[done..]).await?;
            stuck = if made > 0 { 0 } else { stuck + 1 };
            if stuck == STUCK_MAX {
                return Err(self.contradicted(means, &changes[done..], failure));
            }
        }
        self.doubtful = None;
        self.contradicted = false;
        Ok(())
    }

    /// What to do when transactions fail again and again though it was asked which nodes exist: what
    /// is asked and what is written is answered by different servers, and they may differ. Once
    /// everything is read anew; then the term ends, so that another process, or this one on
    /// another server, begins a new one.
    fn contradicted(
        &mut self,
        means: Means<'_>,
        changes: &[Change],
        failure: MultiWriteError,
    ) -> StoreError {
        let MultiWriteError::OperationFailed { index, source } = &failure else {
            return failed("write", &failure.into());
        };
        let first = changes.first().map_or("", |change| change.node.as_str());
        tracing::warn!(
            operation = index,
            first,
            error = %source,
            "ZooKeeper refuses a transaction again and again"
        );
        if std::mem::replace(&mut self.contradicted, true) {
            return means.refused("ZooKeeper contradicts itself about what exists");
        }
        self.known = None;
        failed("write", &failure.into())
    }

    /// Sends transactions for the changes from `from` on, some at a time, until all are answered or
    /// one was not made. As each expects the version that the one before it leaves, none is made after
    /// one that was not.
    async fn send(
        &mut self,
        means: Means<'_>,
        changes: &[Change],
        from: usize,
    ) -> Result<Sent, StoreError> {
        let mut sent = Sent {
            ends: Vec::new(),
            failure: None,
        };
        let mut answers = FuturesOrdered::new();
        let mut next = from;
        loop {
            while sent.failure.is_none() && answers.len() < WINDOW && next < changes.len() {
                // Before it is sent: a pause in between must not be added to the lease.
                let renewed = Moment::now().after(means.lasts);
                let (answer, end) = self.transaction(means, changes, next)?;
                let answer = means.shared.call(answer);
                answers.push_back(async move { answer.await.map(|_| renewed) });
                sent.ends.push(end);
                next = end;
            }
            match answers.next().await {
                // It was made with our lock node in place.
                Some(Ok(end)) => {
                    means.lease.renew(end);
                }
                Some(Err(error)) => {
                    sent.failure.get_or_insert(error);
                }
                None => return Ok(sent),
            }
        }
    }

    /// Sends the transaction that begins with the change at `from`, and tells where it ends.
    fn transaction<'a>(
        &mut self,
        means: Means<'a>,
        changes: &[Change],
        from: usize,
    ) -> Result<(impl Future<Output = Answer> + Send + use<'a>, usize), StoreError> {
        let known = self.known.get_or_insert_default();
        let make = means.shared.layout.lasting();
        let fence = means.fence;
        let wrong = |error: Error| failed("take a transaction", &error);
        let mut multi = means.client.new_multi_writer();
        multi.add_check_version(&fence.lock, -1).map_err(wrong)?;
        multi
            .add_check_version(&fence.epoch, fence.version)
            .map_err(wrong)?;
        multi
            .add_set_data(&fence.transactions, b"", Some(self.made))
            .map_err(wrong)?;
        let names = [&fence.lock, &fence.epoch, &fence.transactions];
        let mut bytes: usize = names.map(|name| name.len() + OPERATION_BYTES).iter().sum();
        let mut end = from;
        while end < changes.len() {
            let together = 1 + changes[end..]
                .iter()
                .take_while(|change| change.with_next)
                .count();
            let unit = &changes[end..changes.len().min(end + together)];
            let more: usize = unit.iter().map(Change::bytes).sum();
            let full = bytes + more > TRANSACTION_BYTES || end - from + together > OPERATIONS_MAX;
            if end > from && full {
                break;
            }
            bytes += more;
            for Change { node, data, .. } in unit {
                let fingerprint = fingerprint(node);
                match data {
                    Some(data) if known.insert(fingerprint) => {
                        multi.add_create(node, data, &make).map_err(wrong)?;
                    }
                    Some(data) => multi.add_set_data(node, data, None).map_err(wrong)?,
                    None if known.remove(&fingerprint) => {
                        multi.add_delete(node, None).map_err(wrong)?;
                    }
                    None => {}
                }
            }
            end += unit.len();
        }
        self.made = self.made.wrapping_add(1);
        Ok((multi.commit(), end))
    }

    /// Learns how many transactions were made, and whether we still lead. The question comes after
    /// all transactions that were sent: on one session ZooKeeper keeps the order, and what an earlier
    /// connection of it left behind is refused once the session has moved on.
    async fn settle(&mut self, means: Means<'_>) -> Result<(), StoreError> {
        let Means { client, shared, .. } = means;
        let fence = means.fence;
        let answer = async {
            shared.call(client.sync(&fence.epoch)).await?;
            let made = shared.call(client.check_stat(&fence.transactions)).await?;
            // Afterwards, so that the count is one of our term.
            let epoch = shared.call(client.check_stat(&fence.epoch)).await?;
            Ok((made, epoch))
        };
        match answer.await {
            Ok((Some(made), Some(epoch))) if epoch.version == fence.version => {
                self.made = made.version;
                Ok(())
            }
            Ok(_) => Err(means.refused("another process has begun to lead")),
            Err(error) => Err(failed("say what was written", &error)),
        }
    }

    /// Learns which of the nodes exist.
    async fn ask(&mut self, means: Means<'_>, changes: &[Change]) -> Result<(), StoreError> {
        let known = self.known.get_or_insert_default();
        for some in changes.chunks(QUESTIONS) {
            let mut answers: FuturesOrdered<_> = some
                .iter()
                .map(|change| means.shared.call(means.client.check_stat(&change.node)))
                .collect();
            for change in some {
                let exists = match answers.next().await {
                    Some(Ok(stat)) => stat.is_some(),
                    Some(Err(error)) => return Err(failed("say what exists", &error)),
                    None => break,
                };
                let fingerprint = fingerprint(&change.node);
                if exists {
                    known.insert(fingerprint);
                } else {
                    known.remove(&fingerprint);
                }
            }
        }
        Ok(())
    }
}

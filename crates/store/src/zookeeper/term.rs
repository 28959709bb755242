//! One term: the right to write, until the lease ends.

use std::{collections::HashSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use gantry_core::{Key, Record, Write};
use tokio::{sync::Mutex, task::JoinHandle, time::timeout};
use zookeeper_client::{Client, Error, MultiWriteError, SessionState};

use super::{
    Shared, campaign, layout, load,
    session::failed,
    tree,
    write::{self, Change, Fence, Means, Writer},
};
use crate::{Lease, Loaded, Store, StoreError, codec, lease::Moment};

/// The lock's check is repeated so often within the session's time-out.
const CHECKS: u32 = 6;

/// Between a check that failed and the next.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// For telling others that we have resigned; afterwards the session's time-out does.
const RESIGN_TIMEOUT: Duration = Duration::from_secs(2);

/// The right to write for one term.
#[derive(Debug)]
pub(super) struct Term {
    shared: Arc<Shared>,
    client: Client,
    fence: Arc<Fence>,
    lease: Lease,
    lasts: Duration,
    // Commits take turns in the order in which they came.
    writer: Mutex<Writer>,
    keeper: JoinHandle<()>,
}

impl Term {
    /// Begins a term whose epoch was just begun.
    pub(super) async fn begin(
        shared: Arc<Shared>,
        client: Client,
        fence: Fence,
        epoch: u64,
    ) -> Result<Self, StoreError> {
        // The servers have the last word.
        let session = shared.config.session_timeout.min(client.session_timeout());
        let lasts = session * 2 / 3;
        let sent = Moment::now();
        confirm(&shared, &client, &fence)
            .await
            .map_err(|error| failed("confirm that we lead", &error.into()))?;
        let lease = Lease::new(epoch, sent.after(lasts));
        // Nobody but us can add to it now.
        let made = shared.call(client.check_stat(&fence.transactions)).await;
        let made = made.map_err(|error| failed("say what was written", &error))?;
        let made = made.ok_or_else(|| StoreError::Corrupt {
            place: fence.transactions.clone(),
            reason: "it is gone".to_owned(),
        })?;
        let fence = Arc::new(fence);
        let keeper = tokio::spawn(keep(
            shared.clone(),
            client.clone(),
            fence.clone(),
            lease.clone(),
            session / CHECKS,
            lasts,
        ));
        tracing::info!(epoch, lock = fence.lock, "this process leads");
        Ok(Self {
            shared,
            client,
            fence,
            lease,
            lasts,
            writer: Mutex::new(Writer::new(made.version)),
            keeper,
        })
    }

    /// When the term was ended by what our server says, another server may say something better: what
    /// is returned asks for a new session, once everything that is to go over this one has been said.
    fn renews_session(&self) -> Option<RenewSession<'_>> {
        (self.lease.was_taken_back()).then(|| RenewSession(self))
    }

    fn means(&self) -> Means<'_> {
        Means {
            client: &self.client,
            shared: &self.shared,
            lease: &self.lease,
            fence: &self.fence,
            lasts: self.lasts,
        }
    }

    /// Does something as long as the lease holds, and no longer.
    async fn led<T>(
        &self,
        act: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let over = async {
            Err(StoreError::Refused {
                reason: self.lease.lost().await,
            })
        };
        if !self.lease.holds() {
            return over.await;
        }
        tokio::select! {
            biased;
            outcome = act => outcome,
            refused = over => refused,
        }
    }

    /// Reads everything; tells the writer what exists, and takes over what the original left.
    async fn read(&self, writer: &mut Writer) -> Result<Loaded, StoreError> {
        let read = load::everything(&self.client, &self.shared).await?;
        let layout = &self.shared.layout;
        let mut taken_over = Vec::new();
        let framework = layout.node(&codec::path(&Key::Framework));
        for record in &read.loaded.records {
            if let Record::Framework(record) = record
                && !read.nodes.contains(&layout::fingerprint(&framework))
            {
                let record = Record::Framework(record.clone());
                taken_over.push(Change::put(framework.clone(), codec::encode(&record)?));
            }
        }
        let tasks = layout.original_tasks();
        let originals = !read.original.is_empty();
        for original in read.original {
            if let Some(record) = original.record {
                let record = Record::Task(record);
                let node = layout.node(&codec::path(&record.key()));
                if !read.nodes.contains(&layout::fingerprint(&node)) {
                    taken_over.push(Change::put(node, codec::encode(&record)?).and());
                }
            }
            taken_over.push(Change::delete(format!("{tasks}/{}", original.name)));
        }
        writer.learn(read.nodes);
        if !taken_over.is_empty() {
            writer.write(self.means(), taken_over).await?;
            tracing::info!("what the original framework left on ZooKeeper is taken over");
        }
        if originals && read.loaded.rejected.is_empty() {
            // The original makes it anew should it be started again.
            drop(self.shared.call(self.client.delete(&tasks, None)).await);
        }
        Ok(read.loaded)
    }

    pub(super) async fn remove_everything(&self) -> Result<(), StoreError> {
        if let Err(error) = self.led(self.remove_content()).await {
            // When the last answer was lost, nothing is left that could tell what was made.
            match load::look(&self.client, &self.shared).await {
                Ok(load::Found::Nothing) => {}
                _ => return Err(error),
            }
        }
        self.lease.end("everything was removed");
        let layout = &self.shared.layout;
        let frame = [
            self.fence.lock.clone(),
            layout.leader(),
            layout.gantry().to_owned(),
            layout.root().to_owned(),
        ];
        for node in frame {
            match self.shared.call(self.client.delete(&node, None)).await {
                // Below the root may be that of another framework.
                Ok(()) | Err(Error::NoNode | Error::NotEmpty) => {}
                Err(error) => return Err(failed(&format!("remove `{node}`"), &error)),
            }
        }
        Ok(())
    }

    /// Removes all but what says who leads.
    async fn remove_content(&self) -> Result<(), StoreError> {
        let mut writer = self.writer.lock().await;
        let layout = &self.shared.layout;
        campaign::require_alone(&self.shared, &self.client).await?;
        // Records first, then at once all that says that this is a store, and of which framework.
        let nodes = tree::nodes(&self.client, &self.shared).await?;
        writer.learn(nodes.fingerprints(layout));
        let records = nodes.entries.into_iter();
        let records = records.chain(nodes.strangers.into_iter().rev());
        let records = records.map(Change::delete).collect();
        writer.write(self.means(), records).await?;
        let rest = nodes.singles.into_iter();
        let rest = rest.chain(nodes.directories.into_iter().rev());
        let rest = rest.chain(layout.frame());
        let mut rest: Vec<Change> = rest.map(|node| Change::delete(node).and()).collect();
        if let Some(last) = rest.last_mut() {
            last.with_next = false;
        }
        writer.write(self.means(), rest).await
    }

    /// Replaces everything, marked from the first transaction to the last.
    async fn replace_content(&self, records: Vec<Record>) -> Result<(), StoreError> {
        let mut writer = self.writer.lock().await;
        let layout = &self.shared.layout;
        let mut writes: Vec<Write> = Vec::with_capacity(records.len() + 1);
        if !records.iter().any(|record| record.key() == Key::Framework) {
            writes.push(Write::Delete(Key::Framework));
        }
        writes.extend(records.into_iter().map(Write::Put));
        // The framework goes with the mark: whoever wants to end its tasks finds its id.
        writes.sort_by_cached_key(|write| match write {
            Write::Put(record) => record.key(),
            Write::Delete(key) => key.clone(),
        });
        let of_framework = write::changes(layout, &writes[..1])?;
        let puts = write::changes(layout, &writes[1..])?;
        drop(writes);

        let nodes = tree::nodes(&self.client, &self.shared).await?;
        writer.learn(nodes.fingerprints(layout));
        let mark = layout.own(codec::RESTORING_PATH);
        let mut changes = vec![
            Change::put(mark.clone(), Vec::new()).and(),
            // It may be damaged, or missing,
            Change::put(layout.own(codec::LAYOUT_PATH), codec::encode_layout()).and(),
        ];
        changes.extend(of_framework);
        // as may directories.
        let there: HashSet<&String> = nodes.directories.iter().collect();
        let missing = layout.directories().into_iter();
        let missing = missing.filter(|directory| !there.contains(directory));
        changes.extend(missing.map(|directory| Change::put(directory, Vec::new())));
        let mut kept: HashSet<String> = puts.iter().map(|change| change.node.clone()).collect();
        kept.extend(changes.iter().map(|change| change.node.clone()));
        let obsolete = nodes.singles.into_iter().chain(nodes.entries);
        let obsolete = obsolete.chain(nodes.strangers.into_iter().rev());
        let obsolete = obsolete.filter(|node| !kept.contains(node));
        changes.extend(obsolete.map(Change::delete));
        changes.extend(puts);
        changes.push(Change::delete(mark));
        writer.write(self.means(), changes).await
    }
}

#[async_trait]
impl Store for Term {
    async fn load(&self) -> Result<Loaded, StoreError> {
        self.led(async {
            let mut writer = self.writer.lock().await;
            self.read(&mut writer).await
        })
        .await
    }

    async fn commit(&self, batch: Vec<Write>) -> Result<(), StoreError> {
        self.led(async {
            let mut writer = self.writer.lock().await;
            let changes = write::changes(&self.shared.layout, &batch)?;
            drop(batch);
            if !writer.knows() {
                self.read(&mut writer).await?;
            }
            writer.write(self.means(), changes).await
        })
        .await
    }

    async fn salvage(&self) -> Result<Loaded, StoreError> {
        self.led(load::salvage(&self.client, &self.shared)).await
    }

    async fn replace(&self, records: Vec<Record>) -> Result<(), StoreError> {
        self.led(self.replace_content(records)).await
    }

    fn lease(&self) -> Lease {
        self.lease.clone()
    }

    async fn resign(&self) {
        // First we stop, then others may begin.
        self.lease.end("it was given up");
        let _renewed = self.renews_session();
        let removed = self.client.delete(&self.fence.lock, None);
        match timeout(RESIGN_TIMEOUT, removed).await {
            Ok(Ok(()) | Err(Error::NoNode)) => {}
            Ok(Err(error)) => tracing::warn!(%error, "ZooKeeper was not told that we resign"),
            Err(_) => tracing::warn!("ZooKeeper did not hear in time that we resign"),
        }
    }
}

impl Drop for Term {
    fn drop(&mut self) {
        self.keeper.abort();
        let _renewed = self.renews_session();
        if self.lease.holds() || self.lease.was_taken_back() {
            self.lease.end("it was given up");
            campaign::give_up(&self.client, &self.fence.lock);
        }
        // Else the lock was given up, or ZooKeeper could not be reached: should the session have
        // outlived that, our place is still the first, and the next campaign finds it.
    }
}

/// Has a new session made when it is dropped.
struct RenewSession<'a>(&'a Term);

impl Drop for RenewSession<'_> {
    fn drop(&mut self) {
        self.0.shared.link.renew(self.0.client.session_id());
    }
}

/// Has a quorum confirm that our lock node is there.
async fn confirm(shared: &Shared, client: &Client, fence: &Fence) -> Result<(), MultiWriteError> {
    let mut multi = client.new_multi_writer();
    multi.add_check_version(&fence.lock, -1)?;
    shared.call(multi.commit()).await.map(drop)
}

/// Renews the lease until it ends.
async fn keep(
    shared: Arc<Shared>,
    client: Client,
    fence: Arc<Fence>,
    lease: Lease,
    interval: Duration,
    lasts: Duration,
) {
    let renew = async {
        loop {
            tokio::time::sleep(interval).await;
            loop {
                let sent = Moment::now();
                match confirm(&shared, &client, &fence).await {
                    Ok(()) => {
                        lease.renew(sent.after(lasts));
                        break;
                    }
                    Err(MultiWriteError::OperationFailed { source, .. }) => {
                        return format!("our lock node cannot be confirmed: {source}");
                    }
                    Err(MultiWriteError::RequestFailed { .. }) => {
                        tokio::time::sleep(RETRY_PAUSE).await;
                    }
                }
            }
        }
    };
    let session = async {
        let mut watcher = client.state_watcher();
        let mut state = client.state();
        loop {
            match state {
                SessionState::Expired => return "the session has expired",
                SessionState::AuthFailed => return "ZooKeeper refuses the user and password",
                SessionState::Closed => return "the session was closed",
                _ => state = watcher.changed().await,
            }
        }
    };
    tokio::select! {
        reason = renew => lease.take_back(&reason),
        reason = session => lease.end(reason),
        reason = lease.lost() => tracing::warn!(reason, "this process no longer leads"),
    }
}

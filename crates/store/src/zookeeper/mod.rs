//! A store on an ensemble of ZooKeeper servers (3.6 or later): production, and high availability.
//!
//! [`ZooKeeper`] is one process's connection. It reads without any right ([`ZooKeeper::read`]), and
//! becomes the one that may write ([`ZooKeeper::campaign`]): a [`Store`] for one term.
//!
//! # Layout
//!
//! Everything lies below the framework's root, `/dcos-service-<name>`:
//!
//! | node | holds |
//! |---|---|
//! | `framework-id` | the framework's id as plain text, where the original keeps it |
//! | `tasks/<task id>` | tasks of the original; taken over by the first leader, then gone |
//! | `gantry/layout` | the version of all below ([`codec`](crate::codec)) |
//! | `gantry/epoch` | the number of the term, and who leads it; the fence |
//! | `gantry/transactions` | nothing; its version counts the transactions |
//! | `gantry/leader/_c_<id>-latch-<n>` | the candidates, as Curator's `LeaderLatch` writes them; the first leads |
//! | `gantry/framework`, `gantry/brake`, `gantry/access` | the records of these paths |
//! | `gantry/restoring` | nothing; stands while a replacement is under way, or was cut off |
//! | `gantry/<kind>/<shard>/<rest>` | all other records: of the path `<kind>/<rest>`, with `:` for `/` |
//!
//! Shards keep the lists of names short, as an answer of ZooKeeper must stay below 1 MB: 256 for tasks
//! and for instances. At 100,000 tasks such a list has 35 kB, at 1,000,000 it has 350 kB.
//!
//! # Writing
//!
//! Every transaction is one `multi` of at most [`TRANSACTION_BYTES`] (one record may be larger,
//! [`RECORD_BYTES_MAX`](crate::codec::RECORD_BYTES_MAX)). It makes sure that our lock node is there and
//! that `gantry/epoch` is still of our term, and moves `gantry/transactions` from one expected version
//! to the next: transactions take effect in order, each once, and none after another process has begun a
//! term. How many were made is read from that version when an answer was lost.
//!
//! # Leading
//!
//! The [`Lease`](crate::Lease) lasts two thirds of the session's time-out, counted from the *sending* of the last
//! transaction (of the lock's check alone, when nothing else is to be written) that a quorum confirmed.
//! ZooKeeper lets nobody else lead before the whole time-out has passed, so that the lease has ended by
//! then, whoever is cut off from whom. A read or a ping is no confirmation: a follower answers these
//! for seconds after it was cut off from its leader.

mod campaign;
mod import;
mod layout;
mod load;
mod session;
mod term;
mod tree;
mod write;

#[cfg(test)]
mod tests;

pub use write::TRANSACTION_BYTES;

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use gantry_core::Timestamp;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use tokio::{sync::watch, task::JoinHandle};

use crate::{Loaded, Store, StoreError};
use layout::Layout;
use session::Link;
use term::Term;

/// Where the servers are, and as whom to come.
#[derive(Clone, Debug)]
pub struct ZooKeeperConfig {
    /// The servers as `host:port`, IPv6 in brackets; at least one.
    pub hosts: Vec<String>,
    /// A node, `/a/b`, below which everything lies. Made when it is not there.
    pub chroot: Option<String>,
    /// The framework's root below `chroot`: `/dcos-service-<name>`, with `-` for blanks.
    pub root: String,
    /// `user:password` for the digest scheme. Nodes are made for this user alone; without it, for
    /// everybody, as the original's.
    pub auth: Option<SecretString>,
    /// To talk over TLS.
    pub tls: Option<ZooKeeperTls>,
    /// After so long without a word from us ZooKeeper lets another process lead. The servers may
    /// shorten or lengthen it (Debian's to 4 s to 40 s).
    pub session_timeout: Duration,
    /// Who we are.
    pub member: Member,
}

impl ZooKeeperConfig {
    /// The default of [`ZooKeeperConfig::session_timeout`].
    pub const SESSION_TIMEOUT: Duration = Duration::from_secs(10);
}

/// How to talk over TLS. The files are read for each new session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZooKeeperTls {
    /// Certificates (PEM) of the authorities to trust; the system's when absent.
    pub ca: Option<PathBuf>,
    /// Our own certificate, where the servers ask for one.
    pub identity: Option<ZooKeeperIdentity>,
}

/// A certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZooKeeperIdentity {
    /// The certificate and those between it and the authority, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
}

/// A process that leads or would like to; what it says of itself in its lock node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// A UUID, new for each process.
    pub id: String,
    /// The host it runs on.
    pub host: String,
    /// Where its HTTP is reached, without a slash at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// How things stand with ZooKeeper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZooKeeperStatus {
    /// Since when we are connected; or why we are not, as a clause.
    pub connected: Result<Timestamp, String>,
    /// Who leads, as last seen: kept while we are not connected. It may just be beginning its
    /// term, or have lost its lease.
    pub leader: Option<Member>,
}

/// One process's connection to the ensemble. Dropping it ends the session.
#[derive(Debug)]
pub struct ZooKeeper {
    shared: Arc<Shared>,
    supervisor: JoinHandle<()>,
    // What remove_everything acts through.
    term: Mutex<Weak<Term>>,
}

#[derive(Debug)]
struct Shared {
    config: ZooKeeperConfig,
    layout: Layout,
    link: Link,
}

impl ZooKeeper {
    /// Begins to connect, and returns at once. From then on a task of the current tokio runtime
    /// keeps a session, and makes a new one when it has expired; [`ZooKeeper::status`] says how far it
    /// is.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn connect(config: ZooKeeperConfig) -> Self {
        let chroot = config.chroot.as_deref().unwrap_or_default();
        let layout = Layout::new(chroot, &config.root, config.auth.is_some());
        let shared = Arc::new(Shared {
            link: Link::new(),
            layout,
            config,
        });
        let supervisor = tokio::spawn(session::supervise(shared.clone()));
        Self {
            shared,
            supervisor,
            term: Mutex::new(Weak::new()),
        }
    }

    /// How things stand. Level-triggered: look at the value first.
    pub fn status(&self) -> watch::Receiver<ZooKeeperStatus> {
        self.shared.link.status()
    }

    /// Reads everything, without any right to write and without writing: for a stand-by, a plan, a
    /// backup. While another process writes, what is read may be of slightly different moments.
    /// Tasks of the original that nobody has taken over yet are among the records.
    ///
    /// Waits for a connection, but not for longer than the session's time-out.
    ///
    /// # Errors
    /// See [`Store::load`].
    pub async fn read(&self) -> Result<Loaded, StoreError> {
        let client = self.shared.client_soon().await?;
        let read = load::everything(&client, &self.shared).await?;
        Ok(read.loaded)
    }

    /// Waits, for ever if need be, until this process leads, and returns the right to write.
    /// Dropping what is returned, or the future, resigns. To lead again after the lease has ended,
    /// drop the old store and call this again.
    ///
    /// # Errors
    /// What waiting does not mend: [`StoreError::NewerLayout`], and [`StoreError::Refused`] when
    /// ZooKeeper's access lists keep us out. What is damaged can be led, but only to be salvaged,
    /// replaced or removed. [`StoreError::Unavailable`] when ZooKeeper is connected, but has answered
    /// with failures for as long as a session lasts.
    pub async fn campaign(&self) -> Result<Arc<dyn Store>, StoreError> {
        let term = Arc::new(campaign::lead(&self.shared).await?);
        *self.term() = Arc::downgrade(&term);
        Ok(term)
    }

    /// Makes sure that no other process stands by. Only for the process that leads.
    ///
    /// # Errors
    /// `Refused` when another one does, with its host; and as [`Store::commit`].
    pub async fn require_alone(&self) -> Result<(), StoreError> {
        let client = self.shared.client_soon().await?;
        campaign::require_alone(&self.shared, &client).await
    }

    /// Removes everything this framework has on ZooKeeper, the framework's id included, and ends the
    /// lease. Only for the process that leads ([`ZooKeeper::campaign`]), and only while no other
    /// process stands by.
    ///
    /// # Errors
    /// As [`Store::commit`]. `Refused` when we do not lead or are not alone: nothing was removed.
    pub async fn remove_everything(&self) -> Result<(), StoreError> {
        let term = self.term().upgrade();
        match term {
            Some(term) => term.remove_everything().await,
            None => Err(StoreError::Refused {
                reason: "this process does not lead".to_owned(),
            }),
        }
    }

    fn term(&self) -> std::sync::MutexGuard<'_, Weak<Term>> {
        self.term.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ZooKeeper {
    fn drop(&mut self) {
        self.supervisor.abort();
        self.shared.link.close();
    }
}

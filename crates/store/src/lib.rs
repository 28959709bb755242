//! Where Gantry keeps what must survive it: one [`Store`] trait and its homes.
//!
//! | home | for |
//! |---|---|
//! | [`Memory`] | tests: nothing survives the process, faults can be planted |
//! | [`Embedded`] | one machine: one file, every commit on the disk before it is acknowledged |
//! | [`ZooKeeper`] | an ensemble of servers: several processes, of which one at a time may act |
//!
//! All homes keep the same thing: records of [`gantry_core::Record`] as JSON under the paths of
//! [`codec`]. What is promised about them is written down in [`Store`], and tested by one suite
//! that every home runs (`conformance`, behind the feature of that name).

pub mod codec;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod embedded;
mod error;
mod lease;
mod memory;
mod zookeeper;

pub use embedded::Embedded;
pub use error::StoreError;
pub use lease::Lease;
pub use memory::{Fault, Held, Memory};
pub use zookeeper::{
    Member, TRANSACTION_BYTES, ZooKeeper, ZooKeeperConfig, ZooKeeperIdentity, ZooKeeperStatus,
    ZooKeeperTls,
};

use async_trait::async_trait;
use gantry_core::{Found, Key, Record, Unreadable, Write};

/// The right to read and write the records for one term.
///
/// Calls of one store may overlap; batches are committed in the order in which
/// [`Store::commit`] was first polled.
#[async_trait]
pub trait Store: Send + Sync {
    /// Reads everything. A record that cannot be understood is reported and left where it is,
    /// and the others are read; a store that cannot be read is an error, never an empty answer.
    ///
    /// # Errors
    /// Every variant of [`StoreError`] but `TooLarge`. `Refused`: the term is over.
    async fn load(&self) -> Result<Loaded, StoreError>;

    /// Makes the changes of `batch`, in order. When this returns `Ok` all of them survive the
    /// death of the process and, where the home has a disk, of the machine.
    ///
    /// A home whose transactions are bounded ([`ZooKeeper`]) cuts a large batch into several: when
    /// it does not return `Ok`, the first changes may have been made and the others not, but never
    /// a later one without an earlier one. The other homes make all or none.
    ///
    /// Committing a batch again is harmless as long as no other was committed in between. A record
    /// larger than [`codec::RECORD_BYTES_SOFT`] is logged, one larger than
    /// [`codec::RECORD_BYTES_MAX`] fails its batch before anything is changed.
    ///
    /// A dropped future does not take the batch back: it may still be committed.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] alone may be answered by committing the same batch again.
    async fn commit(&self, batch: Vec<Write>) -> Result<(), StoreError>;

    /// Reads what is there, however damaged: also while a replacement is unfinished, and when the
    /// framework's own record cannot be understood; all that is wrong is among the rejected. Only
    /// for a replacement or removal: whoever acts on it acts on a part.
    ///
    /// # Errors
    /// As [`Store::load`], without `HalfReplaced`; `Corrupt` where a home cannot tell what was stored.
    async fn salvage(&self) -> Result<Loaded, StoreError>;

    /// Makes the store hold these records and nothing else: entries that could not be understood
    /// go, too.
    ///
    /// A home whose transactions are bounded ([`ZooKeeper`]) begins by marking the store and takes
    /// the mark off in the end. When this does not return `Ok` the mark may stand, and
    /// [`Store::load`] fails with [`StoreError::HalfReplaced`] until a replacement is complete. The
    /// other homes replace all or nothing.
    ///
    /// # Errors
    /// As [`Store::commit`].
    async fn replace(&self, records: Vec<Record>) -> Result<(), StoreError>;

    /// Until when this process may act. It ends before another process can begin to.
    fn lease(&self) -> Lease;

    /// Gives up the right to act, so that another process may begin at once and not only after a
    /// time-out: ends the lease, after which commits are refused. Does nothing in a home that no
    /// other process can write. Returns within a bounded time, whether or not anybody could be
    /// told.
    async fn resign(&self);
}

/// All that a store held.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// Version of the layout that the store is written in; 1 to [`codec::LAYOUT`].
    pub layout: u32,
    /// The records, each key once, in an order of the home's own that is the same as long as nothing
    /// is changed.
    pub records: Vec<Record>,
    /// What could not be understood.
    pub rejected: Vec<Rejected>,
}

impl From<Loaded> for Found {
    fn from(loaded: Loaded) -> Self {
        let unreadable = loaded.rejected.into_iter().map(|rejected| Unreadable {
            place: rejected.key.into(),
            key: rejected.of,
            reason: rejected.reason.into(),
        });
        Self {
            records: loaded.records,
            unreadable: unreadable.collect(),
        }
    }
}

/// An entry that could not be understood. It stays in the store, untouched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Its path.
    pub key: String,
    /// Whose record it should hold; `None` when that cannot be told.
    pub of: Option<Key>,
    /// Why, as a clause.
    pub reason: String,
}

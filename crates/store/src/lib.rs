//! Where Gantry keeps what must survive it: one [`Store`] trait and its homes.
//!
//! | home | for |
//! |---|---|
//! | [`Memory`] | tests: nothing survives the process, faults can be planted |
//! | [`Embedded`] | one machine: one file, every commit on the disk before it is acknowledged |
//!
//! All homes keep the same thing: records of [`gantry_core::Record`] as JSON under the paths of
//! [`codec`]. What is promised about them is written down in [`Store`], and tested by one suite
//! that every home runs (`conformance`, behind the feature of that name).

pub mod codec;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod embedded;
mod error;
mod memory;

pub use embedded::Embedded;
pub use error::StoreError;
pub use memory::{Fault, Held, Memory};

use async_trait::async_trait;
use gantry_core::{Record, Write};
use tokio::sync::watch;

/// Keeps records, and says who may change them.
///
/// Calls of one store may overlap; batches are committed in the order in which
/// [`Store::commit`] was first polled.
#[async_trait]
pub trait Store: Send + Sync {
    /// Reads everything. A record that cannot be understood is reported and left where it is,
    /// and the others are read; a store that cannot be read is an error, never an empty answer.
    ///
    /// # Errors
    /// Every variant of [`StoreError`] but `Refused` and `TooLarge`.
    async fn load(&self) -> Result<Loaded, StoreError>;

    /// Makes all changes of `batch`, in order, or none. When this returns `Ok` they survive the
    /// death of the process and, where the home has a disk, of the machine. Committing a batch
    /// again is harmless as long as no other was committed in between. A record larger than
    /// [`codec::RECORD_BYTES_SOFT`] is logged, one larger than [`codec::RECORD_BYTES_MAX`]
    /// fails its batch.
    ///
    /// A dropped future does not take the batch back: it may still be committed.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] alone may be answered by committing the same batch again.
    async fn commit(&self, batch: Vec<Write>) -> Result<(), StoreError>;

    /// Whether this process is the one that may act. Level-triggered: look at the value first.
    fn leadership(&self) -> watch::Receiver<Leadership>;
}

/// Whether this process may act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leadership {
    /// It may: the store takes its commits.
    Leader,
    /// It may not: another process does, or might.
    StandBy,
}

/// All that a store held.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// Version of the layout that the store is written in; 1 to [`codec::LAYOUT`].
    pub layout: u32,
    /// The records, in the order of their paths.
    pub records: Vec<Record>,
    /// What could not be understood.
    pub rejected: Vec<Rejected>,
}

/// An entry that could not be understood. It stays in the store, untouched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Its path.
    pub key: String,
    /// Why, as a clause.
    pub reason: String,
}

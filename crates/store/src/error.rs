//! What can go wrong with a store, told apart by what the caller must do.

use std::path::PathBuf;

use thiserror::Error;

/// Why a store did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StoreError {
    /// It did not answer, or failed on the way: a batch may have been committed or not. Commit
    /// the same batch again, with a pause, before any other.
    #[error("the store did not confirm, and may or may not have done what was asked: {reason}")]
    Unavailable {
        /// What happened.
        reason: String,
    },
    /// This process is not, or no longer, allowed to write. Of a batch that was under way when its
    /// right ended the first changes may have been made. Never commit again: another process may be
    /// acting on newer records.
    #[error("the store refused the write: {reason}")]
    Refused {
        /// What happened.
        reason: String,
    },
    /// A record is larger than the limit. Nothing of the batch was changed.
    #[error(
        "the record `{key}` has {bytes} bytes, more than the limit of {limit}: make it smaller"
    )]
    TooLarge {
        /// Path of the record.
        key: String,
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// What is stored as a whole is damaged, or was not written by Gantry. Nothing was changed.
    #[error(
        "the store at `{place}` cannot be read: {reason}; restore a copy, or move it away to start from nothing"
    )]
    Corrupt {
        /// File or node.
        place: String,
        /// What is wrong with it.
        reason: String,
    },
    /// [`Store::replace`](crate::Store::replace) was cut off: of what it should hold it may hold a
    /// part. Only another replacement helps.
    #[error(
        "the store at `{place}` holds a part of a backup, as its restoration was cut off: repeat `gantry restore --replace FILE`"
    )]
    HalfReplaced {
        /// File or node.
        place: String,
    },
    /// It was written by a newer Gantry. Nothing was changed.
    #[error(
        "the store has layout {found}, and this version knows layouts up to {known}: start the newer version of Gantry"
    )]
    NewerLayout {
        /// Layout of the store.
        found: u32,
        /// Newest layout this version knows.
        known: u32,
    },
    /// Tasks are recorded, but not the framework that they belong to: whoever went on would become
    /// another framework, and leave them behind.
    #[error(
        "{tasks} records are of tasks or may be, but the framework id that they belong to is not stored: restore it from a backup, or start once with `--forget-framework-id=unknown` to become a new framework and leave them behind"
    )]
    NoFrameworkId {
        /// How many.
        tasks: usize,
    },
    /// The recorded tasks are of a framework of another name, which is part of their ids: whoever went
    /// on would start all of them a second time.
    #[error(
        "the {tasks} tasks that are recorded are of the framework `{name}`, and this is `{wanted}`, so that none of them is touched: set FRAMEWORK_NAME={name} again, or give `{wanted}` a store of its own (STORE, ZK_URL, ZK_PATH); a framework that is to have another name is first ended under its old one, by `gantry uninstall`"
    )]
    OtherFramework {
        /// How many tasks.
        tasks: usize,
        /// Of which framework.
        name: String,
        /// Which framework was to act on them.
        wanted: String,
    },
    /// Another process has the file open.
    #[error("another process has the store `{}` open: stop it, or give this one a file of its own", path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
}

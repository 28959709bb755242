//! A store in one file of one machine.
//!
//! The file is a redb database with one table, `records`, from path to JSON ([`codec`]). One
//! thread owns it, because its transactions block: requests reach it through a queue of
//! [`QUEUE`] places and are answered in order. A commit is one transaction and is on the disk
//! (`fdatasync`) before it is acknowledged.
//!
//! Opening verifies the checksum of every page. A file that another process has open is refused;
//! so is one that is damaged or empty: a new store is made under another name and moved into
//! place whole, so that an empty file is never one of ours.

use std::{
    ffi::OsString,
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    thread::{self, JoinHandle},
};

use async_trait::async_trait;
use gantry_core::{Record, Write};
use redb::{
    Database, DatabaseError, Durability, ReadableDatabase, ReadableTable, StorageError,
    TableDefinition, TableError,
};
use tokio::sync::{mpsc, oneshot};

use crate::{Lease, Loaded, Store, StoreError, codec};

const RECORDS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("records");

/// Requests that may wait for the thread. Gantry's committer waits for each answer, so that two
/// are enough; more callers wait for a place.
const QUEUE: usize = 8;

/// Memory for pages. Records are read at the start only and then written, for which the upper
/// pages of the tree are all that is worth keeping.
const CACHE_BYTES: usize = 16 << 20;

/// A store in one file. Dropping it waits for the commits it was given and closes the file.
#[derive(Debug)]
pub struct Embedded {
    // `None` only while being dropped.
    requests: Option<mpsc::Sender<Request>>,
    thread: Option<JoinHandle<()>>,
    lease: Lease,
}

#[derive(Debug)]
enum Request {
    Load(oneshot::Sender<Result<Loaded, StoreError>>),
    Salvage(oneshot::Sender<Result<Loaded, StoreError>>),
    Replace(Vec<Record>, oneshot::Sender<Result<(), StoreError>>),
    Commit(Vec<Write>, oneshot::Sender<Result<(), StoreError>>),
}

impl Embedded {
    /// Opens the file, or makes it and the directories above it when there is none.
    ///
    /// # Errors
    /// - [`StoreError::Locked`]: another process has it open.
    /// - [`StoreError::Corrupt`]: it is damaged, empty, or not ours.
    /// - [`StoreError::NewerLayout`]: it was written by a newer Gantry.
    /// - [`StoreError::Unavailable`]: the file system refuses.
    pub async fn open(path: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let path = path.into();
        Self::open_with(move || open_file(&path)).await
    }

    async fn open_with(
        open: impl Fn() -> Result<Database, StoreError> + Send + 'static,
    ) -> Result<Self, StoreError> {
        let (requests, queue) = mpsc::channel(QUEUE);
        let (opened, answer) = oneshot::channel();
        let thread = thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || {
                let database = match open() {
                    Ok(database) => database,
                    Err(error) => {
                        let _ = opened.send(Err(error));
                        return;
                    }
                };
                let _ = opened.send(Ok(()));
                Owner {
                    open,
                    database: Some(database),
                }
                .serve(queue);
            })
            .map_err(|error| StoreError::Unavailable {
                reason: format!("its thread cannot be started: {error}"),
            })?;
        answer.await.unwrap_or_else(|_| Err(thread_ended()))?;
        Ok(Self {
            requests: Some(requests),
            thread: Some(thread),
            lease: Lease::forever(),
        })
    }

    async fn request<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Request,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let requests = self.requests.as_ref().ok_or_else(thread_ended)?;
        requests
            .send(request(reply))
            .await
            .map_err(|_| thread_ended())?;
        answer.await.unwrap_or_else(|_| Err(thread_ended()))
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was already answered with an error.
            let _ = thread.join();
        }
    }
}

#[async_trait]
impl Store for Embedded {
    async fn load(&self) -> Result<Loaded, StoreError> {
        self.request(Request::Load).await
    }

    async fn commit(&self, batch: Vec<Write>) -> Result<(), StoreError> {
        self.request(|reply| Request::Commit(batch, reply)).await
    }

    async fn salvage(&self) -> Result<Loaded, StoreError> {
        self.request(Request::Salvage).await
    }

    async fn replace(&self, records: Vec<Record>) -> Result<(), StoreError> {
        self.request(|reply| Request::Replace(records, reply)).await
    }

    fn lease(&self) -> Lease {
        // Whoever has the file open is the only one.
        self.lease.clone()
    }

    async fn resign(&self) {}
}

fn thread_ended() -> StoreError {
    StoreError::Unavailable {
        reason: "the thread of the store has ended".to_owned(),
    }
}

// === The thread ===

struct Owner<Open> {
    open: Open,
    // `None` after a failed read or write: redb then refuses everything until opened anew.
    database: Option<Database>,
}

impl<Open: Fn() -> Result<Database, StoreError>> Owner<Open> {
    fn serve(mut self, mut queue: mpsc::Receiver<Request>) {
        while let Some(request) = queue.blocking_recv() {
            // A caller that is gone does not want the answer; its batch is committed all the same.
            match request {
                Request::Load(reply) => {
                    let loading = self.with_database(load);
                    let _ = reply.send(loading.and_then(codec::Loading::finish));
                }
                Request::Salvage(reply) => {
                    let loading = self.with_database(load);
                    let _ = reply.send(loading.map(codec::Loading::salvage));
                }
                Request::Commit(batch, reply) => {
                    let result = codec::changes(&batch).and_then(|changes| {
                        self.with_database(|database| commit(database, &changes))
                    });
                    let _ = reply.send(result);
                }
                Request::Replace(records, reply) => {
                    let result = codec::puts(records).and_then(|changes| {
                        self.with_database(|database| replace(database, &changes))
                    });
                    let _ = reply.send(result);
                }
            }
        }
    }

    fn with_database<T>(
        &mut self,
        act: impl FnOnce(&Database) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        let database = match self.database.take() {
            Some(database) => database,
            None => (self.open)()?,
        };
        match act(&database) {
            Ok(value) => {
                self.database = Some(database);
                Ok(value)
            }
            Err(Failure::Store(error)) => {
                self.database = Some(database);
                Err(error)
            }
            Err(Failure::Database(error)) => Err(StoreError::Unavailable {
                reason: format!("its file cannot be read or written: {error}"),
            }),
        }
    }
}

/// What may go wrong in a transaction.
enum Failure {
    /// The content is not as it should be; the database itself works.
    Store(StoreError),
    /// The database failed.
    Database(redb::Error),
}

impl<E: Into<redb::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Database(error.into())
    }
}

fn load(database: &Database) -> Result<codec::Loading, Failure> {
    const PLACE: &str = "its file";
    let transaction = database.begin_read()?;
    let table = transaction.open_table(RECORDS)?;
    let layout = table.get(codec::LAYOUT_PATH)?;
    let layout = layout.as_ref().map_or(&[][..], |bytes| bytes.value());
    let layout = codec::decode_layout(PLACE, layout).map_err(Failure::Store)?;
    let mut loading = codec::Loading::new(PLACE, layout);
    for entry in table.iter()? {
        let (path, bytes) = entry?;
        loading.entry(path.value(), bytes.value());
    }
    Ok(loading)
}

fn commit(database: &Database, changes: &[codec::Change]) -> Result<(), Failure> {
    write(database, changes, false)
}

/// Makes the changes where nothing but the layout is left.
fn replace(database: &Database, changes: &[codec::Change]) -> Result<(), Failure> {
    write(database, changes, true)
}

fn write(database: &Database, changes: &[codec::Change], replace: bool) -> Result<(), Failure> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    {
        let mut table = transaction.open_table(RECORDS)?;
        if replace {
            table.retain(|path, _| path == codec::LAYOUT_PATH)?;
        }
        for (path, bytes) in changes {
            match bytes {
                Some(bytes) => table.insert(path.as_str(), bytes.as_slice())?,
                None => table.remove(path.as_str())?,
            };
        }
    }
    transaction.commit()?;
    Ok(())
}

// === The file ===

fn open_file(path: &Path) -> Result<Database, StoreError> {
    let exists = path
        .try_exists()
        .map_err(|error| unavailable(path, "cannot be looked at", &error))?;
    if !exists {
        create_file(path)?;
    }
    let database = builder().open(path);
    let database = database.map_err(|error| explain(path, error))?;
    check_layout(&database, path)?;
    Ok(database)
}

fn check_layout(database: &Database, path: &Path) -> Result<(), StoreError> {
    let read = || -> Result<Option<Vec<u8>>, redb::Error> {
        let table = match database.begin_read()?.open_table(RECORDS) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(None),
            table => table?,
        };
        let bytes = table.get(codec::LAYOUT_PATH)?;
        Ok(bytes.map(|bytes| bytes.value().to_vec()))
    };
    match read() {
        Ok(Some(bytes)) => codec::decode_layout(&path.display().to_string(), &bytes).map(drop),
        Ok(None) => Err(corrupt(path, "it was not made by Gantry")),
        Err(redb::Error::Io(error)) => Err(unavailable(path, "cannot be read", &error)),
        Err(error) => Err(corrupt(path, &error.to_string())),
    }
}

/// Makes an empty store under another name and moves it into place, so that whatever stands
/// under `path` is whole. Does nothing when another process was faster.
fn create_file(path: &Path) -> Result<(), StoreError> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(directory)
        .map_err(|error| unavailable(directory, "cannot be made", &error))?;
    let mut unfinished = OsString::from(path);
    unfinished.push(".new");
    let unfinished = PathBuf::from(unfinished);
    let database = match create_empty(&unfinished) {
        // Left by a process that died while making it.
        Err(StoreError::Corrupt { .. }) => {
            fs::remove_file(&unfinished)
                .map_err(|error| unavailable(&unfinished, "cannot be removed", &error))?;
            create_empty(&unfinished)?
        }
        other => other?,
    };
    // While the database is open nobody else can be moving a file of this name into place.
    let taken = path
        .try_exists()
        .map_err(|error| unavailable(path, "cannot be looked at", &error))?;
    let done = if taken {
        fs::remove_file(&unfinished)
    } else {
        fs::rename(&unfinished, path).and_then(|()| fs::File::open(directory)?.sync_all())
    };
    drop(database);
    done.map_err(|error| unavailable(path, "cannot be moved into place", &error))
}

fn create_empty(path: &Path) -> Result<Database, StoreError> {
    let database = builder()
        .create(path)
        .map_err(|error| explain(path, error))?;
    let layout = [(codec::LAYOUT_PATH.to_owned(), Some(codec::encode_layout()))];
    match commit(&database, &layout) {
        Ok(()) => Ok(database),
        Err(Failure::Store(error)) => Err(error),
        Err(Failure::Database(redb::Error::Io(error))) => {
            Err(unavailable(path, "cannot be written", &error))
        }
        Err(Failure::Database(error)) => Err(corrupt(path, &error.to_string())),
    }
}

fn builder() -> redb::Builder {
    let mut builder = Database::builder();
    builder
        .set_cache_size(CACHE_BYTES)
        // Without it a damaged file may be trusted, or make redb panic.
        .set_check_integrity_on_open(true);
    builder
}

fn explain(path: &Path, error: DatabaseError) -> StoreError {
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
            StoreError::Locked {
                path: path.to_owned(),
            }
        }
        // How redb reports a file that is empty, cut short or not its own.
        DatabaseError::Storage(StorageError::Io(error))
            if matches!(
                error.kind(),
                ErrorKind::InvalidData | ErrorKind::UnexpectedEof
            ) =>
        {
            corrupt(path, &error.to_string())
        }
        DatabaseError::Storage(StorageError::Io(error)) => {
            unavailable(path, "cannot be opened", &error)
        }
        other => corrupt(path, &other.to_string()),
    }
}

fn unavailable(path: &Path, what: &str, error: &std::io::Error) -> StoreError {
    StoreError::Unavailable {
        reason: format!("`{}` {what}: {error}", path.display()),
    }
}

fn corrupt(path: &Path, reason: &str) -> StoreError {
    StoreError::Corrupt {
        place: path.display().to_string(),
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests;

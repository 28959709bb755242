//! How records are written down: the only place that knows.
//!
//! Every home keeps entries of a path and bytes. The path names what it is, the bytes are the
//! record as JSON, so that an operator can read (and with care repair) a store with any tool:
//!
//! | path | holds |
//! |---|---|
//! | `layout` | `{"version":1}`: how everything else is written |
//! | `framework` | the framework's id |
//! | `workloads/<name>` | what is wanted of a workload |
//! | `revisions/<name>/<n>` | a template of its tasks |
//! | `instances/<name>/<n>` | failures and history of an instance |
//! | `tasks/<task id>` | a live task, or the intent of one |
//! | `deployments/<n>` | a deployment |
//! | `audit/<n>` | an operator's action; n is a position in a ring |
//! | `brake` | the disaster brake, while it is on |
//! | `modules/<module>/<key>` | a value that a module keeps |
//! | `access` | which sessions have ended before their time |
//! | `restoring` | nothing; while it is there, all else is a part of what is to be there |
//!
//! In names every byte but ASCII letters, digits, `_`, `-`, `~` and `.` is written `%XX`, so that
//! each is one segment of a path whatever it contains (`.`, `..` and the empty name, which some
//! homes cannot keep, are `%2E`, `%2E%2E` and `%`). A key has one path only: `%2e` and `01` name
//! nothing.
//!
//! Fields that are not known are ignored. A field that must be understood needs a new layout.

use gantry_core::{DeploymentId, Key, Record, TaskId, WorkloadName, Write};
use serde::{Deserialize, Serialize};

use crate::{Loaded, Rejected, StoreError};

/// The layout that is written, and the newest that is understood.
pub const LAYOUT: u32 = 1;

/// Path of the layout's version.
pub const LAYOUT_PATH: &str = "layout";

/// Path of the mark of a replacement that is under way, or was cut off.
pub const RESTORING_PATH: &str = "restoring";

/// A larger record is logged: something grows that should not.
pub const RECORD_BYTES_SOFT: usize = 64 * 1024;

/// A larger record is refused. ZooKeeper takes 1 MiB in all per request; half of it leaves room
/// for the rest of the request.
pub const RECORD_BYTES_MAX: usize = 512 * 1024;

// === Paths ===

/// The path of a key.
pub fn path(key: &Key) -> String {
    match key {
        Key::Framework => "framework".to_owned(),
        Key::Workload(name) => format!("workloads/{}", escape(name.as_str())),
        Key::Revision(name, number) => format!("revisions/{}/{number}", escape(name.as_str())),
        Key::Instance(name, number) => format!("instances/{}/{number}", escape(name.as_str())),
        Key::Task(id) => format!("tasks/{}", escape(id.as_str())),
        Key::Deployment(id) => format!("deployments/{id}"),
        Key::Audit(position) => format!("audit/{position}"),
        Key::Brake => "brake".to_owned(),
        Key::ModuleValue(module, key) => format!("modules/{}/{}", escape(module), escape(key)),
        Key::Access => "access".to_owned(),
    }
}

/// The key of a path; `None` when no key is written so.
pub fn key(path_text: &str) -> Option<Key> {
    let mut segments = path_text.split('/');
    let key = match (segments.next()?, segments.next(), segments.next()) {
        ("framework", None, None) => Key::Framework,
        ("brake", None, None) => Key::Brake,
        ("access", None, None) => Key::Access,
        ("modules", Some(module), Some(key)) => {
            Key::ModuleValue(unescape(module)?.into(), unescape(key)?.into())
        }
        ("workloads", Some(name), None) => Key::Workload(WorkloadName::new(unescape(name)?)),
        ("revisions", Some(name), Some(number)) => {
            Key::Revision(WorkloadName::new(unescape(name)?), number.parse().ok()?)
        }
        ("instances", Some(name), Some(number)) => {
            Key::Instance(WorkloadName::new(unescape(name)?), number.parse().ok()?)
        }
        ("tasks", Some(id), None) => Key::Task(TaskId::new(unescape(id)?)),
        ("deployments", Some(id), None) => Key::Deployment(DeploymentId(id.parse().ok()?)),
        ("audit", Some(position), None) => Key::Audit(position.parse().ok()?),
        _ => return None,
    };
    // Two paths for one key would let an old record come back beside the new one.
    (path(&key) == path_text).then_some(key)
}

fn escape(name: &str) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    if name.is_empty() {
        return "%".to_owned();
    }
    let only_dots = matches!(name, "." | "..");
    let mut escaped = String::with_capacity(name.len());
    for byte in name.bytes() {
        let plain = byte.is_ascii_alphanumeric()
            || matches!(byte, b'_' | b'-' | b'~')
            || byte == b'.' && !only_dots;
        if plain {
            escaped.push(char::from(byte));
        } else {
            escaped.push('%');
            escaped.push(char::from(DIGITS[usize::from(byte >> 4)]));
            escaped.push(char::from(DIGITS[usize::from(byte & 0xf)]));
        }
    }
    escaped
}

fn unescape(segment: &str) -> Option<String> {
    if segment == "%" {
        return Some(String::new());
    }
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first == b'%' {
            let (&[high, low], after) = rest.split_first_chunk()?;
            rest = after;
            let high = char::from(high).to_digit(16)?;
            let low = char::from(low).to_digit(16)?;
            bytes.push((high << 4 | low) as u8);
        } else {
            bytes.push(first);
        }
    }
    String::from_utf8(bytes).ok()
}

// === Records ===

/// The JSON of a record.
///
/// # Errors
/// [`StoreError::TooLarge`] above [`RECORD_BYTES_MAX`].
pub fn encode(record: &Record) -> Result<Vec<u8>, StoreError> {
    let bytes = match record {
        Record::Framework(record) => serde_json::to_vec(record),
        Record::Workload(record) => serde_json::to_vec(record),
        Record::Revision(record) => serde_json::to_vec(record),
        Record::Instance(record) => serde_json::to_vec(record),
        Record::Task(record) => serde_json::to_vec(record),
        Record::Deployment(record) => serde_json::to_vec(record),
        Record::Audit(record) => serde_json::to_vec(record),
        Record::Brake(record) => serde_json::to_vec(record),
        Record::ModuleValue(record) => serde_json::to_vec(record),
        Record::Access(record) => serde_json::to_vec(record),
    };
    let bytes = bytes.map_err(|error| StoreError::Corrupt {
        place: path(&record.key()),
        reason: format!("it cannot be written as JSON: {error}"),
    })?;
    if bytes.len() > RECORD_BYTES_MAX {
        return Err(StoreError::TooLarge {
            key: path(&record.key()),
            bytes: bytes.len(),
            limit: RECORD_BYTES_MAX,
        });
    }
    if bytes.len() > RECORD_BYTES_SOFT {
        tracing::warn!(
            key = path(&record.key()),
            bytes = bytes.len(),
            "a stored record is unusually large: above {RECORD_BYTES_MAX} bytes it will be refused"
        );
    }
    Ok(bytes)
}

/// Reads the record of a path.
///
/// # Errors
/// The reason as a clause: the path is none of ours, the bytes are not this kind of record, or
/// they are a record that belongs elsewhere.
pub fn decode(path_text: &str, bytes: &[u8]) -> Result<Record, String> {
    let key = key(path_text).ok_or_else(|| "no record has this path".to_owned())?;
    if bytes.len() > RECORD_BYTES_MAX {
        return Err(format!(
            "it has {} bytes, more than the limit of {RECORD_BYTES_MAX}",
            bytes.len()
        ));
    }
    let record = match key {
        Key::Framework => serde_json::from_slice(bytes).map(Record::Framework),
        Key::Workload(_) => serde_json::from_slice(bytes).map(Record::Workload),
        Key::Revision(..) => serde_json::from_slice(bytes).map(Record::Revision),
        Key::Instance(..) => serde_json::from_slice(bytes).map(Record::Instance),
        Key::Task(_) => serde_json::from_slice(bytes).map(Record::Task),
        Key::Deployment(_) => serde_json::from_slice(bytes).map(Record::Deployment),
        Key::Audit(_) => serde_json::from_slice(bytes).map(Record::Audit),
        Key::Brake => serde_json::from_slice(bytes).map(Record::Brake),
        Key::ModuleValue(..) => serde_json::from_slice(bytes).map(Record::ModuleValue),
        Key::Access => serde_json::from_slice(bytes).map(Record::Access),
    };
    let record = record.map_err(|error| format!("it is not readable: {error}"))?;
    if record.key() != key {
        return Err(format!("it holds `{}`", path(&record.key())));
    }
    Ok(record)
}

// === Batches ===

/// One change as a home makes it: the path, and the bytes to keep there or nothing to forget it.
pub type Change = (String, Option<Vec<u8>>);

/// The changes of a batch, in order.
///
/// # Errors
/// [`StoreError::TooLarge`] for the first record that is.
pub fn changes(batch: &[Write]) -> Result<Vec<Change>, StoreError> {
    batch
        .iter()
        .map(|write| match write {
            Write::Put(record) => Ok((path(&record.key()), Some(encode(record)?))),
            Write::Delete(key) => Ok((path(key), None)),
        })
        .collect()
}

// === Whole stores ===

#[derive(Serialize, Deserialize)]
struct LayoutRecord {
    version: u32,
}

/// The changes that put these records in their places, what others hang on first.
///
/// # Errors
/// [`StoreError::TooLarge`] for the first record that is.
pub fn puts(mut records: Vec<Record>) -> Result<Vec<Change>, StoreError> {
    records.sort_by_cached_key(Record::key);
    changes(&records.into_iter().map(Write::Put).collect::<Vec<_>>())
}

/// The JSON of the layout's version.
pub fn encode_layout() -> Vec<u8> {
    format!("{{\"version\":{LAYOUT}}}").into_bytes()
}

/// Reads the layout's version.
///
/// # Errors
/// [`StoreError::NewerLayout`], or [`StoreError::Corrupt`] with `place` when it is unreadable.
pub fn decode_layout(place: &str, bytes: &[u8]) -> Result<u32, StoreError> {
    let corrupt = |reason: String| StoreError::Corrupt {
        place: place.to_owned(),
        reason,
    };
    let layout: LayoutRecord = serde_json::from_slice(bytes).map_err(|error| {
        corrupt(format!(
            "its entry `{LAYOUT_PATH}` is not readable: {error}"
        ))
    })?;
    match layout.version {
        0 => Err(corrupt(format!("its entry `{LAYOUT_PATH}` says version 0"))),
        1..=LAYOUT => Ok(layout.version),
        found => Err(StoreError::NewerLayout {
            found,
            known: LAYOUT,
        }),
    }
}

/// Gathers the entries of a store into what [`crate::Store::load`] returns.
#[derive(Debug)]
pub struct Loading {
    place: String,
    loaded: Loaded,
    // Why nothing can be returned.
    corrupt: Option<String>,
    half_replaced: bool,
}

impl Loading {
    /// For the store at `place`, of this layout.
    pub fn new(place: impl Into<String>, layout: u32) -> Self {
        Self {
            place: place.into(),
            loaded: Loaded {
                layout,
                records: Vec::new(),
                rejected: Vec::new(),
            },
            corrupt: None,
            half_replaced: false,
        }
    }

    /// Takes one entry in; [`LAYOUT_PATH`] is passed over.
    pub fn entry(&mut self, path_text: &str, bytes: &[u8]) {
        if path_text == LAYOUT_PATH {
            return;
        }
        if path_text == RESTORING_PATH {
            self.half_replaced = true;
            return;
        }
        match decode(path_text, bytes) {
            Ok(record) => self.loaded.records.push(record),
            Err(reason) => self.reject(path_text, reason),
        }
    }

    /// Reports an entry that cannot be taken in.
    pub fn reject(&mut self, path_text: &str, reason: String) {
        self.reject_record(key(path_text), path_text, reason);
    }

    /// The same where another than the path says whose record it should hold.
    pub fn reject_record(&mut self, of: Option<Key>, path_text: &str, reason: String) {
        if path_text == path(&Key::Framework) {
            // Without its id we would become a new framework, and leave all tasks behind.
            self.corrupt = Some(format!("its entry `{path_text}` is refused: {reason}"));
        }
        self.loaded.rejected.push(Rejected {
            key: path_text.to_owned(),
            of,
            reason,
        });
    }

    /// Says of each entry that could not be taken in where it is, which its path does not tell.
    pub(crate) fn say_where(&mut self, node: impl Fn(&str) -> String) {
        let rejected = self.loaded.rejected.iter_mut();
        // Some are called by their node.
        for rejected in rejected.filter(|rejected| !rejected.key.starts_with('/')) {
            let node = node(&rejected.key);
            rejected.reason.push_str(&format!("; its node is `{node}`"));
        }
    }

    /// Whether there may be tasks among the entries.
    pub(crate) fn may_have_tasks(&self) -> bool {
        let records = self.loaded.records.iter();
        let mut read = records.filter(|record| matches!(record, Record::Task(_)));
        let mut rejected = self.loaded.rejected.iter();
        read.next().is_some() || rejected.any(|one| matches!(one.of, Some(Key::Task(_)) | None))
    }

    /// All entries were taken in.
    ///
    /// # Errors
    /// [`StoreError::HalfReplaced`] while the mark of a replacement stands, and
    /// [`StoreError::Corrupt`] when the framework's own record was not understood.
    pub fn finish(self) -> Result<Loaded, StoreError> {
        if self.half_replaced {
            return Err(StoreError::HalfReplaced { place: self.place });
        }
        match self.corrupt {
            None => Ok(self.loaded),
            Some(reason) => Err(StoreError::Corrupt {
                place: self.place,
                reason,
            }),
        }
    }

    /// All entries were taken in, and it does not matter what is wrong with them: see
    /// [`crate::Store::salvage`].
    pub fn salvage(mut self) -> Loaded {
        if self.half_replaced {
            self.loaded.rejected.push(Rejected {
                key: RESTORING_PATH.to_owned(),
                of: None,
                reason: "a restoration was cut off".to_owned(),
            });
        }
        self.loaded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_told_with_the_node_that_holds_it() {
        let mut loading = Loading::new("/root", LAYOUT);
        loading.entry("workloads/web", b"{");
        loading.reject("/root/gantry/tasks/00", "it is gone".to_owned());
        loading.say_where(|path| format!("/root/gantry/{}", path.replace('/', "/0a/")));
        let rejected = loading.salvage().rejected;
        let [record, shard] = &rejected[..] else {
            panic!("{rejected:?}")
        };
        assert_eq!(record.key, "workloads/web");
        let node = "; its node is `/root/gantry/workloads/0a/web`";
        assert!(record.reason.ends_with(node), "{record:?}");
        assert_eq!(shard.reason, "it is gone");
    }
}

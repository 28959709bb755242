//! All that a store holds, in one file that people can read: JSON with one record a line, so that
//! two can be compared and a line can be taken out.
//!
//! ```json
//! {"format":1,"gantry":"0.1.0","framework":"web","taken_at":"2026-01-01T00:00:00Z","layout":1,"records":{
//! "framework":{"id":"…","registered_at":1767225600000},
//! …
//! }}
//! ```
//!
//! A record's name is its path in the store. Values of secret variables are not in it, as no store
//! holds them; addresses of files to fetch are, with the passwords that may stand in them, and what
//! modules keep.

use std::{collections::BTreeMap, fmt::Write as _};

use gantry_core::Record;
use gantry_store::{Loaded, Rejected, StoreError, codec};
use serde::Deserialize;
use serde_json::{Map, Value};
use thiserror::Error;

/// The form that is written, and the newest that is understood.
const FORMAT: u32 = 1;

/// A larger backup is refused. A task takes half a kilobyte.
pub const BYTES_MAX: usize = 2 << 30;

/// A backup.
#[derive(Clone, Debug, PartialEq)]
pub struct Backup {
    /// The framework's name as it stands in task ids.
    pub framework: String,
    /// When it was taken, RFC 3339.
    pub taken_at: String,
    /// The records, by path.
    pub records: Vec<Record>,
}

/// Why a text is no backup that can be used.
#[derive(Debug, Error)]
pub enum BackupError {
    /// It is something else, or cut off.
    #[error("it is no backup, or not all of one: {0}")]
    Malformed(#[from] serde_json::Error),
    /// It was written by a newer Gantry.
    #[error(
        "it has format {format} and layout {layout}, and this version knows them up to {FORMAT} and {}: use the newer version of Gantry",
        codec::LAYOUT
    )]
    Newer {
        /// The form of the file.
        format: u32,
        /// The form of its records.
        layout: u32,
    },
    /// Some of its records cannot be understood.
    #[error("{} of its records cannot be understood; each is one line, to be mended or taken out", .0.len())]
    Rejected(Vec<Rejected>),
}

#[derive(Deserialize)]
struct Written {
    format: u32,
    framework: String,
    taken_at: String,
    layout: u32,
    records: Map<String, Value>,
}

impl Backup {
    /// What a store held just now.
    pub fn of(framework: &str, loaded: Loaded) -> Self {
        Self {
            framework: framework.to_owned(),
            taken_at: jiff::Timestamp::now().to_string(),
            records: loaded.records,
        }
    }

    /// As it is written.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] for a record that no store could hold.
    pub fn to_text(&self) -> Result<String, StoreError> {
        let mut lines = BTreeMap::new();
        for record in &self.records {
            lines.insert(codec::path(&record.key()), codec::encode(record)?);
        }
        let text = |text: &str| Value::from(text).to_string();
        let mut all = format!(
            "{{\"format\":{FORMAT},\"gantry\":{},\"framework\":{},\"taken_at\":{},\"layout\":{},\"records\":{{",
            text(env!("CARGO_PKG_VERSION")),
            text(&self.framework),
            text(&self.taken_at),
            codec::LAYOUT,
        );
        for (number, (path, record)) in lines.iter().enumerate() {
            let comma = if number == 0 { "" } else { "," };
            let record = String::from_utf8_lossy(record);
            let _ = write!(all, "{comma}\n{}:{record}", text(path));
        }
        all.push_str("\n}}\n");
        Ok(all)
    }

    /// Reads what [`Backup::to_text`] wrote.
    ///
    /// # Errors
    /// See [`BackupError`].
    pub fn parse(text: &str) -> Result<Self, BackupError> {
        let written: Written = serde_json::from_str(text)?;
        if written.format > FORMAT || written.layout > codec::LAYOUT {
            return Err(BackupError::Newer {
                format: written.format,
                layout: written.layout,
            });
        }
        let mut records = Vec::with_capacity(written.records.len());
        let mut rejected = Vec::new();
        for (path, value) in written.records {
            match codec::decode(&path, value.to_string().as_bytes()) {
                Ok(record) => records.push(record),
                Err(reason) => rejected.push(Rejected {
                    of: codec::key(&path),
                    key: path,
                    reason,
                }),
            }
        }
        if !rejected.is_empty() {
            return Err(BackupError::Rejected(rejected));
        }
        Ok(Self {
            framework: written.framework,
            taken_at: written.taken_at,
            records,
        })
    }

    /// The records to restore where these others are: sessions that were ended stay ended, also those
    /// that were ended since the backup was taken.
    pub fn records_after(&self, before: &[Record]) -> Vec<Record> {
        let mut records = self.records.clone();
        let access = |record: &&Record| matches!(record, Record::Access(_));
        if let Some(Record::Access(ended)) = before.iter().find(access) {
            let kept = records.iter_mut().find_map(|record| match record {
                Record::Access(access) => Some(access),
                _ => None,
            });
            match kept {
                Some(access) => access.join(ended),
                None => records.push(Record::Access(ended.clone())),
            }
        }
        records
    }

    /// What is in it, as `1 framework, 2 workloads, 3 tasks`.
    pub fn contents(&self) -> String {
        contents(&self.records)
    }
}

/// How many records of each kind.
pub fn contents(records: &[Record]) -> String {
    const KINDS: [(&str, &str); 10] = [
        ("framework id", "framework ids"),
        ("workload", "workloads"),
        ("revision", "revisions"),
        ("task", "tasks"),
        ("instance with a history", "instances with a history"),
        ("deployment", "deployments"),
        ("operator action", "operator actions"),
        ("brake", "brakes"),
        ("module value", "module values"),
        ("record of ended sessions", "records of ended sessions"),
    ];
    let mut counts = [0usize; KINDS.len()];
    for record in records {
        let kind = match record {
            Record::Framework(_) => 0,
            Record::Workload(_) => 1,
            Record::Revision(_) => 2,
            Record::Task(_) => 3,
            Record::Instance(_) => 4,
            Record::Deployment(_) => 5,
            Record::Audit(_) => 6,
            Record::Brake(_) => 7,
            Record::ModuleValue(_) => 8,
            Record::Access(_) => 9,
        };
        counts[kind] += 1;
    }
    let told: Vec<_> = counts
        .into_iter()
        .zip(KINDS)
        .filter(|(count, _)| *count > 0)
        .map(|(count, (one, many))| format!("{count} {}", if count == 1 { one } else { many }))
        .collect();
    if told.is_empty() {
        "nothing".to_owned()
    } else {
        told.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use gantry_core::{FrameworkRecord, IdGenerator, Scheduler, Settings, Timestamp, Write};

    use super::*;

    fn backup() -> Backup {
        let service = crate::config::Config::read(&BTreeMap::from(
            [
                ("FRAMEWORK_NAME", "f"),
                ("STORE", "memory"),
                ("TASK_DEF_NUM", "1"),
                ("TASK0_NAME", "a/b \"c\"".trim_end()),
                ("TASK0_NUM_INSTANCES", "1"),
                ("TASK0_CPUS", "0.1"),
                ("TASK0_MEM", "32"),
                ("TASK0_CMD", "true"),
                ("TASK0_SECRET_ENV", r#"{"TOKEN":"sesame"}"#),
            ]
            .map(|(name, value)| (name.to_owned(), value.replace(' ', "_"))),
        ));
        let services = service
            .unwrap_or_else(|report| panic!("{report}"))
            .0
            .services;
        let settings = Settings::new("f");
        let ids = IdGenerator::new([1; 4]);
        let now = Timestamp::from_millis(1);
        let (_, effects) =
            Scheduler::start(now, settings, ids, services, gantry_core::Found::default());
        let mut records = vec![Record::Framework(FrameworkRecord {
            id: gantry_core::FrameworkId::new("id-1"),
            registered_at: now,
        })];
        records.extend(effects.writes.into_iter().map(|write| match write {
            Write::Put(Record::Revision(mut revision)) => {
                let json = serde_json::to_string(&*revision.template).unwrap();
                revision.template = Arc::new(serde_json::from_str(&json).unwrap());
                Record::Revision(revision)
            }
            Write::Put(record) => record,
            Write::Delete(key) => panic!("{key:?}"),
        }));
        records.sort_by_key(|record| codec::path(&record.key()));
        Backup {
            framework: "f".to_owned(),
            taken_at: "2026-01-01T00:00:00Z".to_owned(),
            records,
        }
    }

    #[test]
    fn what_is_written_is_read_and_every_bad_record_is_told() {
        let backup = backup();
        let text = backup.to_text().unwrap();
        assert!(!text.contains("sesame"));
        assert_eq!(text.lines().count(), 2 + backup.records.len());
        assert_eq!(Backup::parse(&text).unwrap(), backup);
        assert!(
            backup
                .contents()
                .starts_with("1 framework id, 1 workload, 1 revision")
        );

        let damaged = text
            .replace("\"desired\":1", "\"desired\":\"x\"")
            .replace("\"framework\":{", "\"frameworks\":{");
        let error = Backup::parse(&damaged).unwrap_err();
        let BackupError::Rejected(rejected) = &error else {
            panic!("{error}")
        };
        assert_eq!(rejected.len(), 2, "{rejected:?}");
        assert!(error.to_string().starts_with("2 of its records"), "{error}");

        // Whoever was locked out since it was taken stays locked out.
        let ended = |end| {
            Record::Access(gantry_core::AccessRecord {
                all_sessions_end_before: Timestamp::from_millis(end),
                users: BTreeMap::new(),
            })
        };
        let restored = backup.records_after(&[ended(5)]);
        assert_eq!(restored.len(), backup.records.len() + 1);
        let mut later = backup;
        later.records.push(ended(7));
        assert_eq!(later.records_after(&[ended(9)]).last(), Some(&ended(9)));
        assert_eq!(later.records_after(&[]), later.records);

        for (text, why) in [
            (&text[..text.len() / 2], "not all of one"),
            ("{}", "is no backup"),
            (
                &text.replace("\"format\":1", "\"format\":2"),
                "newer version",
            ),
            (
                &text.replace("\"layout\":1", "\"layout\":9"),
                "newer version",
            ),
        ] {
            let error = Backup::parse(text).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}

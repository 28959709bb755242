//! As which framework Gantry goes on: the one whose tasks are recorded, or none.

use gantry_core::{Found, FrameworkId, Key, OtherFramework, Record, TaskRecord};
use gantry_store::StoreError;

/// What stands for a framework id that is to be forgotten, where nobody knows it.
const UNKNOWN_ID: &str = "unknown";

/// Makes sure that who acts on these records as the framework `name` is the one whose tasks they are.
/// The id `forget` is left out of them, with which the framework and its tasks are given up: Mesos
/// gives another, and only that takes its place in the store, so that a start that is cut off
/// before can be repeated.
///
/// # Errors
/// [`StoreError::OtherFramework`], [`StoreError::NoFrameworkId`].
pub(crate) fn establish(
    found: &mut Found,
    name: &str,
    forget: Option<&FrameworkId>,
) -> Result<(), StoreError> {
    let stored = found.records.iter().find_map(|record| match record {
        Record::Framework(record) => Some(&record.id),
        _ => None,
    });
    // Any other id may be that of tasks that run: the option may have been left from the last time.
    let gives_up = match stored {
        Some(id) => forget == Some(id),
        None => forget.is_some_and(|id| id.as_str() == UNKNOWN_ID),
    };
    let tasks = tasks(found);
    if gives_up {
        if let Some(id) = stored {
            tracing::warn!(%id, tasks, "the framework id is forgotten: Mesos will give a new one");
            found
                .records
                .retain(|record| !matches!(record, Record::Framework(_)));
        } else if tasks > 0 {
            let what = "the framework id is not known: Mesos will give a new one";
            tracing::warn!(tasks, "{what}");
        }
        return Ok(());
    }
    if let Some(other) = found.other_framework(name) {
        return Err(refusal(other, name));
    }
    if stored.is_none() && tasks > 0 {
        return Err(StoreError::NoFrameworkId { tasks });
    }
    for record in strange(found, name) {
        tracing::error!(task = %record.id, "{STRANGE}");
    }
    Ok(())
}

/// What becomes of [`strange`] records.
pub(crate) const STRANGE: &str =
    "a stored record has an id that is not the one of its place: it is left alone";

/// Records of tasks under ids that are not those of their places in the framework `name`.
pub(crate) fn strange<'a>(
    found: &'a Found,
    name: &'a str,
) -> impl Iterator<Item = &'a TaskRecord> + use<'a> {
    let records = found.records.iter();
    records.filter_map(move |record| match record {
        Record::Task(record) if record.framework() != Some(name) => Some(record),
        _ => None,
    })
}

/// Why nothing may be done as the framework `name` where tasks of another are recorded.
pub(crate) fn refusal(other: OtherFramework, name: &str) -> StoreError {
    StoreError::OtherFramework {
        tasks: other.tasks,
        name: other.name,
        wanted: name.to_owned(),
    }
}

/// How many tasks are recorded, or may be: what cannot be read and cannot be told to be anything
/// else counts too.
pub(crate) fn tasks(found: &Found) -> usize {
    let read = found.records.iter();
    let unread = found.unreadable.iter();
    read.filter(|record| matches!(record, Record::Task(_)))
        .count()
        + unread
            .filter(|one| matches!(one.key, Some(Key::Task(_)) | None))
            .count()
}

#[cfg(test)]
mod tests {
    use gantry_core::{FrameworkRecord, TaskId, Timestamp, Unreadable, WorkloadName};

    use super::*;

    fn framework(id: &str) -> Record {
        Record::Framework(FrameworkRecord {
            id: FrameworkId::new(id),
            registered_at: Timestamp::from_millis(1),
        })
    }

    fn unreadable(key: Option<Key>) -> Unreadable {
        Unreadable {
            place: "here".into(),
            key,
            reason: "it is damaged".into(),
        }
    }

    fn task(name: &str) -> Option<Key> {
        let id = format!("{name}.web-1.0f8fad5b-d9cb-469f-a165-70867728950e");
        Some(Key::Task(TaskId::new(id)))
    }

    #[test]
    fn no_other_id_is_taken_where_tasks_may_hide() {
        let unknown = FrameworkId::new(UNKNOWN_ID);
        let other = FrameworkId::new("other");
        for (key, tasks) in [
            (task("fw"), 1),
            (None, 1),
            (Some(Key::Brake), 0),
            (Some(Key::Workload(WorkloadName::new("web"))), 0),
        ] {
            let mut found = Found {
                records: Vec::new(),
                unreadable: vec![unreadable(key)],
            };
            for forget in [None, Some(&other)] {
                let established = establish(&mut found, "fw", forget);
                match tasks {
                    0 => assert_eq!(established, Ok(())),
                    tasks => assert_eq!(established, Err(StoreError::NoFrameworkId { tasks })),
                }
            }
            assert_eq!(establish(&mut found, "fw", Some(&unknown)), Ok(()));
        }
    }

    #[test]
    fn a_given_up_framework_may_be_followed_by_one_of_another_name() {
        let forget = FrameworkId::new("id-1");
        let found = Found {
            records: vec![framework("id-1")],
            unreadable: vec![unreadable(task("fw"))],
        };
        let mut stays = found.clone();
        let refused = establish(&mut stays, "fw2", None).unwrap_err();
        assert!(
            matches!(&refused, StoreError::OtherFramework { name, .. } if name == "fw"),
            "{refused}"
        );
        assert_eq!(
            establish(&mut stays, "fw", Some(&FrameworkId::new("id-2"))),
            Ok(())
        );
        assert_eq!(stays, found);
        assert_eq!(establish(&mut stays, "fw2", Some(&forget)), Ok(()));
        assert!(stays.records.is_empty());
    }
}

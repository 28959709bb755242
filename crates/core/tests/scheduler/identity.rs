//! What is recorded under an id that is not the one of its place: known by its id, shown, never
//! touched, and no reason to touch anything else.

use std::time::Duration;

use gantry_core::*;

use crate::bench::*;

fn killing() -> Settings {
    let mut settings = Settings::new(FRAMEWORK);
    settings.kill_unknown = Some(Duration::from_secs(1));
    settings
}

/// Two instances run, and the record of the first was given this id and content.
fn altered(alter: impl FnOnce(&mut TaskRecord)) -> (Bench, TaskId, TaskId) {
    let mut bench = Bench::with_settings(vec![service("web", 2)], killing());
    bench.subscribe();
    let tasks = bench.run_all();
    let key = Key::Task(tasks["web-1"].clone());
    let Some(Record::Task(mut record)) = bench.store.remove(&key) else {
        panic!("it is not stored");
    };
    alter(&mut record);
    let altered = record.id.clone();
    let record = Record::Task(record);
    bench.store.insert(record.key(), record);
    bench.restart();
    bench.subscribe();
    (bench, altered, tasks["web-2"].clone())
}

fn pass(bench: &mut Bench) -> (Vec<Launch>, Vec<TaskId>) {
    for _ in 0..5 {
        bench.offer(&[&agent("b", &[])], 4.0);
        bench.advance(Duration::from_secs(60));
    }
    bench.all_sent()
}

#[test]
fn a_record_of_another_framework_is_shown_and_never_touched() {
    let strange = |record: &mut TaskRecord| {
        record.id = TaskId::from_parts("other", "web", record.number, record.uuid);
    };
    let (mut bench, task, other) = altered(strange);
    let asked = bench.reconciled();
    assert!(asked.contains(&task) && asked.contains(&other), "{asked:?}");
    let view = bench.scheduler.view();
    assert!(view.unknown_tasks.contains_key(&task));
    assert_eq!(view.unreadable[0].key, Some(Key::Task(task.clone())));
    bench.answered(&task, TaskState::Running);
    bench.answered(&other, TaskState::Running);
    let (launched, killed) = pass(&mut bench);
    let launched: Vec<_> = launched.iter().map(|launch| &*launch.instance).collect();
    assert_eq!((launched, killed), (vec!["web-1"], Vec::new()));
    assert!(bench.store.contains_key(&Key::Task(task.clone())));
    assert!(bench.scheduler.view().unknown_tasks.contains_key(&task));
    // With its end it is forgotten.
    bench.tell(&task, TaskState::Finished);
    assert!(!bench.store.contains_key(&Key::Task(task)));
    let view = bench.scheduler.view();
    assert!(view.unknown_tasks.is_empty() && view.unreadable.is_empty());
}

#[test]
fn a_record_that_contradicts_its_id_is_known_by_its_id() {
    let moved = |record: &mut TaskRecord| record.number = 2;
    let renamed = |record: &mut TaskRecord| record.workload = WorkloadName::new("worker");
    let rerun = |record: &mut TaskRecord| record.uuid = Uuid::from_bits(7);
    for alter in [moved, renamed, rerun] {
        let (mut bench, task, other) = altered(alter);
        let asked = bench.reconciled();
        assert!(asked.contains(&task) && asked.contains(&other), "{asked:?}");
        bench.answered(&other, TaskState::Running);
        let (launched, killed) = pass(&mut bench);
        assert_eq!((launched.len(), killed.len()), (0, 0));
        assert_eq!(bench.scheduler.view().unreadable.len(), 1);
        bench.answered(&task, TaskState::Running);
        assert_eq!(bench.instance("web", 1).tasks.len(), 1);
        let Some(Record::Task(record)) = bench.store.get(&Key::Task(task)) else {
            panic!("it is not stored");
        };
        assert_eq!((record.workload.as_str(), record.number), ("web", 1));
        assert!(bench.scheduler.view().unreadable.is_empty());
        assert!(bench.scheduler.view().unknown_tasks.is_empty());
    }
}

#[test]
fn an_id_is_taken_apart_only_as_it_is_put_together() {
    let uuid = "0f8fad5b-d9cb-469f-a165-70867728950e";
    let id = TaskId::new(format!("fw.web-12.{uuid}"));
    let parts = id.parts("fw").unwrap();
    let again = TaskId::from_parts("fw", parts.workload, parts.number, parts.uuid);
    assert_eq!(again, id);
    for id in [
        format!("fw.web-012.{uuid}"),
        format!("fw.web-+12.{uuid}"),
        format!("fw.web-0.{uuid}"),
        format!("fw.web-12.{}", uuid.to_uppercase()),
        format!("fw2.web-12.{uuid}"),
    ] {
        assert_eq!(TaskId::new(id.clone()).parts("fw"), None, "{id}");
    }
}

#[test]
fn a_store_of_another_framework_is_told_from_a_stray_record() {
    let mut bench = Bench::new(vec![service("a.web", 2)]);
    bench.run_all();
    let found = |bench: &Bench| Found {
        records: bench.store.values().cloned().collect(),
        unreadable: bench.unreadable.clone(),
    };
    assert_eq!(found(&bench).other_framework(FRAMEWORK), None);
    let foreign = |tasks| {
        Some(OtherFramework {
            name: FRAMEWORK.to_owned(),
            tasks,
        })
    };
    for name in ["fw2", "f", "fw.a"] {
        assert_eq!(found(&bench).other_framework(name), foreign(2), "{name}");
    }
    // Also where only ids are left of them.
    let keys: Vec<_> = bench.store.keys().cloned().collect();
    for key in keys.iter().filter(|key| matches!(key, Key::Task(_))) {
        let one = found(&bench);
        bench.spoil(key);
        assert_eq!(one.other_framework("fw2"), foreign(2));
        assert_eq!(found(&bench).other_framework(FRAMEWORK), None);
    }
    assert_eq!(found(&bench).other_framework("fw2").unwrap().tasks, 2);
    // Nothing says whose this is.
    bench.store.clear();
    bench.unreadable.truncate(1);
    bench.unreadable[0].key = Some(Key::Task(TaskId::new("stray")));
    assert_eq!(found(&bench).other_framework("fw2"), None);
}

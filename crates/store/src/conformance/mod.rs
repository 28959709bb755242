//! The suite that every home of the store must pass.
//!
//! A home's tests give a [`Home`] for each case and call [`run`]; a broken promise panics with
//! its name.

#![expect(
    clippy::expect_used,
    reason = "a test suite reports by panicking, wherever it is called from"
)]

mod records;

pub use records::{record, task};

use std::{
    collections::BTreeMap,
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use futures_util::future::join_all;
use gantry_core::{FrameworkId, FrameworkRecord, Key, Record, TaskId, Timestamp, Write};
use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::TestRunner,
};

use crate::{Loaded, Store, StoreError, codec};

/// Loading 100,000 tasks may take so long in a debug build on a busy and slow machine. (Measured: 0.4 s
/// embedded.)
const LOAD_100_000_MAX: Duration = Duration::from_secs(60);

/// A place for one store.
#[async_trait]
pub trait Home: Send + Sync {
    /// Opens the store there as a started process does. What was opened before has been dropped.
    ///
    /// # Errors
    /// As the home's own way to open.
    async fn open(&self) -> Result<Arc<dyn Store>, StoreError>;

    /// Puts bytes under a path behind the store's back. No store is open meanwhile.
    async fn put_raw(&self, path: &str, bytes: &[u8]);
}

/// Runs all cases, each in a new home.
pub async fn run<H: Home>(mut new_home: impl AsyncFnMut() -> H) {
    named("round trip", round_trip(&new_home().await)).await;
    named("atomicity", atomicity(&new_home().await)).await;
    named("repetition", repetition(&new_home().await)).await;
    named("order", order(&new_home().await)).await;
    named("big batch", big_batch(&new_home().await)).await;
    named("bad entries", bad_entries(&new_home().await)).await;
    named("bad framework", bad_framework(&new_home().await)).await;
    named("replacement", replacement(&new_home().await)).await;
    named("newer layout", newer_layout(&new_home().await)).await;
    named("unreadable layout", unreadable_layout(&new_home().await)).await;
    named("unknown fields", unknown_fields(&new_home().await)).await;
    named("lease", lease(&new_home().await)).await;
}

async fn named(case: &str, check: impl Future<Output = ()>) {
    eprintln!("store conformance: {case}");
    check.await;
}

// === Cases ===

/// Random records of every kind come back as they were, also after reopening; a deleted one
/// does not.
pub async fn round_trip(home: &impl Home) {
    let mut runner = TestRunner::deterministic();
    let mut expected = BTreeMap::new();
    for _ in 0..200 {
        let record = record()
            .new_tree(&mut runner)
            .expect("the strategy rejects nothing")
            .current();
        expected.insert(codec::path(&record.key()), record);
    }
    let kinds = expected
        .values()
        .map(std::mem::discriminant)
        .collect::<std::collections::HashSet<_>>();
    assert_eq!(kinds.len(), 10, "every kind of record is generated");

    let store = open(home).await;
    assert_loaded(&*store, &BTreeMap::new()).await;
    for record in expected.values() {
        let batch = vec![Write::Put(record.clone())];
        store.commit(batch).await.expect("a commit");
    }
    assert_loaded(&*store, &expected).await;
    drop(store);

    let store = open(home).await;
    assert_loaded(&*store, &expected).await;
    let deleted: Vec<_> = expected.keys().step_by(2).cloned().collect();
    let batch = deleted
        .iter()
        .filter_map(|path| expected.remove(path))
        .map(|record| Write::Delete(record.key()))
        .collect();
    store.commit(batch).await.expect("a commit of deletions");
    assert_loaded(&*store, &expected).await;
    drop(store);
    assert_loaded(&*open(home).await, &expected).await;
}

/// A batch with one record that is too large changes nothing, and says which.
pub async fn atomicity(home: &impl Home) {
    let store = open(home).await;
    let kept = task("web", 1);
    commit(&*store, vec![Write::Put(kept.clone())]).await;

    let (large, key) = record_of_bytes(codec::RECORD_BYTES_MAX + 1);
    let batch = vec![
        Write::Put(task("web", 2)),
        Write::Delete(kept.key()),
        Write::Put(large),
        Write::Put(task("web", 3)),
    ];
    let error = store.commit(batch).await.expect_err("a refusal");
    assert_eq!(
        error,
        StoreError::TooLarge {
            key,
            bytes: codec::RECORD_BYTES_MAX + 1,
            limit: codec::RECORD_BYTES_MAX
        }
    );
    let expected = by_path([kept.clone()]);
    assert_loaded(&*store, &expected).await;

    let (largest, _) = record_of_bytes(codec::RECORD_BYTES_MAX);
    commit(&*store, vec![Write::Put(largest.clone())]).await;
    drop(store);
    assert_loaded(&*open(home).await, &by_path([kept, largest])).await;
}

/// A repeated batch leaves what the first left; deleting what is not there is no error.
pub async fn repetition(home: &impl Home) {
    let store = open(home).await;
    commit(&*store, vec![Write::Put(task("web", 1))]).await;
    let batch = vec![
        Write::Put(task("web", 2)),
        Write::Delete(task("web", 1).key()),
        Write::Delete(Key::Task(TaskId::new("never there"))),
    ];
    let expected = by_path([task("web", 2)]);
    for _ in 0..3 {
        commit(&*store, batch.clone()).await;
        assert_loaded(&*store, &expected).await;
    }
    commit(&*store, Vec::new()).await;
    assert_loaded(&*store, &expected).await;
}

/// Inside a batch the last write of a key counts; batches are made in the order of their calls.
pub async fn order(home: &impl Home) {
    let store = open(home).await;
    let framework = |number: u32| {
        Record::Framework(FrameworkRecord {
            id: FrameworkId::new(number.to_string()),
            registered_at: Timestamp::ZERO,
        })
    };
    let batch = vec![
        Write::Put(task("web", 1)),
        Write::Delete(task("web", 1).key()),
        Write::Delete(task("web", 2).key()),
        Write::Put(task("web", 2)),
        Write::Put(framework(1)),
        Write::Put(framework(2)),
    ];
    commit(&*store, batch).await;
    assert_loaded(&*store, &by_path([task("web", 2), framework(2)])).await;

    // Polled in this order, and all under way at once.
    let calls = (3..=20).map(|number| store.commit(vec![Write::Put(framework(number))]));
    for result in join_all(calls).await {
        result.expect("a commit");
    }
    assert_loaded(&*store, &by_path([task("web", 2), framework(20)])).await;
}

/// 100,000 tasks are stored in batches of 10,000, and loaded in bounded time.
pub async fn big_batch(home: &impl Home) {
    let store = open(home).await;
    let mut expected = BTreeMap::new();
    for batch in 0..10 {
        let tasks: Vec<_> = (1..=10_000)
            .map(|number| task("big/batch", batch * 10_000 + number))
            .collect();
        commit(&*store, tasks.iter().cloned().map(Write::Put).collect()).await;
        expected.extend(by_path(tasks));
    }
    drop(store);
    let begin = Instant::now();
    let loaded = open(home).await.load().await.expect("a load");
    let took = begin.elapsed();
    eprintln!("store conformance: opened with 100,000 tasks and loaded in {took:?}");
    assert!(took < LOAD_100_000_MAX, "loading took {took:?}");
    assert_eq!(loaded.rejected, []);
    assert_eq!(by_path(loaded.records), expected);
}

/// Each bad entry is refused and named, and everything else is read; nothing is changed by it.
pub async fn bad_entries(home: &impl Home) {
    let store = open(home).await;
    commit(&*store, vec![Write::Put(task("web", 1))]).await;
    drop(store);

    let other = codec::encode(&task("web", 2)).expect("a small record");
    let bad: [(&str, &[u8]); 6] = [
        ("tasks/not-json", b"{\"id\":"),
        ("tasks/not-utf8", b"\xff\xfe"),
        ("tasks/elsewhere", &other),
        ("workloads/empty", b""),
        ("instances/web/01", b"{}"),
        ("surprises/1", b"{}"),
    ];
    for (path, bytes) in bad {
        home.put_raw(path, bytes).await;
    }
    for _ in 0..2 {
        let store = open(home).await;
        let loaded = store.load().await.expect("a load");
        assert_eq!(by_path(loaded.records), by_path([task("web", 1)]));
        let mut named: Vec<_> = loaded
            .rejected
            .iter()
            .map(|rejected| rejected.key.as_str())
            .collect();
        named.sort_unstable();
        let mut paths = bad.map(|(path, _)| path);
        paths.sort_unstable();
        assert_eq!(named, paths);
        assert!(loaded.rejected.iter().all(|entry| !entry.reason.is_empty()));
    }

    // A good record takes the place of a bad one.
    let store = open(home).await;
    let repaired = Write::Delete(Key::Task(TaskId::new("not-json")));
    commit(&*store, vec![repaired]).await;
    let loaded = store.load().await.expect("a load");
    assert_eq!(loaded.rejected.len(), bad.len() - 1);
}

/// Without its id the framework would become a new one and leave its tasks behind: that record is
/// never left out.
pub async fn bad_framework(home: &impl Home) {
    let store = open(home).await;
    commit(&*store, vec![Write::Put(task("web", 1))]).await;
    drop(store);
    home.put_raw("framework", b"{\"id\":1}").await;
    for _ in 0..2 {
        let result = load_reopened(home).await;
        assert!(
            matches!(result, Err(StoreError::Corrupt { .. })),
            "{result:?}"
        );
    }
}

/// A replacement leaves nothing else, not even what cannot be understood; while one is cut off there
/// is nothing to be read, but to be replaced.
pub async fn replacement(home: &impl Home) {
    let store = open(home).await;
    let framework = |id: &str| {
        Record::Framework(FrameworkRecord {
            id: FrameworkId::new(id),
            registered_at: Timestamp::ZERO,
        })
    };
    let before = [framework("old"), task("web", 1), task("web", 2)];
    commit(&*store, before.iter().cloned().map(Write::Put).collect()).await;
    drop(store);
    for (path, bytes) in [
        ("tasks/not-json", &b"{"[..]),
        ("surprises/1", b"{}"),
        (codec::RESTORING_PATH, b""),
    ] {
        home.put_raw(path, bytes).await;
    }
    let half = |result| matches!(result, Err(StoreError::HalfReplaced { .. }));
    assert!(half(load_reopened(home).await));
    home.put_raw("framework", b"{\"id\":1}").await;
    let store = open(home).await;
    let found = store.salvage().await.expect("what is there");
    // Some homes know the framework's id from elsewhere, too.
    let tasks = found.records.into_iter();
    let tasks = tasks.filter(|record| record.key() != Key::Framework);
    assert_eq!(by_path(tasks), by_path(before[1..].to_vec()));
    assert_eq!(found.rejected.len(), 4, "{:?}", found.rejected);

    let mut after: Vec<_> = (2..2_000).map(|number| task("web", number)).collect();
    after.push(framework("new"));
    let expected = by_path(after.clone());
    store.replace(after).await.expect("a replacement");
    assert_loaded(&*store, &expected).await;
    // What is known of the store goes on being true.
    commit(&*store, vec![Write::Delete(task("web", 2).key())]).await;
    commit(&*store, vec![Write::Put(task("web", 1))]).await;
    drop(store);
    let store = open(home).await;
    let mut expected = expected;
    expected.remove(&codec::path(&task("web", 2).key()));
    expected.extend(by_path([task("web", 1)]));
    assert_loaded(&*store, &expected).await;

    let (large, _) = record_of_bytes(codec::RECORD_BYTES_MAX + 1);
    let refused = store.replace(vec![large]).await;
    assert!(matches!(refused, Err(StoreError::TooLarge { .. })));
    assert_loaded(&*store, &expected).await;
    store.replace(Vec::new()).await.expect("a replacement");
    assert_loaded(&*store, &BTreeMap::new()).await;
}

/// A layout from the future is refused as a whole, and left alone.
pub async fn newer_layout(home: &impl Home) {
    let store = open(home).await;
    commit(&*store, vec![Write::Put(task("web", 1))]).await;
    drop(store);
    let newer = StoreError::NewerLayout {
        found: codec::LAYOUT + 1,
        known: codec::LAYOUT,
    };
    let layout = format!("{{\"version\":{},\"new\":[]}}", codec::LAYOUT + 1);
    home.put_raw(codec::LAYOUT_PATH, layout.as_bytes()).await;
    assert_eq!(load_reopened(home).await, Err(newer));
    home.put_raw(codec::LAYOUT_PATH, &codec::encode_layout())
        .await;
    assert_loaded(&*open(home).await, &by_path([task("web", 1)])).await;
}

/// Without a readable layout nothing is known about the rest: an error, not an empty answer.
pub async fn unreadable_layout(home: &impl Home) {
    let store = open(home).await;
    commit(&*store, vec![Write::Put(task("web", 1))]).await;
    drop(store);
    for bytes in [&b""[..], b"1", b"{}", b"{\"version\":0}", b"\x00\x01"] {
        home.put_raw(codec::LAYOUT_PATH, bytes).await;
        let result = load_reopened(home).await;
        assert!(
            matches!(result, Err(StoreError::Corrupt { .. })),
            "{bytes:?}: {result:?}"
        );
    }
}

/// A field that a later version added is passed over.
pub async fn unknown_fields(home: &impl Home) {
    drop(open(home).await);
    let record = task("web", 1);
    let json = codec::encode(&record).expect("a small record");
    let mut json = String::from_utf8(json).expect("JSON is text");
    json.insert_str(1, "\"later\":{\"a\":[1,null]},");
    home.put_raw(&codec::path(&record.key()), json.as_bytes())
        .await;
    assert_loaded(&*open(home).await, &by_path([record])).await;
}

/// Whoever could open the store may act, until it gives that up; whoever opens it next may.
pub async fn lease(home: &impl Home) {
    let store = open(home).await;
    let lease = store.lease();
    assert!(lease.holds());
    let epoch = lease.epoch();
    commit(&*store, vec![Write::Put(task("web", 1))]).await;
    store.resign().await;
    drop(store);
    let store = open(home).await;
    assert!(store.lease().holds());
    assert!(store.lease().epoch() >= epoch);
    assert_loaded(&*store, &by_path([task("web", 1)])).await;
}

// === Helpers ===

async fn open(home: &impl Home) -> Arc<dyn Store> {
    home.open().await.expect("the store opens")
}

/// A home may notice that it cannot be read when it is opened or when it is loaded.
async fn load_reopened(home: &impl Home) -> Result<Loaded, StoreError> {
    home.open().await?.load().await
}

async fn commit(store: &dyn Store, batch: Vec<Write>) {
    store.commit(batch).await.expect("a commit");
}

fn by_path(records: impl IntoIterator<Item = Record>) -> BTreeMap<String, Record> {
    records
        .into_iter()
        .map(|record| (codec::path(&record.key()), record))
        .collect()
}

async fn assert_loaded(store: &dyn Store, expected: &BTreeMap<String, Record>) {
    let loaded = store.load().await.expect("a load");
    assert_eq!(loaded.layout, codec::LAYOUT);
    assert_eq!(loaded.rejected, []);
    let count = loaded.records.len();
    assert_eq!(&by_path(loaded.records), expected);
    assert_eq!(count, expected.len(), "no record comes twice");
}

/// An audit entry whose JSON has exactly so many bytes, and its path.
fn record_of_bytes(bytes: usize) -> (Record, String) {
    let with_action = |action: String| {
        Record::Audit(gantry_core::AuditEntry {
            sequence: 1,
            at: Timestamp::ZERO,
            actor: gantry_core::Actor {
                name: "a".to_owned(),
                address: "b".to_owned(),
                reason: None,
            },
            action,
            before: None,
            after: None,
        })
    };
    let empty = codec::encode(&with_action(String::new())).expect("a small record");
    let record = with_action("x".repeat(bytes - empty.len()));
    let path = codec::path(&record.key());
    (record, path)
}

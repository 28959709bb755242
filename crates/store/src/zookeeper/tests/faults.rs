//! Connections that break, servers that die, answers that are lost.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use gantry_core::{Key, Record, TaskId, Write};

use super::support::{Ensemble, Link, Place, Proxy, SHORT_SESSION, put, records, soon, sorted};
use crate::{
    StoreError, codec,
    conformance::{Home as _, task},
    lease::Moment,
};

/// The connection is cut in the midst of commits, with and without answers getting lost, and the
/// store goes on within one term: every write is made, in order, once.
#[tokio::test(flavor = "multi_thread")]
async fn no_write_is_lost_or_doubled_by_cut_connections() {
    let Some(ensemble) = Ensemble::start(1) else {
        return;
    };
    let proxy = Proxy::start(ensemble.hosts().remove(0)).await;
    let place = Place::new(ensemble.hosts());
    let process = place.process_through(vec![proxy.address()]);
    let store = soon("an election", process.campaign())
        .await
        .expect("a term");
    store.load().await.expect("a load");
    let epoch = store.lease().epoch();

    let cuts = std::cell::Cell::new(0);
    let cutting = async {
        for round in 0_u64.. {
            tokio::time::sleep(Duration::from_millis(300 + round * 137 % 500)).await;
            if round % 2 == 0 {
                proxy.set(Link::LoseAnswers);
                tokio::time::sleep(Duration::from_millis(round * 13 % 40)).await;
            }
            proxy.cut();
            proxy.set(Link::Pass);
            cuts.set(cuts.get() + 1);
        }
    };
    let mut expected = BTreeMap::new();
    let writing = async {
        let begin = Instant::now();
        let mut round = 0;
        while begin.elapsed() < Duration::from_secs(15) || round < 6 || cuts.get() < 11 {
            round += 1;
            // Some of the tasks are new, some are there, some go, some were never there.
            let batch: Vec<Write> = (0..1_000)
                .map(|step| {
                    let number = 1 + (round * 1_117 + step * 7) % 6_000;
                    if (step + round) % 3 == 0 {
                        Write::Delete(task("web", number).key())
                    } else {
                        let Record::Task(mut task) = task("web", number) else {
                            unreachable!("it is a task");
                        };
                        task.revision = round * 10_000 + step;
                        Write::Put(Record::Task(task))
                    }
                })
                .collect();
            for write in &batch {
                match write {
                    Write::Put(record) => {
                        expected.insert(codec::path(&record.key()), record.clone())
                    }
                    Write::Delete(key) => expected.remove(&codec::path(key)),
                };
            }
            while let Err(error) = store.commit(batch.clone()).await {
                assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
            }
        }
        round
    };
    let rounds = tokio::select! {
        rounds = soon("six commits and eleven cuts", writing) => rounds,
        () = cutting => unreachable!("cutting has no end"),
    };
    eprintln!("{rounds} commits and {} cuts", cuts.get());
    assert!(store.lease().holds());
    assert_eq!(store.lease().epoch(), epoch);
    let expected: Vec<_> = expected.into_values().collect();
    assert_eq!(
        sorted(place.process().read().await.expect("a load").records),
        expected
    );
}

/// A store's idea of what exists is only that: what somebody else did to the nodes is noticed.
#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_somebody_else_made_or_removed_do_not_stop_a_commit() {
    let Some(ensemble) = Ensemble::start(1) else {
        return;
    };
    let place = Place::new(ensemble.hosts());
    let store = place.open().await.expect("a store");
    let all: Vec<_> = (1..=1_000).map(|number| task("web", number)).collect();
    store
        .commit(all[..500].iter().cloned().map(Write::Put).collect())
        .await
        .expect("a commit");
    let client = place.client().await;
    for record in all.iter().step_by(9) {
        let node = place.layout().node(&codec::path(&record.key()));
        if client.delete(&node, None).await.is_err() {
            put(&client, &node, b"nonsense").await;
        }
    }
    let mut batch: Vec<_> = all.iter().cloned().map(Write::Put).collect();
    batch.push(Write::Delete(Key::Task(TaskId::new("never there"))));
    store.commit(batch).await.expect("a commit");
    assert_eq!(records(&*store).await, sorted(all.clone()));
    let batch = all
        .iter()
        .map(|record| Write::Delete(record.key()))
        .collect();
    let node = place.layout().node(&codec::path(&all[7].key()));
    client.delete(&node, None).await.expect("it was there");
    store.commit(batch).await.expect("a commit");
    assert_eq!(records(&*store).await, []);
}

/// A term in which nothing can be written is worth nothing: it ends, so that another begins.
#[tokio::test(flavor = "multi_thread")]
async fn a_term_that_cannot_write_ends() {
    let Some(ensemble) = Ensemble::start(1) else {
        return;
    };
    let place = Place::new(ensemble.hosts());
    let process = place.process();
    let store = soon("an election", process.campaign())
        .await
        .expect("a store");
    let record = task("web", 1);
    let node = place.layout().node(&codec::path(&record.key()));
    let delete = vec![Write::Delete(record.key())];
    store
        .commit(vec![Write::Put(record)])
        .await
        .expect("a commit");
    // ZooKeeper does not delete a node that has others below it.
    let client = place.client().await;
    let below = format!("{node}/below");
    put(&client, &below, b"").await;
    let first = store.commit(delete.clone()).await;
    assert!(
        matches!(first, Err(StoreError::Unavailable { .. })),
        "{first:?}"
    );
    let second = store.commit(delete.clone()).await;
    assert!(
        matches!(second, Err(StoreError::Refused { .. })),
        "{second:?}"
    );
    assert!(!store.lease().holds() && store.lease().was_taken_back());
    // The process lives, and another is to try.
    drop(store);
    client.delete(&below, None).await.expect("it was there");
    let other = place.process();
    let store = soon("another's election", other.campaign())
        .await
        .expect("a store");
    store.commit(delete).await.expect("a commit");
    assert_eq!(records(&*store).await, []);
}

/// Any one server of three may die, the leading one included, and the term goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_term_outlives_the_death_of_any_one_server() {
    let Some(mut ensemble) = Ensemble::start(3) else {
        return;
    };
    let place = Place::new(ensemble.hosts());
    let process = place.process();
    let store = soon("an election", process.campaign())
        .await
        .expect("a term");
    store.load().await.expect("a load");
    for server in 0..3 {
        ensemble.server(server).kill();
        let begin = Instant::now();
        let record = task("web", 1 + server as u32);
        store
            .commit(vec![Write::Put(record)])
            .await
            .expect("a commit");
        eprintln!(
            "a commit took {:?} after the death of server {server}",
            begin.elapsed()
        );
        ensemble.server(server).start();
        ensemble.wait_until_serving();
    }
    assert!(store.lease().holds());
    assert_eq!(records(&*store).await.len(), 3);
}

/// A server that is cut off from its quorum goes on to answer for a while; that must not keep
/// anybody leading.
#[tokio::test(flavor = "multi_thread")]
async fn the_lease_ends_without_a_quorum_and_a_new_term_begins_with_it() {
    let Some(mut ensemble) = Ensemble::start(3) else {
        return;
    };
    let follower = (0..3).find(|server| ensemble.leader() != Some(*server));
    let follower = follower.expect("two of them");
    let mut place = Place::new(ensemble.hosts());
    place.config.session_timeout = SHORT_SESSION;
    let ours = ensemble.server(follower).address();
    let process = place.process_through(vec![ours]);
    let store = soon("an election", process.campaign())
        .await
        .expect("a term");
    store.load().await.expect("a load");
    let epoch = store.lease().epoch();
    for server in (0..3).filter(|server| *server != follower) {
        ensemble.server(server).freeze();
    }
    let begin = Moment::now();
    let commit = store.commit(vec![Write::Put(task("web", 1))]);
    let lease = store.lease();
    let lost = soon("the end", lease.lost());
    let (reason, commit) = tokio::join!(lost, commit);
    // However late this process got to see it.
    let end = lease.renewed_until();
    eprintln!("the lease ended at {end:?}, without a quorum since {begin:?}: {reason}");
    assert!(end < begin.after(SHORT_SESSION), "{begin:?} {end:?}");
    assert!(
        matches!(commit, Err(StoreError::Refused { .. })),
        "{commit:?}"
    );
    for server in (0..3).filter(|server| *server != follower) {
        ensemble.server(server).thaw();
    }
    drop(store);
    let store = soon("an election", process.campaign())
        .await
        .expect("a term");
    assert!(store.lease().epoch() > epoch);
    store.load().await.expect("a load");
    store
        .commit(vec![Write::Put(task("web", 2))])
        .await
        .expect("a commit");
}

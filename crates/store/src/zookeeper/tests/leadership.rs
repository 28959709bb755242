//! Who leads, and that it is one.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use gantry_core::Write;
use tokio::sync::mpsc;
use zookeeper_client::{Acls, CreateMode};

use super::support::{Ensemble, Link, Place, Proxy, SHORT_SESSION, put, records, soon};
use crate::{
    Lease, Store, StoreError, ZooKeeper,
    conformance::{Home as _, task},
};

/// Looks all the time at which leases hold; never more than one.
struct Watch {
    most: Arc<AtomicU32>,
    leases: std::sync::mpsc::Sender<Lease>,
}

impl Watch {
    fn start() -> Self {
        let most = Arc::new(AtomicU32::new(0));
        let (leases, new) = std::sync::mpsc::channel::<Lease>();
        let seen = most.clone();
        std::thread::spawn(move || {
            let mut held: Vec<Lease> = Vec::new();
            while let Ok(()) | Err(std::sync::mpsc::TryRecvError::Empty) =
                new.try_recv().map(|lease| held.push(lease))
            {
                held.retain(Lease::holds);
                // Whoever held before the others were looked at and still holds, held meanwhile.
                let together = held.iter().filter(|lease| lease.holds()).count();
                seen.fetch_max(together as u32, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        Self { most, leases }
    }

    fn add(&self, store: &dyn Store) {
        self.leases.send(store.lease()).expect("somebody watches");
    }

    fn check(&self) {
        assert_eq!(self.most.load(Ordering::SeqCst), 1, "leaders at once");
    }
}

/// The leader is cut off, again and again; another takes over when its lease has ended, and what
/// the old one still had on the way is not written.
#[tokio::test(flavor = "multi_thread")]
async fn a_partition_of_the_leader_never_makes_two() {
    let Some(ensemble) = Ensemble::start(1) else {
        return;
    };
    let mut place = Place::new(ensemble.hosts());
    place.config.session_timeout = SHORT_SESSION;
    let watch = Watch::start();
    let mut members: Vec<(ZooKeeper, Proxy)> = Vec::new();
    for _ in 0..2 {
        let proxy = Proxy::start(ensemble.hosts().remove(0)).await;
        members.push((place.process_through(vec![proxy.address()]), proxy));
    }
    let mut store = soon("an election", members[0].0.campaign())
        .await
        .expect("a term");
    watch.add(&*store);
    for round in 0..4 {
        store.load().await.expect("a load");
        let (old, new) = (&members[round % 2], &members[(round + 1) % 2]);
        soon("an answer", store.commit(vec![Write::Put(task("web", 1))]))
            .await
            .expect("a commit");
        let link = if round % 2 == 0 {
            Link::BlackHole
        } else {
            Link::LoseAnswers
        };
        old.1.set(link);
        let begin = Instant::now();
        let late = store.commit(vec![Write::Put(task("late", 1 + round as u32))]);
        let successor = async {
            let store = soon("a successor", new.0.campaign()).await.expect("a term");
            watch.add(&*store);
            (store, begin.elapsed())
        };
        let lost = async { (store.lease().lost().await, begin.elapsed()) };
        let (late, (next, led), (reason, lost)) = tokio::join!(late, successor, lost);
        eprintln!(
            "{link:?}: the lease ended after {lost:?} ({reason}), the successor led after {led:?}"
        );
        assert!(lost < led, "{lost:?} {led:?}");
        assert!(matches!(late, Err(StoreError::Refused { .. })), "{late:?}");
        assert!(next.lease().epoch() > store.lease().epoch());
        old.1.set(Link::Pass);
        let again = store.commit(vec![Write::Put(task("late", 99))]).await;
        assert!(
            matches!(again, Err(StoreError::Refused { .. })),
            "{again:?}"
        );
        // It comes back by itself, with a new session, and sees who leads.
        let mut status = old.0.status();
        let back = status.wait_for(|status| status.connected.is_ok());
        soon("a new session", back).await.expect("a status");
        store = next;
    }
    let found = records(&*store).await;
    let late = found
        .iter()
        .filter(|record| **record != task("web", 1))
        .count();
    // Lost answers only: these were written before the successor led.
    assert!(late <= 2, "{found:?}");
    watch.check();
}

/// What the old leader does not know yet, ZooKeeper does.
#[tokio::test(flavor = "multi_thread")]
async fn a_deposed_leader_cannot_write_before_it_has_noticed() {
    let Some(ensemble) = Ensemble::start(1) else {
        return;
    };
    let place = Place::new(ensemble.hosts());
    let client = place.client().await;
    // Once its lock node is removed, once only the epoch is another.
    for by_epoch in [false, true] {
        // It looks now and then, and may notice first.
        let mut unnoticed = false;
        for _ in 0..5 {
            let store = place.open().await.expect("a store");
            store.load().await.expect("a load");
            if by_epoch {
                let node = place.layout().epoch();
                let later = br#"{"epoch":77,"leader":"somebody"}"#;
                client.set_data(&node, later, None).await.expect("the node");
            } else {
                let queue = place.layout().leader();
                let lock = client
                    .list_children(&queue)
                    .await
                    .expect("a queue")
                    .remove(0);
                client
                    .delete(&format!("{queue}/{lock}"), None)
                    .await
                    .expect("a lock");
            }
            unnoticed = store.lease().holds();
            let batch = (1..5_000).map(|number| Write::Put(task("late", number)));
            let result = store.commit(batch.collect()).await;
            assert!(
                matches!(result, Err(StoreError::Refused { .. })),
                "{result:?}"
            );
            assert!(!store.lease().holds());
            drop(store);
            assert_eq!(records(&*place.open().await.expect("a store")).await, []);
            if unnoticed {
                break;
            }
        }
        assert!(unnoticed, "it noticed before it wrote, each time");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lease_ends_when_the_lock_is_gone() {
    let Some(ensemble) = Ensemble::start(1) else {
        return;
    };
    let place = Place::new(ensemble.hosts());
    let client = place.client().await;
    let store = place.open().await.expect("a store");
    let queue = place.layout().leader();
    let lock = client
        .list_children(&queue)
        .await
        .expect("a queue")
        .remove(0);
    client
        .delete(&format!("{queue}/{lock}"), None)
        .await
        .expect("a lock");
    let reason = soon("the end", store.lease().lost()).await;
    assert!(reason.contains("lock node"), "{reason}");
}

/// Candidates lead in the order in which they came, each at once when the one before resigns or
/// is dropped (its process lives on, so that no session's end helps); all see who it is, and so do Curator's tools.
#[tokio::test(flavor = "multi_thread")]
async fn leadership_passes_on_at_once() {
    let Some(ensemble) = Ensemble::start(1) else {
        return;
    };
    let place = Place::new(ensemble.hosts());
    let client = place.client().await;
    let queue = place.layout().leader();
    let watch = Watch::start();
    let (tell, mut terms) = mpsc::unbounded_channel();
    let mut processes = Vec::new();
    for number in 0..4 {
        let process = Arc::new(place.process());
        processes.push(process.clone());
        let tell = tell.clone();
        tokio::spawn(async move {
            let store = process.campaign().await.expect("a term");
            tell.send((number, store)).expect("somebody listens");
        });
        let entered = async {
            while client
                .list_children(&queue)
                .await
                .map_or(0, |queue| queue.len())
                <= number
            {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        soon("a candidate", entered).await;
    }
    let mut last = 0;
    for expected in 0..4 {
        let (number, store) = soon("a term", terms.recv()).await.expect("a term");
        assert_eq!(number, expected);
        watch.add(&*store);
        assert!(store.lease().epoch() > last);
        last = store.lease().epoch();
        for process in &processes {
            let ours = processes[number].shared.config.member.clone();
            let mut status = process.status();
            let seen = status.wait_for(|status| status.leader.as_ref() == Some(&ours));
            soon("the leader is seen", seen).await.expect("a status");
        }
        let mut names = client.list_children(&queue).await.expect("a queue");
        assert_eq!(names.len(), 4 - number);
        names.sort_unstable_by_key(|name| name.rsplit('-').next().map(str::to_owned));
        assert!(
            names[0].starts_with("_c_") && names[0].contains("-latch-00"),
            "{names:?}"
        );
        let begin = Instant::now();
        if number % 2 == 0 {
            store.resign().await;
            let result = store.commit(vec![Write::Put(task("late", 1))]).await;
            assert!(
                matches!(result, Err(StoreError::Refused { .. })),
                "{result:?}"
            );
        } else {
            drop(store);
        }
        if number < 3 {
            let led = async {
                while terms.is_empty() {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            soon("the next", led).await;
            eprintln!("the next led after {:?}", begin.elapsed());
        }
    }
    watch.check();
}

/// A session that is gone takes the lock with it; the process gets a new one and leads again.
#[tokio::test(flavor = "multi_thread")]
async fn an_expired_session_is_replaced() {
    let Some(ensemble) = Ensemble::start(1) else {
        return;
    };
    let mut place = Place::new(ensemble.hosts());
    place.config.session_timeout = SHORT_SESSION;
    let proxy = Proxy::start(ensemble.hosts().remove(0)).await;
    let process = place.process_through(vec![proxy.address()]);
    let store = soon("an election", process.campaign())
        .await
        .expect("a term");
    store.load().await.expect("a load");
    let mut status = process.status();
    proxy.set(Link::BlackHole);
    let expired = status
        .wait_for(|status| matches!(&status.connected, Err(reason) if reason.contains("expired")));
    soon("the session's end", expired).await.expect("a status");
    assert!(!store.lease().holds());
    let error = process.read().await.expect_err("no server is reached");
    assert!(error.to_string().contains("not connected"), "{error}");
    drop(store);
    proxy.set(Link::Pass);
    let store = soon("an election", process.campaign())
        .await
        .expect("a term");
    assert!(store.lease().epoch() > 1);
    assert!(status.borrow().connected.is_ok());
}

/// Others than Gantry may stand in the queue, as Curator's own latches do; they lead in their turn.
#[tokio::test(flavor = "multi_thread")]
async fn the_queue_is_shared_with_curator() {
    let Some(ensemble) = Ensemble::start(1) else {
        return;
    };
    let place = Place::new(ensemble.hosts());
    drop(place.open().await.expect("a store"));
    let client = place.client().await;
    let queue = place.layout().leader();
    let empty = async {
        while client.list_children(&queue).await != Ok(Vec::new()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon("an empty queue", empty).await;
    let foreign = format!("{queue}/_c_6f9619ff-8b86-4011-b42d-00c04fc964ff-latch-");
    let ephemeral = CreateMode::EphemeralSequential.with_acls(Acls::anyone_all());
    let (_, sequence) = client
        .create(&foreign, b"curator", &ephemeral)
        .await
        .expect("a latch");
    let process = place.process();
    let mut campaign = std::pin::pin!(process.campaign());
    let entered = async {
        while client
            .list_children(&queue)
            .await
            .is_ok_and(|queue| queue.len() < 2)
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        _ = &mut campaign => panic!("it is not our turn"),
        () = soon("a second candidate", entered) => {}
    }
    client
        .delete(&format!("{foreign}{sequence}"), None)
        .await
        .expect("a latch");
    assert!(soon("an election", campaign).await.is_ok());
}

/// Attempts that go on to fail though ZooKeeper is there are not kept secret, and are made again.
#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_that_fails_again_and_again_is_told() {
    let Some(ensemble) = Ensemble::start(1) else {
        return;
    };
    let mut place = Place::new(ensemble.hosts());
    place.config.session_timeout = SHORT_SESSION;
    let client = place.client().await;
    let queue = place.layout().leader();
    put(&client, place.layout().gantry(), b"").await;
    // Such a node has no children.
    let options = CreateMode::Ephemeral.with_acls(Acls::anyone_all());
    client.create(&queue, b"", &options).await.expect("a node");
    let process = place.process();
    for _ in 0..2 {
        let failed = soon("the end of patience", process.campaign()).await;
        let Err(StoreError::Unavailable { reason }) = failed else {
            panic!("no failure");
        };
        assert!(reason.contains("take us for a candidate"), "{reason}");
        assert!(process.status().borrow().connected.is_ok());
    }
    client.delete(&queue, None).await.expect("it was there");
    let store = soon("an election", process.campaign()).await;
    drop(store.expect("a store"));
}

//! What all homes promise.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use gantry_core::{
    Container, Demand, ModuleValue, Placement, Record, RevisionRecord, TaskCommand, Template,
    Timestamp, WorkloadName, Write,
};

use super::support::{Ensemble, Place, Proxy, put, soon, sorted};
use crate::{
    StoreError,
    conformance::{self, Home as _, task},
};

#[tokio::test(flavor = "multi_thread")]
async fn one_server_passes_the_conformance_suite() {
    let Some(ensemble) = Ensemble::start(1) else {
        return;
    };
    conformance::run(async || Place::new(ensemble.hosts())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_servers_pass_the_conformance_suite() {
    let Some(ensemble) = Ensemble::start(3) else {
        return;
    };
    conformance::run(async || Place::new(ensemble.hosts())).await;
}

/// What Marathon, Storm and others died of: packets that grow with the number of tasks.
#[tokio::test(flavor = "multi_thread")]
async fn with_100_000_tasks_packets_are_far_from_the_limit() {
    let Some(ensemble) = Ensemble::start(1) else {
        return;
    };
    let proxy = Proxy::start(ensemble.hosts().remove(0)).await;
    conformance::big_batch(&Place::new(vec![proxy.address()])).await;
    let (requests, answers) = (proxy.requests(), proxy.answers());
    assert!(requests.bytes > 30_000_000, "{requests:?}");
    assert!(requests.largest < 512 * 1024, "{requests:?}");
    assert!(answers.largest < 512 * 1024, "{answers:?}");
}

/// Records of any size, of which many are small and then some are not.
#[tokio::test(flavor = "multi_thread")]
async fn records_of_very_different_sizes_come_in_packets_of_the_same() {
    let Some(ensemble) = Ensemble::start(1) else {
        return;
    };
    let place = Place::new(ensemble.hosts());
    let store = place.open().await.expect("a store");
    let mut all: Vec<_> = (1..=2_000).map(|number| task("web", number)).collect();
    for number in 1..=400 {
        let bytes = match number % 40 {
            0 => 400_000,
            n if n < 5 => 60_000,
            _ => 3_000,
        };
        all.push(revision(number, "x".repeat(bytes)));
        all.push(Record::ModuleValue(ModuleValue {
            module: "m".into(),
            key: number.to_string().into(),
            value: "y".repeat(bytes / 10).into(),
        }));
    }
    store
        .commit(all.iter().cloned().map(Write::Put).collect())
        .await
        .expect("a commit");
    drop(store);
    let proxy = Proxy::start(ensemble.hosts().remove(0)).await;
    let process = place.process_through(vec![proxy.address()]);
    let read = process.read().await.expect("a load");
    assert_eq!((read.records.len(), read.rejected), (all.len(), vec![]));
    let answers = proxy.answers();
    assert!(answers.bytes > 5_000_000, "{answers:?}");
    assert!(answers.largest < 512 * 1024, "{answers:?}");
}

fn revision(number: u32, command: String) -> Record {
    Record::Revision(RevisionRecord {
        workload: WorkloadName::new("web"),
        number,
        created_at: Timestamp::ZERO,
        template: Arc::new(Template {
            demand: Demand::default(),
            placement: Placement::default(),
            command: TaskCommand::Shell(command),
            container: Container::None,
            environment: Vec::new(),
            uris: Vec::new(),
            labels: BTreeMap::new(),
            user: None,
            health_check: None,
            kill_grace: None,
        }),
    })
}

/// What versions that removed these one by one may have left.
#[tokio::test(flavor = "multi_thread")]
async fn the_rest_of_a_removal_is_nothing() {
    let Some(ensemble) = Ensemble::start(1) else {
        return;
    };
    for left in [&["epoch", "transactions"][..], &["transactions"]] {
        let place = Place::new(ensemble.hosts());
        let process = place.process();
        let store = process.campaign().await.expect("a store");
        let epoch = store.lease().epoch();
        process.remove_everything().await.expect("a removal");
        drop(store);
        let client = place.client().await;
        for name in left {
            let node = place.layout().own(name);
            put(&client, &node, br#"{"epoch":7,"leader":""}"#).await;
        }
        assert_eq!(process.read().await.expect("nothing").records, []);
        let store = process.campaign().await.expect("a store");
        let next = if left.len() > 1 { 8 } else { epoch };
        assert_eq!(store.lease().epoch(), next);
        store
            .commit(vec![Write::Put(task("web", 1))])
            .await
            .expect("a commit");
        assert_eq!(super::support::records(&*store).await, [task("web", 1)]);
        process.remove_everything().await.expect("a removal");
        let root = client.check_stat(place.layout().root()).await;
        assert_eq!(root, Ok(None));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_without_a_layout_is_never_taken_for_nothing() {
    let Some(ensemble) = Ensemble::start(1) else {
        return;
    };
    let place = Place::new(ensemble.hosts());
    let client = place.client().await;
    put(&client, &place.layout().node("tasks/a"), b"{}").await;
    let corrupt = |error: StoreError| matches!(error, StoreError::Corrupt { .. });
    let process = place.process();
    assert!(process.read().await.is_err_and(corrupt));
    let store = soon("an election", process.campaign())
        .await
        .expect("a store");
    assert!(store.load().await.is_err_and(corrupt));
}

/// A directory goes only after what is in it: one that is gone hides nothing, and costs only what was
/// removed with it. The same holds for what says which term it is.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_lost_of_the_frame_is_made_anew() {
    let Some(ensemble) = Ensemble::start(1) else {
        return;
    };
    let place = Place::new(ensemble.hosts());
    let store = place.open().await.expect("a store");
    let tasks: Vec<_> = (1..=3).map(|number| task("web", number)).collect();
    store
        .commit(tasks.iter().cloned().map(Write::Put).collect())
        .await
        .expect("a commit");
    let mut epoch = store.lease().epoch();
    drop(store);
    let client = place.client().await;
    let layout = place.layout();
    let remove = async |node: &str| client.delete(node, None).await.expect("it was there");
    let empty = async |kind: &'static str| {
        for shard in layout.shards() {
            let is_of_kind = shard.node().starts_with(&layout.own(&format!("{kind}/")));
            let names = client.list_children(shard.node()).await.expect("names");
            if is_of_kind && names.is_empty() {
                return shard.node().to_owned();
            }
        }
        panic!("all are full");
    };
    let damages = [
        vec![empty("tasks").await, empty("workloads").await],
        vec![layout.epoch()],
        vec![layout.transactions()],
    ];
    for damage in damages {
        for node in &damage {
            remove(node).await;
        }
        // Whoever only looks makes nothing, and misses nothing but what is gone.
        let seen = place.process().read().await.expect("a load");
        assert_eq!(sorted(seen.records), tasks);
        let named: Vec<_> = seen.rejected.iter().map(|entry| &entry.key).collect();
        let shards = damage.iter().filter(|node| node.contains("s/"));
        assert!(shards.eq(named.iter().copied()), "{named:?}");

        let store = place.open().await.expect("a store");
        assert!(store.lease().epoch() > epoch, "after {damage:?}");
        epoch = store.lease().epoch();
        assert_eq!(super::support::records(&*store).await, tasks);
        let more: Vec<_> = (4..2_000).map(|number| task("web", number)).collect();
        let put = more.iter().cloned().map(Write::Put).collect();
        store.commit(put).await.expect("a commit");
        let delete = more.iter().map(|task| Write::Delete(task.key())).collect();
        store.commit(delete).await.expect("a commit");
    }
    put(&client, &layout.epoch(), b"{\"ep").await;
    let store = place.open().await.expect("a store");
    assert!(store.lease().epoch() > epoch);
    assert_eq!(super::support::records(&*store).await, tasks);
}

/// Nobody acts on what is damaged as a whole; but it can be replaced and removed, by the same way that
/// everybody takes.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_damaged_as_a_whole_can_be_replaced_and_removed() {
    let Some(ensemble) = Ensemble::start(1) else {
        return;
    };
    for is_removed in [false, true] {
        for damage in ["layout is nonsense", "layout is gone", "tasks are gone"] {
            let place = Place::new(ensemble.hosts());
            let store = place.open().await.expect("a store");
            let before = task("web", 1);
            let put_one = vec![Write::Put(before.clone())];
            store.commit(put_one).await.expect("a commit");
            drop(store);
            let client = place.client().await;
            let layout = place.layout();
            let node = layout.own(crate::codec::LAYOUT_PATH);
            match damage {
                "layout is nonsense" => put(&client, &node, b"?").await,
                "layout is gone" => client.delete(&node, None).await.expect("it was there"),
                _ => remove_with_all_below(&client, &layout.own("tasks")).await,
            }
            let corrupt = |error: StoreError| matches!(error, StoreError::Corrupt { .. });
            assert!(place.process().read().await.is_err_and(corrupt), "{damage}");
            let process = place.process();
            let store = soon("an election", process.campaign())
                .await
                .expect("a store");
            assert!(store.load().await.is_err_and(corrupt), "{damage}");
            let write = vec![Write::Put(task("web", 2))];
            assert!(store.commit(write).await.is_err_and(corrupt), "{damage}");
            let found = store.salvage().await.expect("what is there");
            let expected = match damage {
                "tasks are gone" => vec![],
                _ => vec![before],
            };
            assert_eq!(found.records, expected, "{damage}");
            assert_ne!(found.rejected, [], "{damage}");

            if is_removed {
                process.remove_everything().await.expect("a removal");
                let root = client.check_stat(layout.root()).await;
                assert_eq!(root, Ok(None), "{damage}");
                continue;
            }
            let tasks = (1..600).map(|number| task("web", number));
            let tasks = sorted(tasks.collect());
            store.replace(tasks.clone()).await.expect("a replacement");
            assert_eq!(super::support::records(&*store).await, tasks, "{damage}");
            drop(store);
            let store = place.open().await.expect("a store");
            assert_eq!(super::support::records(&*store).await, tasks, "{damage}");
        }
    }
}

async fn remove_with_all_below(client: &zookeeper_client::Client, node: &str) {
    let mut nodes = vec![node.to_owned()];
    let mut next = 0;
    while let Some(node) = nodes.get(next).cloned() {
        next += 1;
        let children = client.list_children(&node).await.expect("names");
        nodes.extend(children.iter().map(|child| format!("{node}/{child}")));
    }
    for node in nodes.iter().rev() {
        client.delete(node, None).await.expect("it was there");
    }
}

/// Versions of Gantry before modules made no directories for what these keep.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_without_the_directories_of_a_later_version_gets_them() {
    let Some(ensemble) = Ensemble::start(1) else {
        return;
    };
    let place = Place::new(ensemble.hosts());
    let store = place.open().await.expect("a store");
    store
        .commit(vec![Write::Put(task("web", 1))])
        .await
        .expect("a commit");
    drop(store);
    let client = place.client().await;
    let modules = place.layout().own("modules");
    for shard in client.list_children(&modules).await.expect("shards") {
        let shard = format!("{modules}/{shard}");
        client.delete(&shard, None).await.expect("it was there");
    }
    client.delete(&modules, None).await.expect("it was there");

    // Whoever only looks misses nothing, and makes nothing.
    let seen = place.process().read().await.expect("a load");
    assert_eq!(
        (seen.records, seen.rejected),
        (vec![task("web", 1)], vec![])
    );
    assert_eq!(client.check_stat(&modules).await, Ok(None));

    let kept = gantry_core::Record::ModuleValue(gantry_core::ModuleValue {
        module: "leader".into(),
        key: "a/b".into(),
        value: "1".into(),
    });
    let store = place.open().await.expect("a store");
    store
        .commit(vec![Write::Put(kept.clone())])
        .await
        .expect("a commit");
    drop(store);
    let store = place.open().await.expect("a store");
    assert_eq!(
        super::support::records(&*store).await,
        [kept, task("web", 1)]
    );
}

/// For `restore`: whoever leads next does not act on a part.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_replacement_left_when_it_was_cut_off_is_no_store() {
    let Some(ensemble) = Ensemble::start(1) else {
        return;
    };
    let place = Place::new(ensemble.hosts());
    let tasks = |from: u32| (from..from + 20_000).map(|number| task("web", number));
    let store = place.open().await.expect("a store");
    store
        .replace(tasks(1).collect())
        .await
        .expect("a replacement");
    let next = place.process();
    let client = place.client().await;
    let mark = place.layout().own(crate::codec::RESTORING_PATH);
    let begun = async {
        while client.check_stat(&mark).await.expect("an answer").is_none() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        done = store.replace(tasks(10_000).collect()) => panic!("it was not cut off: {done:?}"),
        () = soon("its beginning", begun) => {}
    }
    drop(store);

    let half = |error: StoreError| matches!(error, StoreError::HalfReplaced { .. });
    let store = soon("an election", next.campaign()).await.expect("a store");
    assert!(store.load().await.is_err_and(half));
    assert!(next.read().await.is_err_and(half));
    assert!(store.commit(vec![]).await.is_err_and(half));
    assert_ne!(store.salvage().await.expect("a part").records, []);
    store
        .replace(tasks(10_000).collect())
        .await
        .expect("a replacement");
    let mut expected: Vec<_> = tasks(10_000).collect();
    expected = super::support::sorted(expected);
    assert_eq!(super::support::records(&*store).await, expected);
}

/// For `uninstall`.
#[tokio::test(flavor = "multi_thread")]
async fn everything_is_removed_by_the_only_process_there_is() {
    let Some(ensemble) = Ensemble::start(1) else {
        return;
    };
    let mut place = Place::new(ensemble.hosts());
    place.config.chroot = Some("/some/where".to_owned());
    let client = place.client().await;
    put(&client, &place.layout().own("surprises/1"), b"x").await;
    client
        .delete(&place.layout().own("surprises/1"), None)
        .await
        .expect("it was there");
    client
        .delete(&place.layout().own("surprises"), None)
        .await
        .expect("it was there");
    let process = place.process();
    let refused = |error: StoreError| matches!(error, StoreError::Refused { .. });
    assert!(process.remove_everything().await.is_err_and(refused));
    let store = process.campaign().await.expect("a store");
    let framework = gantry_core::Record::Framework(gantry_core::FrameworkRecord {
        id: gantry_core::FrameworkId::new("f"),
        registered_at: gantry_core::Timestamp::ZERO,
    });
    let mut batch: Vec<_> = (1..3000)
        .map(|number| Write::Put(task("web", number)))
        .collect();
    batch.push(Write::Put(framework));
    store.commit(batch).await.expect("a commit");
    put(&client, &place.layout().own("surprises/1/2"), b"x").await;

    let other = place.process();
    let mut campaign = Box::pin(other.campaign());
    let waiting = async {
        let queue = place.layout().leader();
        while client
            .list_children(&queue)
            .await
            .is_ok_and(|queue| queue.len() < 2)
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        _ = &mut campaign => panic!("two leaders"),
        () = soon("a second candidate", waiting) => {}
    }
    assert!(process.remove_everything().await.is_err_and(refused));
    let told = process.require_alone().await.expect_err("not alone");
    assert!(told.to_string().contains("stand by (host-"), "{told}");
    let loaded = store.load().await.expect("a load");
    assert_eq!(loaded.records.len(), 3_000);
    drop(campaign);
    let gone = async {
        let queue = place.layout().leader();
        while client
            .list_children(&queue)
            .await
            .is_ok_and(|queue| queue.len() > 1)
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    // Dropping the future gave the place up.
    soon("the second candidate going", gone).await;
    process
        .remove_everything()
        .await
        .expect("nobody else is there");
    assert!(!store.lease().holds());
    let root = client.check_stat(place.layout().root()).await;
    assert_eq!(root, Ok(None));
}

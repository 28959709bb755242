//! kill -9 at random moments: nothing is lost, nothing runs twice.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use gantry_core::{IdGenerator, TaskId};
use tokio::time::{Instant, sleep};

use crate::support::{Api, Local, WITHIN, serve, variables};

const CRASHES: u32 = 50;

/// Most instances; on five agents of 4 cpus there is room for 200 of a tenth.
const INSTANCES_MAX: u64 = 120;

/// The instance that a task fills.
fn instance(task: &str) -> u32 {
    let id = TaskId::new(task);
    id.parts("test")
        .unwrap_or_else(|| panic!("not ours: {task}"))
        .number
}

/// Each instance at most once among the tasks that nobody is killing.
fn assert_none_twice(live: &BTreeMap<String, String>) {
    let mut seen = BTreeSet::new();
    for (task, state) in live {
        if state != "TASK_KILLING" {
            assert!(
                seen.insert(instance(task)),
                "instance {} twice in {live:?}",
                instance(task)
            );
        }
    }
}

async fn desired(api: &Api) -> u32 {
    let workload = api.json("/api/v2/workloads/web").await;
    let desired = workload["wanted"].as_u64().expect("a count");
    u32::try_from(desired).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheduler_killed_at_any_moment_goes_on_where_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let local = Local::start(directory.path(), &["--agents", "5", "--simulated"]).await;
    let mut variables = variables(&local.master, directory.path());
    for (name, value) in [
        ("TASK_DEF_NUM", "1"),
        ("TASK0_NAME", "web"),
        ("TASK0_NUM_INSTANCES", "10"),
        ("TASK0_CMD", "serve for ever"),
        ("TASK0_CPUS", "0.1"),
        ("TASK0_MEM", "32"),
    ] {
        variables.insert(name, value.to_owned());
    }

    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seed = since_epoch.as_nanos() as u64;
    println!("seed {seed}");
    let mut dice = IdGenerator::new([seed, 1, 2, 3]);
    let mut roll = |sides: u64| dice.next_u64() % sides;

    // What may be wanted: two counts while a command has had no answer.
    let mut wanted = vec![10];
    // Which tasks ran, when last everything was as wanted.
    let mut settled: BTreeSet<String> = BTreeSet::new();
    // The smallest count that was asked for since.
    let mut lowest = 10;
    for crash in 0..CRASHES {
        let (program, api) = serve(directory.path(), &variables, &[]).await;
        // Some lives end before they have subscribed, some in the middle of launching, and some
        // are long enough to come to rest.
        if crash % 2 == 1 {
            let deadline = Instant::now() + WITHIN;
            let live = loop {
                let desired = desired(&api).await;
                assert!(
                    wanted.contains(&desired),
                    "crash {crash}: {desired} of {wanted:?}"
                );
                let live = local.live().await;
                assert_none_twice(&live);
                let running: BTreeSet<_> = api.running().await.into_values().collect();
                // As many as wanted, all running, and Gantry thinks the same.
                if live.len() == desired as usize
                    && live.values().all(|state| state == "TASK_RUNNING")
                    && running.iter().eq(live.keys())
                {
                    break live;
                }
                let late = Instant::now() >= deadline;
                assert!(
                    !late,
                    "crash {crash}: {desired} wanted, Gantry has {running:?}, the cluster {live:?}"
                );
                sleep(Duration::from_millis(20)).await;
            };
            // Scaling down takes the youngest: of those that ran before, as many as were wanted
            // at all times must still run.
            let still = settled
                .iter()
                .filter(|task| live.contains_key(*task))
                .count();
            let kept = settled.len().min(lowest as usize);
            assert!(
                still >= kept,
                "crash {crash}: {still} of {kept} in {settled:?} live on"
            );
            wanted = vec![live.len() as u32];
            lowest = wanted[0];
            settled = live.into_keys().collect();
        }
        if roll(10) < 8 {
            let count = roll(INSTANCES_MAX) as u32;
            let asking = tokio::spawn({
                let api = api.clone();
                async move { api.scale("web", count).await }
            });
            wanted.push(count);
            lowest = lowest.min(count);
            if roll(2) == 0 && asking.await.unwrap() == Some(true) {
                // An answer is a promise.
                wanted = vec![count];
            }
        }
        let span = [5, 100, 900][roll(3) as usize];
        sleep(Duration::from_millis(roll(span))).await;
        program.kill_9();
        assert_none_twice(&local.live().await);
    }
    // No task was ever launched under another id. (A life that ended between the answer to
    // SUBSCRIBE and its being stored leaves a framework behind that never did anything.)
    assert_eq!(local.frameworks().await.len(), 1);
}

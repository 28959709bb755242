//! Round after round: a fault in the middle of all kinds of work, then everything must be as it was
//! promised.
//!
//! `GANTRY_HA_ROUNDS` (`cargo xtask ha --rounds N`) says how many, with faults of 15 s; without it
//! each kind of fault comes once, for a shorter time. `GANTRY_HA_SEED` repeats the choices of a run,
//! `GANTRY_HA_FAULT` lets only one kind happen.

use std::{
    collections::BTreeMap,
    env,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use gantry_core::IdGenerator;
use serde_json::Value;

use super::{
    client::{Counts, INSTANCES_MAX, Operators},
    fault::Fault,
    site::Site,
    terms::acting,
};
use crate::support::Api;

/// A process is stopped, or a connection cut, for so long in a long run.
const LONG: Duration = Duration::from_secs(15);

/// And for so long otherwise: longer than a session lasts without a word.
const SHORT: Duration = Duration::from_secs(6);

const DECLARED: [(&str, u32); 2] = [("web", 4), ("worker", 3)];

const VARIABLES: [(&str, &str); 15] = [
    ("TASK_DEF_NUM", "2"),
    ("REVIVE_EVERY", "200ms"),
    ("TASK0_NAME", "web"),
    ("TASK0_NUM_INSTANCES", "4"),
    ("TASK0_CMD", "exec sleep 100000"),
    ("TASK0_CPUS", "0.1"),
    ("TASK0_MEM", "32"),
    ("TASK0_UPDATE_MONITOR", "0s"),
    ("TASK1_NAME", "worker"),
    ("TASK1_NUM_INSTANCES", "3"),
    ("TASK1_CMD", "exec sleep 100000"),
    ("TASK1_CPUS", "0.1"),
    ("TASK1_MEM", "32"),
    ("TASK1_UPDATE_MONITOR", "0s"),
    ("TASK1_UPDATE_ORDER", "stop-first"),
];

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_doubled_with_one_zookeeper_server() {
    rounds(1, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_doubled_with_three_zookeeper_servers() {
    rounds(3, 3).await;
}

fn seed() -> u64 {
    if let Ok(seed) = env::var("GANTRY_HA_SEED") {
        return seed.parse().expect("GANTRY_HA_SEED is a number");
    }
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since_epoch.as_nanos() as u64
}

async fn rounds(servers: usize, gantries: usize) {
    let Some(mut site) = Site::start(servers, gantries, &VARIABLES).await else {
        return;
    };
    let seed = seed();
    println!("{servers} servers, {gantries} Gantrys, seed {seed}");
    let mut dice = IdGenerator::new([seed, servers as u64, 2, 3]);
    let mut kinds = Fault::all(servers);
    if let Ok(only) = env::var("GANTRY_HA_FAULT") {
        kinds.retain(|fault| fault.to_string() == only);
        assert!(!kinds.is_empty(), "GANTRY_HA_FAULT names none");
    }
    let (count, span) = match env::var("GANTRY_HA_ROUNDS") {
        Ok(count) => (count.parse().expect("GANTRY_HA_ROUNDS is a number"), LONG),
        Err(_) => (kinds.len(), SHORT),
    };
    site.runs(&DECLARED).await;
    site.watch.longest_without_leader();
    let mut operators = Operators::new(&site, &DECLARED, seed);
    let mut figures: BTreeMap<String, Figures> = BTreeMap::new();
    let mut deck: Vec<Fault> = Vec::new();
    for round in 1..=count {
        if deck.is_empty() {
            deck.clone_from(&kinds);
        }
        let fault = deck.swap_remove((dice.next_u64() % deck.len() as u64) as usize);
        let before = operators.counts().acknowledged;
        let shift = operators.shift(&site.watch);
        site.until("work to be under way", async || {
            let promised = operators.counts().acknowledged >= before + 3;
            (promised && site.watch.is_moving()).then_some(())
        })
        .await;
        fault.happen(&mut site, span).await;
        let during = operators.counts().acknowledged;
        site.until("promises after the fault", async || {
            (operators.counts().acknowledged >= during + 3).then_some(())
        })
        .await;
        shift.end().await;
        settle(&site, &operators, &mut dice).await;

        let without = site.watch.longest_without_leader();
        let counts = operators.counts();
        println!(
            "round {round}: {fault}: {:.1} s without a leader, {:.1} s without a promise; {} promises, {} of them during the fault",
            without.as_secs_f64(),
            counts.longest_without.as_secs_f64(),
            counts.acknowledged - before,
            during - before,
        );
        let figures = figures.entry(fault.to_string()).or_default();
        figures.rounds += 1;
        figures.without_leader = figures.without_leader.max(without);
        figures.without_promise = figures.without_promise.max(counts.longest_without);
    }
    report(&site, &operators, &figures);
}

/// Of one kind of fault.
#[derive(Default)]
struct Figures {
    rounds: u32,
    without_leader: Duration,
    without_promise: Duration,
}

/// Everything comes to rest as it was promised.
async fn settle(site: &Site, operators: &Operators, dice: &mut IdGenerator) {
    for gantry in &site.gantries {
        site.until("every Gantry to be well", async || {
            (gantry.api.health().await? == 200).then_some(())
        })
        .await;
    }
    at_rest(site, operators).await;
    // Where nobody knows whether a count was taken, a last word is spoken.
    for (workload, wish) in operators.wishes() {
        if wish.unknown.is_empty() {
            continue;
        }
        let count = (dice.next_u64() % u64::from(INSTANCES_MAX)) as u32;
        let any = dice.next_u64() as usize % site.gantries.len();
        let base = &site.gantries[any].api.base;
        site.until("a last word", async || {
            let taken = operators.scale(&site.watch, base, workload, count).await;
            taken.then_some(())
        })
        .await;
    }
    at_rest(site, operators).await;
}

async fn at_rest(site: &Site, operators: &Operators) {
    let wishes = operators.wishes();
    let counts = site
        .until("what was promised", async || {
            let api = &site.gantries[site.watch.leader()?].api;
            let mut counts = Vec::new();
            for (workload, wish) in &wishes {
                let wanted = wanted(api, workload).await?;
                let possible = wanted == wish.acknowledged || wish.unknown.contains(&wanted);
                if !possible {
                    site.watch
                        .wrong(format!("{workload}: {wanted} are wanted, where {wish:?}"));
                }
                counts.push((*workload, wanted));
            }
            let running = site.watch.running_exactly(&counts)?;
            let (status, deployments) = api.get("/api/v2/deployments").await?;
            let deployments: Value = serde_json::from_str(&deployments).unwrap();
            let deployments = deployments["items"].as_array().filter(|_| status == 200)?;
            let statuses: BTreeMap<u64, (&str, &Value)> = deployments
                .iter()
                .filter_map(|item| {
                    let status = item["status"].as_str()?;
                    Some((item["id"].as_u64()?, (status, &item["reason"])))
                })
                .collect();
            let under_way = ["running", "rolling_back", "paused"];
            if statuses
                .values()
                .any(|(status, _)| under_way.contains(status))
            {
                return None;
            }
            for wish in wishes.values() {
                // A restart is done when the task is gone.
                if wish
                    .restarted
                    .iter()
                    .any(|task| running.values().any(|other| other == task))
                {
                    return None;
                }
                for id in &wish.deployments {
                    match statuses.get(id) {
                        Some(("done", _)) => {}
                        // It has ended, and says why: what it was to move was scaled away and back.
                        Some(("failed", reason)) => {
                            site.watch
                                .tell(format!("rolling restart {id} failed: {reason}"));
                        }
                        status => {
                            let wrong = format!("rolling restart {id} is {status:?}");
                            site.watch.wrong(wrong);
                        }
                    }
                }
            }
            // And the leader knows.
            (api.running().await == running).then_some(counts)
        })
        .await;
    operators.settle(&counts);
    site.watch.at_rest();
    // What nobody knows the outcome of may still be on its way through a process that was stopped.
    for (workload, wish) in wishes {
        let instances = wish.may_restart.into_iter();
        site.watch
            .may_replace(instances.map(|number| (workload.to_owned(), number)));
    }
}

/// How many instances the leader wants; nothing where it is not the leader.
async fn wanted(api: &Api, workload: &str) -> Option<u32> {
    let (status, text) = api.get(&format!("/api/v2/workloads/{workload}")).await?;
    let answer: Value = serde_json::from_str(&text).unwrap();
    let count = answer["wanted"].as_u64().filter(|_| status == 200)?;
    u32::try_from(count).ok()
}

fn report(site: &Site, operators: &Operators, figures: &BTreeMap<String, Figures>) {
    let acting = acting(&site.watch.calls(), site.lives());
    println!("fault, rounds, longest without a leader, longest without a promise");
    for (fault, figures) in figures {
        println!(
            "{fault}, {}, {:.1} s, {:.1} s",
            figures.rounds,
            figures.without_leader.as_secs_f64(),
            figures.without_promise.as_secs_f64()
        );
    }
    let Counts {
        acknowledged,
        refused,
        unknown,
        ..
    } = operators.counts();
    let (launched, doubled) = site.watch.launched();
    println!(
        "{acknowledged} promises, all kept; {refused} refusals, {unknown} without a known outcome; \
         {launched} launches, {doubled} of them beside the task to be replaced; {} terms",
        acting.terms.len()
    );
    site.watch.check();
    assert_eq!(acting.wrong, Vec::<String>::new());
    assert_eq!(acting.late, Vec::<String>::new());
}

//! Measures the store on ZooKeeper, with its servers on the same machine:
//! `cargo run --release -p gantry-store --example zookeeper_speed [SERVERS]`.
//!
//! Servers of version 3.8, two cores of a virtual machine with an ext4 disk, a load of 14 by other
//! builds beside it:
//!
//! | launches a batch | launches/s | median commit | slowest |
//! |---|---|---|---|
//! | 20 | 2,100 | 7.9 ms | 33 ms |
//! | 200 | 8,900 | 10 ms | 300 ms |
//! | 1,000 | 10,100 | 99 ms | 205 ms |
//! | 5,000 | 17,000 | 265 ms | 524 ms |
//!
//! A launch is two writes: the intent, and later the task that runs. With three servers on the same
//! machine: 770, 3,000, 6,800 and 7,700 launches/s. 100,000 tasks: leading after 0.03 s, loaded after
//! another 1.4 s; 542 bytes a task in requests, 536 in answers; the largest request has 64 kB, the
//! largest answer 123 kB.

use std::{error::Error, sync::Arc, time::Instant};

use gantry_core::{
    AgentAddress, AgentId, Goal, Record, TaskId, TaskRecord, TaskState, Timestamp, Uuid,
    WorkloadName, Write,
};
use gantry_store::{Member, ZooKeeper, ZooKeeperConfig};
use gantry_testbed::{Ensemble, Proxy, Setup};

fn task(number: u32, state: TaskState) -> Write {
    let uuid =
        Uuid::from_bits(u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835));
    let at = Timestamp::from_millis(1_700_000_000_000);
    let running = (state == TaskState::Running).then_some(at);
    Write::Put(Record::Task(TaskRecord {
        id: TaskId::from_parts("measure", "web", number, uuid),
        workload: WorkloadName::new("web"),
        number,
        uuid,
        revision: 1,
        agent: Arc::new(AgentAddress {
            id: AgentId::new("20261121-100000-16842879-5050-1-S1"),
            hostname: "node-1.example.net".to_owned(),
            ip: "10.0.0.1".to_owned(),
            port: 5051,
            attributes: Vec::new(),
        }),
        ports: [31_000, 31_001].into_iter().collect(),
        state,
        goal: Goal::Run,
        launched_at: at,
        started_at: running,
        running_at: running,
    }))
}

fn process(hosts: Vec<String>, root: &str) -> ZooKeeper {
    ZooKeeper::connect(ZooKeeperConfig {
        hosts,
        chroot: None,
        root: root.to_owned(),
        auth: None,
        tls: None,
        session_timeout: ZooKeeperConfig::SESSION_TIMEOUT,
        member: Member {
            id: format!("{:?}", Instant::now()).replace(|c: char| !c.is_ascii_digit(), ""),
            host: "here".to_owned(),
            url: None,
        },
    })
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let servers = std::env::args().nth(1).map_or(Ok(1), |text| text.parse())?;
    let setup = Setup {
        servers,
        heap_megabytes: 1024,
        sync: true,
        ..Setup::default()
    };
    let Some(ensemble) = Ensemble::start_with(&setup) else {
        return Ok(());
    };
    // As the committer makes batches: intents of new tasks, and the tasks of the batch before running.
    let mut number = 1;
    for size in [20, 200, 1_000, 5_000] {
        let begin = Instant::now();
        let candidate = process(ensemble.hosts(), "/dcos-service-measure");
        let store = candidate.campaign().await?;
        store.load().await?;
        let ready = begin.elapsed();
        let mut times = Vec::new();
        let mut running = 0..0;
        let begin = Instant::now();
        for _ in 0..(20_000 / size).clamp(4, 100) {
            let intents = number..number + size;
            let batch = intents
                .clone()
                .map(|number| task(number, TaskState::Launching));
            let batch = batch
                .chain(running.map(|number| task(number, TaskState::Running)))
                .collect();
            let begin = Instant::now();
            store.commit(batch).await?;
            times.push(begin.elapsed());
            running = intents;
            number += size;
        }
        let took = begin.elapsed();
        let launches = times.len() as f64 * f64::from(size);
        times.sort_unstable();
        println!(
            "{size:>6} launches a batch: {:>7.0} launches/s, {:>9.2?} the median commit, {:>9.2?} the slowest (ready after {ready:.2?})",
            launches / took.as_secs_f64(),
            times[times.len() / 2],
            times[times.len() - 1],
        );
        store.resign().await;
    }
    // Fill up to 100,000, and count what goes over the wire.
    let proxy = Proxy::start(ensemble.hosts().remove(0)).await;
    let candidate = process(vec![proxy.address()], "/dcos-service-measure");
    let store = candidate.campaign().await?;
    store.load().await?;
    let (before, first) = (proxy.requests(), number);
    let begin = Instant::now();
    while number <= 100_000 {
        let batch = (number..=100_000)
            .take(10_000)
            .map(|number| task(number, TaskState::Running));
        store.commit(batch.collect()).await?;
        number += 10_000;
    }
    let (after, tasks) = (proxy.requests(), 100_001 - first);
    println!(
        "{tasks} tasks put in {:.2?} in batches of 10,000: {} requests, {} bytes a task, the largest request has {} bytes, the largest answer {}",
        begin.elapsed(),
        after.packets - before.packets,
        (after.bytes - before.bytes) / tasks as usize,
        after.largest,
        proxy.answers().largest,
    );
    store.resign().await;

    let before = proxy.answers();
    let candidate = process(ensemble.hosts(), "/dcos-service-measure");
    let begin = Instant::now();
    let store = candidate.campaign().await?;
    let elected = begin.elapsed();
    let count = store.load().await?.records.len();
    println!(
        "{count} tasks: leading after {elected:.2?}, loaded in {:.2?}",
        begin.elapsed() - elected
    );
    let watching = process(vec![proxy.address()], "/dcos-service-measure");
    let begin = Instant::now();
    let count = watching.read().await?.records.len();
    let after = proxy.answers();
    println!(
        "{count} tasks read through the proxy in {:.2?}: {} answers, {} bytes a task, the largest {}",
        begin.elapsed(),
        after.packets - before.packets,
        (after.bytes - before.bytes) / count.max(1),
        after.largest
    );
    Ok(())
}

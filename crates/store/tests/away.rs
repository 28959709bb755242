//! While ZooKeeper is away a process waits quietly, and goes on by itself when it is back.

#![expect(clippy::expect_used, reason = "a failed expectation is a failed test")]

use std::{
    fs,
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use gantry_store::{Member, StoreError, ZooKeeper, ZooKeeperConfig};
use gantry_testbed::{Ensemble, soon};
use tracing_subscriber::filter::LevelFilter;

const AWAY: Duration = Duration::from_secs(20);

/// Counts lines, and shows them to whoever looks at the test's output.
#[derive(Clone, Default)]
struct Lines(Arc<AtomicUsize>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
        self.0.fetch_add(lines, Ordering::SeqCst);
        io::stderr().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Time that this process has spent on processors, of which the kernel counts hundredths.
fn processor_time() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").expect("the kernel's count");
    let (_, fields) = stat.rsplit_once(')').expect("a name in brackets");
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let hundredths: u64 = [11, 12]
        .iter()
        .map(|field| fields[*field].parse::<u64>().expect("a number"))
        .sum();
    Duration::from_millis(hundredths * 10)
}

// The only test of its process, as it counts what the process does.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_without_its_servers_is_quiet() {
    let Some(mut ensemble) = Ensemble::start(1) else {
        return;
    };
    let lines = Lines::default();
    let writer = lines.clone();
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::INFO)
        .with_writer(move || writer.clone())
        .init();
    let process = ZooKeeper::connect(ZooKeeperConfig {
        hosts: ensemble.hosts(),
        chroot: None,
        root: "/dcos-service-away".to_owned(),
        auth: None,
        tls: None,
        session_timeout: Duration::from_secs(4),
        member: Member {
            id: "6f9619ff-8b86-4011-b42d-00c04fc964ff".to_owned(),
            host: "here".to_owned(),
            url: None,
        },
    });
    let store = soon("an election", process.campaign())
        .await
        .expect("a term");
    ensemble.server(0).kill();
    let (lines_before, time_before) = (lines.0.load(Ordering::SeqCst), processor_time());
    soon("the lease's end", store.lease().lost()).await;
    drop(store);
    let away = tokio::time::timeout(AWAY, process.campaign());
    assert!(away.await.is_err(), "there was nobody to elect it");
    let error = process.read().await.expect_err("no server");
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
    let wrote = lines.0.load(Ordering::SeqCst) - lines_before;
    let took = processor_time() - time_before;
    eprintln!("away for {AWAY:?}: {took:?} of processor time, {wrote} lines");
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert!((1..30).contains(&wrote), "{wrote} lines");

    ensemble.server(0).start();
    soon("an election", process.campaign())
        .await
        .expect("a term");
    assert!(process.status().borrow().connected.is_ok());
}

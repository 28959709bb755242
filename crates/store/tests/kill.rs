//! A process that dies between any two instructions loses no commit it was told of.

#![expect(clippy::expect_used, reason = "a failed expectation is a failed test")]

use std::{
    env,
    io::{BufRead, BufReader, Write as _},
    path::Path,
    process::{Command, Stdio},
};

use gantry_core::{FrameworkId, FrameworkRecord, Record, Timestamp, WorkloadName, Write};
use gantry_store::{Embedded, Store};

const FILE: &str = "GANTRY_STORE_TEST_FILE";
const TEST: &str = "kill_9_loses_no_acknowledged_commit";
const ROUNDS: usize = 20;

/// One commit of the loop: two records of the same number, in different parts of the tree.
fn batch(number: u64) -> Vec<Write> {
    let actor = gantry_core::Actor {
        name: "test".to_owned(),
        address: "127.0.0.1".to_owned(),
        reason: None,
    };
    vec![
        Write::Put(Record::Framework(FrameworkRecord {
            id: FrameworkId::new(number.to_string()),
            registered_at: Timestamp::ZERO,
        })),
        Write::Put(Record::Audit(gantry_core::AuditEntry {
            sequence: number,
            at: Timestamp::ZERO,
            actor,
            action: "x".repeat((number % 3000) as usize),
            before: None,
            after: None,
        })),
        Write::Delete(gantry_core::Key::Workload(WorkloadName::new("none"))),
    ]
}

/// The number of the last commit, if there was one. Its records must agree.
async fn last(store: &Embedded) -> u64 {
    let loaded = store.load().await.expect("a load");
    assert_eq!(loaded.rejected, []);
    let mut framework = 0;
    let mut audit = 0;
    for record in loaded.records {
        match record {
            Record::Framework(record) => framework = record.id.as_str().parse().expect("a number"),
            Record::Audit(record) => audit = audit.max(record.sequence),
            other => panic!("{other:?} was never written"),
        }
    }
    assert_eq!(framework, audit, "half a batch");
    framework
}

/// What the child does: commit, tell, and so on until killed.
async fn commit_for_ever(file: &Path) {
    let store = Embedded::open(file).await.expect("a store");
    let mut number = last(&store).await;
    loop {
        number += 1;
        store.commit(batch(number)).await.expect("a commit");
        // Past the test harness, which would keep it back.
        let mut output = std::io::stdout().lock();
        writeln!(output, "committed {number}")
            .and_then(|()| output.flush())
            .expect("the parent listens");
    }
}

#[tokio::test]
async fn kill_9_loses_no_acknowledged_commit() {
    if let Some(file) = env::var_os(FILE) {
        return commit_for_ever(Path::new(&file)).await;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("gantry.store");
    let executable = env::current_exe().expect("this executable");
    let mut acknowledged = 0;
    for round in 0..ROUNDS {
        let mut child = Command::new(&executable)
            .args(["--exact", TEST, "--nocapture"])
            .env(FILE, &file)
            .stdout(Stdio::piped())
            .spawn()
            .expect("a child");
        let output = child.stdout.take().expect("its output");
        // Between 0 and some hundred commits; the moment within one is the scheduler's choice.
        let mut wanted = round * round % 173;
        let mut lines = BufReader::new(output).lines();
        let mut committed = || {
            lines.find_map(|line| {
                let line = line.expect("text");
                line.strip_prefix("committed ")?.parse::<u64>().ok()
            })
        };
        while wanted > 0 {
            acknowledged = committed().expect("the child commits until killed");
            wanted -= 1;
        }
        child.kill().expect("a living child");
        child.wait().expect("a dead child");
        // What it said before it died was said.
        while let Some(number) = committed() {
            acknowledged = number;
        }
        let store = Embedded::open(&file).await.expect("a store after kill -9");
        let found = last(&store).await;
        assert!(
            found == acknowledged || found == acknowledged + 1,
            "round {round}: commit {acknowledged} was acknowledged, {found} is the last kept"
        );
        acknowledged = found;
    }
    assert!(acknowledged > 1000, "the children worked: {acknowledged}");
}

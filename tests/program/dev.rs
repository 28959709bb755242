//! `gantry dev`: everything in one process.

use std::{collections::BTreeMap, path::Path, time::Duration};

use crate::support::{Api, Program, until};

#[tokio::test(flavor = "multi_thread")]
async fn dev_starts_stops_and_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let arguments = ["dev", "--listen", "127.0.0.1:0"];
    let nothing = BTreeMap::new();
    let mut program = Program::start(directory.path(), "dev", &arguments, &nothing);
    let api = Api::at(&program.said("dashboard").await);
    program.said("everything runs").await;
    let running = api.running().await;
    assert_eq!(
        running.keys().collect::<Vec<_>>(),
        ["web-1", "web-2", "web-3", "worker-1", "worker-2"]
    );
    let framework = framework_id(&api).await;
    assert_eq!(api.scale("worker", 3).await, Some(true));
    until("the third worker", async || {
        api.running().await.get("worker-3").cloned()
    })
    .await;

    // Ctrl-C ends it with all its tasks, also while a page is watching.
    let watched = tokio::spawn({
        let api = api.clone();
        async move { api.get("/api/v2/events").await }
    });
    program.signal("INT");
    assert_eq!(
        program.ended().await.code(),
        Some(0),
        "{}",
        program.output()
    );
    tokio::time::timeout(Duration::from_secs(10), watched)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(processes_of(directory.path()), Vec::<String>::new());

    // The cluster is another one, yet the framework, its counts and its history are the same.
    let mut program = Program::start(directory.path(), "dev", &arguments, &nothing);
    let api = Api::at(&program.said("dashboard").await);
    program.said("everything runs").await;
    let again = api.running().await;
    assert_eq!(again.len(), 6);
    assert!(
        again
            .values()
            .all(|id| !running.values().any(|old| old == id))
    );
    assert_eq!(framework_id(&api).await, framework);

    // Not even SIGKILL leaves tasks behind.
    program.kill_9();
    until("the end of all tasks", async || {
        processes_of(directory.path()).is_empty().then_some(())
    })
    .await;
}

/// The environments of the processes whose sandboxes are below `directory`.
fn processes_of(directory: &Path) -> Vec<String> {
    let directory = directory.to_str().unwrap();
    let entries = std::fs::read_dir("/proc").unwrap();
    entries
        .filter_map(|entry| std::fs::read_to_string(entry.ok()?.path().join("environ")).ok())
        .filter(|environment| environment.contains(directory))
        .collect()
}

async fn framework_id(api: &Api) -> String {
    let overview = api.json("/api/v2/overview").await;
    overview["framework"]["id"]
        .as_str()
        .expect("an id")
        .to_owned()
}

#[tokio::test]
async fn dev_is_for_this_machine_alone() {
    let directory = tempfile::tempdir().unwrap();
    let arguments = ["dev", "--listen", "0.0.0.0:0"];
    let mut program = Program::start(directory.path(), "dev", &arguments, &BTreeMap::new());
    assert_eq!(program.ended().await.code(), Some(1));
    let output = program.output();
    assert!(output.contains("no login"), "{output}");
    assert!(!directory.path().join(".gantry").exists());
}

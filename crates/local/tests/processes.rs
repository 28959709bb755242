//! Tasks that are processes.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::{Duration, Instant};

use gantry_local::AgentOptions;
use serde_json::{Value, json};
use support::{Framework, World, eventually, framework_info, http, task};

fn agents() -> Vec<AgentOptions> {
    AgentOptions::many(1, 8.0, 4096.0, 10_000.0)
}

async fn world() -> (World, Framework) {
    let world = World::real(agents(), |o| {
        o.allocation_interval = Duration::from_millis(100)
    })
    .await;
    let framework = Framework::subscribe(world.master(), framework_info()).await;
    (world, framework)
}

/// Reads a file of a sandbox through the agent.
async fn sandbox(framework: &Framework, offer: &Value, task: &str, file: &str) -> Value {
    let address = &offer["url"]["address"];
    let path = format!(
        "/frameworks/{}/executors/{task}/runs/latest/{file}",
        framework.id
    );
    let url = format!(
        "http://{}:{}/files/read?path={path}&offset=0",
        address["ip"].as_str().unwrap(),
        address["port"]
    );
    let answer = http().get(url).send().await.unwrap();
    serde_json::from_str(&answer.text().await.unwrap()).unwrap_or(Value::Null)
}

#[tokio::test]
async fn a_task_is_launched_watched_read_and_killed() {
    let (world, mut framework) = world().await;
    let offer = framework
        .launch(vec![task("long", "echo hello; env >&2; sleep 1000")])
        .await;
    let mut states = Vec::new();
    for _ in 0..2 {
        let status = framework.update().await;
        assert_eq!(status["source"], "SOURCE_EXECUTOR");
        assert_eq!(status["executor_id"]["value"], "long");
        assert!(status["container_status"]["container_id"]["value"].is_string());
        states.push(status["state"].as_str().unwrap().to_owned());
    }
    assert_eq!(states, ["TASK_STARTING", "TASK_RUNNING"]);
    eventually("output", async || {
        sandbox(&framework, &offer, "long", "stdout").await["data"] == "hello\n"
    })
    .await;
    let environment = sandbox(&framework, &offer, "long", "stderr").await;
    let environment = environment["data"].as_str().unwrap();
    for name in [
        "LIBPROCESS_IP",
        "LIBPROCESS_PORT",
        "MESOS_AGENT_ENDPOINT",
        "MESOS_CHECKPOINT",
        "MESOS_DIRECTORY",
        "MESOS_EXECUTOR_ID",
        "MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD",
        "MESOS_FRAMEWORK_ID",
        "MESOS_HTTP_COMMAND_EXECUTOR",
        "MESOS_RECOVERY_TIMEOUT",
        "MESOS_SANDBOX",
        "MESOS_SLAVE_ID",
        "MESOS_SLAVE_PID",
        "MESOS_SUBSCRIPTION_BACKOFF_MAX",
        "MESOS_ALLOCATION_ROLE",
        "PATH",
    ] {
        assert!(
            environment.contains(&format!("{name}=")),
            "{name} is missing in {environment}"
        );
    }
    framework.kill("long").await;
    assert_eq!(framework.update().await["state"], "TASK_KILLING");
    let killed = framework.update().await;
    assert_eq!(killed["state"], "TASK_KILLED");
    assert_eq!(
        killed["message"],
        "Command terminated with signal Terminated"
    );
    world.cluster.shutdown().await;
}

#[tokio::test]
async fn tasks_end_as_recorded() {
    let (world, mut framework) = world().await;
    let mut limited = task("maxtime", "sleep 1000");
    limited["max_completion_time"] = json!({"nanoseconds": 300_000_000});
    let mut missing = task("notfound-exec", "/no/such/program");
    missing["command"]["shell"] = json!(false);
    let mut no_uri = task("missing-uri", "true");
    no_uri["command"]["uris"] = json!([{"value": "/no/such/file"}]);
    let mut stranger = task("stranger", "true");
    stranger["command"]["user"] = json!("nosuchuser");
    let mut docker = task("docker", "true");
    docker["container"] = json!({"type": "DOCKER", "docker": {"image": "alpine"}});
    framework
        .launch(vec![
            task("exit0", "exit 0"),
            task("exit3", "exit 3"),
            task("segv", "kill -SEGV $$"),
            task("kill9", "kill -9 $$"),
            task("notfound", "nosuchcommand"),
            limited,
            missing,
            no_uri,
            stranger,
            docker,
        ])
        .await;
    let mut ends = std::collections::BTreeMap::new();
    while ends.len() < 10 {
        let status = framework.update().await;
        let state = status["state"].as_str().unwrap();
        if !["TASK_STARTING", "TASK_RUNNING"].contains(&state) {
            ends.insert(
                status["task_id"]["value"].as_str().unwrap().to_owned(),
                status,
            );
        }
    }
    let root = is_root();
    for (task, state, message, reason) in [
        (
            "exit0",
            "TASK_FINISHED",
            "Command exited with status 0",
            None,
        ),
        ("exit3", "TASK_FAILED", "Command exited with status 3", None),
        (
            "segv",
            "TASK_FAILED",
            "Command terminated with signal Segmentation fault",
            None,
        ),
        (
            "kill9",
            "TASK_FAILED",
            "Command terminated with signal Killed",
            None,
        ),
        (
            "notfound",
            "TASK_FAILED",
            "Command exited with status 127",
            None,
        ),
        (
            "notfound-exec",
            "TASK_FAILED",
            "Command exited with status 1",
            None,
        ),
        (
            "maxtime",
            "TASK_FAILED",
            "Command terminated with signal Terminated",
            Some("REASON_MAX_COMPLETION_TIME_REACHED"),
        ),
        (
            "missing-uri",
            "TASK_FAILED",
            "Failed to launch container: Failed to fetch all URIs",
            Some("REASON_CONTAINER_LAUNCH_FAILED"),
        ),
        (
            "docker",
            "TASK_FAILED",
            "Abnormal executor termination: unknown container",
            Some("REASON_EXECUTOR_TERMINATED"),
        ),
    ] {
        let end = &ends[task];
        assert_eq!(end["state"], state, "{end}");
        assert!(
            end["message"].as_str().unwrap().starts_with(message),
            "{end}"
        );
        assert_eq!(end["reason"].as_str(), reason, "{end}");
        assert!(end["uuid"].is_string());
    }
    if root {
        assert_eq!(ends["stranger"]["state"], "TASK_DROPPED");
        assert!(
            ends["stranger"]["message"]
                .as_str()
                .unwrap()
                .ends_with("No such user 'nosuchuser'")
        );
    }
    world.cluster.shutdown().await;
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0)
}

#[tokio::test]
async fn a_stubborn_task_is_killed_after_its_grace_period() {
    let (world, mut framework) = world().await;
    let mut stubborn = task("stubborn", "trap '' TERM; while true; do sleep 0.1; done");
    stubborn["kill_policy"] = json!({"grace_period": {"nanoseconds": 500_000_000}});
    framework.launch(vec![stubborn]).await;
    framework.until("stubborn", "TASK_RUNNING").await;
    // The shell needs a moment to set its trap.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let begun = Instant::now();
    framework.kill("stubborn").await;
    let killed = framework.until("stubborn", "TASK_KILLED").await;
    assert_eq!(killed["message"], "Command terminated with signal Killed");
    assert!(begun.elapsed() >= Duration::from_millis(450));
    world.cluster.shutdown().await;
}

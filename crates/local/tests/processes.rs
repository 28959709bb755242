//! Tasks that are processes.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use gantry_local::AgentOptions;
use serde_json::{Value, json};
use support::{Events, Framework, World, eventually, framework_info, http, task};

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
    let mut stubborn = task(
        "stubborn",
        "trap '' TERM; : > ready; while true; do sleep 0.1; done",
    );
    stubborn["kill_policy"] = json!({"grace_period": {"nanoseconds": 500_000_000}});
    let offer = framework.launch(vec![stubborn]).await;
    framework.until("stubborn", "TASK_RUNNING").await;
    let ready = directory(&world, &offer, &framework, "stubborn").join("ready");
    eventually("the shell to have set its trap", async || ready.exists()).await;
    let begun = Instant::now();
    framework.kill("stubborn").await;
    let killed = framework.until("stubborn", "TASK_KILLED").await;
    assert_eq!(killed["message"], "Command terminated with signal Killed");
    assert!(begun.elapsed() >= Duration::from_millis(450));
    world.cluster.shutdown().await;
}

/// A call of an executor, from outside: its process only waits.
async fn executor_call(offer: &Value, mut call: Value, framework: &Framework) -> reqwest::Response {
    let address = &offer["url"]["address"];
    call["executor_id"] = json!({"value": "ex"});
    call["framework_id"] = json!({"value": framework.id});
    http()
        .post(format!(
            "http://{}:{}/slave(1)/api/v1/executor",
            address["ip"].as_str().unwrap(),
            address["port"]
        ))
        .header("Content-Type", "application/json")
        .body(call.to_string())
        .send()
        .await
        .unwrap()
}

fn executor_update(task: &str, state: &str, uuid: u8) -> Value {
    use base64::Engine as _;
    let mut bytes = [uuid; 16];
    bytes[6] = 0x40;
    let uuid = base64::engine::general_purpose::STANDARD.encode(bytes);
    json!({"type": "UPDATE", "update": {"status": {
        "task_id": {"value": task}, "state": state, "source": "SOURCE_EXECUTOR", "uuid": uuid}}})
}

fn with_executor(id: &str) -> Value {
    let mut task = task(id, "");
    task.as_object_mut().unwrap().remove("command");
    task["executor"] = json!({"type": "CUSTOM", "executor_id": {"value": "ex"},
        "command": {"value": "exec sleep 1000"},
        "resources": [{"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.1}},
            {"name": "mem", "type": "SCALAR", "scalar": {"value": 32}}]});
    task
}

#[tokio::test]
async fn an_executor_is_served_as_recorded() {
    let (world, mut framework) = world().await;
    let offer = framework
        .launch(vec![with_executor("e1"), with_executor("e2")])
        .await;
    let status = |answer: reqwest::Response| answer.status().as_u16();
    let early = executor_call(&offer, executor_update("e1", "TASK_RUNNING", 1), &framework).await;
    assert_eq!(status(early), 403);
    let heartbeat = json!({"type": "HEARTBEAT"});
    assert_eq!(
        status(executor_call(&offer, heartbeat, &framework).await),
        202
    );
    let subscribe = json!({"type": "SUBSCRIBE", "subscribe": {}});
    let mut stream = Events::new(executor_call(&offer, subscribe.clone(), &framework).await);
    let subscribed = stream.next().await.unwrap();
    assert_eq!(subscribed["type"], "SUBSCRIBED");
    assert_eq!(
        subscribed["subscribed"]["executor_info"]["executor_id"]["value"],
        "ex"
    );
    assert_eq!(
        subscribed["subscribed"]["agent_info"]["id"],
        offer["agent_id"]
    );
    for id in ["e1", "e2"] {
        let launch = stream.next().await.unwrap();
        assert_eq!(launch["launch"]["task"]["task_id"]["value"], id);
    }
    let running = executor_update("e1", "TASK_RUNNING", 2);
    assert_eq!(
        status(executor_call(&offer, running.clone(), &framework).await),
        202
    );
    assert_eq!(stream.next().await.unwrap()["type"], "ACKNOWLEDGED");
    // The same update again is acknowledged again and goes no further.
    executor_call(&offer, running, &framework).await;
    assert_eq!(stream.next().await.unwrap()["type"], "ACKNOWLEDGED");
    let update = framework.update().await;
    assert_eq!(
        (&update["state"], &update["executor_id"]["value"]),
        (&json!("TASK_RUNNING"), &json!("ex"))
    );
    let mut invalid = executor_update("e1", "TASK_RUNNING", 3);
    invalid["update"]["status"]["source"] = json!("SOURCE_AGENT");
    let answer = executor_call(&offer, invalid, &framework).await;
    assert_eq!(answer.status(), 400);
    assert!(
        answer
            .text()
            .await
            .unwrap()
            .starts_with("Failed to validate Executor::Call: Received Call from executor ex")
    );

    // Messages both ways.
    let data = json!({"data": "aGVsbG8="});
    executor_call(
        &offer,
        json!({"type": "MESSAGE", "message": data}),
        &framework,
    )
    .await;
    assert_eq!(
        framework.events.next_of("MESSAGE").await["message"]["data"],
        "aGVsbG8="
    );
    framework
        .call(
            json!({"type": "MESSAGE", "message": {"agent_id": offer["agent_id"],
        "executor_id": {"value": "ex"}, "data": "aGVsbG8="}}),
        )
        .await;
    assert_eq!(stream.next().await.unwrap()["message"]["data"], "aGVsbG8=");

    // A task that the executor does not know after it subscribed again is dropped.
    let mut stream = Events::new(executor_call(&offer, subscribe, &framework).await);
    assert_eq!(stream.next().await.unwrap()["type"], "SUBSCRIBED");
    let dropped = framework.update().await;
    assert_eq!(
        (&dropped["task_id"]["value"], &dropped["state"]),
        (&json!("e2"), &json!("TASK_DROPPED"))
    );
    framework.kill("e1").await;
    assert_eq!(
        stream.next_of("KILL").await["kill"]["task_id"]["value"],
        "e1"
    );

    // The agent's process dies: the executor does not come back in time.
    world
        .cluster
        .inject(gantry_local::Fault::RestartAgent {
            agent: 0,
            milliseconds: 100,
        })
        .unwrap();
    assert!(stream.next().await.is_none());
    let failure = framework.events.next_of("FAILURE").await;
    assert_eq!(failure["failure"]["status"], 9);
    let gone = framework.update().await;
    assert_eq!(gone["reason"], "REASON_EXECUTOR_REREGISTRATION_TIMEOUT");
    assert_eq!(gone["state"], "TASK_GONE");
    world.cluster.shutdown().await;
}

#[tokio::test]
async fn a_group_shares_its_fate() {
    let (world, mut framework) = world().await;
    let offer = framework.offer().await;
    let executor = json!({"type": "DEFAULT", "executor_id": {"value": "pod"}, "framework_id": {"value": framework.id},
        "resources": [{"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.1}},
            {"name": "mem", "type": "SCALAR", "scalar": {"value": 32}},
            {"name": "disk", "type": "SCALAR", "scalar": {"value": 32}}]});
    let mut tasks = vec![
        task("stays", "sleep 1000"),
        task("fails", "while [ ! -e go ]; do sleep 0.05; done; exit 1"),
    ];
    for task in &mut tasks {
        task["agent_id"] = offer["agent_id"].clone();
    }
    framework
        .accept(
            &offer,
            json!([{"type": "LAUNCH_GROUP", "launch_group": {
        "executor": executor, "task_group": {"tasks": tasks}}}]),
        )
        .await;
    let mut running = 0;
    while running < 2 {
        let status = framework.update().await;
        if status["state"] == "TASK_RUNNING" {
            assert!(
                status["container_status"]["container_id"]["parent"].is_object(),
                "{status}"
            );
            running += 1;
        }
    }
    let go = directory(&world, &offer, &framework, "pod").join("tasks/fails/go");
    std::fs::write(go, "").unwrap();
    let failed = framework.until("fails", "TASK_FAILED").await;
    assert_eq!(failed["message"], "Command exited with status 1");
    framework.until("stays", "TASK_KILLED").await;
    let failure = framework.events.next_of("FAILURE").await;
    assert_eq!(failure["failure"]["executor_id"]["value"], "pod");
    world.cluster.shutdown().await;
}

/// Where an executor's tasks work.
fn directory(world: &World, offer: &Value, framework: &Framework, executor: &str) -> PathBuf {
    let agent = offer["agent_id"]["value"].as_str().unwrap();
    let work = world.dir.as_ref().unwrap().path().join("work/slaves");
    work.join(agent).join(format!(
        "frameworks/{}/executors/{executor}/runs/latest",
        framework.id
    ))
}

#[tokio::test]
async fn health_checks_report_and_kill() {
    let (world, mut framework) = world().await;
    let mut sick = task("sick", ": > good; sleep 1000");
    sick["health_check"] = json!({"type": "COMMAND", "command": {"value": "test -e good"}, "delay_seconds": 0.1,
        "interval_seconds": 0.05, "timeout_seconds": 5.0, "grace_period_seconds": 60.0, "consecutive_failures": 2});
    let mut checked = task("checked", "sleep 1000");
    checked["check"] = json!({"type": "COMMAND", "command": {"command": {"value": "exit 7"}},
        "delay_seconds": 0.0, "interval_seconds": 0.05});
    let offer = framework.launch(vec![sick, checked]).await;
    let path = directory(&world, &offer, &framework, "sick").join("good");
    let (mut healths, mut code) = (Vec::new(), Value::Null);
    let mut ended = false;
    while !ended || code.is_null() {
        let status = framework.update().await;
        if status["task_id"]["value"] == "checked" {
            let found = &status["check_status"]["command"];
            assert!(found.is_object(), "{status}");
            if status["reason"] == "REASON_TASK_CHECK_STATUS_UPDATED" {
                code = found["exit_code"].clone();
            }
            continue;
        }
        if status["reason"] == "REASON_TASK_HEALTH_CHECK_STATUS_UPDATED" {
            healths.push(status["healthy"].clone());
            if healths == [json!(true)] {
                std::fs::remove_file(&path).unwrap();
            }
        }
        if status["state"] == "TASK_KILLED" {
            assert_eq!(status["healthy"], false);
            ended = true;
        }
    }
    assert_eq!(healths, [true, false, false]);
    framework.kill("checked").await;
    framework.until("checked", "TASK_KILLED").await;
    assert_eq!(code, 7);
    world.cluster.shutdown().await;
}

#[tokio::test]
async fn nothing_outlives_the_cluster() {
    let (world, mut framework) = world().await;
    framework
        .launch(vec![task(
            "orphan",
            "trap '' TERM; echo $$; while true; do sleep 0.1; done",
        )])
        .await;
    let running = framework.until("orphan", "TASK_RUNNING").await;
    let pid = running["container_status"]["executor_pid"]
        .as_u64()
        .unwrap();
    let alive = || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.contains("(sh)") && !stat.contains(") Z")
    };
    assert!(alive());
    // Dropped without a word, as when the owner panics.
    drop(world.cluster);
    eventually("its end", async || !alive()).await;
}

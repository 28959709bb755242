//! `gantry serve` on a cluster that runs real processes.

use std::{
    collections::BTreeMap,
    io::Write as _,
    net::{Shutdown, TcpStream},
};

use crate::support::{Api, Local, Program, serve, until, variables};

fn declared(master: &str, directory: &std::path::Path) -> BTreeMap<&'static str, String> {
    let mut variables = variables(master, directory);
    let web = format!("exec '{}' sample-web", env!("CARGO_BIN_EXE_gantry"));
    for (name, value) in [
        ("TASK_DEF_NUM", "2"),
        ("TASK0_NAME", "web"),
        ("TASK0_NUM_INSTANCES", "2"),
        ("TASK0_CMD", web.as_str()),
        ("TASK0_CPUS", "0.1"),
        ("TASK0_MEM", "32"),
        ("TASK0_PORT_NUM", "1"),
        ("TASK0_HEALTHCHECK", "/health"),
        ("TASK0_HEALTHCHECK_DELAY", "0s"),
        ("TASK0_HEALTHCHECK_INTERVAL", "1s"),
        ("TASK1_NAME", "worker"),
        ("TASK1_NUM_INSTANCES", "1"),
        ("TASK1_CMD", "sleep 100000"),
        ("TASK1_CPUS", "0.1"),
        ("TASK1_MEM", "32"),
    ] {
        variables.insert(name, value.to_owned());
    }
    variables
}

/// Until exactly these instances run, and no others; their task ids.
async fn runs(api: &Api, instances: &[&str]) -> BTreeMap<String, String> {
    until(&format!("{instances:?} to run"), async || {
        let running = api.running().await;
        running.keys().eq(instances).then_some(running)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn services_run_are_changed_and_outlive_gantry() {
    let directory = tempfile::tempdir().unwrap();
    let local = Local::start(directory.path(), &["--agents", "2"]).await;
    let variables = declared(&local.master, directory.path());
    let (mut program, api) = serve(directory.path(), &variables, &[]).await;

    let first = runs(&api, &["web-1", "web-2", "worker-1"]).await;
    until("health", async || {
        (api.health().await? == 200).then_some(())
    })
    .await;
    let stats = api.json("/api/v1/framework/stats").await;
    assert_eq!(stats["overall"]["instances"], 3);

    // The sample service answers on the port it was given.
    let entries = api.json("/api/v1/tasks/launched").await;
    let entries = entries.as_array().unwrap().iter();
    let mut ports =
        entries.filter_map(|entry| entry["runtimeInfo"]["network"]["ports"][0].as_u64());
    let web = Api::at(&format!("127.0.0.1:{}", ports.next().unwrap()));
    until("an answer of the service", async || {
        web.get("/")
            .await
            .filter(|(_, text)| text.starts_with("web-"))
    })
    .await;

    // Scaling up keeps what is there; scaling down keeps the lowest numbers.
    assert_eq!(api.scale("web", 4).await, Some(true));
    let four = runs(&api, &["web-1", "web-2", "web-3", "web-4", "worker-1"]).await;
    assert!(first.iter().all(|(name, id)| four[name] == *id));
    assert_eq!(api.scale("web", 1).await, Some(true));
    let one = runs(&api, &["web-1", "worker-1"]).await;
    assert_eq!(one["web-1"], first["web-1"]);

    // A restart replaces that one task.
    let path = format!("/api/v1/tasks/{}/restart", one["web-1"]);
    assert_eq!(api.post(&path).await["status"], "ok");
    until("another task in web-1", async || {
        let running = api.running().await;
        let changed = running.get("web-1")? != &one["web-1"];
        (changed && running.len() == 2 && local.live().await.len() == 2).then_some(())
    })
    .await;

    // A rolling restart replaces all, killing all does too.
    for path in [
        "/api/v1/tasks/rollingRestart?sure=yes",
        "/api/v1/tasks/killAll?sure=yes",
    ] {
        let before = runs(&api, &["web-1", "worker-1"]).await;
        assert_eq!(api.post(path).await["status"], "ok");
        until("all tasks to be others", async || {
            let running = api.running().await;
            let changed =
                running.len() == 2 && running.iter().all(|(name, id)| before[name] != *id);
            (changed && local.live().await.len() == 2).then_some(())
        })
        .await;
    }

    abuse(&api).await;
    assert_eq!(api.health().await, Some(200));

    // SIGTERM ends Gantry and nothing else; the next one goes on with the same tasks.
    let before = api.running().await;
    program.signal("TERM");
    assert_eq!(
        program.ended().await.code(),
        Some(0),
        "{}",
        program.output()
    );
    assert!(before.values().eq(local.live().await.keys()));
    let (mut program, api) = serve(directory.path(), &variables, &[]).await;
    assert_eq!(runs(&api, &["web-1", "worker-1"]).await, before);
    until("health", async || {
        (api.health().await? == 200).then_some(())
    })
    .await;

    // A restart asked for over HTTP is an orderly end, too.
    let answer = api.post("/api/v1/framework/restart?sure=yes").await;
    assert_eq!(answer["status"], "ok");
    assert_eq!(
        program.ended().await.code(),
        Some(0),
        "{}",
        program.output()
    );
    assert!(before.values().eq(local.live().await.keys()));
    assert_eq!(local.frameworks().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_framework_begins_anew_only_when_told_to() {
    let directory = tempfile::tempdir().unwrap();
    let local = Local::start(directory.path(), &["--simulated"]).await;
    let mut variables = declared(&local.master, directory.path());
    variables.insert("TASK_DEF_NUM", "1".to_owned());
    let (mut program, api) = serve(directory.path(), &variables, &[]).await;
    let before = runs(&api, &["web-1", "web-2"]).await;
    let first = local.frameworks().await.pop_first().unwrap();

    // It says so, goes on answering, and neither acts nor ends; a new start changes nothing.
    local.tear_down(&first).await;
    removed(&api).await;
    program.signal("TERM");
    assert_eq!(program.ended().await.code(), Some(0));
    let (program, api) = serve(directory.path(), &variables, &[]).await;
    removed(&api).await;
    let forget = format!("--forget-framework-id={first}");
    assert!(program.output().contains(&format!("`{forget}`")));
    assert!(local.live().await.is_empty());
    program.kill_9();

    // Cut off before Mesos has given another id, it can be repeated.
    let mut away = variables.clone();
    away.insert("MESOS_MASTER", "127.0.0.1:9".to_owned());
    let (program, _) = serve(directory.path(), &away, &[&forget]).await;
    assert!(program.output().contains("the framework id is forgotten"));
    program.kill_9();

    let (mut program, api) = serve(directory.path(), &variables, &[&forget]).await;
    let after = until("other tasks in all instances", async || {
        let after = api.running().await;
        let others = after.iter().all(|(name, id)| before[name] != *id);
        (after.len() == 2 && others).then_some(after)
    })
    .await;
    let overview = api.json("/api/v2/overview").await;
    let second = overview["framework"]["id"].as_str();
    assert!(second.is_some_and(|second| second != first));

    // Whoever leaves the option in place loses nothing.
    program.signal("TERM");
    assert_eq!(program.ended().await.code(), Some(0));
    let (_program, api) = serve(directory.path(), &variables, &[&forget]).await;
    assert_eq!(runs(&api, &["web-1", "web-2"]).await, after);
    assert_eq!(local.live().await.len(), 2);
}

async fn removed(api: &Api) {
    until("the removal to be known", async || {
        let overview = api.json("/api/v2/overview").await;
        (overview["connection"]["state"] == "removed").then_some(())
    })
    .await;
}

/// Things that must not make a difference.
async fn abuse(api: &Api) {
    let address = api.base.trim_start_matches("http://").to_owned();
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(1 << 20));
    let big = format!(
        "PUT /api/v2/workloads/web/scale HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{}",
        1 << 30,
        "{".repeat(1 << 20)
    );
    for request in [
        "\0\u{1}\u{2}garbage\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "GET /%zz/%00 HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST /api/v1/tasks/killAll HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "PUT /api/v1/tasks/types/web/scale/99999999999999999999 HTTP/1.1\r\nHost: x\r\n\r\n",
        "PUT /api/v2/workloads/web/scale HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 8\r\n\r\n{\"insta\"",
        &long,
        &big,
    ] {
        let mut stream = TcpStream::connect(&address).unwrap();
        // It may hang up on the way.
        let _ = stream.write_all(request.as_bytes());
        let _ = stream.shutdown(Shutdown::Write);
    }
    assert!(matches!(api.get("/api/v1/nothing").await, Some((404, _))));
    let types = api.json("/api/v1/tasks/types").await;
    assert_eq!(types[0]["runningInstances"], 1);
}

#[tokio::test]
async fn what_is_missing_is_told_in_the_original_words() {
    let directory = tempfile::tempdir().unwrap();
    let variables = BTreeMap::from([("TASK_DEF_NUM", "1".to_owned())]);
    let mut program = Program::start(directory.path(), "serve", &[], &variables);
    assert_eq!(program.ended().await.code(), Some(1));
    let output = program.output();
    assert!(
        output.contains("Environment variables needed: [\"FRAMEWORK_NAME\""),
        "{output}"
    );

    // Nothing at all is not a mistake but a question.
    let mut program = Program::start(directory.path(), "nothing", &[], &BTreeMap::new());
    assert_eq!(program.ended().await.code(), Some(2));
    assert!(program.output().contains("gantry dev"));
}

//! The boilerplate's face, byte by byte.

use std::time::Duration;

use gantry_core::{TaskId, TaskState};
use serde_json::json;

use super::world::{START, World, rich_service, service};

/// Two services; both instances of `web` run, one of `db` is staging.
fn busy() -> (World, Vec<TaskId>) {
    let world = World::new(vec![rich_service("web", 1), service("db", 1)]);
    world.subscribe();
    let launches = world.offer(1, 8, 8_000);
    assert_eq!(launches.len(), 2);
    let ids: Vec<TaskId> = launches.iter().map(|launch| launch.task.clone()).collect();
    world.status_with(&ids[0], TaskState::Running, Some(true), None);
    (world, ids)
}

const DEFINITION_OF_WEB: &str = concat!(
    r#"{"priority":1,"allowScaling":true,"instances":"1","executorInfo":null,"#,
    r#""containerInfo":{"type":1,"volumes":null,"hostname":null,"docker":{"image":"alpine","network":1,"#,
    r#""port_mappings":null,"privileged":false,"parameters":[{"key":"env","value":"TOKEN=****"}],"#,
    r#""force_pull_image":true,"volume_driver":null},"mesos":null,"network_infos":[]},"#,
    r#""commandInfo":{"uris":[{"value":"http://****@files.example/a.tgz","executable":null,"extract":null,"#,
    r#""cache":null,"output_file":null}],"environment":{"variables":[{"name":"MODE","value":"a \"b\""},"#,
    r#"{"name":"DB_PASSWORD","value":"****"}@MORE@]},"shell":false,"value":null,"arguments":["sleep","100"],"user":null},"#,
    r#""resources":{"cpus":0.5,"mem":64,"ports":2,"disk":0,"staticPorts":[8080]},"#,
    r#""healthCheck":{"http":{"port":1,"path":"/status","statuses":[200]},"delay_seconds":null,"#,
    r#""interval_seconds":null,"timeout_seconds":null,"consecutive_failures":null,"#,
    r#""grace_period_seconds":null,"command":null},"noColocation":true,"labels":null,"isSubmitted":@SUBMITTED@,"name":"web-1""#,
);

const DEFINITION_OF_DB: &str = concat!(
    r#"{"priority":1,"allowScaling":true,"instances":"1","executorInfo":null,"#,
    r#""containerInfo":{"type":1,"volumes":null,"hostname":null,"docker":{"image":"alpine","network":1,"#,
    r#""port_mappings":null,"privileged":false,"parameters":null,"#,
    r#""force_pull_image":true,"volume_driver":null},"mesos":null,"network_infos":[]},"#,
    r#""commandInfo":{"uris":null,"environment":{"variables":[@MORE@]},"shell":false,"value":null,"#,
    r#""arguments":null,"user":null},"resources":{"cpus":0.5,"mem":64,"ports":0,"disk":0,"staticPorts":null},"#,
    r#""healthCheck":null,"noColocation":false,"labels":null,"isSubmitted":@SUBMITTED@,"name":"db-1""#,
);

fn definition(of: &str, more: &str, submitted: bool) -> String {
    of.replace("@MORE@", more)
        .replace("@SUBMITTED@", &submitted.to_string())
}

#[actix_web::test]
async fn every_shape_of_the_contract() {
    let (world, ids) = busy();
    let configuration = format!(
        concat!(
            r#"{{"masterUrl":"leader.mesos","port":5050,"frameworkName":"my fw","logging":{{"path":"/nowhere/","#,
            r#""fileName":"my fw.log","level":"info"}},"killUnknownTasks":false,"useZk":false,"staticPorts":true,"#,
            r#""serialNumberedTasks":false,"userAuthSupport":false,"tasks":{{"web":{web}}},"db":{db}}}}},"#,
            r#""restartStates":["TASK_FAILED","TASK_LOST","TASK_ERROR","TASK_FINISHED","TASK_KILLED"],"moduleList":[]}}"#,
        ),
        web = definition(DEFINITION_OF_WEB, "", false),
        db = definition(DEFINITION_OF_DB, "", false),
    );
    let launched = format!(
        concat!(
            r#"[{web},"taskId":"{web_id}","mesosName":"web","mesosHealthCheck":{{"http":{{"port":31000,"path":"/status","#,
            r#""statuses":[200]}},"delay_seconds":null,"interval_seconds":null,"timeout_seconds":null,"#,
            r#""consecutive_failures":null,"grace_period_seconds":null,"command":null}},"#,
            r#""runtimeInfo":{{"agentId":"agent-1","executorId":"{web_id}","state":"TASK_RUNNING","startTime":{start},"#,
            r#""network":{{"hostname":"host-1.example","ip":"10.0.0.1","ports":[8080,31000]}},"healthy":true}}}},"#,
            r#"{db},"taskId":"{db_id}","mesosName":"db","#,
            r#""runtimeInfo":{{"agentId":"agent-1","state":"TASK_STAGING","#,
            r#""network":{{"hostname":"host-1.example","ip":"10.0.0.1"}}}}}}]"#,
        ),
        web = definition(
            DEFINITION_OF_WEB,
            concat!(
                r#",{"name":"PORT0","value":"8080"},{"name":"PORT1","value":"31000"},"#,
                r#"{"name":"HOST","value":"10.0.0.1"}"#
            ),
            true
        ),
        db = definition(
            DEFINITION_OF_DB,
            r#"{"name":"HOST","value":"10.0.0.1"}"#,
            true
        ),
        web_id = ids[0],
        db_id = ids[1],
        start = START + 3,
    );
    for (path, expected) in [
        ("/framework/configuration", configuration.as_str()),
        ("/tasks/launched", &launched),
        (
            "/framework/stats",
            concat!(
                r#"{"byType":{"web":{"cpus":0.5,"mem":64,"disk":0,"ports":2,"instances":1},"#,
                r#""db":{"cpus":0.5,"mem":64,"disk":0,"ports":0,"instances":1}},"#,
                r#""overall":{"cpus":1,"mem":128,"disk":0,"ports":2,"instances":2}}"#,
            ),
        ),
        (
            "/tasks/types",
            concat!(
                r#"[{"type":"web","runningInstances":1,"allowScaling":true},"#,
                r#"{"type":"db","runningInstances":1,"allowScaling":true}]"#,
            ),
        ),
        (
            "/framework/info",
            concat!(
                r#"{"moduleName":"gantry","#,
                r#""description":"An Apache Mesos framework whose work is declared in environment variables","#,
                r#""version":"0.1.0","homepage":null,"issues":null}"#,
            ),
        ),
    ] {
        for prefix in ["/api/v1", ""] {
            let reply = world.get(&format!("{prefix}{path}")).await;
            assert_eq!(reply.status, 200, "{prefix}{path}");
            assert!(
                reply.header("content-type").starts_with("application/json"),
                "{path}"
            );
            assert_eq!(reply.body, expected, "{prefix}{path}");
        }
        let head = world.send(&format!("HEAD /api/v1{path}"), &[], "").await;
        assert_eq!(head.status, 200, "HEAD {path}");
    }
}

#[actix_web::test]
async fn without_tasks_and_before_the_first_subscription() {
    let world = World::new(Vec::new());
    for path in [
        "/tasks/launched",
        "/tasks/types",
        "/framework/stats",
        "/framework/configuration",
    ] {
        let reply = world.get(&format!("/api/v1{path}")).await;
        assert_eq!(
            (reply.status.as_u16(), reply.code().as_str()),
            (503, "unavailable"),
            "{path}"
        );
    }
    world.subscribe();
    for (path, expected) in [
        ("/tasks/launched", "[]"),
        ("/tasks/types", "[]"),
        (
            "/framework/stats",
            r#"{"byType":{},"overall":{"cpus":0,"mem":0,"disk":0,"ports":0,"instances":0}}"#,
        ),
        ("/moduleList", ""),
        ("/stylesheets/dynamic-style.css", "#framework-name {\n}\n"),
    ] {
        let reply = world.get(path).await;
        assert_eq!(
            (reply.status.as_u16(), reply.body.as_str()),
            (200, expected),
            "{path}"
        );
    }
}

/// What the original's page asks for every 3 s, through a scaling and a health check that fails.
#[actix_web::test]
async fn what_is_polled_keeps_its_shapes_while_things_change() {
    let world = World::new(vec![rich_service("web", 3)]);
    world.subscribe();
    let definition = async || {
        let configuration = world.get("/api/v1/framework/configuration").await.json();
        let of = &configuration["tasks"]["web"];
        (of["name"].clone(), of["instances"].clone())
    };
    assert_eq!(definition().await, (json!("web-3"), json!("3")));
    // A fixed port: one task an agent.
    let first = world.offer(1, 8, 8_000).remove(0).task;
    world.status_with(&first, TaskState::Running, Some(true), None);
    world.status_with(&first, TaskState::Running, Some(false), None);
    let reply = world
        .send(
            "PUT /api/v1/tasks/types/web/scale/4",
            &[("accept", "application/json, text/plain, */*")],
            "",
        )
        .await;
    assert_eq!((reply.status.as_u16(), reply.body.as_str()), (200, ""));
    assert_eq!(definition().await.0, json!("web"));
    let launched = world.get("/api/v1/tasks/launched").await;
    let runtime = format!(
        concat!(
            r#""runtimeInfo":{{"agentId":"agent-1","executorId":"{id}","state":"TASK_RUNNING","#,
            r#""startTime":{start},"network":{{"hostname":"host-1.example","ip":"10.0.0.1","#,
            r#""ports":[8080,31000]}},"healthy":false}}}}]"#,
        ),
        id = first,
        start = START + 3,
    );
    assert!(launched.body.ends_with(&runtime), "{}", launched.body);
    assert_eq!(
        world.get("/api/v1/framework/stats").await.body,
        concat!(
            r#"{"byType":{"web":{"cpus":0.5,"mem":64,"disk":0,"ports":2,"instances":1}},"#,
            r#""overall":{"cpus":0.5,"mem":64,"disk":0,"ports":2,"instances":1}}"#,
        )
    );
    assert_eq!(
        world.get("/api/v1/tasks/types").await.body,
        r#"[{"type":"web","runningInstances":1,"allowScaling":true}]"#
    );
}

#[actix_web::test]
async fn a_long_list_of_tasks_is_one_array_in_launch_order() {
    let world = World::new(vec![service("web", 600)]);
    world.subscribe();
    for agent in 1..=30 {
        assert_eq!(world.offer(agent, 100, 100_000).len(), 20);
    }
    let tasks = world.get("/tasks/launched").await.json();
    let names: Vec<_> = tasks
        .as_array()
        .unwrap()
        .iter()
        .map(|task| task["name"].clone())
        .collect();
    let expected: Vec<_> = (1..=600)
        .map(|number| json!(format!("web-{number}")))
        .collect();
    assert_eq!(names, expected);
}

#[actix_web::test]
async fn confirmation_has_the_texts_of_the_original() {
    let (world, _) = busy();
    let params = |text: &str| format!("sure parameter must be yes, params:{text}");
    for path in [
        "/framework/restart",
        "/tasks/rollingRestart",
        "/tasks/killAll",
    ] {
        for (query, expected) in [
            ("", params("{}")),
            ("?sure=no&a=1", params(r#"{"sure":"no","a":"1"}"#)),
            ("?sure=true", params(r#"{"sure":"true"}"#)),
            ("?sure=no&sure=yes", params(r#"{"sure":["no","yes"]}"#)),
        ] {
            let reply = world
                .send(&format!("POST /api/v1{path}{query}"), &[], "")
                .await;
            assert_eq!(reply.status, 200, "{path}{query}");
            assert_eq!(reply.json(), json!({ "error": expected }), "{path}{query}");
        }
    }
    let reply = world
        .send("POST /tasks/types/web/killAll?sure=x", &[], "")
        .await;
    assert_eq!(
        reply.body,
        r#"{"error":"sure parameter must be yes and type parameter must not be blank, params:{\"sure\":\"x\"}, req params: {\"type\":\"web\"}"}"#
    );
    assert_eq!(
        world.state.handle().view().audit.len(),
        0,
        "nothing was done"
    );

    for (path, result) in [
        ("/tasks/types/db/killAll?sure=yEsss", "stopping 1 tasks"),
        ("/tasks/killAll?sure=nayes", "stopping 1 tasks"),
        (
            "/tasks/types/nothing/killAll?sure=yes",
            "refused: there is no workload named `nothing`",
        ),
    ] {
        let reply = world.send(&format!("POST {path}"), &[], "").await;
        assert_eq!(
            (reply.status.as_u16(), reply.body.as_str()),
            (200, r#"{"status":"ok"}"#)
        );
        assert_eq!(reply.header("x-gantry-result"), result, "{path}");
    }
}

#[actix_web::test]
async fn restart_of_the_framework_asks_the_program_to_stop() {
    let (world, _) = busy();
    tokio::time::pause();
    let reply = world
        .send("POST /api/v1/framework/restart?sure=YES", &[], "")
        .await;
    assert_eq!(
        (reply.status.as_u16(), reply.body.as_str()),
        (200, r#"{"status":"ok"}"#)
    );
    let before = tokio::time::Instant::now();
    world.state.restart_requested().await;
    assert_eq!(before.elapsed().as_secs(), 1);
}

#[actix_web::test]
async fn restart_of_a_task_shows_one_instance_less_until_it_is_replaced() {
    let (world, ids) = busy();
    let unknown = world.send("POST /tasks/nobody/restart", &[], "").await;
    assert_eq!(
        (unknown.status.as_u16(), unknown.body.as_str()),
        (200, r#"{"status":"ok"}"#)
    );
    assert_eq!(
        unknown.header("x-gantry-result"),
        "refused: there is no live task `nobody`"
    );
    let strict = [("accept", "application/json")];
    let unknown = world.send("POST /tasks/nobody/restart", &strict, "").await;
    assert_eq!(
        (unknown.status.as_u16(), unknown.code().as_str()),
        (404, "unknown_task")
    );

    world.status(&ids[1], TaskState::Running);
    let reply = world
        .send(&format!("POST /api/v1/tasks/{}/restart", ids[1]), &[], "")
        .await;
    assert_eq!(
        (reply.status.as_u16(), reply.body.as_str()),
        (200, r#"{"status":"ok"}"#)
    );
    let types = world.get("/tasks/types").await.json();
    assert_eq!(
        types[1],
        json!({"type": "db", "runningInstances": 0, "allowScaling": true})
    );
    let launched = world.get("/tasks/launched").await.json();
    assert_eq!(launched[1]["runtimeInfo"]["restarting"], json!(true));

    let replacement = world.offer(2, 8, 8_000).remove(0).task;
    let types = world.get("/tasks/types").await.json();
    assert_eq!(types[1]["runningInstances"], json!(1));
    world.status(&replacement, TaskState::Running);
    world.status(&ids[1], TaskState::Killed);
    let launched = world.get("/tasks/launched").await.json();
    assert_eq!(launched.as_array().unwrap().len(), 2);
    assert_eq!(launched[1]["taskId"], json!(replacement.as_str()));
    assert_eq!(launched[1]["name"], json!("db-1"));
}

#[actix_web::test]
async fn scale_is_always_200_and_empty_unless_json_is_asked_for() {
    let mut fixed = service("fixed", 1);
    fixed.allow_scaling = false;
    let world = World::new(vec![service("group/web", 3), fixed]);
    world.subscribe();
    let wanted = || {
        world
            .state
            .handle()
            .view()
            .workload("group/web")
            .unwrap()
            .desired
    };
    let strict = [("accept", "application/json")];
    let browser = [("accept", "application/json, text/plain, */*")];

    for (path, result, code, then) in [
        ("group%2Fweb/scale/5", "scaled: 3 -> 5", "", 5),
        ("group%2Fweb/scale/5", "scaled: 5 -> 5", "", 5),
        ("group%2Fweb/scale/2", "scaled: 5 -> 2", "", 2),
        (
            "group%2Fweb/scale/0",
            "refused: `instances` must be at least 1 here",
            "bad_request",
            2,
        ),
        (
            "group%2Fweb/scale/abc",
            "refused: `instances` must be",
            "bad_request",
            2,
        ),
        (
            "group%2Fweb/scale/-1",
            "refused: `instances` must be",
            "bad_request",
            2,
        ),
        (
            "group%2Fweb/scale/2.5",
            "refused: `instances` must be",
            "bad_request",
            2,
        ),
        (
            "group%2Fweb/scale/1e12",
            "refused: `instances` must be",
            "bad_request",
            2,
        ),
        (
            "group%2Fweb/scale/99999999999",
            "refused: `instances` must be",
            "bad_request",
            2,
        ),
        (
            "group%2Fweb/scale/4000000000",
            "refused: 4000000000 instances",
            "too_many_instances",
            2,
        ),
        (
            "fixed/scale/2",
            "refused: `fixed` may not be scaled",
            "not_scalable",
            2,
        ),
        (
            "nothing/scale/2",
            "refused: there is no workload",
            "unknown_workload",
            2,
        ),
    ] {
        let line = format!("PUT /api/v1/tasks/types/{path}");
        for accept in [&browser[..], &[]] {
            let before = wanted();
            let reply = world.send(&line, accept, "").await;
            assert_eq!(
                (reply.status.as_u16(), reply.body.as_str()),
                (200, ""),
                "{path}"
            );
            assert!(!reply.headers.contains_key("content-type"), "{path}");
            let shown = reply.header("x-gantry-result");
            let repeated = format!("scaled: {before} -> {then}");
            assert!(
                shown.starts_with(result) || shown == repeated,
                "{path}: {shown}"
            );
            assert_eq!(wanted(), then, "{path}");
        }
        let reply = world.send(&line, &strict, "").await;
        if code.is_empty() {
            assert_eq!(
                reply.json(),
                json!({"status": "ok", "from": then, "to": then}),
                "{path}"
            );
        } else {
            assert!(reply.status.is_client_error(), "{path}");
            assert_eq!(reply.code(), code, "{path}");
        }
    }

    let reply = world
        .send(
            "PUT /tasks/types/group%2Fweb/scale",
            &[],
            r#"{"instances":0}"#,
        )
        .await;
    assert_eq!(reply.json(), json!({"status": "ok", "from": 2, "to": 0}));
    assert_eq!(wanted(), 0);
    let reply = world
        .send("PUT /tasks/types/fixed/scale", &[], r#"{"instances":2}"#)
        .await;
    assert_eq!(
        (reply.status.as_u16(), reply.code().as_str()),
        (409, "not_scalable")
    );
}

#[actix_web::test]
async fn health_answers_at_once() {
    let world = World::new(Vec::new());
    let reply = world.get("/health").await;
    assert_eq!(reply.status, 500);
    assert!(reply.body.starts_with("no heartbeat yet"), "{}", reply.body);
    world.heartbeat(Duration::ZERO);
    let reply = world.get("/health").await;
    assert_eq!((reply.status.as_u16(), reply.body.as_str()), (200, "OK"));
    assert_eq!(world.send("HEAD /health", &[], "").await.status, 200);
    world.heartbeat(Duration::from_secs(61));
    let reply = world.get("/health").await;
    assert_eq!(reply.status, 500);
    assert!(
        reply.body.starts_with("no heartbeat for 61 seconds"),
        "{}",
        reply.body
    );
}

#[actix_web::test]
async fn what_is_unknown_is_404_and_escaped() {
    let (world, _) = busy();
    for line in [
        "GET /nothing",
        "GET /api/v1/nothing",
        "GET /login",
        "GET /logout",
        "POST /framework/stats",
        "DELETE /api/v1/tasks/launched",
        "GET /tasks/killAll?sure=yes",
        "GET //moduleList",
    ] {
        let reply = world.send(line, &[], "").await;
        let path = line.split('?').next().unwrap();
        assert_eq!(
            (reply.status.as_u16(), reply.body),
            (404, format!("Cannot {path}\n"))
        );
    }
    let reply = world.get("/%3Cscript%3E%22").await;
    assert_eq!(reply.status, 404);
    assert!(!reply.body.contains(['<', '"']), "{}", reply.body);
}

#[actix_web::test]
async fn the_log_is_text_and_never_hangs() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::with(Vec::new(), |settings| {
        settings.log = crate::http::LogTail::new(directory.path(), "my fw.log");
    });
    let reply = world.get("/api/v1/logs").await;
    assert_eq!((reply.status.as_u16(), reply.body.as_str()), (200, ""));
    std::fs::write(directory.path().join("2026-01-01.my fw.log"), "one\n<b>\n").unwrap();
    let reply = world.get("/logs?lines=1").await;
    assert_eq!((reply.status.as_u16(), reply.body.as_str()), (200, "<b>\n"));
    assert_eq!(reply.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(reply.header("x-content-type-options"), "nosniff");
    assert_eq!(world.get("/logs?lines=x").await.code(), "bad_request");
}

#[actix_web::test]
async fn the_colour_of_the_title_cannot_be_more_than_a_colour() {
    for (colour, shown) in [
        ("#00a8e8", true),
        ("rgb(1, 2, 3)", true),
        ("green", true),
        ("red; } body { display: none", false),
        ("url(\"http://x\")", false),
        ("", false),
    ] {
        let world = World::with(Vec::new(), |settings| {
            settings.name_background = Some(colour.to_owned());
        });
        let reply = world.get("/stylesheets/dynamic-style.css").await;
        assert!(reply.header("content-type").starts_with("text/css"));
        let rule = format!("#framework-name {{\n  background-color: {colour};\n}}\n");
        assert_eq!(reply.body == rule, shown, "{colour}: {}", reply.body);
    }
}

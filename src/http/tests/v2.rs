//! The full model.

use gantry_core::TaskState;
use serde_json::{Value, json};

use super::world::{World, rich_service, service};

#[actix_web::test]
async fn bad_input_is_named() {
    let world = World::new(vec![service("web", 3)]);
    world.subscribe();
    let scale = "PUT /api/v2/workloads/web/scale";
    let long = format!(r#"{{"instances":1,"reason":"{}"}}"#, "x".repeat(300));
    for (line, body, status, code, says) in [
        (
            scale,
            r#"{"instances":-1}"#,
            400,
            "bad_request",
            "instances",
        ),
        (
            scale,
            r#"{"instances":"abc"}"#,
            400,
            "bad_request",
            "instances",
        ),
        (
            scale,
            r#"{"instances":1e12}"#,
            400,
            "bad_request",
            "instances",
        ),
        (
            scale,
            r#"{"instances":2.5}"#,
            400,
            "bad_request",
            "instances",
        ),
        (scale, r#"{"count":1}"#, 400, "bad_request", "count"),
        (scale, "{}", 400, "bad_request", "instances"),
        (scale, "", 400, "bad_request", "JSON object"),
        (scale, "[5]", 400, "bad_request", "JSON object"),
        (scale, "{\"instances\":1", 400, "bad_request", "EOF"),
        (scale, "\u{0}", 400, "bad_request", "JSON object"),
        (scale, &long, 400, "bad_request", "reason"),
        (
            scale,
            r#"{"instances":4000000000}"#,
            400,
            "too_many_instances",
            "4000000000",
        ),
        (
            "PUT /api/v2/workloads/none/scale",
            r#"{"instances":1}"#,
            404,
            "unknown_workload",
            "none",
        ),
        (
            "GET /api/v2/workloads/none",
            "",
            404,
            "unknown_workload",
            "none",
        ),
        (
            "GET /api/v2/workloads/none/explain",
            "",
            404,
            "unknown_workload",
            "none",
        ),
        ("GET /api/v2/tasks/none", "", 404, "unknown_task", "none"),
        (
            "GET /api/v2/tasks?workload=none",
            "",
            404,
            "unknown_workload",
            "none",
        ),
        (
            "GET /api/v2/tasks?limit=1001",
            "",
            400,
            "bad_request",
            "limit",
        ),
        (
            "GET /api/v2/tasks?limit=-1",
            "",
            400,
            "bad_request",
            "limit",
        ),
        (
            "GET /api/v2/tasks?offset=x",
            "",
            400,
            "bad_request",
            "offset",
        ),
        (
            "GET /api/v2/tasks?state=TASK_FAILED",
            "",
            400,
            "bad_request",
            "state",
        ),
        (
            "GET /api/v2/tasks?sort=colour",
            "",
            400,
            "bad_request",
            "sort",
        ),
        (
            "GET /api/v2/tasks?q=a&q=b",
            "",
            400,
            "bad_request",
            "`q` is given more than once",
        ),
        (
            "GET /api/v2/workloads?condition=x",
            "",
            400,
            "bad_request",
            "condition",
        ),
        (
            "POST /api/v2/tasks/none/restart",
            "",
            404,
            "unknown_task",
            "none",
        ),
        (
            "POST /api/v2/kill",
            r#"{"workload":"none"}"#,
            404,
            "unknown_workload",
            "none",
        ),
        (
            "POST /api/v2/kill",
            r#"{"workload":7}"#,
            400,
            "bad_request",
            "workload",
        ),
        ("POST /api/v2/kill", "", 400, "bad_request", "JSON object"),
        (
            "POST /api/v2/rolling-restarts",
            r#"{"workload":"none"}"#,
            404,
            "unknown_workload",
            "none",
        ),
        (
            "GET /api/v2/deployments/9",
            "",
            404,
            "unknown_deployment",
            "9",
        ),
        (
            "POST /api/v2/deployments/9/pause",
            "",
            404,
            "unknown_deployment",
            "9",
        ),
        (
            "POST /api/v2/deployments/9/explode",
            "",
            404,
            "not_found",
            "explode",
        ),
        (
            "POST /api/v2/overview",
            "",
            405,
            "method_not_allowed",
            "POST",
        ),
        (
            "DELETE /api/v2/workloads/web",
            "",
            405,
            "method_not_allowed",
            "DELETE",
        ),
        ("GET /api/v2/", "", 404, "not_found", "/api/v2/"),
    ] {
        let reply = world.send(line, &[], body).await;
        assert_eq!(
            (reply.status.as_u16(), reply.code().as_str()),
            (status, code),
            "{line} {body}"
        );
        let message = reply.json()["error"]["message"]
            .as_str()
            .unwrap()
            .to_owned();
        assert!(message.contains(says), "{line} {body}: {message}");
    }
    let huge = format!(r#"{{"instances":1,"reason":"{}"}}"#, "x".repeat(10 << 20));
    let reply = world.send(scale, &[], &huge).await;
    assert_eq!(
        (reply.status.as_u16(), reply.code().as_str()),
        (413, "body_too_large")
    );
    assert_eq!(
        world.state.handle().view().workload("web").unwrap().desired,
        3
    );
}

#[actix_web::test]
async fn a_change_is_answered_and_recorded_with_who_and_why() {
    let world = World::new(vec![service("web", 1)]);
    world.subscribe();
    let body = r#"{"instances":4,"reason":"more visitors"}"#;
    let reply = world
        .send("PUT /api/v2/workloads/web/scale", &[], body)
        .await;
    assert_eq!(reply.json(), json!({"workload": "web", "from": 1, "to": 4}));
    let audit = world.get("/api/v2/audit").await.json();
    assert_eq!(audit["total"], 1);
    let entry = &audit["items"][0];
    assert_eq!(entry["actor"], "anonymous");
    assert_eq!(entry["address"], "10.1.2.3");
    assert_eq!(entry["reason"], "more visitors");
    assert!(entry["action"].as_str().unwrap().contains("web"), "{entry}");
}

#[actix_web::test]
async fn tasks_are_paged_filtered_and_sorted() {
    let world = World::new(vec![service("web", 40), service("db", 5)]);
    world.subscribe();
    let mut ids = Vec::new();
    for agent in 1..=3 {
        ids.extend(
            world
                .offer(agent, 100, 100_000)
                .into_iter()
                .map(|launch| launch.task),
        );
    }
    assert_eq!(ids.len(), 45);
    for id in &ids[..10] {
        world.status(id, TaskState::Running);
    }
    world.status_with(&ids[3], TaskState::Running, Some(false), None);
    world.status(&ids[4], TaskState::Unreachable);

    let names = |reply: &Value| -> Vec<String> {
        let items = reply["items"].as_array().unwrap().iter();
        items
            .map(|item| item["name"].as_str().unwrap().to_owned())
            .collect()
    };
    for (query, total, first, count) in [
        ("", 45, "web-1", 45),
        ("?limit=10", 45, "web-1", 10),
        ("?offset=38&limit=4", 45, "web-39", 4),
        ("?offset=42&limit=10", 45, "db-3", 3),
        ("?limit=0", 45, "", 0),
        ("?offset=999999", 45, "", 0),
        ("?workload=db", 5, "db-1", 5),
        ("?state=running", 9, "web-1", 9),
        ("?state=TASK_RUNNING&offset=8", 9, "web-10", 1),
        ("?state=starting&limit=1", 35, "web-11", 1),
        ("?state=unhealthy", 1, "web-4", 1),
        ("?health=unhealthy", 1, "web-4", 1),
        ("?health=unchecked&limit=1", 44, "web-1", 1),
        ("?health=healthy", 0, "", 0),
        ("?state=unreachable", 1, "web-5", 1),
        ("?state=trouble", 2, "web-4", 2),
        ("?q=WEB-4", 2, "web-4", 2),
        ("?q=host-3.ex", 5, "web-36", 5),
        ("?q=10.0.0.3&workload=db", 0, "", 0),
        ("?agent=agent-2&limit=1", 20, "web-21", 1),
        ("?sort=-host&limit=2", 45, "web-36", 2),
        ("?sort=state&offset=35&limit=1", 45, "web-1", 1),
        ("?sort=-launched&limit=1", 45, "web-36", 1),
        ("?sort=running&limit=1", 45, "web-1", 1),
        ("?sort=health&offset=44", 45, "web-4", 1),
    ] {
        let reply = world.get(&format!("/api/v2/tasks{query}")).await.json();
        assert_eq!(reply["total"], total, "{query}");
        let names = names(&reply);
        assert_eq!(names.len(), count, "{query}");
        assert_eq!(names.first().map_or("", |name| name), first, "{query}");
    }
    let agents = world.get("/api/v2/agents").await.json();
    assert_eq!(agents["total"], 3);
    assert_eq!(agents["items"][1]["hostname"], "host-2.example");
    assert_eq!(agents["items"][1]["tasks"], 20);
    assert_eq!(agents["items"][1]["cpus"], 10.0);
    assert_eq!(agents["items"][2]["workloads"], json!({"web": 5}));
}

#[actix_web::test]
async fn a_task_is_found_alive_and_ended_with_the_history_of_its_instance() {
    let world = World::new(vec![rich_service("web", 1)]);
    world.subscribe();
    let first = world.offer(1, 8, 8_000).remove(0).task;
    world.status(&first, TaskState::Running);
    let live = world.get(&format!("/api/v2/tasks/{first}")).await.json();
    assert_eq!(live["standing"], "live");
    assert_eq!(live["task"]["state"], "TASK_RUNNING");
    assert_eq!(live["task"]["ports"], json!([8080, 31000]));
    assert_eq!(live["sandbox"]["agent_url"], "http://host-1.example:5051");
    assert_eq!(live["sandbox"]["framework_id"], "fw-0001");

    world.status_with(
        &first,
        TaskState::Failed,
        None,
        Some("exited with status 1"),
    );
    let ended = world.get(&format!("/api/v2/tasks/{first}")).await.json();
    assert_eq!(ended["standing"], "ended");
    assert_eq!(ended["ended"]["message"], "exited with status 1");
    assert_eq!(ended["instance"]["failures"], 1);

    let why = world.get("/api/v2/workloads/web/explain").await.json();
    assert_eq!(why["condition"], "backing_off");
    assert_eq!(why["instances"][0]["waits_for"], "back_off");
    assert_eq!(why["instances"][0]["last"]["id"], json!(first.as_str()));
    assert!(
        why["sentences"][0]
            .as_str()
            .unwrap()
            .contains("waits after a failure"),
        "{why}"
    );
    let overview = world.get("/api/v2/overview").await.json();
    assert_eq!(overview["trouble"][0]["name"], "web");
}

#[actix_web::test]
async fn what_waits_says_why() {
    let world = World::new(vec![rich_service("web", 2)]);
    world.subscribe();
    assert!(world.offer(1, 1, 32).is_empty(), "too little memory");
    let why = world.get("/api/v2/workloads/web/explain").await.json();
    assert_eq!(why["condition"], "waiting");
    assert_eq!(why["funnel"]["offers"], 1);
    let stages = why["funnel"]["stages"].as_array().unwrap();
    let names: Vec<_> = stages
        .iter()
        .map(|stage| stage["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "constraints",
            "maintenance",
            "colocation",
            "resources",
            "ports",
            "limits"
        ]
    );
    assert_eq!(
        stages[3],
        json!({"name": "resources", "left": 0, "ruled_out": 1})
    );
    assert_eq!(why["funnel"]["nearest"]["hostname"], "host-1.example");
    let sentence = why["sentences"][0].as_str().unwrap();
    assert!(
        sentence.contains("resources") && sentence.contains("host-1.example"),
        "{sentence}"
    );
    // Names are shown as they are, and the template with its secrets masked.
    let web = world.get("/api/v2/workloads/web").await.json();
    assert_eq!(
        web["template"]["environment"][1],
        json!({"name": "DB_PASSWORD", "value": "****", "secret": true})
    );
    assert_eq!(web["wanted"], 2);
    assert_eq!(web["counts"]["waiting"], 2);
}

#[actix_web::test]
async fn a_rolling_restart_is_a_deployment_that_can_be_held_and_ended() {
    let world = World::new(vec![service("web", 2)]);
    world.subscribe();
    for launch in world.offer(1, 8, 8_000) {
        world.status(&launch.task, TaskState::Running);
    }
    let reply = world
        .send(
            "POST /api/v2/rolling-restarts",
            &[],
            r#"{"workload":"web"}"#,
        )
        .await;
    assert_eq!(reply.status, 202);
    let id = reply.json()["deployment"].as_u64().unwrap();
    let again = world.send("POST /api/v2/rolling-restarts", &[], "{}").await;
    assert_eq!(
        (again.status.as_u16(), again.code().as_str()),
        (409, "deployment_running")
    );
    for (action, status) in [
        ("pause", "paused"),
        ("resume", "running"),
        ("abort", "aborted"),
    ] {
        let path = format!("POST /api/v2/deployments/{id}/{action}");
        let reply = world.send(&path, &[], r#"{"reason":"lunch"}"#).await;
        assert_eq!(
            (reply.status.as_u16(), &reply.json()["status"]),
            (200, &json!(status))
        );
        let kept = (status != "running").then_some("lunch");
        assert_eq!(reply.json()["reason"], json!(kept), "{action}");
    }
    let reply = world
        .send(&format!("POST /api/v2/deployments/{id}/pause"), &[], "")
        .await;
    assert_eq!(
        (reply.status.as_u16(), reply.code().as_str()),
        (409, "deployment_state")
    );
    let list = world.get("/api/v2/deployments").await.json();
    assert_eq!(list["items"][0]["kind"], "rolling_restart");
    assert_eq!(list["items"][0]["workload"], "web");
    assert_eq!(world.get("/api/v2/audit").await.json()["total"], 4);
}

#[actix_web::test]
async fn metrics_are_in_the_form_of_prometheus() {
    let world = World::new(vec![service("web", 2)]);
    world.subscribe();
    let task = world.offer(1, 8, 8_000).remove(0).task;
    world.status(&task, TaskState::Running);
    let text = world.get("/metrics").await.body;
    for line in [
        r#"gantry_tasks{type="web",state="running"} 1"#,
        r#"gantry_tasks{type="web",state="starting"} 1"#,
        r#"gantry_instances_wanted{type="web"} 2"#,
        "gantry_tasks_launched_total 2",
        r#"gantry_deployments{status="paused"} 0"#,
        "gantry_unreadable_records 0",
        "gantry_subscribed 1",
        r#"gantry_build_info{version="0.1.0"} 1"#,
        r#"gantry_step_seconds_bucket{le="+Inf"} 0"#,
        "# EOF",
    ] {
        assert!(
            text.lines()
                .any(|shown| shown.strip_suffix(".0").unwrap_or(shown) == line),
            "{line}\n{text}"
        );
    }
}

#[actix_web::test]
async fn tasks_without_a_record_are_listed_apart() {
    let world = World::new(vec![service("web", 1)]);
    world.subscribe();
    let task = world.offer(1, 4, 4096).remove(0).task;
    world.status(&task, TaskState::Running);
    let other = gantry_core::TaskId::new(task.as_str().replacen("web-1.", "web-14.", 1));
    world.status(&other, TaskState::Running);
    let all = world.get("/api/v2/tasks").await.json();
    assert_eq!(
        (&all["total"], &all["items"][0]["standing"]),
        (&json!(1), &json!("live"))
    );
    let list = world.get("/api/v2/tasks?state=unknown").await.json();
    assert_eq!(list["total"], json!(1), "{list}");
    let unknown = &list["items"][0];
    for (field, value) in [
        ("standing", json!("unknown")),
        ("id", json!(other.as_str())),
        ("name", json!("web-14")),
        ("workload", json!("web")),
        ("number", json!(14)),
        ("state", json!("TASK_RUNNING")),
        ("revision", Value::Null),
        ("launched_at", Value::Null),
    ] {
        assert_eq!(unknown[field], value, "{field} of {unknown}");
    }
    assert_ne!(unknown["agent_id"], json!(""));
    for (query, total) in [
        ("q=web-14", 1),
        ("q=web-1.", 0),
        ("workload=db", 0),
        ("offset=1", 0),
    ] {
        let path = format!("/api/v2/tasks?state=unknown&{query}");
        let list = world.get(&path).await.json();
        assert_eq!(
            list["items"].as_array().map(Vec::len),
            Some(total),
            "{query}"
        );
    }
}

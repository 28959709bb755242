//! What the pages of workloads, tasks and agents read, and what a change would do.

use gantry_core::TaskState;
use serde_json::{Value, json};

use super::world::{World, service};

fn names(list: &Value) -> Vec<&str> {
    let list = list.as_array().expect("a list").iter();
    list.map(|name| name.as_str().expect("a name")).collect()
}

#[actix_web::test]
async fn an_instance_shows_its_tasks_what_it_waits_for_and_what_it_was() {
    let world = World::new(vec![service("web", 3)]);
    world.subscribe();
    let launches = world.offer(1, 1, 8_000);
    assert_eq!(launches.len(), 2, "an offer of one cpu takes two tasks");
    let failed = &launches[0].task;
    world.status(failed, TaskState::Running);
    world.status_with(failed, TaskState::Failed, None, Some("exit 1"));

    let list = world.get("/api/v2/workloads/web/instances").await.json();
    assert_eq!(
        (&list["total"], list["items"].as_array().unwrap().len()),
        (&json!(3), 3)
    );
    let [first, second, third] = [0, 1, 2].map(|index| list["items"][index].clone());
    assert_eq!(first["name"], "web-1");
    assert_eq!(first["waiting"]["for"], "back_off");
    assert!(first["waiting"]["until"].as_u64() > first["waiting"]["since"].as_u64());
    assert_eq!(first["failures"], 1);
    let ended = &first["history"][0];
    assert_eq!(
        (
            &ended["id"],
            &ended["state"],
            &ended["message"],
            &ended["agent_id"]
        ),
        (
            &json!(failed.as_str()),
            &json!("TASK_FAILED"),
            &json!("exit 1"),
            &json!("agent-1")
        )
    );
    assert!(
        ended["running_at"].as_u64() < ended["ended_at"].as_u64(),
        "{ended}"
    );
    assert_eq!(second["tasks"][0]["id"], launches[1].task.as_str());
    assert_eq!(second["waiting"], Value::Null);
    assert_eq!(
        third["waiting"],
        json!({"for": "offer", "since": third["waiting"]["since"], "until": null, "refused": null})
    );

    let page = world
        .get("/api/v2/workloads/web/instances?offset=1&limit=1")
        .await
        .json();
    assert_eq!(page["items"], json!([second]));
    assert_eq!(
        world.get("/api/v2/workloads/web/instances/1").await.json(),
        first
    );
    for (path, status, code) in [
        ("/api/v2/workloads/web/instances/4", 404, "unknown_instance"),
        ("/api/v2/workloads/web/instances/0", 404, "unknown_instance"),
        ("/api/v2/workloads/none/instances", 404, "unknown_workload"),
        (
            "/api/v2/workloads/none/instances/1",
            404,
            "unknown_workload",
        ),
        (
            "/api/v2/workloads/web/instances?limit=x",
            400,
            "bad_request",
        ),
    ] {
        let reply = world.get(path).await;
        assert_eq!(
            (reply.status.as_u16(), &*reply.code()),
            (status, code),
            "{path}"
        );
    }
}

#[actix_web::test]
async fn trends_are_bounded_and_end_with_now() {
    let world = World::new(vec![service("web", 2), service("db", 1)]);
    let empty = world.get("/api/v2/trends").await.json();
    assert_eq!(
        (&empty["newest_at"], &empty["workloads"]),
        (&json!(0), &json!({}))
    );
    let trends = &world.state.0.trends;
    let look = |at| trends.look(&world.state.handle().view(), at);
    look(1);
    world.subscribe();
    for launch in world.offer(1, 1, 8_000) {
        world.status(&launch.task, TaskState::Running);
    }
    look(2);
    let two = world.get("/api/v2/trends?minutes=15").await.json();
    assert_eq!(two["step_ms"], 5_000);
    assert_eq!(two["newest_at"], 2);
    assert_eq!(
        two["workloads"]["web"],
        json!({"wanted": [2, 2], "ready": [0, 2], "running": [0, 2]})
    );
    assert_eq!(two["workloads"]["db"]["running"], json!([0, 0]));
    for at in 3..1_000 {
        look(at);
    }
    let all = world.get("/api/v2/trends").await.json();
    assert_eq!(all["workloads"]["web"]["ready"], json!(vec![2; 180]));
    let minute = world.get("/api/v2/trends?minutes=1").await.json();
    assert_eq!(
        minute["workloads"]["web"]["ready"]
            .as_array()
            .unwrap()
            .len(),
        12
    );
    for minutes in ["0", "16", "-1", "x"] {
        let reply = world
            .get(&format!("/api/v2/trends?minutes={minutes}"))
            .await;
        assert_eq!(reply.status, 400, "{minutes}");
    }
}

/// What would happen is what happens then.
#[actix_web::test]
async fn a_dry_run_tells_what_then_happens_and_changes_nothing() {
    let mut single = service("single", 2);
    single.template.demand.fixed_ports = vec![8080];
    let world = World::new(vec![service("web", 4), single]);
    world.subscribe();
    let launches = world.offer(1, 8, 8_000);
    for launch in &launches {
        world.status(&launch.task, TaskState::Running);
    }
    let sick = &launches[1];
    world.status_with(&sick.task, TaskState::Running, Some(false), None);
    let ask = async |line: &str, body: &str| {
        let reply = world.send(line, &[], body).await;
        assert_eq!(reply.status, 200, "{line}: {}", reply.body);
        reply.json()
    };

    // Down: the sick one first, then the youngest.
    let scale = "PUT /api/v2/workloads/web/scale";
    let down = ask(&format!("{scale}?dry_run=true"), r#"{"instances":2}"#).await;
    let mut stops = names(&down["stops"]);
    assert!(stops.contains(&sick.instance.as_ref()), "{down}");
    assert_eq!(
        (stops.len(), &down["at_once"], &down["creates"]),
        (2, &json!(2), &json!([]))
    );
    assert!(
        down["notes"]
            .to_string()
            .contains("the declaration asks for 4"),
        "{down}"
    );
    let web = world.get("/api/v2/workloads/web").await.json();
    assert_eq!(web["wanted"], 4, "nothing has changed");
    assert_eq!(world.get("/api/v2/audit").await.json()["total"], 0);
    ask(scale, r#"{"instances":2}"#).await;
    let tasks = world.get("/api/v2/tasks?workload=web").await.json();
    let mut stopped: Vec<_> = tasks["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|task| task["goal"] == "stop")
        .map(|task| task["name"].as_str().unwrap())
        .collect();
    stopped.sort_unstable();
    stops.sort_unstable();
    assert_eq!(stopped, stops);

    // Up: the lowest free numbers, also of instances that are still going.
    let up = ask(&format!("{scale}?dry_run=1"), r#"{"instances":5}"#).await;
    let mut expected = stops.clone();
    expected.push("web-5");
    assert_eq!(
        (names(&up["creates"]), &up["stops"]),
        (expected.clone(), &json!([]))
    );
    ask(scale, r#"{"instances":5}"#).await;
    let instances = world.get("/api/v2/workloads/web/instances").await.json();
    let instances = instances["items"].as_array().unwrap().iter();
    let wanted: Vec<_> = instances.filter(|one| one["wanted"] == true).collect();
    assert_eq!(wanted.len(), 5);
    assert!(wanted.iter().any(|one| one["name"] == "web-5"));

    // Restarts.
    let task = &launches[0].task;
    let one = ask(
        &format!("POST /api/v2/tasks/{task}/restart?dry_run=true"),
        "",
    )
    .await;
    assert_eq!(names(&one["replaces"]), [&*launches[0].instance]);
    let rolling = "POST /api/v2/rolling-restarts?dry_run=true";
    let all = ask(rolling, "{}").await;
    assert_eq!(
        (names(&all["replaces"]).len(), &all["at_once"]),
        (3, &json!(1))
    );
    assert!(
        all["notes"]
            .to_string()
            .contains("single: the old task is stopped before"),
        "{all}"
    );
    assert!(
        all["notes"]
            .to_string()
            .contains("web: the new task is ready before"),
        "{all}"
    );
    let kill = ask("POST /api/v2/kill?dry_run=true", r#"{"workload":"single"}"#).await;
    assert_eq!(names(&kill["stops"]), ["single-1"]);
    let deployments = world.get("/api/v2/deployments").await.json();
    assert_eq!(deployments["total"], 0);

    // What would be refused is refused.
    for (line, body, code) in [
        (
            "PUT /api/v2/workloads/web/scale?dry_run=true",
            r#"{"instances":2000000}"#,
            "too_many_instances",
        ),
        (
            "PUT /api/v2/workloads/none/scale?dry_run=true",
            r#"{"instances":2}"#,
            "unknown_workload",
        ),
        (
            "PUT /api/v2/workloads/web/scale?dry_run=maybe",
            r#"{"instances":2}"#,
            "bad_request",
        ),
        (
            "PUT /api/v2/workloads/web/scale?dry_run=true",
            "{}",
            "bad_request",
        ),
        (
            "POST /api/v2/tasks/none/restart?dry_run=true",
            "",
            "unknown_task",
        ),
        (
            "POST /api/v2/kill?dry_run=true",
            r#"{"workload":"none"}"#,
            "unknown_workload",
        ),
        (
            "POST /api/v2/rolling-restarts?dry_run=true",
            r#"{"workload":"none"}"#,
            "unknown_workload",
        ),
    ] {
        assert_eq!(
            world.send(line, &[], body).await.code(),
            code,
            "{line} {body}"
        );
    }
    ask("PUT /api/v2/workloads/web/scale", r#"{"instances":5}"#).await;
    let begun = world.send("POST /api/v2/rolling-restarts", &[], "{}").await;
    assert_eq!(begun.status, 202);
    assert_eq!(
        world.send(rolling, &[], "{}").await.code(),
        "deployment_running"
    );
}

#[actix_web::test]
async fn an_agent_shows_our_tasks_also_when_the_master_says_nothing() {
    let world = World::new(vec![service("web", 3)]);
    world.subscribe();
    world.offer(7, 1, 8_000);
    let list = world.get("/api/v2/agents").await.json();
    assert_eq!(list["total"], 1);
    assert!(
        list["problem"]
            .as_str()
            .unwrap()
            .contains("no Mesos master"),
        "{list}"
    );
    let agent = world.get("/api/v2/agents/agent-7").await.json();
    assert_eq!(
        (&agent["tasks"], &agent["cpus"], &agent["free"]),
        (&json!(2), &json!(1.0), &Value::Null)
    );
    let tasks = agent["task_list"].as_array().unwrap();
    assert_eq!(tasks.len(), 2);
    assert!(tasks.iter().all(|task| task["agent_id"] == "agent-7"));
    let reply = world.get("/api/v2/agents/agent-8").await;
    assert_eq!(
        (reply.status.as_u16(), &*reply.code()),
        (404, "unknown_agent")
    );
}

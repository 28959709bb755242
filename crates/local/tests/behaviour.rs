//! What frameworks, executors and operators see, and the faults.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use gantry_local::{AgentOptions, ClusterOptions, Fault};
use serde_json::{Value, json};
use support::{Events, Framework, World, eventually, framework_info, http, open, small, task};

fn quick(options: &mut ClusterOptions) {
    options.allocation_interval = Duration::from_millis(50);
    options.update_retry_min = Duration::from_millis(100);
}

fn agents(count: usize) -> Vec<AgentOptions> {
    AgentOptions::many(count, 4.0, 4096.0, 10_000.0)
}

async fn simulated(count: usize) -> (World, Framework) {
    let world = World::simulated(agents(count), quick).await;
    let framework = Framework::subscribe(world.master(), framework_info()).await;
    (world, framework)
}

fn again(framework: &Framework) -> Value {
    let mut info = framework_info();
    info["id"] = json!({"value": framework.id});
    info
}

/// Runs a task and waits until it is running.
async fn run(framework: &mut Framework, id: &str) -> Value {
    let offer = framework.launch(vec![task(id, "server")]).await;
    framework.until(id, "TASK_RUNNING").await;
    offer
}

async fn reconcile(framework: &mut Framework, id: &str, agent: Option<&Value>) -> Value {
    let mut asked = json!({"task_id": {"value": id}});
    if let Some(agent) = agent {
        asked["agent_id"] = agent.clone();
    }
    let call = json!({"type": "RECONCILE", "reconcile": {"tasks": [asked]}});
    assert_eq!(framework.call(call).await, 202);
    framework.update_unacknowledged().await
}

// === Subscriptions ===

#[tokio::test]
async fn a_takeover_ends_the_old_stream_and_voids_its_offers() {
    let (world, mut first) = simulated(1).await;
    let old = first.offer().await;
    let mut second = Framework::subscribe(world.master(), again(&first)).await;
    assert_eq!(second.id, first.id);
    let error = first.events.next_of("ERROR").await;
    assert_eq!(error["error"]["message"], "Framework failed over");
    assert!(first.events.next().await.is_none());
    // The old stream id is no longer good.
    assert_eq!(first.call(json!({"type": "REVIVE"})).await, 400);
    second.launch_on(&old, vec![task("late", "server")]).await;
    let refused = second.update().await;
    assert_eq!(refused["reason"], "REASON_INVALID_OFFERS");
    assert_eq!(refused["state"], "TASK_DROPPED");

    let address = format!("http://{}/local/calls?after=1", world.master());
    let calls: Value = http()
        .get(address)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let of = |call: &Value| {
        (
            call["call"].clone(),
            call["stream"].clone(),
            call["status"].clone(),
        )
    };
    let calls: Vec<_> = calls.as_array().unwrap().iter().map(of).collect();
    let by = |call: &str, stream: &Framework, status: u16| {
        (json!(call), json!(stream.stream_id), json!(status))
    };
    let expected = [
        by("SUBSCRIBE", &second, 200),
        by("REVIVE", &first, 400),
        by("ACCEPT", &second, 202),
    ];
    assert_eq!(calls[..3], expected);
    world.cluster.shutdown().await;
}

#[tokio::test]
async fn a_framework_is_removed_after_its_failover_timeout() {
    let world = World::simulated(agents(1), quick).await;
    let mut info = framework_info();
    info["failover_timeout"] = json!(0.2);
    let mut framework = Framework::subscribe(world.master(), info).await;
    run(&mut framework, "a").await;
    let id = framework.id.clone();
    drop(framework);
    let mut info = framework_info();
    info["id"] = json!({"value": id});
    let call = json!({"type": "SUBSCRIBE", "framework_id": {"value": id},
        "subscribe": {"framework_info": info}});
    eventually("the removal", async || {
        let state = world.operator(json!({"type": "GET_FRAMEWORKS"})).await;
        state["get_frameworks"]["completed_frameworks"]
            .as_array()
            .is_some_and(|f| f.len() == 1)
    })
    .await;
    let mut events = Events::new(open(world.master(), &call).await);
    let error = events.next().await.unwrap();
    assert_eq!(error["error"]["message"], "Framework has been removed");
    assert!(events.next().await.is_none());
    world.cluster.shutdown().await;
}

#[tokio::test]
async fn heartbeats_come_on_schedule_and_stop_on_demand() {
    let world =
        World::simulated(vec![], |o| o.heartbeat_interval = Duration::from_millis(50)).await;
    let mut framework = Framework::subscribe(world.master(), framework_info()).await;
    for _ in 0..3 {
        assert_eq!(framework.events.next().await.unwrap()["type"], "HEARTBEAT");
    }
    world
        .cluster
        .inject(Fault::StopHeartbeats { stop: true })
        .unwrap();
    let silent = async || {
        tokio::time::timeout(Duration::from_millis(200), framework.events.next())
            .await
            .is_err()
    };
    eventually("silence", silent).await;
    world.cluster.shutdown().await;
}

// === Offers ===

#[tokio::test]
async fn declined_resources_come_back_when_the_filter_ends_or_on_revive() {
    let (world, mut framework) = simulated(1).await;
    let offer = framework.offer().await;
    let decline = |offer: &Value, seconds: f64| {
        json!({"type": "DECLINE", "decline": {
            "offer_ids": [offer["id"]], "filters": {"refuse_seconds": seconds}}})
    };
    let begun = Instant::now();
    framework.call(decline(&offer, 0.4)).await;
    let offer = framework.offer().await;
    assert!(
        begun.elapsed() >= Duration::from_millis(390),
        "{:?}",
        begun.elapsed()
    );
    framework.call(decline(&offer, 3600.0)).await;
    assert!(framework.events.quiet_for(Duration::from_millis(300)).await);
    framework.call(json!({"type": "REVIVE"})).await;
    let offer = framework.offer().await;
    framework.call(json!({"type": "SUPPRESS"})).await;
    framework.call(decline(&offer, 0.0)).await;
    assert!(framework.events.quiet_for(Duration::from_millis(300)).await);
    framework
        .call(json!({"type": "REVIVE", "revive": {"roles": ["foreign"]}}))
        .await;
    assert!(framework.events.quiet_for(Duration::from_millis(200)).await);
    framework
        .call(json!({"type": "REVIVE", "revive": {"roles": ["web"]}}))
        .await;
    framework.offer().await;
    world.cluster.shutdown().await;
}

#[tokio::test]
async fn reservations_are_made_and_undone() {
    let (world, mut framework) = simulated(1).await;
    let reservation = json!([{"type": "DYNAMIC", "role": "web"}]);
    let cpus = json!({"name": "cpus", "type": "SCALAR", "scalar": {"value": 1.0}, "reservations": reservation});
    let offer = framework.offer().await;
    let operation =
        json!([{"type": "RESERVE", "id": {"value": "op"}, "reserve": {"resources": [cpus]}}]);
    framework.accept(&offer, operation).await;
    let status = framework.events.next_of("UPDATE_OPERATION_STATUS").await;
    let status = &status["update_operation_status"]["status"];
    assert_eq!(status["state"], "OPERATION_FINISHED");
    let acknowledge = json!({"type": "ACKNOWLEDGE_OPERATION_STATUS", "acknowledge_operation_status": {
        "agent_id": status["agent_id"], "uuid": status["uuid"]["value"], "operation_id": {"value": "op"}}});
    assert_eq!(framework.call(acknowledge).await, 202);
    let mut total = 0.0;
    let mut reserved = 0.0;
    let offer = framework.offer().await;
    for resource in offer["resources"].as_array().unwrap() {
        if resource["name"] == "cpus" {
            let value = resource["scalar"]["value"].as_f64().unwrap();
            total += value;
            if resource.get("reservations").is_some() {
                reserved += value;
            }
        }
    }
    assert_eq!((total, reserved), (4.0, 1.0));
    framework
        .accept(
            &offer,
            json!([{"type": "UNRESERVE", "unreserve": {"resources": [cpus]}}]),
        )
        .await;
    let offer = framework.offer().await;
    assert!(!offer.to_string().contains("DYNAMIC"), "{offer}");
    world.cluster.shutdown().await;
}

// === Updates ===

#[tokio::test]
async fn the_head_of_the_stream_is_repeated_until_it_is_acknowledged() {
    let (world, mut framework) = simulated(1).await;
    let offer = framework.launch(vec![task("a", "sleep 0")]).await;
    let head = framework.update_unacknowledged().await;
    assert_eq!(head["state"], "TASK_STARTING");
    for _ in 0..2 {
        assert_eq!(
            framework.update_unacknowledged().await["uuid"],
            head["uuid"]
        );
    }
    // The master knows better by now, but tells what it forwarded.
    let answer = loop {
        let answer = reconcile(&mut framework, "a", Some(&offer["agent_id"])).await;
        if answer["reason"] == "REASON_RECONCILIATION" {
            break answer;
        }
    };
    assert_eq!(answer["state"], "TASK_STARTING");
    assert!(answer.get("uuid").is_none());
    let tasks = world.operator(json!({"type": "GET_TASKS"})).await;
    assert_eq!(tasks["get_tasks"]["tasks"][0]["state"], "TASK_FINISHED");
    assert_eq!(
        tasks["get_tasks"]["tasks"][0]["status_update_state"],
        "TASK_STARTING"
    );
    framework.acknowledge(&head).await;
    framework.until("a", "TASK_FINISHED").await;
    let answer = reconcile(&mut framework, "a", Some(&offer["agent_id"])).await;
    assert_eq!(answer["state"], "TASK_GONE");
    world.cluster.shutdown().await;
}

#[tokio::test]
async fn updates_are_lost_doubled_and_exchanged_on_demand() {
    let (world, mut framework) = simulated(1).await;
    world
        .cluster
        .inject(Fault::DropUpdates { count: 1 })
        .unwrap();
    run(&mut framework, "lost").await;
    world
        .cluster
        .inject(Fault::DuplicateUpdates { count: 1 })
        .unwrap();
    framework.launch(vec![task("twice", "server")]).await;
    let first = framework.update_unacknowledged().await;
    assert_eq!(framework.update_unacknowledged().await, first);
    framework.acknowledge(&first).await;
    framework.until("twice", "TASK_RUNNING").await;
    world
        .cluster
        .inject(Fault::ReorderUpdates { count: 1 })
        .unwrap();
    framework
        .launch(vec![task("b1", "server"), task("b2", "server")])
        .await;
    let order: Vec<Value> = [
        framework.update_unacknowledged().await,
        framework.update_unacknowledged().await,
    ]
    .iter()
    .map(|s| s["task_id"]["value"].clone())
    .collect();
    assert_eq!(order, ["b2", "b1"]);
    world
        .cluster
        .inject(Fault::DropCalls {
            call: "KILL".into(),
            count: 1,
        })
        .unwrap();
    framework.kill("lost").await;
    framework.kill("lost").await;
    framework.until("lost", "TASK_KILLED").await;
    world.cluster.shutdown().await;
}

// === Agents and masters ===

#[tokio::test]
async fn a_lost_agent_returns_with_its_tasks() {
    let (world, mut framework) = simulated(1).await;
    let offer = run(&mut framework, "a").await;
    framework.offer().await;
    world.cluster.inject(Fault::LoseAgent { agent: 0 }).unwrap();
    framework.events.next_of("RESCIND").await;
    let lost = framework.update().await;
    assert_eq!(lost["state"], "TASK_UNREACHABLE");
    assert_eq!(lost["reason"], "REASON_AGENT_REMOVED");
    assert!(lost.get("unreachable_time").is_some() && lost.get("uuid").is_none());
    assert!(
        framework.events.next_of("FAILURE").await["failure"]
            .get("executor_id")
            .is_none()
    );
    let with_agent = reconcile(&mut framework, "a", Some(&offer["agent_id"])).await;
    assert_eq!(with_agent["state"], "TASK_UNREACHABLE");
    assert_eq!(
        reconcile(&mut framework, "a", None).await["state"],
        "TASK_UNKNOWN"
    );
    world
        .cluster
        .inject(Fault::ReturnAgent { agent: 0 })
        .unwrap();
    let back = framework.update().await;
    assert_eq!(back["state"], "TASK_RUNNING");
    assert_eq!(back["reason"], "REASON_AGENT_REREGISTERED");
    world
        .cluster
        .inject(Fault::MarkAgentGone { agent: 0 })
        .unwrap();
    let gone = framework.update().await;
    assert_eq!(gone["state"], "TASK_GONE_BY_OPERATOR");
    let answer = reconcile(&mut framework, "a", Some(&offer["agent_id"])).await;
    assert_eq!(answer["state"], "TASK_GONE_BY_OPERATOR");
    world.cluster.shutdown().await;
}

#[tokio::test]
async fn a_failover_moves_the_leader_and_keeps_the_tasks() {
    let world = World::simulated(agents(1), |o| {
        quick(o);
        o.standby = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        o.recovery_time = Duration::from_millis(300);
    })
    .await;
    let masters = world.cluster.master_addresses();
    let mut framework = Framework::subscribe(world.master(), framework_info()).await;
    let offer = run(&mut framework, "a").await;
    let location = async |to: SocketAddr, path: &str| {
        let answer = http()
            .post(format!("http://{to}{path}"))
            .body("{}")
            .send()
            .await
            .unwrap();
        (
            answer.status().as_u16(),
            answer
                .headers()
                .get("location")
                .map(|l| l.to_str().unwrap().to_owned()),
        )
    };
    let path = "/master/api/v1/scheduler?x=1";
    assert_eq!(
        location(masters[1], path).await,
        (307, Some(format!("//{}{path}", masters[0])))
    );

    world.cluster.inject(Fault::MasterFailover).unwrap();
    while framework.events.next().await.is_some() {}
    assert_eq!(world.master(), masters[1]);
    assert_eq!(
        location(masters[0], "/redirect").await,
        (307, Some(format!("//{}", masters[1])))
    );
    let mut framework = Framework::subscribe(world.master(), again(&framework)).await;
    // Nothing is known about agents that are not back yet.
    let call = json!({"type": "RECONCILE", "reconcile": {"tasks": [
        {"task_id": {"value": "a"}, "agent_id": offer["agent_id"]}]}});
    framework.call(call).await;
    framework.offer().await;
    let answer = reconcile(&mut framework, "a", Some(&offer["agent_id"])).await;
    assert_eq!(answer["state"], "TASK_RUNNING");
    framework.kill("a").await;
    framework.until("a", "TASK_KILLED").await;
    world.cluster.shutdown().await;
}

#[tokio::test]
async fn streams_are_cut_and_the_master_is_away_on_demand() {
    let (world, mut framework) = simulated(1).await;
    world.cluster.inject(Fault::DropStreams).unwrap();
    while framework.events.next().await.is_some() {}
    assert_eq!(framework.call(json!({"type": "REVIVE"})).await, 403);
    // The same from another process.
    let url = format!("http://{}/local/faults", world.master());
    let fault = json!({"fault": "unavailable", "milliseconds": 600_000}).to_string();
    let post = |fault: String| {
        let post = http().post(&url).header("Content-Type", "application/json");
        post.body(fault).send()
    };
    assert_eq!(post(fault).await.unwrap().status(), 200);
    assert_eq!(framework.call(json!({"type": "REVIVE"})).await, 503);
    let over = json!({"fault": "unavailable", "milliseconds": 0}).to_string();
    assert_eq!(post(over).await.unwrap().status(), 200);
    eventually("its return", async || {
        framework.call(json!({"type": "REVIVE"})).await == 403
    })
    .await;
    let wrong = post("{\"fault\":\"x\"}".to_owned()).await.unwrap();
    assert_eq!(wrong.status(), 400);
    assert!(world.cluster.inject(Fault::LoseAgent { agent: 7 }).is_err());
    world.cluster.shutdown().await;
}

// === Operators ===

#[tokio::test]
async fn credentials_are_asked_for_in_three_realms() {
    let world = World::simulated(vec![], |o| {
        o.credentials
            .insert("web".into(), "secret".to_owned().into());
    })
    .await;
    let ask = async |method: reqwest::Method, path: &str, login: Option<(&str, &str)>| {
        let mut request = http().request(method, format!("http://{}{path}", world.master()));
        if let Some((name, password)) = login {
            request = request.basic_auth(name, Some(password));
        }
        let answer = request.send().await.unwrap();
        let realm = answer
            .headers()
            .get("www-authenticate")
            .map(|h| h.to_str().unwrap().to_owned());
        (answer.status().as_u16(), realm)
    };
    let (post, get) = (reqwest::Method::POST, reqwest::Method::GET);
    for (method, path, realm) in [
        (&post, "/api/v1/scheduler", "mesos-master-scheduler"),
        (&post, "/api/v1", "mesos-master-readwrite"),
        (&get, "/state", "mesos-master-readonly"),
    ] {
        let refused = (401, Some(format!("Basic realm=\"{realm}\"")));
        assert_eq!(ask(method.clone(), path, None).await, refused);
        assert_eq!(
            ask(method.clone(), path, Some(("web", "wrong"))).await,
            refused
        );
        assert_ne!(
            ask(method.clone(), path, Some(("web", "secret"))).await.0,
            401
        );
    }
    assert_eq!(ask(get, "/health", None).await.0, 200);
    world.cluster.shutdown().await;
}

#[tokio::test]
async fn operators_watch_tasks_come_and_go() {
    let (world, mut framework) = simulated(1).await;
    let answer = http()
        .post(format!("http://{}/api/v1", world.master()))
        .header("Content-Type", "application/json")
        .body("{\"type\":\"SUBSCRIBE\"}")
        .send()
        .await
        .unwrap();
    let mut operator = Events::new(answer);
    let first = operator.next().await.unwrap();
    let state = &first["subscribed"]["get_state"];
    assert_eq!(state["get_agents"]["agents"].as_array().unwrap().len(), 1);
    assert_eq!(operator.next().await.unwrap()["type"], "HEARTBEAT");
    framework.launch(vec![task("a", "sleep 0")]).await;
    framework.until("a", "TASK_FINISHED").await;
    assert_eq!(
        operator.next_of("TASK_ADDED").await["task_added"]["task"]["task_id"]["value"],
        "a"
    );
    let mut states = Vec::new();
    for _ in 0..3 {
        let event = operator.next_of("TASK_UPDATED").await;
        states.push(event["task_updated"]["status"]["state"].clone());
    }
    assert_eq!(states, ["TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"]);
    let legacy = http()
        .get(format!("http://{}/state", world.master()))
        .send()
        .await
        .unwrap();
    let legacy: Value = serde_json::from_str(&legacy.text().await.unwrap()).unwrap();
    assert_eq!(legacy["slaves"][0]["resources"]["cpus"], 4.0);
    assert_eq!(legacy["frameworks"][0]["completed_tasks"][0]["id"], "a");
    let torn = world
        .operator(
            json!({"type": "TEARDOWN", "teardown": {"framework_id": {"value": framework.id}}}),
        )
        .await;
    assert_eq!(torn, "");
    while framework.events.next().await.is_some() {}
    operator.next_of("FRAMEWORK_REMOVED").await;
    world.cluster.shutdown().await;
}

#[tokio::test]
async fn draining_kills_with_its_own_reason() {
    let (world, mut framework) = simulated(1).await;
    let offer = run(&mut framework, "a").await;
    let call = json!({"type": "DRAIN_AGENT", "drain_agent": {"agent_id": offer["agent_id"]}});
    world.operator(call).await;
    for state in ["TASK_KILLING", "TASK_KILLED"] {
        let status = framework.update().await;
        assert_eq!(
            (&status["state"], &status["reason"]),
            (&json!(state), &json!("REASON_AGENT_DRAINING"))
        );
    }
    world.cluster.shutdown().await;
}

// === Scale ===

#[tokio::test]
async fn ten_thousand_agents_are_offered_in_one_event() {
    let world = World::simulated(agents(10_000), |_| ()).await;
    let mut framework = Framework::subscribe(world.master(), framework_info()).await;
    let event = framework.events.next_of("OFFERS").await;
    let offers = event["offers"]["offers"].as_array().unwrap();
    assert_eq!(offers.len(), 10_000);
    let tasks: Vec<Value> = (0..30)
        .map(|i| {
            json!({"name": "t", "task_id": {"value": format!("t{i}")}, "resources": small(),
            "command": {"value": "server"}})
        })
        .collect();
    framework.launch_on(&offers[0], tasks).await;
    for i in 0..60 {
        let status = framework.update().await;
        assert!(status["uuid"].is_string(), "{i}: {status}");
    }
    world.cluster.shutdown().await;
}

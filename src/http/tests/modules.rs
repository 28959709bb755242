//! Modules through the faces, as a client sees them.

use std::time::{Duration, Instant};

use gantry_core::TaskState;
use serde_json::{Value, json};

use super::{
    Reply,
    world::{World, service},
};

/// Two tasks of `web` that run, and these modules, loaded.
async fn world(modules: &[(&str, &str)]) -> World {
    let world = World::with_modules(vec![service("web", 2)], modules).await;
    world.subscribe();
    for launch in world.offer(1, 8, 8192) {
        world.status(&launch.task, TaskState::Running);
    }
    until(&world, "/api/v2/modules", |all| {
        let all = all.as_array().expect("a list");
        all.iter().all(|module| module["state"] != "stand-by")
    })
    .await;
    world
}

/// Asks until the answer is as wanted.
async fn until(world: &World, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let answer = world.send(&format!("GET {path}"), &[], "").await.json();
        if wanted(&answer) {
            return answer;
        }
        assert!(Instant::now() < deadline, "{path} answers {answer}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn get(world: &World, path: &str) -> Reply {
    world.send(&format!("GET {path}"), &[], "").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_modules_add_is_seen_in_every_face() {
    let world = world(&[
        (
            "shop",
            "gantry.page('home', 'page.html'); gantry.menu('Shop', 'home'); gantry.script('shop.js');
             gantry.column({key: 'twice', title: 'Twice', value: (task) => 2 * task.number});
             gantry.healthy((task) => task.number !== 2);
             gantry.leader((task) => (task.number === 1 ? true : null));
             gantry.route('GET', '/shop/:id', (req) => ({json: [req.params.id, req.query.a, req.caller.level]}));
             gantry.route('POST', '/tasks/types', () => ({text: 'never reached'}));
             gantry.route('PATCH', '/shop', (req) => ({status: 202, json: req.json}));",
        ),
        ("broken", "throw new Error('bad day')"),
    ])
    .await;
    let all = get(&world, "/api/v2/modules").await.json();
    assert_eq!(all[0]["name"], "broken");
    assert_eq!(all[0]["state"], "stopped");
    assert!(all[0]["error"].as_str().unwrap().contains("bad day"));
    assert_eq!(all[1]["state"], "running");
    assert_eq!(all[1]["menus"], json!([{"title": "Shop", "page": "home"}]));
    assert_eq!(all[1]["pages"], json!({"home": "page.html"}));
    assert_eq!(
        all[1]["columns"],
        json!([{"key": "twice", "title": "Twice"}])
    );
    assert_eq!(all[1]["hooks"], json!(["healthy", "leader"]));
    assert_eq!(all[1]["scripts"], json!(["shop.js"]));

    // Routes: those of Gantry go before.
    let answer = get(&world, "/api/v1/shop/7?a=b").await;
    assert_eq!(answer.body, r#"["7","b","admin"]"#);
    assert_eq!(answer.header("content-type"), "application/json");
    let answer = get(&world, "/api/v2/modules/shop/shop/8").await;
    assert_eq!(answer.body, r#"["8",null,"admin"]"#);
    let answer = world.send("PATCH /api/v1/shop", &[], r#"{"x":1}"#).await;
    assert_eq!((answer.status.as_u16(), &*answer.body), (202, r#"{"x":1}"#));
    assert_eq!(
        world.send("POST /api/v1/tasks/types", &[], "").await.status,
        404
    );
    assert_eq!(get(&world, "/api/v1/nothing").await.status, 404);
    assert_eq!(
        get(&world, "/api/v2/modules/broken/shop/8").await.status,
        404
    );
    let cross = [("sec-fetch-site", "cross-site")];
    assert_eq!(
        world.send("PATCH /api/v1/shop", &cross, "{}").await.status,
        403
    );

    // Files of its directory, and of no other.
    let page = get(&world, "/static-modules/shop/page.html").await;
    assert_eq!(page.body, "<p>a page</p>");
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    for outside in [
        "/static-modules/shop/../broken-module/page.html",
        "/static-modules/none/page.html",
        "/static-modules/shop/.x",
    ] {
        assert_eq!(get(&world, outside).await.status, 404, "{outside}");
    }

    // Lists.
    let tasks = until(&world, "/api/v2/tasks", |tasks| {
        tasks["items"][0].get("columns").is_some()
    })
    .await;
    assert_eq!(tasks["items"][1]["columns"], json!({"shop.twice": 4}));
    assert_eq!(tasks["items"][0]["healthy_by_module"], true);
    assert_eq!(tasks["items"][0]["leader"], true);
    assert_eq!(tasks["items"][1]["healthy_by_module"], false);
    let launched = get(&world, "/api/v1/tasks/launched").await.json();
    assert_eq!(launched[0]["runtimeInfo"]["leader"], true);
    assert_eq!(launched[1]["runtimeInfo"]["healthy"], false);
    assert!(launched[1]["runtimeInfo"].get("leader").is_none());
    let configuration = get(&world, "/api/v1/framework/configuration").await.json();
    assert_eq!(configuration["moduleList"], json!(["broken", "shop"]));
    assert_eq!(configuration["healthCheck"], true);
    assert_eq!(configuration["leaderCheck"], true);
    assert_eq!(get(&world, "/moduleList").await.body, "broken\nshop\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_is_told_and_a_stopped_module_refuses_nothing() {
    let world = world(&[(
        "guard",
        "gantry.beforeRestart(({type, instance, caller}) => ({refuse: `${instance} of ${type} is busy, ${caller}`}));
         gantry.beforeKill(({type}) => (type === 'web' ? {refuse: 'not web'} : undefined));
         gantry.beforeRollingRestart(() => { for (;;) {} });",
    )])
    .await;
    let tasks = get(&world, "/api/v2/tasks").await.json();
    let task = tasks["items"][0]["id"].as_str().unwrap().to_owned();
    for path in [
        format!("/api/v2/tasks/{task}/restart"),
        format!("/api/v1/tasks/{task}/restart"),
    ] {
        let answer = world.send(&format!("POST {path}"), &[], "").await;
        assert_eq!(answer.status, 409, "{}", answer.body);
        assert_eq!(answer.code(), "refused_by_module");
        assert!(
            answer
                .body
                .contains("module guard refuses: web-1 of web is busy, anonymous"),
            "{}",
            answer.body
        );
    }
    let kill = |body: &'static str| world.send("POST /api/v2/kill", &[], body);
    assert_eq!(kill(r#"{"workload":"web"}"#).await.status, 409);
    assert_eq!(kill(r#"{"workload":"none"}"#).await.status, 404);

    // It loops: it is stopped, and what it was asked about goes on.
    let answer = world.send("POST /api/v2/rolling-restarts", &[], "{}").await;
    assert!(answer.status.is_success(), "{}", answer.body);
    let all = get(&world, "/api/v2/modules").await.json();
    assert_eq!(all[0]["state"], "stopped");
    assert!(all[0]["error"].as_str().unwrap().contains("100 ms"));
    let answer = kill(r#"{"workload":"web"}"#).await;
    assert!(answer.status.is_success(), "{}", answer.body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn modules_act_while_this_gantry_leads_and_begin_anew_with_what_they_kept() {
    let world = world(&[(
        "counter",
        "const starts = (gantry.state.get('starts') ?? 0) + 1;
         let seen = [];
         gantry.onStatus((event) => { seen.push(event.state) });
         gantry.route('GET', '/counter', async () => { await gantry.state.set('starts', starts); return {json: {starts, seen}} })",
    )])
    .await;
    until(&world, "/api/v1/counter", |answer| answer["starts"] == 1).await;
    let launch = get(&world, "/api/v2/tasks").await.json();
    let task = gantry_core::TaskId::new(launch["items"][0]["id"].as_str().unwrap());
    world.status(&task, TaskState::Failed);
    // How much of what came before it has seen depends on when it was loaded.
    until(&world, "/api/v1/counter", |answer| {
        let seen = answer["seen"].as_array();
        seen.is_some_and(|seen| seen.last() == Some(&json!("TASK_FAILED")))
    })
    .await;

    world.step_down(None);
    until(&world, "/api/v2/modules", |all| {
        all[0]["state"] == "stand-by"
    })
    .await;
    world.lead();
    until(&world, "/api/v2/modules", |all| {
        all[0]["state"] == "running"
    })
    .await;
    let answer = get(&world, "/api/v1/counter").await.json();
    assert_eq!(answer, json!({"starts": 2, "seen": []}));
}

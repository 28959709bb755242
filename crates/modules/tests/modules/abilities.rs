//! What modules can do.

use std::{sync::Arc, time::Duration};

use gantry_modules::{Admission, Answer, Hook, Host, Question, Request, Response, World};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::support::{Bench, ask, error, is_running, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn registers_and_answers() {
    let bench = Bench::new();
    let module = bench
        .files(
            "shop",
            &[
                (
                    "index.js",
                    "import { twice } from './lib/math.mjs';
                     export default async (gantry) => {
                       await null;
                       gantry.page('home', 'pages/home.html');
                       gantry.menu('Shop', 'home');
                       gantry.script('shop.js');
                       gantry.style('shop.css');
                       gantry.column({key: 'twice', title: 'Twice', value: task => twice(task.number)});
                       gantry.healthy(task => task.number !== 2);
                       gantry.leader(task => task.number === 1 ? true : null);
                       gantry.route('GET', '/items/:id', req => ({json: {id: req.params.id, name: gantry.name}}));
                       gantry.route('POST', '/items', async req => ({status: 201, text: req.query.a}));
                       gantry.route('DELETE', '/items', () => undefined);
                     }",
                ),
                ("lib/math.mjs", "import './deep/other.js'; export const twice = n => 2 * n"),
                ("lib/deep/other.js", "export const x = 1"),
            ],
        )
        .await;
    let registration = module.registration().expect("it is running");
    assert_eq!(
        serde_json::to_value(&*registration).unwrap(),
        json!({
            "routes": [
                {"method": "GET", "path": "/items/:id"},
                {"method": "POST", "path": "/items"},
                {"method": "DELETE", "path": "/items"}
            ],
            "menus": [{"title": "Shop", "page": "home"}],
            "pages": {"home": "pages/home.html"},
            "scripts": ["shop.js"],
            "styles": ["shop.css"],
            "columns": [{"key": "twice", "title": "Twice"}],
            "hooks": ["healthy", "leader"]
        })
    );
    let tasks = (1..=2).map(|number| json!({ "number": number })).collect();
    let Ok(Answer::Annotations(said)) = module.ask(Question::Annotate { tasks }).await else {
        panic!("{:?}", module.status());
    };
    assert_eq!(said[1].columns["twice"], json!(4));
    assert_eq!(
        (said[0].healthy, said[1].healthy),
        (Some(true), Some(false))
    );
    assert_eq!((said[0].leader, said[1].leader), (Some(true), None));

    let world = Arc::clone(&bench.world) as Arc<dyn World>;
    let host = Host::new(vec![module], world);
    let route = async |method, path, request| host.route(None, method, path, request).await;
    let (name, answer) = route("GET", "/items/7", json!({})).await.unwrap();
    let response = answer.unwrap();
    assert_eq!(name, "shop");
    assert_eq!(response.content_type, "application/json");
    assert_eq!(response.body, r#"{"id":"7","name":"shop"}"#);
    let (_, answer) = route("POST", "/items", json!({"query": {"a": "b"}}))
        .await
        .unwrap();
    assert_eq!(
        answer.unwrap(),
        Response {
            status: 201,
            content_type: "text/plain; charset=utf-8".to_owned(),
            body: "b".to_owned()
        }
    );
    let (_, answer) = route("DELETE", "/items", json!({})).await.unwrap();
    assert_eq!(answer.unwrap().status, 204);
    assert!(route("GET", "/items", json!({})).await.is_none());
    assert!(
        host.route(Some("other"), "GET", "/items/7", json!({}))
            .await
            .is_none()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_combine_in_the_order_of_names() {
    let bench = Bench::new();
    let b = bench
        .body("b", "gantry.beforeLaunch(launch => launch.type === 'db' ? {veto: 'b says no', retryAfter: 30} : {env: {SHARED: 'b', B: 1}});
                    gantry.restartCheck(() => true)")
        .await;
    let a = bench
        .body("a", "gantry.beforeLaunch(() => ({env: {SHARED: 'a', A: '1'}}));
                    gantry.beforeKill(() => ({refuse: 'a refuses'})); gantry.restartCheck(() => false)")
        .await;
    let c = bench
        .body("c", "gantry.beforeLaunch(() => ({veto: 'never asked'})); gantry.beforeKill(() => ({refuse: 'c'}));
                    setTimeout(() => { for (;;) {} }, 0)")
        .await;
    until("the end of c", || !is_running(&c)).await;
    let host = Host::new(vec![c, b, a], Arc::clone(&bench.world) as Arc<dyn World>);
    let env = |list: &[(&str, &str)]| {
        let pairs = list.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        pairs.collect()
    };
    assert_eq!(
        host.before_launch(&json!({"type": "web"})).await,
        Admission::Admitted {
            environment: env(&[("A", "1"), ("B", "1"), ("SHARED", "b")])
        }
    );
    assert!(bench.world.said("b: sets SHARED"));
    assert_eq!(
        host.before_launch(&json!({"type": "db"})).await,
        Admission::Vetoed {
            module: "b".to_owned(),
            reason: "b says no".to_owned(),
            retry_after: Duration::from_secs(30)
        }
    );
    let refusal = host.refusal(Hook::BeforeKill, &json!({})).await.unwrap();
    assert_eq!((&*refusal.module, &*refusal.reason), ("a", "a refuses"));
    assert_eq!(host.refusal(Hook::BeforeRestart, &json!({})).await, None);
    assert!(!host.restart_check(&json!({})).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_in_order_state_timers_and_commands() {
    let mut bench = Bench::new();
    bench.state.insert("seen".to_owned(), "[0]".to_owned());
    bench
        .environment
        .insert("GREETING".to_owned(), "hello".to_owned());
    let module = bench
        .body(
            "notes",
            "const seen = gantry.state.get('seen');
             gantry.onStatus(async event => {
               await new Promise(resolve => setTimeout(resolve, event.number % 2));
               seen.push(event.number);
               if (seen.length === 11) {
                 await gantry.state.set('seen', seen);
                 try { await gantry.restart('unknown') } catch (error) { console.warn(error.message, {a: 1}) }
                 await gantry.scale('web', 3);
                 console.log(gantry.env.GREETING, gantry.framework.name, gantry.tasks('web').length);
               }
             });
             const id = gantry.every(10, () => { clearInterval(id); console.log('once') });
             gantry.route('GET', '/', () => ({json: gantry.state.get('seen')}))",
        )
        .await;
    bench.world.tasks.lock().unwrap().extend([
        json!({"type": "web", "ports": []}),
        json!({"type": "db", "ports": []}),
    ]);
    for number in 1..=10 {
        module.tell(format!("{{\"number\":{number}}}").into());
    }
    until("the last line", || bench.world.said("notes: hello test 1")).await;
    assert!(
        bench
            .world
            .said("notes: there is no live task `unknown` {\"a\":1}")
    );
    let requests = bench.world.requests.lock().unwrap().clone();
    let seen: Vec<_> = (0..=10).collect();
    assert_eq!(
        requests[0],
        Request::Store {
            key: "seen".to_owned(),
            value: Some(serde_json::to_string(&seen).unwrap())
        }
    );
    assert_eq!(
        requests[2],
        Request::Scale {
            workload: "web".to_owned(),
            instances: 3
        }
    );
    until("the timer", || bench.world.said("notes: once")).await;
    let once = |lines: &Vec<(_, String)>| {
        lines
            .iter()
            .filter(|(_, line)| line.ends_with("once"))
            .count()
    };
    assert_eq!(once(&bench.world.lines.lock().unwrap()), 1);
    assert_eq!(module.status().events_dropped, 0);
}

/// Answers every request on a port of its own: `/leader` with whether it leads.
async fn task_server(leads: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let length = stream.read(&mut request).await.unwrap();
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            let (head, body) = match request.split_once(' ').unwrap().1 {
                path if path.starts_with("/leader") => ("200 OK", leads.to_owned()),
                path if path.starts_with("/big") => ("200 OK", "x".repeat(2 << 20)),
                path if path.starts_with("/away") => {
                    ("302 Found\r\nLocation: http://127.0.0.1:1/", String::new())
                }
                path if path.starts_with("/never") => {
                    tokio::spawn(async move {
                        let _ = stream.read(&mut [0; 1]).await;
                    });
                    continue;
                }
                _ => ("404 Not Found", String::new()),
            };
            let answer = format!(
                "HTTP/1.1 {head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    port
}

fn task(number: u32, port: u16) -> Value {
    json!({"id": format!("web-{number}"), "type": "web", "number": number, "state": "TASK_RUNNING",
           "host": "localhost", "ip": "127.0.0.1", "ports": [port]})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn polls_tasks_and_fetches_only_what_is_allowed() {
    let mut bench = Bench::new();
    bench.allow = "tasks";
    let ports = [task_server("true").await, task_server("false").await];
    let unlisted = task_server("true").await;
    let tasks = vec![task(1, ports[0]), task(2, ports[1])];
    bench.world.tasks.lock().unwrap().clone_from(&tasks);
    let module = bench
        .body(
            "leader",
            "gantry.poll({types: ['web'], path: '/leader', every: 20, sets: 'leader', body: (task, text) => text === 'true'});
             const get = async (url, options) => {
               try { const answer = await fetch(url, options); return [answer.status, answer.headers.location, answer.text()] }
               catch (error) { return error.message }
             };
             gantry.route('POST', '/get', async req => ({json: await get(req.json.url, {timeout: req.json.timeout})}))",
        )
        .await;
    let said = async || match module
        .ask(Question::Annotate {
            tasks: tasks.clone(),
        })
        .await
    {
        Ok(Answer::Annotations(said)) => [said[0].leader, said[1].leader],
        other => panic!("{other:?}"),
    };
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while said().await != [Some(true), Some(false)] {
        assert!(
            std::time::Instant::now() < deadline,
            "{:?}",
            module.status()
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let get = async |url: String| {
        // Only one of them is never answered.
        let timeout = if url.ends_with("/never") { 300 } else { 10_000 };
        let request = json!({"json": {"url": url, "timeout": timeout}});
        match module.ask(Question::Route { index: 0, request }).await {
            Ok(Answer::Response(response)) => response.body,
            other => panic!("{other:?}"),
        }
    };
    let base = format!("http://127.0.0.1:{}", ports[0]);
    assert_eq!(get(format!("{base}/leader")).await, r#"[200,null,"true"]"#);
    assert_eq!(
        get(format!("{base}/away")).await,
        r#"[302,"http://127.0.0.1:1/",""]"#
    );
    assert!(
        get(format!("{base}/big"))
            .await
            .contains("more than 1048576")
    );
    assert!(get(format!("{base}/never")).await.contains("within 300 ms"));
    assert!(
        get(format!("http://127.0.0.1:{unlisted}/leader"))
            .await
            .contains("is not in MODULE_FETCH_ALLOW")
    );
    assert!(is_running(&module));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_requests_do_not_stop_a_module() {
    let bench = Bench::new();
    let module = bench
        .body("routes", "gantry.route('POST', '/x', req => ({json: req.json.a.b})); gantry.restartCheck(() => true)")
        .await;
    for _ in 0..20 {
        let request = json!({});
        assert!(
            module
                .ask(Question::Route { index: 0, request })
                .await
                .is_err()
        );
    }
    assert_eq!(
        ask(&module, Hook::RestartCheck).await,
        Ok(Answer::Ready(true))
    );
    let status = module.status();
    assert_eq!(status.failures, 20);
    assert!(status.last_failure.unwrap().contains("index.js:1"));
    let late = bench.body("late", "setTimeout(() => gantry.script('x.js'), 0); gantry.onStatus(() => gantry.menu('a', 'b'))").await;
    for _ in 0..6 {
        late.tell("{}".into());
    }
    until("the end", || !is_running(&late)).await;
    assert!(error(&late).contains("only while it is loaded"));
}

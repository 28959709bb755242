//! The modules that come with Gantry, as they are.

use std::{
    path::Path,
    sync::{Arc, Mutex, atomic::AtomicBool},
    time::Duration,
};

use gantry_modules::{Answer, Hook, Module, Question, Request};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpListener,
};

use crate::support::{Bench, is_running, until};

/// The example of this name.
async fn example(bench: &Bench, name: &str) -> Module {
    let modules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../modules");
    let module = Module::start(bench.setup(name, modules.join(format!("{name}-module"))));
    module.loaded().await;
    assert!(is_running(&module), "{:?}", module.status());
    module
}

async fn hook(module: &Module, hook: Hook, argument: Value) -> Answer {
    let answer = module.ask(Question::Hook { hook, argument }).await;
    answer.expect("it has an opinion")
}

/// A server that gives each request's body to `answer`, which says the status and the body.
async fn serve(answer: impl Fn(&str) -> (u16, String) + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let answer = Arc::clone(&answer);
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream);
                let mut length = 0;
                loop {
                    let mut line = String::new();
                    stream.read_line(&mut line).await.unwrap();
                    let lower = line.to_ascii_lowercase();
                    if let Some(value) = lower.strip_prefix("content-length:") {
                        length = value.trim().parse().unwrap();
                    }
                    if line.trim().is_empty() {
                        break;
                    }
                }
                let mut body = vec![0; length];
                stream.read_exact(&mut body).await.unwrap();
                let (status, body) = answer(std::str::from_utf8(&body).unwrap());
                let head = format!(
                    "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    body.len()
                );
                let text = head + &body;
                let _ = stream.into_inner().write_all(text.as_bytes()).await;
            });
        }
    });
    port
}

fn member(number: u32, port: u16, restarting: bool) -> Value {
    json!({
        "id": format!("fw.consul-{number}.uuid"), "type": "consul", "number": number,
        "instance": format!("consul-{number}"), "state": "TASK_RUNNING", "host": "localhost",
        "ip": format!("127.0.0.{number}"), "ports": [port], "restarting": restarting,
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leader_finds_the_leader_and_guards_it() {
    let mut bench = Bench::new();
    bench.allow = "tasks";
    for (name, value) in [("TYPES", "consul"), ("EVERY", "0.02")] {
        bench.environment.insert(name.to_owned(), value.to_owned());
    }
    let leader = Arc::new(Mutex::new("\"\"".to_owned()));
    let said = Arc::clone(&leader);
    // Members on different addresses of the loopback network share a port here.
    let listener = serve(move |_| (200, said.lock().unwrap().clone())).await;
    let members = |restarting| vec![member(1, listener, restarting), member(2, listener, false)];
    let only_first = vec![member(1, listener, false)];
    bench.world.tasks.lock().unwrap().clone_from(&only_first);
    let module = example(&bench, "leader").await;

    // Nobody leads: no restarts.
    let restart =
        |number: u32| json!({"task": format!("fw.consul-{number}.uuid"), "type": "consul"});
    let refusal = hook(&module, Hook::BeforeRestart, restart(1)).await;
    assert!(matches!(refusal, Answer::Refused(reason) if reason.contains("no leader of consul")));
    let rolling = hook(&module, Hook::BeforeRollingRestart, json!({"type": null})).await;
    assert!(matches!(rolling, Answer::Refused(_)));
    let other = hook(
        &module,
        Hook::BeforeRestart,
        json!({"task": "x", "type": "web"}),
    )
    .await;
    assert_eq!(other, Answer::None);

    // The first leads, as everybody says: it is shown, and goes last.
    *leader.lock().unwrap() = "\"127.0.0.1:8300\"".to_owned();
    until("the leader", || bench.world.said("consul-1 leads now")).await;
    bench
        .world
        .tasks
        .lock()
        .unwrap()
        .clone_from(&members(false));
    assert_eq!(
        hook(&module, Hook::BeforeRestart, restart(1)).await,
        Answer::None
    );
    let tasks = members(false);
    let Ok(Answer::Annotations(said)) = module.ask(Question::Annotate { tasks }).await else {
        panic!("{:?}", module.status());
    };
    assert_eq!(said[0].leader, Some(true));
    let ready = hook(&module, Hook::RestartCheck, member(1, listener, false)).await;
    assert_eq!(ready, Answer::Ready(true));
    bench.world.tasks.lock().unwrap()[1]["restarting"] = json!(true);
    let refusal = hook(&module, Hook::BeforeRestart, restart(1)).await;
    assert!(matches!(refusal, Answer::Refused(reason) if reason.contains("it goes last")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn webhook_sends_in_batches_again_and_after_a_restart() {
    let mut bench = Bench::new();
    bench.allow = "127.0.0.1";
    let taken: Arc<Mutex<Vec<Value>>> = Arc::default();
    let open = Arc::new(AtomicBool::new(false));
    let (list, is_open) = (Arc::clone(&taken), Arc::clone(&open));
    let port = serve(move |body| {
        if !is_open.load(std::sync::atomic::Ordering::Relaxed) {
            return (503, String::new());
        }
        list.lock()
            .unwrap()
            .push(serde_json::from_str(body).unwrap());
        (200, String::new())
    })
    .await;
    let url = format!("http://127.0.0.1:{port}/hook");
    for (name, value) in [("URL", &*url), ("EVERY", "0.02"), ("TOKEN", "secret")] {
        bench.environment.insert(name.to_owned(), value.to_owned());
    }
    let module = example(&bench, "webhook").await;
    for id in 0..25 {
        let state = if id % 5 == 4 {
            "TASK_RUNNING"
        } else {
            "TASK_FAILED"
        };
        let event = json!({"id": id, "at": 1, "task": format!("t{id}"), "type": "web",
                           "instance": "web-1", "state": state, "message": "x".repeat(1000)});
        module.tell(event.to_string().into());
    }
    let kept = |bench: &Bench| {
        let mut kept = std::collections::BTreeMap::new();
        for request in &*bench.world.requests.lock().unwrap() {
            if let Request::Store { key, value } = request {
                match value {
                    Some(value) => kept.insert(key.clone(), value.clone()),
                    None => kept.remove(key),
                };
            }
        }
        kept
    };
    until("a refused batch", || bench.world.said("webhook: not sent")).await;
    until("all of them kept", || {
        let kept = kept(&bench);
        kept.values().any(|value| value.contains("\"id\":23"))
    })
    .await;

    // It goes, with the program; what was not sent is in what it has kept.
    drop(module);
    bench.state = kept(&bench);
    assert_eq!(
        bench
            .state
            .keys()
            .filter(|key| key.starts_with("batch-"))
            .count(),
        2
    );
    open.store(true, std::sync::atomic::Ordering::Relaxed);
    let module = example(&bench, "webhook").await;
    until("both batches", || taken.lock().unwrap().len() == 2).await;
    let ids: Vec<_> = {
        let taken = taken.lock().unwrap();
        let changes = taken
            .iter()
            .flat_map(|body| body["changes"].as_array().unwrap());
        changes
            .map(|change| change["id"].as_u64().unwrap())
            .collect()
    };
    let wanted: Vec<_> = (0..25).filter(|id| id % 5 != 4).collect();
    assert_eq!(ids, wanted);
    // What is sent is forgotten.
    until("an empty store", || {
        kept(&bench).keys().all(|key| key == "sums")
    })
    .await;
    assert!(kept(&bench)["sums"].contains("\"sent\":20"));
    assert!(!bench.world.said("secret"));
    tokio::time::timeout(Duration::from_secs(5), async { drop(module) })
        .await
        .unwrap();
}

//! Replays recordings of a real master against this one.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use serde_json::{Value, json};
use support::{Events, Framework, World, framework_info, http, recorded_agents, recording};

/// Exchanges parts of texts: ids of the recording for ours, and back.
struct Names(Vec<(String, String)>);

impl Names {
    fn to_ours(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (theirs, ours)| {
            text.replace(theirs, ours)
        })
    }
    fn to_theirs(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (theirs, ours)| {
            text.replace(ours, theirs)
        })
    }
}

async fn replay(world: &World, request: &Value, names: &Names) -> reqwest::Response {
    let method =
        reqwest::Method::from_bytes(request["method"].as_str().unwrap().as_bytes()).unwrap();
    let url = format!(
        "http://{}{}",
        world.master(),
        request["path"].as_str().unwrap()
    );
    let mut builder = http().request(method, url);
    for (name, value) in request["headers"].as_object().unwrap() {
        if name != "Transfer-Encoding" && name != "Connection" {
            builder = builder.header(name, names.to_ours(value.as_str().unwrap()));
        }
    }
    let body = match (&request["bytes"], &request["body"]) {
        (Value::String(bytes), _) => base64::engine::general_purpose::STANDARD
            .decode(bytes)
            .unwrap(),
        (_, Value::Null) => Vec::new(),
        (_, Value::String(text)) => names.to_ours(text).into_bytes(),
        (_, body) => names.to_ours(&body.to_string()).into_bytes(),
    };
    builder.body(body).send().await.unwrap()
}

/// Requests of the recording that ask for what this cluster does not have.
const NOT_OURS: [&str; 4] = [
    // RE2 is not built in, so patterns are not compiled.
    "offer constraints with a bad regex",
    "offer constraints that match nothing",
    // The body was not recorded.
    "malformed protobuf",
    "gzip request body",
];

#[tokio::test]
async fn every_error_of_the_scheduler_api_is_answered_as_recorded() {
    let world = World::simulated(recorded_agents(), |_| ()).await;
    let lines = recording("06-errors-scheduler-http.jsonl");
    let mut names = Names(Vec::new());
    let (mut note, mut compared) = (String::new(), 0);
    let mut subscription = None;
    for (i, line) in lines.iter().enumerate() {
        if line["dir"] == "note" {
            line["note"].as_str().unwrap().clone_into(&mut note);
            if note.starts_with("pipelining") {
                break;
            }
        }
        if line["dir"] != "request" || NOT_OURS.iter().any(|n| note.starts_with(n)) {
            continue;
        }
        let own = |l: &&Value| l["conn"] == line["conn"];
        let Some(head) = lines[i..]
            .iter()
            .filter(own)
            .find(|l| l["dir"] == "response-head")
        else {
            continue;
        };
        let Some(status) = head["status"].as_u64() else {
            continue;
        };
        let event = lines[i..].iter().filter(own).find(|l| l["dir"] == "event");
        let answer = replay(&world, line, &names).await;
        assert_eq!(u64::from(answer.status().as_u16()), status, "{note}");
        compared += 1;
        if note == "GET /redirect" {
            let location = answer.headers()["location"].to_str().unwrap();
            assert_eq!(location, format!("//{}", world.master()));
        }
        let Some(event) = event else {
            assert_eq!(
                answer.headers().get("allow").map(|v| v.to_str().unwrap()),
                head["headers"]["Allow"].as_str(),
                "{note}"
            );
            let expected = head["body"].as_str().unwrap_or_default();
            if !expected.is_empty() {
                let kind = answer.headers()["content-type"].to_str().unwrap();
                assert_eq!(kind, "text/plain; charset=utf-8", "{note}");
                let body = answer.text().await.unwrap();
                assert_eq!(names.to_theirs(&body), expected, "{note}");
            }
            continue;
        };
        let kind = answer.headers()["content-type"]
            .to_str()
            .unwrap()
            .to_owned();
        assert_eq!(
            kind,
            head["headers"]["Content-Type"].as_str().unwrap(),
            "{note}"
        );
        let stream_id = answer.headers()["mesos-stream-id"]
            .to_str()
            .unwrap()
            .to_owned();
        let mut events = Events::new(answer);
        let first = events.next().await.unwrap();
        let expected = &event["body"];
        assert_eq!(first["type"], expected["type"], "{note}: {first}");
        if first["type"] == "ERROR" {
            assert_eq!(first, *expected, "{note}");
            assert!(events.next().await.is_none(), "{note}: the stream goes on");
            continue;
        }
        let id = |event: &Value| {
            event["subscribed"]["framework_id"]["value"]
                .as_str()
                .unwrap()
                .to_owned()
        };
        if note.starts_with("--- calls of a subscribed framework") {
            let recorded = head["headers"]["Mesos-Stream-Id"]
                .as_str()
                .unwrap()
                .to_owned();
            names
                .0
                .push((recorded.to_uppercase(), stream_id.to_uppercase()));
            names.0.push((recorded, stream_id));
            names.0.push((id(expected), id(&first)));
            subscription = Some(events);
        }
    }
    assert!(compared > 110, "only {compared} requests were compared");
    let mut subscription = subscription.unwrap();
    let unknown = subscription.next_of("UPDATE_OPERATION_STATUS").await;
    assert_eq!(
        unknown["update_operation_status"]["status"]["state"],
        "OPERATION_UNKNOWN"
    );
    world.cluster.shutdown().await;
}

/// What is compared of a status.
fn essence(status: &Value, names: &Names) -> Value {
    let message = status["message"].as_str().unwrap_or_default();
    let mut message = names.to_theirs(message);
    // What follows depends on the order of an offer's entries, on ids and paths.
    for end in [
        "than available",
        "for container '",
        "executor directory '",
        "ExecutorID.",
        "unknown container",
    ] {
        if let Some(at) = message.find(end) {
            message.truncate(at + end.len());
        }
    }
    json!([
        status["state"],
        status["source"],
        status["reason"],
        status.get("uuid").is_some(),
        message
    ])
}

#[tokio::test]
async fn launches_are_validated_as_recorded() {
    let mut agents = recorded_agents();
    agents.truncate(1);
    let world = World::real(agents, |o| {
        o.allocation_interval = Duration::from_millis(50)
    })
    .await;
    let mut framework = Framework::subscribe(world.master(), framework_info()).await;
    let lines = recording("03-launch-validation.jsonl");
    let first = lines
        .iter()
        .position(|l| l["note"] == "=== task id")
        .unwrap();
    let subscribed = lines
        .iter()
        .find(|l| l["body"]["type"] == "SUBSCRIBED")
        .unwrap();
    let theirs = subscribed["body"]["subscribed"]["framework_id"]["value"]
        .as_str()
        .unwrap();
    let master = |id: &str| id.rsplit_once('-').unwrap().0.to_owned();
    let names = Names(vec![(master(theirs), master(&framework.id))]);
    let interesting = |l: &Value| l["dir"] == "request" && l["body"]["type"] == "ACCEPT";
    let (mut note, mut compared) = (String::new(), 0);
    for (i, line) in lines.iter().enumerate().skip(first) {
        if line["dir"] == "note" {
            line["note"].as_str().unwrap().clone_into(&mut note);
        }
        if line["dir"] == "request" && line["body"]["type"] == "KILL" {
            framework
                .kill(line["body"]["kill"]["task_id"]["value"].as_str().unwrap())
                .await;
            continue;
        }
        if !interesting(line) || note.contains("unacknowledged") {
            continue;
        }
        let operations = &line["body"]["accept"]["operations"];
        let next = lines[i + 1..]
            .iter()
            .position(interesting)
            .map_or(lines.len(), |n| i + 1 + n);
        // What was recorded for the tasks of this call, until the next one.
        let text = operations.to_string();
        let mut expected: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for event in &lines[i..next] {
            let status = &event["body"]["update"]["status"];
            let Some(id) = status["task_id"]["value"].as_str() else {
                continue;
            };
            let quoted = format!("\"task_id\":{}", json!({"value": id}));
            if text.contains(&quoted) {
                expected
                    .entry(id.to_owned())
                    .or_default()
                    .push(essence(status, &names));
            }
        }
        let refused = lines[i..next]
            .iter()
            .find(|l| l["dir"] == "response-head" && l["status"] == 400);
        let offer = framework.offer().await;
        let call = json!({"type": "ACCEPT", "framework_id": {"value": framework.id}, "accept": {
            "offer_ids": [offer["id"]], "filters": {"refuse_seconds": 0.0},
            "operations": serde_json::from_str::<Value>(&names.to_ours(&text)).unwrap()}});
        let answer = framework
            .http
            .post(format!("http://{}/api/v1/scheduler", framework.master))
            .header("Content-Type", "application/json")
            .header("Mesos-Stream-Id", &framework.stream_id)
            .body(call.to_string())
            .send()
            .await
            .unwrap();
        compared += 1;
        if let Some(refused) = refused {
            assert_eq!(answer.status(), 400, "{note}");
            assert_eq!(
                answer.text().await.unwrap(),
                refused["body"].as_str().unwrap(),
                "{note}"
            );
            let decline = json!({"type": "DECLINE", "decline": {
                "offer_ids": [offer["id"]], "filters": {"refuse_seconds": 0.0}}});
            framework.call(decline).await;
            continue;
        }
        assert_eq!(answer.status(), 202, "{note}");
        let mut found: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        let complete = |found: &BTreeMap<String, Vec<Value>>| {
            expected
                .iter()
                .all(|(id, all)| found.get(id).is_some_and(|f| f.len() >= all.len()))
        };
        while !complete(&found) {
            let update = tokio::time::timeout(support::PATIENCE, framework.update()).await;
            let status = update.unwrap_or_else(|_| panic!("{note}: {expected:?} but {found:?}"));
            let id = status["task_id"]["value"].as_str().unwrap().to_owned();
            if expected.contains_key(&id) {
                found.entry(id).or_default().push(essence(&status, &names));
            }
        }
        for (id, expected) in &expected {
            assert_eq!(found[id][..expected.len()], expected[..], "{note}: {id}");
        }
    }
    assert!(compared > 130, "only {compared} launches were compared");
    world.cluster.shutdown().await;
}

/// What agents answer about files and containers, with the tasks of the recording.
#[tokio::test]
async fn agents_show_files_and_containers_as_recorded() {
    let world = World::real(recorded_agents(), |_| ()).await;
    let lines = recording("13-operator-api.jsonl");
    let mut framework = Framework::subscribe(world.master(), framework_info()).await;
    let launched = lines
        .iter()
        .find(|l| l["body"]["type"] == "ACCEPT")
        .unwrap();
    let operation = &launched["body"]["accept"]["operations"][0];
    let mut tasks = operation["launch"]["task_infos"]
        .as_array()
        .unwrap()
        .clone();
    for task in &mut tasks {
        task.as_object_mut().unwrap().remove("agent_id");
    }
    let offer = framework.launch(tasks).await;
    let recorded_id = launched["body"]["framework_id"]["value"].as_str().unwrap();
    let names = Names(vec![(recorded_id.to_owned(), framework.id.clone())]);
    let address = &offer["url"]["address"];
    let agent = format!("{}:{}", address["ip"].as_str().unwrap(), address["port"]);
    let sandbox = |task: &str| format!("/frameworks/{}/executors/{task}/runs/latest", framework.id);
    let zeros = format!("http://{agent}/files/browse?path={}", sandbox("run"));
    support::eventually("the last file, and the end of the other task", async || {
        let files = http()
            .get(&zeros)
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        let files: Value = serde_json::from_str(&files).unwrap_or_default();
        let all = files.as_array().cloned().unwrap_or_default();
        all.iter().any(|file| file["size"] == 100_000)
    })
    .await;

    let (mut compared, mut bytes) = (0, 0);
    for (i, line) in lines.iter().enumerate() {
        let is_v1 = matches!(
            line["body"]["type"].as_str(),
            Some("LIST_FILES" | "READ_FILE")
        );
        let path = line["path"].as_str().unwrap_or_default();
        let not_ours = ["/SANDBOX_ROOT", "/executors/pod/", "/files/debug", "jsonp="];
        // The master listens at another port.
        if line["dir"] != "request"
            || line["port"] != 35071
            || !(is_v1 || path.starts_with("/files/"))
            || not_ours.iter().any(|part| path.contains(part))
        {
            continue;
        }
        let head = lines[i..]
            .iter()
            .find(|l| l["conn"] == line["conn"] && l["dir"] == "response-head")
            .unwrap();
        let url = format!("http://{agent}{}", names.to_ours(path));
        let request = if is_v1 {
            http()
                .post(url)
                .header("Content-Type", "application/json")
                .header("Accept", "application/json")
                .body(names.to_ours(&line["body"].to_string()))
        } else {
            http().get(url)
        };
        let answer = request.send().await.unwrap();
        compared += 1;
        let about = format!("{path} {}", line["body"]);
        assert_eq!(answer.status().as_u16(), head["status"], "{about}");
        let body = answer.bytes().await.unwrap();
        if let Some(raw) = head["body"]["base64"].as_str() {
            let raw = base64::engine::general_purpose::STANDARD
                .decode(raw)
                .unwrap();
            assert_eq!(*body, *raw, "{about}");
            bytes += 1;
            continue;
        }
        let text = names.to_theirs(str::from_utf8(&body).unwrap());
        // What the executor of a real agent writes itself is not ours to imitate.
        let beginning = |text: &str| text.split('\u{2026}').next().unwrap_or_default().to_owned();
        match &head["body"] {
            Value::Null => assert_eq!(text, "", "{about}"),
            Value::String(expected) if path.contains("zeros.bin") => {
                assert_eq!(format!("{} bytes", body.len()), *expected);
            }
            Value::String(expected) => {
                assert!(text.starts_with(&beginning(expected)), "{about}: {text}")
            }
            expected => {
                let ours: Value = serde_json::from_str(&text).unwrap();
                compare(&ours, expected, &about, &beginning);
            }
        }
    }
    assert!(compared > 25 && bytes == 1, "{compared} {bytes}");

    let question = json!({"type": "GET_CONTAINERS"});
    let answer = http()
        .post(format!("http://{agent}/api/v1"))
        .header("Content-Type", "application/json")
        .header("Accept", "application/json")
        .body(question.to_string())
        .send()
        .await
        .unwrap();
    let ours: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    let recorded = lines
        .iter()
        .find(|l| l["body"]["type"] == "GET_CONTAINERS" && l["dir"] == "response-head");
    let container = |all: &Value| {
        let all = all["get_containers"]["containers"].as_array().unwrap();
        all.iter()
            .find(|one| one["executor_id"]["value"] == "run")
            .unwrap()
            .clone()
    };
    let (ours, recorded) = (container(&ours), container(&recorded.unwrap()["body"]));
    let shape = |value: &Value| {
        value
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(shape(&ours), shape(&recorded));
    let statistics = "resource_statistics";
    assert_eq!(shape(&ours[statistics]), shape(&recorded[statistics]));
    for same in ["cpus_soft_limit", "mem_limit_bytes", "mem_soft_limit_bytes"] {
        assert_eq!(
            ours[statistics][same].as_f64(),
            recorded[statistics][same].as_f64(),
            "{same}"
        );
    }
    assert_eq!(ours["executor_name"], recorded["executor_name"]);
    world.cluster.shutdown().await;
}

/// Compares values of one shape; times, and the sizes of what executors write, may differ.
fn compare(ours: &Value, expected: &Value, about: &str, beginning: &impl Fn(&str) -> String) {
    match (ours, expected) {
        (Value::Object(ours), Value::Object(theirs)) => {
            assert_eq!(
                ours.keys().collect::<Vec<_>>(),
                theirs.keys().collect::<Vec<_>>(),
                "{about}"
            );
            let path = theirs
                .get("path")
                .and_then(Value::as_str)
                .unwrap_or_default();
            for (key, value) in theirs {
                let differs = ["mtime", "nlink"].contains(&key.as_str())
                    || key == "size" && path.ends_with("/stderr");
                if !differs {
                    compare(&ours[key], value, about, beginning);
                }
            }
        }
        (Value::Array(ours), Value::Array(theirs)) => {
            assert_eq!(ours.len(), theirs.len(), "{about}: {ours:?}");
            for (one, other) in ours.iter().zip(theirs) {
                compare(one, other, about, beginning);
            }
        }
        (Value::String(ours), Value::String(theirs)) => {
            assert!(ours.starts_with(&beginning(theirs)), "{about}: {ours}");
        }
        _ => assert_eq!(ours, expected, "{about}"),
    }
}

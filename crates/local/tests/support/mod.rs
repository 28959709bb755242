//! A small client of the APIs, in JSON, for the tests.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use gantry_local::{AgentOptions, Cluster, ClusterHandle, ClusterOptions};
use serde_json::{Value, json};

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn recording(name: &str) -> Vec<Value> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/mesos/recordings")
        .join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The two agents of the recordings.
pub(crate) fn recorded_agents() -> Vec<AgentOptions> {
    let mut first = AgentOptions::new("127.0.0.1")
        .ranges("ports", &[(31000, 31999)])
        .scalar("cpus", 1.0)
        .reserved("web")
        .scalar("mem", 512.0)
        .reserved("web")
        .ranges("ports", &[(33000, 33009)])
        .reserved("web");
    let mut zones = gantry_mesos::v1::Resource {
        name: "zones".into(),
        ..Default::default()
    };
    zones.set_type(gantry_mesos::v1::value::Type::Set);
    zones.set = Some(gantry_mesos::v1::value::Set {
        item: vec!["a".into(), "b".into(), "c".into()],
    });
    first.resources.push(zones);
    let first = first
        .scalar("cpus", 4.0)
        .scalar("mem", 4096.0)
        .scalar("disk", 10000.0)
        .attribute("rack", "r1")
        .attribute("zone", "z1");
    let second = AgentOptions::new("127.0.0.1")
        .ranges("ports", &[(31000, 31499)])
        .scalar("cpus", 2.0)
        .scalar("mem", 2048.0)
        .scalar("disk", 5000.0)
        .attribute("rack", "r2")
        .attribute("zone", "z2");
    vec![first, second]
}

/// A cluster and, where it has processes, the directory of their sandboxes.
pub(crate) struct World {
    pub(crate) cluster: ClusterHandle,
    pub(crate) dir: Option<tempfile::TempDir>,
}

impl World {
    pub(crate) async fn real(
        agents: Vec<AgentOptions>,
        change: impl FnOnce(&mut ClusterOptions),
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut options = ClusterOptions::real(dir.path().join("work"), agents);
        change(&mut options);
        Self {
            cluster: Cluster::start(options).await.unwrap(),
            dir: Some(dir),
        }
    }

    pub(crate) async fn simulated(
        agents: Vec<AgentOptions>,
        change: impl FnOnce(&mut ClusterOptions),
    ) -> Self {
        let mut options = ClusterOptions::simulated(agents);
        change(&mut options);
        Self {
            cluster: Cluster::start(options).await.unwrap(),
            dir: None,
        }
    }

    pub(crate) fn master(&self) -> SocketAddr {
        self.cluster.master_address()
    }

    pub(crate) async fn operator(&self, call: Value) -> Value {
        let answer = http()
            .post(format!("http://{}/api/v1", self.master()))
            .header("Content-Type", "application/json")
            .body(call.to_string())
            .send()
            .await
            .unwrap();
        let text = answer.text().await.unwrap();
        serde_json::from_str(&text).unwrap_or(Value::String(text))
    }
}

pub(crate) fn http() -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap()
}

/// A RecordIO stream.
pub(crate) struct Events {
    pub(crate) response: reqwest::Response,
    buffer: Vec<u8>,
    ready: VecDeque<Value>,
    pub(crate) ended: bool,
}

impl Events {
    pub(crate) fn new(response: reqwest::Response) -> Self {
        Self {
            response,
            buffer: Vec::new(),
            ready: VecDeque::new(),
            ended: false,
        }
    }

    fn split(&mut self) {
        while let Some(end) = self.buffer.iter().position(|b| *b == b'\n') {
            let length: usize = std::str::from_utf8(&self.buffer[..end])
                .unwrap()
                .parse()
                .unwrap();
            if self.buffer.len() < end + 1 + length {
                return;
            }
            let record: Vec<u8> = self
                .buffer
                .drain(..end + 1 + length)
                .skip(end + 1)
                .collect();
            self.ready
                .push_back(serde_json::from_slice(&record).unwrap());
        }
    }

    /// The next record; `None` at the end of the stream.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match tokio::time::timeout(left, self.response.chunk())
                .await
                .expect("no event came")
            {
                Ok(Some(chunk)) => {
                    self.buffer.extend_from_slice(&chunk);
                    self.split();
                }
                Ok(None) | Err(_) => {
                    self.ended = true;
                    return None;
                }
            }
        }
    }

    /// The next record of a type; others are passed over.
    pub(crate) async fn next_of(&mut self, kind: &str) -> Value {
        loop {
            let event = self
                .next()
                .await
                .unwrap_or_else(|| panic!("the stream ended before {kind}"));
            if event["type"] == kind {
                return event;
            }
        }
    }

    /// Whether nothing but heartbeats comes for a while.
    pub(crate) async fn quiet_for(&mut self, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        loop {
            while let Some(event) = self.ready.pop_front() {
                if event["type"] != "HEARTBEAT" {
                    self.ready.push_front(event);
                    return false;
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match tokio::time::timeout(left, self.response.chunk()).await {
                Err(_) => return true,
                Ok(Ok(Some(chunk))) => {
                    self.buffer.extend_from_slice(&chunk);
                    self.split();
                }
                Ok(_) => return false,
            }
        }
    }
}

/// A framework.
pub(crate) struct Framework {
    pub(crate) master: SocketAddr,
    pub(crate) http: reqwest::Client,
    pub(crate) events: Events,
    pub(crate) id: String,
    pub(crate) stream_id: String,
    /// Offers that came while something else was waited for.
    pub(crate) offers: VecDeque<Value>,
}

pub(crate) fn framework_info() -> Value {
    json!({
        "user": "root", "name": "test", "roles": ["web"], "failover_timeout": 3600.0, "checkpoint": true,
        "capabilities": [{"type": "MULTI_ROLE"}, {"type": "PARTITION_AWARE"},
            {"type": "RESERVATION_REFINEMENT"}, {"type": "TASK_KILLING_STATE"}],
    })
}

pub(crate) async fn open(master: SocketAddr, call: &Value) -> reqwest::Response {
    http()
        .post(format!("http://{master}/api/v1/scheduler"))
        .header("Content-Type", "application/json")
        .header("Accept", "application/json")
        .body(call.to_string())
        .send()
        .await
        .unwrap()
}

impl Framework {
    pub(crate) async fn subscribe(master: SocketAddr, info: Value) -> Self {
        let mut call = json!({"type": "SUBSCRIBE", "subscribe": {"framework_info": info}});
        if let Some(id) = info.get("id") {
            call["framework_id"] = id.clone();
        }
        let response = open(master, &call).await;
        assert_eq!(response.status(), 200);
        let stream_id = response.headers()["mesos-stream-id"]
            .to_str()
            .unwrap()
            .to_owned();
        let mut events = Events::new(response);
        let first = events.next().await.unwrap();
        assert_eq!(first["type"], "SUBSCRIBED", "{first}");
        let id = first["subscribed"]["framework_id"]["value"]
            .as_str()
            .unwrap()
            .to_owned();
        Self {
            master,
            http: http(),
            events,
            id,
            stream_id,
            offers: VecDeque::new(),
        }
    }

    pub(crate) async fn call(&self, mut call: Value) -> u16 {
        call["framework_id"] = json!({"value": self.id});
        let answer = self
            .http
            .post(format!("http://{}/api/v1/scheduler", self.master))
            .header("Content-Type", "application/json")
            .header("Mesos-Stream-Id", &self.stream_id)
            .body(call.to_string())
            .send()
            .await
            .unwrap();
        answer.status().as_u16()
    }

    /// The next offer.
    pub(crate) async fn offer(&mut self) -> Value {
        while self.offers.is_empty() {
            let event = self.events.next_of("OFFERS").await;
            self.offers.extend(
                event["offers"]["offers"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .cloned(),
            );
        }
        self.offers.pop_front().unwrap()
    }

    pub(crate) async fn launch(&mut self, tasks: Vec<Value>) -> Value {
        let offer = self.offer().await;
        self.launch_on(&offer, tasks).await;
        offer
    }

    pub(crate) async fn launch_on(&self, offer: &Value, mut tasks: Vec<Value>) {
        for task in &mut tasks {
            if task.get("agent_id").is_none() {
                task["agent_id"] = offer["agent_id"].clone();
            }
        }
        let operations = json!([{"type": "LAUNCH", "launch": {"task_infos": tasks}}]);
        self.accept(offer, operations).await;
    }

    pub(crate) async fn accept(&self, offer: &Value, operations: Value) {
        let call = json!({"type": "ACCEPT", "accept": {
            "offer_ids": [offer["id"]], "operations": operations, "filters": {"refuse_seconds": 0.0}}});
        assert_eq!(self.call(call).await, 202);
    }

    /// The next update, acknowledged.
    pub(crate) async fn update(&mut self) -> Value {
        let status = self.update_unacknowledged().await;
        self.acknowledge(&status).await;
        status
    }

    pub(crate) async fn update_unacknowledged(&mut self) -> Value {
        loop {
            let event = self
                .events
                .next()
                .await
                .expect("the stream ended before an update");
            match event["type"].as_str().unwrap() {
                "OFFERS" => {
                    self.offers.extend(
                        event["offers"]["offers"]
                            .as_array()
                            .unwrap()
                            .iter()
                            .cloned(),
                    );
                }
                "UPDATE" => return event["update"]["status"].clone(),
                _ => {}
            }
        }
    }

    pub(crate) async fn acknowledge(&self, status: &Value) {
        if status.get("uuid").is_some() {
            let call = json!({"type": "ACKNOWLEDGE", "acknowledge": {
                "agent_id": status["agent_id"], "task_id": status["task_id"], "uuid": status["uuid"]}});
            assert_eq!(self.call(call).await, 202);
        }
    }

    /// Acknowledges updates until a task is in a state; that update.
    pub(crate) async fn until(&mut self, task: &str, state: &str) -> Value {
        loop {
            let status = self.update().await;
            if status["task_id"]["value"] == task && status["state"] == state {
                return status;
            }
        }
    }

    pub(crate) async fn kill(&self, task: &str) {
        let call = json!({"type": "KILL", "kill": {"task_id": {"value": task}}});
        assert_eq!(self.call(call).await, 202);
    }
}

pub(crate) fn small() -> Value {
    json!([
        {"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.1}},
        {"name": "mem", "type": "SCALAR", "scalar": {"value": 32}},
    ])
}

pub(crate) fn task(id: &str, command: &str) -> Value {
    json!({"name": id, "task_id": {"value": id}, "resources": small(), "command": {"value": command}})
}

/// Waits until something holds.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "{what} did not come about");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

//! What the cluster saw, without a gap: every task and every call, in their order.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use gantry_core::TaskId;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use super::site::FRAMEWORK;
use crate::support::Api;

/// Between two questions who leads, and who called.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// A Gantry that needs longer to say who leads is not a leader that acts.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Lines of what happened that are kept.
const STORY_LINES: usize = 4_000;

/// A slot of a workload.
type Instance = (String, u32);

/// A call of a scheduler, as the cluster answered it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Call {
    pub(super) number: u64,
    /// Unix time in milliseconds.
    pub(super) at: u64,
    pub(super) call: String,
    pub(super) framework: Option<String>,
    pub(super) stream: Option<String>,
    pub(super) webui_url: Option<String>,
    pub(super) status: u16,
}

struct Live {
    instance: Instance,
    state: String,
}

/// A task that was started beside another of its instance.
struct Double {
    instance: Instance,
    first: String,
    second: String,
}

/// What was seen since the start.
struct Seen {
    began: Instant,
    live: BTreeMap<String, Live>,
    /// Second tasks that were started beside a first, which may have been asked for: the answer may
    /// come later than the task.
    doubles: Vec<Double>,
    /// Requests for other tasks of a workload that have no answer yet.
    asking: BTreeMap<&'static str, u32>,
    /// Tasks that somebody wanted replaced, and was not refused.
    to_go: BTreeSet<String>,
    /// How often another task may be started in an instance, whichever it has: once for each time
    /// that somebody asked for it and nobody knows when it is done.
    replacements: BTreeMap<Instance, u32>,
    /// The most instances that anybody has asked for since everything was at rest.
    wanted_most: BTreeMap<String, u32>,
    launched: u64,
    doubled: u64,
    calls: Vec<Call>,
    leader: Option<(usize, u64)>,
    without_leader: Gap,
    /// Which Gantry led in which term.
    terms: BTreeMap<u64, usize>,
    violations: Vec<String>,
    story: Vec<String>,
}

/// How long something was missing.
#[derive(Debug)]
pub(super) struct Gap {
    since: Option<Instant>,
    longest: Duration,
}

impl Gap {
    fn new() -> Self {
        Self {
            since: Some(Instant::now()),
            longest: Duration::ZERO,
        }
    }

    fn see(&mut self, there: bool) {
        match (there, self.since) {
            (false, None) => self.since = Some(Instant::now()),
            (_, Some(since)) => {
                self.longest = self.longest.max(since.elapsed());
                if there {
                    self.since = None;
                }
            }
            (true, None) => {}
        }
    }

    /// The longest since this was last asked.
    fn take(&mut self) -> Duration {
        std::mem::take(&mut self.longest)
    }
}

impl Seen {
    fn tell(&mut self, what: impl AsRef<str>) {
        let line = format!(
            "{:8.3} {}",
            self.began.elapsed().as_secs_f64(),
            what.as_ref()
        );
        if self.story.len() >= STORY_LINES {
            self.story.remove(0);
        }
        self.story.push(line);
    }

    fn wrong(&mut self, what: String) {
        self.tell(format!("WRONG: {what}"));
        self.violations.push(what);
    }

    fn added(&mut self, task: &Value) {
        let id = task["task_id"]["value"].as_str().unwrap().to_owned();
        let state = task["state"].as_str().unwrap_or("TASK_STAGING").to_owned();
        self.launched += 1;
        self.tell(format!("launched {id}"));
        let task_id = TaskId::new(id.as_str());
        let Some(parts) = task_id.parts(FRAMEWORK) else {
            self.wrong(format!("a task that is not of Gantry's making: {id}"));
            return;
        };
        let instance = (parts.workload.to_owned(), parts.number);
        let most = self.wanted_most.get(&instance.0).copied().unwrap_or(0);
        if instance.1 > most {
            self.wrong(format!(
                "{id} is launched, where at most {most} were wanted"
            ));
        }
        let others: Vec<_> = self
            .live
            .iter()
            .filter(|(_, live)| live.instance == instance)
            .map(|(id, live)| (id.clone(), live.state.clone()))
            .collect();
        match &*others {
            [] => {}
            [(first, _)] => {
                self.doubled += 1;
                self.doubles.push(Double {
                    instance: instance.clone(),
                    first: first.clone(),
                    second: id.clone(),
                });
            }
            // Never a third, not even while one is going.
            several => self.wrong(format!("{id} is launched beside {several:?}")),
        }
        self.live.insert(id, Live { instance, state });
    }

    /// Every second task was asked for.
    fn judge_doubles(&mut self) {
        for double in std::mem::take(&mut self.doubles) {
            // Whether it was asked for is told by an answer that is on its way.
            if self
                .asking
                .get(&*double.instance.0)
                .is_some_and(|open| *open > 0)
            {
                self.doubles.push(double);
                continue;
            }
            if self.to_go.contains(&double.first) {
                continue;
            }
            let left = self.replacements.entry(double.instance).or_default();
            if *left == 0 {
                let Double { first, second, .. } = double;
                self.wrong(format!(
                    "{second} is launched beside {first}, which nobody asked for"
                ));
            } else {
                *left -= 1;
            }
        }
    }

    fn updated(&mut self, event: &Value) {
        let status = &event["status"];
        let id = status["task_id"]["value"].as_str().unwrap();
        let state = event["state"]
            .as_str()
            .or_else(|| status["state"].as_str())
            .unwrap();
        self.tell(format!("{state} {id}"));
        let ended = !matches!(
            state,
            "TASK_STAGING" | "TASK_STARTING" | "TASK_RUNNING" | "TASK_KILLING" | "TASK_UNREACHABLE"
        );
        if ended {
            self.live.remove(id);
        } else if let Some(live) = self.live.get_mut(id) {
            state.clone_into(&mut live.state);
        }
    }
}

/// Watches until it is dropped.
pub(super) struct Watch {
    seen: Arc<Mutex<Seen>>,
    _watching: JoinSet<()>,
}

impl Watch {
    /// Watches the cluster at `master`, and who of `gantries` leads.
    pub(super) async fn start(master: &str, gantries: Vec<Api>) -> Self {
        let seen = Arc::new(Mutex::new(Seen {
            began: Instant::now(),
            live: BTreeMap::new(),
            doubles: Vec::new(),
            asking: BTreeMap::new(),
            to_go: BTreeSet::new(),
            replacements: BTreeMap::new(),
            wanted_most: BTreeMap::new(),
            launched: 0,
            doubled: 0,
            calls: Vec::new(),
            leader: None,
            without_leader: Gap::new(),
            terms: BTreeMap::new(),
            violations: Vec::new(),
            story: Vec::new(),
        }));
        let mut watching = JoinSet::new();
        let events = subscribe(master).await;
        watching.spawn(follow(events, Arc::clone(&seen)));
        watching.spawn(ask_calls(Api::at(master), Arc::clone(&seen)));
        watching.spawn(ask_leader(gantries, Arc::clone(&seen)));
        Self {
            seen,
            _watching: watching,
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing has happened that must not.
    pub(super) fn check(&self) {
        self.seen().judge_doubles();
        let violations = self.seen().violations.clone();
        assert!(violations.is_empty(), "{violations:#?}");
    }

    /// What happened last, for whoever has to find out why.
    pub(super) fn story(&self) -> String {
        let seen = self.seen();
        let mut story = String::from("=== what happened last ===\n");
        for line in &seen.story {
            let _ = writeln!(story, "{line}");
        }
        story
    }

    /// A line for the story.
    pub(super) fn tell(&self, what: impl AsRef<str>) {
        self.seen().tell(what);
    }

    /// Something that must not be.
    pub(super) fn wrong(&self, what: String) {
        self.seen().wrong(what);
    }

    /// Somebody asks for so many instances.
    pub(super) fn may_run(&self, workload: &str, count: u32) {
        let mut seen = self.seen();
        let most = seen.wanted_most.entry(workload.to_owned()).or_default();
        *most = count.max(*most);
    }

    /// Somebody asks for other tasks of a workload. The value is kept until it has been told which, if any.
    pub(super) fn asking(&self, workload: &'static str) -> Asking {
        *self.seen().asking.entry(workload).or_default() += 1;
        Asking {
            seen: Arc::clone(&self.seen),
            workload,
        }
    }

    /// Somebody has asked for other tasks in place of these, and was not refused.
    pub(super) fn may_go(&self, tasks: impl IntoIterator<Item = String>) {
        self.seen().to_go.extend(tasks);
    }

    /// Somebody asks for another task in these instances.
    pub(super) fn may_replace(&self, instances: impl IntoIterator<Item = Instance>) {
        let mut seen = self.seen();
        for instance in instances {
            *seen.replacements.entry(instance).or_default() += 1;
        }
    }

    /// Everything is at rest: from now on only what is asked for from now on may happen.
    pub(super) fn at_rest(&self) {
        let mut seen = self.seen();
        seen.judge_doubles();
        seen.replacements.clear();
        // What has not been done may still be: nobody knows.
        let Seen { to_go, live, .. } = &mut *seen;
        to_go.retain(|task| live.contains_key(task));
        let mut most = BTreeMap::new();
        for Live { instance, .. } in seen.live.values() {
            let most: &mut u32 = most.entry(instance.0.clone()).or_default();
            *most = instance.1.max(*most);
        }
        seen.wanted_most = most;
    }

    /// The live tasks of a workload, by id.
    pub(super) fn tasks_of(&self, workload: &str) -> BTreeMap<String, u32> {
        let seen = self.seen();
        let live = seen
            .live
            .iter()
            .filter(|(_, live)| live.instance.0 == workload);
        live.map(|(id, live)| (id.clone(), live.instance.1))
            .collect()
    }

    /// Whether some task is on its way to run, or to its end.
    pub(super) fn is_moving(&self) -> bool {
        self.seen()
            .live
            .values()
            .any(|live| live.state != "TASK_RUNNING")
    }

    /// Tasks launched since the start, and how many of them beside another of their instance.
    pub(super) fn launched(&self) -> (u64, u64) {
        let seen = self.seen();
        (seen.launched, seen.doubled)
    }

    /// The task of each instance, by the instance's name, when so many instances of these workloads
    /// run, each once, and nothing else lives.
    pub(super) fn running_exactly(
        &self,
        wanted: &[(&str, u32)],
    ) -> Option<BTreeMap<String, String>> {
        let seen = self.seen();
        let mut running = BTreeMap::new();
        let mut left: BTreeMap<&str, u32> = wanted.iter().copied().collect();
        for (id, live) in &seen.live {
            let (workload, number) = &live.instance;
            let name = format!("{workload}-{number}");
            let once = running.insert(name, id.clone()).is_none();
            if !once || live.state != "TASK_RUNNING" {
                return None;
            }
            let left = left.get_mut(&**workload)?;
            *left = left.checked_sub(1)?;
        }
        left.values().all(|left| *left == 0).then_some(running)
    }

    /// Who leads, as said by itself a moment ago.
    pub(super) fn leader(&self) -> Option<usize> {
        self.seen().leader.map(|(index, _)| index)
    }

    /// The longest time without a leader since this was last asked.
    pub(super) fn longest_without_leader(&self) -> Duration {
        self.seen().without_leader.take()
    }

    /// The calls that the cluster got.
    pub(super) fn calls(&self) -> Vec<Call> {
        self.seen().calls.clone()
    }
}

/// A request for other tasks of a workload, until it is dropped.
pub(super) struct Asking {
    seen: Arc<Mutex<Seen>>,
    workload: &'static str,
}

impl Drop for Asking {
    fn drop(&mut self) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = seen.asking.get_mut(self.workload) {
            *open -= 1;
        }
    }
}

/// The operator's events of the cluster, from now on: it tells all of them, in order.
async fn subscribe(master: &str) -> reqwest::Response {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = client
        .post(format!("http://{master}/api/v1"))
        .header("Accept", "application/json")
        .json(&json!({"type": "SUBSCRIBE"}))
        .send()
        .await
        .unwrap();
    assert!(answer.status().is_success());
    answer
}

async fn follow(mut events: reqwest::Response, seen: Arc<Mutex<Seen>>) {
    let mut buffer = Vec::new();
    while let Ok(Some(chunk)) = events.chunk().await {
        buffer.extend_from_slice(&chunk);
        while let Some(event) = record(&mut buffer) {
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            match event["type"].as_str().unwrap() {
                "TASK_ADDED" => seen.added(&event["task_added"]["task"]),
                "TASK_UPDATED" => seen.updated(&event["task_updated"]),
                _ => {}
            }
        }
    }
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    seen.wrong("the cluster's events ended".to_owned());
}

/// Takes the first record from a RecordIO stream.
fn record(buffer: &mut Vec<u8>) -> Option<Value> {
    let end = buffer.iter().position(|byte| *byte == b'\n')?;
    let length: usize = std::str::from_utf8(&buffer[..end])
        .unwrap()
        .parse()
        .unwrap();
    let record = buffer.get(end + 1..end + 1 + length)?;
    let event = serde_json::from_slice(record).unwrap();
    buffer.drain(..end + 1 + length);
    Some(event)
}

async fn ask_calls(cluster: Api, seen: Arc<Mutex<Seen>>) {
    let mut last = 0;
    loop {
        if let Some((200, text)) = cluster.get(&format!("/local/calls?after={last}")).await {
            let calls: Vec<Call> = serde_json::from_str(&text).unwrap();
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            for call in calls {
                if call.number != last + 1 {
                    seen.wrong(format!("calls {last} to {} were missed", call.number));
                }
                last = call.number;
                if call.call == "SUBSCRIBE" {
                    let by = call.webui_url.as_deref().unwrap_or_default();
                    seen.tell(format!("SUBSCRIBE by {by}"));
                }
                if matches!(&*call.call, "ACCEPT" | "KILL" | "SUBSCRIBE") || call.status >= 400 {
                    seen.calls.push(call);
                }
            }
        }
        sleep(ASK_EVERY).await;
    }
}

async fn ask_leader(gantries: Vec<Api>, seen: Arc<Mutex<Seen>>) {
    loop {
        let asked = gantries.iter().map(|gantry| async {
            let answer = timeout(ANSWER_WITHIN, gantry.get("/api/v2/leader")).await;
            let (_, text) = answer.ok()??;
            let answer: Value = serde_json::from_str(&text).ok()?;
            (answer["role"] == "leader").then(|| answer["epoch"].as_u64())?
        });
        let epochs = join_all(asked).await;
        let leads = epochs
            .into_iter()
            .enumerate()
            .filter_map(|(index, epoch)| Some((index, epoch?)));
        // Of two answers from before and after a change the later term counts.
        let leads: Vec<_> = leads.collect();
        let leader = leads.iter().copied().max_by_key(|(_, epoch)| *epoch);
        {
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            for (index, epoch) in leads {
                let other = *seen.terms.entry(epoch).or_insert(index);
                if other != index {
                    seen.wrong(format!("term {epoch} is of Gantry {other} and of {index}"));
                }
            }
            seen.without_leader.see(leader.is_some());
            if seen.leader != leader {
                seen.leader = leader;
                seen.tell(match leader {
                    Some((index, epoch)) => format!("Gantry {index} leads in term {epoch}"),
                    None => "nobody leads".to_owned(),
                });
            }
        }
        sleep(ASK_EVERY).await;
    }
}

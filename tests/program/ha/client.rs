//! Operators who never rest, ask any of the Gantrys, and remember what they were promised.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use gantry_core::IdGenerator;
use serde_json::{Value, json};
use tokio::{task::JoinSet, time::sleep};

use super::{site::Site, watch::Watch};

/// How long an operator waits for an answer: longer than a stand-by holds what has no leader.
const PATIENCE: Duration = Duration::from_secs(12);

/// Between two commands of one operator.
const PAUSE: Duration = Duration::from_millis(150);

/// Most instances that are asked for.
pub(super) const INSTANCES_MAX: u32 = 8;

/// What is known about what is wanted of one workload.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    /// The count of the last scaling that was acknowledged.
    pub(super) acknowledged: u32,
    /// Counts asked for since the last rest of which nobody knows whether they were taken.
    pub(super) unknown: Vec<u32>,
    /// Tasks whose restart was acknowledged.
    pub(super) restarted: Vec<String>,
    /// Rolling restarts that were acknowledged.
    pub(super) deployments: Vec<u64>,
    /// Instances of a rolling restart that was asked for without a known outcome.
    pub(super) may_restart: Vec<u32>,
}

/// What all operators together were promised.
#[derive(Debug)]
struct Ledger {
    wishes: BTreeMap<&'static str, Wish>,
    acknowledged: u64,
    refused: u64,
    unknown: u64,
    last_acknowledged: Instant,
    longest_without: Duration,
}

/// How an attempt ended.
enum Outcome {
    Acknowledged(Value),
    /// It is certain that nothing has changed.
    Refused,
    Unknown,
}

/// One operator for each workload.
pub(super) struct Operators {
    ledger: Arc<Mutex<Ledger>>,
    bases: Vec<String>,
    client: reqwest::Client,
    seed: u64,
    shifts: u64,
}

/// What was counted.
#[derive(Debug)]
pub(super) struct Counts {
    pub(super) acknowledged: u64,
    pub(super) refused: u64,
    pub(super) unknown: u64,
    /// The longest time in which nobody got what they asked for, in the last shift.
    pub(super) longest_without: Duration,
}

impl Operators {
    /// Operators of these workloads, of which so many instances are declared.
    pub(super) fn new(site: &Site, declared: &[(&'static str, u32)], seed: u64) -> Self {
        let wishes = declared.iter().map(|(name, count)| {
            let wish = Wish {
                acknowledged: *count,
                unknown: Vec::new(),
                restarted: Vec::new(),
                deployments: Vec::new(),
                may_restart: Vec::new(),
            };
            (*name, wish)
        });
        Self {
            ledger: Arc::new(Mutex::new(Ledger {
                wishes: wishes.collect(),
                acknowledged: 0,
                refused: 0,
                unknown: 0,
                last_acknowledged: Instant::now(),
                longest_without: Duration::ZERO,
            })),
            bases: site
                .gantries
                .iter()
                .map(|gantry| gantry.api.base.clone())
                .collect(),
            client: reqwest::Client::builder()
                .no_proxy()
                .timeout(PATIENCE)
                // A request on a connection that has just broken has no known outcome.
                .pool_max_idle_per_host(0)
                .build()
                .unwrap(),
            seed,
            shifts: 0,
        }
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// They begin to work.
    pub(super) fn shift(&mut self, watch: &Arc<Watch>) -> Shift {
        self.shifts += 1;
        let working = Arc::new(AtomicBool::new(true));
        let mut tasks = JoinSet::new();
        let workloads: Vec<_> = self.ledger().wishes.keys().copied().collect();
        {
            let mut ledger = self.ledger();
            ledger.last_acknowledged = Instant::now();
            ledger.longest_without = Duration::ZERO;
        }
        for (number, workload) in workloads.into_iter().enumerate() {
            let operator = Operator {
                workload,
                ledger: Arc::clone(&self.ledger),
                watch: Arc::clone(watch),
                bases: self.bases.clone(),
                client: self.client.clone(),
                dice: IdGenerator::new([self.seed, self.shifts, number as u64, 7]),
            };
            tasks.spawn(operator.work(Arc::clone(&working)));
        }
        Shift { working, tasks }
    }

    pub(super) fn wishes(&self) -> BTreeMap<&'static str, Wish> {
        self.ledger().wishes.clone()
    }

    /// Everything that was promised has been found to be so: these counts are what is wanted.
    pub(super) fn settle(&self, counts: &[(&'static str, u32)]) {
        let mut ledger = self.ledger();
        for (name, count) in counts {
            let wish = ledger.wishes.get_mut(name).unwrap();
            wish.acknowledged = *count;
            wish.unknown.clear();
            wish.restarted.clear();
            wish.deployments.clear();
            wish.may_restart.clear();
        }
    }

    /// Asks the Gantry at `base` for so many instances; whether that was acknowledged.
    pub(super) async fn scale(
        &self,
        watch: &Watch,
        base: &str,
        workload: &str,
        count: u32,
    ) -> bool {
        watch.may_run(workload, count);
        let path = format!("{base}/api/v2/workloads/{workload}/scale");
        let request = self.client.put(path).json(&json!({"instances": count}));
        let outcome = outcome(request, watch).await;
        let mut ledger = self.ledger();
        ledger.count(&outcome);
        let wish = ledger.wishes.get_mut(workload).unwrap();
        match outcome {
            Outcome::Acknowledged(_) => {
                wish.acknowledged = count;
                return true;
            }
            Outcome::Refused => {}
            Outcome::Unknown => wish.unknown.push(count),
        }
        false
    }

    pub(super) fn counts(&self) -> Counts {
        let ledger = self.ledger();
        Counts {
            acknowledged: ledger.acknowledged,
            refused: ledger.refused,
            unknown: ledger.unknown,
            longest_without: ledger.longest_without,
        }
    }
}

impl Ledger {
    fn count(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Acknowledged(_) => {
                self.acknowledged += 1;
                let without = self.last_acknowledged.elapsed();
                self.longest_without = self.longest_without.max(without);
                self.last_acknowledged = Instant::now();
            }
            Outcome::Refused => self.refused += 1,
            Outcome::Unknown => self.unknown += 1,
        }
    }
}

/// Operators at work.
pub(super) struct Shift {
    working: Arc<AtomicBool>,
    tasks: JoinSet<()>,
}

impl Shift {
    /// They finish what they are doing.
    pub(super) async fn end(self) {
        self.working.store(false, Ordering::Relaxed);
        self.tasks.join_all().await;
    }
}

struct Operator {
    workload: &'static str,
    ledger: Arc<Mutex<Ledger>>,
    watch: Arc<Watch>,
    bases: Vec<String>,
    client: reqwest::Client,
    dice: IdGenerator,
}

impl Operator {
    async fn work(mut self, working: Arc<AtomicBool>) {
        while working.load(Ordering::Relaxed) {
            let any = self.roll(self.bases.len() as u64) as usize;
            let base = self.bases[any].clone();
            match self.roll(10) {
                0..6 => self.scale(&base).await,
                6..9 => self.restart(&base).await,
                _ => self.roll_all(&base).await,
            }
            let pause = Duration::from_millis(self.roll(PAUSE.as_millis() as u64));
            sleep(PAUSE / 2 + pause).await;
        }
    }

    fn roll(&mut self, sides: u64) -> u64 {
        self.dice.next_u64() % sides
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(&self, request: reqwest::RequestBuilder) -> Outcome {
        let outcome = outcome(request, &self.watch).await;
        self.ledger().count(&outcome);
        outcome
    }

    async fn scale(&mut self, base: &str) {
        let count = self.roll(u64::from(INSTANCES_MAX) + 1) as u32;
        self.watch.may_run(self.workload, count);
        let path = format!("{base}/api/v2/workloads/{}/scale", self.workload);
        let body = json!({"instances": count});
        let outcome = self.ask(self.client.put(path).json(&body)).await;
        let mut ledger = self.ledger();
        let wish = ledger.wishes.get_mut(self.workload).unwrap();
        let known = match outcome {
            Outcome::Acknowledged(_) => {
                wish.acknowledged = count;
                "is promised"
            }
            Outcome::Refused => return,
            Outcome::Unknown => {
                wish.unknown.push(count);
                "may come"
            }
        };
        drop(ledger);
        self.watch
            .tell(format!("{} of {count} {known}", self.workload));
    }

    async fn restart(&mut self, base: &str) {
        let tasks: Vec<_> = self.watch.tasks_of(self.workload).into_iter().collect();
        if tasks.is_empty() {
            return;
        }
        let (task, _) = tasks[self.roll(tasks.len() as u64) as usize].clone();
        let path = format!("{base}/api/v2/tasks/{task}/restart");
        let _asking = self.watch.asking(self.workload);
        let outcome = self.ask(self.client.post(path)).await;
        match outcome {
            Outcome::Acknowledged(_) => {
                self.watch.tell(format!("a restart of {task} is promised"));
                self.watch.may_go([task.clone()]);
                let mut ledger = self.ledger();
                let wish = ledger.wishes.get_mut(self.workload).unwrap();
                wish.restarted.push(task);
            }
            Outcome::Refused => {}
            Outcome::Unknown => self.watch.may_go([task]),
        }
    }

    async fn roll_all(&mut self, base: &str) {
        let before = self.watch.tasks_of(self.workload);
        let path = format!("{base}/api/v2/rolling-restarts");
        let _asking = self.watch.asking(self.workload);
        let body = json!({"workload": self.workload});
        let outcome = self.ask(self.client.post(path).json(&body)).await;
        match &outcome {
            // What was there when it was taken: before, or a moment before the answer.
            Outcome::Acknowledged(_) => {
                let after = self.watch.tasks_of(self.workload);
                self.watch
                    .may_go(before.into_keys().chain(after.into_keys()));
            }
            Outcome::Refused => {}
            Outcome::Unknown => {
                let instances = 1..=INSTANCES_MAX;
                self.watch
                    .may_replace(instances.map(|number| (self.workload.to_owned(), number)));
            }
        }
        let mut ledger = self.ledger();
        let wish = ledger.wishes.get_mut(self.workload).unwrap();
        match outcome {
            Outcome::Acknowledged(answer) => {
                let id = answer["deployment"].as_u64().unwrap();
                self.watch.tell(format!(
                    "rolling restart {id} of {} is promised",
                    self.workload
                ));
                wish.deployments.push(id);
            }
            Outcome::Refused => {}
            Outcome::Unknown => wish.may_restart.extend(1..=INSTANCES_MAX),
        }
    }
}

async fn outcome(request: reqwest::RequestBuilder, watch: &Watch) -> Outcome {
    let answer = match request.send().await {
        Ok(answer) => answer,
        Err(error) if error.is_connect() => return Outcome::Refused,
        Err(_) => return Outcome::Unknown,
    };
    let status = answer.status();
    let Ok(text) = answer.text().await else {
        return Outcome::Unknown;
    };
    let body: Value = serde_json::from_str(&text).unwrap_or_default();
    if status.is_success() {
        return Outcome::Acknowledged(body);
    }
    let message = body["error"]["message"].as_str().unwrap_or(&text);
    watch.tell(format!("{status}: {message}"));
    let code = body["error"]["code"].as_str().unwrap_or_default();
    match (status.as_u16(), code) {
        (_, "outcome_unknown" | "timed_out") => Outcome::Unknown,
        (503, "stand_by" | "unavailable" | "busy") | (400..500, _) => Outcome::Refused,
        _ => {
            watch.wrong(format!("a strange answer: {status} {text}"));
            Outcome::Unknown
        }
    }
}

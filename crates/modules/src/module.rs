//! A module from outside: how it is, and how to ask it.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use thiserror::Error;
use tokio::sync::{oneshot, watch};

use crate::{
    Level, Limits, World,
    answer::Answer,
    engine::{self, End},
    fetch::FetchRules,
    inbox::{Ask, Inbox},
    limits::THREAD_STACK,
    registration::{Hook, Registration},
};

/// What a module is started with.
#[derive(Clone)]
pub struct Setup {
    /// Its name.
    pub name: String,
    /// Its directory.
    pub directory: PathBuf,
    /// `gantry.env`.
    pub environment: BTreeMap<String, String>,
    /// `gantry.framework`.
    pub framework: Value,
    /// Key and JSON of what it keeps.
    pub state: BTreeMap<String, String>,
    /// What it may fetch from.
    pub fetch: Arc<FetchRules>,
    /// What it may ask of the service.
    pub world: Arc<dyn World>,
    /// Where what it awaits runs.
    pub tokio: tokio::runtime::Handle,
    /// What it may use.
    pub limits: Limits,
}

/// How a module is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It is being loaded.
    Loading,
    /// It is asked and told.
    Running,
    /// It is neither, and never will be again.
    Stopped {
        /// Why.
        error: String,
    },
}

/// How a module is, with its numbers.
#[derive(Clone, Debug)]
pub struct Status {
    /// Its name.
    pub name: String,
    /// How it is.
    pub state: State,
    /// The last failure that did not stop it.
    pub last_failure: Option<String>,
    /// What it registered; empty until it is loaded.
    pub registration: Arc<Registration>,
    /// Events that were dropped because too many waited.
    pub events_dropped: u64,
    /// Calls, continuations included.
    pub calls: u64,
    /// Failed calls.
    pub failures: u64,
    /// Processor time it used.
    pub spent: Duration,
}

/// A question to a module.
#[derive(Clone, Debug)]
pub enum Question {
    /// To the route at this place of [`Registration::routes`].
    Route {
        /// Which.
        index: usize,
        /// The request.
        request: Value,
    },
    /// To a hook.
    Hook {
        /// Which.
        hook: Hook,
        /// What it is about.
        argument: Value,
    },
    /// What there is to say of these tasks in lists: columns, health, leadership.
    Annotate {
        /// The tasks.
        tasks: Vec<Value>,
    },
}

/// Why there is no answer: the module has no opinion.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NoAnswer {
    /// It is not running.
    #[error("the module is not running")]
    Stopped,
    /// Too many questions wait.
    #[error("the module has too many questions to answer")]
    Busy,
    /// It did not answer in time.
    #[error("the module did not answer in time")]
    TimedOut,
    /// It failed.
    #[error("{0}")]
    Failed(String),
}

/// A module. Dropping it ends it.
pub struct Module {
    shared: Arc<Shared>,
    state: watch::Receiver<State>,
}

impl Module {
    /// Starts to load a module, on a thread of its own. Does not wait.
    pub fn start(setup: Setup) -> Self {
        let (sender, state) = watch::channel(State::Loading);
        let shared = Arc::new(Shared::new(&setup, sender));
        let spawned = {
            let shared = Arc::clone(&shared);
            thread::Builder::new()
                .name(format!("module-{}", setup.name))
                .stack_size(THREAD_STACK)
                .spawn(move || {
                    let ran =
                        catch_unwind(AssertUnwindSafe(|| engine::run(setup, Arc::clone(&shared))));
                    shared.ended(ran.unwrap_or_else(|_| {
                        End::Stopped("the host of the module failed: this is a bug".to_owned())
                    }));
                })
        };
        if let Err(error) = spawned {
            shared.ended(End::Stopped(format!("it has no thread: {error}")));
        }
        Self { shared, state }
    }

    /// A module that cannot even be started: it is shown with its error.
    pub fn unstarted(setup: &Setup, error: String) -> Self {
        let (sender, state) = watch::channel(State::Loading);
        let shared = Arc::new(Shared::new(setup, sender));
        shared.ended(End::Stopped(error));
        Self { shared, state }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Waits until it is loaded, or stopped.
    pub async fn loaded(&self) {
        let mut state = self.state.clone();
        let stuck =
            self.shared.limits.load + self.shared.limits.settle_route + self.shared.limits.stuck;
        let loaded = state.wait_for(|state| *state != State::Loading);
        if tokio::time::timeout(stuck, loaded).await.is_err() {
            self.shared.judge();
        }
    }

    /// How it is.
    pub fn status(&self) -> Status {
        self.shared.judge();
        let told = self.shared.lock();
        Status {
            name: self.shared.name.clone(),
            state: self.shared.state.borrow().clone(),
            last_failure: told.last_failure.clone(),
            registration: Arc::clone(&told.registration),
            events_dropped: self.shared.inbox.dropped(),
            calls: self.shared.calls.load(Ordering::Relaxed),
            failures: told.failures,
            spent: Duration::from_micros(self.shared.spent_micros.load(Ordering::Relaxed)),
        }
    }

    /// What it registered; nothing while it is not running.
    pub fn registration(&self) -> Option<Arc<Registration>> {
        let running = *self.shared.state.borrow() == State::Running;
        running.then(|| Arc::clone(&self.shared.lock().registration))
    }

    /// Whether it is running and wants to be asked or told this.
    pub fn has(&self, hook: Hook) -> bool {
        self.registration()
            .is_some_and(|registration| registration.hooks.contains(&hook))
    }

    /// Tells it an event: the JSON of one. Never waits.
    pub fn tell(&self, event: Arc<str>) {
        if self.has(Hook::OnStatus) {
            self.shared.inbox.tell(event, self.shared.limits.events);
        }
    }

    /// Asks it. Ends in time whatever the module does.
    ///
    /// # Errors
    /// It has no opinion.
    pub async fn ask(&self, question: Question) -> Result<Answer, NoAnswer> {
        let limits = &self.shared.limits;
        let settle = match question {
            Question::Route { .. } => limits.settle_route,
            _ => limits.settle,
        };
        let (reply, answer) = oneshot::channel();
        let asked = self
            .shared
            .inbox
            .ask(Ask { question, reply }, limits.questions);
        if let Err(no_answer) = asked {
            self.shared.judge();
            return Err(no_answer);
        }
        // The thread itself ends what awaits too long; this is for a thread that is stuck, and for
        // questions that had to wait.
        match tokio::time::timeout(settle + limits.stuck, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(NoAnswer::Stopped),
            Err(_) => {
                self.shared.judge();
                Err(NoAnswer::TimedOut)
            }
        }
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        self.shared.inbox.close();
    }
}

/// What the module's thread and its askers share.
pub(crate) struct Shared {
    pub(crate) name: String,
    pub(crate) limits: Limits,
    pub(crate) inbox: Inbox,
    world: Arc<dyn World>,
    state: watch::Sender<State>,
    told: Mutex<Told>,
    born: Instant,
    /// Milliseconds since `born` plus one at which the present call began; 0 without one.
    busy_since: AtomicU64,
    calls: AtomicU64,
    spent_micros: AtomicU64,
}

#[derive(Default)]
struct Told {
    registration: Arc<Registration>,
    last_failure: Option<String>,
    failures: u64,
}

impl Shared {
    fn new(setup: &Setup, state: watch::Sender<State>) -> Self {
        Self {
            name: setup.name.clone(),
            limits: setup.limits.clone(),
            inbox: Inbox::new(),
            world: Arc::clone(&setup.world),
            state,
            told: Mutex::default(),
            born: Instant::now(),
            busy_since: AtomicU64::new(0),
            calls: AtomicU64::new(0),
            spent_micros: AtomicU64::new(0),
        }
    }

    /// A line about the module.
    pub(crate) fn say(&self, level: Level, line: &str) {
        self.world.log(&self.name, level, line);
    }

    pub(crate) fn begin(&self, registration: Registration) {
        self.lock().registration = Arc::new(registration);
        self.state.send_if_modified(|state| {
            let begins = *state == State::Loading;
            if begins {
                *state = State::Running;
            }
            begins
        });
    }

    pub(crate) fn failed(&self, error: &str) {
        self.say(Level::Warn, &format!("failed: {error}"));
        let mut told = self.lock();
        told.failures += 1;
        told.last_failure = Some(error.to_owned());
    }

    pub(crate) fn enters(&self) {
        let since = self.born.elapsed().as_millis() as u64 + 1;
        self.busy_since.store(since, Ordering::Relaxed);
    }

    pub(crate) fn leaves(&self) {
        self.busy_since.store(0, Ordering::Relaxed);
    }

    pub(crate) fn count(&self, spent: Duration) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.spent_micros
            .fetch_add(spent.as_micros() as u64, Ordering::Relaxed);
    }

    /// A call that cannot be interrupted and does not come back ends the module. Its thread cannot
    /// be ended: it is left to itself, and ends if the call ever does.
    fn judge(&self) {
        let since = self.busy_since.load(Ordering::Relaxed);
        let now = self.born.elapsed().as_millis() as u64 + 1;
        let stuck = self.limits.stuck.as_millis() as u64;
        if since != 0 && now.saturating_sub(since) > stuck {
            self.ended(End::Stopped(format!(
                "a call has not come back within {} s and cannot be interrupted",
                self.limits.stuck.as_secs()
            )));
        }
    }

    fn ended(&self, end: End) {
        if let End::Stopped(error) = end
            && !matches!(*self.state.borrow(), State::Stopped { .. })
        {
            // Said first, so that whoever sees it stopped finds the line; and closed last, so that
            // whoever is refused sees it stopped.
            self.say(Level::Error, &format!("stopped: {error}"));
            self.state.send_replace(State::Stopped { error });
        }
        self.inbox.close();
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

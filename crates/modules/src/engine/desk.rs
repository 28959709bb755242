//! What the functions that JavaScript calls write on, and the thread's loop reads.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Instant,
};

use serde_json::Value;

use super::{Saved, error::Fault};
use crate::{
    Level, World,
    fetch::Fetcher,
    limits::{LINE_MAX, cut},
    module::{Setup, Shared},
    registration::{Hook, Registration},
    timers::Timers,
};

pub(crate) struct Desk {
    pub(crate) shared: Arc<Shared>,
    pub(crate) world: Arc<dyn World>,
    pub(crate) tokio: tokio::runtime::Handle,
    pub(crate) fetcher: Fetcher,
    pub(crate) framework: Value,
    pub(crate) environment: BTreeMap<String, String>,
    /// Key and JSON of each value.
    pub(crate) state: BTreeMap<String, String>,
    pub(crate) loading: bool,
    pub(crate) registration: Registration,
    pub(crate) routes: Vec<Saved>,
    pub(crate) hooks: BTreeMap<Hook, Saved>,
    pub(crate) timers: Timers<Saved>,
    /// What the world was asked for: how to tell the module.
    pub(crate) requests: HashMap<u32, (Saved, Saved)>,
    pub(crate) last_request: u32,
    /// Runs that ended, with the JSON of their answer.
    pub(crate) settled: Vec<(u32, Result<Option<String>, Fault>)>,
    console: Console,
}

impl Desk {
    pub(crate) fn new(setup: Setup, shared: Arc<Shared>) -> Self {
        let per_second = f64::from(shared.limits.lines_per_second);
        Self {
            shared,
            fetcher: Fetcher::new(setup.fetch, Arc::clone(&setup.world)),
            world: setup.world,
            tokio: setup.tokio,
            framework: setup.framework,
            environment: setup.environment,
            state: setup.state,
            loading: true,
            registration: Registration::default(),
            routes: Vec::new(),
            hooks: BTreeMap::new(),
            timers: Timers::new(),
            requests: HashMap::new(),
            last_request: 0,
            settled: Vec::new(),
            console: Console::new(per_second),
        }
    }

    /// A line of the console, unless there are too many.
    pub(crate) fn log(&mut self, level: Level, line: String) {
        let now = Instant::now();
        if !self.console.takes(now) {
            return;
        }
        if self.console.dropped > 0 {
            let dropped = std::mem::take(&mut self.console.dropped);
            let said = format!("{dropped} lines before this one were dropped: too many a second");
            self.shared.say(Level::Warn, &said);
        }
        self.world
            .log(&self.shared.name, level, &cut(line, LINE_MAX));
    }

    /// Lets go of everything that belongs to JavaScript.
    pub(crate) fn clear(&mut self) {
        self.routes.clear();
        self.hooks.clear();
        self.timers = Timers::new();
        self.requests.clear();
    }
}

/// A bucket that fills with the permission to write a line.
struct Console {
    per_second: f64,
    lines: f64,
    filled_at: Instant,
    dropped: u64,
}

impl Console {
    fn new(per_second: f64) -> Self {
        Self {
            per_second,
            lines: per_second * 10.0,
            filled_at: Instant::now(),
            dropped: 0,
        }
    }

    fn takes(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.filled_at).as_secs_f64();
        self.filled_at = now;
        self.lines = (self.lines + passed * self.per_second).min(self.per_second * 10.0);
        let takes = self.lines >= 1.0;
        match takes {
            true => self.lines -= 1.0,
            false => self.dropped += 1,
        }
        takes
    }
}

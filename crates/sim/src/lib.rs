//! Seeded worlds that drive [`gantry_core::Scheduler`] through faults.
//!
//! A world is a virtual clock, a Mesos master with agents, a store, operators, and the driver that
//! does for the scheduler what the runtime does in the program. Everything random comes from one
//! seed, so that a run repeats exactly. Faults happen at any time: the scheduler dies before and
//! after every store effect and between any two calls, calls and updates are lost, repeated, late,
//! the master fails over, agents come and go. After every step the scheduler is held against the
//! truth of the world (`invariants`); then the faults stop, and what was asked for must come to be
//! (`liveness`).
//!
//! | file | what it is about |
//! |---|---|
//! | `plan` | what the seed makes of the world: agents, services, rates of faults |
//! | `world` | the clock, the events and who takes them |
//! | `driver` | the runtime's part: write, then call; crash and come back |
//! | `master`, `calls` | the master: subscription, offers, tasks; and what it does on each call |
//! | `agents`, `tasks` | agents, their loss and return; lives of tasks, updates until acknowledged |
//! | `operators` | what people and fate do |
//! | `invariants`, `liveness` | what must hold always, and what must be in the end |
//! | `bundle`, `dice`, `queue`, `trace` | resources, chance, time, and the account of a run |
//!
//! That the simulator can find faults is tested by planting some: see [`Sabotage`] and `sabotage`.

mod agents;
mod bundle;
mod calls;
mod dice;
mod driver;
mod invariants;
mod liveness;
mod master;
mod operators;
mod plan;
mod queue;
mod sabotage;
mod tasks;
mod trace;
mod world;

use std::fmt;

/// What is done wrong on purpose, to see that it is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// Calls leave before the writes of their step are stored.
    CallsBeforeWrites,
    /// The intent of a launch is now and then not stored.
    DropIntent,
    /// Status updates are acknowledged before their effect is stored.
    AcknowledgeFirst,
    /// An instance is launched twice, both times with an intent.
    LaunchTwice,
    /// Tasks that have not been heard of since the subscription are killed.
    KillOnDoubt,
    /// Offers are now and then forgotten instead of declined.
    HoardOffers,
    /// The scheduler is not called when it asked to be.
    Oversleep,
    /// Stored deletions of ended tasks are now and then lost.
    ForgetDeletion,
}

/// What happened in a run that kept all promises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Events of the world.
    pub events: u64,
    /// Steps of the scheduler.
    pub steps: u64,
    /// Commits of the store.
    pub commits: u64,
    /// Deaths of the scheduler.
    pub crashes: u64,
    /// Tasks launched.
    pub launches: u64,
    /// Tasks killed.
    pub kills: u64,
    /// Virtual time, in milliseconds.
    pub millis: u64,
    /// A number that depends on everything that happened: equal for equal runs.
    pub fingerprint: u64,
}

/// A promise was broken.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed of the run.
    pub seed: u64,
    /// The event after which it was noticed.
    pub event: u64,
    /// Virtual time since the beginning, in milliseconds.
    pub millis: u64,
    /// Which promise, and how.
    pub violation: String,
    /// The last things that happened.
    pub trace: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.trace {
            writeln!(f, "  {line}")?;
        }
        write!(
            f,
            "seed {} failed at event {} after {:.3} s: {}",
            self.seed,
            self.event,
            self.millis as f64 / 1000.0,
            self.violation
        )
    }
}

/// Runs the world of a seed.
///
/// # Errors
/// The first broken promise, with an account of what led to it.
pub fn run(seed: u64, sabotage: Option<Sabotage>) -> Result<Summary, Box<Failure>> {
    // An account costs more than the run: it is made only when somebody will read it.
    world::World::new(seed, sabotage, false)
        .run()
        .or_else(|_| world::World::new(seed, sabotage, true).run())
}

//! Seeded worlds that drive [`gantry_core::Scheduler`] through faults.
//!
//! A world is a virtual clock, a Mesos master with agents, ZooKeeper, clients, and one to three
//! Gantrys: the scheduler, and around it what the runtime does in the program. Everything random
//! comes from one seed, so that a run repeats exactly. Faults happen at any time: a Gantry dies
//! before and after every write of a commit and between any two effects, freezes and wakes, loses
//! ZooKeeper or the master; wall clocks jump; calls and updates are lost, repeated, late; the master
//! fails over, agents come and go. After every step the scheduler is held against the
//! truth of the world (`invariants`); then the faults stop, and what was asked for must come to be
//! (`liveness`).
//!
//! | file | what it is about |
//! |---|---|
//! | `plan`, `types`, `rates` | what the seed makes of the world: agents, services, what goes wrong |
//! | `world` | the clock, the events and who takes them |
//! | `gantry` | one to three processes: start, freeze, death |
//! | `candidate`, `keeper` | sessions, lock, lease and epoch; ZooKeeper itself |
//! | `term`, `committer`, `link` | the runtime's part while one leads: step, write, then call |
//! | `master`, `calls` | the master: subscription, offers, tasks; and what it does on each call |
//! | `agents`, `tasks` | agents, their loss and return; lives of tasks, updates until acknowledged |
//! | `clients`, `fate`, `decay` | who asks for something, and what goes wrong; what is stored decays |
//! | `invariants`, `liveness` | what must hold always, and what must be in the end |
//! | `bundle`, `dice`, `queue`, `trace` | resources, chance, time, and the account of a run |
//!
//! That the simulator can find faults is tested by planting some: see [`Sabotage`] and `sabotage`.

mod agents;
mod bundle;
mod calls;
mod candidate;
mod clients;
mod committer;
mod decay;
mod dice;
mod fate;
mod gantry;
mod invariants;
mod keeper;
mod link;
mod liveness;
mod master;
mod modules;
mod plan;
mod queue;
mod rates;
mod sabotage;
mod tasks;
mod term;
mod trace;
mod types;
mod world;

use std::{fmt, ops::AddAssign};

/// What is done wrong on purpose, to see that it is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// The scheduler panics now and then.
    Panic,
    /// Calls leave before the writes of their step are stored.
    CallsBeforeWrites,
    /// The intent of a launch is now and then not stored.
    DropIntent,
    /// Status updates are acknowledged before their effect is stored.
    AcknowledgeFirst,
    /// Commands are answered before their effect is stored.
    AnswerFirst,
    /// Transactions of a commit are applied in another order.
    CommitOutOfOrder,
    /// Stored deletions of ended tasks are now and then lost.
    ForgetDeletion,
    /// A deposed leader can write.
    NoEpochCheck,
    /// Calls and answers leave without a look at the lease.
    NoLeaseTest,
    /// The lease ends by a timer, which a frozen process does not hear.
    LeaseIgnoresFreeze,
    /// A new leader does not ask for the state of tasks.
    NoReconciliation,
    /// A new leader subscribes without the framework's id.
    NewFrameworkId,
    /// An instance is launched twice, both times with an intent.
    LaunchTwice,
    /// Tasks that have not been heard of since the subscription are killed.
    KillOnDoubt,
    /// Tasks that come back with their agent are killed.
    KillReturned,
    /// Of two copies none is ever stopped.
    KeepSurplus,
    /// A new leader shows every task as confirmed before it was heard of.
    HideUnconfirmed,
    /// Unreachable tasks are replaced before their time.
    RelaunchEarly,
    /// The scheduler does not hear that tasks can be reached again.
    IgnoreReturn,
    /// KILL is not repeated.
    KillOnce,
    /// What became of a launch is not asked.
    NeverAskAgain,
    /// Unknown tasks are killed before the known ones have answered.
    KillUnknownEarly,
    /// An ended task is now and then stored again.
    Revert,
    /// Tasks that fail are started again at once.
    NoBackOff,
    /// A failure is counted twice.
    FailTwice,
    /// A stable run does not end the back-off.
    NeverStable,
    /// A new leader forgets what counts were asked for.
    ForgetScale,
    /// A new leader is not told what could not be read.
    IgnoreUnreadable,
    /// Updates move everything at once.
    NoLimits,
    /// Deployments never give up.
    EndlessDeployments,
    /// Deployments say that they are done when they have begun.
    DoneEarly,
    /// Deployments give up at once.
    HastyDeployments,
    /// It is forgotten that a declaration was rolled back.
    ForgetRollback,
    /// There is no disaster brake.
    NoBrake,
    /// The brake goes on when fewer tasks are in trouble than must be.
    EagerBrake,
    /// The disaster brake goes off at once.
    HastyBrake,
    /// Tasks are stopped now and then though the brake is on.
    StopWhileBraked,
    /// Tasks are moved now and then though their deployment is paused.
    MoveWhilePaused,
    /// A new leader starts tasks though the brake is on.
    LaunchWhileBraked,
    /// Offers are now and then forgotten instead of declined.
    HoardOffers,
    /// Offers are used after they were rescinded.
    IgnoreRescind,
    /// Agents are used though they are about to be maintained.
    IgnoreMaintenance,
    /// Agents are not used any more once maintenance of theirs was scheduled.
    EndlessMaintenance,
    /// Suppressed offers are never revived.
    ForgetRevive,
    /// The scheduler is not called when it asked to be.
    Oversleep,
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
    /// Deaths of Gantrys.
    pub crashes: u64,
    /// Terms of leadership that began.
    pub terms: u64,
    /// Terms that ended by the loss of the lease, of ZooKeeper or of the epoch.
    pub depositions: u64,
    /// Sessions that expired.
    pub expiries: u64,
    /// Times that a leader froze.
    pub freezes: u64,
    /// Transactions refused because a newer epoch had begun.
    pub fenced: u64,
    /// Times that the lease was found to have ended right before something left.
    pub dropped: u64,
    /// Commands that were acknowledged.
    pub acknowledged: u64,
    /// Records that could not be read any more.
    pub decayed: u64,
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

impl AddAssign for Summary {
    fn add_assign(&mut self, other: Self) {
        self.events += other.events;
        self.steps += other.steps;
        self.commits += other.commits;
        self.crashes += other.crashes;
        self.terms += other.terms;
        self.depositions += other.depositions;
        self.expiries += other.expiries;
        self.freezes += other.freezes;
        self.fenced += other.fenced;
        self.dropped += other.dropped;
        self.acknowledged += other.acknowledged;
        self.decayed += other.decayed;
        self.launches += other.launches;
        self.kills += other.kills;
        self.millis += other.millis;
        self.fingerprint ^= other.fingerprint;
    }
}

impl Failure {
    /// Which seed broke which promise, without what led to it.
    pub fn headline(&self) -> String {
        format!(
            "seed {} failed at event {} after {:.3} s: {}",
            self.seed,
            self.event,
            self.millis as f64 / 1000.0,
            self.violation
        )
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.trace {
            writeln!(f, "  {line}")?;
        }
        f.write_str(&self.headline())
    }
}

/// Runs the world of a seed.
///
/// # Errors
/// The first broken promise, with an account of what led to it.
pub fn run(seed: u64, sabotage: Option<Sabotage>) -> Result<Summary, Box<Failure>> {
    // An account costs more than the run: it is made only when somebody will read it.
    world::World::new(seed, sabotage, trace::Detail::None)
        .run()
        .or_else(|_| world::World::new(seed, sabotage, trace::Detail::End).run())
        .map(|(summary, _)| summary)
}

/// Runs the world of a seed, with an account of everything that happened.
pub fn run_traced(seed: u64) -> (Vec<String>, Result<Summary, Box<Failure>>) {
    match world::World::new(seed, None, trace::Detail::All).run() {
        Ok((summary, lines)) => (lines, Ok(summary)),
        Err(mut failure) => (std::mem::take(&mut failure.trace), Err(failure)),
    }
}

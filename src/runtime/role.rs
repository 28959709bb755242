//! What this process is to the framework: the one that acts, or one that stands by.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use gantry_core::Timestamp;
use gantry_store::{Lease, Member, StoreError};

/// What this process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Another process acts, or none at the moment; this one waits for its turn.
    StandBy,
    /// This process may act, and reads what is stored to do so.
    Starting,
    /// This process acts: the scheduler runs.
    Leader,
}

impl Role {
    /// The word for it in APIs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::StandBy => "stand-by",
            Self::Starting => "starting",
            Self::Leader => "leader",
        }
    }
}

/// The role, and what it means for readers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// What this process does.
    pub role: Role,
    /// Since when.
    pub since: Timestamp,
    /// The same, by a clock that nobody sets.
    pub began: Instant,
    /// Number of the term in which it acts, or last acted. A later term of any process has a
    /// larger one.
    pub epoch: Option<u64>,
    /// How many terms this process has had, this one included.
    pub terms: u64,
    /// What the view is.
    pub shown: Shown,
    /// Why the last term ended, as a clause.
    pub ended: Option<String>,
    /// What keeps it from acting: why it last could not. Stays until it acts, or another has acted for
    /// long enough to show that it is mended.
    pub fault: Option<Fault>,
    /// What keeps it from reading what is stored. Stays until that is read.
    pub read_fault: Option<Fault>,
    /// What it would change as soon as it acts, as it declares something else than what is stored, as a
    /// clause. Of a stand-by that has read what is stored.
    pub would_change: Option<String>,
}

/// What stays wrong until somebody mends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong and what to do, as a clause.
    pub reason: String,
    /// Whether this process is what is wrong, by its version or its framework's name, so that another
    /// in its place helps. Nothing else is helped by starting a process anew.
    pub is_of_this_process: bool,
}

impl From<&StoreError> for Fault {
    fn from(error: &StoreError) -> Self {
        Self {
            reason: error.to_string(),
            is_of_this_process: matches!(
                error,
                StoreError::NewerLayout { .. } | StoreError::OtherFramework { .. }
            ),
        }
    }
}

/// What readers see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// Nothing: what is stored has never been read. An empty view would be a lie.
    Nothing,
    /// The state itself.
    Live,
    /// The state as it was then: what was stored, or the last of a term that has ended.
    Copy {
        /// When.
        at: Timestamp,
    },
}

/// Where records are kept, and who the leader is as far as that place knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HomeStatus {
    /// The kind of place.
    pub kind: HomeKind,
    /// Whether it can be reached.
    pub reach: Reach,
    /// Who holds the right to act.
    pub leader: Option<Member>,
}

/// The kinds of places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HomeKind {
    /// This process.
    Memory,
    /// A file of this machine.
    Embedded,
    /// An ensemble of ZooKeeper servers.
    ZooKeeper,
}

impl HomeKind {
    /// The word for it in APIs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Embedded => "embedded",
            Self::ZooKeeper => "zookeeper",
        }
    }
}

/// Whether the place can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// There is no way between that could be cut.
    Always,
    /// It answers.
    Connected {
        /// Since when.
        since: Timestamp,
    },
    /// It has not been reached since the start.
    Never {
        /// Why, as a clause.
        reason: String,
    },
    /// It was reached before, and is not now.
    Lost {
        /// Since when.
        since: Timestamp,
        /// Why, as a clause.
        reason: String,
    },
}

/// A connection that is lost for less than this may be about to be made to another server.
pub(crate) const RECONNECTS_WITHIN: Duration = Duration::from_secs(1);

impl Reach {
    /// Why it is of no use now to wait for anything that needs the place, as a clause.
    pub fn away(&self, now: Timestamp) -> Option<String> {
        match self {
            Self::Lost { since, .. } if now.since(*since) < RECONNECTS_WITHIN => None,
            _ => self.problem(),
        }
    }

    /// Why it cannot be reached, as a clause.
    pub fn problem(&self) -> Option<String> {
        match self {
            Self::Always | Self::Connected { .. } => None,
            Self::Never { reason } => Some(format!("ZooKeeper has not been reached yet: {reason}")),
            Self::Lost { reason, .. } => Some(format!("ZooKeeper cannot be reached: {reason}")),
        }
    }
}

/// The standing, as the runtime keeps it.
pub(crate) struct Place(Mutex<Held>);

struct Held {
    standing: Standing,
    /// The right by which this process acts, from its winning to its end.
    lease: Option<Lease>,
}

impl Place {
    pub(crate) fn new(now: Timestamp) -> Self {
        Self(Mutex::new(Held {
            standing: Standing {
                role: Role::StandBy,
                since: now,
                began: Instant::now(),
                epoch: None,
                terms: 0,
                shown: Shown::Nothing,
                ended: None,
                fault: None,
                read_fault: None,
                would_change: None,
            },
            lease: None,
        }))
    }

    /// The standing now. A process whose lease has ended does not lead, though nothing may have
    /// had the time to act on that.
    pub(crate) fn get(&self, now: Timestamp) -> Standing {
        let held = self.lock();
        let mut standing = held.standing.clone();
        if !held.lease.as_ref().is_some_and(Lease::holds) {
            standing.stand_by(now);
        }
        standing
    }

    pub(crate) fn start(&self, now: Timestamp, lease: Lease) {
        let mut held = self.lock();
        held.act(Role::Starting, now, lease);
    }

    pub(crate) fn lead(&self, now: Timestamp, lease: Lease) {
        let mut held = self.lock();
        held.act(Role::Leader, now, lease);
        let standing = &mut held.standing;
        standing.terms += 1;
        standing.shown = Shown::Live;
        standing.ended = None;
        standing.fault = None;
        standing.read_fault = None;
        standing.would_change = None;
    }

    pub(crate) fn stand_by(&self, now: Timestamp, ended: String) {
        let mut held = self.lock();
        held.lease = None;
        held.standing.stand_by(now);
        held.standing.ended = Some(ended);
    }

    pub(crate) fn show_copy(&self, at: Timestamp) {
        let standing = &mut self.lock().standing;
        standing.shown = Shown::Copy { at };
        standing.read_fault = None;
    }

    /// What it would change.
    pub(crate) fn would_change(&self, what: Option<String>) {
        self.lock().standing.would_change = what;
    }

    /// It cannot act.
    pub(crate) fn fault(&self, fault: Fault) {
        self.lock().standing.fault = Some(fault);
    }

    /// It might act again.
    pub(crate) fn mended(&self) {
        self.lock().standing.fault = None;
    }

    /// It cannot read what is stored.
    pub(crate) fn read_fault(&self, fault: Fault) {
        self.lock().standing.read_fault = Some(fault);
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn act(&mut self, role: Role, now: Timestamp, lease: Lease) {
        self.standing.role = role;
        self.standing.since = now;
        self.standing.began = Instant::now();
        self.standing.epoch = Some(lease.epoch());
        self.lease = Some(lease);
    }
}

impl Standing {
    /// Everything that stays wrong until somebody mends it.
    pub fn faults(&self) -> impl Iterator<Item = &Fault> {
        // The same may keep it from both.
        let of_reading = self.read_fault.as_ref();
        let of_reading = of_reading.filter(|fault| Some(*fault) != self.fault.as_ref());
        self.fault.iter().chain(of_reading)
    }

    fn stand_by(&mut self, now: Timestamp) {
        if self.role != Role::StandBy {
            self.role = Role::StandBy;
            self.since = now;
            self.began = Instant::now();
        }
        if self.shown == Shown::Live {
            self.shown = Shown::Copy { at: now };
        }
    }
}

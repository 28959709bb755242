//! How often what goes wrong.

use crate::dice::Dice;

/// How often what goes wrong. Per mille, but for the means, which are in milliseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rates {
    /// The connection to the master breaks on a call, which is executed or not.
    pub(crate) call_breaks: u64,
    /// A call has no effect. Of one that answers offers this is known, and ends the subscription, unless
    /// they are rescinded some time.
    pub(crate) call_vanishes: u64,
    /// An update is lost on the way to the master; the agent repeats it.
    pub(crate) update_lost: u64,
    /// An update comes twice, the second time after any delay.
    pub(crate) update_repeated: u64,
    /// A leader dies before a commit, or after any of its transactions.
    pub(crate) crash_at_commit: u64,
    /// A leader dies between two effects.
    pub(crate) crash_between_calls: u64,
    /// A leader freezes between its last look at the lease and the write to the wire.
    pub(crate) freeze_at_release: u64,
    /// The answer to a commit is lost; a single Gantry's disk fails, having written or not.
    pub(crate) commit_fails: u64,
    /// A commit takes seconds.
    pub(crate) commit_slow: u64,
    /// A launched task fails at once, or is dropped by the agent.
    pub(crate) launch_fails: u64,
    /// Between two faults of the larger kind; 0 for none.
    pub(crate) fault_mean: u64,
    /// Between two commands; 0 for none.
    pub(crate) operator_mean: u64,
    /// Which larger faults happen.
    pub(crate) faults: Vec<Fault>,
}

/// The larger kinds of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Gantry(GantryFault),
    Keeper(KeeperFault),
    Mesos(MesosFault),
}

/// What goes wrong with a Gantry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GantryFault {
    Crash,
    /// It is told to end.
    Stop,
    /// It is stopped for a while and knows nothing of it.
    Freeze,
    /// Its machine's wall clock is set to another time.
    ClockJumps,
    /// Its connection to the master breaks.
    Disconnect,
    /// So it does, and nobody notices for a while.
    Silence,
}

/// What goes wrong with ZooKeeper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeeperFault {
    /// A connection breaks.
    Disconnect,
    /// ZooKeeper and a Gantry do not hear each other for some time.
    Partition,
    /// The ensemble has no quorum for a while.
    Away,
}

/// What goes wrong with Mesos.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MesosFault {
    /// Another master takes over.
    MasterFailover,
    /// Agent and master do not hear each other for some time.
    Partition,
    /// An agent's machine dies and is back later.
    Reboot,
    /// An agent dies and comes back as another one.
    Replace,
    /// An operator marks an agent as gone.
    Gone,
    /// The master forgets an agent that has been unreachable for long; it may still be back.
    Forget,
    /// Offers are rescinded.
    Rescind,
    /// A task ends.
    TaskEnds,
    /// A task of this framework turns up that nothing is stored of.
    Stranger,
    /// An operator removes the framework, or its failover time-out passes.
    Removal,
    /// Most tasks turn unhealthy at once, for some time.
    Sickness,
    /// Most agents and the master lose each other at once.
    Blackout,
    /// An operator drains an agent, and has it back later.
    Drain,
    /// Maintenance of an agent is put on the schedule, or taken off.
    Maintenance,
    /// An agent is started again with more attributes.
    Reconfigure,
}

impl Fault {
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        use {GantryFault as G, KeeperFault as K, MesosFault as M};
        [
            Self::Gantry(G::Crash),
            Self::Gantry(G::Stop),
            Self::Gantry(G::Freeze),
            Self::Gantry(G::ClockJumps),
            Self::Gantry(G::Disconnect),
            Self::Gantry(G::Silence),
            Self::Keeper(K::Disconnect),
            Self::Keeper(K::Partition),
            Self::Keeper(K::Away),
            Self::Mesos(M::MasterFailover),
            Self::Mesos(M::Partition),
            Self::Mesos(M::Reboot),
            Self::Mesos(M::Replace),
            Self::Mesos(M::Gone),
            Self::Mesos(M::Forget),
            Self::Mesos(M::Rescind),
            Self::Mesos(M::TaskEnds),
            Self::Mesos(M::Stranger),
            Self::Mesos(M::Removal),
            Self::Mesos(M::Sickness),
            Self::Mesos(M::Blackout),
            Self::Mesos(M::Drain),
            Self::Mesos(M::Maintenance),
            Self::Mesos(M::Reconfigure),
        ]
        .into_iter()
    }
}

impl Rates {
    pub(crate) fn new(dice: &mut Dice, faults: &[Fault]) -> Self {
        // Each family of faults is there most of the time and sometimes missing, as one hides
        // another.
        let rate = |dice: &mut Dice, most: u64| {
            if dice.chance(600) {
                dice.between(1, most)
            } else {
                0
            }
        };
        Self {
            call_breaks: rate(dice, 30),
            call_vanishes: rate(dice, 60),
            update_lost: rate(dice, 200),
            update_repeated: rate(dice, 200),
            crash_at_commit: rate(dice, 20),
            crash_between_calls: rate(dice, 10),
            freeze_at_release: rate(dice, 6),
            commit_fails: rate(dice, 60),
            commit_slow: rate(dice, 50),
            launch_fails: rate(dice, 100),
            fault_mean: if dice.chance(850) {
                dice.between(3_000, 40_000)
            } else {
                0
            },
            operator_mean: if dice.chance(850) {
                dice.between(2_000, 60_000)
            } else {
                0
            },
            faults: faults
                .iter()
                .copied()
                .filter(|_| dice.chance(800))
                .collect(),
        }
    }

    /// Nothing goes wrong and nobody asks for anything.
    pub(crate) const fn is_calm(&self) -> bool {
        self.fault_mean == 0 && self.operator_mean == 0
    }
}

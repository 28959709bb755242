//! The clock, the events and who takes them.

use gantry_core::{Call, MesosEvent, TaskId, Timestamp};

use crate::{
    Failure, Sabotage, Summary,
    agents::{Agent, Stage, Update},
    dice::Dice,
    driver::Driver,
    invariants::Memory,
    master::Master,
    plan::{Plan, SETTLING},
    queue::Queue,
    trace::Trace,
};

/// When worlds begin, in milliseconds since the Unix epoch.
const BEGINNING: u64 = 1_700_000_000_000;

/// More events than any sane run has; a run that exceeds it is going in circles.
const EVENTS_MAX: u64 = 2_000_000;

/// What happens next. Events that belong to a life of the scheduler, a link, a session of an agent
/// or an attempt carry its number, and are void when it is over.
#[derive(Debug)]
pub(crate) enum Event {
    // The driver.
    Start,
    Step {
        life: u64,
    },
    Wake {
        life: u64,
    },
    CommitEnds {
        life: u64,
    },
    Connect {
        life: u64,
    },
    LinkSeenDown {
        link: u64,
    },
    // Between the driver and the master.
    ToScheduler {
        link: u64,
        event: MesosEvent,
    },
    ToMaster {
        link: u64,
        call: Call,
    },
    LinkBreaks {
        link: u64,
    },
    // The master.
    Allocate,
    MasterUp,
    AgentTimeout {
        agent: usize,
        silence: u64,
    },
    // Between the master and agents.
    Launch {
        agent: usize,
        session: u64,
        task: TaskId,
    },
    Kill {
        agent: usize,
        session: u64,
        task: TaskId,
    },
    Acknowledge {
        agent: usize,
        session: u64,
        task: TaskId,
        uuid: [u8; 16],
    },
    Update {
        agent: usize,
        session: Option<u64>,
        task: TaskId,
        update: Update,
    },
    Register {
        agent: usize,
    },
    // Agents.
    Life {
        agent: usize,
        task: TaskId,
        stage: Stage,
    },
    Repeat {
        agent: usize,
        task: TaskId,
        uuid: [u8; 16],
        attempt: u32,
    },
    Heal {
        agent: usize,
    },
    Join {
        host: u64,
    },
    // People and fate.
    Fault,
    Operator,
    Settle,
}

/// Everything there is.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) seed: u64,
    /// Milliseconds since the beginning.
    pub(crate) now: u64,
    pub(crate) dice: Dice,
    pub(crate) plan: Plan,
    pub(crate) queue: Queue<Event>,
    pub(crate) trace: Trace,
    pub(crate) driver: Driver,
    pub(crate) master: Master,
    pub(crate) agents: Vec<Agent>,
    pub(crate) memory: Memory,
    pub(crate) sabotage: Option<Sabotage>,
    /// The faults are over.
    pub(crate) settled: bool,
    pub(crate) summary: Summary,
    violation: Option<String>,
}

impl World {
    pub(crate) fn new(seed: u64, sabotage: Option<Sabotage>, traced: bool) -> Self {
        let mut dice = Dice::new(seed, 1);
        let plan = Plan::new(&mut dice);
        Self {
            seed,
            now: 0,
            plan,
            queue: Queue::new(),
            trace: Trace::new(traced),
            driver: Driver::default(),
            master: Master::default(),
            agents: Vec::new(),
            memory: Memory::default(),
            sabotage,
            settled: false,
            summary: Summary::default(),
            violation: None,
            dice,
        }
    }

    pub(crate) fn run(mut self) -> Result<Summary, Box<Failure>> {
        for host in 1..=self.plan.agents {
            self.join(host);
        }
        self.after(0, Event::Start);
        self.after(500, Event::Allocate);
        self.schedule_fault();
        self.schedule_operator();
        self.after(self.plan.faults_until, Event::Settle);
        let end = self.plan.faults_until + SETTLING;
        while self.violation.is_none() {
            match self.queue.take() {
                Some((at, event)) if at <= end => {
                    self.now = at;
                    self.summary.events += 1;
                    self.handle(event);
                }
                _ => {
                    self.now = end;
                    self.check_liveness();
                    break;
                }
            }
            if self.summary.events > EVENTS_MAX {
                self.violate("the world does not come to rest".to_owned());
            }
        }
        self.summary.millis = self.now;
        self.summary.fingerprint = self.trace.fingerprint();
        match self.violation {
            None => Ok(self.summary),
            Some(violation) => Err(Box::new(Failure {
                seed: self.seed,
                event: self.summary.events,
                millis: self.now,
                violation,
                trace: self.trace.into_lines(),
            })),
        }
    }

    fn handle(&mut self, event: Event) {
        self.trace.count(self.now);
        match event {
            Event::Start => self.start_scheduler(),
            Event::Step { life } => self.step_due(life),
            Event::Wake { life } => self.wake_due(life),
            Event::CommitEnds { life } => self.commit_ends(life),
            Event::Connect { life } => self.connect(life),
            Event::LinkSeenDown { link } => self.link_seen_down(link),
            Event::ToScheduler { link, event } => self.scheduler_hears(link, event),
            Event::ToMaster { link, call } => self.master_hears(link, call),
            Event::LinkBreaks { link } => self.master_loses_link(link),
            Event::Allocate => self.allocate(),
            Event::MasterUp => self.master_up(),
            Event::AgentTimeout { agent, silence } => self.agent_timeout(agent, silence),
            Event::Launch {
                agent,
                session,
                task,
            } => self.agent_launches(agent, session, task),
            Event::Kill {
                agent,
                session,
                task,
            } => self.agent_kills(agent, session, &task),
            Event::Acknowledge {
                agent,
                session,
                task,
                uuid,
            } => {
                self.agent_acknowledged(agent, session, &task, uuid);
            }
            Event::Update {
                agent,
                session,
                task,
                update,
            } => {
                self.master_hears_update(agent, session, task, update);
            }
            Event::Register { agent } => self.register(agent),
            Event::Life { agent, task, stage } => self.task_lives(agent, &task, stage),
            Event::Repeat {
                agent,
                task,
                uuid,
                attempt,
            } => {
                self.repeat_update(agent, &task, uuid, attempt);
            }
            Event::Heal { agent } => self.heal(agent),
            Event::Join { host } => self.join(host),
            Event::Fault => self.fault(),
            Event::Operator => self.operate(),
            Event::Settle => self.settle(),
        }
    }

    // === Helpers of all parts ===

    pub(crate) fn after(&mut self, millis: u64, event: Event) {
        self.queue.put(self.now + millis, event);
    }

    /// The time that the scheduler is told.
    pub(crate) fn timestamp(&self) -> Timestamp {
        Timestamp::from_millis(BEGINNING + self.now)
    }

    /// The world's time of a time that the scheduler told.
    pub(crate) fn millis_of(timestamp: Timestamp) -> u64 {
        timestamp.as_millis().saturating_sub(BEGINNING)
    }

    /// A short way through a network.
    pub(crate) fn latency(&mut self) -> u64 {
        self.dice.around(6)
    }

    /// Whether a fault of this rate happens now.
    pub(crate) fn fails(&mut self, per_mille: u64) -> bool {
        !self.settled && self.dice.chance(per_mille)
    }

    pub(crate) fn note<T: std::fmt::Display>(&mut self, what: impl FnOnce() -> T) {
        self.trace.line(self.now, what);
    }

    /// A promise was broken; the first one counts.
    pub(crate) fn violate(&mut self, violation: String) {
        self.violation.get_or_insert(violation);
    }
}

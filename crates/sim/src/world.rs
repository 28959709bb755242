//! The clock, the events and who takes them.

use std::{
    panic::{self, AssertUnwindSafe},
    sync::Arc,
};

use gantry_core::{
    Call, FrameworkId, MesosEvent, Question, Record, TaskId, Template, Timestamp, Verdict,
};

use crate::{
    Failure, Sabotage, Summary,
    agents::{Agent, Stage, Update},
    clients::Clients,
    decay::Decay,
    dice::Dice,
    gantry::Gantry,
    invariants::Memory,
    keeper::{Keeper, Request, Word},
    link::Link,
    master::Master,
    modules::Modules,
    plan::{Plan, SETTLING},
    queue::Queue,
    trace::{Detail, Trace},
};

/// When worlds begin, in milliseconds since the Unix epoch.
const BEGINNING: u64 = 1_700_000_000_000;

/// More events than any sane run has; a run that exceeds it is going in circles.
const EVENTS_MAX: u64 = 4_000_000;

/// What happens next. Events that belong to a life of a process, a term, a link, a connection, a
/// session of an agent or an attempt carry its number, and are void when it is over.
#[derive(Debug)]
pub(crate) enum Event {
    /// To one of the Gantrys. It has to wait while the process is frozen.
    At {
        gantry: usize,
        what: Happening,
    },
    // Gantrys.
    Start {
        gantry: usize,
    },
    Rejoined {
        gantry: usize,
    },
    // Between a Gantry and the master.
    Subscribe {
        link: u64,
        id: Option<FrameworkId>,
    },
    ToMaster {
        link: u64,
        call: Call,
    },
    LinkBreaks {
        link: u64,
    },
    // ZooKeeper.
    ToKeeper {
        connection: u64,
        sent_at: u64,
        request: Request,
    },
    KeeperLoses {
        connection: u64,
    },
    Expiry {
        session: u64,
    },
    KeeperUp,
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
        template: Arc<Template>,
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
    /// A drained agent is to be used again.
    Reactivate {
        agent: usize,
    },
    // People and fate.
    Weather,
    Fault,
    Operator,
    Settle,
    ModulesGone,
}

/// What happens to a Gantry.
#[derive(Debug)]
pub(crate) enum Happening {
    // The candidate for leadership.
    Connects {
        life: u64,
    },
    ConnectionSeenDown {
        connection: u64,
    },
    KeeperSays {
        connection: u64,
        sent_at: u64,
        word: Word,
    },
    Tick {
        connection: u64,
    },
    LeaseEnds {
        term: u64,
    },
    /// To end (SIGTERM).
    Told,
    // The term.
    Step {
        term: u64,
    },
    Wake {
        term: u64,
    },
    CommitOverdue {
        term: u64,
        confirmed: u64,
    },
    Commits {
        term: u64,
    },
    Release {
        term: u64,
    },
    // The connection to the master.
    Subscribes {
        term: u64,
    },
    LinkSeenDown {
        link: u64,
    },
    Hears {
        link: u64,
        event: MesosEvent,
    },
    // The clients.
    Asked {
        token: u64,
        proxied: bool,
    },
    // The modules.
    Answered {
        term: u64,
        question: Question,
        verdict: Verdict,
    },
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
    pub(crate) gantrys: Vec<Gantry>,
    /// Every link to the master that there ever was.
    pub(crate) links: Vec<Link>,
    pub(crate) keeper: Keeper,
    pub(crate) clients: Clients,
    pub(crate) master: Master,
    pub(crate) agents: Vec<Agent>,
    pub(crate) memory: Memory,
    pub(crate) modules: Modules,
    pub(crate) decay: Decay,
    pub(crate) sabotage: Option<Sabotage>,
    /// What a sabotage keeps for later.
    pub(crate) reverted: Option<Record>,
    /// The faults are over.
    pub(crate) settled: bool,
    pub(crate) summary: Summary,
    violation: Option<String>,
}

impl World {
    pub(crate) fn new(seed: u64, sabotage: Option<Sabotage>, detail: Detail) -> Self {
        let mut dice = Dice::new(seed, 1);
        let plan = Plan::new(&mut dice);
        Self {
            seed,
            now: 0,
            gantrys: (0..plan.gantrys).map(|_| Gantry::default()).collect(),
            plan,
            queue: Queue::new(),
            trace: Trace::new(detail),
            links: Vec::new(),
            keeper: Keeper::default(),
            clients: Clients::default(),
            master: Master::default(),
            agents: Vec::new(),
            memory: Memory::default(),
            modules: Modules::new(seed),
            decay: Decay::new(seed),
            sabotage,
            reverted: None,
            settled: false,
            summary: Summary::default(),
            violation: None,
            dice,
        }
    }

    /// Runs to the end, or to the first broken promise; with the account that was asked for. A panic
    /// is one, too.
    pub(crate) fn run(mut self) -> Result<(Summary, Vec<String>), Box<Failure>> {
        // What a panic leaves behind is looked at only to tell of it.
        let outcome = panic::catch_unwind(AssertUnwindSafe(|| self.go_on()));
        if let Err(payload) = outcome {
            let text = payload.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
            self.violate(format!("it panics: {}", text.unwrap_or("without a word")));
        }
        self.summary.millis = self.now;
        self.summary.fingerprint = self.trace.fingerprint();
        match self.violation {
            None => Ok((self.summary, self.trace.into_lines())),
            Some(violation) => Err(Box::new(Failure {
                seed: self.seed,
                event: self.summary.events,
                millis: self.now,
                violation,
                trace: self.trace.into_lines(),
            })),
        }
    }

    fn go_on(&mut self) {
        for host in 1..=self.plan.agents {
            self.join(host);
        }
        for gantry in 0..self.gantrys.len() {
            self.after(gantry as u64, Event::Start { gantry });
        }
        self.after(500, Event::Allocate);
        self.after(self.plan.weather_every, Event::Weather);
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
                    return self.check_liveness();
                }
            }
            if self.summary.events > EVENTS_MAX {
                self.violate("the world does not come to rest".to_owned());
            }
        }
    }

    fn handle(&mut self, event: Event) {
        self.trace.count(self.now);
        match event {
            Event::At { gantry, what } => {
                let until = self.gantrys[gantry].frozen_until;
                if until > self.now {
                    return self.queue.put(until, Event::At { gantry, what });
                }
                self.happens(gantry, what);
            }
            Event::Start { gantry } => self.process_starts(gantry),
            Event::Rejoined { gantry } => self.gantrys[gantry].cut_off = false,
            Event::Subscribe { link, id } => self.master_hears_subscribe(link, id),
            Event::ToMaster { link, call } => self.master_hears(link, call),
            Event::LinkBreaks { link } => self.master_loses_link(link),
            Event::ToKeeper {
                connection,
                sent_at,
                request,
            } => self.keeper_hears(connection, sent_at, request),
            Event::KeeperLoses { connection } => self.keeper_loses(connection),
            Event::Expiry { session } => self.look_at_session(session),
            Event::KeeperUp => self.keeper_up(),
            Event::Allocate => self.allocate(),
            Event::MasterUp => self.master_up(),
            Event::AgentTimeout { agent, silence } => self.agent_timeout(agent, silence),
            Event::Launch {
                agent,
                session,
                task,
                template,
            } => self.agent_launches(agent, session, task, &template),
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
            Event::Reactivate { agent } => {
                self.agents[agent].drained = false;
                self.allocate_now();
            }
            Event::Join { host } => self.join(host),
            Event::Weather => self.weather(),
            Event::Fault => self.fault(),
            Event::Operator => self.operate(),
            Event::Settle => self.settle(),
            Event::ModulesGone => self.modules_gone(),
        }
    }

    fn happens(&mut self, gantry: usize, what: Happening) {
        match what {
            Happening::Connects { life } => self.candidate_connects(gantry, life),
            Happening::ConnectionSeenDown { connection } => {
                self.connection_seen_down(gantry, connection);
            }
            Happening::KeeperSays {
                connection,
                sent_at,
                word,
            } => self.keeper_says(gantry, connection, sent_at, word),
            Happening::Tick { connection } => self.candidate_ticks(gantry, connection),
            Happening::LeaseEnds { term } => self.lease_ends(gantry, term),
            Happening::Told => self.drain(gantry),
            Happening::Step { term } => self.step_due(gantry, term),
            Happening::Wake { term } => self.wake_due(gantry, term),
            Happening::CommitOverdue { term, confirmed } => {
                self.commit_overdue(gantry, term, confirmed);
            }
            Happening::Commits { term } => self.commit_again(gantry, term),
            Happening::Release { term } => self.release_on(gantry, term),
            Happening::Subscribes { term } => self.gantry_subscribes(gantry, term),
            Happening::LinkSeenDown { link } => self.link_seen_down(gantry, link),
            Happening::Hears { link, event } => self.gantry_hears(gantry, link, event),
            Happening::Asked { token, proxied } => self.gantry_asked(gantry, token, proxied),
            Happening::Answered {
                term,
                question,
                verdict,
            } => self.modules_answer(gantry, term, question, verdict),
        }
    }

    // === Helpers of all parts ===

    pub(crate) fn after(&mut self, millis: u64, event: Event) {
        self.queue.put(self.now + millis, event);
    }

    /// Something that happens to a Gantry later.
    pub(crate) fn soon(&mut self, millis: u64, gantry: usize, what: Happening) {
        self.after(millis, Event::At { gantry, what });
    }

    /// The time that a clock shows which is off by so much.
    pub(crate) fn clock(&self, off: i64) -> Timestamp {
        Timestamp::from_millis((BEGINNING + self.now).saturating_add_signed(off))
    }

    /// The world's time of a time that such a clock shows.
    pub(crate) fn millis_of(timestamp: Timestamp, off: i64) -> u64 {
        timestamp
            .as_millis()
            .saturating_add_signed(-off)
            .saturating_sub(BEGINNING)
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

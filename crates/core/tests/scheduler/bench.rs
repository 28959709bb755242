//! The test bench: a scheduler, a store made of its writes, and what it has sent and not been
//! asked about.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use gantry_core::*;

/// A scheduler under test.
pub(crate) struct Bench {
    pub(crate) scheduler: Scheduler,
    pub(crate) now: Timestamp,
    pub(crate) store: BTreeMap<Key, Record>,
    pub(crate) settings: Settings,
    pub(crate) services: Vec<ServiceSpec>,
    /// What the next scheduler cannot read.
    pub(crate) unreadable: Vec<Unreadable>,
    calls: VecDeque<Call>,
    replies: VecDeque<Result<Answer, Refusal>>,
    tokens: u64,
    offers: u64,
    updates: u8,
    questions: VecDeque<Question>,
    /// Whether nothing may be launched without an admission, and which were given.
    admission: bool,
    admitted: BTreeSet<(String, u32)>,
    pub(crate) wake_at: Option<Timestamp>,
}

pub(crate) const FRAMEWORK: &str = "fw";

/// A service of small tasks.
pub(crate) fn service(name: &str, instances: u32) -> ServiceSpec {
    ServiceSpec {
        name: WorkloadName::new(name),
        instances,
        priority: 1,
        wait_healthy: false,
        allow_scaling: true,
        back_off: BackOff::default(),
        update: Default::default(),
        template: Template {
            demand: Demand {
                cpus: Amount::from_units(1),
                mem: Amount::from_units(64),
                ..Demand::default()
            },
            placement: Placement::default(),
            command: TaskCommand::Shell("sleep 1000".into()),
            container: Container::None,
            environment: Vec::new(),
            uris: Vec::new(),
            labels: BTreeMap::new(),
            user: None,
            health_check: None,
            kill_grace: None,
        },
    }
}

/// A health check; what it asks does not matter here.
pub(crate) fn health_check() -> HealthCheck {
    HealthCheck {
        probe: Probe::Command {
            command: "true".into(),
        },
        delay: Duration::ZERO,
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        consecutive_failures: 3,
        grace_period: Duration::ZERO,
    }
}

pub(crate) fn agent(name: &str, attributes: &[(&str, &str)]) -> Arc<AgentAddress> {
    Arc::new(AgentAddress {
        id: AgentId::new(format!("agent-{name}")),
        hostname: name.to_owned(),
        ip: "10.0.0.1".to_owned(),
        port: 5051,
        attributes: attributes
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
    })
}

/// Unreserved cpus, mem and ports.
pub(crate) fn entries(cpus: f64, mem: u64, ports: &[PortRange]) -> Vec<OfferEntry> {
    let reservations = Arc::new(Reservations::default());
    let mut entries = vec![
        OfferEntry {
            reservations: reservations.clone(),
            value: EntryValue::Scalar(Scalar::Cpus, Amount::from_f64(cpus)),
        },
        OfferEntry {
            reservations: reservations.clone(),
            value: EntryValue::Scalar(Scalar::Mem, Amount::from_units(mem)),
        },
    ];
    if !ports.is_empty() {
        entries.push(OfferEntry {
            reservations,
            value: EntryValue::Ports(PortSet::from_ranges(ports.iter().copied())),
        });
    }
    entries
}

impl Bench {
    /// Started, not subscribed.
    pub(crate) fn unsubscribed(services: Vec<ServiceSpec>) -> Self {
        Self::with_settings(services, Settings::new(FRAMEWORK))
    }

    pub(crate) fn with_settings(services: Vec<ServiceSpec>, settings: Settings) -> Self {
        let now = Timestamp::from_millis(1_000_000);
        let (scheduler, effects) = Scheduler::start(
            now,
            settings.clone(),
            IdGenerator::new([1, 2, 3, 4]),
            services.clone(),
            Found::default(),
        );
        let mut bench = Self {
            scheduler,
            now,
            store: BTreeMap::new(),
            services,
            unreadable: Vec::new(),
            calls: VecDeque::new(),
            replies: VecDeque::new(),
            tokens: 0,
            offers: 0,
            updates: 0,
            questions: VecDeque::new(),
            admission: settings.admission,
            admitted: BTreeSet::new(),
            settings,
            wake_at: None,
        };
        bench.take_in(effects);
        bench
    }

    /// Started and subscribed, with the calls of that taken.
    pub(crate) fn new(services: Vec<ServiceSpec>) -> Self {
        let mut bench = Self::unsubscribed(services);
        bench.subscribe();
        bench.calls.clear();
        bench
    }

    /// Crashes the scheduler and starts another from the store.
    pub(crate) fn restart(&mut self) {
        let records: Vec<_> = self.store.values().cloned().collect();
        let unreadable = self.unreadable.clone();
        let seed = [self.now.as_millis(), 5, 6, 7];
        let (scheduler, effects) = Scheduler::start(
            self.now,
            self.settings.clone(),
            IdGenerator::new(seed),
            self.services.clone(),
            Found {
                records,
                unreadable,
            },
        );
        self.scheduler = scheduler;
        self.calls.clear();
        self.questions.clear();
        self.admitted.clear();
        self.admission = self.settings.admission;
        self.take_in(effects);
    }

    fn take_in(&mut self, effects: Effects) {
        // The scheduler proves its invariants by itself: debug builds do.
        for write in effects.writes {
            let key = match &write {
                Write::Put(record) => record.key(),
                Write::Delete(key) => key.clone(),
            };
            self.unreadable.retain(|one| one.key.as_ref() != Some(&key));
            match write {
                Write::Put(record) => {
                    self.store.insert(record.key(), record);
                }
                Write::Delete(key) => {
                    self.store.remove(&key);
                }
            }
        }
        // No launch without a stored intent.
        for call in &effects.calls {
            if let Call::Accept { launches, .. } = call {
                for launch in launches {
                    assert!(
                        self.store.contains_key(&Key::Task(launch.task.clone())),
                        "{launch:?}"
                    );
                    self.uses_an_admission(launch);
                }
            }
        }
        assert!(self.admission || effects.questions.is_empty());
        self.questions.extend(effects.questions);
        self.calls.extend(effects.calls);
        self.replies
            .extend(effects.replies.into_iter().map(|(_, reply)| reply));
        self.wake_at = effects.wake_at;
    }

    /// No launch without an admission, and no admission for two launches.
    fn uses_an_admission(&mut self, launch: &Launch) {
        let number = launch.task.parts(FRAMEWORK).map(|parts| parts.number);
        let place = (launch.workload.to_string(), number.unwrap_or_default());
        assert!(!self.admission || self.admitted.remove(&place), "{place:?}");
    }

    /// The questions that were asked and not taken yet.
    pub(crate) fn asked(&mut self) -> Vec<Question> {
        self.questions.drain(..).collect()
    }

    /// The one question that was asked and not taken yet.
    pub(crate) fn asked_one(&mut self) -> Question {
        let mut asked = self.asked();
        assert_eq!(asked.len(), 1, "{asked:?}");
        asked.remove(0)
    }

    pub(crate) fn answer(&mut self, question: &Question, verdict: Verdict) {
        if matches!(verdict, Verdict::Admitted { .. }) {
            let place = (question.workload.as_str().to_owned(), question.number);
            self.admitted.insert(place);
        }
        self.step(vec![Input::Admission {
            workload: question.workload.clone(),
            number: question.number,
            asked: question.asked,
            verdict,
        }]);
    }

    pub(crate) fn admit(&mut self, question: &Question) {
        let environment = AddedEnvironment::default();
        self.answer(question, Verdict::Admitted { environment });
    }

    pub(crate) fn refuse(&mut self, question: &Question, seconds: u64) {
        let verdict = Verdict::Refused {
            module: "guard".into(),
            reason: "the database is being moved".into(),
            again_after: Duration::from_secs(seconds),
        };
        self.answer(question, verdict);
    }

    pub(crate) fn need_admission(&mut self, needed: bool) {
        if std::mem::replace(&mut self.admission, needed) != needed {
            self.admitted.clear();
        }
        self.step(vec![Input::AdmissionNeeded(needed)]);
    }

    pub(crate) fn step(&mut self, inputs: Vec<Input>) {
        let effects = self.scheduler.step(self.now, inputs);
        self.take_in(effects);
    }

    pub(crate) fn event(&mut self, event: MesosEvent) {
        self.step(vec![Input::Mesos(event)]);
    }

    /// Subscribes. A scheduler that goes on where another stopped asks first which tasks there are.
    pub(crate) fn subscribe(&mut self) {
        let framework = self.scheduler.view().framework;
        let goes_on = framework.id.is_some() && framework.subscription == 0;
        self.event(MesosEvent::Subscribed {
            framework_id: FrameworkId::new("id-0001"),
        });
        if goes_on {
            assert_eq!(self.reconciled(), []);
        }
    }

    /// What the store holds under `key` cannot be read by the next scheduler.
    pub(crate) fn spoil(&mut self, key: &Key) {
        self.store.remove(key).expect("it is stored");
        self.unreadable.push(Unreadable {
            place: format!("{key:?}").into(),
            key: Some(key.clone()),
            reason: "it is not readable".into(),
        });
    }

    /// Mesos answers a question about a task.
    pub(crate) fn answered(&mut self, task: &TaskId, state: TaskState) {
        let mut update = self.update(task, state);
        update.uuid = None;
        update.reason = Some("REASON_RECONCILIATION".into());
        self.event(MesosEvent::Status(update));
    }

    /// Lets time pass, waking the scheduler whenever it asked to be.
    pub(crate) fn advance(&mut self, duration: Duration) {
        let until = self.now + duration;
        while let Some(at) = self.wake_at.filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.step(Vec::new());
        }
        self.now = until;
        self.step(Vec::new());
    }

    pub(crate) fn offer_of(
        &mut self,
        agent: &Arc<AgentAddress>,
        entries: Vec<OfferEntry>,
    ) -> Offer {
        self.offers += 1;
        Offer {
            id: OfferId::new(format!("O{}", self.offers)),
            agent: agent.clone(),
            role: "*".into(),
            entries,
            unavailable: None,
        }
    }

    /// Offers `cpus` with plenty of memory and ports on each of these agents, in one event.
    pub(crate) fn offer(&mut self, agents: &[&Arc<AgentAddress>], cpus: f64) {
        let offers = agents
            .iter()
            .map(|agent| self.offer_of(agent, entries(cpus, 65_536, &[(31_000, 31_999)])))
            .collect();
        self.event(MesosEvent::Offers(offers));
    }

    pub(crate) fn update(&mut self, task: &TaskId, state: TaskState) -> StatusUpdate {
        self.updates = self.updates.wrapping_add(1);
        StatusUpdate {
            task: task.clone(),
            agent: Some(AgentId::new("agent-big")),
            state,
            uuid: Some([self.updates; 16]),
            reason: None,
            message: None,
            healthy: None,
        }
    }

    /// Tells of a task's state and takes the acknowledgement.
    pub(crate) fn tell(&mut self, task: &TaskId, state: TaskState) {
        let update = self.update(task, state);
        self.tell_update(update);
    }

    pub(crate) fn tell_update(&mut self, update: StatusUpdate) {
        let (id, uuid) = (update.task.clone(), update.uuid);
        self.event(MesosEvent::Status(update));
        if let Some(expected) = uuid {
            let position = self
                .calls
                .iter()
                .position(|call| matches!(call, Call::Acknowledge { task, uuid, .. } if *task == id && *uuid == expected))
                .expect("the update was not acknowledged");
            self.calls.remove(position);
        }
    }

    pub(crate) fn command(&mut self, command: Command) -> Result<Answer, Refusal> {
        self.tokens += 1;
        let actor = Actor {
            name: "test".into(),
            address: "127.0.0.1".into(),
            reason: None,
        };
        self.step(vec![Input::Command {
            token: ReplyToken(self.tokens),
            actor,
            command,
        }]);
        self.replies.pop_front().expect("every command is answered")
    }

    pub(crate) fn scale(&mut self, name: &str, instances: u32) -> Result<Answer, Refusal> {
        self.command(Command::Scale {
            workload: WorkloadName::new(name),
            instances,
        })
    }

    // === What was sent ===

    /// Takes the launches of the one ACCEPT that was sent next.
    pub(crate) fn accepted(&mut self) -> Vec<Launch> {
        match self.calls.pop_front() {
            Some(Call::Accept { launches, .. }) => launches,
            other => panic!("expected ACCEPT, found {other:?}"),
        }
    }

    /// Takes all launches of all ACCEPTs that were sent next.
    pub(crate) fn launched(&mut self) -> Vec<Launch> {
        let mut launched = Vec::new();
        while matches!(self.calls.front(), Some(Call::Accept { .. })) {
            launched.extend(self.accepted());
        }
        launched
    }

    /// Takes everything that was sent, and of that all launches and the tasks to be killed.
    pub(crate) fn all_sent(&mut self) -> (Vec<Launch>, Vec<TaskId>) {
        let (mut launched, mut killed) = (Vec::new(), Vec::new());
        for call in self.calls.drain(..) {
            match call {
                Call::Accept { launches, .. } => launched.extend(launches),
                Call::Kill { task, .. } => killed.push(task),
                _ => {}
            }
        }
        (launched, killed)
    }

    pub(crate) fn declined(&mut self) -> usize {
        match self.calls.pop_front() {
            Some(Call::Decline { offers, .. }) => offers.len(),
            other => panic!("expected DECLINE, found {other:?}"),
        }
    }

    pub(crate) fn killed(&mut self) -> TaskId {
        match self.calls.pop_front() {
            Some(Call::Kill { task, .. }) => task,
            other => panic!("expected KILL, found {other:?}"),
        }
    }

    pub(crate) fn reconciled(&mut self) -> Vec<TaskId> {
        match self.calls.pop_front() {
            Some(Call::Reconcile { tasks }) => tasks.into_iter().map(|(task, _)| task).collect(),
            other => panic!("expected RECONCILE, found {other:?}"),
        }
    }

    pub(crate) fn suppressed(&mut self) {
        let call = self.calls.pop_front();
        assert!(
            matches!(call, Some(Call::Suppress)),
            "expected SUPPRESS, found {call:?}"
        );
    }

    /// REVIVE, which may have to wait for its limit.
    pub(crate) fn revived(&mut self) {
        if self.calls.is_empty() {
            self.advance(Duration::from_millis(60));
        }
        let call = self.calls.pop_front();
        assert!(
            matches!(call, Some(Call::Revive)),
            "expected REVIVE, found {call:?}"
        );
    }

    /// For tests that are about something else than what was sent so far.
    pub(crate) fn forget_calls(&mut self) {
        self.calls.clear();
    }

    /// Proves that nothing else was sent.
    pub(crate) fn nothing_else(&self) {
        assert!(self.calls.is_empty(), "unexpected calls: {:#?}", self.calls);
    }

    pub(crate) fn workload(&self, name: &str) -> Arc<Workload> {
        self.scheduler
            .view()
            .workload(name)
            .expect("the workload exists")
            .clone()
    }

    pub(crate) fn instance(&self, name: &str, number: u32) -> Instance {
        self.workload(name)
            .instances
            .get(number)
            .expect("the instance exists")
            .clone()
    }

    /// Launches and runs all instances of the services on one big agent; their task ids by instance.
    pub(crate) fn run_all(&mut self) -> BTreeMap<String, TaskId> {
        self.calls.clear();
        let big = agent("big", &[]);
        self.offer(&[&big], 1000.0);
        let launched = self.launched();
        let mut tasks = BTreeMap::new();
        for launch in launched {
            self.tell(&launch.task, TaskState::Running);
            tasks.insert(launch.instance.to_string(), launch.task);
        }
        self.calls.clear();
        tasks
    }
}

//! A scheduler behind the faces, told what Mesos says by the test. No store and no master: what
//! the faces read and send is real, what happens is the test's to decide.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use gantry_core::{
    AgentAddress, AgentId, Amount, BackOff, Call, CheckedPort, Container, Demand, EntryValue,
    EnvironmentValue, EnvironmentVariable, FrameworkId, HealthCheck, IdGenerator, Input, Launch,
    MesosEvent, Network, Offer, OfferEntry, OfferId, Parameter, Placement, PortSet, Probe, Scalar,
    Scheduler, Secret, ServiceSpec, Settings, StatusUpdate, TaskCommand, TaskId, TaskState,
    Template, Timestamp, Uri, WorkloadName,
};

use gantry_store::{Member, Memory, Store};

use crate::{
    config,
    http::{AppState, HttpSettings, LogTail},
    modules::Modules,
    runtime::{CommandError, ConnectionState, Handle, HomeKind, HomeStatus, Reach, Shared},
};

/// When the worlds of the tests begin.
pub(super) const START: u64 = 1_700_000_000_000;

/// The value that no answer may hold.
pub(super) const SECRET: &str = "hunter2-hunter2";

/// Makes what a step did visible to readers.
type Publish = Arc<dyn Fn(&Scheduler, gantry_core::Effects) + Send + Sync>;

pub(super) struct World {
    pub(super) state: AppState,
    scheduler: Arc<Mutex<Scheduler>>,
    publish: Publish,
    pub(super) shared: Arc<Shared>,
    home: Arc<Mutex<HomeStatus>>,
    at: Mutex<u64>,
    offers: Mutex<u32>,
    modules: Option<tempfile::TempDir>,
}

impl World {
    pub(super) fn new(services: Vec<ServiceSpec>) -> Self {
        Self::with(services, |_| {})
    }

    /// One that leads.
    pub(super) fn with(services: Vec<ServiceSpec>, adjust: impl Fn(&mut HttpSettings)) -> Self {
        let world = Self::candidate(services, adjust);
        world.lead();
        world
    }

    /// One that leads, with modules of these names whose default functions have these bodies.
    pub(super) async fn with_modules(services: Vec<ServiceSpec>, modules: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for (name, body) in modules {
            let module = directory.path().join(format!("{name}-module"));
            std::fs::create_dir(&module).unwrap();
            let source = format!("export default (gantry) => {{ {body} }}");
            std::fs::write(module.join("index.js"), source).unwrap();
            std::fs::write(module.join("page.html"), "<p>a page</p>").unwrap();
        }
        let mut world = Self::candidate(services, |_| {});
        let handle = world.state.handle().clone();
        let found = config::Modules {
            directory: directory.path().to_owned(),
            fetch_allow: Vec::new(),
            variables: Default::default(),
        };
        let found = Modules::find(&framework(), &found);
        let settings = world.state.settings().clone();
        world.state = AppState::with_modules(handle.clone(), settings, found.clone());
        world.modules = Some(directory);
        tokio::spawn(found.run(handle));
        world.lead();
        world
    }

    /// One that has never led, and has read nothing.
    pub(super) fn candidate(
        services: Vec<ServiceSpec>,
        adjust: impl Fn(&mut HttpSettings),
    ) -> Self {
        let start = Timestamp::from_millis(START);
        let ids = IdGenerator::new([1, 2, 3, 4]);
        let declared = services
            .iter()
            .map(|service| {
                (
                    service.name.as_str().to_owned(),
                    service.instances.to_string(),
                )
            })
            .collect();
        let (scheduler, _) = Scheduler::start(
            start,
            Settings::new("my-fw"),
            ids,
            services,
            gantry_core::Found::default(),
        );
        let me = member("me", Some(OWN_URL.to_owned()));
        let home = Arc::new(Mutex::new(HomeStatus {
            kind: HomeKind::Embedded,
            reach: Reach::Always,
            leader: Some(me.clone()),
        }));
        let told = Arc::clone(&home);
        let handle = Handle::new(me, scheduler.view(), move || told.lock().unwrap().clone());
        let shared = Arc::clone(handle.shared());
        let mut settings = HttpSettings::new("my fw", LogTail::new("/nowhere", "my fw.log"));
        settings.declared_counts = declared;
        adjust(&mut settings);
        let scheduler = Arc::new(Mutex::new(scheduler));
        let publish: Publish = {
            let shared = Arc::clone(&shared);
            Arc::new(move |scheduler, effects| {
                shared.view.store(Arc::new(scheduler.view()));
                shared.events.tell(scheduler.view().at, effects.notices);
            })
        };
        Self {
            state: AppState::new(handle, settings),
            scheduler,
            publish,
            shared,
            home,
            at: Mutex::new(START),
            offers: Mutex::new(0),
            modules: None,
        }
    }

    /// A term begins.
    pub(super) fn lead(&self) {
        let view = self.scheduler.lock().unwrap().view();
        let store: Arc<dyn Store> = Arc::new(Memory::new());
        let (mut requests, _) = self.shared.open(view, &store);
        let (scheduler, publish) = (Arc::clone(&self.scheduler), Arc::clone(&self.publish));
        tokio::spawn(async move {
            while let Some(request) = requests.recv().await {
                let input = Input::Command {
                    token: request.token,
                    actor: request.actor,
                    command: request.command,
                };
                let mut scheduler = scheduler.lock().unwrap();
                let now = scheduler.view().at;
                let mut effects = scheduler.step(now, vec![input]);
                let (_, answer) = effects.replies.pop().expect("a command is answered");
                publish(&scheduler, effects);
                let _ = request.reply.send(answer.map_err(CommandError::Refused));
            }
        });
    }

    /// The term ends; `leader` leads now, as far as is known.
    pub(super) fn step_down(&self, leader: Option<Member>) {
        self.follow(leader);
        let ended = "the lease has ended".to_owned();
        self.shared.close(ConnectionState::StandBy, ended);
    }

    /// ZooKeeper can be reached, and names this leader.
    pub(super) fn follow(&self, leader: Option<Member>) {
        let since = Timestamp::from_millis(START);
        *self.home.lock().unwrap() = HomeStatus {
            kind: HomeKind::ZooKeeper,
            reach: Reach::Connected { since },
            leader,
        };
    }

    /// ZooKeeper cannot be reached.
    pub(super) fn cut_off(&self, reach: Reach) {
        self.home.lock().unwrap().reach = reach;
    }

    /// One millisecond later, these things happen.
    pub(super) fn step(&self, events: Vec<MesosEvent>) -> Vec<Call> {
        self.step_after(1, events)
    }

    pub(super) fn step_after(&self, millis: u64, events: Vec<MesosEvent>) -> Vec<Call> {
        let mut at = self.at.lock().unwrap();
        *at += millis;
        let inputs = events.into_iter().map(Input::Mesos).collect();
        let mut scheduler = self.scheduler.lock().unwrap();
        let mut effects = scheduler.step(Timestamp::from_millis(*at), inputs);
        scheduler.check().expect("the invariants hold");
        let calls = std::mem::take(&mut effects.calls);
        (self.publish)(&scheduler, effects);
        calls
    }

    pub(super) fn subscribe(&self) {
        let start = Timestamp::from_millis(START);
        let connection = &self.shared.connection;
        connection.set_state(ConnectionState::Subscribed, start);
        self.step(vec![MesosEvent::Subscribed {
            framework_id: FrameworkId::new("fw-0001"),
        }]);
    }

    /// The master was heard of so long ago.
    pub(super) fn heartbeat(&self, ago: Duration) {
        let at = Instant::now()
            .checked_sub(ago)
            .expect("a while since the machine's start");
        self.shared.connection.heard(at);
    }

    /// An offer of an agent with so much; what is launched on it.
    pub(super) fn offer(&self, agent: u32, cpus: u64, mem: u64) -> Vec<Launch> {
        let mut offers = self.offers.lock().unwrap();
        *offers += 1;
        let entry = |value| OfferEntry {
            reservations: Arc::default(),
            value,
        };
        let scalar = |scalar, units| entry(EntryValue::Scalar(scalar, Amount::from_units(units)));
        let offer = Offer {
            id: OfferId::new(format!("offer-{offers}")),
            agent: Arc::new(agent_address(agent)),
            role: "*".into(),
            entries: vec![
                scalar(Scalar::Cpus, cpus),
                scalar(Scalar::Mem, mem),
                entry(EntryValue::Ports(PortSet::from_ranges([
                    (31_000, 31_999),
                    (8080, 8080),
                ]))),
            ],
            unavailable: None,
        };
        let calls = self.step(vec![MesosEvent::Offers(vec![offer])]);
        calls
            .into_iter()
            .filter_map(|call| match call {
                Call::Accept { launches, .. } => Some(launches),
                _ => None,
            })
            .flatten()
            .collect()
    }

    pub(super) fn status(&self, task: &TaskId, state: TaskState) -> Vec<Call> {
        self.status_with(task, state, None, None)
    }

    pub(super) fn status_with(
        &self,
        task: &TaskId,
        state: TaskState,
        healthy: Option<bool>,
        message: Option<&str>,
    ) -> Vec<Call> {
        self.step(vec![MesosEvent::Status(StatusUpdate {
            task: task.clone(),
            agent: Some(AgentId::new("agent-1")),
            state,
            uuid: Some([7; 16]),
            reason: message.map(|_| "REASON_COMMAND_EXECUTOR_FAILED".into()),
            message: message.map(str::to_owned),
            healthy,
        })])
    }
}

fn framework() -> config::Framework {
    config::Framework {
        name: "my fw".to_owned(),
        task_name: "my-fw".to_owned(),
        user: "root".to_owned(),
        roles: Vec::new(),
        hostname: "host".to_owned(),
        webui_url: String::new(),
        failover_timeout: Duration::ZERO,
        background: None,
    }
}

/// Where the Gantry of a world says that it is reached; nothing is there.
pub(super) const OWN_URL: &str = "http://me.example:1";

pub(super) fn member(id: &str, url: Option<String>) -> Member {
    Member {
        id: id.to_owned(),
        host: format!("{id}.example"),
        url,
    }
}

pub(super) fn agent_address(number: u32) -> AgentAddress {
    AgentAddress {
        id: AgentId::new(format!("agent-{number}")),
        hostname: format!("host-{number}.example"),
        ip: format!("10.0.0.{number}"),
        port: 5051,
        attributes: vec![("rack".to_owned(), format!("r{}", number % 3))],
    }
}

/// The plainest service: a container of half a cpu and 64 MB.
pub(super) fn service(name: &str, instances: u32) -> ServiceSpec {
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
                cpus: Amount::from_thousandths(500),
                mem: Amount::from_units(64),
                ..Demand::default()
            },
            placement: Placement::default(),
            command: TaskCommand::Arguments(Vec::new()),
            container: Container::Docker {
                image: "alpine".to_owned(),
                network: Network::Host,
                privileged: false,
                force_pull: true,
                parameters: Vec::new(),
                volumes: Vec::new(),
            },
            environment: Vec::new(),
            uris: Vec::new(),
            labels: Default::default(),
            user: None,
            health_check: None,
            kill_grace: None,
        },
    }
}

/// A service with everything that the original's variables can say, and secrets in three places.
pub(super) fn rich_service(name: &str, instances: u32) -> ServiceSpec {
    let mut service = service(name, instances);
    let template = &mut service.template;
    template.demand.fixed_ports = vec![8080];
    template.demand.dynamic_ports = 1;
    template.placement.avoid_scheduler_host = true;
    template.command = TaskCommand::Arguments(vec!["sleep".to_owned(), "100".to_owned()]);
    template.environment = vec![
        EnvironmentVariable {
            name: "MODE".to_owned(),
            value: EnvironmentValue::Plain("a \"b\"".to_owned()),
        },
        EnvironmentVariable {
            name: "DB_PASSWORD".to_owned(),
            value: EnvironmentValue::Secret(Secret::new(SECRET, 1)),
        },
    ];
    template.uris = vec![Uri {
        value: format!("http://user:{SECRET}@files.example/a.tgz"),
        executable: None,
        extract: None,
        cache: None,
        output_file: None,
    }];
    if let Container::Docker { parameters, .. } = &mut template.container {
        parameters.push(Parameter {
            key: "env".to_owned(),
            value: format!("TOKEN={SECRET}"),
        });
    }
    template.health_check = Some(HealthCheck {
        probe: Probe::Http {
            scheme: "http".to_owned(),
            path: "/status".to_owned(),
            port: CheckedPort::Index(1),
        },
        delay: Duration::from_secs(15),
        interval: Duration::from_secs(10),
        timeout: Duration::from_secs(20),
        consecutive_failures: 3,
        grace_period: Duration::from_secs(10),
    });
    service
}

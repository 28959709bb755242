//! The driver and the committer against a store that can be held up and fail, with the test in the
//! place of the master.

mod modules;
mod terms;

use std::{collections::BTreeMap, time::Duration};

use gantry_core::{
    Actor, AgentAddress, AgentId, Amount, Answer, BackOff, Call, Command, Container, Demand,
    EntryValue, FrameworkId, MesosEvent, Offer, OfferEntry, OfferId, Placement, Scalar,
    TaskCommand, Template, Timestamp, WorkloadName, stored_view,
};
use gantry_store::{Fault, Member, Memory};
use tokio::time::timeout;

use super::{driver::Session, *};

const SESSION: Session = Session(1);
const WITHIN: Duration = Duration::from_secs(60);

fn web(instances: u32) -> ServiceSpec {
    ServiceSpec {
        name: WorkloadName::new("web"),
        instances,
        priority: 0,
        wait_healthy: false,
        allow_scaling: true,
        back_off: BackOff::default(),
        update: Default::default(),
        template: Template {
            demand: Demand {
                cpus: Amount::from_units(1),
                ..Demand::default()
            },
            placement: Placement::default(),
            command: TaskCommand::Shell("true".to_owned()),
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

async fn start(store: &Memory, instances: u32) -> (Handle, Loops) {
    start_with(Arc::new(store.clone()), instances).await
}

async fn start_with(store: Arc<dyn Store>, instances: u32) -> (Handle, Loops) {
    let found = store.load().await.unwrap().into();
    let handle = handle("me", |_| None);
    let settings = Settings::new("fw");
    let services = vec![web(instances)];
    let loops = Loops::start(settings, services, store, found, handle.shared());
    (handle, loops)
}

fn member(name: &str) -> Member {
    Member {
        id: name.to_owned(),
        host: format!("{name}.example"),
        url: None,
    }
}

/// A handle of a process of this name; `leader` is who leads, as its home sees it.
fn handle(name: &str, leader: fn(&Member) -> Option<Member>) -> Handle {
    let me = member(name);
    let status = HomeStatus {
        kind: HomeKind::ZooKeeper,
        reach: Reach::Connected {
            since: Timestamp::ZERO,
        },
        leader: leader(&me),
    };
    let view = stored_view(wall(), &Settings::new("fw"), gantry_core::Found::default());
    Handle::new(me, view, move || status.clone())
}

fn offer(id: &str) -> MesosEvent {
    MesosEvent::Offers(vec![Offer {
        id: OfferId::new(id),
        agent: Arc::new(AgentAddress {
            id: AgentId::new("S1"),
            hostname: "one".to_owned(),
            ip: "10.0.0.1".to_owned(),
            port: 5051,
            attributes: Vec::new(),
        }),
        role: "*".into(),
        entries: vec![OfferEntry {
            reservations: Arc::default(),
            value: EntryValue::Scalar(Scalar::Cpus, Amount::from_units(8)),
        }],
        unavailable: None,
    }])
}

impl Loops {
    async fn hear(&self, event: MesosEvent) {
        let session = SESSION;
        self.heard.send(Heard { session, event }).await.unwrap();
    }

    async fn subscribe(&self) {
        let framework_id = FrameworkId::new("m-0000");
        self.hear(MesosEvent::Subscribed { framework_id }).await;
    }

    /// The next launched tasks, and that they were decided in the session.
    async fn launches(&mut self) -> usize {
        loop {
            let next = timeout(WITHIN, self.calls.recv()).await;
            let calls = next.expect("calls within the time").expect("a committer");
            assert_eq!(calls.session, SESSION);
            for call in calls.calls {
                if let Call::Accept { launches, .. } = call {
                    return launches.len();
                }
            }
        }
    }
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + WITHIN;
    while !condition() {
        assert!(
            tokio::time::Instant::now() < deadline,
            "not within the time: {what}"
        );
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn actor() -> Actor {
    Actor {
        name: "test".to_owned(),
        address: String::new(),
        reason: None,
    }
}

fn scale(instances: u32) -> Command {
    Command::Scale {
        workload: WorkloadName::new("web"),
        instances,
    }
}

fn desired(handle: &Handle) -> u32 {
    handle.view().workloads[0].desired
}

#[tokio::test]
async fn nothing_leaves_before_it_is_stored() {
    let store = Memory::new();
    let (handle, mut loops) = start(&store, 2).await;
    let mut events = handle.events(None);
    until("the first commit", || store.commits() == 1).await;
    let held = store.hold();

    loops.subscribe().await;
    loops.hear(offer("O1")).await;
    let asking = handle.clone();
    let asked = tokio::spawn(async move { asking.command(actor(), scale(3)).await });
    // The scheduler itself has gone on: both are seen by readers.
    until("a launched task and the new count", || {
        let view = handle.view();
        view.workloads[0].counts.starting == 2 && view.workloads[0].desired == 3
    })
    .await;
    assert!(loops.calls.try_recv().is_err());
    assert!(!asked.is_finished());
    assert_eq!(store.commits(), 1);
    drop(held);

    assert_eq!(loops.launches().await, 2);
    assert_eq!(asked.await.unwrap(), Ok(Answer::Scaled { from: 2, to: 3 }));
    let Some(Delivery::Event(first)) = events.next().await else {
        panic!("an event")
    };
    assert!(matches!(
        first.kind,
        EventKind::Connection { subscribed: true } | EventKind::WorkloadChanged { .. }
    ));

    // What is stored is what a restart finds, tasks and count.
    loops.stop.cancel();
    assert!(loops.committer.await.unwrap().is_ok());
    let (handle, _loops) = start(&store, 2).await;
    assert_eq!(desired(&handle), 3);
    assert_eq!(handle.view().workloads[0].counts.starting, 2);
    assert_eq!(handle.view().framework.id, Some(FrameworkId::new("m-0000")));
}

#[tokio::test]
async fn many_steps_share_a_commit_and_answers_keep_their_order() {
    let store = Memory::new();
    let (handle, _loops) = start(&store, 0).await;
    until("the first commit", || store.commits() == 1).await;
    let held = store.hold();
    let mut answers = Vec::new();
    for instances in 1..=50 {
        let asking = handle.clone();
        answers.push(tokio::spawn(async move {
            asking.command(actor(), scale(instances)).await
        }));
        // One after the other, so that each is a step of its own.
        until("the count", || desired(&handle) == instances).await;
    }
    drop(held);
    for (from, answer) in (0..).zip(answers) {
        let answer = answer.await.unwrap();
        assert_eq!(answer, Ok(Answer::Scaled { from, to: from + 1 }));
    }
    // The first step was on its way; the others went together.
    assert!(store.commits() <= 3, "{} commits", store.commits());
    let (restarted, _loops) = start(&store, 0).await;
    assert_eq!(desired(&restarted), 50);
}

#[tokio::test]
async fn a_store_that_fails_is_tried_again_and_holds_everything_up() {
    let store = Memory::new();
    let (handle, mut loops) = start(&store, 1).await;
    until("the first commit", || store.commits() == 1).await;
    for fault in [Fault::Lost, Fault::AppliedUnheard, Fault::Lost] {
        store.plant(fault);
    }
    let held = store.hold();
    loops.subscribe().await;
    loops.hear(offer("O1")).await;
    until("a launched task", || {
        handle.view().workloads[0].counts.starting == 1
    })
    .await;
    drop(held);
    until("a failure", || handle.metrics().commit_failures.get() > 0).await;
    assert!(matches!(
        handle.connection().store,
        StoreState::Failing { .. }
    ));
    assert!(loops.calls.try_recv().is_err());
    assert!(matches!(
        handle.command(actor(), scale(2)).await,
        Err(CommandError::Unavailable { .. })
    ));
    assert_eq!(loops.launches().await, 1);
    until("the status", || {
        handle.connection().store == StoreState::Writable
    })
    .await;
    assert_eq!(handle.metrics().commit_failures.get(), 3);
}

#[tokio::test]
async fn a_deposed_process_does_nothing_more() {
    let store = Memory::new();
    let (handle, mut loops) = start(&store, 1).await;
    until("the first commit", || store.commits() == 1).await;
    store.plant(Fault::Deposed);
    loops.subscribe().await;
    let ended = loops.committer.await.unwrap();
    assert!(
        matches!(
            ended,
            Err(RuntimeError::LeaseLost(_) | RuntimeError::Store(StoreError::Refused { .. }))
        ),
        "{ended:?}"
    );
    loops.driver.await.unwrap();
    assert!(loops.calls.recv().await.is_none());
    assert_eq!(handle.standing().role, Role::StandBy);
    assert!(matches!(
        handle.command(actor(), scale(2)).await,
        Err(CommandError::StandBy { .. })
    ));
}

#[test]
fn seeds_differ() {
    assert_ne!(seed(), seed());
}

/// On ZooKeeper commits wait for a read of the leader's own, which a backup needs and a plan does not.
#[tokio::test]
async fn what_is_asked_for_lately_is_read_as_by_those_that_stand_by() {
    let store = Memory::new();
    let (handle, _loops) = start(&store, 2).await;
    until("the first commit", || store.commits() == 1).await;
    let records = store.load().await.unwrap().records;
    assert_ne!(records, []);
    // Where nobody stands by there is one way to read.
    assert_eq!(handle.stored_lately().await.unwrap().records, records);

    let elsewhere = gantry_store::Loaded {
        layout: 1,
        records: Vec::new(),
        rejected: Vec::new(),
    };
    let handle = handle.with_reader(move || Box::pin(std::future::ready(Ok(elsewhere.clone()))));
    assert_eq!(handle.stored_lately().await.unwrap().records, []);
    assert_eq!(handle.stored().await.unwrap().records, records);
}

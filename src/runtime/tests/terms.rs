//! From term to term: with stores whose right to write ends when the test says so, and a simulated
//! cluster where the master has to be real.

use std::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use gantry_core::{Key, Record, Write};
use gantry_local::{AgentOptions, Cluster, ClusterHandle, ClusterOptions};
use gantry_mesos::scheduler::{SchedulerEvent, Subscription, connect};
use gantry_store::Loaded;
use tokio::sync::{Notify, watch};

use super::*;

/// The right to write the records for one term.
#[derive(Clone)]
struct Seat {
    records: Memory,
    /// Only its lease is of interest.
    right: Memory,
    refuses_size: Arc<AtomicBool>,
}

impl Seat {
    fn of(records: &Memory) -> Self {
        Self {
            records: records.clone(),
            right: Memory::new(),
            refuses_size: Arc::default(),
        }
    }

    async fn end(&self) {
        self.right.plant(Fault::Deposed);
        let _ = self.right.commit(Vec::new()).await;
        assert!(!self.right.lease().holds());
    }
}

#[async_trait]
impl Store for Seat {
    async fn load(&self) -> Result<Loaded, StoreError> {
        self.records.load().await
    }

    async fn salvage(&self) -> Result<Loaded, StoreError> {
        self.records.salvage().await
    }

    async fn replace(&self, records: Vec<Record>) -> Result<(), StoreError> {
        self.records.replace(records).await
    }

    async fn commit(&self, batch: Vec<Write>) -> Result<(), StoreError> {
        if self.refuses_size.load(Ordering::SeqCst) {
            return Err(StoreError::TooLarge {
                key: "revisions/web/2".to_owned(),
                bytes: 600_000,
                limit: 512_000,
            });
        }
        assert!(self.right.lease().holds(), "a write after the end");
        self.records.commit(batch).await
    }

    fn lease(&self) -> Lease {
        self.right.lease()
    }

    async fn resign(&self) {
        self.end().await;
    }
}

/// Where seats are given away by the test, one at a time.
#[derive(Clone)]
struct House {
    records: Memory,
    free: Arc<Mutex<Option<Seat>>>,
    given: Arc<Notify>,
}

impl House {
    fn of(records: &Memory) -> Self {
        Self {
            records: records.clone(),
            free: Arc::default(),
            given: Arc::default(),
        }
    }

    /// Elects the candidate.
    fn elect(&self) -> Seat {
        let seat = Seat::of(&self.records);
        *self.free.lock().unwrap() = Some(seat.clone());
        self.given.notify_one();
        seat
    }
}

impl Home for House {
    async fn campaign(&self) -> Result<Arc<dyn Store>, StoreError> {
        loop {
            if let Some(seat) = self.free.lock().unwrap().take() {
                return Ok(Arc::new(seat));
            }
            self.given.notified().await;
        }
    }

    async fn read(&self) -> Result<Loaded, StoreError> {
        self.records.load().await
    }
}

/// A Gantry without HTTP.
struct Process {
    handle: Handle,
    house: House,
    /// What it subscribes as, but for the id.
    info: FrameworkInfo,
    stop: CancellationToken,
    ended: JoinHandle<Result<(), RuntimeError>>,
}

impl Process {
    fn start(name: &str, records: &Memory, master: &str) -> Self {
        Self::start_with(name, records, work(master))
    }

    fn start_with(name: &str, records: &Memory, work: Work) -> Self {
        let handle = handle(name, |_| None);
        let house = House::of(records);
        let info = work.info.clone();
        let candidate = Candidate::new(house.clone(), handle.clone(), work, None);
        let stop = CancellationToken::new();
        Self {
            handle,
            house,
            info,
            ended: tokio::spawn(candidate.run(None, stop.clone())),
            stop,
        }
    }

    async fn runs(&self, tasks: u32) {
        until("all tasks run and are confirmed", || {
            let view = self.handle.view();
            let web = view.workload("web");
            self.handle.standing().role == Role::Leader
                && view.framework.subscribed
                && web.is_some_and(|web| web.counts.running == tasks && web.counts.unconfirmed == 0)
        })
        .await;
    }

    async fn stands_by(&self) {
        until("the stand-by", || {
            let standing = self.handle.standing();
            standing.ended.is_some() && standing.role == Role::StandBy
        })
        .await;
    }

    /// Leads within a time that is shorter than the pause after a second fault.
    async fn leads_at_once(&self) {
        let leads = until("the lead", || self.handle.standing().role == Role::Leader);
        timeout(Duration::from_secs(1), leads).await.unwrap();
    }

    /// Reads what is stored twice, to show it.
    async fn reads_twice(&self) {
        for _ in 0..2 {
            let shown = self.handle.standing().shown;
            until("a new copy", || self.handle.standing().shown != shown).await;
        }
    }

    /// Why it does not lead, which stays whatever is read.
    async fn cannot_lead(&self) -> String {
        let fault = || self.handle.standing().fault;
        until("the fault", || fault().is_some()).await;
        let said = fault();
        self.reads_twice().await;
        assert_eq!(fault(), said);
        assert_eq!(self.handle.standing().role, Role::StandBy);
        said.unwrap().reason
    }

    fn launched(&self) -> u64 {
        self.handle.view().counters.launched
    }
}

/// Two tasks for this master.
fn work(master: &str) -> Work {
    let mut service = web(2);
    service.template.demand.mem = Amount::from_units(32);
    service.template.command = TaskCommand::Shell("sleep 3600".to_owned());
    let framework = crate::config::Framework {
        name: "fw".to_owned(),
        task_name: "fw".to_owned(),
        user: "root".to_owned(),
        roles: vec!["*".to_owned()],
        hostname: "localhost".to_owned(),
        webui_url: String::new(),
        failover_timeout: Duration::from_secs(3_600),
        background: None,
    };
    Work {
        settings: Settings::new("fw"),
        services: vec![service],
        client: impatient(master),
        info: framework_info(&framework, None, &[]),
    }
}

/// A client without long pauses.
fn impatient(master: &str) -> SchedulerConfig {
    let mut client = SchedulerConfig::new(master.parse().unwrap());
    client.timing.connect_delay_max = Duration::ZERO;
    client.timing.backoff_initial = Duration::from_millis(10);
    client
}

async fn cluster() -> (ClusterHandle, String) {
    let agents = AgentOptions::many(2, 8.0, 4_096.0, 4_096.0);
    let cluster = Cluster::start(ClusterOptions::simulated(agents))
        .await
        .unwrap();
    let master = cluster.master_address().to_string();
    (cluster, master)
}

#[tokio::test]
async fn nothing_leaves_after_the_end_of_the_lease() {
    let records = Memory::new();
    let seat = Seat::of(&records);
    let (handle, mut loops) = start_with(Arc::new(seat.clone()), 2).await;
    until("the first commit", || records.commits() == 1).await;
    let held = records.hold();
    loops.subscribe().await;
    loops.hear(offer("O1")).await;
    // One is with the store when the lease ends, the other waits behind it.
    let mut asked = Vec::new();
    for instances in [3, 4] {
        let asking = handle.clone();
        asked.push(tokio::spawn(async move {
            asking.command(actor(), scale(instances)).await
        }));
        until("the count", || desired(&handle) == instances).await;
    }
    until("launched tasks", || {
        handle.view().workloads[0].counts.starting > 0
    })
    .await;
    let mut events = handle.events(None);
    seat.end().await;

    let ended = loops.committer.await.unwrap();
    assert!(
        matches!(ended, Err(RuntimeError::LeaseLost(_))),
        "{ended:?}"
    );
    loops.driver.await.unwrap();
    // The committer's end of the queue is closed, and nothing is in it.
    assert!(loops.calls.recv().await.is_none());
    for asked in asked {
        let answer = asked.await.unwrap();
        let unknown = answer == Err(CommandError::OutcomeUnknown);
        assert!(
            unknown || answer == Err(CommandError::NotTaken),
            "{answer:?}"
        );
    }
    let late = handle.command(actor(), scale(5)).await;
    assert_eq!(late, Err(CommandError::StandBy { leader: None }));
    drop(held);
    assert_eq!(records.commits(), 1);
    handle
        .shared()
        .close(ConnectionState::StandBy, String::new());
    assert!(events.next().await.is_none(), "nothing was told");
}

#[tokio::test]
async fn a_term_goes_on_from_what_another_process_has_stored() {
    let (cluster, master) = cluster().await;
    let records = Memory::new();
    let first = Process::start("first", &records, &master);
    let seat = first.house.elect();
    first.runs(2).await;
    let id = first.handle.view().framework.id.clone();
    assert_eq!(first.launched(), 2);

    // Deposed: it knows at once, and shows what it last knew.
    seat.end().await;
    assert_eq!(first.handle.standing().role, Role::StandBy);
    assert!(matches!(first.handle.standing().shown, Shown::Copy { .. }));
    first.stands_by().await;
    assert_eq!(desired(&first.handle), 2);
    assert_eq!(first.handle.connection().state, ConnectionState::StandBy);

    // Another goes on with the same tasks, and is stopped.
    let second = Process::start("second", &records, &master);
    second.house.elect();
    second.runs(2).await;
    assert_eq!(second.launched(), 0);
    let scaled = second.handle.command(actor(), scale(3)).await;
    assert_eq!(scaled, Ok(Answer::Scaled { from: 2, to: 3 }));
    second.runs(3).await;
    // The first shows it, without acting on it.
    until("the copy", || desired(&first.handle) == 3).await;
    second.stop.cancel();
    second.ended.await.unwrap().unwrap();
    assert_eq!(second.handle.standing().role, Role::StandBy);

    // Up again.
    first.house.elect();
    first.runs(3).await;
    assert_eq!(first.launched(), 0);
    assert_eq!(first.handle.view().framework.id, id);
    assert_eq!(first.handle.standing().terms, 2);
    let scaled = first.handle.command(actor(), scale(1)).await;
    assert_eq!(scaled, Ok(Answer::Scaled { from: 3, to: 1 }));
    first.runs(1).await;
    first.stop.cancel();
    first.ended.await.unwrap().unwrap();
    cluster.shutdown().await;
}

#[tokio::test]
async fn what_cannot_be_stored_ends_the_term_and_not_the_process() {
    let (cluster, master) = cluster().await;
    let records = Memory::new();
    let process = Process::start("me", &records, &master);
    let seat = process.house.elect();
    process.runs(2).await;

    seat.refuses_size.store(true, Ordering::SeqCst);
    let answer = process.handle.command(actor(), scale(7)).await;
    let Err(CommandError::Unavailable { reason }) = answer else {
        panic!("{answer:?}")
    };
    assert!(reason.contains("revisions/web/2"), "{reason}");
    assert!(reason.contains("nothing has changed"), "{reason}");
    process.stands_by().await;
    let said = process.cannot_lead().await;
    assert!(said.contains("revisions/web/2"), "{said}");

    // What led to it is forgotten with the term.
    process.house.elect();
    process.runs(2).await;
    assert_eq!(process.handle.standing().fault, None);
    assert_eq!(desired(&process.handle), 2);
    assert_eq!(process.launched(), 0);
    cluster.shutdown().await;
}

/// A lease that ran out leaves us the first place in the queue: nobody else could lead while we wait.
#[tokio::test]
async fn no_pause_follows_a_lease_that_ran_out_whatever_was_before() {
    let (cluster, master) = cluster().await;
    let records = Memory::new();
    let process = Process::start("me", &records, &master);
    for _ in 0..2 {
        let seat = process.house.elect();
        until("the lead", || {
            process.handle.standing().role == Role::Leader
        })
        .await;
        seat.refuses_size.store(true, Ordering::SeqCst);
        let answer = process.handle.command(actor(), scale(7)).await;
        assert!(answer.is_err(), "{answer:?}");
        process.stands_by().await;
    }
    let seat = process.house.elect();
    process.runs(2).await;
    seat.end().await;
    process.stands_by().await;
    process.house.elect();
    process.leads_at_once().await;
    cluster.shutdown().await;
}

/// What a former leader sent late takes the subscription once; a second Gantry with another store does
/// so as often as we do.
#[tokio::test]
async fn the_subscription_is_taken_back_while_the_lease_holds_but_not_for_ever() {
    let (cluster, master) = cluster().await;
    let records = Memory::new();
    let process = Process::start("me", &records, &master);
    process.house.elect();
    process.runs(2).await;
    let info = FrameworkInfo {
        id: Some(
            process
                .handle
                .view()
                .framework
                .id
                .clone()
                .unwrap()
                .as_str()
                .into(),
        ),
        ..process.info.clone()
    };
    let foreign = |failovers_max| {
        let mut client = impatient(&master);
        client.limits.failovers_max = failovers_max;
        let (told, subscription) = watch::channel(Subscription::new(info.clone()));
        let (_, events) = connect(client, subscription).unwrap();
        (told, events)
    };
    // It stops when it is told that another has subscribed.
    let (_told, mut late) = foreign(0);
    let mut subscribed = false;
    while let Some(event) = late.next().await {
        subscribed |= matches!(event, SchedulerEvent::Subscribed(_));
    }
    assert!(subscribed);
    until("the subscription", || {
        process.handle.connection().state == ConnectionState::Subscribed
    })
    .await;
    process.runs(2).await;
    let scaled = process.handle.command(actor(), scale(3)).await;
    assert_eq!(scaled, Ok(Answer::Scaled { from: 2, to: 3 }));
    process.runs(3).await;

    let (_told, mut other) = foreign(100);
    let reading = tokio::spawn(async move { while other.next().await.is_some() {} });
    until("one to give in", || {
        process.handle.connection().state == ConnectionState::FailedOver
    })
    .await;
    let problem = process.handle.connection().problem().unwrap();
    assert!(problem.contains("stop one of the two"), "{problem}");
    // Another term would only go on with it.
    assert_eq!(process.handle.standing().role, Role::Leader);
    assert!(!reading.is_finished());
    reading.abort();
    cluster.shutdown().await;
}

#[tokio::test]
async fn nobody_becomes_another_framework_while_tasks_are_recorded() {
    let (cluster, master) = cluster().await;
    let records = Memory::new();
    let process = Process::start("me", &records, &master);
    let seat = process.house.elect();
    process.runs(2).await;
    seat.end().await;
    process.stands_by().await;

    let lost = vec![Write::Delete(Key::Framework)];
    records.commit(lost).await.unwrap();
    process.house.elect();
    let said = process.cannot_lead().await;
    assert!(said.starts_with("2 records are of tasks"), "{said}");
    assert!(said.contains("--forget-framework-id"), "{said}");
    let loaded = records.load().await.unwrap();
    let is_framework = |record: &Record| matches!(record, Record::Framework(_));
    assert!(!loaded.records.iter().any(is_framework));
    cluster.shutdown().await;
}

/// A home that cannot be led with at first, and cannot be reached for reading.
struct Damaged(AtomicBool);

impl Home for Damaged {
    async fn campaign(&self) -> Result<Arc<dyn Store>, StoreError> {
        if self.0.swap(false, Ordering::SeqCst) {
            return Err(StoreError::HalfReplaced {
                place: "here".to_owned(),
            });
        }
        std::future::pending().await
    }

    async fn read(&self) -> Result<Loaded, StoreError> {
        Err(StoreError::Unavailable {
            reason: "the test wants it so".to_owned(),
        })
    }
}

#[tokio::test(start_paused = true)]
async fn what_kept_from_leading_is_mended_once_another_leads_for_long() {
    let me = member("me");
    let (tell, told) = watch::channel(HomeStatus {
        kind: HomeKind::ZooKeeper,
        reach: Reach::Connected {
            since: Timestamp::ZERO,
        },
        leader: None,
    });
    let view = stored_view(wall(), &Settings::new("fw"), gantry_core::Found::default());
    let handle = Handle::new(me, view, move || told.borrow().clone());
    let candidate = Candidate::new(
        Damaged(true.into()),
        handle.clone(),
        work("127.0.0.1:1"),
        None,
    );
    tokio::spawn(candidate.run(None, CancellationToken::new()));
    let has_fault = || handle.standing().fault.is_some();
    until("the fault", has_fault).await;
    tokio::time::sleep(Duration::from_secs(1_000)).await;
    assert!(has_fault(), "nobody leads");
    // They meet the same, one after the other.
    for turn in 0..50 {
        let leader = Some(member(if turn % 2 == 0 { "a" } else { "b" }));
        tell.send_modify(|status| status.leader = leader);
        tokio::time::sleep(Duration::from_secs(40)).await;
        assert!(has_fault(), "turn {turn}");
    }
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(!has_fault());
}

#[tokio::test]
async fn a_stand_by_tells_what_it_would_change_until_it_leads() {
    let (cluster, master) = cluster().await;
    let records = Memory::new();
    let one = Process::start("one", &records, &master);
    let seat = one.house.elect();
    one.runs(2).await;

    let mut changed = work(&master);
    changed.services[0].instances = 3;
    let other = Process::start_with("other", &records, changed);
    let same = Process::start("same", &records, &master);
    let told = |process: &Process| process.handle.standing().would_change;
    until("what it would change", || told(&other).is_some()).await;
    let said = told(&other).unwrap();
    assert!(said.contains("would change web"), "{said}");
    same.reads_twice().await;
    assert_eq!(told(&same), None);

    seat.end().await;
    other.house.elect();
    other.runs(3).await;
    assert_eq!(told(&other), None);
    until("what the others would change", || {
        told(&one).is_some() && told(&same).is_some()
    })
    .await;
    cluster.shutdown().await;
}

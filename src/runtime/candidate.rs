//! From term to term: stand by, campaign, act while the lease holds, stand by again.

use std::{convert::Infallible, future::pending, sync::Arc, time::Duration};

use gantry_core::{Found, FrameworkId, ServiceSpec, Settings, stored_view};
use gantry_mesos::{scheduler::SchedulerConfig, v1::FrameworkInfo};
use gantry_store::{Loaded, Store, StoreError};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{Handle, Parts, Runtime, RuntimeError, clock, identity, role::HomeKind};

/// First pause after a term that could not begin, or ended by a fault; doubles. Nobody waits for our
/// turn meanwhile: the place in the queue was given up.
const RETRY_FIRST: Duration = Duration::from_secs(1);

/// The longest such pause.
const RETRY_MAX: Duration = Duration::from_secs(60);

/// What was decided must be stored and sent within this time when one of several stops.
const STOP_WITHIN: Duration = Duration::from_secs(4);

/// A term of this length, ours or another's, shows that what ended the one before it is mended.
const SOUND: Duration = Duration::from_secs(60);

/// How long a candidate waits for its election, or for the news of another's, before it reads what
/// is stored only to show it: the one who wins reads anyway.
const ELECTION: Duration = Duration::from_secs(1);

/// Between two looks at what changes without telling.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What is stored is read for readers at most so often,
const COPY_EVERY: Duration = Duration::from_secs(5);

/// and so that no more than one part in so many of the time is spent with it.
const COPY_SHARE: u32 = 20;

/// The longest pause between two copies.
const COPY_PAUSE_MAX: Duration = Duration::from_secs(600);

/// Where the right to act comes from.
pub trait Home: Send + Sync + 'static {
    /// Waits until this process may act, for ever if need be. Dropping the future withdraws.
    ///
    /// # Errors
    /// What is stored cannot be used; trying again may help after somebody has mended it.
    fn campaign(&self) -> impl Future<Output = Result<Arc<dyn Store>, StoreError>> + Send;

    /// Reads what is stored, without any right to act.
    ///
    /// # Errors
    /// Of [`StoreError::Unavailable`] alone the time makes something better.
    fn read(&self) -> impl Future<Output = Result<Loaded, StoreError>> + Send;
}

/// What a term is about; the same in each.
#[derive(Clone)]
pub struct Work {
    /// The scheduler's settings.
    pub settings: Settings,
    /// The declared services.
    pub services: Vec<ServiceSpec>,
    /// Where the master is.
    pub client: SchedulerConfig,
    /// How the framework presents itself.
    pub info: FrameworkInfo,
}

/// A process that may act when its turn comes.
pub struct Candidate<H> {
    home: H,
    handle: Handle,
    work: Work,
    forget_framework_id: Option<FrameworkId>,
    /// Before the next campaign.
    pause: Duration,
    /// The last one after a fault.
    fault_pause: Duration,
}

/// The right to act, and the scheduler that does.
pub struct Term {
    store: Arc<dyn Store>,
    runtime: Runtime,
    began: Instant,
}

impl<H: Home> Candidate<H> {
    /// A candidate behind `handle`. A term that finds `forget_framework_id` stored begins with a new
    /// framework id.
    pub fn new(
        home: H,
        handle: Handle,
        work: Work,
        forget_framework_id: Option<FrameworkId>,
    ) -> Self {
        Self {
            home,
            handle,
            work,
            forget_framework_id,
            pause: Duration::ZERO,
            fault_pause: Duration::ZERO,
        }
    }

    /// Begins a term with a store that was won: reads it and starts the scheduler.
    ///
    /// # Errors
    /// The store cannot be read, or the lease has ended meanwhile. The right is given up then.
    pub async fn begin(&mut self, store: Arc<dyn Store>) -> Result<Term, RuntimeError> {
        let lease = store.lease();
        let place = &self.handle.shared().place;
        place.start(clock::wall(), lease.clone());
        let framework = &self.work.settings.framework;
        let forget = self.forget_framework_id.as_ref();
        let loaded = tokio::select! {
            biased;
            reason = lease.lost() => Err(RuntimeError::LeaseLost(reason)),
            loaded = load(&*store, framework, forget) => loaded.map_err(Into::into),
        };
        let found = match loaded {
            Ok(found) => found,
            Err(error) => {
                place.stand_by(clock::wall(), error.to_string());
                store.resign().await;
                return Err(error);
            }
        };
        tracing::info!(epoch = lease.epoch(), "this Gantry leads");
        let work = self.work.clone();
        crate::plan::log(&work.settings, &work.services, &found);
        let parts = Parts {
            settings: work.settings,
            services: work.services,
            store: Arc::clone(&store),
            found,
            client: work.client,
            info: work.info,
        };
        Ok(Term {
            store,
            runtime: Runtime::start(parts, &self.handle),
            began: Instant::now(),
        })
    }

    /// Runs `term`, and then one after the other whenever this process is elected, until `stop`.
    /// Then what was decided is made durable and sent, and the right to act is given up, so that
    /// another may act at once.
    ///
    /// # Errors
    /// A fault that another term would not mend.
    pub async fn run(
        mut self,
        mut term: Option<Term>,
        stop: CancellationToken,
    ) -> Result<(), RuntimeError> {
        loop {
            let Term {
                store,
                mut runtime,
                began,
            } = match term.take() {
                Some(term) => term,
                None => tokio::select! {
                    () = stop.cancelled() => return Ok(()),
                    term = self.elected() => term,
                },
            };
            let error = tokio::select! {
                () = stop.cancelled() => {
                    let outcome = self.stopped(runtime).await;
                    store.resign().await;
                    return match outcome {
                        // What was not stored was not answered either; whoever acts now goes on.
                        Err(RuntimeError::LeaseLost(reason)) => {
                            tracing::warn!(reason, "the lease ended while stopping");
                            Ok(())
                        }
                        outcome => outcome,
                    };
                }
                error = runtime.ended() => error,
            };
            // No part of the term is left. Another may begin. A lease that ran out leaves us our place,
            // which is the first while the session lasts: nobody else could begin before us.
            let taken_back = store.lease().was_taken_back();
            let error = match error {
                RuntimeError::LeaseLost(reason) if taken_back => {
                    RuntimeError::Store(StoreError::Refused { reason })
                }
                error => error,
            };
            if !matches!(error, RuntimeError::LeaseLost(_)) {
                store.resign().await;
            }
            drop(store);
            if began.elapsed() >= SOUND {
                self.fault_pause = Duration::ZERO;
            }
            match error {
                RuntimeError::LeaseLost(reason) => {
                    tracing::warn!(reason, "this Gantry does not lead any more");
                }
                RuntimeError::Store(error) if self.has_another_term(&error) => {
                    tracing::error!(%error, "this term is over");
                    self.fault_of_term(&error);
                }
                error => return Err(error),
            }
        }
    }

    /// The orderly end of a term, which must not keep others from beginning theirs: what cannot be
    /// done soon is left, as by a crash.
    async fn stopped(&self, runtime: Runtime) -> Result<(), RuntimeError> {
        if self.handle.home().kind != HomeKind::ZooKeeper {
            return runtime.stop().await;
        }
        match timeout(STOP_WITHIN, runtime.stop()).await {
            Ok(outcome) => outcome,
            Err(_) => {
                tracing::warn!("not everything that was decided could be stored and sent in time");
                Ok(())
            }
        }
    }

    /// Whether reading everything anew may help: what led to the error is forgotten with the term.
    fn has_another_term(&self, error: &StoreError) -> bool {
        let alone = self.handle.home().kind != HomeKind::ZooKeeper;
        !(alone && matches!(error, StoreError::Refused { .. }))
    }

    async fn elected(&mut self) -> Term {
        let handle = self.handle.clone();
        let declared = Arc::new((self.work.settings.clone(), self.work.services.clone()));
        loop {
            let pause = std::mem::take(&mut self.pause);
            let outcome = {
                let home = &self.home;
                let campaign = async {
                    sleep(pause).await;
                    tokio::select! {
                        never = see_another_lead(&handle) => match never {},
                        outcome = home.campaign() => outcome,
                    }
                };
                tokio::select! {
                    never = copy(home, &handle, &declared) => match never {},
                    outcome = campaign => outcome,
                }
            };
            let store = match outcome {
                Ok(store) => store,
                Err(error) => {
                    tracing::error!(%error, "this Gantry cannot lead");
                    self.pause_longer();
                    self.handle.shared().place.fault((&error).into());
                    continue;
                }
            };
            match self.begin(store).await {
                Ok(term) => return term,
                Err(RuntimeError::Store(error)) => {
                    tracing::error!(%error, "this Gantry cannot lead");
                    self.fault_of_term(&error);
                }
                Err(error) => {
                    tracing::warn!(%error, "the term ended before it began");
                    self.pause = RETRY_FIRST;
                }
            }
        }
    }

    fn pause_longer(&mut self) {
        self.fault_pause = (self.fault_pause * 2).clamp(RETRY_FIRST, RETRY_MAX);
        self.pause = self.fault_pause;
    }

    fn fault_of_term(&mut self, error: &StoreError) {
        self.pause_longer();
        // Of the others the connection tells; these last.
        if !matches!(
            error,
            StoreError::Unavailable { .. } | StoreError::Refused { .. }
        ) {
            self.handle.shared().place.fault(error.into());
        }
    }
}

/// Notices while we wait for our turn that what kept us from acting is mended: another has led for
/// long enough. As long as it is not, every other meets the same, and the turn comes back to us.
async fn see_another_lead(handle: &Handle) -> Infallible {
    let mut leader = None;
    let mut since = Instant::now();
    while handle.standing().fault.is_some() {
        sleep(LOOK_EVERY).await;
        // Who led is remembered while nobody can be asked.
        let reached = handle.home().reach.problem().is_none();
        let leads = handle.other_leader().filter(|_| reached);
        let leads = leads.map(|leads| leads.id);
        if leads != leader {
            (leader, since) = (leads, Instant::now());
        } else if leader.is_some() && since.elapsed() >= SOUND {
            handle.shared().place.mended();
        }
    }
    pending().await
}

async fn load(
    store: &dyn Store,
    framework: &str,
    forget: Option<&FrameworkId>,
) -> Result<Found, StoreError> {
    let loaded = store.load().await?;
    for rejected in &loaded.rejected {
        tracing::error!(
            key = rejected.key,
            reason = rejected.reason,
            "a stored record is left out and left alone"
        );
    }
    tracing::info!(records = loaded.records.len(), "the store is read");
    let mut found = Found::from(loaded);
    identity::establish(&mut found, framework, forget)?;
    Ok(found)
}

/// What this process declares.
type Declared = Arc<(Settings, Vec<ServiceSpec>)>;

/// Shows readers what is stored, again and again, and how it differs from what is declared here.
async fn copy(home: &impl Home, handle: &Handle, declared: &Declared) -> Infallible {
    let shared = handle.shared();
    let election = Instant::now() + ELECTION;
    while Instant::now() < election && handle.other_leader().is_none() {
        sleep(LOOK_EVERY).await;
    }
    let mut told = false;
    let mut seen = None;
    loop {
        while handle.home().reach.problem().is_some() {
            sleep(LOOK_EVERY).await;
        }
        let began = Instant::now();
        let at = clock::wall();
        match home.read().await {
            Ok(loaded) => {
                let declared = Arc::clone(declared);
                let (last, known) = (seen.clone(), handle.standing().would_change);
                let make = move || {
                    let (settings, services) = &*declared;
                    let found = Found::from(loaded);
                    let what = crate::plan::would_change(services, &found);
                    // Seen once, it may be what the leader is about to do.
                    let sure = what == last;
                    if sure && what != known {
                        tell(what.as_deref(), settings, services, &found);
                    }
                    (stored_view(at, settings, found), what, sure)
                };
                // Of a million records it takes a while.
                if let Ok((view, what, sure)) = tokio::task::spawn_blocking(make).await {
                    shared.show_copy(view, at);
                    if sure {
                        shared.place.would_change(what.clone());
                    }
                    seen = what;
                }
                if !std::mem::replace(&mut told, true) {
                    let leader = handle.other_leader().map(|leader| leader.host);
                    tracing::info!(leader, "this Gantry stands by, and shows what is stored");
                }
            }
            Err(error @ StoreError::Unavailable { .. }) => {
                tracing::debug!(%error, "what is stored could not be read");
            }
            Err(error) => shared.place.read_fault((&error).into()),
        }
        let pause = (began.elapsed() * COPY_SHARE).clamp(COPY_EVERY, COPY_PAUSE_MAX);
        sleep(pause).await;
    }
}

/// Tells that this process begins or ceases to declare something else than what is stored: whoever leads
/// next does what it declares.
fn tell(what: Option<&str>, settings: &Settings, services: &[ServiceSpec], found: &Found) {
    match what {
        Some(what) => {
            tracing::warn!("{what}");
            crate::plan::log(settings, services, found);
        }
        None => tracing::info!("this Gantry declares what is stored"),
    }
}

//! What everybody but the loop sees of the runtime, for as long as the process lives.

use std::{
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::{ArcSwap, ArcSwapOption};
use futures_util::future::BoxFuture;
use gantry_core::{
    Actor, Answer, Command, Question, Refusal, ReplyToken, TaskId, Timestamp, Verdict, View,
    Workloads,
};
use gantry_store::{Lease, Loaded, Member, Store, StoreError};
use thiserror::Error;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep},
};

use super::{
    clock,
    connection::{Connection, ConnectionState, ConnectionStatus},
    events::{EventLog, EventStream},
    metrics::Metrics,
    modules::{Modules, Questions, SAID_MAX, Said},
    role::{HomeStatus, Place, RECONNECTS_WITHIN, Standing},
};

/// Most commands that wait for the loop. At the bound a command is answered with
/// [`CommandError::Busy`].
pub const COMMANDS_MAX: usize = 1_024;

/// How long a command may take, storing its effect included.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// Between two looks whether the place of the records can be reached again.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How long reading the whole store may take.
const READ_WITHIN: Duration = Duration::from_secs(120);

/// The way into the runtime: commands go in, views and events come out. Cheap to clone. Lives as
/// long as the process, through all terms and the times between.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

impl Handle {
    /// A handle of a process that does not act yet. `view` is what is shown until then; `home`
    /// tells how the place of the records is.
    pub fn new(
        me: Member,
        view: View,
        home: impl Fn() -> HomeStatus + Send + Sync + 'static,
    ) -> Self {
        let now = clock::wall();
        Self {
            shared: Arc::new(Shared {
                events: EventLog::new(now),
                connection: Connection::new(now),
                metrics: Metrics::default(),
                view: ArcSwap::from_pointee(view),
                place: Place::new(now),
                modules: Modules::default(),
                entrance: ArcSwapOption::empty(),
                tokens: AtomicU64::new(1),
                home: Box::new(home),
                reader: OnceLock::new(),
                me,
            }),
        }
    }

    /// The state as it was at most 20 ms ago, or as it is when nothing happens; in a process that
    /// does not lead, what [`Standing::shown`] says. Immutable.
    pub fn view(&self) -> Arc<View> {
        self.shared.view.load_full()
    }

    /// Asks for something. The answer comes when its effect is durable.
    ///
    /// # Errors
    /// See [`CommandError`]. After [`CommandError::TimedOut`] and [`CommandError::OutcomeUnknown`]
    /// the command may still take effect.
    pub async fn command(&self, actor: Actor, command: Command) -> Result<Answer, CommandError> {
        self.reached().await?;
        let entrance = self.entrance()?;
        let (reply, answer) = oneshot::channel();
        let request = Request {
            token: ReplyToken(self.shared.tokens.fetch_add(1, Ordering::Relaxed)),
            actor,
            command,
            reply,
        };
        let sent = entrance.requests.try_send(request);
        // What waits for its answer must not keep the queue of an ended term alive.
        drop(entrance);
        sent.map_err(|error| {
            self.shared.metrics.commands_refused_busy.add(1);
            match error {
                mpsc::error::TrySendError::Full(_) => CommandError::Busy,
                mpsc::error::TrySendError::Closed(_) => CommandError::NotTaken,
            }
        })?;
        match tokio::time::timeout(ANSWER_WITHIN, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(CommandError::OutcomeUnknown),
            Err(_) => Err(CommandError::TimedOut),
        }
    }

    /// Waits until the place of the records can be reached, if it was a moment ago. What were taken
    /// meanwhile could not be stored, and nobody would know its outcome when the lease ended before
    /// the connection was back.
    async fn reached(&self) -> Result<(), CommandError> {
        let until = Instant::now() + RECONNECTS_WITHIN;
        loop {
            drop(self.entrance()?);
            let reach = self.home().reach;
            let wait = Instant::now() < until && reach.away(clock::wall()).is_none();
            let problem = match self.shared.connection.store_problem() {
                None if wait => None,
                None => reach.problem(),
                problem => problem,
            };
            if let Some(problem) = problem {
                let reason = format!("{problem}; nothing has changed");
                return Err(CommandError::Unavailable { reason });
            }
            if reach.problem().is_none() {
                return Ok(());
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// The same handle, of a process that can read what is stored also while it does not lead.
    pub fn with_reader(
        self,
        read: impl Fn() -> BoxFuture<'static, Result<Loaded, StoreError>> + Send + Sync + 'static,
    ) -> Self {
        // Once for each handle.
        let _ = self.shared.reader.set(Box::new(read));
        self
    }

    /// All that is stored, at one moment, as the store of this term reads it, or as it is read without
    /// leading. Takes a second for some 100,000 tasks, and on ZooKeeper commits wait meanwhile.
    ///
    /// # Errors
    /// [`CommandError::Unavailable`] when it cannot be read; [`CommandError::NotTaken`];
    /// [`CommandError::StandBy`] where it cannot be read without leading.
    pub async fn stored(&self) -> Result<Loaded, CommandError> {
        match (self.entrance(), self.shared.reader.get()) {
            (Ok(entrance), _) => {
                let store = entrance.store.upgrade();
                let store = store.ok_or(CommandError::NotTaken)?;
                drop(entrance);
                within_the_time(store.load()).await
            }
            (Err(_), Some(read)) => within_the_time(read()).await,
            (Err(error), None) => Err(error),
        }
    }

    /// The same, but no commit waits for it where what is stored can be read without leading: its parts
    /// may be of slightly different moments then, as for whoever stands by.
    ///
    /// # Errors
    /// As [`Handle::stored`].
    pub async fn stored_lately(&self) -> Result<Loaded, CommandError> {
        match self.shared.reader.get() {
            Some(read) => within_the_time(read()).await,
            None => self.stored().await,
        }
    }

    /// The events after `after` that are still remembered, then those to come; only the latter
    /// without `after`. The stream ends with the term.
    pub fn events(&self, after: Option<u64>) -> EventStream {
        self.shared.events.subscribe(after)
    }

    /// How the connections to Mesos and to the store are.
    pub fn connection(&self) -> ConnectionStatus {
        self.shared.connection.status()
    }

    /// What this process is to the framework.
    pub fn standing(&self) -> Standing {
        self.shared.place.get(clock::wall())
    }

    /// How the place is where the records are kept, and who leads as far as it knows.
    pub fn home(&self) -> HomeStatus {
        (self.shared.home)()
    }

    /// Who leads, when it is another process.
    pub fn other_leader(&self) -> Option<Member> {
        let leader = self.home().leader;
        leader.filter(|leader| leader.id != self.shared.me.id)
    }

    /// This process, as the others know it.
    pub fn me(&self) -> &Member {
        &self.shared.me
    }

    /// What the runtime measures of itself.
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// The questions that the scheduler has for modules, from now on; see
    /// [`crate::runtime::Questions`]. There is one stream at a time: an earlier one ends.
    pub fn questions(&self) -> Questions {
        self.shared.modules.questions()
    }

    /// Whether instances are launched only after modules have admitted them. Holds for this and
    /// all later terms; `false` at first. `false` lets everything go on that waits for an answer.
    pub fn need_admission(&self, needed: bool) {
        self.shared.modules.change(|now| now.admission = needed);
    }

    /// The workloads whose tasks count as ready only once they were reported to be
    /// ([`Handle::report_readiness`]). Holds for this and all later terms; none at first.
    pub fn need_readiness(&self, of: Workloads) {
        self.shared.modules.change(|now| now.readiness = of);
    }

    /// Answers a question. Waits while there is no room in the queue. An answer to a question that
    /// no longer stands is passed over, also when it is of an earlier term.
    ///
    /// # Errors
    /// [`CommandError::StandBy`] and [`CommandError::Unavailable`]: this process does not act, and
    /// nobody waits for the answer.
    pub async fn admit(&self, question: &Question, verdict: Verdict) -> Result<(), CommandError> {
        self.say(Said::Admission(question.clone(), verdict)).await
    }

    /// Reports whether a task is ready. Waits while there is no room in the queue. What is reported
    /// is not stored, and is forgotten with the term: report all tasks again every few seconds.
    /// Saying the same again costs next to nothing, and tasks that nobody knows are passed over.
    ///
    /// # Errors
    /// As [`Handle::admit`].
    pub async fn report_readiness(&self, task: TaskId, ready: bool) -> Result<(), CommandError> {
        self.say(Said::Readiness(task, ready)).await
    }

    async fn say(&self, said: Said) -> Result<(), CommandError> {
        let said_to = self.entrance()?.said.clone();
        // The end of the term closes the queue, and with it ends the waiting.
        let sent = said_to.send(said).await;
        sent.map_err(|_| CommandError::NotTaken)
    }

    fn entrance(&self) -> Result<Arc<Entrance>, CommandError> {
        let entrance = self.shared.entrance.load_full();
        entrance
            .filter(|entrance| entrance.lease.holds())
            .ok_or_else(|| CommandError::StandBy {
                leader: self.other_leader(),
            })
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

async fn within_the_time(
    read: impl Future<Output = Result<Loaded, StoreError>>,
) -> Result<Loaded, CommandError> {
    match tokio::time::timeout(READ_WITHIN, read).await {
        Ok(Ok(loaded)) => Ok(loaded),
        Ok(Err(error)) => Err(CommandError::Unavailable {
            reason: error.to_string(),
        }),
        Err(_) => Err(CommandError::TimedOut),
    }
}

/// Why a command has no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CommandError {
    /// The scheduler says no; nothing has changed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Too many inputs wait; nothing has changed.
    #[error("the scheduler has more work queued than it takes: try again in a moment")]
    Busy,
    /// This process does not act; nothing has changed.
    #[error("{}", stands_by(leader.as_ref()))]
    StandBy {
        /// Who does.
        leader: Option<Member>,
    },
    /// This process has just ceased to act; nothing has changed, and another may take the command.
    #[error("this Gantry stopped leading before it took the command; nothing has changed")]
    NotTaken,
    /// The store cannot be written; nothing has changed.
    #[error("{reason}")]
    Unavailable {
        /// Why, as a clause.
        reason: String,
    },
    /// The right to act ended while the effect was being stored; the command may have taken
    /// effect.
    #[error(
        "this Gantry stopped leading while the change was being stored: look whether it took \
         effect before repeating it"
    )]
    OutcomeUnknown,
    /// No answer in time; the command may still take effect.
    #[error(
        "no answer within {} seconds: look whether the command took effect before repeating it",
        ANSWER_WITHIN.as_secs()
    )]
    TimedOut,
}

fn stands_by(leader: Option<&Member>) -> String {
    match leader {
        Some(leader) => format!("this Gantry stands by, {} leads", leader.host),
        None => "this Gantry stands by, and no leader is known at the moment".to_owned(),
    }
}

/// Where the answer to a command goes. Dropped, it says that the outcome is unknown.
pub(crate) type Reply = oneshot::Sender<Result<Answer, CommandError>>;

/// A command on its way to the loop, with the place its answer goes to.
pub(crate) struct Request {
    pub(crate) token: ReplyToken,
    pub(crate) actor: Actor,
    pub(crate) command: Command,
    pub(crate) reply: Reply,
}

/// What handles and the loop share.
pub(crate) struct Shared {
    pub(crate) view: ArcSwap<View>,
    pub(crate) events: Arc<EventLog>,
    pub(crate) connection: Connection,
    pub(crate) metrics: Metrics,
    pub(crate) place: Place,
    pub(crate) modules: Modules,
    entrance: ArcSwapOption<Entrance>,
    tokens: AtomicU64,
    home: Box<dyn Fn() -> HomeStatus + Send + Sync>,
    reader: OnceLock<Reader>,
    me: Member,
}

/// Reads what is stored, without leading.
type Reader = Box<dyn Fn() -> BoxFuture<'static, Result<Loaded, StoreError>> + Send + Sync>;

/// The way into the term that runs.
struct Entrance {
    requests: mpsc::Sender<Request>,
    said: mpsc::Sender<Said>,
    lease: Lease,
    // Held by those who write it: what is kept here must not outlive the term.
    store: Weak<dyn Store>,
}

impl Shared {
    /// A term begins: from here on commands are taken, and events are told. What comes back are
    /// the loop's ends of the queues.
    pub(crate) fn open(
        &self,
        view: View,
        store: &Arc<dyn Store>,
    ) -> (mpsc::Receiver<Request>, mpsc::Receiver<Said>) {
        let lease = store.lease();
        let (requests, requests_by_driver) = mpsc::channel(COMMANDS_MAX);
        let (said, said_to_driver) = mpsc::channel(SAID_MAX);
        let now = clock::wall();
        self.events.open(view.at);
        self.connection.reset(ConnectionState::Connecting, now);
        self.view.store(Arc::new(view));
        self.place.lead(now, lease.clone());
        self.entrance.store(Some(Arc::new(Entrance {
            requests,
            said,
            lease,
            store: Arc::downgrade(store),
        })));
        (requests_by_driver, said_to_driver)
    }

    /// The term has ended, and nothing of it acts any more.
    pub(crate) fn close(&self, state: ConnectionState, ended: String) {
        let now = clock::wall();
        self.entrance.store(None);
        self.place.stand_by(now, ended);
        self.connection.reset(state, now);
        self.events.close();
    }

    /// Shows what is stored, as it was `at` that time.
    pub(crate) fn show_copy(&self, view: View, at: Timestamp) {
        self.view.store(Arc::new(view));
        self.place.show_copy(at);
    }
}

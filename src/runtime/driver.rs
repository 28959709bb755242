//! The task that owns the scheduler: inputs in, one step for all at hand, effects to the committer.

use std::{collections::HashMap, sync::Arc, time::Duration};

use gantry_core::{Effects, Input, MesosEvent, Scheduler, Timestamp};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    clock::Clock,
    committer::Step,
    handle::{CommandError, Reply, Request, Shared},
    modules::{Needs, Said},
    news::News,
};

/// Most inputs of one step. Bounds the time of a step, and with it the age of the view.
const INPUTS_PER_STEP: usize = 4_096;

/// How old a view may be while the scheduler is busy.
const VIEW_AGE_MAX: Duration = Duration::from_millis(20);

/// Waiting for a time that never comes.
const LONG: Duration = Duration::from_secs(24 * 3600);

/// Number of a subscription. A call is for the subscription in which it was decided; what it speaks
/// of is void in the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Session(pub(crate) u64);

/// An event of the master with the subscription it came in.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) session: Session,
    pub(crate) event: MesosEvent,
}

/// The loop.
pub(crate) struct Driver {
    pub(crate) scheduler: Scheduler,
    pub(crate) clock: Clock,
    pub(crate) shared: Arc<Shared>,
    pub(crate) requests: mpsc::Receiver<Request>,
    pub(crate) heard: mpsc::Receiver<Heard>,
    /// What modules say.
    pub(crate) said: mpsc::Receiver<Said>,
    /// What modules have a say in. The scheduler was started with the value seen last.
    pub(crate) needs: watch::Receiver<Needs>,
    /// What is told of in the log.
    pub(crate) news: News,
    /// Bounded: while that many steps are not durable, no inputs are taken.
    pub(crate) steps: mpsc::Sender<Step>,
}

impl Driver {
    /// Runs until `stop`, or until the committer gives up. `first` are the effects of the start.
    pub(crate) async fn run(mut self, first: Effects, stop: CancellationToken) {
        let mut session = None;
        let mut wake_at = first.wake_at;
        let mut requests = Vec::new();
        let mut heard = Vec::new();
        let mut said = Vec::new();
        let mut published = Instant::now();
        let mut dirty = false;
        // Whether the other ends of the queues are still there.
        let (mut asking, mut hearing, mut listening) = (true, true, true);
        let first = self.step(first, None, self.clock.now(), HashMap::new());
        if self.steps.send(first).await.is_err() {
            return;
        }
        loop {
            let wake = wake_at.map_or_else(|| Instant::now() + LONG, |at| self.clock.instant(at));
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                // The lease has ended, or the store has failed for good: not a step more.
                () = self.steps.closed() => break,
                () = sleep_until(published + VIEW_AGE_MAX), if dirty => {
                    self.publish();
                    published = Instant::now();
                    dirty = false;
                    continue;
                }
                count = self.requests.recv_many(&mut requests, INPUTS_PER_STEP), if asking => {
                    asking = count > 0;
                }
                count = self.heard.recv_many(&mut heard, INPUTS_PER_STEP), if hearing => {
                    hearing = count > 0;
                }
                count = self.said.recv_many(&mut said, INPUTS_PER_STEP), if listening => {
                    listening = count > 0;
                }
                // Its other end lives as long as the process. What is waited for here is taken in
                // below, where it is also looked for when something else has come first.
                _ = self.needs.changed() => self.needs.mark_changed(),
                () = sleep_until(wake) => {}
            }
            while requests.len() < INPUTS_PER_STEP
                && let Ok(request) = self.requests.try_recv()
            {
                requests.push(request);
            }
            while heard.len() < INPUTS_PER_STEP
                && let Ok(event) = self.heard.try_recv()
            {
                heard.push(event);
            }
            while said.len() < INPUTS_PER_STEP
                && let Ok(word) = self.said.try_recv()
            {
                said.push(word);
            }
            let metrics = &self.shared.metrics;
            metrics
                .queue_depth
                .set((self.requests.len() + self.heard.len() + self.said.len()) as u64);
            let count = requests.len() + heard.len() + said.len();
            metrics.inputs.add(count as u64);

            let commanded = !requests.is_empty();
            let mut waiting = HashMap::with_capacity(requests.len());
            let mut inputs = Vec::with_capacity(count);
            inputs.extend(self.changed_needs());
            inputs.extend(heard.drain(..).map(|heard| {
                session = Some(heard.session);
                Input::Mesos(heard.event)
            }));
            inputs.extend(said.drain(..).map(Input::from));
            inputs.extend(requests.drain(..).map(|request| {
                waiting.insert(request.token, request.reply);
                Input::Command {
                    token: request.token,
                    actor: request.actor,
                    command: request.command,
                }
            }));
            let now = self.clock.now();
            let began = Instant::now();
            let effects = self.scheduler.step(now, inputs);
            self.shared.metrics.steps.observe(began.elapsed());
            wake_at = effects.wake_at;

            // Whoever has the answer to a command finds its effect in the view.
            dirty = true;
            if commanded || published.elapsed() >= VIEW_AGE_MAX {
                self.publish();
                published = Instant::now();
                dirty = false;
            }
            let step = self.step(effects, session, now, waiting);
            if step.is_empty() {
                continue;
            }
            if self.steps.send(step).await.is_err() {
                break;
            }
        }
        self.publish();
        self.requests.close();
        while let Ok(request) = self.requests.try_recv() {
            let _ = request.reply.send(Err(CommandError::NotTaken));
        }
    }

    fn changed_needs(&mut self) -> Vec<Input> {
        if !self.needs.has_changed().unwrap_or_default() {
            return Vec::new();
        }
        let needs = self.needs.borrow_and_update().clone();
        vec![
            Input::AdmissionNeeded(needs.admission),
            Input::ReadinessNeeded(needs.readiness),
        ]
    }

    fn publish(&self) {
        self.shared.view.store(Arc::new(self.scheduler.view()));
        self.shared.metrics.views.add(1);
    }

    fn step(
        &mut self,
        effects: Effects,
        session: Option<Session>,
        at: Timestamp,
        mut waiting: HashMap<gantry_core::ReplyToken, Reply>,
    ) -> Step {
        let answers = effects.replies.into_iter();
        Step {
            at,
            session,
            news: self.news.of(&effects.writes),
            writes: effects.writes,
            calls: effects.calls,
            replies: answers
                .filter_map(|(token, answer)| Some((waiting.remove(&token)?, answer)))
                .collect(),
            notices: effects.notices,
            questions: effects.questions,
        }
    }
}

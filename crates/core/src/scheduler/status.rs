//! News of tasks, and what follows when one ends.

use std::sync::Arc;

use smallvec::SmallVec;

use super::{Scheduler, ServiceIndex, Timer};
use crate::{
    AgentAddress, Call, EndedTask, Goal, Key, Notice, StatusUpdate, Task, TaskId, TaskState,
    Timestamp, Uuid, Write, task::UNHEARD,
};

/// Longest message kept of a status update, in bytes.
const MESSAGE_MAX: usize = 256;

/// Most unknown tasks that are remembered; further ones show up again when these are gone.
const UNKNOWN_MAX: usize = 10_000;

/// Reasons for an end that are the platform's fault: the instance waits before it is started again,
/// but nothing is concluded about what it runs.
const PLATFORM: [&str; 1] = ["REASON_EXECUTOR_REGISTRATION_TIMEOUT"];

/// The reason in all answers of the master to what it is asked. It stands in the place of the true one.
const ANSWER: &str = "REASON_RECONCILIATION";

/// Reasons for an end that say nothing against the task: it is started again at once.
const BLAMELESS: [&str; 7] = [
    "REASON_INVALID_OFFERS",
    "REASON_AGENT_DISCONNECTED",
    "REASON_AGENT_REMOVED",
    "REASON_AGENT_REMOVED_BY_OPERATOR",
    "REASON_AGENT_RESTARTED",
    "REASON_AGENT_DRAINING",
    "REASON_EXECUTOR_REREGISTRATION_TIMEOUT",
];

impl Scheduler {
    pub(super) fn status(&mut self, update: StatusUpdate) {
        self.counters.updates += 1;
        self.heard_of_a_task();
        let place = self
            .find_task(&update.task)
            .map(|(index, number, task)| (index, number, task.uuid, task.agent.known_id()));
        let acknowledge = update.uuid.and_then(|uuid| {
            let agent = update
                .agent
                .clone()
                .or_else(|| place.as_ref().and_then(|place| place.3.clone()))?;
            Some(Call::Acknowledge {
                task: update.task.clone(),
                agent,
                uuid,
            })
        });
        match place {
            Some((index, number, uuid, _)) => self.news(index, number, uuid, &update),
            None => self.news_of_unknown(update),
        }
        // Last, and behind the writes that the news caused: what is acknowledged is never lost.
        if let Some(call) = acknowledge {
            self.send(call);
        }
    }

    fn news(&mut self, index: ServiceIndex, number: u32, uuid: Uuid, update: &StatusUpdate) {
        if update.state.is_terminal() || update.state == TaskState::Unknown {
            return self.end_task(index, number, uuid, update);
        }
        let located = self.locate(index, number, uuid, update);
        let (now, subscription) = (self.now, self.connection.subscription);
        let under_new_id = self.connection.under_new_id;
        let message = update
            .message
            .as_deref()
            .map(|text| Arc::from(shortened(text)));
        let change = self.edit_task(index, number, uuid, |task| {
            let first_heard = task.heard_in != subscription;
            let is_former = under_new_id && task.heard_in == UNHEARD;
            task.heard_in = subscription;
            task.started_at.get_or_insert(now);
            let mut change = Change {
                first_heard,
                ..Change::default()
            };
            if !follows(task.state, update.state) {
                return change;
            }
            let was_well = task.is_well();
            change.state = task.state != update.state;
            change.back = change.state && task.state == TaskState::Unreachable;
            change.lost = change.state && update.state == TaskState::Unreachable;
            if change.state {
                task.state = update.state;
                task.changed_at = now;
            }
            if update.state == TaskState::Running && task.running_at.is_none() {
                task.running_at = Some(now);
                change.first_running = true;
            }
            if update.healthy.is_some() && task.healthy != update.healthy {
                task.healthy = update.healthy;
                change.health = true;
            }
            if message.is_some() {
                task.message = message;
            }
            change.trouble = was_well
                && !is_former
                && !task.goal.is_stop()
                && (task.state == TaskState::Unreachable || task.healthy == Some(false));
            // What was sent while it could not be reached has reached nobody.
            change.kill = change.back && task.goal.is_stop();
            if change.kill {
                task.kills_sent = 0;
            }
            change
        });
        let Some(change) = change else { return };
        if change.back {
            self.count_given_up(index, number);
        }
        if change.kill {
            self.send_kill(index, number, uuid);
        }
        if change.trouble {
            self.trouble(index, number);
        }
        // That it cannot be reached is stored too: it is no news to the next leader.
        if change.first_running || change.lost || change.back || located {
            self.write_task(index, number, uuid);
        }
        if change.first_running {
            self.look_when_proven(index, number);
        }
        if change.lost {
            let until = now + self.settings.unreachable_after;
            self.timers.set(
                until,
                Timer::Instance {
                    service: index,
                    number,
                },
            );
        }
        if change.state || change.health {
            self.notice_task(index, number, uuid, update.reason.clone());
        }
        // Which of several tasks stays is decided when it is certain that they are there, and none is
        // given up before Mesos has spoken of it.
        let unreachable = update.state == TaskState::Unreachable;
        if change.state
            || change.health
            || (change.first_heard && (unreachable || self.awaits_certainty(index, number)))
        {
            self.settle(index, number);
        }
    }

    /// Learns where a task is of which nobody knew; whether it did.
    fn locate(
        &mut self,
        index: ServiceIndex,
        number: u32,
        uuid: Uuid,
        update: &StatusUpdate,
    ) -> bool {
        let Some(unknown) = self
            .task(index, number, uuid)
            .filter(|task| task.agent.known_id().is_none() && update.agent.is_some())
            .cloned()
        else {
            return false;
        };
        let agent = self.known_agent(update);
        self.edit_task(index, number, uuid, |task| task.agent = agent.clone());
        if let Some(service) = self.service_mut(index) {
            service.leave_task(&unknown);
            service.enter_task(&agent, unknown.revision);
        }
        true
    }

    /// A deployment counts a new task when it has been running for some time.
    fn look_when_proven(&mut self, index: ServiceIndex, number: u32) {
        if self.moves.is_empty() {
            return;
        }
        if let Some(service) = self.service(index) {
            let at = self.now + service.state.update.monitor;
            self.timers.set(
                at,
                Timer::Instance {
                    service: index,
                    number,
                },
            );
        }
    }

    fn awaits_certainty(&self, index: ServiceIndex, number: u32) -> bool {
        self.service(index)
            .and_then(|service| service.state.instances.get(number))
            .is_some_and(|instance| {
                let mut tasks = instance.tasks.iter();
                tasks.len() > 1 || tasks.any(|task| matches!(task.goal, Goal::Replace { .. }))
            })
    }

    pub(super) fn notice_task(
        &mut self,
        index: ServiceIndex,
        number: u32,
        uuid: Uuid,
        reason: Option<Arc<str>>,
    ) {
        let Some(service) = self.service(index) else {
            return;
        };
        let Some(task) = self.task(index, number, uuid) else {
            return;
        };
        let notice = Notice::Task {
            task: service
                .state
                .task_id(&self.settings.framework, number, task),
            workload: service.state.name.clone(),
            number,
            state: task.state,
            healthy: task.healthy,
            reason,
            message: task.message.clone(),
        };
        self.notice(notice);
    }

    /// A task has ended, or Mesos knows nothing of it any more.
    fn end_task(&mut self, index: ServiceIndex, number: u32, uuid: Uuid, update: &StatusUpdate) {
        let Some(Some(task)) = self.edit(index, number, |instance| {
            let position = instance.tasks.iter().position(|task| task.uuid == uuid)?;
            Some(instance.tasks.remove(position))
        }) else {
            return;
        };
        self.counters.ended += 1;
        // A framework that began anew has left its tasks behind; they were not lost.
        let is_former = self.connection.under_new_id && task.heard_in == UNHEARD;
        if is_lost(&task, update) && !is_former {
            self.trouble(index, number);
        }
        if !matches!(update.state, TaskState::Finished | TaskState::Killed) {
            self.counters.failed += 1;
        }
        let Some(service) = self.service_mut(index) else {
            return;
        };
        service.leave_task(&task);
        let (name, back_off) = (service.state.name.clone(), service.state.back_off);
        if is_end_of_agent(update) {
            self.forget_empty_agent(&task.agent.id);
        }
        self.out
            .writes
            .push(Write::Delete(Key::Task(update.task.clone())));
        // Its going may satisfy a constraint that nothing satisfied before.
        self.offers.work_changed = true;
        self.offers.changed = true;

        let now = self.now;
        let message = update.message.as_deref().map(shortened);
        let stopped = match task.goal {
            Goal::Stop { reason, since } => Some((reason, since)),
            _ => None,
        };
        let ended = EndedTask {
            uuid,
            revision: task.revision,
            agent: task.agent.clone(),
            ports: task.ports.clone(),
            state: update.state,
            reason: update.reason.as_deref().map(str::to_owned),
            message: message.map(str::to_owned),
            unhealthy: update.healthy.or(task.healthy) == Some(false),
            stopped: stopped.map(|(reason, _)| reason),
            stopped_at: stopped.map(|(_, since)| since),
            launched_at: task.launched_at,
            running_at: task.running_at,
            ended_at: now,
        };
        let blamed = ended.is_failure();
        let stable = task
            .running_at
            .is_some_and(|since| now.since(since) >= back_off.stable_after);
        let wanted = self.edit(index, number, |instance| {
            instance.remember(ended);
            if blamed {
                instance.fail(now, stable, &back_off);
            }
            instance.wanted
        });
        if wanted == Some(true) {
            self.write_instance(index, number);
        }
        self.notice(Notice::Task {
            task: update.task.clone(),
            workload: name,
            number,
            state: update.state,
            healthy: update.healthy,
            reason: update.reason.clone(),
            message: message.map(Arc::from),
        });
        self.forget_unused_revisions(index);
        if stopped.is_none() && is_masters_word(update) {
            self.take_in_successor(index, number);
        }
        self.settle(index, number);
    }

    /// News of a task that is not among the live ones: an echo of one that has ended, one that was
    /// given up and is back, one whose record was lost, or a stranger.
    pub(super) fn news_of_unknown(&mut self, update: StatusUpdate) {
        if update.state.is_terminal() || update.state == TaskState::Unknown {
            if self.unknown_tasks.contains_key(&update.task) {
                Arc::make_mut(&mut self.unknown_tasks).remove(&update.task);
                if update.state.is_terminal() {
                    // What was set aside is stored, and its end is not told again.
                    let key = Key::Task(update.task.clone());
                    self.out.writes.push(Write::Delete(key));
                }
            }
            return self.true_end(&update);
        }
        let framework = self.settings.framework.clone();
        let place = update.task.parts(&framework).and_then(|parts| {
            let index = self.service_of_task_name(parts.workload)?;
            let instance = self.service(index)?.state.instances.get(parts.number)?;
            let ended = instance
                .history
                .iter()
                .find(|ended| ended.uuid == parts.uuid)
                .cloned();
            Some((
                index,
                parts.number,
                parts.uuid,
                instance.wanted,
                instance.tasks.is_empty(),
                ended,
            ))
        });
        match place {
            Some((.., Some(ended))) if !may_return(ended.state) => {}
            // Only what is there and shall stay can be of use.
            _ if !matches!(
                update.state,
                TaskState::Staging | TaskState::Starting | TaskState::Running
            ) =>
            {
                self.quarantine(update);
            }
            Some((index, number, _, true, _, Some(ended))) => {
                self.take_back(index, number, &update, Run::of(&ended, self.now));
            }
            Some((index, number, uuid, true, true, None)) if is_masters_word(&update) => {
                let run = Run {
                    uuid,
                    revision: self
                        .service(index)
                        .map_or(0, |service| service.state.revision),
                    agent: self.known_agent(&update),
                    ports: SmallVec::new(),
                    goal: Goal::Run,
                    launched_at: self.now,
                    running_at: None,
                };
                self.take_back(index, number, &update, run);
            }
            _ => self.quarantine(update),
        }
    }

    /// How a task has ended of which only the master's answer was known: what its agent says goes
    /// into the history, and counts as a failure if the answer did not.
    fn true_end(&mut self, update: &StatusUpdate) {
        if update.reason.as_deref() == Some(ANSWER) || !update.state.is_terminal() {
            return;
        }
        let framework = self.settings.framework.clone();
        let Some(parts) = update.task.parts(&framework) else {
            return;
        };
        let (number, uuid) = (parts.number, parts.uuid);
        let Some(index) = self.service_of_task_name(parts.workload) else {
            return;
        };
        let Some(service) = self.service(index) else {
            return;
        };
        let back_off = service.state.back_off;
        let Some(instance) = service.state.instances.get(number) else {
            return;
        };
        let answered = |ended: &EndedTask| ended.uuid == uuid && ended.has_reason(&[ANSWER]);
        if !instance.history.iter().any(answered) {
            return;
        }
        let now = self.now;
        let wanted = self.edit(index, number, |instance| {
            let mut history = instance.history.to_vec();
            let newest = history.first().is_some_and(answered);
            let ended = history.iter_mut().find(|ended| answered(ended))?;
            let was_blamed = ended.is_failure();
            ended.state = update.state;
            ended.reason = update.reason.as_deref().map(str::to_owned);
            ended.message = update
                .message
                .as_deref()
                .map(|text| shortened(text).to_owned());
            ended.unhealthy |= update.healthy == Some(false);
            let blamed = !was_blamed && ended.is_failure();
            // What has failed after it counts on.
            let stable = newest
                && ended
                    .running_at
                    .is_some_and(|since| ended.ended_at.since(since) >= back_off.stable_after);
            instance.history = history.into();
            if blamed {
                instance.fail(now, stable, &back_off);
            }
            Some(instance.wanted)
        });
        if wanted == Some(Some(true)) {
            self.write_instance(index, number);
            self.settle(index, number);
        }
    }

    fn known_agent(&self, update: &StatusUpdate) -> Arc<AgentAddress> {
        let Some(id) = &update.agent else {
            return Arc::new(AgentAddress::unknown());
        };
        let seen = self.offers.agents_seen.get(id).cloned();
        seen.unwrap_or_else(|| {
            Arc::new(AgentAddress {
                id: id.clone(),
                ..AgentAddress::unknown()
            })
        })
    }

    /// Takes a task back among the live ones, and asks Mesos once more whether it is.
    fn take_back(&mut self, index: ServiceIndex, number: u32, update: &StatusUpdate, run: Run) {
        let (uuid, agent) = (run.uuid, run.agent);
        // Its template may have been forgotten meanwhile; then it counts as one of the current.
        let revision = self.service(index).map_or(run.revision, |service| {
            if service.state.revisions.contains_key(&run.revision) {
                run.revision
            } else {
                service.state.revision
            }
        });
        let running_at = match update.state {
            TaskState::Running => Some(run.running_at.unwrap_or(self.now)),
            _ => None,
        };
        let task = Task {
            uuid,
            revision,
            agent: agent.clone(),
            ports: run.ports,
            state: update.state,
            goal: run.goal,
            healthy: update.healthy,
            readiness: None,
            heard_in: self.connection.subscription,
            launched_at: run.launched_at,
            started_at: Some(self.now),
            running_at,
            changed_at: self.now,
            kills_sent: 0,
            kill_again_at: None,
            message: None,
        };
        if self.unknown_tasks.contains_key(&update.task) {
            Arc::make_mut(&mut self.unknown_tasks).remove(&update.task);
        }
        self.edit(index, number, |instance| instance.tasks.push(task));
        if let Some(service) = self.service_mut(index) {
            service.enter_task(&agent, revision);
        }
        self.write_task(index, number, uuid);
        self.notice_task(index, number, uuid, update.reason.clone());
        self.ask_about(update.task.clone(), update.agent.clone());
        if run.goal.is_stop() {
            self.send_kill(index, number, uuid);
        }
        self.settle(index, number);
    }

    /// Shows a task that nobody knows, and asks Mesos about it: an echo disappears with the answer.
    fn quarantine(&mut self, mut update: StatusUpdate) {
        let known = self.unknown_tasks.get(&update.task);
        // What the master has confirmed stays so, whatever the task itself says meanwhile.
        if let Some(known) = known
            && is_masters_word(known)
            && !is_masters_word(&update)
        {
            update.reason.clone_from(&known.reason);
        }
        if known.is_none() && self.unknown_tasks.len() >= UNKNOWN_MAX {
            return;
        }
        if known.is_none() {
            self.notice(Notice::UnknownTask {
                task: update.task.clone(),
                state: update.state,
            });
            if !is_masters_word(&update) {
                self.ask_about(update.task.clone(), update.agent.clone());
            }
        }
        Arc::make_mut(&mut self.unknown_tasks).insert(update.task.clone(), update);
        self.expect_unknown_kills();
    }

    pub(super) fn ask_about(&mut self, task: TaskId, agent: Option<crate::AgentId>) {
        self.counters.reconciliations += 1;
        self.send(Call::Reconcile {
            tasks: vec![(task, agent)],
        });
    }

    pub(super) fn launch_overdue(&mut self, index: ServiceIndex, number: u32, run: u32) {
        let Some(uuid) = self.task_of_run(index, number, run) else {
            return;
        };
        let Some(service) = self.service(index) else {
            return;
        };
        let Some(task) = self.task(index, number, uuid) else {
            return;
        };
        if matches!(task.state, TaskState::Launching | TaskState::Staging) {
            let id = service
                .state
                .task_id(&self.settings.framework, number, task);
            let agent = task.agent.known_id();
            self.ask_about(id, agent);
            let again_at = self.now + self.settings.launch_deadline;
            self.timers.set(
                again_at,
                Timer::Launch {
                    service: index,
                    number,
                    run,
                },
            );
        }
    }
}

/// What is known of a task that is taken back.
struct Run {
    uuid: Uuid,
    revision: u32,
    agent: Arc<AgentAddress>,
    ports: SmallVec<[u16; 4]>,
    goal: Goal,
    launched_at: Timestamp,
    running_at: Option<Timestamp>,
}

impl Run {
    /// As it is remembered. One that was being stopped is stopped.
    fn of(ended: &EndedTask, now: Timestamp) -> Self {
        let goal = ended.stopped.map_or(Goal::Run, |reason| Goal::Stop {
            reason,
            since: ended.stopped_at.unwrap_or(now),
        });
        Self {
            uuid: ended.uuid,
            revision: ended.revision,
            agent: ended.agent.clone(),
            ports: ended.ports.clone(),
            goal,
            launched_at: ended.launched_at,
            running_at: ended.running_at,
        }
    }
}

/// Whether a task that was well is gone for a reason that is not its own, or because its check
/// fails now.
fn is_lost(task: &Task, update: &StatusUpdate) -> bool {
    task.is_well()
        && !task.goal.is_stop()
        && (update.healthy == Some(false)
            || matches!(
                update.state,
                TaskState::Lost | TaskState::Gone | TaskState::Dropped | TaskState::Unknown
            ))
}

/// Whether the end of a task says that its agent may be gone for good. One that the master knows
/// nothing of, on an agent that it knows, is GONE too.
fn is_end_of_agent(update: &StatusUpdate) -> bool {
    match update.state {
        TaskState::GoneByOperator | TaskState::Unknown => true,
        TaskState::Gone => update.reason.as_deref() != Some(ANSWER),
        _ => false,
    }
}

/// What an update changed about a task.
#[derive(Default)]
struct Change {
    first_heard: bool,
    trouble: bool,
    state: bool,
    health: bool,
    first_running: bool,
    /// It could not be reached, and can.
    back: bool,
    /// It can not be reached any more.
    lost: bool,
    /// It has to be told once more that it is to end.
    kill: bool,
}

/// Whether a task in state `now` can have gone on to `next`. An update that would turn it back is
/// late or a duplicate.
fn follows(now: TaskState, next: TaskState) -> bool {
    fn rank(state: TaskState) -> u8 {
        match state {
            TaskState::Launching => 0,
            TaskState::Staging => 1,
            TaskState::Starting => 2,
            TaskState::Running => 3,
            TaskState::Killing => 4,
            _ => 5,
        }
    }
    now == TaskState::Unreachable || rank(next) >= rank(now)
}

/// Whether a task that ended in this state may all the same be alive: its end was concluded from
/// the absence of its agent.
fn may_return(state: TaskState) -> bool {
    matches!(
        state,
        TaskState::Lost
            | TaskState::Gone
            | TaskState::GoneByOperator
            | TaskState::Dropped
            | TaskState::Unknown
    )
}

/// Whether the update is the master's own knowledge and not a message under way for some time.
fn is_masters_word(update: &StatusUpdate) -> bool {
    matches!(
        update.reason.as_deref(),
        Some(ANSWER | "REASON_AGENT_REREGISTERED" | "REASON_SLAVE_REREGISTERED")
    )
}

impl EndedTask {
    /// Whether it counts as a failure of its instance.
    fn is_failure(&self) -> bool {
        if self.stopped.is_some() {
            return false;
        }
        match self.state {
            TaskState::GoneByOperator | TaskState::Unknown => false,
            TaskState::Killed if self.unhealthy => true,
            // What ended by itself did so whatever the answer leaves out; this may be the agent's doing.
            TaskState::Killed | TaskState::Lost | TaskState::Gone | TaskState::Dropped
                if self.has_reason(&[ANSWER]) =>
            {
                false
            }
            _ => !self.has_reason(&BLAMELESS),
        }
    }

    /// Whether it counts against what it ran.
    pub(super) fn is_own_failure(&self) -> bool {
        self.is_failure() && !self.has_reason(&PLATFORM)
    }

    fn has_reason(&self, among: &[&str]) -> bool {
        let reason = self.reason.as_deref();
        reason.is_some_and(|reason| among.contains(&reason))
    }
}

fn shortened(text: &str) -> &str {
    shortened_to(MESSAGE_MAX, text)
}

/// The beginning of a text, of at most so many bytes.
pub(super) fn shortened_to(limit: usize, text: &str) -> &str {
    if text.len() <= limit {
        return text;
    }
    let cut = (0..=limit)
        .rev()
        .find(|position| text.is_char_boundary(*position))
        .unwrap_or(0);
    &text[..cut]
}

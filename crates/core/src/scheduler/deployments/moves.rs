//! Moving instances: which are still to be moved, which may be moved now, and how those that are
//! being moved are doing.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use super::{
    super::{Scheduler, ServiceIndex, Timer, services::Service},
    limits::Unproven,
};
use crate::{
    Deployment, DeploymentId, DeploymentKind, DeploymentStatus, EndedTask, Goal, Instance, Resumed,
    StopReason, Task, TaskState, Timestamp, UpdatePolicy, Uuid, Veto, Waiting,
};

/// A new task of an instance that fails so often has failed for good.
const FAILURES_MAX: u32 = 3;

/// A deployment that was interrupted so often, and for so many times as long as an instance may take,
/// without moving one, ends. Either alone says little: interruptions may come often while a new task
/// has to prove itself for long, and one may last long.
const RESUMED_MAX: u32 = 20;
const RESUMED_LIMITS: u32 = 3;

/// What a deployment at work is at; made anew after a restart of the scheduler.
#[derive(Debug)]
pub(in super::super) struct Moves {
    /// Instances to look at; the next one is the last.
    queue: Vec<Candidate>,
    /// Those that are being moved.
    under_way: Vec<Move>,
    /// Those that were. What becomes of them afterwards is not the deployment's any more, or one
    /// whose tasks come and go would never end.
    moved: BTreeSet<(ServiceIndex, u32)>,
    /// When the last move ended, or the first could have begun.
    progress_at: Timestamp,
    /// When it is looked at again whether anything has moved.
    look_again_at: Option<Timestamp>,
    /// When the next task counts as ready that others wait for.
    proven_at: Option<Timestamp>,
}

/// Sorted so that the next one is the last: those that are being moved already, by a leader or a
/// deployment before this one, as they count toward the limits; those that are not ready, or have yet
/// to prove it, before those that are, as nobody misses them; then the youngest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    begun: bool,
    unready: bool,
    launched_at: Timestamp,
    index: ServiceIndex,
    number: u32,
    /// Nothing of it is to be replaced, but it has the new revision still to prove.
    trying: bool,
}

#[derive(Clone, Debug)]
struct Move {
    index: ServiceIndex,
    number: u32,
    deadline: Timestamp,
    /// Failures of the instance when its move began.
    failures: u32,
    /// The task that it began with.
    old: Option<Uuid>,
    /// The last refusal of modules to have the new task launched, until it is.
    veto: Option<Arc<Veto>>,
}

/// Which tasks are to be replaced.
#[derive(Clone, Copy, Debug)]
pub(super) enum Rule {
    LaunchedBefore(Timestamp),
    OtherThan {
        revision: u32,
        /// An instance whose task was lost since then must get one of the revision; absent on the way
        /// back, where it is enough that nothing else runs.
        lost_since: Option<Timestamp>,
    },
}

impl Rule {
    pub(super) fn of(deployment: &Deployment) -> Self {
        match (&deployment.kind, &deployment.status) {
            (
                DeploymentKind::RollingRestart {
                    launched_before, ..
                },
                _,
            ) => Self::LaunchedBefore(*launched_before),
            (
                DeploymentKind::Update { from, .. },
                DeploymentStatus::RollingBack { .. } | DeploymentStatus::RolledBack { .. },
            ) => Self::OtherThan {
                revision: *from,
                lost_since: None,
            },
            (DeploymentKind::Update { to, .. }, _) => Self::OtherThan {
                revision: *to,
                lost_since: Some(deployment.started_at),
            },
        }
    }

    pub(super) fn is_old(self, task: &Task) -> bool {
        match self {
            Self::LaunchedBefore(moment) => task.launched_at < moment,
            Self::OtherThan { revision, .. } => task.revision != revision,
        }
    }

    /// Whether a task that has ended was one of those that are to be.
    fn was_new(self, ended: &EndedTask) -> bool {
        match self {
            Self::LaunchedBefore(moment) => ended.launched_at >= moment,
            Self::OtherThan { revision, .. } => ended.revision == revision,
        }
    }
}

/// How an instance that is being moved is doing.
enum Progress {
    Moving,
    Moved,
    /// There is a task that is to be moved, too, and that its time has not begun for.
    Again,
    Failed(String),
}

/// Whether an instance may be moved.
enum Begin {
    /// Its move has begun, or had begun already.
    Begun(Move),
    /// Not now: too few others are ready.
    NotNow,
    /// There is nothing to move.
    Nothing,
}

impl Scheduler {
    /// How many instances a deployment still has to move.
    pub(super) fn still_to_move(&self, deployment: &Deployment) -> u32 {
        self.candidates(deployment).len() as u32
    }

    fn candidates(&self, deployment: &Deployment) -> Vec<Candidate> {
        let rule = Rule::of(deployment);
        let workload = deployment.kind.workload();
        let restarts = matches!(deployment.kind, DeploymentKind::RollingRestart { .. });
        let mut queue: Vec<_> = self
            .services()
            .filter(|(_, service)| workload.is_none_or(|name| service.state.name == *name))
            // A restart leaves to an update what the update moves anyway.
            .filter(|(_, service)| !(restarts && self.is_being_updated(service)))
            .flat_map(|(index, service)| {
                service.state.instances.iter().filter_map(move |instance| {
                    let mut candidate = self.candidate(index, service, instance, rule)?;
                    candidate.unready &= !restarts;
                    Some(candidate)
                })
            })
            .collect();
        queue.sort_unstable();
        queue
    }

    fn candidate(
        &self,
        index: ServiceIndex,
        service: &Service,
        instance: &Instance,
        rule: Rule,
    ) -> Option<Candidate> {
        let (begun, launched_at, trying) = match self.to_be_moved(instance, rule) {
            Some(old) => (old.goal != Goal::Run, old.launched_at, false),
            None if self.is_trying(service, instance, rule) => (false, self.now, true),
            None => return None,
        };
        Some(Candidate {
            begun,
            unready: !service.counts(instance, rule, self.now),
            launched_at,
            index,
            number: instance.number,
            trying,
        })
    }

    /// Whether an instance has the new revision still to prove: it lost its task by other means than
    /// a move, and an update is not done before it is known how that ended.
    fn is_trying(&self, service: &Service, instance: &Instance, rule: Rule) -> bool {
        let Rule::OtherThan {
            revision,
            lost_since,
        } = rule
        else {
            return false;
        };
        let proven = |task: &Task| {
            task.revision == revision && !task.goal.is_stop() && service.is_proven(task, self.now)
        };
        let alive = |task: &Task| {
            task.revision == revision
                && !task.goal.is_stop()
                && task.state != TaskState::Unreachable
        };
        let failing = instance.failures > 0
            && instance
                .history
                .first()
                .is_some_and(|ended| ended.revision == revision);
        let lost = lost_since.is_some_and(|since| {
            let last = instance.history.first();
            last.is_some_and(|ended| ended.ended_at >= since)
        });
        instance.wanted
            && !instance.tasks.iter().any(proven)
            && (failing || lost || instance.tasks.iter().any(alive))
    }

    /// The task of an instance that a deployment has to replace: one that can be reached before one
    /// that cannot, then one whose move has begun. One that is going for another reason is replaced
    /// without it.
    fn to_be_moved<'a>(&self, instance: &'a Instance, rule: Rule) -> Option<&'a Task> {
        let eligible = |task: &&Task| {
            instance.wanted
                && rule.is_old(task)
                && !self.given_up(task)
                && match task.goal {
                    Goal::Run | Goal::Replace { .. } => true,
                    // One that cannot be reached is stopped when it is back; nobody waits for that.
                    Goal::Stop { reason, .. } => {
                        reason == StopReason::Restarted && task.state != TaskState::Unreachable
                    }
                }
        };
        instance
            .tasks
            .iter()
            .filter(eligible)
            .min_by_key(|task| (task.state == TaskState::Unreachable, task.goal == Goal::Run))
    }

    /// Lets every deployment at work go on, unless nobody can say how the tasks are.
    pub(in super::super) fn advance_deployments(&mut self) {
        if self.brake.is_some() || !self.connection.subscribed {
            self.moves.clear();
            return;
        }
        // Without any, which is nearly always, this costs nothing.
        let at_work: Vec<_> = self
            .deployments
            .values()
            .filter(|deployment| deployment.status.is_at_work())
            .cloned()
            .collect();
        for deployment in at_work {
            match self.moves.remove(&deployment.id) {
                Some(moves) => {
                    self.advance(&deployment, Deployment::clone(&deployment), moves);
                }
                None => self.take_up(&deployment),
            }
        }
    }

    /// Begins with a deployment, or goes on with it after the subscription, the term or a brake was
    /// between. Each time it has its time anew, so there is an end to this: see [`Resumed`].
    fn take_up(&mut self, deployment: &Deployment) {
        let resumed = deployment.resumed.unwrap_or(Resumed {
            times: 0,
            since: self.now,
        });
        let (times, since) = (resumed.times, resumed.since);
        if times >= RESUMED_MAX && self.now >= since + self.limit(deployment) * RESUMED_LIMITS {
            let reason = format!("interrupted {times} times without moving an instance");
            return self.deployment_failed(deployment.clone(), reason);
        }
        let mut now = deployment.clone();
        now.resumed = Some(Resumed {
            times: times.saturating_add(1),
            since,
        });
        let moves = Moves {
            queue: self.candidates(deployment),
            under_way: Vec::new(),
            moved: BTreeSet::new(),
            progress_at: self.now,
            look_again_at: None,
            proven_at: None,
        };
        self.advance(deployment, now, moves);
    }

    /// How long a deployment gives an instance.
    fn limit(&self, deployment: &Deployment) -> Duration {
        let of = deployment.kind.workload();
        let index = of.and_then(|name| self.service_named(name).ok());
        let index = index.unwrap_or(ServiceIndex::MAX);
        self.policy(deployment, index).deadline
    }

    fn advance(&mut self, before: &Deployment, mut now: Deployment, mut moves: Moves) {
        let rule = Rule::of(before);
        let mut failed = None;
        let mut under_way = Vec::new();
        for mut one in std::mem::take(&mut moves.under_way) {
            self.note_veto(&mut one, rule);
            self.put_off_move(before, &mut one, rule);
            match self.progress(&one, rule) {
                Progress::Moving => under_way.push(one),
                Progress::Moved => {
                    moves.moved.insert((one.index, one.number));
                    self.moved(&mut now, &mut moves);
                }
                // It is found again when all others have been moved.
                Progress::Again => moves.progress_at = self.now,
                Progress::Failed(reason) => failed = Some(reason),
            }
        }
        moves.under_way = under_way;
        if failed.is_none() {
            self.begin_moves(&mut now, &mut moves, rule);
            failed = self.stalled(&now, &mut moves);
        }
        let over = moves.queue.is_empty() && moves.under_way.is_empty();
        match failed {
            Some(reason) => self.deployment_failed(now, reason),
            None if over => {
                now.done = now.total;
                now.status = match now.status {
                    DeploymentStatus::RollingBack { reason, .. } => DeploymentStatus::RolledBack {
                        at: self.now,
                        reason,
                    },
                    _ => DeploymentStatus::Done { at: self.now },
                };
                now.resumed = None;
                self.write_deployment(now);
            }
            None => {
                if now != *before {
                    self.write_deployment(now);
                }
                self.moves.insert(before.id, moves);
            }
        }
    }

    fn begin_moves(&mut self, deployment: &mut Deployment, moves: &mut Moves, rule: Rule) {
        let mut looked_again = false;
        let mut unproven = BTreeMap::new();
        loop {
            let Some(candidate) = moves.queue.pop() else {
                // Instances may have been added, or have failed to move, since the list was made.
                if moves.under_way.is_empty() && !looked_again {
                    looked_again = true;
                    moves.queue = self.candidates(deployment);
                    moves.queue.retain(|next| {
                        !(next.trying && moves.moved.contains(&(next.index, next.number)))
                    });
                    if !moves.queue.is_empty() {
                        continue;
                    }
                }
                return;
            };
            let policy = self.policy(deployment, candidate.index);
            if moves.under_way.len() >= self.moves_at_once(candidate.index, &policy) {
                moves.queue.push(candidate);
                return;
            }
            match self.begin_move(&candidate, rule, &policy, &mut unproven) {
                Begin::Begun(one) => moves.under_way.push(one),
                Begin::NotNow => {
                    moves.queue.push(candidate);
                    return self.look_when_one_is_proven(candidate, moves, &unproven);
                }
                // It has been moved by other means, or is gone.
                Begin::Nothing => self.moved(deployment, moves),
            }
        }
    }

    fn moved(&self, deployment: &mut Deployment, moves: &mut Moves) {
        deployment.done = (deployment.done + 1).min(deployment.total);
        if let Some(resumed) = &mut deployment.resumed {
            *resumed = Resumed {
                times: 1,
                since: self.now,
            };
        }
        moves.progress_at = self.now;
    }

    /// Begins to move an instance, or finds it being moved already.
    fn begin_move(
        &mut self,
        candidate: &Candidate,
        rule: Rule,
        policy: &UpdatePolicy,
        unproven: &mut BTreeMap<ServiceIndex, Unproven>,
    ) -> Begin {
        let (index, number) = (candidate.index, candidate.number);
        let Some(service) = self.service(index) else {
            return Begin::Nothing;
        };
        let Some(instance) = service.state.instances.get(number) else {
            return Begin::Nothing;
        };
        let failures = instance.failures;
        let one = |old, deadline| {
            Begin::Begun(Move {
                index,
                number,
                deadline,
                failures,
                old,
                veto: None,
            })
        };
        let Some(old) = self.to_be_moved(instance, rule) else {
            if !self.is_trying(service, instance, rule) {
                return Begin::Nothing;
            }
            let deadline = self.due(service, self.now + policy.deadline);
            let proven_at = instance
                .tasks
                .iter()
                .filter_map(|task| service.proven_at(task))
                .min();
            for at in [Some(deadline), proven_at].into_iter().flatten() {
                self.timers.set(
                    at,
                    Timer::Instance {
                        service: index,
                        number,
                    },
                );
            }
            return one(None, deadline);
        };
        let began_with = Some(old.uuid);
        let uuid = old.uuid;
        let stop_first = service.moves_stop_first(policy);
        let (deadline, begins) = match old.goal {
            Goal::Replace { deadline, .. } => (deadline, false),
            Goal::Stop { since, .. } => (since + policy.deadline, false),
            Goal::Run if !self.may_move(index, number, rule, policy, unproven) => {
                return Begin::NotNow;
            }
            Goal::Run => (self.now + policy.deadline, true),
        };
        let deadline = self.due(service, deadline);
        let begun = one(began_with, deadline);
        if begins {
            self.replace_task(index, number, uuid, stop_first, policy.deadline, false);
        }
        self.timers.set(
            deadline,
            Timer::Instance {
                service: index,
                number,
            },
        );
        begun
    }

    /// Nothing may be moved before what has just started counts.
    fn look_when_one_is_proven(
        &mut self,
        candidate: Candidate,
        moves: &mut Moves,
        unproven: &BTreeMap<ServiceIndex, Unproven>,
    ) {
        let (service, number) = (candidate.index, candidate.number);
        let next = unproven.get(&service).and_then(|unproven| unproven.next);
        if let Some(at) = next
            && moves.proven_at != next
        {
            moves.proven_at = next;
            self.timers.set(at, Timer::Instance { service, number });
        }
    }

    /// Remembers who keeps the new task from being launched: when the time is over nobody asks any
    /// more.
    fn note_veto(&self, one: &mut Move, rule: Rule) {
        let instance = self
            .service(one.index)
            .and_then(|service| service.state.instances.get(one.number));
        let Some(instance) = instance else { return };
        match &instance.waiting {
            Some(Waiting::Admission {
                refused: Some(veto),
                ..
            }) => one.veto = Some(veto.clone()),
            _ if instance.tasks.iter().any(|task| !rule.is_old(task)) => one.veto = None,
            _ => {}
        }
    }

    /// Where one task cannot be reached, no other may be launched before it is given up; from then on
    /// that one has its whole time.
    fn put_off_move(&mut self, deployment: &Deployment, one: &mut Move, rule: Rule) {
        let (service, number) = (one.index, one.number);
        let instance = self
            .service(service)
            .and_then(|service| service.state.instances.get(number));
        let given_up_at = instance
            .into_iter()
            .flat_map(|instance| &instance.tasks)
            .filter(|task| task.goal.is_stop() || !rule.is_old(task))
            .filter(|task| task.state == TaskState::Unreachable && !self.given_up(task))
            .map(|task| task.changed_at + self.settings.unreachable_after)
            .max();
        let Some(given_up_at) = given_up_at else {
            return;
        };
        let deadline = given_up_at + self.policy(deployment, service).deadline;
        if deadline > one.deadline {
            one.deadline = deadline;
            self.timers
                .set(deadline, Timer::Instance { service, number });
        }
    }

    fn progress(&self, one: &Move, rule: Rule) -> Progress {
        let Some(service) = self.service(one.index) else {
            return Progress::Moved;
        };
        let Some(instance) = service
            .state
            .instances
            .get(one.number)
            .filter(|instance| instance.wanted)
        else {
            return Progress::Moved;
        };
        let name = format!("{}-{}", service.state.name, one.number);
        let old = instance
            .tasks
            .iter()
            .filter(|task| rule.is_old(task) && task.state != TaskState::Unreachable)
            // One that is going is not gone, whatever else has come back beside it.
            .min_by_key(|task| task.goal == Goal::Run);
        // A new revision must prove itself; a restart brings nothing new. What is being stopped stays
        // neither way.
        let ready = instance.tasks.iter().any(|task| {
            !rule.is_old(task)
                && !task.goal.is_stop()
                && match rule {
                    Rule::LaunchedBefore(_) => service.is_ready(task),
                    Rule::OtherThan { .. } => service.is_proven(task, self.now),
                }
        });
        let doubtful = instance
            .tasks
            .iter()
            .any(|task| task.heard_in != self.connection.subscription);
        // A stable run in between starts the count anew.
        let failures = match instance.failures.checked_sub(one.failures) {
            Some(more) => more,
            None => instance.failures,
        };
        // The platform's are not held against what was to run.
        let own = instance
            .history
            .iter()
            .filter(|ended| ended.is_own_failure() && rule.was_new(ended));
        let failures = failures.min(own.count() as u32);
        match old {
            None if ready => Progress::Moved,
            _ if doubtful => Progress::Moving,
            Some(old) if old.goal == Goal::Run && !self.is_kept(one, old) => Progress::Again,
            Some(old) if old.goal == Goal::Run => Progress::Failed(format!(
                "the new task of {name} did not become ready in time{}",
                one.refusal()
            )),
            _ if failures >= FAILURES_MAX => Progress::Failed(format!(
                "the new task of {name} failed {failures} times{}",
                last_words(instance)
            )),
            Some(_) if self.now >= one.deadline + self.settings.kill_max => {
                Progress::Failed(format!("the old task of {name} does not end"))
            }
            None if self.now >= one.deadline => Progress::Failed(format!(
                "{name} did not become ready in time after its old task was stopped{}",
                one.refusal()
            )),
            _ => Progress::Moving,
        }
    }

    /// Whether an old task stays because the time for its replacement was over. Any other that is to
    /// stay has come back beside what was launched instead of it, or what an operator had asked for
    /// before is done.
    fn is_kept(&self, one: &Move, old: &Task) -> bool {
        one.old == Some(old.uuid) && self.now >= one.deadline
    }

    /// Whether nothing has moved, and nothing could be moved, for too long.
    fn stalled(&mut self, deployment: &Deployment, moves: &mut Moves) -> Option<String> {
        let next = moves.queue.last()?;
        let service = self.service(next.index)?;
        // The moves under way have deadlines of their own, Mesos has its time to answer, and agents
        // have theirs to be back.
        if !moves.under_way.is_empty()
            || service.state.counts.unconfirmed > 0
            || service.awaits_agents()
        {
            moves.progress_at = self.now;
            return None;
        }
        let limit = self.policy(deployment, next.index).deadline;
        let until = self.due(service, moves.progress_at + limit);
        let (service, number) = (next.index, next.number);
        if self.now < until {
            if moves.look_again_at != Some(until) {
                moves.look_again_at = Some(until);
                self.timers.set(until, Timer::Instance { service, number });
            }
            return None;
        }
        let service = self.service(service)?;
        let state = &service.state;
        let unproven = service.unproven(Rule::of(deployment), self.now).instances;
        Some(format!(
            "too few instances of {} are ready to move another: {} of {}{}",
            state.name,
            state.counts.ready.saturating_sub(unproven),
            state.desired,
            match unproven {
                0 => String::new(),
                _ => format!(", and {unproven} that have just started"),
            }
        ))
    }
}

impl Move {
    /// Who kept the new task from being launched, for people.
    fn refusal(&self) -> String {
        self.veto.as_ref().map_or_else(String::new, |veto| {
            format!(": the module `{}` refused it: {}", veto.module, veto.reason)
        })
    }
}

/// What the last task of an instance ended with, for people.
fn last_words(instance: &Instance) -> String {
    let Some(ended) = instance.history.first() else {
        return String::new();
    };
    let state = ended.state.mesos_name();
    match ended.message.as_deref().or(ended.reason.as_deref()) {
        Some(why) => format!(", the last time with {state}: {why}"),
        None => format!(", the last time with {state}"),
    }
}

impl Service {
    /// Whether a task is ready and has been for as long as a new one must have been.
    pub(in super::super) fn is_proven(&self, task: &Task, now: Timestamp) -> bool {
        self.is_ready(task) && self.proven_at(task).is_some_and(|at| now >= at)
    }

    /// When a running task will have been running for long enough.
    pub(in super::super) fn proven_at(&self, task: &Task) -> Option<Timestamp> {
        Some(task.running_at? + self.state.update.monitor)
    }
}

impl DeploymentStatus {
    /// Whether it moves instances by itself.
    pub const fn is_at_work(&self) -> bool {
        matches!(self, Self::Running | Self::RollingBack { .. })
    }
}

impl Scheduler {
    /// Whether an update of a service is under way, paused included.
    pub(super) fn is_being_updated(&self, service: &Service) -> bool {
        self.update_of(&service.state.name)
            .is_some_and(|id| !self.deployments[&id].status.is_over())
    }

    /// The last update of a workload.
    pub(in super::super) fn update_of(&self, name: &crate::WorkloadName) -> Option<DeploymentId> {
        self.deployments
            .values()
            .rev()
            .find(|deployment| {
                matches!(&deployment.kind, DeploymentKind::Update { workload, .. } if workload == name)
            })
            .map(|deployment| deployment.id)
    }
}

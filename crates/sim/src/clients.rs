//! People and programs at the API: they ask any Gantry, and rely on what is answered.

use std::collections::BTreeMap;

use gantry_core::{
    Actor, Answer, Command, DeploymentStatus, Input, Key, Record, Refusal, ReplyToken, TaskId,
    View, WorkloadName,
};

use crate::world::{Event, Happening, World};

/// While things come right, an operator looks this often whether something still waits for one.
const LOOK_AGAIN: u64 = 10_000;

/// So long after the faults a brake that is still on is released by hand, as tasks that are sick by
/// nature may hold it.
const PATIENCE: u64 = 5 * 60_000;

/// What was asked, and how far it is.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    asked: BTreeMap<u64, Ask>,
    tokens: u64,
    taken: u64,
}

/// A command on its way.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) command: Command,
    pub(crate) at: u64,
    /// The epoch whose leader took it, and its place among all that were taken.
    taken: Option<(u64, u64)>,
    /// What it was to change is stored.
    spent: bool,
}

impl Clients {
    /// Commands that the leader of an epoch took and has not answered.
    fn taken_in(&self, epoch: u64) -> impl Iterator<Item = &Ask> {
        let mut asked = self.asked.values();
        std::iter::from_fn(move || asked.find(|ask| ask.taken.is_some_and(|(of, _)| of == epoch)))
    }

    /// Whether the leader of an epoch was asked for the brake's release and has not answered.
    pub(crate) fn awaits_release(&self, epoch: u64) -> bool {
        self.taken_in(epoch)
            .any(|ask| ask.command == Command::ReleaseBrake)
    }

    /// Whether the leader of an epoch was asked for this count and has not answered. The command
    /// has then had its effect, and so have those that came before it.
    pub(crate) fn scaled(&mut self, epoch: u64, name: &WorkloadName, count: u32) -> bool {
        let asks = |ask: &Ask| match &ask.command {
            Command::Scale {
                workload,
                instances,
            } if workload == name && !ask.spent => Some(*instances),
            _ => None,
        };
        let first = self
            .taken_in(epoch)
            .filter(|ask| asks(ask) == Some(count))
            .filter_map(|ask| ask.taken)
            .min();
        let Some(first) = first else {
            return false;
        };
        for ask in self.asked.values_mut() {
            ask.spent |= asks(ask).is_some() && ask.taken.is_some_and(|taken| taken <= first);
        }
        true
    }
}

impl World {
    pub(crate) fn schedule_operator(&mut self) {
        let mean = self.plan.rates.operator_mean;
        let delay = if mean > 0 {
            self.dice.around(mean)
        } else {
            20_000
        };
        self.after(delay, Event::Operator);
    }

    pub(crate) fn operate(&mut self) {
        let view = self
            .leader()
            .and_then(|leader| self.gantrys[leader].term.as_ref())
            .map(|term| term.scheduler.view());
        if let Some(view) = view {
            if self.settled {
                self.finish(&view);
            } else if self.plan.rates.operator_mean > 0
                && let Some(command) = self.think_of(&view)
            {
                self.ask(command);
            }
        }
        if self.settled {
            self.after(LOOK_AGAIN, Event::Operator);
        } else {
            self.schedule_operator();
        }
    }

    /// Lets go what waits for an operator.
    fn finish(&mut self, view: &View) {
        let patience = self.plan.faults_until + PATIENCE;
        if view.brake.is_some() && self.now > patience {
            self.ask(Command::ReleaseBrake);
        }
        for deployment in &view.deployments {
            // One that failed is not made to go on for ever.
            if matches!(
                deployment.status,
                DeploymentStatus::Paused { reason: None, .. }
            ) {
                self.ask(Command::ResumeDeployment(deployment.id));
            }
        }
    }

    fn think_of(&mut self, view: &View) -> Option<Command> {
        let workload = self.dice.pick(&view.workloads)?;
        let name = workload.name.clone();
        let tasks: Vec<TaskId> = workload
            .tasks()
            .map(|(number, task)| workload.task_id(&self.plan.settings.framework, number, task))
            .collect();
        let deployment = self
            .dice
            .pick(&view.deployments)
            .map(|deployment| deployment.id);
        let unknown: Vec<_> = view.unknown_tasks.keys().cloned().collect();
        let one_or_all = |one: bool| one.then(|| name.clone());
        if view.brake.is_some() && self.dice.chance(150) {
            return Some(Command::ReleaseBrake);
        }
        match self.dice.below(20) {
            0..=5 => Some(Command::Scale {
                workload: name,
                instances: self.dice.below(8) as u32,
            }),
            6..=9 => self
                .dice
                .pick(&tasks)
                .map(|task| Command::Restart { task: task.clone() }),
            10..=12 => Some(Command::RollingRestart {
                workload: one_or_all(self.dice.chance(800)),
            }),
            13 => Some(Command::KillAll {
                workload: one_or_all(self.dice.chance(800)),
            }),
            14 | 15 => deployment.map(Command::PauseDeployment),
            16 => deployment.map(Command::ResumeDeployment),
            17 => deployment.map(Command::AbortDeployment),
            18 => deployment.map(Command::RollbackDeployment),
            _ => self
                .dice
                .pick(&unknown)
                .map(|task| Command::KillUnknown { task: task.clone() }),
        }
    }

    fn ask(&mut self, command: Command) {
        self.clients.tokens += 1;
        let token = self.clients.tokens;
        let gantry = self.dice.below(self.gantrys.len() as u64) as usize;
        self.note(|| format!("a client asks G{gantry} ({token}): {command:?}"));
        let at = self.now;
        let ask = Ask {
            command,
            at,
            taken: None,
            spent: false,
        };
        self.clients.asked.insert(token, ask);
        let delay = self.latency();
        let asked = Happening::Asked {
            token,
            proxied: false,
        };
        self.soon(delay, gantry, asked);
    }

    /// A leader takes the command, a stand-by hands it on once, to whom it takes for the leader.
    pub(crate) fn gantry_asked(&mut self, gantry: usize, token: u64, proxied: bool) {
        let current = &self.gantrys[gantry];
        if !current.up {
            return self.forget_ask(token);
        }
        let Some(term) = current.term.as_ref().filter(|term| !term.draining) else {
            let leader = current.candidate.believes;
            let Some(leader) = leader.filter(|leader| !proxied && *leader != gantry) else {
                return self.forget_ask(token);
            };
            let delay = self.latency();
            let proxied = true;
            return self.soon(delay, leader, Happening::Asked { token, proxied });
        };
        let epoch = term.epoch;
        let Some(ask) = self.clients.asked.get_mut(&token) else {
            return;
        };
        self.clients.taken += 1;
        ask.taken = Some((epoch, self.clients.taken));
        let command = ask.command.clone();
        let of_deployment = self.workload_of(&command);
        let all: Vec<WorkloadName> = self
            .plan
            .types
            .iter()
            .map(|plan| plan.spec.name.clone())
            .collect();
        self.memory.commanded(
            &command,
            of_deployment.as_ref(),
            &all,
            &self.plan.settings.framework,
            self.now,
        );
        self.hear(
            gantry,
            Input::Command {
                token: ReplyToken(token),
                actor: Actor {
                    name: "operator".to_owned(),
                    address: "127.0.0.1".to_owned(),
                    reason: None,
                },
                command,
            },
        );
    }

    /// 503: nothing has changed.
    fn forget_ask(&mut self, token: u64) {
        self.note(|| format!("({token}) is answered 503"));
        self.clients.asked.remove(&token);
    }

    /// What is acknowledged must be durable, and said by none but the leader.
    pub(crate) fn answered(
        &mut self,
        gantry: usize,
        ReplyToken(token): ReplyToken,
        answer: Result<Answer, Refusal>,
    ) {
        self.note(|| format!("({token}) is answered {answer:?}"));
        let epoch = self.gantrys[gantry].term.as_ref().map(|term| term.epoch);
        if epoch != Some(self.keeper.epoch) {
            return self.violate(format!(
                "G{gantry} answers in epoch {epoch:?}, but {} has begun",
                self.keeper.epoch
            ));
        }
        // Whatever it was to change is stored by now: it explains no later change.
        let Some(ask) = self.clients.asked.remove(&token) else {
            return self.violate(format!("({token}) is answered, which nobody waits for"));
        };
        let Ok(answer) = answer else {
            return;
        };
        self.summary.acknowledged += 1;
        let durable = match (&ask.command, &answer) {
            (
                Command::Scale {
                    workload,
                    instances,
                },
                _,
            ) => self
                .memory
                .desired_since(workload, ask.at)
                .any(|desired| desired == *instances),
            (Command::Restart { task }, _) => self.memory.was_to_go(task),
            (Command::ReleaseBrake, _) => self.memory.was_released(ask.at),
            (command, Answer::Deployment(id)) => {
                let statuses: &[&str] = match command {
                    Command::PauseDeployment(_) => &["paused"],
                    Command::AbortDeployment(_) => &["aborted"],
                    Command::RollbackDeployment(_) => &["rolling_back"],
                    _ => &["running"],
                };
                self.memory.had_status(*id, ask.at, statuses)
            }
            (Command::KillAll { workload }, _) => {
                self.keeper.records.values().all(|record| match record {
                    Record::Task(task) => {
                        let decided = self.memory.decided_at(&task.id);
                        task.goal.is_stop()
                            || decided.is_none_or(|decided| decided >= ask.at)
                            || workload.as_ref().is_some_and(|name| *name != task.workload)
                            || self.is_set_aside(task)
                    }
                    _ => true,
                })
            }
            _ => true,
        };
        if !durable {
            let command = format!("{:?}", ask.command);
            self.violate(format!("{command} is acknowledged, but it is not stored"));
        }
    }

    /// The one workload that a command about a deployment is about.
    fn workload_of(&self, command: &Command) -> Option<WorkloadName> {
        let (Command::ResumeDeployment(id)
        | Command::AbortDeployment(id)
        | Command::RollbackDeployment(id)) = command
        else {
            return None;
        };
        match self.keeper.records.get(&Key::Deployment(*id)) {
            Some(Record::Deployment(deployment)) => deployment.kind.workload().cloned(),
            _ => None,
        }
    }

    /// What an epoch took can have no effect once another has begun.
    pub(crate) fn forget_asks_before(&mut self, epoch: u64) {
        self.clients
            .asked
            .retain(|_, ask| ask.taken.is_none_or(|(taken, _)| taken >= epoch));
    }
}

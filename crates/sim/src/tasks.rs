//! The lives of tasks on their agents, and updates until they are acknowledged.

use gantry_core::{TaskId, TaskState, Template};

use crate::{
    agents::{AgentTask, Stage, Update},
    types::Behaviour,
    world::{Event, World},
};

/// First wait before an update is sent again; it doubles up to the second number.
const REPEAT: (u64, u64) = (10_000, 160_000);

/// Why a running task that changed its health says that it runs.
const HEALTH: &str = "REASON_TASK_HEALTH_CHECK_STATUS_UPDATED";

/// Why an agent that is being drained ends its tasks, and takes no others.
const DRAINING: &str = "REASON_AGENT_DRAINING";

impl World {
    // === Lives ===

    pub(crate) fn agent_launches(
        &mut self,
        agent: usize,
        session: u64,
        task: TaskId,
        template: &Template,
    ) {
        if !self.hears(agent, session) {
            return;
        }
        let behaviour = Behaviour::of(template);
        let checked = template.health_check.is_some();
        let alive = AgentTask::new(behaviour, checked);
        self.agents[agent].tasks.insert(task.clone(), alive);
        self.check_truth();
        let dropped = self.fails(self.plan.rates.launch_fails);
        let (delay, stage) = if self.agents[agent].drained {
            (0, Stage::Ends(TaskState::Dropped, Some(DRAINING)))
        } else if dropped {
            let (state, reason) = *self
                .dice
                .pick(&[
                    (TaskState::Dropped, "REASON_EXECUTOR_TERMINATED"),
                    (TaskState::Failed, "REASON_CONTAINER_LAUNCH_FAILED"),
                    (TaskState::Failed, "REASON_EXECUTOR_REGISTRATION_TIMEOUT"),
                ])
                .unwrap_or(&(TaskState::Failed, "REASON_COMMAND_EXECUTOR_FAILED"));
            (self.dice.around(500), Stage::Ends(state, Some(reason)))
        } else if behaviour == Behaviour::NeverStarts {
            if self.dice.chance(500) {
                let reason = "REASON_CONTAINER_LAUNCH_FAILED";
                (
                    self.dice.around(3_000),
                    Stage::Ends(TaskState::Failed, Some(reason)),
                )
            } else {
                let reason = "REASON_EXECUTOR_REGISTRATION_TIMEOUT";
                (60_000, Stage::Ends(TaskState::Failed, Some(reason)))
            }
        } else {
            (self.start_time(), Stage::Starting)
        };
        self.after(delay, Event::Life { agent, task, stage });
    }

    fn start_time(&mut self) -> u64 {
        let mean = if self.fails(100) { 20_000 } else { 600 };
        self.dice.around(mean)
    }

    pub(crate) fn task_lives(&mut self, agent: usize, task: &TaskId, stage: Stage) {
        let Some(current) = self.agents[agent].tasks.get_mut(task) else {
            return;
        };
        if !current.alive {
            return;
        }
        let behaviour = current.behaviour;
        let next = match stage {
            Stage::Starting => {
                self.push_update(agent, task, TaskState::Starting, None);
                vec![(self.start_time(), Stage::Running)]
            }
            Stage::Running if current.killing => return,
            Stage::Running => {
                let checked = current.checked;
                self.push_update(agent, task, TaskState::Running, None);
                self.next_of_running(behaviour, checked)
            }
            Stage::Healthy(healthy) => {
                if current.state == TaskState::Running && current.healthy != Some(healthy) {
                    current.healthy = Some(healthy);
                    self.push_update(agent, task, TaskState::Running, Some(HEALTH));
                }
                return;
            }
            Stage::Flips => {
                let healthy = current.healthy != Some(true) || self.settled;
                let mut next = vec![(0, Stage::Healthy(healthy))];
                if !self.settled {
                    next.push((self.dice.around(15_000), Stage::Flips));
                    if !healthy && self.dice.chance(200) {
                        // Mesos kills what is unhealthy for too long.
                        next.push((200, Stage::Ends(TaskState::Killed, None)));
                    }
                }
                next
            }
            Stage::Ends(..)
                if self.settled && behaviour.can_run() && current.state == TaskState::Running =>
            {
                return;
            }
            Stage::Ends(state, reason) => {
                self.push_update(agent, task, state, reason);
                return;
            }
            Stage::Killed => {
                self.push_update(agent, task, TaskState::Killed, None);
                return;
            }
        };
        for (delay, stage) in next {
            let task = task.clone();
            self.after(delay, Event::Life { agent, task, stage });
        }
    }

    fn next_of_running(&mut self, behaviour: Behaviour, checked: bool) -> Vec<(u64, Stage)> {
        let mut next = match behaviour {
            Behaviour::Steady | Behaviour::NeverStarts => Vec::new(),
            Behaviour::Ends => {
                let state = *self
                    .dice
                    .pick(&[TaskState::Failed, TaskState::Finished])
                    .unwrap_or(&TaskState::Failed);
                let reason = Some("REASON_COMMAND_EXECUTOR_FAILED");
                vec![(self.dice.around(60_000), Stage::Ends(state, reason))]
            }
            Behaviour::CrashLoop => {
                let end = Stage::Ends(TaskState::Failed, Some("REASON_COMMAND_EXECUTOR_FAILED"));
                vec![(self.dice.around(4_000), end)]
            }
            Behaviour::Flaps => vec![(self.dice.around(15_000), Stage::Flips)],
            Behaviour::Sick => vec![
                (2_000, Stage::Healthy(false)),
                (
                    self.dice.around(20_000),
                    Stage::Ends(TaskState::Killed, None),
                ),
            ],
        };
        if checked && behaviour != Behaviour::Sick {
            next.push((self.dice.around(1_000), Stage::Healthy(true)));
        }
        next
    }

    pub(crate) fn agent_kills(&mut self, agent: usize, session: u64, task: &TaskId) {
        // Lost when the executor is not connected at that moment.
        if !self.hears(agent, session) || self.fails(100) {
            return;
        }
        let Some(current) = self.agents[agent].tasks.get_mut(task) else {
            return;
        };
        if !current.alive || std::mem::replace(&mut current.killing, true) {
            return;
        }
        if current.state == TaskState::Running {
            self.push_update(agent, task, TaskState::Killing, None);
        }
        let mean = if self.fails(50) { 12_000 } else { 1_000 };
        let delay = self.dice.around(mean);
        let (task, stage) = (task.clone(), Stage::Killed);
        self.after(delay, Event::Life { agent, task, stage });
    }

    /// An agent that is being drained ends its tasks.
    pub(crate) fn drain_tasks(&mut self, agent: usize) {
        let tasks: Vec<_> = self.agents[agent].tasks.keys().cloned().collect();
        for task in tasks {
            let Some(current) = self.agents[agent].tasks.get_mut(&task) else {
                continue;
            };
            if !current.alive || std::mem::replace(&mut current.killing, true) {
                continue;
            }
            if current.state == TaskState::Running {
                self.push_update(agent, &task, TaskState::Killing, Some(DRAINING));
            }
            let delay = self.dice.around(1_000);
            let stage = Stage::Ends(TaskState::Killed, Some(DRAINING));
            self.after(delay, Event::Life { agent, task, stage });
        }
    }

    // === Updates ===

    /// The task changes, and the agent will say so until it is acknowledged.
    pub(crate) fn push_update(
        &mut self,
        agent: usize,
        task: &TaskId,
        state: TaskState,
        reason: Option<&'static str>,
    ) {
        let bits = u128::from(self.dice.bits()) << 64 | u128::from(self.dice.bits());
        let id = self.agents[agent].address.id.clone();
        self.note(|| format!("{task} on {id} is {state:?}"));
        let Some(current) = self.agents[agent].tasks.get_mut(task) else {
            return;
        };
        current.state = state;
        current.alive &= !state.is_terminal();
        current.updates.push_back(Update {
            uuid: bits.to_be_bytes(),
            state,
            healthy: current.healthy,
            reason,
        });
        if current.updates.len() == 1 {
            self.send_head(agent, task);
        }
    }

    /// Sends the oldest update that is not acknowledged, and will look again later.
    fn send_head(&mut self, agent: usize, task: &TaskId) {
        let Some(current) = self.agents[agent].tasks.get_mut(task) else {
            return;
        };
        let Some(update) = current.updates.front().cloned() else {
            return;
        };
        current.attempt += 1;
        let attempt = current.attempt;
        let wait = (REPEAT.0 << (attempt - 1).min(10)).min(REPEAT.1);
        let uuid = update.uuid;
        let repeat = Event::Repeat {
            agent,
            task: task.clone(),
            uuid,
            attempt,
        };
        self.after(wait, repeat);
        if !self.agents[agent].up || self.agents[agent].cut {
            return;
        }
        // Reports of health do not come as stragglers: nothing about them tells old from new.
        let is_health = update.reason == Some(HEALTH);
        if !is_health && self.fails(self.plan.rates.update_repeated) {
            let delay = self.dice.around(8_000);
            let straggler = Event::Update {
                agent,
                session: None,
                task: task.clone(),
                update: update.clone(),
            };
            self.after(delay, straggler);
        }
        if self.fails(self.plan.rates.update_lost) {
            return;
        }
        let delay = self.latency();
        let session = Some(self.agents[agent].session);
        let task = task.clone();
        self.after(
            delay,
            Event::Update {
                agent,
                session,
                task,
                update,
            },
        );
    }

    pub(crate) fn repeat_update(
        &mut self,
        agent: usize,
        task: &TaskId,
        uuid: [u8; 16],
        attempt: u32,
    ) {
        let due = self.agents[agent].tasks.get(task).is_some_and(|current| {
            current.attempt == attempt
                && current
                    .updates
                    .front()
                    .is_some_and(|head| head.uuid == uuid)
        });
        if due {
            self.send_head(agent, task);
        }
    }

    /// All that is not acknowledged is sent at once, and patience begins anew.
    pub(crate) fn resend_updates(&mut self, agent: usize) {
        let tasks: Vec<_> = self.agents[agent].tasks.keys().cloned().collect();
        for task in tasks {
            if let Some(current) = self.agents[agent].tasks.get_mut(&task) {
                current.attempt = 0;
            }
            self.send_head(agent, &task);
        }
    }

    pub(crate) fn agent_acknowledged(
        &mut self,
        agent: usize,
        session: u64,
        task: &TaskId,
        uuid: [u8; 16],
    ) {
        if !self.hears(agent, session) {
            return;
        }
        let Some(current) = self.agents[agent].tasks.get_mut(task) else {
            return;
        };
        if current.updates.front().is_none_or(|head| head.uuid != uuid) {
            return;
        }
        let over = current
            .updates
            .pop_front()
            .is_some_and(|head| head.state.is_terminal());
        current.attempt = 0;
        if over {
            self.agents[agent].tasks.remove(task);
        } else {
            self.send_head(agent, task);
        }
    }

    /// Whether a message of the master of this session reaches the agent.
    pub(crate) fn hears(&self, agent: usize, session: u64) -> bool {
        let agent = &self.agents[agent];
        agent.up && !agent.cut && agent.session == session
    }
}

//! What people and fate do.

use gantry_core::{
    Actor, Command, DeploymentStatus, Input, ReplyToken, TaskId, TaskState, View, WorkloadName,
};

use crate::{
    agents::{Stage, Standing},
    plan::Fault,
    world::{Event, World},
};

/// While things come right, an operator looks this often whether something still waits for one.
const LOOK_AGAIN: u64 = 10_000;

impl World {
    pub(crate) fn schedule_fault(&mut self) {
        let mean = self.plan.rates.fault_mean;
        if mean > 0 {
            let delay = self.dice.around(mean);
            self.after(delay, Event::Fault);
        }
    }

    pub(crate) fn schedule_operator(&mut self) {
        let mean = self.plan.rates.operator_mean;
        if mean > 0 {
            let delay = self.dice.around(mean);
            self.after(delay, Event::Operator);
        }
    }

    // === Fate ===

    pub(crate) fn fault(&mut self) {
        if self.settled {
            return;
        }
        self.schedule_fault();
        let Some(fault) = self.dice.pick(&self.plan.rates.faults).copied() else {
            return;
        };
        let agent = self.dice.below(self.agents.len() as u64) as usize;
        let present = self.agents[agent].up && !self.agents[agent].cut;
        self.note(|| format!("FAULT {fault:?}"));
        match fault {
            Fault::Crash => self.crash("by itself"),
            Fault::Disconnect => self.break_link(),
            Fault::MasterFailover if self.master.up => self.master_fails_over(),
            Fault::Partition if present => {
                self.agents[agent].cut = true;
                let noticed = self.dice.chance(500);
                self.lose(agent, noticed);
                let delay = self.dice.around(40_000);
                self.after(delay, Event::Heal { agent });
            }
            Fault::Reboot if present => {
                self.machine_dies(agent);
                let delay = self.dice.around(40_000);
                self.after(delay, Event::Heal { agent });
            }
            Fault::Replace if present => {
                self.machine_dies(agent);
                self.agents[agent].retired = true;
                self.agents[agent].tasks.clear();
                self.replace_soon(agent);
            }
            Fault::Gone if self.master.up && self.agents[agent].standing != Standing::Gone => {
                self.mark_gone(agent);
            }
            Fault::Forget => {
                let mut agents = self.agents.iter_mut();
                if let Some(agent) =
                    agents.find(|agent| agent.standing == Standing::Unreachable && !agent.retired)
                {
                    agent.standing = Standing::Forgotten;
                }
            }
            Fault::Rescind => {
                let ids: Vec<_> = self.master.offers.keys().cloned().collect();
                if let Some(id) = self.dice.pick(&ids).cloned() {
                    self.rescind(&id);
                }
            }
            Fault::TaskEnds => {
                let tasks: Vec<_> = self.agents[agent].tasks.keys().cloned().collect();
                if let Some(task) = self.dice.pick(&tasks).cloned() {
                    let reason = Some("REASON_CONTAINER_LIMITATION_MEMORY");
                    let stage = Stage::Ends(TaskState::Failed, reason);
                    self.task_lives(agent, &task, stage);
                }
            }
            _ => {}
        }
    }

    fn replace_soon(&mut self, agent: usize) {
        let host = self.agents[agent].host;
        let delay = self.dice.around(30_000);
        self.after(delay, Event::Join { host });
    }

    fn mark_gone(&mut self, agent: usize) {
        if matches!(self.agents[agent].standing, Standing::Removed) {
            return;
        }
        let reason = "REASON_AGENT_REMOVED_BY_OPERATOR";
        self.drop_agent(agent, Standing::Gone, TaskState::GoneByOperator, reason);
        let was_retired = self.agents[agent].retired;
        if self.agents[agent].up && !self.agents[agent].cut {
            self.shut_down(agent);
        }
        if !was_retired {
            self.replace_soon(agent);
        }
    }

    /// The faults stop, and everything that was away comes back.
    pub(crate) fn settle(&mut self) {
        self.note(|| "THE FAULTS ARE OVER");
        self.settled = true;
        self.after(1_000, Event::MasterUp);
        self.after(LOOK_AGAIN, Event::Operator);
        for agent in 0..self.agents.len() {
            let delay = self.dice.around(2_000);
            self.after(delay, Event::Heal { agent });
            self.after(delay + 1_000, Event::Register { agent });
            let tasks: Vec<_> = self.agents[agent]
                .tasks
                .iter()
                .filter(|(_, task)| task.healthy == Some(false))
                .map(|(id, _)| id.clone())
                .collect();
            for task in tasks {
                self.after(
                    delay,
                    Event::Life {
                        agent,
                        task,
                        stage: Stage::Flips,
                    },
                );
            }
        }
    }

    // === People ===

    pub(crate) fn operate(&mut self) {
        let Some(scheduler) = &self.driver.scheduler else {
            return self.look_again();
        };
        let view = scheduler.view();
        if self.settled {
            for deployment in &view.deployments {
                // One that failed is not made to go on for ever.
                if matches!(
                    deployment.status,
                    DeploymentStatus::Paused { reason: None, .. }
                ) {
                    self.command(Command::ResumeDeployment(deployment.id));
                }
            }
        } else if let Some(command) = self.think_of(&view) {
            self.command(command);
        }
        self.look_again();
    }

    fn look_again(&mut self) {
        if self.settled {
            self.after(LOOK_AGAIN, Event::Operator);
        } else {
            self.schedule_operator();
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
            _ => self
                .dice
                .pick(&unknown)
                .map(|task| Command::KillUnknown { task: task.clone() }),
        }
    }

    fn command(&mut self, command: Command) {
        self.note(|| format!("OPERATOR {command:?}"));
        let all: Vec<WorkloadName> = self
            .plan
            .types
            .iter()
            .map(|plan| plan.spec.name.clone())
            .collect();
        self.memory
            .commanded(&command, &all, &self.plan.settings.framework);
        self.hear(Input::Command {
            token: ReplyToken(self.summary.events),
            actor: Actor {
                name: "operator".to_owned(),
                address: "127.0.0.1".to_owned(),
                reason: None,
            },
            command,
        });
    }
}

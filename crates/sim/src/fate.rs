//! What goes wrong, and when it stops.

use std::{sync::Arc, time::Duration};

use gantry_core::{FrameworkId, Key, TaskId, TaskState, Unavailability};

use crate::{
    agents::{AgentTask, Stage, Standing, rack_of},
    rates::{Fault, GantryFault, KeeperFault, MesosFault},
    types::Behaviour,
    world::{Event, Happening, World},
};

impl World {
    pub(crate) fn schedule_fault(&mut self) {
        let mean = match self.plan.rates.fault_mean {
            0 => 20_000,
            mean => mean,
        };
        let delay = self.dice.around(mean);
        self.after(delay, Event::Fault);
    }

    /// How often what goes wrong changes from time to time; now and then nothing does.
    pub(crate) fn weather(&mut self) {
        if self.settled {
            return;
        }
        self.plan.change_weather(&mut self.dice);
        let calm = self.plan.rates.is_calm();
        self.note(|| format!("the weather changes, calm: {calm}"));
        self.after(self.plan.weather_every, Event::Weather);
    }

    pub(crate) fn fault(&mut self) {
        if self.settled {
            return;
        }
        self.schedule_fault();
        if self.plan.rates.fault_mean == 0 {
            return;
        }
        let Some(fault) = self.dice.pick(&self.plan.rates.faults).copied() else {
            return;
        };
        self.note(|| format!("FAULT {fault:?}"));
        match fault {
            Fault::Gantry(fault) => self.gantry_fault(fault),
            Fault::Keeper(_) if self.plan.is_single() => {}
            Fault::Keeper(fault) => self.keeper_fault(fault),
            Fault::Mesos(fault) => self.mesos_fault(fault),
        }
    }

    /// One of the Gantrys, more often than not the one that leads.
    fn victim(&mut self) -> usize {
        let any = self.dice.below(self.gantrys.len() as u64) as usize;
        if self.dice.chance(600) {
            self.leader().unwrap_or(any)
        } else {
            any
        }
    }

    fn gantry_fault(&mut self, fault: GantryFault) {
        let gantry = self.victim();
        match fault {
            GantryFault::Crash => self.crash(gantry, "by itself"),
            GantryFault::Stop => self.soon(0, gantry, Happening::Told),
            GantryFault::Freeze => {
                let millis = self.dice.around(20_000);
                self.freeze(gantry, millis);
            }
            GantryFault::ClockJumps => {
                let far = if self.dice.chance(300) {
                    3_600_000
                } else {
                    10_000
                };
                let wall = self.dice.between(0, 2 * far) as i64 - far as i64;
                self.note(|| format!("the clock of G{gantry} is off by {wall:+} ms"));
                self.gantrys[gantry].wall = wall;
                self.plan.skews = true;
            }
            GantryFault::Disconnect => self.break_link(gantry, false),
            GantryFault::Silence => self.break_link(gantry, true),
        }
    }

    fn keeper_fault(&mut self, fault: KeeperFault) {
        let gantry = self.victim();
        match fault {
            KeeperFault::Disconnect => self.break_connection(gantry),
            KeeperFault::Partition if !self.gantrys[gantry].cut_off => {
                self.gantrys[gantry].cut_off = true;
                let delay = self.dice.around(25_000);
                self.after(delay, Event::Rejoined { gantry });
            }
            KeeperFault::Partition => {}
            KeeperFault::Away => {
                let delay = self.dice.around(15_000);
                self.keeper_goes_away(delay);
            }
        }
    }

    fn mesos_fault(&mut self, fault: MesosFault) {
        let agent = self.dice.below(self.agents.len() as u64) as usize;
        let present = self.agents[agent].up && !self.agents[agent].cut;
        let registered =
            present && self.agents[agent].standing == Standing::Registered && self.master.up;
        match fault {
            MesosFault::MasterFailover if self.master.up => self.master_fails_over(),
            MesosFault::Partition if present => self.cut_off_agent(agent),
            MesosFault::Reboot if present => {
                self.machine_dies(agent);
                let delay = self.dice.around(40_000);
                self.after(delay, Event::Heal { agent });
            }
            MesosFault::Replace if present => {
                self.machine_dies(agent);
                self.agents[agent].retired = true;
                self.agents[agent].tasks.clear();
                self.replace_soon(agent);
            }
            MesosFault::Gone if self.master.up && self.agents[agent].standing != Standing::Gone => {
                self.mark_gone(agent);
            }
            MesosFault::Forget => {
                let mut agents = self.agents.iter_mut();
                if let Some(agent) =
                    agents.find(|agent| agent.standing == Standing::Unreachable && !agent.retired)
                {
                    agent.standing = Standing::Forgotten;
                }
            }
            MesosFault::Rescind => {
                let ids: Vec<_> = self.master.offers.keys().cloned().collect();
                if let Some(id) = self.dice.pick(&ids).cloned() {
                    self.rescind(&id);
                }
            }
            MesosFault::TaskEnds => {
                let tasks: Vec<_> = self.agents[agent].tasks.keys().cloned().collect();
                if let Some(task) = self.dice.pick(&tasks).cloned() {
                    let reason = Some("REASON_CONTAINER_LIMITATION_MEMORY");
                    let stage = Stage::Ends(TaskState::Failed, reason);
                    self.task_lives(agent, &task, stage);
                }
            }
            MesosFault::Sickness => self.sickness(),
            MesosFault::Blackout => {
                for agent in 0..self.agents.len() {
                    if self.agents[agent].up && !self.agents[agent].cut && self.dice.chance(700) {
                        self.cut_off_agent(agent);
                    }
                }
            }
            MesosFault::Drain if registered && !self.agents[agent].drained => {
                self.note(|| format!("agent {agent} is drained"));
                self.agents[agent].drained = true;
                self.rescind_all_of(agent);
                self.drain_tasks(agent);
                let delay = self.dice.around(40_000);
                self.after(delay, Event::Reactivate { agent });
            }
            MesosFault::Maintenance => self.schedule_maintenance(agent),
            MesosFault::Reconfigure if registered => {
                self.reconfigure(agent);
                let delay = self.dice.around(1_000);
                self.after(delay, Event::Register { agent });
            }
            MesosFault::Stranger if present => self.stranger_appears(agent),
            // Nothing more happens in a world without a framework, until somebody sees to it.
            MesosFault::Removal
                if self.now * 4 > self.plan.faults_until * 3 && self.dice.chance(150) =>
            {
                self.remove_framework();
            }
            _ => {}
        }
    }

    /// Maintenance begins within a minute, or about when it begins to matter.
    fn schedule_maintenance(&mut self, agent: usize) {
        let window = self.dice.chance(700).then(|| {
            let (from, lasts) = if self.dice.chance(700) {
                (self.dice.below(60_000), self.dice.between(10_000, 120_000))
            } else {
                (self.dice.between(590_000, 700_000), 1_000)
            };
            let from = self.clock(0) + Duration::from_millis(from);
            Unavailability {
                from,
                until: (self.dice.chance(900)).then_some(from + Duration::from_millis(lasts)),
            }
        });
        self.note(|| format!("agent {agent} is maintained: {window:?}"));
        self.agents[agent].unavailable = window;
        self.rescind_all_of(agent);
        self.allocate_now();
    }

    /// What is over stays on the schedule; what would take too long is taken off.
    fn settle_maintenance(&mut self) {
        let soon = self.clock(0) + Duration::from_secs(60);
        let skews = self.plan.skews;
        for agent in 0..self.agents.len() {
            let window = self.agents[agent].unavailable;
            let ends = window.and_then(|window| window.until);
            if window.is_some() && (skews || ends.is_none_or(|until| until > soon)) {
                self.agents[agent].unavailable = None;
                self.rescind_all_of(agent);
            }
        }
    }

    /// An agent is started again with an attribute more.
    fn reconfigure(&mut self, agent: usize) {
        let current = &mut self.agents[agent];
        let address = Arc::make_mut(&mut current.address);
        let attributes = &mut address.attributes;
        if attributes.iter().all(|(name, _)| name != "rack") {
            attributes.push(rack_of(current.host));
        } else if attributes.len() < 6 {
            let name = format!("attribute-{}", attributes.len());
            attributes.push((name, "yes".to_owned()));
        }
        self.note(|| format!("agent {agent} is reconfigured"));
        self.lose(agent, true);
        self.forget_filters(Some(agent));
    }

    fn cut_off_agent(&mut self, agent: usize) {
        self.agents[agent].cut = true;
        let noticed = self.dice.chance(500);
        self.lose(agent, noticed);
        let delay = self.dice.around(40_000);
        self.after(delay, Event::Heal { agent });
    }

    /// What most tasks depend on is away for some time: they are unhealthy, and well again.
    fn sickness(&mut self) {
        let lasts = self.dice.around(40_000);
        for agent in 0..self.agents.len() {
            let checked: Vec<_> = self.agents[agent]
                .tasks
                .iter()
                .filter(|(_, task)| task.checked && task.behaviour != Behaviour::Sick)
                .map(|(id, _)| id.clone())
                .collect();
            for task in checked {
                if self.dice.chance(200) {
                    continue;
                }
                let delay = self.dice.around(3_000);
                for (delay, healthy) in [(delay, false), (delay + lasts, true)] {
                    let task = task.clone();
                    let stage = Stage::Healthy(healthy);
                    self.after(delay, Event::Life { agent, task, stage });
                }
            }
        }
    }

    /// A task that was launched in another life of the framework.
    fn stranger_appears(&mut self, agent: usize) {
        let registered = self.agents[agent].standing == Standing::Registered && self.master.up;
        if !registered || !self.keeper.records.contains_key(&Key::Framework) {
            return;
        }
        let uuid = self.dice.ids().uuid();
        let name = if self.dice.chance(700) {
            "stranger".to_owned()
        } else {
            self.plan.types[0].spec.name.in_task_ids()
        };
        let number = 20 + self.dice.below(3) as u32;
        let id = TaskId::from_parts(&self.plan.settings.framework, &name, number, uuid);
        self.note(|| format!("a STRANGER: {id}"));
        let mut task = AgentTask::new(Behaviour::Steady, false);
        task.excused = true;
        self.agents[agent].tasks.insert(id.clone(), task);
        self.master.ever_launched.insert(id.clone());
        self.memory.stranger(&id);
        self.know_task(id.clone(), agent);
        self.push_update(agent, &id, TaskState::Running, None);
    }

    /// Somebody has seen that the framework is gone, and has every Gantry begin as another one.
    fn forget_framework(&mut self) {
        let removed = |id: &FrameworkId| self.master.removed.contains(id);
        if !self.master.framework_id.as_ref().is_some_and(removed) {
            return;
        }
        for gantry in 0..self.gantrys.len() {
            self.crash(gantry, "to forget the framework id");
        }
        self.keeper.records.remove(&Key::Framework);
        self.master.framework_id = None;
        self.master.forgotten = true;
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
        self.settle_modules();
        self.forget_framework();
        self.settle_maintenance();
        self.after(1_000, Event::MasterUp);
        self.after(500, Event::KeeperUp);
        for gantry in 0..self.gantrys.len() {
            self.gantrys[gantry].cut_off = false;
            let outdated = self.gantrys[gantry].declaration != self.plan.declaration;
            if self.gantrys[gantry].up && outdated {
                self.crash(gantry, "to get the present declaration");
            }
            self.after(1_000, Event::Start { gantry });
        }
        for agent in 0..self.agents.len() {
            self.reconfigure(agent);
            let delay = self.dice.around(2_000);
            self.after(delay, Event::Reactivate { agent });
            self.after(delay, Event::Heal { agent });
            self.after(delay + 1_000, Event::Register { agent });
            let tasks: Vec<_> = self.agents[agent]
                .tasks
                .iter()
                .filter(|(_, task)| {
                    task.healthy == Some(false) && task.behaviour != Behaviour::Sick
                })
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
}

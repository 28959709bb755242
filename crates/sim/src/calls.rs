//! What the master does on each call.

use gantry_core::{AgentId, Call, Launch, OfferId, TaskId, TaskState};

use crate::{
    agents::Standing,
    bundle::Bundle,
    master::MasterTask,
    world::{Event, World},
};

impl World {
    pub(crate) fn master_hears(&mut self, link: u64, call: Call) {
        if !self.master.up || self.master.link != Some(link) {
            return;
        }
        self.check_actor(link);
        self.note(|| match &call {
            Call::Accept {
                offer, launches, ..
            } => {
                let tasks: Vec<_> = launches.iter().map(|launch| launch.task.as_str()).collect();
                format!("ACCEPT {offer}: {}", tasks.join(", "))
            }
            call => format!("{call:?}"),
        });
        match call {
            Call::Accept {
                offer,
                launches,
                refuse,
                agent,
                ..
            } => self.accept(&offer, &agent, launches, refuse.as_millis() as u64),
            Call::Decline { offers, refuse } => {
                for offer in offers {
                    if let Some(offered) = self.master.offers.remove(&offer) {
                        let bundle = Bundle::clone(&offered.bundle);
                        self.refuse(offered.agent, bundle, refuse.as_millis() as u64);
                    }
                }
            }
            Call::DeclineInverse { .. } => {}
            Call::Kill { task, agent, .. } => self.kill(task, agent),
            Call::Acknowledge { task, agent, uuid } => self.acknowledge(task, &agent, uuid),
            Call::Reconcile { tasks } if tasks.is_empty() => self.reconcile_all(),
            Call::Reconcile { tasks } => {
                for (task, agent) in tasks {
                    self.reconcile(task, agent);
                }
            }
            Call::Suppress => self.master.suppressed = true,
            Call::Revive => {
                self.master.suppressed = false;
                self.forget_filters(None);
                self.allocate_now();
            }
        }
    }

    // === Launch ===

    fn accept(&mut self, offer: &OfferId, agent: &AgentId, launches: Vec<Launch>, refuse: u64) {
        let Some(made) = self.master.ever_offered.get(offer).cloned() else {
            return self.violate(format!("accepts {offer}, which was never made"));
        };
        let (index, whole) = (made.agent, made.bundle);
        if self.agents[index].address.id != *agent {
            return self.violate(format!("accepts {offer} for another agent, {agent}"));
        }
        let mut left = Bundle::clone(&whole);
        let mut asked = Vec::new();
        for launch in &launches {
            match self.check_launch(launch, index, &left) {
                Ok(bundle) => {
                    left.remove(&bundle);
                    asked.push(bundle);
                }
                Err(wrong) => return self.violate(format!("launch of {}: {wrong}", launch.task)),
            }
        }
        for launch in &launches {
            if !self.master.ever_launched.insert(launch.task.clone()) {
                return self.violate(format!("{} is launched a second time", launch.task));
            }
        }
        if self.master.offers.remove(offer).is_none() {
            for launch in launches {
                let agent = Some(launch.agent.id.clone());
                let reason = "REASON_INVALID_OFFERS";
                self.tell_own(launch.task, agent, TaskState::Dropped, None, reason);
            }
            return;
        }
        self.refuse(index, left, refuse);
        for (launch, bundle) in launches.into_iter().zip(asked) {
            self.summary.launches += 1;
            self.memory.launched(&launch.task, &bundle);
            self.master.tasks.insert(
                launch.task.clone(),
                MasterTask {
                    agent: index,
                    forwarded: TaskState::Staging,
                    healthy: None,
                    latest: TaskState::Staging,
                    bundle,
                    kill_wanted: false,
                },
            );
            self.send_to_agent(index, |session| Event::Launch {
                agent: index,
                session,
                task: launch.task,
                template: launch.template,
            });
        }
    }

    /// A message to an agent that may have to wait, and may not arrive.
    fn send_to_agent(&mut self, agent: usize, message: impl FnOnce(u64) -> Event) {
        let arrives = (self.now + self.latency()).max(self.agents[agent].arrives_at);
        self.agents[agent].arrives_at = arrives;
        let session = self.agents[agent].session;
        self.queue.put(arrives, message(session));
    }

    // === Kill, acknowledge ===

    fn kill(&mut self, task: TaskId, agent: Option<AgentId>) {
        self.summary.kills += 1;
        let Some(known) = self.master.tasks.get_mut(&task) else {
            return self.reconcile(task, agent);
        };
        let index = known.agent;
        if agent.is_some_and(|agent| agent != self.agents[index].address.id) {
            return;
        }
        if self.agents[index].standing == Standing::Registered {
            self.send_kill(index, task);
        } else {
            known.kill_wanted = true;
        }
    }

    pub(crate) fn send_kill(&mut self, agent: usize, task: TaskId) {
        self.send_to_agent(agent, |session| Event::Kill {
            agent,
            session,
            task,
        });
    }

    fn acknowledge(&mut self, task: TaskId, agent: &AgentId, uuid: [u8; 16]) {
        let Some(index) = self.agent_named(agent) else {
            return;
        };
        // Dropped when the master has not seen the update itself, or cannot pass it on.
        let Some(known) = self.master.tasks.get(&task) else {
            return;
        };
        if self.agents[index].standing != Standing::Registered {
            return;
        }
        let over = known.forwarded.is_terminal()
            && self.agents[index]
                .tasks
                .get(&task)
                .and_then(|task| task.updates.front())
                .is_some_and(|head| head.uuid == uuid && head.state.is_terminal());
        if over {
            self.master.tasks.remove(&task);
        }
        self.send_to_agent(index, |session| Event::Acknowledge {
            agent: index,
            session,
            task,
            uuid,
        });
    }

    pub(crate) fn agent_named(&self, id: &AgentId) -> Option<usize> {
        self.agents.iter().position(|agent| agent.address.id == *id)
    }

    // === Reconciliation ===

    fn reconcile_all(&mut self) {
        let known: Vec<_> = self.master.tasks.keys().cloned().collect();
        for task in known {
            self.tell_known(task);
        }
    }

    fn tell_known(&mut self, task: TaskId) {
        if let Some(known) = self.master.tasks.get(&task) {
            let agent = Some(self.agents[known.agent].address.id.clone());
            let (state, healthy) = (known.forwarded, known.healthy);
            self.tell_own(task, agent, state, healthy, "REASON_RECONCILIATION");
        }
    }

    fn reconcile(&mut self, task: TaskId, agent: Option<AgentId>) {
        if self.master.tasks.contains_key(&task) {
            return self.tell_known(task);
        }
        let index = agent.as_ref().and_then(|agent| self.agent_named(agent));
        let state = match index.map(|index| self.agents[index].standing) {
            Some(Standing::Recovered) => return,
            None if self
                .agents
                .iter()
                .any(|agent| agent.standing == Standing::Recovered) =>
            {
                return;
            }
            Some(Standing::Registered | Standing::Disconnected) => TaskState::Gone,
            Some(Standing::Unreachable) => TaskState::Unreachable,
            Some(Standing::Gone) => TaskState::GoneByOperator,
            Some(Standing::Forgotten | Standing::Removed) | None => TaskState::Unknown,
        };
        self.tell_own(task, agent, state, None, "REASON_RECONCILIATION");
    }

    /// What the master must find right about a launch; the resources it takes.
    fn check_launch(&self, launch: &Launch, agent: usize, left: &Bundle) -> Result<Bundle, String> {
        if launch.agent.id != self.agents[agent].address.id {
            return Err(format!("is meant for {}", launch.agent.id));
        }
        let bundle = Bundle::of_pieces(&launch.pieces)?;
        if !left.contains(&bundle) {
            return Err(format!("{bundle:?} are not left of the offer: {left:?}"));
        }
        let demand = &launch.template.demand;
        for (scalar, wanted) in gantry_core::Scalar::ALL.into_iter().zip(demand.scalars()) {
            let given = bundle.total(scalar);
            if given != wanted && self.sabotage.is_none() {
                return Err(format!("{given} {} and not {wanted}", scalar.name()));
            }
        }
        let mut given = bundle.ports();
        let mut named = launch.ports.clone();
        given.sort_unstable();
        named.sort_unstable();
        if given != named {
            return Err(format!("ports {named:?}, but resources for {given:?}"));
        }
        if self.sabotage.is_none()
            && (named.len() != demand.port_count()
                || launch.ports.get(..demand.fixed_ports.len()) != Some(&demand.fixed_ports[..]))
        {
            return Err(format!("ports {named:?} for {demand:?}"));
        }
        Ok(bundle)
    }
}

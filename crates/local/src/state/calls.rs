//! The scheduler's calls, but for SUBSCRIBE: the checks that are answered by a
//! status, and who carries them out.

use std::sync::Arc;
use std::time::Duration;

use gantry_mesos::v1::scheduler::{self, Call, call};
use gantry_mesos::v1::{self, executor};

use super::allocator::refusal;
use super::seen::About;
use super::{Action, FrameworkKey, State, TaskKey, event};

/// An answer without a stream. The body is plain text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn new(status: u16, body: impl Into<String>) -> Self {
        Self {
            status,
            body: body.into(),
        }
    }
    pub(crate) fn accepted() -> Self {
        Self::new(202, "")
    }
    pub(crate) fn ok() -> Self {
        Self::new(200, "")
    }
    pub(crate) fn bad(body: impl Into<String>) -> Self {
        Self::new(400, body)
    }
    fn forbidden(body: &str) -> Self {
        Self::new(403, body)
    }
}

/// The type of a call; `None` if it is absent or not one this cluster knows.
pub(crate) fn call_type(call: &Call) -> Option<call::Type> {
    call.r#type.and_then(|t| call::Type::try_from(t).ok())
}

/// Mesos `src/master/validation.cpp: scheduler::call::validate`.
pub(crate) fn validate(call: &Call, principal: Option<&str>) -> Result<call::Type, String> {
    let Some(kind) = call_type(call) else {
        return Err("Expecting 'type' to be present".into());
    };
    let id = call.framework_id.as_ref().map_or("", |id| &id.value);
    if kind == call::Type::Subscribe {
        let Some(subscribe) = &call.subscribe else {
            return Err("Expecting 'subscribe' to be present".into());
        };
        let info = &subscribe.framework_info;
        if info.id.as_ref().map_or("", |id| &id.value) != id {
            return Err("'framework_id' differs from 'subscribe.framework_info.id'".into());
        }
        if let (Some(ours), Some(theirs)) = (principal, &info.principal)
            && ours != theirs
        {
            return Err(principal_differs(ours, theirs));
        }
        return Ok(kind);
    }
    if call.framework_id.is_none() {
        return Err("Expecting 'framework_id' to be present".into());
    }
    let missing = match kind {
        call::Type::Accept => call.accept.is_none().then_some("accept"),
        call::Type::Decline => call.decline.is_none().then_some("decline"),
        call::Type::AcceptInverseOffers => call
            .accept_inverse_offers
            .is_none()
            .then_some("accept_inverse_offers"),
        call::Type::DeclineInverseOffers => call
            .decline_inverse_offers
            .is_none()
            .then_some("decline_inverse_offers"),
        call::Type::Kill => call.kill.is_none().then_some("kill"),
        call::Type::Shutdown => call.shutdown.is_none().then_some("shutdown"),
        call::Type::Acknowledge => call.acknowledge.is_none().then_some("acknowledge"),
        call::Type::AcknowledgeOperationStatus => call
            .acknowledge_operation_status
            .is_none()
            .then_some("acknowledge_operation_status"),
        call::Type::Reconcile => call.reconcile.is_none().then_some("reconcile"),
        call::Type::ReconcileOperations => call
            .reconcile_operations
            .is_none()
            .then_some("reconcile_operations"),
        call::Type::Message => call.message.is_none().then_some("message"),
        call::Type::Request => call.request.is_none().then_some("request"),
        call::Type::UpdateFramework => call
            .update_framework
            .is_none()
            .then_some("update_framework"),
        _ => None,
    };
    if let Some(member) = missing {
        return Err(format!("Expecting '{member}' to be present"));
    }
    let uuid = match kind {
        call::Type::Acknowledge => call.acknowledge.as_ref().map(|a| &a.uuid),
        call::Type::AcknowledgeOperationStatus => {
            call.acknowledge_operation_status.as_ref().map(|a| &a.uuid)
        }
        _ => None,
    };
    if uuid.is_some_and(|uuid| !is_uuid(uuid)) {
        return Err("Not a valid UUID".into());
    }
    if let Some(ack) = &call.acknowledge_operation_status
        && ack.agent_id.is_none()
    {
        return Err("Expecting 'agent_id' to be present".into());
    }
    if let Some(update) = &call.update_framework
        && update.framework_info.id.as_ref().map_or("", |id| &id.value) != id
    {
        return Err("'framework_id' differs from 'update_framework.framework_info.id'".into());
    }
    Ok(kind)
}

/// Sixteen bytes with one of the versions of RFC 4122, as boost wants them.
pub(super) fn is_uuid(bytes: &[u8]) -> bool {
    bytes.len() == 16 && (1..=5).contains(&(bytes[6] >> 4))
}

fn principal_differs(ours: &str, theirs: &str) -> String {
    format!(
        "Authenticated principal '{ours}' does not match principal '{theirs}' set in `FrameworkInfo`"
    )
}

impl State {
    /// A call that passed [`validate`].
    pub(crate) fn scheduler_call(
        &mut self,
        kind: call::Type,
        call: Call,
        stream_id: Option<&str>,
        principal: Option<&str>,
    ) -> Reply {
        self.counters.calls += 1;
        let id = call.framework_id.as_ref().map_or("", |id| &id.value);
        let known = self.framework_ids.get_key_value(id);
        let about = About {
            kind,
            framework: known.map(|(id, _)| Arc::clone(id)),
            stream: stream_id,
            webui_url: None,
        };
        let reply = self.answer(kind, call, stream_id, principal);
        self.seen.add(self.unix(), about, reply.status);
        reply
    }

    fn answer(
        &mut self,
        kind: call::Type,
        call: Call,
        stream_id: Option<&str>,
        principal: Option<&str>,
    ) -> Reply {
        let id = call.framework_id.as_ref().map_or("", |id| &id.value);
        let Some(&key) = self.framework_ids.get(id) else {
            return Reply::bad("Framework cannot be found");
        };
        let Some(framework) = self.frameworks.get(&key) else {
            return Reply::bad("Framework cannot be found");
        };
        if let (Some(ours), Some(theirs)) = (principal, &framework.info.principal)
            && ours != theirs
        {
            return Reply::bad(principal_differs(ours, theirs));
        }
        let Some(stream) = &framework.stream else {
            return Reply::forbidden("Framework is not subscribed");
        };
        let Some(stream_id) = stream_id else {
            return Reply::bad(
                "All non-subscribe calls should include the 'Mesos-Stream-Id' header",
            );
        };
        if stream.id != stream_id {
            return Reply::bad(format!(
                "The stream ID '{stream_id}' included in this request didn't match the stream ID \
                 currently associated with framework ID {id}"
            ));
        }
        if self.faults.drops_call(kind) {
            return Reply::accepted();
        }
        self.execute(key, kind, call)
    }

    fn execute(&mut self, key: FrameworkKey, kind: call::Type, call: Call) -> Reply {
        match kind {
            call::Type::Teardown => self.remove_framework(key),
            call::Type::Accept => {
                if let Some(accept) = call.accept {
                    self.accept(key, accept);
                }
            }
            call::Type::Decline => {
                if let Some(decline) = call.decline {
                    self.decline_offers(key, &decline);
                }
            }
            call::Type::Revive => {
                self.revive(key, &call.revive.unwrap_or_default().roles);
            }
            call::Type::Suppress => {
                self.suppress(key, &call.suppress.unwrap_or_default().roles);
            }
            call::Type::Kill => {
                if let Some(kill) = call.kill {
                    self.kill(key, &kill);
                }
            }
            call::Type::Shutdown => {
                if let Some(shutdown) = call.shutdown {
                    self.scheduler_shuts_down(key, &shutdown);
                }
            }
            call::Type::Acknowledge => {
                if let Some(ack) = call.acknowledge {
                    self.acknowledge(key, &ack);
                }
            }
            call::Type::AcknowledgeOperationStatus => {
                if let Some(ack) = call.acknowledge_operation_status {
                    self.acknowledge_operation(&ack);
                }
            }
            call::Type::Reconcile => {
                if let Some(reconcile) = call.reconcile {
                    self.reconcile(key, &reconcile);
                }
            }
            call::Type::ReconcileOperations => {
                if let Some(reconcile) = call.reconcile_operations {
                    self.reconcile_operations(key, &reconcile);
                }
            }
            call::Type::Message => {
                if let Some(message) = call.message {
                    self.message_to_executor(key, message);
                }
            }
            call::Type::UpdateFramework => {
                if let Some(update) = call.update_framework {
                    return self.update_framework(key, update);
                }
            }
            // The allocator ignores requests; inverse offers are never made.
            call::Type::Request
            | call::Type::AcceptInverseOffers
            | call::Type::DeclineInverseOffers
            | call::Type::Subscribe => {}
            call::Type::Unknown => return Reply::new(501, ""),
        }
        Reply::accepted()
    }

    fn decline_offers(&mut self, key: FrameworkKey, decline: &call::Decline) {
        let refuse = refusal(decline.filters.as_ref());
        for id in &decline.offer_ids {
            let number = self.offer_number(&id.value);
            let own = number.filter(|n| self.offers.get(n).is_some_and(|o| o.framework == key));
            if let Some(offer) = own.and_then(|number| self.take_offer(number)) {
                self.counters.declined += 1;
                self.decline(key, offer.agent, &offer.role, &offer.resources, refuse);
            }
        }
    }

    fn kill(&mut self, key: FrameworkKey, kill: &call::Kill) {
        let known = self
            .frameworks
            .get(&key)
            .and_then(|f| f.tasks.get(&*kill.task_id.value))
            .copied();
        let Some(task_key) = known else {
            let task = call::reconcile::Task {
                task_id: kill.task_id.clone(),
                agent_id: kill.agent_id.clone(),
            };
            self.reconcile_task(key, &task);
            return;
        };
        let Some(task) = self.tasks.get_mut(&task_key) else {
            return;
        };
        let agent = &self.agents[task.agent.index()];
        if kill
            .agent_id
            .as_ref()
            .is_some_and(|id| id.value != agent.id)
        {
            return;
        }
        if !agent.is_connected() {
            task.kill_on_return = true;
            return;
        }
        let grace = kill.kill_policy.as_ref().and_then(grace_of);
        self.kill_task(task_key, grace, kill.kill_policy);
    }

    /// The agent's side of a kill. `grace` is what the call asks for; it counts for custom
    /// executors only, as the built-in command executor of Mesos never receives it.
    pub(super) fn kill_task(
        &mut self,
        key: TaskKey,
        grace: Option<Duration>,
        policy: Option<v1::KillPolicy>,
    ) {
        let Some(task) = self.tasks.get_mut(&key) else {
            return;
        };
        if super::task::is_terminal(task.latest) {
            return;
        }
        task.killing = true;
        if !task.delivered {
            self.kill_undelivered(key);
            return;
        }
        if self.simulated().is_some() {
            self.simulated_kill(key);
            return;
        }
        let Some(task) = self.tasks.get(&key) else {
            return;
        };
        let custom = task.executor.filter(|e| {
            self.executors
                .get(e)
                .is_some_and(|e| e.kind == super::ExecutorKind::Custom)
        });
        match custom.and_then(|e| self.executors.get(&e)) {
            Some(executor) => {
                if let Some(outbox) = &executor.outbox {
                    outbox.send(&executor::Event {
                        r#type: Some(executor::event::Type::Kill as i32),
                        kill: Some(executor::event::Kill {
                            task_id: v1::TaskId {
                                value: task.id.to_string(),
                            },
                            kill_policy: policy,
                        }),
                        ..executor::Event::default()
                    });
                }
            }
            None => {
                let pod = task.executor.is_some();
                let grace = if pod || task.draining { grace } else { None };
                self.actions.push(Action::Kill { task: key, grace });
            }
        }
    }

    fn message_to_executor(&mut self, key: FrameworkKey, message: call::Message) {
        let Some(agent) = self.agent_by_id(&message.agent_id.value) else {
            return;
        };
        if !self.agent(agent).is_connected() {
            return;
        }
        let executor = self.find_executor(key, agent, &message.executor_id.value);
        let outbox = executor
            .and_then(|e| self.executors.get(&e))
            .and_then(|e| e.outbox.as_ref());
        if let Some(outbox) = outbox {
            outbox.send(&executor::Event {
                r#type: Some(executor::event::Type::Message as i32),
                message: Some(executor::event::Message { data: message.data }),
                ..executor::Event::default()
            });
        }
    }

    fn scheduler_shuts_down(&mut self, key: FrameworkKey, shutdown: &call::Shutdown) {
        let Some(agent) = self.agent_by_id(&shutdown.agent_id.value) else {
            return;
        };
        if !self.agent(agent).is_connected() {
            return;
        }
        let id = &*shutdown.executor_id.value;
        if let Some(executor) = self.find_executor(key, agent, id) {
            self.shutdown_executor(executor);
            return;
        }
        // The executor of a command task has the task's id.
        let task = self
            .frameworks
            .get(&key)
            .and_then(|f| f.tasks.get(id))
            .copied();
        let command_task = task.filter(|t| {
            self.tasks
                .get(t)
                .is_some_and(|t| t.agent == agent && t.executor.is_none())
        });
        if let Some(task) = command_task {
            self.kill_task(task, None, None);
        }
    }

    /// A framework message from an executor; lost if the framework is not connected.
    pub(super) fn message_to_scheduler(
        &self,
        key: FrameworkKey,
        agent: super::AgentKey,
        executor: &str,
        data: Vec<u8>,
    ) {
        if !self.agent(agent).is_connected() {
            return;
        }
        self.send(
            key,
            &scheduler::Event {
                message: Some(scheduler::event::Message {
                    agent_id: v1::AgentId {
                        value: self.agent(agent).id.clone(),
                    },
                    executor_id: v1::ExecutorId {
                        value: executor.to_owned(),
                    },
                    data,
                }),
                ..event(scheduler::event::Type::Message)
            },
        );
    }
}

/// The grace period of a policy; `None` if it has none or a negative one.
pub(super) fn grace_of(policy: &v1::KillPolicy) -> Option<Duration> {
    let nanos = policy.grace_period.as_ref()?.nanoseconds;
    u64::try_from(nanos).ok().map(Duration::from_nanos)
}

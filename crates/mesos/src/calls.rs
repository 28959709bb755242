//! Short constructors of the scheduler's calls.
//!
//! None of them sets `framework_id`: [`crate::scheduler::CallSender`] fills it in.
//! What each call does is told in the Mesos documentation, "Scheduler HTTP API".

use crate::v1::scheduler::call::{
    Accept, AcceptInverseOffers, Acknowledge, AcknowledgeOperationStatus, Decline,
    DeclineInverseOffers, Kill, Message, Reconcile, ReconcileOperations, Request, Revive, Shutdown,
    Subscribe, Suppress, Type, UpdateFramework, reconcile, reconcile_operations,
};
use crate::v1::scheduler::{Call, OfferConstraints};
use crate::v1::{
    self, AgentId, ExecutorId, Filters, FrameworkId, FrameworkInfo, KillPolicy, OfferId,
    OperationId, ResourceProviderId, TaskId, offer,
};

/// `Filters` that keep refused resources away for `seconds`.
///
/// 0 means no filter, a negative number 5 s; more than 365 days count as 365 days. A
/// master that gets no `Filters` at all assumes 5 s (Mesos
/// `src/master/allocator/mesos/hierarchical.cpp`).
#[must_use]
pub fn refuse_for(seconds: f64) -> Filters {
    Filters {
        refuse_seconds: Some(seconds),
    }
}

macro_rules! ids {
    ($($id:ty),*) => {
        $(
            impl From<&str> for $id {
                fn from(value: &str) -> Self {
                    Self { value: value.to_owned(), ..Default::default() }
                }
            }

            impl From<String> for $id {
                fn from(value: String) -> Self {
                    Self { value, ..Default::default() }
                }
            }

            impl From<$id> for String {
                fn from(id: $id) -> Self {
                    id.value
                }
            }
        )*
    };
}

// `ContainerID` is left out: it has a parent, which a string would lose.
#[allow(clippy::needless_update, reason = "one macro for all ids")]
mod id_conversions {
    use super::{
        AgentId, ExecutorId, FrameworkId, OfferId, OperationId, ResourceProviderId, TaskId,
    };
    ids!(
        AgentId,
        ExecutorId,
        FrameworkId,
        OfferId,
        OperationId,
        ResourceProviderId,
        TaskId
    );
}

fn call(r#type: Type) -> Call {
    Call {
        r#type: Some(r#type.into()),
        ..Call::default()
    }
}

impl Call {
    /// SUBSCRIBE. Sets the envelope's `framework_id` to the one in `framework_info`,
    /// as a master demands; an empty id counts as none.
    #[must_use]
    pub fn subscribe_with(
        mut framework_info: FrameworkInfo,
        suppressed_roles: Vec<String>,
        offer_constraints: Option<OfferConstraints>,
    ) -> Self {
        framework_info.id = framework_info.id.take().filter(|id| !id.value.is_empty());
        Self {
            framework_id: framework_info.id.clone(),
            subscribe: Some(Subscribe {
                framework_info,
                suppressed_roles,
                offer_constraints,
            }),
            ..call(Type::Subscribe)
        }
    }

    /// TEARDOWN: removes the framework for ever and kills all its tasks.
    #[must_use]
    pub fn teardown() -> Self {
        call(Type::Teardown)
    }

    /// ACCEPT. All offers must be of one agent and one role; one invalid id voids the
    /// whole call and uses up the valid offers. No operations is a decline.
    #[must_use]
    pub fn accept_offers(
        offer_ids: Vec<OfferId>,
        operations: Vec<offer::Operation>,
        filters: Option<Filters>,
    ) -> Self {
        Self {
            accept: Some(Accept {
                offer_ids,
                operations,
                filters,
            }),
            ..call(Type::Accept)
        }
    }

    /// DECLINE. Unknown offers are ignored one by one.
    #[must_use]
    pub fn decline_offers(offer_ids: Vec<OfferId>, filters: Option<Filters>) -> Self {
        Self {
            decline: Some(Decline { offer_ids, filters }),
            ..call(Type::Decline)
        }
    }

    /// ACCEPT_INVERSE_OFFERS: the framework will vacate.
    #[must_use]
    pub fn accept_inverse(inverse_offer_ids: Vec<OfferId>, filters: Option<Filters>) -> Self {
        Self {
            accept_inverse_offers: Some(AcceptInverseOffers {
                inverse_offer_ids,
                filters,
            }),
            ..call(Type::AcceptInverseOffers)
        }
    }

    /// DECLINE_INVERSE_OFFERS: the framework will not vacate.
    #[must_use]
    pub fn decline_inverse(inverse_offer_ids: Vec<OfferId>, filters: Option<Filters>) -> Self {
        Self {
            decline_inverse_offers: Some(DeclineInverseOffers {
                inverse_offer_ids,
                filters,
            }),
            ..call(Type::DeclineInverseOffers)
        }
    }

    /// REVIVE: clears the filters of these roles (none: of all) and un-suppresses
    /// them. One invalid or foreign role and the master drops the call silently.
    #[must_use]
    pub fn revive_roles(roles: Vec<String>) -> Self {
        Self {
            revive: Some(Revive { roles }),
            ..call(Type::Revive)
        }
    }

    /// SUPPRESS: no more offers for these roles (none: for all). One invalid or
    /// foreign role and the master drops the call silently.
    #[must_use]
    pub fn suppress_roles(roles: Vec<String>) -> Self {
        Self {
            suppress: Some(Suppress { roles }),
            ..call(Type::Suppress)
        }
    }

    /// KILL. A wrong agent id makes the master ignore the call; none works as well.
    #[must_use]
    pub fn kill_task(
        task_id: TaskId,
        agent_id: Option<AgentId>,
        kill_policy: Option<KillPolicy>,
    ) -> Self {
        Self {
            kill: Some(Kill {
                task_id,
                agent_id,
                kill_policy,
            }),
            ..call(Type::Kill)
        }
    }

    /// SHUTDOWN of an executor, with the grace period of its `ExecutorInfo`.
    #[must_use]
    pub fn shutdown_executor(executor_id: ExecutorId, agent_id: AgentId) -> Self {
        Self {
            shutdown: Some(Shutdown {
                executor_id,
                agent_id,
            }),
            ..call(Type::Shutdown)
        }
    }

    /// ACKNOWLEDGE of the status update with this 16-byte `uuid`.
    #[must_use]
    pub fn acknowledge_update(agent_id: AgentId, task_id: TaskId, uuid: Vec<u8>) -> Self {
        Self {
            acknowledge: Some(Acknowledge {
                agent_id,
                task_id,
                uuid,
            }),
            ..call(Type::Acknowledge)
        }
    }

    /// ACKNOWLEDGE of a status, or `None` if it needs none: it has no `uuid` (it comes
    /// from the master or from reconciliation) or names no agent.
    #[must_use]
    pub fn acknowledge_status(status: &v1::TaskStatus) -> Option<Self> {
        let uuid = status.uuid.clone().filter(|uuid| !uuid.is_empty())?;
        Some(Self::acknowledge_update(
            status.agent_id.clone()?,
            status.task_id.clone(),
            uuid,
        ))
    }

    /// ACKNOWLEDGE_OPERATION_STATUS. The `uuid` is the plain 16 bytes, although
    /// `OperationStatus.uuid` wraps them in a message.
    #[must_use]
    pub fn acknowledge_operation(
        operation_id: OperationId,
        agent_id: Option<AgentId>,
        resource_provider_id: Option<ResourceProviderId>,
        uuid: Vec<u8>,
    ) -> Self {
        Self {
            acknowledge_operation_status: Some(AcknowledgeOperationStatus {
                agent_id,
                resource_provider_id,
                uuid,
                operation_id,
            }),
            ..call(Type::AcknowledgeOperationStatus)
        }
    }

    /// RECONCILE of these tasks, explicitly. None at all is *implicit* reconciliation:
    /// the master then tells of every task it knows.
    #[must_use]
    pub fn reconcile_tasks(tasks: impl IntoIterator<Item = (TaskId, Option<AgentId>)>) -> Self {
        let tasks = tasks
            .into_iter()
            .map(|(task_id, agent_id)| reconcile::Task { task_id, agent_id })
            .collect();
        Self {
            reconcile: Some(Reconcile { tasks }),
            ..call(Type::Reconcile)
        }
    }

    /// RECONCILE_OPERATIONS; answered by UPDATE_OPERATION_STATUS events.
    #[must_use]
    pub fn reconcile_all_operations(operations: Vec<reconcile_operations::Operation>) -> Self {
        Self {
            reconcile_operations: Some(ReconcileOperations { operations }),
            ..call(Type::ReconcileOperations)
        }
    }

    /// MESSAGE to an executor; unreliable.
    #[must_use]
    pub fn message_to(agent_id: AgentId, executor_id: ExecutorId, data: Vec<u8>) -> Self {
        Self {
            message: Some(Message {
                agent_id,
                executor_id,
                data,
            }),
            ..call(Type::Message)
        }
    }

    /// REQUEST of resources; the allocator that comes with Mesos ignores it.
    #[must_use]
    pub fn request_resources(requests: Vec<v1::Request>) -> Self {
        Self {
            request: Some(Request { requests }),
            ..call(Type::Request)
        }
    }

    /// UPDATE_FRAMEWORK: replaces all three. `framework_info.id` must be set.
    #[must_use]
    pub fn update_framework_to(
        framework_info: FrameworkInfo,
        suppressed_roles: Vec<String>,
        offer_constraints: Option<OfferConstraints>,
    ) -> Self {
        Self {
            framework_id: framework_info.id.clone(),
            update_framework: Some(UpdateFramework {
                framework_info,
                suppressed_roles,
                offer_constraints,
            }),
            ..call(Type::UpdateFramework)
        }
    }
}

/// Constructors of the operations an ACCEPT carries.
impl offer::Operation {
    /// LAUNCH of tasks, each with its own executor.
    #[must_use]
    pub fn launch_tasks(task_infos: Vec<v1::TaskInfo>) -> Self {
        Self {
            r#type: Some(offer::operation::Type::Launch.into()),
            launch: Some(offer::operation::Launch { task_infos }),
            ..Self::default()
        }
    }

    /// LAUNCH_GROUP: all tasks on one executor, all or none. Two tasks with one id
    /// bring a real master down, so they must never be sent.
    #[must_use]
    pub fn launch_tasks_on(executor: v1::ExecutorInfo, tasks: Vec<v1::TaskInfo>) -> Self {
        Self {
            r#type: Some(offer::operation::Type::LaunchGroup.into()),
            launch_group: Some(offer::operation::LaunchGroup {
                executor,
                task_group: v1::TaskGroupInfo { tasks },
            }),
            ..Self::default()
        }
    }

    /// RESERVE these resources (with their new reservation on top).
    #[must_use]
    pub fn reserve_resources(resources: Vec<v1::Resource>) -> Self {
        Self {
            r#type: Some(offer::operation::Type::Reserve.into()),
            reserve: Some(offer::operation::Reserve {
                resources,
                ..Default::default()
            }),
            ..Self::default()
        }
    }

    /// UNRESERVE: takes the topmost reservation off these resources.
    #[must_use]
    pub fn unreserve_resources(resources: Vec<v1::Resource>) -> Self {
        Self {
            r#type: Some(offer::operation::Type::Unreserve.into()),
            unreserve: Some(offer::operation::Unreserve { resources }),
            ..Self::default()
        }
    }

    /// CREATE persistent volumes.
    #[must_use]
    pub fn create_volumes(volumes: Vec<v1::Resource>) -> Self {
        Self {
            r#type: Some(offer::operation::Type::Create.into()),
            create: Some(offer::operation::Create { volumes }),
            ..Self::default()
        }
    }

    /// DESTROY persistent volumes.
    #[must_use]
    pub fn destroy_volumes(volumes: Vec<v1::Resource>) -> Self {
        Self {
            r#type: Some(offer::operation::Type::Destroy.into()),
            destroy: Some(offer::operation::Destroy { volumes }),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::json::to_json;

    #[test]
    fn calls_have_the_shape_of_the_documentation() {
        assert_eq!(to_json(&Call::teardown()), json!({"type": "TEARDOWN"}));
        assert_eq!(
            to_json(&Call::decline_offers(
                vec!["o".into()],
                Some(refuse_for(3600.0))
            )),
            json!({"type": "DECLINE", "decline":
                {"offer_ids": [{"value": "o"}], "filters": {"refuse_seconds": 3600.0}}})
        );
        assert_eq!(
            to_json(&Call::reconcile_tasks([("t".into(), None)])),
            json!({"type": "RECONCILE", "reconcile": {"tasks": [{"task_id": {"value": "t"}}]}})
        );
        let subscribe = to_json(&Call::subscribe_with(
            FrameworkInfo {
                user: "u".into(),
                id: Some("f".into()),
                ..Default::default()
            },
            vec!["r".into()],
            None,
        ));
        assert_eq!(subscribe["framework_id"], json!({"value": "f"}));
        assert_eq!(subscribe["subscribe"]["suppressed_roles"], json!(["r"]));
        let empty_id = FrameworkInfo {
            id: Some("".into()),
            ..Default::default()
        };
        assert_eq!(
            Call::subscribe_with(empty_id, vec![], None).framework_id,
            None
        );
    }

    #[test]
    fn only_updates_with_a_uuid_are_acknowledged() {
        let mut status = v1::TaskStatus {
            task_id: "t".into(),
            agent_id: Some("a".into()),
            ..Default::default()
        };
        assert!(Call::acknowledge_status(&status).is_none());
        status.uuid = Some(vec![1; 16]);
        assert_eq!(
            Call::acknowledge_status(&status)
                .unwrap()
                .acknowledge
                .unwrap()
                .uuid,
            [1; 16]
        );
    }
}

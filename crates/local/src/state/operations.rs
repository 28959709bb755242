//! RESERVE, UNRESERVE, CREATE and DESTROY, and the feedback about them.

use std::collections::BTreeMap;

use gantry_mesos::v1::offer::{Operation, operation};
use gantry_mesos::v1::resource::reservation_info::Type as ReservationType;
use gantry_mesos::v1::scheduler::{self, call};
use gantry_mesos::v1::{self, OperationId, OperationState, OperationStatus, Resource};

use super::accept::{Acceptance, allocate_to, validate_all};
use super::resources::Bag;
use super::timers::Timer;
use super::{FrameworkKey, Link, State, event};

/// Unacknowledged feedback.
#[derive(Debug, Default)]
pub(super) struct Operations {
    pending: BTreeMap<[u8; 16], Pending>,
}

#[derive(Debug)]
struct Pending {
    framework: FrameworkKey,
    status: OperationStatus,
    sent: u32,
}

/// What an operation takes and what it makes of it.
struct Conversion {
    from: Bag,
    to: Bag,
}

impl State {
    pub(super) fn convert(
        &mut self,
        acceptance: &mut Acceptance,
        kind: operation::Type,
        op: &Operation,
    ) {
        let key = acceptance.framework;
        match self.conversion(acceptance, kind, op) {
            Err(text) => match &op.id {
                Some(id) => self.operation_error(key, id, text),
                None => tracing::debug!(reason = %text, "an operation was dropped"),
            },
            Ok(Conversion { from, to }) => {
                acceptance.use_up(&from);
                acceptance.left.add(&to);
                acceptance.made.add(&to);
                let role = acceptance.role.clone();
                let agent = self.agent_mut(acceptance.agent);
                agent.total.subtract(&from);
                agent.total.add(&to);
                let agent_id = agent.id.clone();
                if let Some(id) = &op.id {
                    let uuid = self.uuid();
                    let status = OperationStatus {
                        operation_id: Some(id.clone()),
                        state: OperationState::OperationFinished as i32,
                        converted_resources: to.to_resources(Some(&role), true),
                        uuid: Some(v1::Uuid {
                            value: uuid.to_vec(),
                        }),
                        agent_id: Some(v1::AgentId { value: agent_id }),
                        ..OperationStatus::default()
                    };
                    self.operations.pending.insert(
                        uuid,
                        Pending {
                            framework: key,
                            status,
                            sent: 0,
                        },
                    );
                    self.resend_operation(uuid, 0);
                }
            }
        }
    }

    fn conversion(
        &self,
        acceptance: &Acceptance,
        kind: operation::Type,
        op: &Operation,
    ) -> Result<Conversion, String> {
        let named: &[Resource] = match kind {
            operation::Type::Reserve => {
                let reserve = op
                    .reserve
                    .as_ref()
                    .ok_or("Expecting 'reserve' to be present")?;
                if !reserve.source.is_empty() {
                    return Err(
                        "Reservation updates are not yet implemented for the scheduler API.".into(),
                    );
                }
                &reserve.resources
            }
            operation::Type::Unreserve => {
                &op.unreserve
                    .as_ref()
                    .ok_or("Expecting 'unreserve' to be present")?
                    .resources
            }
            operation::Type::Create => {
                &op.create
                    .as_ref()
                    .ok_or("Expecting 'create' to be present")?
                    .volumes
            }
            operation::Type::Destroy => {
                &op.destroy
                    .as_ref()
                    .ok_or("Expecting 'destroy' to be present")?
                    .volumes
            }
            other => {
                return Err(format!(
                    "{} is not supported by the local cluster",
                    other.as_str_name()
                ));
            }
        };
        let mut resources = named.to_vec();
        allocate_to(&mut resources, &acceptance.role);
        validate_all(&resources)?;
        let principal = self
            .frameworks
            .get(&acceptance.framework)
            .and_then(|f| f.info.principal.as_deref());
        let bag = Bag::parse(&resources);
        let conversion = match kind {
            operation::Type::Reserve => {
                resources
                    .iter()
                    .try_for_each(|r| check_reservation(r, principal, &acceptance.role))?;
                Conversion {
                    from: bag.pop_reservation(),
                    to: bag,
                }
            }
            operation::Type::Unreserve => {
                if resources.iter().any(|r| !is_dynamic(r)) {
                    return Err("Only dynamically reserved resources can be unreserved".into());
                }
                if !bag.volume_ids().is_empty() {
                    return Err(
                        "A reserved persistent volume must be destroyed before it is unreserved"
                            .into(),
                    );
                }
                Conversion {
                    to: bag.pop_reservation(),
                    from: bag,
                }
            }
            operation::Type::Create => {
                resources
                    .iter()
                    .try_for_each(|r| check_volume(r, principal))?;
                let present = self.agent(acceptance.agent).total.volume_ids();
                if let Some(id) = bag.volume_ids().iter().find(|id| present.contains(id)) {
                    return Err(format!(
                        "Persistent volume '{id}' already exists on the agent"
                    ));
                }
                Conversion {
                    from: bag.without_volume(),
                    to: bag,
                }
            }
            _ => {
                if !self.agent(acceptance.agent).total.contains(&bag) {
                    return Err("Persistent volumes not found".into());
                }
                Conversion {
                    to: bag.without_volume(),
                    from: bag,
                }
            }
        };
        if !acceptance.left.contains(&conversion.from) {
            return Err(format!(
                "Invalid {} operation: {} does not contain {}",
                kind.as_str_name(),
                acceptance.left.text(Some(&acceptance.role)),
                conversion.from.text(Some(&acceptance.role))
            ));
        }
        Ok(conversion)
    }

    pub(super) fn operation_error(&mut self, key: FrameworkKey, id: &OperationId, message: String) {
        self.send_operation(
            key,
            OperationStatus {
                operation_id: Some(id.clone()),
                state: OperationState::OperationError as i32,
                message: Some(message),
                ..OperationStatus::default()
            },
        );
    }

    fn send_operation(&self, key: FrameworkKey, status: OperationStatus) {
        self.send(
            key,
            &scheduler::Event {
                update_operation_status: Some(scheduler::event::UpdateOperationStatus { status }),
                ..event(scheduler::event::Type::UpdateOperationStatus)
            },
        );
    }

    pub(super) fn resend_operation(&mut self, uuid: [u8; 16], sent: u32) {
        let Some(pending) = self.operations.pending.get_mut(&uuid) else {
            return;
        };
        if pending.sent != sent {
            return;
        }
        pending.sent += 1;
        let (key, status, sent) = (pending.framework, pending.status.clone(), pending.sent);
        if !self.frameworks.contains_key(&key) {
            self.operations.pending.remove(&uuid);
            return;
        }
        self.send_operation(key, status);
        let delay = self
            .options
            .update_retry_min
            .saturating_mul(1 << (sent - 1).min(16))
            .min(self.options.update_retry_max);
        self.after(delay, Timer::ResendOperation { uuid, sent });
    }

    pub(super) fn acknowledge_operation(&mut self, ack: &call::AcknowledgeOperationStatus) {
        if let Ok(uuid) = <[u8; 16]>::try_from(ack.uuid.as_slice()) {
            self.operations.pending.remove(&uuid);
        }
    }

    pub(super) fn reconcile_operations(
        &mut self,
        key: FrameworkKey,
        call: &call::ReconcileOperations,
    ) {
        let own = |p: &&Pending| p.framework == key;
        if call.operations.is_empty() {
            for pending in self.operations.pending.values().filter(own) {
                self.send_operation(
                    key,
                    OperationStatus {
                        uuid: None,
                        ..pending.status.clone()
                    },
                );
            }
            return;
        }
        for asked in &call.operations {
            let known = self
                .operations
                .pending
                .values()
                .filter(own)
                .find(|p| p.status.operation_id.as_ref() == Some(&asked.operation_id));
            if let Some(known) = known {
                self.send_operation(
                    key,
                    OperationStatus {
                        uuid: None,
                        ..known.status.clone()
                    },
                );
                continue;
            }
            let agent = asked
                .agent_id
                .as_ref()
                .and_then(|id| self.agent_by_id(&id.value));
            let (state, message) = match agent.map(|a| self.agent(a).link) {
                Some(Link::Recovered) => (
                    OperationState::OperationRecovering,
                    "Reconciliation: Agent is recovered but has not re-registered",
                ),
                Some(Link::Unreachable { .. }) => (
                    OperationState::OperationUnreachable,
                    "Reconciliation: Agent is unreachable",
                ),
                Some(Link::Gone) => (
                    OperationState::OperationGoneByOperator,
                    "Reconciliation: Agent marked gone by operator",
                ),
                _ => (
                    OperationState::OperationUnknown,
                    "Reconciliation: Operation is unknown",
                ),
            };
            self.send_operation(
                key,
                OperationStatus {
                    operation_id: Some(asked.operation_id.clone()),
                    state: state as i32,
                    message: Some(message.to_owned()),
                    agent_id: asked.agent_id.clone(),
                    ..OperationStatus::default()
                },
            );
        }
    }
}

fn is_dynamic(resource: &Resource) -> bool {
    match resource.reservations.last() {
        Some(last) => last.r#type() == ReservationType::Dynamic,
        None => resource.reservation.is_some(),
    }
}

fn check_reservation(
    resource: &Resource,
    principal: Option<&str>,
    role: &str,
) -> Result<(), String> {
    if !is_dynamic(resource) {
        return Err("Resource is not dynamically reserved".into());
    }
    let (reserved, owner) = match resource.reservations.last() {
        Some(last) => (last.role(), last.principal.as_deref()),
        None => (
            resource.role(),
            resource
                .reservation
                .as_ref()
                .and_then(|r| r.principal.as_deref()),
        ),
    };
    if owner != principal {
        return Err(format!(
            "A reserve operation was attempted by principal '{}', but there is a reserved resource in the \
             request with principal '{}' set in `ReservationInfo`",
            principal.unwrap_or_default(),
            owner.unwrap_or_default()
        ));
    }
    if reserved != role {
        return Err(format!(
            "A reserve operation was attempted for a resource with role '{reserved}', but the offer is \
             allocated to role '{role}'"
        ));
    }
    if resource.revocable.is_some() {
        return Err("Revocable resources cannot be reserved".into());
    }
    Ok(())
}

fn check_volume(resource: &Resource, principal: Option<&str>) -> Result<(), String> {
    let Some(disk) = &resource.disk else {
        return Err("Resource does not have DiskInfo".into());
    };
    let Some(persistence) = &disk.persistence else {
        return Err("Expecting 'persistence' to be set for persistent volume".into());
    };
    super::framework::validate_id(&persistence.id)?;
    let Some(volume) = &disk.volume else {
        return Err("Expecting 'volume' to be set for persistent volume".into());
    };
    if volume.mode() == v1::volume::Mode::Ro {
        return Err("Read-only persistent volume not supported".into());
    }
    if volume.host_path.is_some() {
        return Err("Expecting 'host_path' to be unset for persistent volume".into());
    }
    if resource.reservations.is_empty() && resource.role.as_deref().unwrap_or("*") == "*" {
        return Err("Persistent volumes cannot be created from unreserved resources.".into());
    }
    if persistence.principal.as_deref() != principal {
        return Err(format!(
            "Create volume operation attempted by principal '{}', but there is a volume in the operation \
             with principal '{}' set in 'DiskInfo.Persistence'",
            principal.unwrap_or_default(),
            persistence.principal.as_deref().unwrap_or_default()
        ));
    }
    Ok(())
}

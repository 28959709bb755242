//! ACCEPT: offers in, tasks and reservations out (Mesos `src/master/master.cpp: _accept`).

use std::sync::Arc;

use gantry_mesos::v1::offer::{Operation, operation};
use gantry_mesos::v1::scheduler::call;
use gantry_mesos::v1::task_status::Reason;
use gantry_mesos::v1::{self, Resource, TaskInfo, TaskState};

use super::allocator::refusal;
use super::resources::{Bag, validate};
use super::{AgentKey, FrameworkKey, State};

/// What is left of the accepted offers while their operations run.
pub(super) struct Acceptance {
    pub(super) framework: FrameworkKey,
    pub(super) agent: AgentKey,
    pub(super) role: Arc<str>,
    pub(super) left: Bag,
    /// The part of `left` that operations of this call made; it goes back without a filter.
    pub(super) made: Bag,
}

impl Acceptance {
    pub(super) fn use_up(&mut self, resources: &Bag) {
        self.left.subtract(resources);
        self.made.subtract(resources);
    }
}

impl State {
    pub(super) fn accept(&mut self, key: FrameworkKey, accept: call::Accept) {
        let mut acceptance = match self.take_offers(key, &accept.offer_ids) {
            Ok(acceptance) => acceptance,
            Err(message) => {
                self.refuse_operations(key, &accept.operations, &message);
                return;
            }
        };
        for operation in accept.operations {
            self.operate(&mut acceptance, operation);
        }
        let Acceptance {
            framework,
            agent,
            role,
            mut left,
            made,
        } = acceptance;
        if left.contains(&made) {
            left.subtract(&made);
            self.recover(agent, &made);
        }
        self.decline(
            framework,
            agent,
            &role,
            &left,
            refusal(accept.filters.as_ref()),
        );
    }

    /// Uses the offers up. One bad one makes all of them void.
    fn take_offers(
        &mut self,
        key: FrameworkKey,
        ids: &[v1::OfferId],
    ) -> Result<Acceptance, String> {
        let checked = self.check_offers(key, ids);
        let mut left = Bag::default();
        for id in ids {
            let number = self.offer_number(&id.value);
            let own = number.filter(|n| self.offers.get(n).is_some_and(|o| o.framework == key));
            if let Some(offer) = own.and_then(|number| self.take_offer(number)) {
                left.add(&offer.resources);
                if checked.is_err() {
                    self.recover(offer.agent, &offer.resources);
                }
            }
        }
        let (agent, role) = checked?;
        Ok(Acceptance {
            framework: key,
            agent,
            role,
            left,
            made: Bag::default(),
        })
    }

    fn check_offers(
        &self,
        key: FrameworkKey,
        ids: &[v1::OfferId],
    ) -> Result<(AgentKey, Arc<str>), String> {
        for (i, id) in ids.iter().enumerate() {
            if ids[..i].contains(id) {
                return Err(format!("Duplicate offer {} in offer list", id.value));
            }
        }
        let mut first: Option<(AgentKey, Arc<str>)> = None;
        let mut offers = Vec::new();
        for id in ids {
            let offer = self
                .offer_number(&id.value)
                .and_then(|number| self.offers.get(&number));
            let Some(offer) = offer else {
                return Err(format!("Offer {} is no longer valid", id.value));
            };
            if offer.framework != key {
                let name = |key| self.frameworks.get(&key).map_or("", |f| &*f.id);
                return Err(format!(
                    "Offer {} has invalid framework {} while framework {} is expected",
                    id.value,
                    name(offer.framework),
                    name(key)
                ));
            }
            offers.push((id, offer));
        }
        for (id, offer) in &offers {
            match &first {
                None => first = Some((offer.agent, Arc::clone(&offer.role))),
                Some((_, role)) if *role != offer.role => {
                    return Err(format!(
                        "Aggregated offers must be allocated to the same role. Offer {} uses role '{} \
                         but another is using role '{role}",
                        id.value, offer.role
                    ));
                }
                Some(_) => {}
            }
        }
        for (id, offer) in &offers {
            if let Some((agent, _)) = &first
                && *agent != offer.agent
            {
                return Err(format!(
                    "Aggregated offers must belong to one single agent. Offer {} uses agent {} and agent {}",
                    id.value,
                    self.agent(offer.agent).id,
                    self.agent(*agent).id
                ));
            }
        }
        first.ok_or_else(|| "No offers specified".to_owned())
    }

    fn refuse_operations(&mut self, key: FrameworkKey, operations: &[Operation], message: &str) {
        let text = format!("Task launched with invalid offers: {message}");
        let state = self.dropped(key);
        for operation in operations {
            for task in tasks_of(operation) {
                self.master_update(
                    key,
                    &task.task_id.value,
                    Some(&task.agent_id.value),
                    state,
                    Reason::InvalidOffers,
                    &text,
                );
            }
            if let Some(id) = &operation.id
                && tasks_of(operation).is_empty()
            {
                let text = format!("Operation attempted with invalid offers: {message}");
                self.operation_error(key, id, text);
            }
        }
    }

    /// TASK_DROPPED, or what stands for it without PARTITION_AWARE.
    pub(super) fn dropped(&self, key: FrameworkKey) -> TaskState {
        self.or_lost(key, TaskState::TaskDropped)
    }

    fn operate(&mut self, acceptance: &mut Acceptance, operation: Operation) {
        let kind = operation
            .r#type
            .and_then(|t| operation::Type::try_from(t).ok());
        let has_id = operation.id.is_some();
        match kind {
            Some(operation::Type::Launch) => {
                let tasks = operation.launch.map(|l| l.task_infos).unwrap_or_default();
                if has_id {
                    let text = "The `id` field cannot be set on LAUNCH operations";
                    self.refuse_tasks(acceptance.framework, &tasks, Reason::TaskInvalid, text);
                    return;
                }
                for task in tasks {
                    self.launch(acceptance, task);
                }
            }
            Some(operation::Type::LaunchGroup) => {
                let Some(group) = operation.launch_group else {
                    return;
                };
                if has_id {
                    let text = "The `id` field cannot be set on LAUNCH_GROUP operations";
                    let tasks = &group.task_group.tasks;
                    self.refuse_tasks(acceptance.framework, tasks, Reason::TaskGroupInvalid, text);
                    return;
                }
                self.launch_group(acceptance, group);
            }
            Some(operation::Type::Unknown) | None => {}
            Some(kind) => self.convert(acceptance, kind, &operation),
        }
    }

    pub(super) fn refuse_tasks(
        &mut self,
        key: FrameworkKey,
        tasks: &[TaskInfo],
        reason: Reason,
        text: &str,
    ) {
        for task in tasks {
            self.master_update(
                key,
                &task.task_id.value,
                Some(&task.agent_id.value),
                TaskState::TaskError,
                reason,
                text,
            );
        }
    }
}

fn tasks_of(operation: &Operation) -> &[TaskInfo] {
    match (&operation.launch, &operation.launch_group) {
        (Some(launch), _) => &launch.task_infos,
        (None, Some(group)) => &group.task_group.tasks,
        (None, None) => &[],
    }
}

/// Puts the offer's role into resources that name none.
pub(super) fn allocate_to(resources: &mut [Resource], role: &str) {
    for resource in resources {
        if resource
            .allocation_info
            .as_ref()
            .is_none_or(|a| a.role.is_none())
        {
            resource.allocation_info = Some(v1::resource::AllocationInfo {
                role: Some(role.to_owned()),
            });
        }
    }
}

/// The role all of these are allocated to; the error is the text of a TASK_ERROR.
pub(super) fn allocated_role<'a>(
    resources: &'a [Resource],
    offered: &'a str,
) -> Result<&'a str, String> {
    let mut roles = resources
        .iter()
        .filter_map(|r| r.allocation_info.as_ref()?.role.as_deref());
    let first = roles.next().unwrap_or(offered);
    if let Some(other) = roles.find(|role| *role != first) {
        return Err(format!(
            "Invalid task resources: The resources have multiple allocation roles ('{other}' and '{first}') \
             but only one allocation role is allowed"
        ));
    }
    Ok(first)
}

pub(super) fn validate_all(resources: &[Resource]) -> Result<(), String> {
    resources.iter().try_for_each(validate)
}

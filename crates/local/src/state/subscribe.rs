//! Subscriptions: new, taken over, lost, and the end of a framework.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use gantry_mesos::v1::scheduler::{self, call};
use gantry_mesos::v1::{self, FrameworkInfo};
use uuid::Uuid;

use super::framework::{Framework, Subscription, roles, validate_info};
use super::seen::About;
use super::timers::Timer;
use super::{FrameworkKey, Reply, State, error_event, event};
use crate::wire::{End, Format, Outbox};

/// How many removed frameworks are remembered (`--max_completed_frameworks`).
const COMPLETED_FRAMEWORKS_MAX: usize = 50;

/// What the HTTP side needs to serve a subscription.
pub(crate) struct Subscribed {
    pub(crate) stream_id: String,
    pub(crate) outbox: Arc<Outbox>,
    /// `None` if the subscription was refused by an ERROR event.
    pub(crate) framework: Option<FrameworkKey>,
}

impl State {
    /// SUBSCRIBE, after the checks that are answered by an HTTP status.
    pub(crate) fn subscribe(
        &mut self,
        call: call::Subscribe,
        format: Format,
        principal: Option<&str>,
    ) -> Subscribed {
        let stream_id = Uuid::from_bytes(self.uuid()).to_string();
        let outbox = Outbox::new(format, self.options.stream_bytes_max);
        let webui_url = call.framework_info.webui_url.clone();
        let framework = match self.try_subscribe(call, &stream_id, &outbox, principal) {
            Ok(framework) => Some(framework),
            Err(message) => {
                outbox.send(&error_event(&message));
                outbox.end(End::Clean);
                None
            }
        };
        let known = framework.and_then(|key| self.frameworks.get(&key));
        let about = About {
            kind: call::Type::Subscribe,
            framework: known.map(|framework| Arc::clone(&framework.id)),
            stream: Some(&stream_id),
            webui_url: webui_url.as_deref(),
        };
        self.seen.add(self.unix(), about, 200);
        Subscribed {
            stream_id,
            outbox,
            framework,
        }
    }

    fn try_subscribe(
        &mut self,
        call: call::Subscribe,
        stream_id: &str,
        outbox: &Arc<Outbox>,
        principal: Option<&str>,
    ) -> Result<FrameworkKey, String> {
        let mut info = call.framework_info;
        if info.principal.is_none() {
            info.principal = principal.map(str::to_owned);
        }
        validate_info(&info, &call.suppressed_roles)?;
        validate_constraints(&info, call.offer_constraints.as_ref())?;

        let id = info
            .id
            .take()
            .map(|id| id.value)
            .filter(|id| !id.is_empty());
        let known = id
            .as_deref()
            .and_then(|id| self.framework_ids.get(id))
            .copied();
        let key = match (known, id) {
            (Some(key), _) => {
                self.resubscribe(key, info, call.suppressed_roles)?;
                key
            }
            (None, Some(id)) => {
                if self.completed_frameworks.iter().any(|f| *f.id == *id) {
                    return Err("Framework has been removed".into());
                }
                self.add_framework(Arc::from(id), info, call.suppressed_roles)
            }
            (None, None) => {
                let number = self.next_framework_number;
                self.next_framework_number += 1;
                let id = format!("{}-{number:04}", self.master_id);
                self.add_framework(Arc::from(id), info, call.suppressed_roles)
            }
        };
        self.open_stream(key, stream_id, outbox, known.is_some());
        Ok(key)
    }

    fn add_framework(
        &mut self,
        id: Arc<str>,
        mut info: FrameworkInfo,
        suppressed: Vec<String>,
    ) -> FrameworkKey {
        let key = FrameworkKey(self.next_framework_key);
        self.next_framework_key += 1;
        info.id = Some(v1::FrameworkId {
            value: id.to_string(),
        });
        let mut framework = Framework {
            id: Arc::clone(&id),
            info: FrameworkInfo::default(),
            roles: Vec::new(),
            suppressed: std::collections::BTreeSet::new(),
            stream: None,
            subscriptions: 0,
            registered: self.unix(),
            reregistered: None,
            unregistered: None,
            recovered: false,
            tasks: HashMap::new(),
            unreachable: HashMap::new(),
            completed: VecDeque::new(),
            offers: HashSet::new(),
            filters: HashMap::new(),
            held_back: None,
        };
        framework.set_info(info, suppressed);
        self.framework_ids.insert(id, key);
        self.frameworks.insert(key, framework);
        key
    }

    fn resubscribe(
        &mut self,
        key: FrameworkKey,
        mut info: FrameworkInfo,
        suppressed: Vec<String>,
    ) -> Result<(), String> {
        let Some(framework) = self.frameworks.get_mut(&key) else {
            return Ok(());
        };
        if framework.info.principal != info.principal {
            return Err("Changing framework's principal is not allowed.".into());
        }
        info.user.clone_from(&framework.info.user);
        info.checkpoint = framework.info.checkpoint;
        info.id.clone_from(&framework.info.id);
        if let Some(old) = framework.stream.take() {
            old.outbox.send(&error_event("Framework failed over"));
            old.outbox.end(End::Clean);
        }
        framework.set_info(info, suppressed);
        framework.recovered = false;
        framework.reregistered = Some(self.started + self.now.as_secs_f64());
        // Discarded without RESCIND: the new scheduler never saw them.
        let offers: Vec<u64> = framework.offers.iter().copied().collect();
        for offer in offers {
            self.withdraw_offer(offer);
        }
        Ok(())
    }

    fn open_stream(&mut self, key: FrameworkKey, id: &str, outbox: &Arc<Outbox>, known: bool) {
        let heartbeat = self.options.heartbeat_interval;
        let master_info = self.master_info();
        let Some(framework) = self.frameworks.get_mut(&key) else {
            return;
        };
        framework.subscriptions += 1;
        let number = framework.subscriptions;
        framework.stream = Some(Subscription {
            id: id.to_owned(),
            number,
            outbox: Arc::clone(outbox),
        });
        outbox.send(&scheduler::Event {
            subscribed: Some(scheduler::event::Subscribed {
                framework_id: v1::FrameworkId {
                    value: framework.id.to_string(),
                },
                heartbeat_interval_seconds: Some(heartbeat.as_secs_f64()),
                master_info: Some(master_info),
            }),
            ..event(scheduler::event::Type::Subscribed)
        });
        if !self.faults.heartbeats_stopped {
            outbox.send(&event(scheduler::event::Type::Heartbeat));
        }
        self.after(
            heartbeat,
            Timer::Heartbeat {
                framework: key,
                stream: number,
            },
        );
        self.announce_framework(key, known);
        self.consider_all_agents();
        self.allocate();
        self.resend_all();
    }

    /// The connection of a subscription is gone. Void if another one took over.
    pub(crate) fn stream_closed(&mut self, key: FrameworkKey, stream_id: &str) {
        let current = self.frameworks.get(&key).and_then(|f| f.stream.as_ref());
        if current.is_some_and(|s| s.id == stream_id) {
            self.disconnect_framework(key, End::Clean);
        }
    }

    /// Makes a framework disconnected and starts its failover timeout.
    pub(super) fn disconnect_framework(&mut self, key: FrameworkKey, end: End) {
        let Some(framework) = self.frameworks.get_mut(&key) else {
            return;
        };
        let Some(stream) = framework.stream.take() else {
            return;
        };
        stream.outbox.end(end);
        framework.filters.clear();
        let timeout = framework.info.failover_timeout();
        let offers: Vec<u64> = framework.offers.iter().copied().collect();
        for offer in offers {
            self.withdraw_offer(offer);
        }
        self.announce_framework(key, true);
        match Duration::try_from_secs_f64(timeout) {
            Ok(timeout) if timeout.is_zero() => self.remove_framework(key),
            Ok(timeout) => {
                self.after(
                    timeout,
                    Timer::FailoverTimeout {
                        framework: key,
                        stream: stream.number,
                    },
                );
            }
            Err(_) => self.remove_framework(key),
        }
    }

    pub(super) fn failover_timed_out(&mut self, key: FrameworkKey, stream: u64) {
        let framework = self.frameworks.get(&key);
        if framework.is_some_and(|f| !f.is_connected() && f.subscriptions == stream) {
            self.remove_framework(key);
        }
    }

    /// The end of a framework: its tasks are killed without any event to it.
    pub(crate) fn remove_framework(&mut self, key: FrameworkKey) {
        let Some(framework) = self.frameworks.get_mut(&key) else {
            return;
        };
        if let Some(stream) = framework.stream.take() {
            stream.outbox.end(End::Clean);
        }
        let offers: Vec<u64> = framework.offers.iter().copied().collect();
        let executors: Vec<_> = self
            .executors
            .iter()
            .filter(|(_, e)| e.framework == key)
            .map(|(executor, _)| *executor)
            .collect();
        for offer in offers {
            self.withdraw_offer(offer);
        }
        self.forget_framework_tasks(key);
        for executor in executors {
            self.shutdown_executor(executor);
        }
        let Some(mut framework) = self.frameworks.remove(&key) else {
            return;
        };
        self.framework_ids.remove(&framework.id);
        framework.unregistered = Some(self.unix());
        framework.filters.clear();
        self.announce_framework_removed(&framework.info);
        self.completed_frameworks.push_back(framework);
        while self.completed_frameworks.len() > COMPLETED_FRAMEWORKS_MAX {
            self.completed_frameworks.pop_front();
        }
    }

    /// UPDATE_FRAMEWORK, which is answered with its outcome.
    pub(super) fn update_framework(
        &mut self,
        key: FrameworkKey,
        call: call::UpdateFramework,
    ) -> Reply {
        let mut info = call.framework_info;
        let Some(framework) = self.frameworks.get(&key) else {
            return Reply::bad("Framework cannot be found");
        };
        let old = &framework.info;
        if info.principal.is_none() && self.options.credentials.is_empty() {
            info.principal.clone_from(&old.principal);
        }
        if let Err(error) = validate_info(&info, &[]) {
            return Reply::bad(format!("Supplied FrameworkInfo is not valid: {error}"));
        }
        if old.principal != info.principal {
            return Reply::bad(
                "FrameworkInfo update is not valid: Changing framework's principal is not allowed.",
            );
        }
        let unsupported = |field: &str, from: &str, to: &str| {
            Reply::bad(format!(
                "FrameworkInfo update is not valid: Updating 'FrameworkInfo.{field}' is unsupported; \
                 attempted to update from '{from}' to '{to}'"
            ))
        };
        if old.user != info.user {
            return unsupported("user", &old.user, &info.user);
        }
        if old.checkpoint() != info.checkpoint() {
            let (from, to) = (old.checkpoint().to_string(), info.checkpoint().to_string());
            return unsupported("checkpoint", &from, &to);
        }
        if let Err(error) = validate_info(&info, &call.suppressed_roles)
            .and_then(|()| validate_constraints(&info, call.offer_constraints.as_ref()))
        {
            return Reply::bad(format!("'UpdateFramework' call is not valid: {error}"));
        }
        let new_roles = roles(&info);
        let lost: Vec<u64> = framework
            .offers
            .iter()
            .copied()
            .filter(|offer| {
                self.offers
                    .get(offer)
                    .is_some_and(|o| !new_roles.iter().any(|r| **r == *o.role))
            })
            .collect();
        for offer in lost {
            self.rescind(offer);
        }
        if let Some(framework) = self.frameworks.get_mut(&key) {
            let was_suppressed = std::mem::take(&mut framework.suppressed);
            framework.set_info(info, call.suppressed_roles);
            let open: Vec<Arc<str>> = framework
                .roles
                .iter()
                .filter(|role| was_suppressed.contains(&***role) && !framework.is_suppressed(role))
                .cloned()
                .collect();
            framework
                .filters
                .retain(|(_, role), _| !open.contains(role));
        }
        self.consider_all_agents();
        self.announce_framework(key, true);
        self.resend_all();
        Reply::ok()
    }
}

/// Offer constraints are checked for their form only: this cluster offers every
/// agent to everyone, which a framework with constraints has to cope with anyway.
fn validate_constraints(
    info: &FrameworkInfo,
    constraints: Option<&scheduler::OfferConstraints>,
) -> Result<(), String> {
    let Some(constraints) = constraints else {
        return Ok(());
    };
    let own = roles(info);
    for (role, constraint) in &constraints.role_constraints {
        if !own.contains(role) {
            return Err(format!(
                "Offer constraints specify `role_constraints` for a role '{role}'not contained in the set of roles"
            ));
        }
        if constraint.groups.is_empty() {
            return Err(format!(
                "Offer constraints are not valid: 'OfferConstraints::role_constraints' has an empty \
                 'RoleConstraints::groups' for role {role}"
            ));
        }
        if constraint
            .groups
            .iter()
            .any(|g| g.attribute_constraints.is_empty())
        {
            return Err(format!(
                "Offer constraints are not valid: A role {role} has an empty \
                 'RoleConstraints::Group::attribute_constraints'"
            ));
        }
    }
    Ok(())
}

//! Frameworks: who they are and what they may be.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use gantry_mesos::v1::FrameworkInfo;
use gantry_mesos::v1::framework_info::capability::Type as Capability;

use super::{AgentKey, Bag, Task, TaskKey};
use crate::wire::Outbox;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FrameworkKey(pub(super) u64);

/// An open subscription.
#[derive(Debug)]
pub(crate) struct Subscription {
    /// The `Mesos-Stream-Id`.
    pub(crate) id: String,
    /// Counts the subscriptions of the framework.
    pub(crate) number: u64,
    pub(crate) outbox: Arc<Outbox>,
}

#[derive(Debug)]
pub(super) struct Filter {
    pub(super) refused: Bag,
    pub(super) until: Duration,
}

#[derive(Debug)]
pub(crate) struct Framework {
    pub(crate) id: Arc<str>,
    pub(crate) info: FrameworkInfo,
    pub(crate) roles: Vec<Arc<str>>,
    pub(crate) suppressed: BTreeSet<String>,
    pub(crate) stream: Option<Subscription>,
    /// Number of the latest subscription.
    pub(crate) subscriptions: u64,
    pub(crate) registered: f64,
    pub(crate) reregistered: Option<f64>,
    pub(crate) unregistered: Option<f64>,
    /// Known from returning agents only, after a master failover.
    pub(crate) recovered: bool,
    pub(crate) tasks: HashMap<Arc<str>, TaskKey>,
    pub(crate) unreachable: HashMap<Arc<str>, TaskKey>,
    /// The latest ended tasks, oldest first.
    pub(crate) completed: VecDeque<Task>,
    pub(crate) offers: HashSet<u64>,
    pub(super) filters: HashMap<(AgentKey, Arc<str>), Vec<Filter>>,
    /// Update held back to be sent after the next one (a fault).
    pub(super) held_back: Option<Box<gantry_mesos::v1::TaskStatus>>,
}

impl Framework {
    pub(crate) fn can(&self, capability: Capability) -> bool {
        has(&self.info, capability)
    }

    pub(crate) fn is_partition_aware(&self) -> bool {
        self.can(Capability::PartitionAware)
    }

    pub(crate) fn checkpoints(&self) -> bool {
        self.info.checkpoint()
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.stream.is_some()
    }

    /// The role for `allocation_info`, which only MULTI_ROLE frameworks get.
    pub(crate) fn shown_role<'a>(&self, role: &'a str) -> Option<&'a str> {
        self.can(Capability::MultiRole).then_some(role)
    }

    pub(super) fn is_suppressed(&self, role: &str) -> bool {
        self.suppressed.contains(role)
    }

    /// Whether an allocation is large enough to be offered.
    pub(super) fn is_allocatable(&self, role: &str, resources: &Bag) -> bool {
        let own = self
            .info
            .offer_filters
            .get(role)
            .and_then(|filters| filters.min_allocatable_resources.as_ref());
        match own {
            None => resources.total("cpus") >= 10 || resources.total("mem") >= 32_000,
            Some(minimum) => {
                minimum.quantities.is_empty()
                    || minimum.quantities.iter().any(|q| {
                        q.quantities.iter().all(|(name, amount)| {
                            resources.total(name) >= super::resources::thousandths(amount.value)
                        })
                    })
            }
        }
    }

    pub(super) fn set_info(&mut self, info: FrameworkInfo, suppressed: Vec<String>) {
        self.roles = roles(&info).into_iter().map(Arc::from).collect();
        self.info = info;
        self.suppressed = suppressed.into_iter().collect();
    }
}

pub(super) fn has(info: &FrameworkInfo, capability: Capability) -> bool {
    info.capabilities
        .iter()
        .any(|c| c.r#type == Some(capability as i32))
}

/// The roles of a framework, from whichever field its capabilities name.
pub(super) fn roles(info: &FrameworkInfo) -> Vec<String> {
    if has(info, Capability::MultiRole) {
        info.roles.clone()
    } else {
        vec![info.role().to_owned()]
    }
}

/// What is wrong with a FrameworkInfo (Mesos `src/master/validation.cpp: framework::validate`).
pub(super) fn validate_info(info: &FrameworkInfo, suppressed: &[String]) -> Result<(), String> {
    let multi_role = has(info, Capability::MultiRole);
    if multi_role && info.role.is_some() {
        return Err(
            "'FrameworkInfo.role' must not be set when the framework is MULTI_ROLE capable".into(),
        );
    }
    if !multi_role && !info.roles.is_empty() {
        return Err(
            "'FrameworkInfo.roles' must not be set when the framework is not MULTI_ROLE capable"
                .into(),
        );
    }
    let mut seen = BTreeSet::new();
    let mut twice = BTreeSet::new();
    for role in &info.roles {
        if !seen.insert(role) {
            twice.insert(role.as_str());
        }
    }
    if !twice.is_empty() {
        return Err(format!(
            "'FrameworkInfo.roles' contains duplicate items: {}",
            braces(twice)
        ));
    }
    for role in &info.roles {
        validate_role(role)
            .map_err(|e| format!("'FrameworkInfo.roles' contains invalid role: {e}"))?;
    }
    if !multi_role {
        validate_role(info.role())
            .map_err(|e| format!("'FrameworkInfo.role' is not a valid role: {e}"))?;
    }
    if let Some(id) = &info.id
        && !id.value.is_empty()
    {
        validate_id(&id.value)?;
    }
    for filters in info.offer_filters.values() {
        let minimum = filters.min_allocatable_resources.as_ref();
        if minimum.is_some_and(|m| m.quantities.iter().any(|q| q.quantities.is_empty())) {
            return Err("Resource quantities must contain at least one quantity".into());
        }
    }
    // A duration of Mesos is a 64-bit number of nanoseconds.
    let timeout = info.failover_timeout();
    if !timeout.is_finite() || timeout.abs() * 1e9 >= 9_223_372_036_854_775_807.0 {
        return Err(format!(
            "The framework failover_timeout ({}) is invalid",
            c_number(timeout)
        ));
    }
    let own: BTreeSet<String> = roles(info).into_iter().collect();
    let foreign: BTreeSet<&str> = suppressed
        .iter()
        .map(String::as_str)
        .filter(|role| !own.contains(*role))
        .collect();
    if !foreign.is_empty() {
        return Err(format!(
            "Suppressed roles {} are not contained in the set of roles",
            braces(foreign)
        ));
    }
    Ok(())
}

fn braces(items: BTreeSet<&str>) -> String {
    format!("{{ {} }}", items.into_iter().collect::<Vec<_>>().join(", "))
}

/// A number as `%g` of C writes it.
fn c_number(value: f64) -> String {
    if value.abs() >= 1e16 {
        let text = format!("{value:e}");
        text.replace('e', "e+")
    } else {
        value.to_string()
    }
}

/// The grammar of roles (Mesos `src/common/roles.cpp: validate`).
pub(super) fn validate_role(role: &str) -> Result<(), String> {
    if role.is_empty() {
        return Err("Role names cannot be the empty string".into());
    }
    if role == "*" {
        return Ok(());
    }
    if role.starts_with('/') {
        return Err(format!("Role '{role}' cannot start with a slash"));
    }
    if role.ends_with('/') {
        return Err(format!("Role '{role}' cannot end with a slash"));
    }
    if role.contains("//") {
        return Err(format!("Role '{role}' cannot contain two adjacent slashes"));
    }
    for component in role.split('/') {
        if component == "." || component == ".." {
            return Err(format!(
                "Role '{role}' cannot include '{component}' as a component"
            ));
        }
        if component == "*" {
            return Err(format!("Role '{role}' cannot include '*' as a component"));
        }
        if component.starts_with('-') {
            return Err(format!(
                "Role component '{component}' is invalid because it starts with a dash"
            ));
        }
        if component.contains(['\t', '\n', '\u{b}', '\u{c}', '\r', ' ', '\u{8}', '\u{7f}']) {
            return Err(format!(
                "Role component '{component}' is invalid because it contains backspace or whitespace"
            ));
        }
    }
    Ok(())
}

/// The grammar of ids (Mesos `src/common/validation.cpp: validateID`).
pub(crate) fn validate_id(id: &str) -> Result<(), String> {
    if id.is_empty() {
        return Err("ID must not be empty".into());
    }
    if id.len() > 255 {
        return Err("ID must not be greater than 255 characters".into());
    }
    if id == "." || id == ".." {
        return Err(format!("'{id}' is disallowed"));
    }
    if id
        .chars()
        .any(|c| c.is_ascii_control() || c == '/' || c == '\\')
    {
        return Err(format!("'{id}' contains invalid characters"));
    }
    Ok(())
}

/// Sums by role, for fairness between roles.
pub(super) type Shares = BTreeMap<Arc<str>, (i64, i64)>;

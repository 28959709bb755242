//! What a start under a declaration would change, for people and programs.
//!
//! The scheduler's own code decides what would happen ([`gantry_core::plan`]); this module tells
//! it: field by field, with secrets masked, and with the limits within which tasks would move.

mod declared;
mod fields;
mod limits;
#[cfg(test)]
mod tests;
mod text;
mod wire;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::SystemTime,
};

use gantry_core::{
    BackOff, Brake, Change, Declared, DeclaredSettings, DeploymentStatus, Found, Key, Record,
    RevisionRecord, ServiceSpec, Settings, Timestamp, UpdatePolicy, WorkloadPlan, WorkloadRecord,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::runtime::identity;

pub(crate) use declared::held_back;
pub(crate) use fields::template_changes;
pub use fields::{FieldChange, Shown};
pub(crate) use limits::words as limits_in_words;
pub use wire::Declaration;
pub(crate) use wire::sealed_records;

/// Most workloads of a kind that are named in one clause.
const NAMES_MAX: usize = 5;

/// With more records, the start does not tell its plan: working it out takes as much memory again
/// as the scheduler itself, some 1 kB a task.
const LOGGED_RECORDS_MAX: usize = 200_000;

/// What would change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Report {
    /// The framework's name as it stands in task ids.
    pub framework: String,
    /// Whether anything would change.
    pub changes: bool,
    /// Every workload that is declared or stored, also those that nothing happens to.
    pub workloads: Vec<WorkloadReport>,
    /// Tasks that run of types that are neither declared nor stored, at most 100: they are shown,
    /// and left alone unless `KILL_UNKNOWN_TASKS` is set.
    #[serde(default)]
    pub set_aside: Vec<String>,
    /// How many such tasks there are.
    #[serde(default)]
    pub set_aside_count: usize,
    /// Stored records that cannot be read, and why, at most 100: each is left alone.
    #[serde(default)]
    pub unreadable: Vec<String>,
    /// How many such records there are.
    #[serde(default)]
    pub unreadable_count: usize,
    /// Why the brake is on, as a clause: nothing is replaced or started again before it is
    /// released. Absent when it is off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brake: Option<String>,
}

/// Most tasks that are set aside, and most records that cannot be read, which a report names.
const NAMED_MAX: usize = 100;

/// What would change about one workload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WorkloadReport {
    /// Its name.
    pub name: String,
    /// What happens to it.
    pub action: Action,
    /// How many instances are wanted then.
    pub instances: u32,
    /// What is declared otherwise; of a new one all that is set.
    pub fields: Vec<FieldChange>,
    /// Instances that run already though their type is not stored, and are kept.
    #[serde(default)]
    pub adopted: Numbers,
    /// Instances that are added.
    pub created: Numbers,
    /// Instances whose task is replaced by one of the new declaration.
    pub replaced: Numbers,
    /// Instances that are stopped.
    pub stopped: Numbers,
    /// Within which limits tasks are replaced; absent when none is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<String>,
    /// Why what is declared does not run, and will not by this start alone, as a clause; absent
    /// when it does or will.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_back: Option<String>,
}

/// What happens to a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It begins.
    New,
    /// It becomes another.
    Change,
    /// It ends.
    Remove,
    /// Nothing.
    Keep,
}

/// Numbers of instances.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Numbers {
    /// How many.
    pub count: usize,
    /// Which, as `1-3,7`.
    pub numbers: String,
}

impl Numbers {
    /// From ascending numbers.
    fn of(numbers: &[u32]) -> Self {
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        for &number in numbers {
            match ranges.last_mut() {
                Some((_, last)) if last.checked_add(1) == Some(number) => *last = number,
                _ => ranges.push((number, number)),
            }
        }
        let ranges = ranges.into_iter().map(|(first, last)| {
            if first == last {
                first.to_string()
            } else {
                format!("{first}-{last}")
            }
        });
        Self {
            count: numbers.len(),
            numbers: ranges.collect::<Vec<_>>().join(","),
        }
    }
}

impl Report {
    /// Works out what a start with these services would change about these records. Takes a
    /// second for some 100,000 tasks.
    pub fn of(settings: &Settings, services: Vec<ServiceSpec>, found: Found) -> Self {
        let declared: BTreeMap<String, ServiceSpec> = services
            .iter()
            .map(|service| (service.name.as_str().to_owned(), service.clone()))
            .collect();
        let unreadable_count = found.unreadable.len();
        let unreadable = found.unreadable.iter().take(NAMED_MAX);
        let unreadable = unreadable.map(|one| format!("{}: {}", one.place, one.reason));
        let unreadable = unreadable.collect();
        let plan = gantry_core::plan(now(), settings, services, found);
        let set_aside = plan.set_aside.iter().take(NAMED_MAX);
        Self {
            framework: settings.framework.to_string(),
            changes: !plan.is_empty(),
            set_aside: set_aside.map(|task| task.as_str().to_owned()).collect(),
            set_aside_count: plan.set_aside.len(),
            unreadable,
            unreadable_count,
            brake: plan.brake.as_ref().map(Brake::reason),
            workloads: plan
                .workloads
                .into_iter()
                .map(|plan| workload(&plan, declared.get(plan.name.as_str())))
                .collect(),
        }
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let millis = since.map(|since| since.as_millis()).unwrap_or_default();
    Timestamp::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}

fn workload(plan: &WorkloadPlan, service: Option<&ServiceSpec>) -> WorkloadReport {
    let instances = plan.desired;
    let (action, fields) = match &plan.change {
        Change::New => (Action::New, service.map(new).unwrap_or_default()),
        Change::Changed { before, after } => {
            let mut changes = fields::changes(Some(before), after);
            if before.desired != before.declared || after.desired != after.declared {
                changes.extend(scaled(before, after));
            }
            (Action::Change, changes)
        }
        Change::Removed => (Action::Remove, Vec::new()),
        Change::None | Change::Unreadable if plan.is_empty() => (Action::Keep, Vec::new()),
        Change::None | Change::Unreadable => (Action::Change, Vec::new()),
    };
    let limits = service
        .filter(|_| !plan.replaced.is_empty())
        .map(|service| limits::words(&service.update, &service.template, instances));
    WorkloadReport {
        name: plan.name.as_str().to_owned(),
        action,
        instances,
        fields,
        adopted: Numbers::of(&plan.adopted),
        created: Numbers::of(&plan.created),
        replaced: Numbers::of(&plan.replaced),
        stopped: Numbers::of(&plan.stopped),
        limits,
        held_back: match plan.change {
            Change::Unreadable => Some(format!(
                "its stored record cannot be read: {instances} instances stay wanted, whatever is declared, until it is scaled"
            )),
            _ => plan.launched.and_then(|revision| {
                held_back(plan.declared_revision, revision, plan.update.as_deref())
            }),
        },
    }
}

/// All of a new service that is not as it is by default.
fn new(service: &ServiceSpec) -> Vec<FieldChange> {
    let nothing = Declared {
        revision: 0,
        template: None,
        declared: 0,
        desired: 0,
        settings: DeclaredSettings {
            priority: 1,
            wait_healthy: false,
            allow_scaling: true,
            back_off: BackOff::default(),
            update: UpdatePolicy::default(),
        },
    };
    let mut fields = fields::changes(Some(&nothing), &declared(service));
    for field in &mut fields {
        field.before = None;
    }
    fields
}

/// The count that an operator has set, which a changed declaration takes over.
fn scaled(before: &Declared, after: &Declared) -> Option<FieldChange> {
    (before.desired != after.desired).then(|| FieldChange {
        path: "instances".to_owned(),
        before: Some(Shown::Text(before.desired.to_string())),
        after: Some(Shown::Text(after.desired.to_string())),
    })
}

fn declared(service: &ServiceSpec) -> Declared {
    Declared {
        revision: 0,
        template: Some(Arc::new(service.template.clone())),
        declared: service.instances,
        desired: service.instances,
        settings: DeclaredSettings {
            priority: service.priority,
            wait_healthy: service.wait_healthy,
            allow_scaling: service.allow_scaling,
            back_off: service.back_off,
            update: service.update.clone(),
        },
    }
}

/// Tells in the log what the start that follows will change. Returns at once: when there is
/// something to tell it is worked out beside the start. Must be called within a tokio runtime.
pub fn log(settings: &Settings, services: &[ServiceSpec], found: &Found) {
    let mut strange = identity::strange(found, &settings.framework);
    if found.unreadable.is_empty()
        && strange.next().is_none()
        && as_stored(services, &found.records)
    {
        tracing::info!("plan: everything is declared as it is stored");
        return;
    }
    if found.records.len() > LOGGED_RECORDS_MAX {
        tracing::info!(
            records = found.records.len(),
            "plan: the declaration has changed; `gantry plan` tells how"
        );
        return;
    }
    let (settings, services, found) = (settings.clone(), services.to_vec(), found.clone());
    tokio::task::spawn_blocking(move || {
        let mut report = Report::of(&settings, services, found);
        // What was found said so already.
        report.unreadable.clear();
        report.unreadable_count = 0;
        for line in report.to_string().lines() {
            tracing::info!("plan: {line}");
        }
    });
}

/// Whether every service is stored as it is declared, no other is, and nothing else is to be told. Costs
/// nothing, unlike a plan: this is what nearly every start finds.
fn as_stored(services: &[ServiceSpec], records: &[Record]) -> bool {
    let mut names: BTreeSet<&str> = services.iter().map(|one| one.name.as_str()).collect();
    names.extend(records.iter().filter_map(|record| match record {
        Record::Workload(record) => Some(record.name.as_str()),
        _ => None,
    }));
    let as_it_was = records.iter().all(|record| match record {
        Record::Brake(_) => false,
        Record::Deployment(one) => !matches!(one.status, DeploymentStatus::Paused { .. }),
        Record::Workload(one) => one.revision == one.declared_revision(),
        Record::Task(one) => names.contains(one.workload.as_str()),
        _ => true,
    });
    as_it_was && Differences::of(services, records).is_empty()
}

/// What is declared otherwise than it is stored, by name.
#[derive(Debug, Default, PartialEq, Eq)]
struct Differences<'a> {
    new: Vec<&'a str>,
    changed: Vec<&'a str>,
    removed: Vec<&'a str>,
}

impl<'a> Differences<'a> {
    fn of(services: &'a [ServiceSpec], records: &'a [Record]) -> Self {
        let mut workloads: BTreeMap<&str, &WorkloadRecord> = BTreeMap::new();
        let mut revisions: BTreeMap<(&str, u32), &RevisionRecord> = BTreeMap::new();
        for record in records {
            match record {
                Record::Workload(record) => {
                    workloads.insert(record.name.as_str(), record);
                }
                Record::Revision(record) => {
                    revisions.insert((record.workload.as_str(), record.number), record);
                }
                _ => {}
            }
        }
        let mut differences = Self::default();
        for service in services {
            let name = service.name.as_str();
            let Some(stored) = workloads.remove(name) else {
                differences.new.push(name);
                continue;
            };
            let template = revisions.get(&(name, stored.declared_revision()));
            let same = !stored.removed
                && stored.declared == service.instances
                && stored.priority == service.priority
                && stored.wait_healthy == service.wait_healthy
                && stored.allow_scaling == service.allow_scaling
                && stored.back_off == service.back_off
                && stored.update == service.update
                && template.is_some_and(|stored| *stored.template == service.template);
            if !same {
                differences.changed.push(name);
            }
        }
        let others = workloads.values().filter(|stored| !stored.removed);
        differences.removed = others.map(|stored| stored.name.as_str()).collect();
        differences
    }

    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What a Gantry that stands by would change if it led, as a clause; `None` when it declares what is
/// stored.
pub fn would_change(services: &[ServiceSpec], found: &Found) -> Option<String> {
    let differences = Differences::of(services, &found.records);
    // Nobody knows what is stored of these.
    let known = |name: &&str| {
        let mut unreadable = found.unreadable.iter();
        !unreadable.any(|one| matches!(&one.key, Some(Key::Workload(lost) | Key::Revision(lost, _)) if lost.as_str() == *name))
    };
    let parts: Vec<_> = [
        ("begin", differences.new),
        ("change", differences.changed),
        ("end", differences.removed),
    ]
    .into_iter()
    .map(|(word, names)| (word, names.into_iter().filter(known).collect::<Vec<_>>()))
    .filter(|(_, names)| !names.is_empty())
    .map(|(word, names)| match names.len() {
        count @ ..=NAMES_MAX => format!("{word} {}", names[..count].join(", ")),
        count => format!(
            "{word} {} and {} more",
            names[..NAMES_MAX].join(", "),
            count - NAMES_MAX
        ),
    })
    .collect();
    (!parts.is_empty()).then(|| {
        format!(
            "this Gantry declares something else than what runs, and would {} as soon as it leads: give all of them the same environment",
            parts.join("; ")
        )
    })
}

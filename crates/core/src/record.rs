//! What is kept: one small record for each entity, addressed by a key.
//!
//! The store knows how a record is written down; this module knows what is in it. Reading all
//! records back gives everything the scheduler needs to go on after a crash.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::{
    AccessRecord, AgentAddress, BackOff, EndedTask, FrameworkId, Goal, TaskId, TaskState, Template,
    Timestamp, UpdatePolicy, Uuid, WorkloadName,
};

/// Address of a record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// The framework itself; one.
    Framework,
    /// A workload.
    Workload(WorkloadName),
    /// A revision of a workload.
    Revision(WorkloadName, u32),
    /// What is remembered of an instance beyond its live tasks.
    Instance(WorkloadName, u32),
    /// A live task, or the intent of one.
    Task(TaskId),
    /// A deployment.
    Deployment(DeploymentId),
    /// An operator's action. The number is a position in a ring of [`AUDIT_RING`] entries.
    Audit(u32),
    /// The disaster brake, while it is on; one.
    Brake,
    /// A value that a module keeps: the module's name, and the module's own key.
    ModuleValue(Arc<str>, Arc<str>),
    /// Which sessions have ended before their time; one.
    Access,
}

/// How many operator actions are remembered; older ones are overwritten.
pub const AUDIT_RING: u32 = 500;

/// A record with its key.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// See [`Key::Framework`].
    Framework(FrameworkRecord),
    /// See [`Key::Workload`].
    Workload(WorkloadRecord),
    /// See [`Key::Revision`].
    Revision(RevisionRecord),
    /// See [`Key::Instance`].
    Instance(InstanceRecord),
    /// See [`Key::Task`].
    Task(TaskRecord),
    /// See [`Key::Deployment`].
    Deployment(Deployment),
    /// See [`Key::Audit`].
    Audit(AuditEntry),
    /// See [`Key::Brake`].
    Brake(Brake),
    /// See [`Key::ModuleValue`].
    ModuleValue(ModuleValue),
    /// See [`Key::Access`].
    Access(AccessRecord),
}

impl Record {
    /// The key under which it is kept.
    pub fn key(&self) -> Key {
        match self {
            Self::Framework(_) => Key::Framework,
            Self::Workload(record) => Key::Workload(record.name.clone()),
            Self::Revision(record) => Key::Revision(record.workload.clone(), record.number),
            Self::Instance(record) => Key::Instance(record.workload.clone(), record.number),
            Self::Task(record) => Key::Task(record.id.clone()),
            Self::Deployment(record) => Key::Deployment(record.id),
            Self::Audit(record) => Key::Audit((record.sequence % u64::from(AUDIT_RING)) as u32),
            Self::Brake(_) => Key::Brake,
            Self::ModuleValue(record) => {
                Key::ModuleValue(record.module.clone(), record.key.clone())
            }
            Self::Access(_) => Key::Access,
        }
    }
}

impl Record {
    /// The newest moment of the past that it tells of; zero when it tells of none. What a scheduler
    /// reads back must not be of its future: its clock starts no earlier than the newest moment of
    /// all records, whatever the wall clock of its machine says.
    pub fn newest_moment(&self) -> Timestamp {
        let some = |moment: Option<Timestamp>| moment.unwrap_or(Timestamp::ZERO);
        match self {
            Self::Framework(record) => record.registered_at,
            Self::Workload(_) | Self::ModuleValue(_) => Timestamp::ZERO,
            Self::Revision(record) => record.created_at,
            Self::Instance(record) => some(record.history.iter().map(|ended| ended.ended_at).max()),
            Self::Task(record) => {
                let decided = match record.goal {
                    Goal::Run => Timestamp::ZERO,
                    Goal::Replace { since, .. } | Goal::Stop { since, .. } => since,
                };
                record
                    .launched_at
                    .max(some(record.started_at))
                    .max(some(record.running_at))
                    .max(decided)
            }
            Self::Deployment(record) => match record.status {
                DeploymentStatus::Running => record.started_at,
                DeploymentStatus::Paused { at, .. }
                | DeploymentStatus::RollingBack { at, .. }
                | DeploymentStatus::RolledBack { at, .. }
                | DeploymentStatus::Done { at }
                | DeploymentStatus::Failed { at, .. }
                | DeploymentStatus::Aborted { at, .. } => at,
            },
            Self::Audit(entry) => entry.at,
            Self::Brake(brake) => brake.since,
            Self::Access(access) => access.newest(),
        }
    }
}

/// An entry of the store that could not be read. It is left where it is, and what it may have said
/// is taken to be whatever does the least harm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Where it is, as the store names it.
    pub place: Arc<str>,
    /// Whose record it should hold; `None` when that cannot be told.
    pub key: Option<Key>,
    /// Why it could not be read, as a clause.
    pub reason: Arc<str>,
}

/// All that a store held.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// What could be read, each key once.
    pub records: Vec<Record>,
    /// What could not.
    pub unreadable: Vec<Unreadable>,
}

impl From<Vec<Record>> for Found {
    fn from(records: Vec<Record>) -> Self {
        Self {
            records,
            unreadable: Vec::new(),
        }
    }
}

impl Found {
    /// Whose store this is by its tasks, when not one of them is of the framework `name`: whoever
    /// acted under that name would know none of what runs, and start all of it a second time.
    ///
    /// A store without tasks is nobody's, as nothing in it is of a name.
    pub fn other_framework(&self, name: &str) -> Option<OtherFramework> {
        // A workload's name may have a dot, and this framework is the one that must not be missed.
        fn by_id<'a>(id: &'a TaskId, name: &'a str) -> Option<&'a str> {
            id.parts(name).map(|_| name).or_else(|| id.framework())
        }
        let read = self.records.iter().filter_map(|record| match record {
            Record::Task(record) => record.framework().or_else(|| by_id(&record.id, name)),
            _ => None,
        });
        let unread = self.unreadable.iter().filter_map(|one| match &one.key {
            Some(Key::Task(id)) => by_id(id, name),
            _ => None,
        });
        let mut frameworks = read.chain(unread);
        let first = frameworks.next().filter(|first| *first != name)?;
        let mut tasks = 1;
        for other in frameworks {
            if other == name {
                return None;
            }
            tasks += 1;
        }
        Some(OtherFramework {
            name: first.to_owned(),
            tasks,
        })
    }
}

/// The framework whose tasks a store holds, where another was to act on them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherFramework {
    /// Its name as it stands in task ids.
    pub name: String,
    /// How many tasks are recorded.
    pub tasks: usize,
}

/// One change of the store. Puts replace whole records, so that writing a batch twice is harmless.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// Keep this record under its key.
    Put(Record),
    /// Forget the record of this key; nothing happens when there is none.
    Delete(Key),
}

/// The framework.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrameworkRecord {
    /// The id Mesos gave us.
    pub id: FrameworkId,
    /// When it did.
    pub registered_at: Timestamp,
}

/// A workload: what was declared and what is wanted now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkloadRecord {
    /// Its name.
    pub name: WorkloadName,
    /// The count that the declaration asked for when it was last seen.
    pub declared: u32,
    /// The count that is wanted.
    pub desired: u32,
    /// The revision that tasks are launched as.
    pub revision: u32,
    /// The revision that holds the declaration as it was last seen. Another than `revision` while
    /// an update is paused, and after it was rolled back: the same declaration does not start it
    /// again. 0 counts as `revision`.
    #[serde(default)]
    pub declared_revision: u32,
    /// See [`crate::ServiceSpec::update`].
    #[serde(default)]
    pub update: UpdatePolicy,
    /// See [`crate::ServiceSpec::priority`].
    pub priority: i32,
    /// See [`crate::ServiceSpec::wait_healthy`].
    pub wait_healthy: bool,
    /// See [`crate::ServiceSpec::allow_scaling`].
    pub allow_scaling: bool,
    /// See [`crate::ServiceSpec::back_off`].
    pub back_off: BackOff,
    /// No longer declared: its tasks are being stopped, after which it is forgotten.
    pub removed: bool,
}

impl WorkloadRecord {
    /// The revision that holds the declaration as it was last seen.
    pub const fn declared_revision(&self) -> u32 {
        if self.declared_revision == 0 {
            self.revision
        } else {
            self.declared_revision
        }
    }
}

/// A revision of a workload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RevisionRecord {
    /// Whose.
    pub workload: WorkloadName,
    /// Its number, from 1.
    pub number: u32,
    /// When it came to be.
    pub created_at: Timestamp,
    /// What its tasks are made of.
    pub template: Arc<Template>,
}

/// What is remembered of an instance beyond its live tasks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceRecord {
    /// Whose.
    pub workload: WorkloadName,
    /// Its number, from 1.
    pub number: u32,
    /// Failures since the last stable run.
    pub failures: u32,
    /// Not to be launched before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// Its last tasks, newest first; at most [`HISTORY_LENGTH`].
    pub history: Vec<EndedTask>,
}

/// How many ended tasks of an instance are remembered.
pub const HISTORY_LENGTH: usize = 5;

/// A live task, or the intent of one: written before the ACCEPT leaves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskRecord {
    /// Its id.
    pub id: TaskId,
    /// Whose.
    pub workload: WorkloadName,
    /// Which instance.
    pub number: u32,
    /// Which run.
    pub uuid: Uuid,
    /// Which revision.
    pub revision: u32,
    /// Where.
    pub agent: Arc<AgentAddress>,
    /// Its host ports.
    #[serde(default, skip_serializing_if = "SmallVec::is_empty")]
    pub ports: SmallVec<[u16; 4]>,
    /// State when last written; the steps before RUNNING are not written each.
    pub state: TaskState,
    /// What is to become of it.
    pub goal: Goal,
    /// When the intent was recorded.
    pub launched_at: Timestamp,
    /// When the first status update came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it was first seen running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running_at: Option<Timestamp>,
}

impl TaskRecord {
    /// The framework whose task this is by its id; `None` when the id is not the one of a task of this
    /// instance and run.
    pub fn framework(&self) -> Option<&str> {
        let place = TaskId::from_parts("", &self.workload.in_task_ids(), self.number, self.uuid);
        self.id.as_str().strip_suffix(place.as_str())
    }
}

/// Number of a deployment, from 1, never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeploymentId(pub u64);

impl fmt::Display for DeploymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The movement of services to another state. Durable; always ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    /// Its number.
    pub id: DeploymentId,
    /// What it does.
    pub kind: DeploymentKind,
    /// How far it is.
    pub status: DeploymentStatus,
    /// When it began.
    pub started_at: Timestamp,
    /// How many instances it has to move in all.
    pub total: u32,
    /// How many it has moved.
    pub done: u32,
    /// How often it was taken up without moving an instance; absent before the first time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumed: Option<Resumed>,
}

/// How often a deployment was taken up, by a new leader, in a new subscription or after a brake, since
/// it last moved an instance. Every time what it waits for has all its time anew: there must be an end
/// to that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resumed {
    /// How often.
    pub times: u32,
    /// Since when.
    pub since: Timestamp,
}

/// What a deployment does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum DeploymentKind {
    /// Replace every task launched before `launched_before`, the youngest first, one at a time.
    RollingRestart {
        /// Of one workload, or of all.
        workload: Option<WorkloadName>,
        /// Tasks launched at or after this moment are left alone.
        launched_before: Timestamp,
    },
    /// Move the tasks of a workload to another revision, within the limits of its
    /// [`UpdatePolicy`].
    Update {
        /// Whose.
        workload: WorkloadName,
        /// The revision they run as, and return to in a rollback.
        from: u32,
        /// The revision they are to run as.
        to: u32,
    },
}

impl DeploymentKind {
    /// The one workload it moves; `None` when it moves all.
    pub const fn workload(&self) -> Option<&WorkloadName> {
        match self {
            Self::RollingRestart { workload, .. } => workload.as_ref(),
            Self::Update { workload, .. } => Some(workload),
        }
    }
}

/// How far a deployment is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "status")]
pub enum DeploymentStatus {
    /// At work.
    Running,
    /// Waiting for an operator.
    Paused {
        /// Since when.
        at: Timestamp,
        /// Why: as a clause, or in an operator's words; absent when one gave none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// Moving back what was moved.
    RollingBack {
        /// Since when.
        at: Timestamp,
        /// Why: as a clause, or in an operator's words; absent when one gave none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// All that was moved is moved back.
    RolledBack {
        /// When.
        at: Timestamp,
        /// Why: as a clause, or in an operator's words; absent when one gave none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// All is moved.
    Done {
        /// When.
        at: Timestamp,
    },
    /// Given up; what was moved stays moved.
    Failed {
        /// When.
        at: Timestamp,
        /// Why, as a clause.
        reason: String,
    },
    /// Ended by an operator, or by what came after it; what was moved stays moved.
    Aborted {
        /// When.
        at: Timestamp,
        /// Why: as a clause, or in an operator's words; absent when one gave none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
}

impl DeploymentStatus {
    /// Whether it has ended.
    pub const fn is_over(&self) -> bool {
        matches!(
            self,
            Self::Done { .. }
                | Self::Failed { .. }
                | Self::Aborted { .. }
                | Self::RolledBack { .. }
        )
    }
}

/// The disaster brake: while it is on, nothing is stopped or started again automatically.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Brake {
    /// Since when.
    pub since: Timestamp,
    /// How many tasks were lost or turned unhealthy within the window.
    pub troubled: u32,
    /// Of how many that were well; 0 when the record of the brake could not be read.
    pub of: u32,
}

impl Brake {
    /// Why it is on, as a clause.
    pub fn reason(&self) -> String {
        if self.of == 0 {
            return "its record could not be read".to_owned();
        }
        format!("{} of {} tasks failed at once", self.troubled, self.of)
    }
}

/// An operator's action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Position in the sequence of all actions, from 1.
    pub sequence: u64,
    /// When.
    pub at: Timestamp,
    /// Who, and from where.
    pub actor: Actor,
    /// What was asked, as a clause: `scale web`.
    pub action: String,
    /// What was, if it makes sense.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// What is now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// Who asked for something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// User, token name, or `anonymous`.
    pub name: String,
    /// Address it came from.
    pub address: String,
    /// Reason given, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A value that a module keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleValue {
    /// The module's name; see [`MODULE_NAME_BYTES_MAX`].
    pub module: Arc<str>,
    /// The module's own key; see [`MODULE_KEY_BYTES_MAX`].
    pub key: Arc<str>,
    /// The value; see [`MODULE_VALUE_BYTES_MAX`].
    pub value: Arc<str>,
}

/// Longest name of a module that may keep values, in bytes.
pub const MODULE_NAME_BYTES_MAX: usize = 64;

/// Longest key of a module's value, in bytes.
pub const MODULE_KEY_BYTES_MAX: usize = 128;

/// Longest value of a module, in bytes.
pub const MODULE_VALUE_BYTES_MAX: usize = 16 * 1024;

/// Most values that one module may keep.
pub const MODULE_VALUES_MAX: usize = 200;

/// Most modules that may keep values.
pub const MODULES_MAX: usize = 64;

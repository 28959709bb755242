//! What an operator declares: services and the template of their tasks.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{Demand, WorkloadName};

/// A service as declared: keep `instances` copies of `template` alive.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceSpec {
    /// Its name, unique among workloads, also in the form it takes in task ids.
    pub name: WorkloadName,
    /// How many instances the declaration asks for. An operator may scale away from it; the
    /// declaration takes over again when it changes itself.
    pub instances: u32,
    /// Smaller starts first: instances of a worse priority wait until all of better priority
    /// have been launched.
    pub priority: i32,
    /// Workloads of worse priority also wait until the instances of this one are healthy
    /// (running, when there is no health check).
    pub wait_healthy: bool,
    /// Whether the count may be changed by an operator.
    pub allow_scaling: bool,
    /// How long to wait before a task that ended is started again.
    pub back_off: BackOff,
    /// How its tasks are moved to a changed template.
    pub update: UpdatePolicy,
    /// What a task is.
    pub template: Template,
}

/// How the tasks of a service are moved to another revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdatePolicy {
    /// Most instances that are being moved at once; 0 counts as 1.
    pub parallelism: u32,
    /// Which goes first. Where two tasks of an instance cannot live side by side (fixed ports,
    /// one task an agent) the old one always does.
    pub order: UpdateOrder,
    /// So many instances stay ready: a ready task is stopped, or replaced, only while more are.
    /// Without it, so many as are left when `parallelism` instances are being moved. One less than
    /// all counts as the most there can be when the old task goes first, as nothing could move.
    pub min_healthy: Option<Share>,
    /// Most tasks beyond the count while new ones start first; `parallelism` when absent, and 0
    /// counts as 1.
    pub max_over: Option<Share>,
    /// An instance that is not ready so long after its move began has failed, and so has an
    /// update in which nothing has moved for so long.
    pub deadline: Duration,
    /// What happens then.
    pub on_failure: OnFailure,
    /// A new task must have been running for so long before it counts as ready.
    pub monitor: Duration,
}

impl Default for UpdatePolicy {
    fn default() -> Self {
        Self {
            parallelism: 1,
            order: UpdateOrder::StartFirst,
            min_healthy: None,
            max_over: None,
            deadline: Duration::from_secs(600),
            on_failure: OnFailure::Rollback,
            monitor: Duration::from_secs(5),
        }
    }
}

impl UpdatePolicy {
    /// How many instances of `desired` are moved at once. `stop_first`: whether the old task goes
    /// before the new one is launched, by [`UpdatePolicy::order`] or because the two can never be
    /// side by side.
    pub fn at_once(&self, desired: u32, stop_first: bool) -> u32 {
        let parallelism = self.parallelism.max(1);
        match self.max_over {
            Some(over) if !stop_first => parallelism.min(over.of(desired).max(1)),
            _ => parallelism,
        }
    }

    /// How many instances of `desired` stay ready while others are moved. At least one can always
    /// be moved.
    pub fn stay_ready(&self, desired: u32, stop_first: bool) -> u32 {
        let least = self.min_healthy.map_or_else(
            || desired.saturating_sub(self.parallelism.max(1)),
            |share| share.of(desired).min(desired),
        );
        if stop_first {
            least.min(desired.saturating_sub(1))
        } else {
            least
        }
    }
}

/// Which task of an instance goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UpdateOrder {
    /// The new one starts; when it is ready the old one is stopped.
    StartFirst,
    /// The old one is stopped; when it has ended the new one starts.
    StopFirst,
}

/// What happens when an update fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// It waits for an operator. What has to be started anew meanwhile is started as before.
    Pause,
    /// What was moved is moved back.
    Rollback,
}

/// A part of the instances of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Share {
    /// So many.
    Count(u32),
    /// So many of a hundred; 0 to 100.
    Percent(u8),
}

impl Share {
    /// How many of `all` these are, rounded up.
    pub fn of(self, all: u32) -> u32 {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => {
                let share = (u64::from(all) * u64::from(percent)).div_ceil(100);
                u32::try_from(share).unwrap_or(u32::MAX)
            }
        }
    }
}

/// Delay before a failed instance is launched again: `initial * factor^(failures-1)`, at most `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackOff {
    /// Delay after the first failure.
    pub initial: Duration,
    /// Growth per failure in thousandths, at least 1000.
    pub factor_thousandths: u32,
    /// The longest delay.
    pub max: Duration,
    /// A run of this length counts as stable: the next failure is the first again.
    pub stable_after: Duration,
}

impl Default for BackOff {
    fn default() -> Self {
        Self {
            initial: Duration::from_secs(1),
            factor_thousandths: 2000,
            max: Duration::from_secs(300),
            stable_after: Duration::from_secs(60),
        }
    }
}

/// What every task of a revision is made of. Immutable: a change makes a new revision.
///
/// Two templates are equal when they would start the same tasks; values of secrets are compared by
/// fingerprint, because a stored template does not hold them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Template {
    /// What each task needs.
    pub demand: Demand,
    /// Where tasks may go.
    #[serde(default)]
    pub placement: Placement,
    /// What is run.
    pub command: TaskCommand,
    /// In what container.
    pub container: Container,
    /// The user's environment variables, in order. `PORT0`…, `HOST` are added at launch.
    #[serde(default)]
    pub environment: Vec<EnvironmentVariable>,
    /// Files to fetch into the sandbox before the start.
    #[serde(default)]
    pub uris: Vec<Uri>,
    /// Labels of the Mesos task.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Unix user; the framework's when absent.
    #[serde(default)]
    pub user: Option<String>,
    /// Health check done by Mesos on the agent.
    #[serde(default)]
    pub health_check: Option<HealthCheck>,
    /// Time between SIGTERM and SIGKILL; the executor's default (3 s) when absent.
    #[serde(default)]
    pub kill_grace: Option<Duration>,
}

impl Template {
    /// The first environment variable whose value is a secret that is not known.
    pub fn missing_secret(&self) -> Option<&str> {
        self.environment
            .iter()
            .find(|variable| {
                matches!(&variable.value, EnvironmentValue::Secret(secret) if secret.reveal().is_none())
            })
            .map(|variable| variable.name.as_str())
    }

    /// As a store gives it back: secrets without their values.
    pub fn forget_secrets(&mut self) {
        for variable in &mut self.environment {
            if let EnvironmentValue::Secret(secret) = &mut variable.value {
                secret.value = None;
            }
        }
    }

    /// Takes over the values of equal secrets from another template, as a stored one has none.
    pub fn learn_secrets(&mut self, from: &Self) {
        for variable in &mut self.environment {
            let known = from.environment.iter().find(|other| *other == variable);
            if let Some(known) = known {
                variable.clone_from(known);
            }
        }
    }
}

/// What a task runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskCommand {
    /// `/bin/sh -c <text>`
    Shell(String),
    /// The image's entry point, or `arguments[0]` without an image, with these arguments;
    /// none means the image's own.
    Arguments(Vec<String>),
}

/// Where a task may go, beyond what it needs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Placement {
    /// Never on the scheduler's own host (`TASK#_NOCOLOCATION`).
    #[serde(default)]
    pub avoid_scheduler_host: bool,
    /// At most one live task of the workload on an agent (`TASK#_UNIQUE_HOSTS`).
    #[serde(default)]
    pub unique_hosts: bool,
    /// Constraints, all of which must hold.
    #[serde(default)]
    pub constraints: Vec<Constraint>,
}

/// A rule on one field of the agent, with Marathon's operators.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Constraint {
    /// `hostname`, or the name of an agent attribute.
    pub field: String,
    /// The rule.
    pub operator: Operator,
}

/// Marathon's constraint operators. A missing field satisfies only [`Operator::Unlike`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "operator", content = "value")]
pub enum Operator {
    /// Every task on another value.
    Unique,
    /// All tasks on this value, or, without one, on the value of the first.
    Cluster(Option<String>),
    /// Spread evenly over the values, of which there are at least this many.
    GroupBy(u32),
    /// The value matches the expression from end to end.
    Like(Pattern),
    /// The value does not match, or there is none.
    Unlike(Pattern),
    /// At most this many tasks on one value.
    MaxPer(u32),
    /// The value is exactly this.
    Is(String),
}

/// A regular expression that must match from end to end.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: String,
    regex: regex::Regex,
}

impl Pattern {
    /// Compiles the expression.
    ///
    /// # Errors
    /// The expression is malformed, or compiles to more than 1 MiB.
    pub fn new(text: &str) -> Result<Self, regex::Error> {
        let regex = regex::RegexBuilder::new(&format!("^(?:{text})$"))
            .size_limit(1 << 20)
            .build()?;
        Ok(Self {
            text: text.to_owned(),
            regex,
        })
    }

    /// The expression as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether `value` matches from end to end.
    pub fn matches(&self, value: &str) -> bool {
        self.regex.is_match(value)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Serialize for Pattern {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::new(&text).map_err(serde::de::Error::custom)
    }
}

/// The container of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum Container {
    /// None: the command runs in the agent's own file system, isolated as the agent is set up.
    None,
    /// The Docker containerizer.
    Docker {
        /// The image.
        image: String,
        /// Its network.
        network: Network,
        /// Run with all privileges.
        privileged: bool,
        /// Pull even when the agent has the image.
        force_pull: bool,
        /// Parameters for `docker run`, as `--key=value`.
        parameters: Vec<Parameter>,
        /// Volumes.
        volumes: Vec<Volume>,
    },
    /// The Mesos containerizer.
    Mesos {
        /// A Docker image; the agent's own file system when absent.
        image: Option<String>,
        /// Its network.
        network: Network,
        /// Pull even when the agent has the image.
        force_pull: bool,
        /// Volumes.
        volumes: Vec<Volume>,
    },
}

/// The network of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "mode")]
pub enum Network {
    /// The host's.
    #[default]
    Host,
    /// Docker's bridge, with host ports mapped to container ports.
    Bridge {
        /// Mappings; the n-th belongs to the n-th host port of the task.
        port_mappings: Vec<PortMapping>,
    },
    /// A named CNI network, or Docker user network.
    Named {
        /// Its name.
        name: String,
        /// Mappings; the n-th belongs to the n-th host port of the task.
        port_mappings: Vec<PortMapping>,
    },
}

/// A port of the container that the host port of the same index leads to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortMapping {
    /// Port in the container; 0 means the same number as the host port.
    pub container_port: u16,
    /// `tcp` or `udp`.
    pub protocol: String,
}

/// A parameter of `docker run`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameter {
    /// The option's name without dashes.
    pub key: String,
    /// Its value.
    pub value: String,
}

/// A directory of the host made visible in the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Path in the container.
    pub container_path: String,
    /// Path on the host; relative means inside the sandbox.
    pub host_path: String,
    /// Whether the task may not write.
    pub read_only: bool,
}

/// A file for the Mesos fetcher.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uri {
    /// Where to fetch it.
    pub value: String,
    /// Set the executable bit.
    #[serde(default)]
    pub executable: Option<bool>,
    /// Unpack archives; Mesos does unless told otherwise.
    #[serde(default)]
    pub extract: Option<bool>,
    /// Keep it in the agent's cache.
    #[serde(default)]
    pub cache: Option<bool>,
    /// Name in the sandbox.
    #[serde(default)]
    pub output_file: Option<String>,
}

/// An environment variable of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvironmentVariable {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: EnvironmentValue,
}

/// A value that may be shown, or one that may not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EnvironmentValue {
    /// May be shown.
    Plain(String),
    /// Never shown nor stored.
    Secret(Secret),
}

/// A value that is never shown nor stored: a stored template keeps only a short fingerprint, by
/// which a change is noticed, and gets the value again from the declaration.
#[derive(Clone, Serialize, Deserialize)]
pub struct Secret {
    fingerprint: u32,
    #[serde(skip)]
    value: Option<Box<str>>,
}

impl Secret {
    /// A secret with its value. The fingerprint should be a salted hash cut to 32 bits: enough to
    /// notice a change, too little to confirm a guess.
    pub fn new(value: impl Into<Box<str>>, fingerprint: u32) -> Self {
        Self {
            fingerprint,
            value: Some(value.into()),
        }
    }

    /// The value, for the launch call alone. `None` in a template that came from the store.
    pub fn reveal(&self) -> Option<&str> {
        self.value.as_deref()
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(****)")
    }
}

/// A health check that Mesos performs on the agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// What is checked.
    pub probe: Probe,
    /// Wait before the first check.
    pub delay: Duration,
    /// Between checks.
    pub interval: Duration,
    /// How long one may take.
    pub timeout: Duration,
    /// Failures after which the task is killed.
    pub consecutive_failures: u32,
    /// Failures within this time of the start do not count.
    pub grace_period: Duration,
}

/// What a health check asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum Probe {
    /// GET answers 200 to 399.
    Http {
        /// `http` or `https`.
        scheme: String,
        /// Path, from `/`.
        path: String,
        /// Which port.
        port: CheckedPort,
    },
    /// A connection is accepted.
    Tcp {
        /// Which port.
        port: CheckedPort,
    },
    /// A shell command ends with 0.
    Command {
        /// The command.
        command: String,
    },
}

/// The port that a check goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckedPort {
    /// The host port of this index among the task's ports (the boilerplate's meaning).
    Index(u16),
    /// This very port.
    Number(u16),
}

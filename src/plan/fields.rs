//! Two declarations of one service compared field by field.
//!
//! Fields are called as their variables, in lower case: `image` is `TASK#_IMAGE`, `env.COLOUR` is
//! `COLOUR` of its environment.

use std::{collections::BTreeMap, fmt, time::Duration};

use gantry_core::{
    BackOff, CheckedPort, Constraint, Container, Declared, DeclaredSettings, Demand,
    EnvironmentValue, HealthCheck, Network, OnFailure, Operator, Placement, PortMapping, Probe,
    Share, TaskCommand, Template, UpdateOrder, UpdatePolicy, Uri, Volume,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::ToSchema;

use crate::{
    config::duration_in_words,
    http::mask::{self, MASK},
};

/// Longest value in a text for people, in characters; in JSON values are whole.
const VALUE_MAX: usize = 200;

/// Characters that are shown before the first difference of two long values.
const CONTEXT: usize = 50;

/// A field that is another than before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldChange {
    /// Its name.
    pub path: String,
    /// What it was; `None` when it was not set.
    #[schema(value_type = Option<String>)]
    pub before: Option<Shown>,
    /// What it becomes; `None` when it is no longer set.
    #[schema(value_type = Option<String>)]
    pub after: Option<Shown>,
}

/// A value fit to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// As it is, but for what is masked within it.
    Text(String),
    /// Never shown; only that it is another.
    Secret,
}

impl Shown {
    fn as_str(&self) -> &str {
        match self {
            Self::Secret => MASK,
            Self::Text(text) => text,
        }
    }

    /// Where a text for people begins, in characters, so that the first difference from `other` is
    /// in it.
    fn begin(&self, other: &Self) -> usize {
        let pairs = self.as_str().chars().zip(other.as_str().chars());
        let same = pairs.take_while(|(one, other)| one == other).count();
        if same + CONTEXT <= VALUE_MAX {
            return 0;
        }
        same - CONTEXT
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, begin: usize) -> fmt::Result {
        let text = self.as_str();
        // One line, whatever is in it.
        let mut cut = String::new();
        if begin > 0 {
            cut.push('…');
        }
        let mut rest = text.chars().skip(begin);
        cut.extend(rest.by_ref().take(VALUE_MAX));
        if rest.next().is_some() {
            cut.push('…');
        }
        let plain = !cut.is_empty() && !cut.contains(|c: char| c.is_control() || c.is_whitespace());
        if plain {
            f.write_str(&cut)
        } else {
            write!(f, "{cut:?}")
        }
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, 0)
    }
}

/// `a -> b`. Of long values what is around their first difference.
pub(super) struct Change<'a>(pub(super) &'a Shown, pub(super) &'a Shown);

impl fmt::Display for Change<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(before, after) = self;
        let begin = before.begin(after);
        before.write(f, begin)?;
        f.write_str(" -> ")?;
        after.write(f, begin)
    }
}

impl Serialize for Shown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Shown {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(if text == MASK {
            Self::Secret
        } else {
            Self::Text(text)
        })
    }
}

/// A value as it is compared, and as it is shown.
#[derive(Clone, Debug)]
struct Field {
    exact: String,
    shown: Shown,
}

/// Fields in the order in which they are told.
#[derive(Default)]
struct Fields(Vec<(String, Field)>);

impl Fields {
    fn text(&mut self, path: impl Into<String>, text: impl fmt::Display) {
        let text = text.to_string();
        self.masked(path, text.clone(), text);
    }

    fn masked(&mut self, path: impl Into<String>, exact: String, shown: String) {
        let shown = Shown::Text(shown);
        self.0.push((path.into(), Field { exact, shown }));
    }

    fn list<T: fmt::Display>(&mut self, path: &str, items: impl IntoIterator<Item = T>) {
        let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
        if !items.is_empty() {
            self.text(path, items.join(", "));
        }
    }

    fn duration(&mut self, path: &str, duration: Duration) {
        self.text(path, duration_in_words(duration));
    }
}

/// What is different about a service. Without `before`, all that is set.
pub(super) fn changes(before: Option<&Declared>, after: &Declared) -> Vec<FieldChange> {
    let templates = (
        before.and_then(|before| before.template.as_deref()),
        after.template.as_deref(),
    );
    let mut old = Fields::default();
    let mut new = Fields::default();
    if let Some(before) = before {
        service(&mut old, before);
    }
    service(&mut new, after);
    if let Some(before) = templates.0 {
        template(&mut old, before);
    }
    if let Some(after) = templates.1 {
        template(&mut new, after);
    }
    let mut changes = compare(old, new);
    if let (Some(old), Some(new)) = templates {
        order_of_environment(&mut changes, old, new);
    }
    changes
}

/// What is different about what tasks are made of.
pub(crate) fn template_changes(before: &Template, after: &Template) -> Vec<FieldChange> {
    let mut old = Fields::default();
    let mut new = Fields::default();
    template(&mut old, before);
    template(&mut new, after);
    let mut changes = compare(old, new);
    order_of_environment(&mut changes, before, after);
    changes
}

/// The same variables in another order are another environment, which no field tells.
fn order_of_environment(changes: &mut Vec<FieldChange>, old: &Template, new: &Template) {
    if old.environment != new.environment
        && !changes.iter().any(|change| change.path.starts_with("env."))
    {
        let names = |template: &Template| {
            let names = template.environment.iter();
            let names: Vec<_> = names.map(|variable| variable.name.as_str()).collect();
            Some(Shown::Text(names.join(", ")))
        };
        changes.push(FieldChange {
            path: "order of env".to_owned(),
            before: names(old),
            after: names(new),
        });
    }
}

fn compare(old: Fields, new: Fields) -> Vec<FieldChange> {
    let mut before: BTreeMap<String, Field> = old.0.iter().cloned().collect();
    let mut changes = Vec::new();
    for (path, after) in new.0 {
        match before.remove(&path) {
            Some(before) if before.exact == after.exact => {}
            Some(before) if before.shown == after.shown => changes.push(FieldChange {
                path,
                before: Some(Shown::Secret),
                after: Some(Shown::Secret),
            }),
            before => changes.push(FieldChange {
                path,
                before: before.map(|before| before.shown),
                after: Some(after.shown),
            }),
        }
    }
    // What is left is no longer set; in the order of the old.
    for (path, field) in old.0 {
        if before.contains_key(&path) {
            changes.push(FieldChange {
                path,
                before: Some(field.shown),
                after: None,
            });
        }
    }
    changes
}

fn service(fields: &mut Fields, declared: &Declared) {
    let Declared {
        revision: _,
        template: _,
        declared,
        // Another only when an operator has scaled: told beside the fields.
        desired: _,
        settings,
    } = declared;
    let DeclaredSettings {
        priority,
        wait_healthy,
        allow_scaling,
        back_off,
        update,
    } = settings;
    fields.text("num_instances", declared);
    fields.text("priority", priority);
    fields.text("wait_healthy", wait_healthy);
    fields.text("allow_scaling", allow_scaling);
    let BackOff {
        initial,
        factor_thousandths,
        max,
        stable_after,
    } = back_off;
    fields.duration("backoff", *initial);
    fields.text("backoff_factor", f64::from(*factor_thousandths) / 1000.0);
    fields.duration("backoff_max", *max);
    fields.duration("stable_after", *stable_after);
    let UpdatePolicy {
        parallelism,
        order,
        min_healthy,
        max_over,
        deadline,
        on_failure,
        monitor,
    } = update;
    fields.text("update_parallelism", parallelism);
    fields.text(
        "update_order",
        match order {
            UpdateOrder::StartFirst => "start-first",
            UpdateOrder::StopFirst => "stop-first",
        },
    );
    for (path, share) in [
        ("update_min_healthy", min_healthy),
        ("update_max_over", max_over),
    ] {
        match share {
            Some(Share::Count(count)) => fields.text(path, count),
            Some(Share::Percent(percent)) => fields.text(path, format_args!("{percent}%")),
            None => {}
        }
    }
    fields.duration("update_deadline", *deadline);
    fields.text(
        "update_on_failure",
        match on_failure {
            OnFailure::Rollback => "rollback",
            OnFailure::Pause => "pause",
        },
    );
    fields.duration("update_monitor", *monitor);
}

fn template(fields: &mut Fields, template: &Template) {
    let Template {
        demand,
        placement,
        command,
        container,
        environment,
        uris,
        labels,
        user,
        health_check,
        kill_grace,
    } = template;
    self::container(fields, container);
    match command {
        TaskCommand::Shell(line) => fields.text("cmd", line),
        TaskCommand::Arguments(arguments) if arguments.is_empty() => {}
        TaskCommand::Arguments(arguments) => fields.text("args", format_args!("{arguments:?}")),
    }
    self::demand(fields, demand);
    self::placement(fields, placement);
    for variable in environment {
        let path = format!("env.{}", variable.name);
        match &variable.value {
            EnvironmentValue::Plain(value) => fields.text(path, value),
            EnvironmentValue::Secret(secret) => {
                // The fingerprint, which is all that is ever written of it.
                let exact = serde_json::to_string(secret).unwrap_or_default();
                let shown = Shown::Secret;
                fields.0.push((path, Field { exact, shown }));
            }
        }
    }
    if !uris.is_empty() {
        let exact: Vec<_> = uris.iter().map(|one| uri(one, &one.value)).collect();
        let shown: Vec<_> = uris
            .iter()
            .map(|one| uri(one, &mask::uri(&one.value)))
            .collect();
        fields.masked("uris", exact.join(", "), shown.join(", "));
    }
    for (name, value) in labels {
        fields.text(format!("labels.{name}"), value);
    }
    if let Some(user) = user {
        fields.text("user", user);
    }
    if let Some(check) = health_check {
        self::health_check(fields, check);
    }
    if let Some(grace) = kill_grace {
        fields.duration("kill_grace", *grace);
    }
}

fn demand(fields: &mut Fields, demand: &Demand) {
    let Demand {
        cpus,
        mem,
        disk,
        gpus,
        fixed_ports,
        dynamic_ports: _,
    } = demand;
    fields.text("cpus", cpus);
    fields.text("mem", format_args!("{mem} MB"));
    if !disk.is_zero() {
        fields.text("disk", format_args!("{disk} MB"));
    }
    if !gpus.is_zero() {
        fields.text("gpus", gpus);
    }
    if demand.port_count() > 0 {
        fields.text("port_num", demand.port_count());
    }
    fields.list("fixed_ports", fixed_ports);
}

fn placement(fields: &mut Fields, placement: &Placement) {
    let Placement {
        avoid_scheduler_host,
        unique_hosts,
        constraints,
    } = placement;
    if *avoid_scheduler_host {
        fields.text("nocolocation", true);
    }
    if *unique_hosts {
        fields.text("unique_hosts", true);
    }
    fields.list("constraints", constraints.iter().map(constraint));
}

fn constraint(constraint: &Constraint) -> String {
    let Constraint { field, operator } = constraint;
    match operator {
        Operator::Unique => format!("{field} UNIQUE"),
        Operator::Cluster(None) => format!("{field} CLUSTER"),
        Operator::Cluster(Some(value)) => format!("{field} CLUSTER {value}"),
        Operator::GroupBy(number) => format!("{field} GROUP_BY {number}"),
        Operator::Like(pattern) => format!("{field} LIKE {}", pattern.as_str()),
        Operator::Unlike(pattern) => format!("{field} UNLIKE {}", pattern.as_str()),
        Operator::MaxPer(number) => format!("{field} MAX_PER {number}"),
        Operator::Is(value) => format!("{field} IS {value}"),
    }
}

fn container(fields: &mut Fields, container: &Container) {
    match container {
        Container::None => {}
        Container::Docker {
            image,
            network,
            privileged,
            force_pull,
            parameters,
            volumes,
        } => {
            fields.text("image", image);
            fields.text("containerizer", "docker");
            fields.text("force_pull", force_pull);
            self::network(fields, network);
            if *privileged {
                fields.text("container_privileged", true);
            }
            if !parameters.is_empty() {
                let exact: Vec<_> = parameters
                    .iter()
                    .map(|one| format!("{}={}", one.key, one.value))
                    .collect();
                let shown: Vec<_> = parameters
                    .iter()
                    .map(|one| format!("{}={}", one.key, mask::parameter(&one.key, &one.value)))
                    .collect();
                fields.masked("container_params", exact.join(", "), shown.join(", "));
            }
            fields.list("volumes", volumes.iter().map(volume));
        }
        Container::Mesos {
            image,
            network,
            force_pull,
            volumes,
        } => {
            if let Some(image) = image {
                fields.text("image", image);
            }
            fields.text("containerizer", "mesos");
            fields.text("force_pull", force_pull);
            self::network(fields, network);
            fields.list("volumes", volumes.iter().map(volume));
        }
    }
}

fn network(fields: &mut Fields, network: &Network) {
    let (mode, mappings) = match network {
        Network::Host => ("HOST", &[][..]),
        Network::Bridge { port_mappings } => ("BRIDGE", &port_mappings[..]),
        Network::Named {
            name,
            port_mappings,
        } => (name.as_str(), &port_mappings[..]),
    };
    fields.text("network", mode);
    fields.list(
        "port_mappings",
        mappings.iter().map(|mapping: &PortMapping| {
            format!("{}/{}", mapping.container_port, mapping.protocol)
        }),
    );
}

fn volume(volume: &Volume) -> String {
    let Volume {
        container_path,
        host_path,
        read_only,
    } = volume;
    let mode = if *read_only { "ro" } else { "rw" };
    format!("{host_path}:{container_path}:{mode}")
}

fn uri(uri: &Uri, value: &str) -> String {
    let Uri {
        value: _,
        executable,
        extract,
        cache,
        output_file,
    } = uri;
    let mut text = value.to_owned();
    for (name, flag) in [
        ("executable", executable),
        ("extract", extract),
        ("cache", cache),
    ] {
        if let Some(flag) = flag {
            text.push_str(&format!(" {name}={flag}"));
        }
    }
    if let Some(file) = output_file {
        text.push_str(&format!(" as {file}"));
    }
    text
}

fn health_check(fields: &mut Fields, check: &HealthCheck) {
    let HealthCheck {
        probe,
        delay,
        interval,
        timeout,
        consecutive_failures,
        grace_period,
    } = check;
    let checked = |port: &CheckedPort| match port {
        CheckedPort::Index(index) => format!("PORT{index}"),
        CheckedPort::Number(number) => format!("port {number}"),
    };
    match probe {
        Probe::Http { scheme, path, port } => {
            fields.text(
                "healthcheck",
                format_args!("{path} ({scheme}, {})", checked(port)),
            );
        }
        Probe::Tcp { port } => fields.text("healthcheck_tcp", checked(port)),
        Probe::Command { command } => fields.text("healthcheck_cmd", command),
    }
    fields.duration("healthcheck_delay", *delay);
    fields.duration("healthcheck_interval", *interval);
    fields.duration("healthcheck_timeout", *timeout);
    fields.text("healthcheck_failures", consecutive_failures);
    fields.duration("healthcheck_grace", *grace_period);
}

//! One task definition: reads its variables, then checks what they say together.

mod container;
mod environment;
mod health;
mod update;

pub(crate) use update::not_side_by_side;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use gantry_core::{
    BackOff, Demand, Placement, Record, RevisionRecord, ServiceSpec, TaskCommand, Template,
    Timestamp, WorkloadName,
};
use gantry_store::{StoreError, codec};

use super::{
    Declaration,
    reader::{Reader, full_name},
    table::task::*,
};

/// Longest task id that Mesos takes (`src/common/validation.cpp`).
const TASK_ID_MAX: usize = 255;
/// What a task id has besides the names: two dots, a hyphen, seven digits and a UUID.
const TASK_ID_REST: usize = 2 + 1 + 7 + 36;

/// What a definition needs to know of its surroundings.
pub(super) struct Surroundings<'a> {
    /// The framework's name as it stands in task ids.
    pub(super) framework: &'a str,
    /// `GLOBAL_ENV`.
    pub(super) environment: &'a [(String, String)],
    /// `INSTANCES_MAX`.
    pub(super) instances_max: u32,
}

/// One definition as far as it could be read.
pub(super) struct Definition {
    pub(super) index: u32,
    /// Its name, also when something else is wrong.
    pub(super) name: Option<WorkloadName>,
    /// All of it; `None` when an error was reported.
    pub(super) service: Option<(ServiceSpec, Declaration)>,
}

/// Reads the definition of this index.
pub(super) fn read(
    reader: &mut Reader<'_>,
    index: u32,
    surroundings: &Surroundings<'_>,
) -> Definition {
    let name = reader.task(index, &NAME);
    let service = service(reader, index, name.clone(), surroundings);
    Definition {
        index,
        name,
        service,
    }
}

fn service(
    reader: &mut Reader<'_>,
    index: u32,
    name: Option<WorkloadName>,
    surroundings: &Surroundings<'_>,
) -> Option<(ServiceSpec, Declaration)> {
    let instances = reader.task(index, &NUM_INSTANCES);
    let cpus = reader.task(index, &CPUS);
    let mem = reader.task(index, &MEM);
    let image = reader.task(index, &IMAGE);
    let command = command(reader, index);
    let ports = ports(reader, index);
    let disk = reader.task(index, &DISK);
    let gpus = reader.task(index, &GPUS);
    let uri = reader.task(index, &URI);
    let uris = reader.task(index, &URIS);
    let labels = reader.task(index, &LABELS);
    let user = reader.task(index, &USER);
    let avoid_scheduler_host = reader.task(index, &NOCOLOCATION);
    let unique_hosts = reader.task(index, &UNIQUE_HOSTS);
    let constraints = reader.task(index, &CONSTRAINTS);
    let priority = reader.task(index, &PRIORITY);
    let wait_healthy = reader.task(index, &WAIT_HEALTHY);
    let allow_scaling = reader.task(index, &ALLOW_SCALING);
    let kill_grace = reader.task(index, &KILL_GRACE);
    let back_off = back_off(reader, index);
    let port_count = ports
        .as_ref()
        .map(|(fixed, dynamic)| fixed.len() + usize::from(*dynamic));
    let container = container::read(reader, index, image, port_count);
    let health_check = health::read(reader, index, port_count);
    let placement = Placement {
        avoid_scheduler_host: avoid_scheduler_host.unwrap_or_default(),
        unique_hosts: unique_hosts.unwrap_or_default(),
        constraints: constraints.unwrap_or_default(),
    };
    let update = update::read(
        reader,
        index,
        &update::Definition {
            instances: instances.as_ref().map(|(count, _)| *count),
            fixed_ports: ports.as_ref().map_or(&[], |(fixed, _)| &fixed[..]),
            placement: &placement,
            health_check: health_check.as_ref(),
        },
    );
    let identity = environment::Identity {
        framework: surroundings.framework,
        task_type: name.as_ref().map_or("", WorkloadName::as_str),
    };
    let environment = environment::read(reader, index, surroundings.environment, &identity);

    if let Some(name) = &name
        && surroundings.framework.len() + name.as_str().len() + TASK_ID_REST > TASK_ID_MAX
    {
        let reason = format!("makes task ids longer than {TASK_ID_MAX} bytes with FRAMEWORK_NAME");
        reader.error(&NAME.about, index, reason, "shorten one of the two names");
    }
    if let Some((count, _)) = &instances
        && *count > surroundings.instances_max
    {
        let reason = format!("is more than INSTANCES_MAX={}", surroundings.instances_max);
        reader.error(
            &NUM_INSTANCES.about,
            index,
            reason,
            "lower it, or raise the other",
        );
    }
    if let (Some(cpus), Some(mem)) = (cpus, mem)
        && cpus.is_zero()
        && mem.is_zero()
    {
        let reason = "is 0, and so is the memory: Mesos refuses a task that needs nothing";
        reader.error(
            &CPUS.about,
            index,
            reason,
            "give it at least one of the two",
        );
    }

    let name = name?;
    let (count, text) = instances?;
    let (fixed_ports, dynamic_ports) = ports?;
    let spec = ServiceSpec {
        name: name.clone(),
        instances: count,
        priority: priority?,
        wait_healthy: wait_healthy?,
        allow_scaling: allow_scaling?,
        back_off: back_off?,
        update: update?,
        template: Template {
            demand: Demand {
                cpus: cpus?,
                mem: mem?,
                disk: disk?,
                gpus: gantry_core::Amount::from_units(u64::from(gpus?)),
                fixed_ports,
                dynamic_ports,
            },
            placement,
            command: command?,
            container: container?,
            environment,
            uris: uri.into_iter().chain(uris.unwrap_or_default()).collect(),
            labels: labels.unwrap_or_default().into_iter().collect(),
            user,
            health_check,
            kill_grace,
        },
    };
    refuse_too_large(reader, index, &spec);
    let declaration = Declaration {
        index,
        name,
        instances: text,
    };
    Some((spec, declaration))
}

/// Reports a definition that no store could keep: every term would end with it.
fn refuse_too_large(reader: &mut Reader<'_>, index: u32, spec: &ServiceSpec) {
    let record = Record::Revision(RevisionRecord {
        workload: spec.name.clone(),
        number: u32::MAX,
        created_at: Timestamp::from_millis(u64::MAX),
        template: Arc::new(spec.template.clone()),
    });
    if let Err(StoreError::TooLarge { bytes, limit, .. }) = codec::encode(&record) {
        reader.error(
            &NAME.about,
            index,
            format!("names a definition of {bytes} bytes, which is more than the limit of {limit}"),
            "shorten its command, environment, labels or URIs; secrets do not count",
        );
    }
}

fn command(reader: &mut Reader<'_>, index: u32) -> Option<TaskCommand> {
    let both = reader.is_set(&CMD.about, index) && reader.is_set(&ARGS.about, index);
    let line = reader.task(index, &CMD);
    let arguments = reader.task(index, &ARGS);
    if both {
        let cmd = full_name(&CMD.about, index);
        let reason = format!("is set beside {cmd}");
        let remedy =
            format!("remove {cmd} to run the image's entry point, or put everything into it");
        reader.error(&ARGS.about, index, reason, remedy);
        return None;
    }
    Some(line.map_or_else(
        || TaskCommand::Arguments(arguments.unwrap_or_default()),
        TaskCommand::Shell,
    ))
}

/// The fixed ports, and how many more.
fn ports(reader: &mut Reader<'_>, index: u32) -> Option<(Vec<u16>, u16)> {
    let count = reader.task(index, &PORT_NUM);
    let fixed = reader.task(index, &FIXED_PORTS);
    let count = count?;
    let fixed = fixed.unwrap_or_default();
    let dynamic = u16::try_from(fixed.len())
        .ok()
        .and_then(|fixed| count.checked_sub(fixed));
    if dynamic.is_none() {
        let number = full_name(&PORT_NUM.about, index);
        reader.error(
            &FIXED_PORTS.about,
            index,
            format!(
                "holds {} while {number} is {count}: static ports must be included in the general port count",
                fixed.len()
            ),
            format!("set {number} to at least {}", fixed.len()),
        );
    }
    Some((fixed, dynamic?))
}

fn back_off(reader: &mut Reader<'_>, index: u32) -> Option<BackOff> {
    let initial = reader.task(index, &BACKOFF);
    let factor_thousandths = reader.task(index, &BACKOFF_FACTOR);
    let max: Option<Duration> = reader.task(index, &BACKOFF_MAX);
    let stable_after = reader.task(index, &STABLE_AFTER);
    if max.is_some() && initial > max {
        let (about, other) = if reader.is_set(&BACKOFF_MAX.about, index) {
            (&BACKOFF_MAX.about, &BACKOFF.about)
        } else {
            (&BACKOFF.about, &BACKOFF_MAX.about)
        };
        let reason = format!(
            "and {} contradict each other: the first time is longer than the longest",
            full_name(other, index)
        );
        reader.error(about, index, reason, "change one of the two");
    }
    Some(BackOff {
        initial: initial?,
        factor_thousandths: factor_thousandths?,
        max: max?,
        stable_after: stable_after?,
    })
}

/// Reports definitions whose names are the same, or become the same in task ids.
pub(super) fn refuse_same_names(reader: &mut Reader<'_>, definitions: &[Definition]) {
    let mut first: BTreeMap<String, u32> = BTreeMap::new();
    for definition in definitions {
        let Some(name) = &definition.name else {
            continue;
        };
        let earlier = *first.entry(name.in_task_ids()).or_insert(definition.index);
        if earlier != definition.index {
            let other = full_name(&NAME.about, earlier);
            reader.error(
                &NAME.about,
                definition.index,
                format!(
                    "is the same as {other}, or becomes the same in task ids, where '/' is '_'"
                ),
                "give each type its own name",
            );
        }
    }
}

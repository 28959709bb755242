//! The container of a task, and what does not go together with it.

use gantry_core::{Container, Network, PortMapping};

use crate::config::{
    parse::{Mode, Runtime},
    reader::{Reader, full_name},
    table::task::*,
};

/// `port_count` is `None` when the ports are in error.
pub(super) fn read(
    reader: &mut Reader<'_>,
    index: u32,
    image: Option<String>,
    port_count: Option<usize>,
) -> Option<Container> {
    let runtime = reader.task(index, &CONTAINERIZER);
    let privileged = reader.task(index, &CONTAINER_PRIVILEGED);
    let parameters = reader.task(index, &CONTAINER_PARAMS).unwrap_or_default();
    let force_pull = reader.task(index, &FORCE_PULL);
    let volumes = reader.task(index, &VOLUMES).unwrap_or_default();
    let network = network(reader, index, port_count);
    let image_name = full_name(&IMAGE.about, index);

    // An image in error is an image all the same.
    let has_image = image.is_some() || reader.is_set(&IMAGE.about, index);
    let kind = match (runtime, has_image) {
        (Some(Runtime::Mesos), _) => Some(Runtime::Mesos),
        (Some(Runtime::Docker) | None, true) => Some(Runtime::Docker),
        (Some(Runtime::Docker), false) => {
            let reason = format!("needs {image_name}");
            reader.error(
                &CONTAINERIZER.about,
                index,
                reason,
                format!("set {image_name}"),
            );
            return None;
        }
        (None, false) => None,
    };

    let mut refuse = |about, reason: &str, remedy: &str| reader.error(about, index, reason, remedy);
    if kind != Some(Runtime::Docker) {
        let reason = "is only for the Docker containerizer";
        let remedy = "remove it, or run an image with it";
        if privileged == Some(true) {
            refuse(&CONTAINER_PRIVILEGED.about, reason, remedy);
        }
        if !parameters.is_empty() {
            refuse(&CONTAINER_PARAMS.about, reason, remedy);
        }
        if matches!(network, Some(Network::Bridge { .. })) {
            let remedy = "name a CNI network, or use HOST";
            refuse(&NETWORK.about, "is BRIDGE, which only Docker has", remedy);
        }
    }
    if kind.is_none() {
        let remedy = "set an image, or the containerizer to mesos";
        if !volumes.is_empty() {
            refuse(&VOLUMES.about, "needs a container", remedy);
        }
        if matches!(network, Some(Network::Named { .. })) {
            refuse(&NETWORK.about, "needs a container", remedy);
        }
    }

    Some(match kind {
        None => Container::None,
        Some(Runtime::Docker) => Container::Docker {
            image: image?,
            network: network?,
            privileged: privileged?,
            force_pull: force_pull?,
            parameters,
            volumes,
        },
        Some(Runtime::Mesos) => Container::Mesos {
            image,
            network: network?,
            force_pull: force_pull?,
            volumes,
        },
    })
}

fn network(reader: &mut Reader<'_>, index: u32, port_count: Option<usize>) -> Option<Network> {
    let mode = reader.task(index, &NETWORK);
    let mappings = reader.task(index, &PORT_MAPPINGS);
    let (mode, port_count) = (mode?, port_count?);
    if let Some(mappings) = &mappings {
        if mode == Mode::Host {
            let reason = "is set, but on the host's network every port is the host's";
            let network = full_name(&NETWORK.about, index);
            let remedy = format!("remove it, or set {network}");
            reader.error(&PORT_MAPPINGS.about, index, reason, remedy);
        } else if mappings.len() > port_count {
            let number = full_name(&PORT_NUM.about, index);
            reader.error(
                &PORT_MAPPINGS.about,
                index,
                format!("holds {} while {number} is {port_count}", mappings.len()),
                format!("set {number} to at least {}", mappings.len()),
            );
        }
    }
    // A port without a mapping keeps its number.
    let mut port_mappings = mappings.unwrap_or_default();
    port_mappings.resize_with(port_count.max(port_mappings.len()), || PortMapping {
        container_port: 0,
        protocol: "tcp".to_owned(),
    });
    Some(match mode {
        Mode::Host => Network::Host,
        Mode::Bridge => Network::Bridge { port_mappings },
        Mode::Named(name) => Network::Named {
            name,
            port_mappings,
        },
    })
}

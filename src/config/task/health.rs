//! The health check of a task.

use gantry_core::{CheckedPort, HealthCheck, Probe};

use crate::config::{
    reader::{Reader, full_name},
    table::{Variable, task::*},
};

/// `port_count` is `None` when the ports are in error.
pub(super) fn read(
    reader: &mut Reader<'_>,
    index: u32,
    port_count: Option<usize>,
) -> Option<HealthCheck> {
    let path = reader.task(index, &HEALTHCHECK);
    let tcp = reader.task(index, &HEALTHCHECK_TCP);
    let command = reader.task(index, &HEALTHCHECK_CMD);
    let scheme = reader.task(index, &HEALTHCHECK_SCHEME);
    let checked = reader.task(index, &HEALTHCHECK_PORT);
    let delay = reader.task(index, &HEALTHCHECK_DELAY);
    let interval = reader.task(index, &HEALTHCHECK_INTERVAL);
    let timeout = reader.task(index, &HEALTHCHECK_TIMEOUT);
    let consecutive_failures = reader.task(index, &HEALTHCHECK_FAILURES);
    let grace_period = reader.task(index, &HEALTHCHECK_GRACE);

    let mut wanted: Vec<&'static Variable> = Vec::new();
    if reader.is_set(&HEALTHCHECK.about, index) {
        wanted.push(&HEALTHCHECK.about);
    }
    if tcp == Some(true) {
        wanted.push(&HEALTHCHECK_TCP.about);
    }
    if reader.is_set(&HEALTHCHECK_CMD.about, index) {
        wanted.push(&HEALTHCHECK_CMD.about);
    }
    let about = match wanted[..] {
        [about] => about,
        [] => {
            without_check(reader, index);
            return None;
        }
        [first, second, ..] => {
            let first = full_name(first, index);
            let reason = format!("is set beside {first}, and a task has one health check");
            reader.error(second, index, reason, "keep one of them");
            return None;
        }
    };
    if path.is_none() && reader.is_set(&HEALTHCHECK_SCHEME.about, index) {
        let reason = "is without effect, as the check is not an HTTP one";
        reader.warning(&HEALTHCHECK_SCHEME.about, index, reason, "remove it");
    }
    let checked = match (checked, port_count) {
        (Some(checked), Some(count)) if command.is_none() => {
            in_range(reader, index, about, checked, count)
        }
        _ => checked,
    };
    let port = || Some(CheckedPort::Index(checked?));
    let probe = match (path, command) {
        (Some(path), _) => Probe::Http {
            scheme: scheme?,
            path,
            port: port()?,
        },
        (None, Some(command)) => Probe::Command { command },
        (None, None) => Probe::Tcp { port: port()? },
    };
    Some(HealthCheck {
        probe,
        delay: delay?,
        interval: interval?,
        timeout: timeout?,
        consecutive_failures: consecutive_failures?,
        grace_period: grace_period?,
    })
}

/// The index that is meant. The original's sample counts from 1, and so may those who began with it;
/// every other number beyond the last port is in error.
fn in_range(
    reader: &mut Reader<'_>,
    index: u32,
    about: &Variable,
    checked: u16,
    count: usize,
) -> Option<u16> {
    let number = full_name(&PORT_NUM.about, index);
    let Some(last) = count.checked_sub(1) else {
        let reason = format!("needs a port to check, and {number} is 0");
        reader.error(about, index, reason, format!("set {number} to at least 1"));
        return None;
    };
    let ports = match count {
        1 => format!("{number} is 1: the only port has index 0"),
        _ => format!("{number} is {count}: the last port has index {last}"),
    };
    if usize::from(checked) == count {
        let reason = format!("counts from 1, and {ports}, which is checked");
        reader.warning(
            &HEALTHCHECK_PORT.about,
            index,
            reason,
            format!("write {last}"),
        );
        return u16::try_from(last).ok();
    }
    if usize::from(checked) > count {
        let reason = format!("is an index that counts from 0, and {ports}");
        let remedy = match count {
            1 => format!("write 0, or raise {number}"),
            _ => format!("write a number from 0 to {last}, or raise {number}"),
        };
        reader.error(&HEALTHCHECK_PORT.about, index, reason, remedy);
        return None;
    }
    Some(checked)
}

fn without_check(reader: &mut Reader<'_>, index: u32) {
    for about in [
        &HEALTHCHECK_PORT.about,
        &HEALTHCHECK_SCHEME.about,
        &HEALTHCHECK_DELAY.about,
        &HEALTHCHECK_INTERVAL.about,
        &HEALTHCHECK_TIMEOUT.about,
        &HEALTHCHECK_FAILURES.about,
        &HEALTHCHECK_GRACE.about,
    ] {
        if reader.is_set(about, index) {
            let check = full_name(&HEALTHCHECK.about, index);
            let remedy = format!("set {check}, or remove it");
            reader.warning(
                about,
                index,
                "is without effect, as there is no health check",
                remedy,
            );
        }
    }
}

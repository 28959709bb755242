//! The variables that tasks and executors find (Mesos `src/slave/slave.cpp:
//! executorEnvironment`).

use std::path::Path;

use base64::Engine as _;
use gantry_mesos::v1::{CommandInfo, secret};

use crate::state::{Site, duration_text};

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

type Variables = Vec<(String, String)>;

fn set(variables: &mut Variables, name: &str, value: impl Into<String>) {
    let value = value.into();
    match variables.iter_mut().find(|(n, _)| n == name) {
        Some((_, old)) => *old = value,
        None => variables.push((name.to_owned(), value)),
    }
}

/// What a custom executor finds; its own variables win.
pub(super) fn of_executor(site: &Site, directory: &Path, command: &CommandInfo) -> Variables {
    let mut variables = base(site, directory);
    own(&mut variables, command);
    variables
}

/// What a task finds. A command task inherits from its executor, a task in a pod does not.
pub(super) fn of_task(site: &Site, directory: &Path, command: &CommandInfo) -> Variables {
    let mut variables = if site.nested.is_some() {
        vec![
            ("PATH".to_owned(), PATH.to_owned()),
            ("MESOS_SANDBOX".to_owned(), directory.display().to_string()),
            ("MESOS_CONTAINER_IP".to_owned(), ip(site).to_owned()),
        ]
    } else {
        base(site, directory)
    };
    set(&mut variables, "MESOS_ALLOCATION_ROLE", &*site.role);
    own(&mut variables, command);
    variables
}

fn ip(site: &Site) -> &str {
    site.agent_address.split(':').next().unwrap_or_default()
}

fn base(site: &Site, directory: &Path) -> Variables {
    let mut variables = Variables::new();
    let directory = directory.display().to_string();
    for (name, value) in [
        ("PATH", PATH),
        ("LIBPROCESS_IP", ip(site)),
        ("LIBPROCESS_PORT", "0"),
        ("MESOS_AGENT_ENDPOINT", &site.agent_address),
        ("MESOS_CHECKPOINT", if site.checkpoint { "1" } else { "0" }),
        ("MESOS_DIRECTORY", &directory),
        ("MESOS_EXECUTOR_ID", &site.executor_id),
        ("MESOS_FRAMEWORK_ID", &site.framework_id),
        ("MESOS_HTTP_COMMAND_EXECUTOR", "0"),
        ("MESOS_SANDBOX", &directory),
        ("MESOS_SLAVE_ID", &site.agent_id),
    ] {
        set(&mut variables, name, value);
    }
    set(
        &mut variables,
        "MESOS_SLAVE_PID",
        format!("slave(1)@{}", site.agent_address),
    );
    set(
        &mut variables,
        "MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD",
        duration_text(site.shutdown_grace),
    );
    if site.checkpoint {
        set(&mut variables, "MESOS_RECOVERY_TIMEOUT", "15mins");
        set(
            &mut variables,
            "MESOS_SUBSCRIPTION_BACKOFF_MAX",
            duration_text(site.resubscription),
        );
    }
    variables
}

/// The variables of the framework. Names the system cannot take are left out.
fn own(variables: &mut Variables, command: &CommandInfo) {
    for variable in command.environment.iter().flat_map(|e| &e.variables) {
        let value = match (&variable.value, &variable.secret) {
            (Some(value), _) => value.clone(),
            (None, Some(hidden)) if hidden.r#type() == secret::Type::Value => {
                let data = hidden
                    .value
                    .as_ref()
                    .map(|v| v.data.clone())
                    .unwrap_or_default();
                String::from_utf8(data).unwrap_or_else(|e| {
                    base64::engine::general_purpose::STANDARD.encode(e.as_bytes())
                })
            }
            _ => continue,
        };
        let name = &variable.name;
        if !name.is_empty() && !name.contains(['=', '\0']) && !value.contains('\0') {
            set(variables, name, value);
        }
    }
}

//! What modules may ask of Gantry.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use gantry_core::{Actor, Answer, Command, TaskId, WorkloadName};
use gantry_modules::{Level, Pending, Request, World};
use serde_json::{Value, json};

use super::shape;
use crate::runtime::{CommandError, Handle};

/// The addresses of all tasks are gathered at most this often.
const ADDRESSES_FOR: Duration = Duration::from_millis(200);

/// A change that finds the scheduler busy is repeated after so long, so often.
const REPEAT: (Duration, u32) = (Duration::from_millis(200), 25);

/// Gantry as its modules see it.
pub(super) struct Around {
    handle: Handle,
    framework: Arc<str>,
    addresses: Mutex<Addresses>,
}

#[derive(Default)]
struct Addresses {
    gathered_at: Option<Instant>,
    all: HashSet<(String, u16)>,
}

impl Around {
    pub(super) fn new(handle: Handle, framework: Arc<str>) -> Self {
        Self {
            handle,
            framework,
            addresses: Mutex::default(),
        }
    }

    fn gather(&self) -> HashSet<(String, u16)> {
        let view = self.handle.view();
        let mut all = HashSet::new();
        for (_, task) in view.workloads.iter().flat_map(|workload| workload.tasks()) {
            for port in &task.ports {
                all.insert((task.agent.ip.clone(), *port));
                all.insert((task.agent.hostname.to_ascii_lowercase(), *port));
            }
        }
        all
    }
}

impl World for Around {
    fn tasks(&self, workload: Option<&str>, max: usize) -> Vec<Value> {
        let view = self.handle.view();
        let wanted = view
            .workloads
            .iter()
            .filter(|each| workload.is_none_or(|name| each.name.as_str() == name));
        wanted
            .flat_map(|workload| {
                let tasks = workload.tasks();
                tasks.map(|(number, task)| shape::task(&self.framework, workload, number, task))
            })
            .take(max)
            .collect()
    }

    fn has_task_at(&self, host: &str, port: u16) -> bool {
        let at = (host.to_ascii_lowercase(), port);
        let mut addresses = self
            .addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let old = addresses
            .gathered_at
            .is_none_or(|gathered_at| now.duration_since(gathered_at) > ADDRESSES_FOR);
        // An old list may still name a task that has gone, and miss a new one.
        if old {
            *addresses = Addresses {
                gathered_at: Some(now),
                all: self.gather(),
            };
        }
        addresses.all.contains(&at)
    }

    fn log(&self, module: &str, level: Level, line: &str) {
        match level {
            Level::Debug => tracing::debug!(module, "{line}"),
            Level::Info => tracing::info!(module, "{line}"),
            Level::Warn => tracing::warn!(module, "{line}"),
            Level::Error => tracing::error!(module, "{line}"),
        }
    }

    fn request(&self, module: &str, request: Request) -> Pending {
        let handle = self.handle.clone();
        let command = match request {
            Request::Restart { task } => Command::Restart {
                task: TaskId::new(task),
            },
            Request::Scale {
                workload,
                instances,
            } => Command::Scale {
                workload: WorkloadName::new(workload),
                instances,
            },
            Request::Store { key, value } => Command::PutModuleValue {
                module: module.into(),
                key: key.into(),
                value: value.map(Into::into),
            },
        };
        let actor = Actor {
            name: format!("module {module}"),
            address: String::new(),
            reason: None,
        };
        Box::pin(async move {
            let (pause, times) = REPEAT;
            for _ in 0..times {
                match handle.command(actor.clone(), command.clone()).await {
                    Err(CommandError::Busy) => tokio::time::sleep(pause).await,
                    Err(error) => return Err(error.to_string()),
                    Ok(Answer::Scaled { from, to }) => return Ok(json!({"from": from, "to": to})),
                    Ok(_) => return Ok(Value::Null),
                }
            }
            Err(CommandError::Busy.to_string())
        })
    }
}

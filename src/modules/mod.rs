//! The modules of this Gantry: JavaScript beside the scheduler.
//!
//! They are found once, when the process starts, and run while it leads: a term begins with modules
//! that are loaded anew, with what they have kept in the store, and ends with none. A Gantry that
//! stands by runs none, so that no two copies of a module ever act.

mod questions;
mod said;
mod shape;
mod term;
mod world;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::{ArcSwap, ArcSwapOption};
use gantry_core::{Command, Uuid};
use gantry_modules::{
    FetchRules, Found, Hook, Host, Limits, Module, NoAnswer, Refusal, Response, RuleError, Setup,
    Status, discover,
};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use crate::{config, runtime::Handle};
use said::Said;
use world::Around;

pub(crate) use said::TaskSaid;

/// The modules of this process. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Modules(Arc<Shared>);

struct Shared {
    found: Vec<Found>,
    /// Name of the framework, as the operator wrote it.
    framework: String,
    /// The same as it stands in task ids.
    framework_in_ids: Arc<str>,
    variables: config::ModuleVariables,
    fetch: Option<Arc<FetchRules>>,
    /// While this process leads and they are loaded.
    host: ArcSwapOption<Host>,
    said: ArcSwap<Said>,
}

impl Modules {
    /// None, and never any.
    pub(crate) fn none() -> Self {
        Self::of(Vec::new(), "", "", None, config::ModuleVariables::default())
    }

    /// Those that the configuration names. What cannot be looked at is logged: a module that is
    /// missing must not keep the framework from running.
    pub(crate) fn find(framework: &config::Framework, modules: &config::Modules) -> Self {
        let directory = &modules.directory;
        // The original looked into its working directory.
        let found = discover(directory, Some(Path::new("."))).unwrap_or_else(|error| {
            tracing::error!(directory = %directory.display(), %error, "modules cannot be looked for");
            Vec::new()
        });
        let fetch = if found.is_empty() {
            None
        } else {
            let rules = FetchRules::parse(modules.fetch_allow.iter().map(String::as_str));
            let log = |error: &RuleError| tracing::error!(%error, "modules cannot be run");
            rules.inspect_err(log).ok().map(Arc::new)
        };
        let variables = modules.variables.clone();
        Self::of(
            found,
            &framework.name,
            &framework.task_name,
            fetch,
            variables,
        )
    }

    fn of(
        found: Vec<Found>,
        framework: &str,
        framework_in_ids: &str,
        fetch: Option<Arc<FetchRules>>,
        variables: config::ModuleVariables,
    ) -> Self {
        Self(Arc::new(Shared {
            found,
            framework: framework.to_owned(),
            framework_in_ids: framework_in_ids.into(),
            variables,
            fetch,
            host: ArcSwapOption::empty(),
            said: ArcSwap::default(),
        }))
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.found.is_empty()
    }

    /// Their names, in the order in which they are loaded and asked.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.found.iter().map(|found| found.name.as_str())
    }

    /// How each is; `None` for those of a process that does not lead.
    pub(crate) fn statuses(&self) -> Vec<(&str, Option<Status>)> {
        let running = self.0.host.load_full();
        let mut statuses: BTreeMap<String, Status> = running
            .map(|host| host.statuses())
            .unwrap_or_default()
            .into_iter()
            .map(|status| (status.name.clone(), status))
            .collect();
        self.names()
            .map(|name| (name, statuses.remove(name)))
            .collect()
    }

    /// A module's directory.
    pub(crate) fn directory(&self, module: &str) -> Option<&PathBuf> {
        let found = self.0.found.iter().find(|found| found.name == module)?;
        Some(&found.directory)
    }

    /// Whether any module that runs says which tasks are healthy, or which one leads.
    pub(crate) fn indicates(&self, hook: Hook) -> bool {
        self.0
            .host
            .load()
            .as_ref()
            .is_some_and(|host| host.has(hook))
    }

    /// What they say of a task.
    pub(crate) fn said_of(&self, task: Uuid) -> Option<Arc<TaskSaid>> {
        self.0.said.load().of(task)
    }

    /// Has a module's route answer; `None` when none fits.
    pub(crate) async fn route(
        &self,
        module: Option<&str>,
        method: &str,
        path: &str,
        request: Value,
    ) -> Option<(String, Result<Response, NoAnswer>)> {
        let host = self.0.host.load_full()?;
        host.route(module, method, path, request).await
    }

    /// Whether a module refuses what an operator asks for.
    pub(crate) async fn refusal(&self, caller: &str, command: &Command) -> Option<Refusal> {
        let host = self.0.host.load_full()?;
        let (hook, change) = match command {
            Command::Restart { task } => {
                let parts = task.parts(&self.0.framework_in_ids);
                let instance = parts
                    .as_ref()
                    .map(|parts| format!("{}-{}", parts.workload, parts.number));
                let of = parts.as_ref().map(|parts| parts.workload);
                let change = json!({"task": task.as_str(), "type": of, "instance": instance});
                (Hook::BeforeRestart, change)
            }
            Command::RollingRestart { workload } => {
                let of = workload.as_ref().map(|name| name.as_str());
                (Hook::BeforeRollingRestart, json!({ "type": of }))
            }
            Command::KillAll { workload } => {
                let of = workload.as_ref().map(|name| name.as_str());
                (Hook::BeforeKill, json!({"type": of, "task": null}))
            }
            Command::KillUnknown { task } => {
                let change = json!({"type": null, "task": task.as_str()});
                (Hook::BeforeKill, change)
            }
            _ => return None,
        };
        let mut change = change;
        change["caller"] = json!(caller);
        host.refusal(hook, &change).await
    }

    /// The modules, loading.
    fn start(&self, handle: &Handle, around: &Arc<Around>) -> Vec<Module> {
        let kept = Arc::clone(&handle.view().module_values);
        let Some(fetch) = &self.0.fetch else {
            return Vec::new();
        };
        let start = |found: &Found| {
            let values = kept.get(found.name.as_str());
            let state = values.into_iter().flat_map(|values| values.iter());
            let setup = Setup {
                name: found.name.clone(),
                directory: found.directory.clone(),
                environment: self.0.variables.of(&found.name),
                framework: json!({"name": self.0.framework}),
                state: state
                    .map(|(key, value)| (key.to_string(), value.to_string()))
                    .collect(),
                fetch: Arc::clone(fetch),
                world: Arc::clone(around) as Arc<dyn gantry_modules::World>,
                tokio: tokio::runtime::Handle::current(),
                limits: Limits::default(),
            };
            if !found.is_named_well() {
                let error = "its name must be lower-case letters, digits and hyphens";
                return Module::unstarted(&setup, error.to_owned());
            }
            Module::start(setup)
        };
        self.0.found.iter().map(start).collect()
    }
}

/// How the names of a module's variables begin.
pub(crate) fn variable_prefix(module: &str) -> String {
    format!("MODULE_{}_", module.to_ascii_uppercase().replace('-', "_"))
}

impl config::ModuleVariables {
    /// Those of one module, without the `MODULE_<NAME>_` in front.
    pub(crate) fn of(&self, module: &str) -> BTreeMap<String, String> {
        let prefix = variable_prefix(module);
        self.iter()
            .filter_map(|(name, value)| {
                let rest = name.strip_prefix(&prefix).filter(|rest| !rest.is_empty())?;
                Some((rest.to_owned(), value.expose_secret().to_owned()))
            })
            .collect()
    }
}

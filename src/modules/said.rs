//! What modules say of tasks in lists, gathered in the background: no list waits for a module.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use gantry_core::Uuid;
use gantry_modules::{Annotation, Host};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{Modules, shape};
use crate::runtime::Handle;

/// Tasks that modules are asked about at once: their answer has to fit into the time of one call.
const AT_ONCE: usize = 200;

/// Modules are asked about so many tasks, the first of the list; of more they say nothing.
const TASKS_MAX: usize = 20_000;

/// From the end of a round to the beginning of the next.
const EVERY: Duration = Duration::from_secs(1);

/// What all modules together say of a task.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub(crate) struct TaskSaid {
    /// Columns, by `<module>.<key>`.
    #[schema(value_type = Object, required = false)]
    pub(crate) columns: Map<String, Value>,
    /// Not healthy when any module says so.
    #[serde(rename = "healthy_by_module")]
    pub(crate) healthy: Option<bool>,
    /// Leading when any module says so.
    pub(crate) leader: Option<bool>,
}

impl TaskSaid {
    fn add(&mut self, module: &str, annotation: Annotation) {
        for (key, value) in annotation.columns {
            self.columns.insert(format!("{module}.{key}"), value);
        }
        self.healthy = both(self.healthy, annotation.healthy, |one, other| one && other);
        self.leader = both(self.leader, annotation.leader, |one, other| one || other);
    }
}

fn both(one: Option<bool>, other: Option<bool>, join: impl Fn(bool, bool) -> bool) -> Option<bool> {
    match (one, other) {
        (Some(one), Some(other)) => Some(join(one, other)),
        (one, other) => one.or(other),
    }
}

/// What they say of all tasks.
#[derive(Default)]
pub(super) struct Said(HashMap<Uuid, Arc<TaskSaid>>);

impl Said {
    pub(super) fn of(&self, task: Uuid) -> Option<Arc<TaskSaid>> {
        self.0.get(&task).cloned()
    }
}

impl Modules {
    /// Asks again and again. Ends never.
    pub(super) async fn annotate(&self, handle: &Handle, host: &Host) {
        loop {
            // Every task is written down for a round, which costs too much to be done for nobody.
            let said = match host.annotates() {
                true => self.round(handle, host).await,
                false => HashMap::new(),
            };
            self.0.said.store(Arc::new(Said(said)));
            tokio::time::sleep(EVERY).await;
        }
    }

    async fn round(&self, handle: &Handle, host: &Host) -> HashMap<Uuid, Arc<TaskSaid>> {
        let view = handle.view();
        let framework = &*self.0.framework_in_ids;
        let tasks = view.workloads.iter().flat_map(|workload| {
            let tasks = workload.tasks();
            tasks.map(move |(number, task)| (workload, number, task))
        });
        let tasks: Vec<_> = tasks.take(TASKS_MAX).collect();
        let mut all = HashMap::with_capacity(tasks.len());
        for some in tasks.chunks(AT_ONCE) {
            let began = Instant::now();
            let shown: Vec<_> = some
                .iter()
                .map(|(workload, number, task)| shape::task(framework, workload, *number, task))
                .collect();
            let mut said = vec![TaskSaid::default(); some.len()];
            for (module, annotations) in host.annotate(&shown).await {
                for (task, annotation) in said.iter_mut().zip(annotations) {
                    task.add(&module, annotation);
                }
            }
            let uuids = some.iter().map(|(_, _, task)| task.uuid);
            all.extend(uuids.zip(said.into_iter().map(Arc::new)));
            // A long list is gone through at a third of one processor.
            if some.len() == AT_ONCE {
                tokio::time::sleep(began.elapsed() * 2).await;
            }
        }
        all
    }
}

//! Modules say when a task is ready: what runs, and is healthy, may still have to find its leader.
//!
//! Where they are needed, a task counts as ready only once it was reported to be. Reports are not
//! stored: whoever leads next waits for new ones, and until then moves nothing that depends on
//! them. Nothing is ever stopped because it is not ready.

use super::Scheduler;
use crate::{Goal, TaskId, Workloads};

impl Scheduler {
    /// A module reports whether a task is ready.
    pub(super) fn reported(&mut self, id: &TaskId, ready: bool) {
        let Some((index, number, task)) = self.find_task(id) else {
            return;
        };
        if task.readiness == Some(ready) {
            return;
        }
        let uuid = task.uuid;
        self.edit_task(index, number, uuid, |task| task.readiness = Some(ready));
        self.notice_task(index, number, uuid, None);
        self.settle(index, number);
    }

    /// From now on the tasks of these workloads need to be reported ready, and no others.
    pub(super) fn need_readiness(&mut self, of: Workloads) {
        self.settings.readiness = of;
        for index in self.service_indices() {
            let Some(service) = self.service(index) else {
                continue;
            };
            let needed = self.settings.readiness.contains(&service.state.name);
            if let Some(service) = self.service_mut(index)
                && service.state.needs_readiness != needed
            {
                service.need_readiness(needed);
            }
        }
        // Only of several tasks of an instance does it matter which one is ready.
        self.settle_everything(|instance| {
            let mut tasks = instance.tasks.iter();
            tasks.len() > 1 || tasks.any(|task| matches!(task.goal, Goal::Replace { .. }))
        });
    }
}

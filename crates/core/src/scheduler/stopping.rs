//! Stopping tasks: KILL, and again until it is done.

use super::{Scheduler, ServiceIndex, Timer};
use crate::{Call, Goal, StopReason, Uuid};

impl Scheduler {
    /// Decides that a task is to be stopped. The decision is stored, so that a crash does not
    /// leave the task running; the reason of an earlier decision stays.
    pub(super) fn stop_task(
        &mut self,
        index: ServiceIndex,
        number: u32,
        uuid: Uuid,
        reason: StopReason,
    ) {
        let since = self.now;
        let decided = self.edit_task(index, number, uuid, |task| {
            if task.goal.is_stop() {
                return false;
            }
            task.goal = Goal::Stop { reason, since };
            true
        });
        if decided == Some(true) {
            self.write_task(index, number, uuid);
            self.send_kill(index, number, uuid);
        }
    }

    /// Sends KILL and looks again later, with growing patience.
    pub(super) fn send_kill(&mut self, index: ServiceIndex, number: u32, uuid: Uuid) {
        if !self.connection.subscribed {
            return; // Every stop is taken up again at the next subscription.
        }
        let Some(service) = self.service(index) else {
            return;
        };
        let Some(task) = self.task(index, number, uuid) else {
            return;
        };
        let call = Call::Kill {
            task: service
                .state
                .task_id(&self.settings.framework, number, task),
            agent: task.agent.known_id(),
            grace: service
                .template_of(task)
                .and_then(|template| template.kill_grace),
        };
        let patience = self
            .settings
            .kill_initial
            .saturating_mul(1 << task.kills_sent.min(16));
        let again_at = self.now + patience.min(self.settings.kill_max);
        self.send(call);
        self.counters.kills += 1;
        self.edit_task(index, number, uuid, |task| {
            task.kills_sent = task.kills_sent.saturating_add(1);
            task.kill_again_at = Some(again_at);
        });
        self.timers.set(
            again_at,
            Timer::Kill {
                service: index,
                number,
                run: run_of(uuid),
            },
        );
    }

    pub(super) fn kill_again(&mut self, index: ServiceIndex, number: u32, run: u32) {
        if let Some(uuid) = self.task_of_run(index, number, run)
            && self.task(index, number, uuid).is_some_and(|task| {
                task.goal.is_stop() && task.kill_again_at.is_none_or(|at| self.now >= at)
            })
        {
            self.send_kill(index, number, uuid);
        }
    }

    pub(super) fn task_of_run(&self, index: ServiceIndex, number: u32, run: u32) -> Option<Uuid> {
        let instance = self.service(index)?.state.instances.get(number)?;
        instance
            .tasks
            .iter()
            .map(|task| task.uuid)
            .find(|uuid| run_of(*uuid) == run)
    }
}

/// The part of a run's id that timers carry. Two live tasks of one instance that share it would
/// at worst be looked at once too often.
pub(super) fn run_of(uuid: Uuid) -> u32 {
    uuid.to_bits() as u32
}

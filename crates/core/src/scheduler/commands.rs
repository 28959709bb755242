//! What operators ask.

use std::{sync::Arc, time::Duration};

use super::{Scheduler, ServiceIndex, Timer};
use crate::{
    AUDIT_RING, Actor, Answer, AuditEntry, Call, Command, Goal, Key, Notice, Record, Refusal,
    ReplyToken, StopReason, TaskId, Uuid, WorkloadName, Write,
};

impl Scheduler {
    pub(super) fn command(&mut self, token: ReplyToken, actor: Actor, command: Command) {
        let answer = match command {
            Command::Scale {
                workload,
                instances,
            } => self.scale(actor, &workload, instances),
            Command::Restart { task } => self.restart(actor, &task),
            Command::RollingRestart { workload } => self.start_rolling_restart(actor, workload),
            Command::KillAll { workload } => self.kill_all(actor, workload.as_ref()),
            Command::PauseDeployment(id) => self.pause_deployment(actor, id),
            Command::ResumeDeployment(id) => self.resume_deployment(actor, id),
            Command::AbortDeployment(id) => self.abort_deployment(actor, id),
            Command::RollbackDeployment(id) => self.rollback_deployment(actor, id),
            Command::ReleaseBrake => self.release_brake_by_hand(actor),
            Command::KillUnknown { task } => self.kill_unknown(actor, task),
            Command::PutModuleValue { module, key, value } => {
                self.put_module_value(module, key, value)
            }
            Command::EndSessions { user } => self.end_sessions(actor, user),
        };
        self.out.replies.push((token, answer));
    }

    pub(super) fn service_named(&self, name: &WorkloadName) -> Result<ServiceIndex, Refusal> {
        self.by_task_name
            .get(name.in_task_ids().as_str())
            .into_iter()
            .flatten()
            .copied()
            .find(|index| {
                self.service(*index)
                    .is_some_and(|service| service.state.name == *name)
            })
            .ok_or_else(|| Refusal::UnknownWorkload(name.clone()))
    }

    fn scale(
        &mut self,
        actor: Actor,
        name: &WorkloadName,
        instances: u32,
    ) -> Result<Answer, Refusal> {
        let index = self.service_named(name)?;
        let limit = self.settings.instances_max;
        let service = self
            .service_mut(index)
            .ok_or_else(|| Refusal::UnknownWorkload(name.clone()))?;
        if !service.state.allow_scaling || service.state.removed {
            return Err(Refusal::NotScalable(name.clone()));
        }
        if instances > limit {
            return Err(Refusal::TooManyInstances {
                asked: instances,
                limit,
            });
        }
        let from = service.state.desired;
        // What could not be read is known from now on.
        let was_lost = self.unread.contains_workload(name);
        self.unread.settle(&Key::Workload(name.clone()));
        if was_lost || from != instances {
            if let Some(service) = self.service_mut(index) {
                service.state_mut().desired = instances;
            }
            self.write_service(index);
            self.adjust_count(index);
            self.notice(Notice::Scaled {
                workload: name.clone(),
                from,
                to: instances,
            });
            self.audit(
                actor,
                format!("scale {name}"),
                Some(from.to_string()),
                Some(instances.to_string()),
            );
        }
        Ok(Answer::Scaled {
            from,
            to: instances,
        })
    }

    fn restart(&mut self, actor: Actor, id: &TaskId) -> Result<Answer, Refusal> {
        let (index, number, task) = self
            .find_task(id)
            .ok_or_else(|| Refusal::UnknownTask(id.clone()))?;
        if task.goal != Goal::Run {
            return Err(Refusal::AlreadyChanging(id.clone()));
        }
        let uuid = task.uuid;
        let stop_first = self
            .service(index)
            .is_some_and(|service| service.stops_first());
        self.replace_task(
            index,
            number,
            uuid,
            stop_first,
            self.settings.replace_deadline,
            true,
        );
        self.audit(actor, format!("restart task {id}"), None, None);
        Ok(Answer::Restarting)
    }

    /// Begins to replace a task. One that is stopped first is replaced when it has ended;
    /// otherwise it stays when the new one is not ready within `limit`.
    pub(super) fn replace_task(
        &mut self,
        index: ServiceIndex,
        number: u32,
        uuid: Uuid,
        stop_first: bool,
        limit: Duration,
        by_hand: bool,
    ) {
        if stop_first {
            return self.stop_task(index, number, uuid, StopReason::Restarted);
        }
        let since = self.now;
        let deadline = since + limit;
        self.edit_task(index, number, uuid, |task| {
            task.goal = Goal::Replace {
                since,
                deadline,
                by_hand,
            }
        });
        self.write_task(index, number, uuid);
        self.timers.set(
            deadline,
            Timer::Instance {
                service: index,
                number,
            },
        );
        self.settle(index, number);
    }

    fn kill_all(&mut self, actor: Actor, name: Option<&WorkloadName>) -> Result<Answer, Refusal> {
        let indices = match name {
            Some(name) => vec![self.service_named(name)?],
            None => self.service_indices(),
        };
        let mut stopped = 0;
        for index in indices {
            let tasks: Vec<_> = self
                .service(index)
                .into_iter()
                .flat_map(|service| service.state.tasks())
                .filter(|(_, task)| !task.goal.is_stop())
                .map(|(number, task)| (number, task.uuid))
                .collect();
            stopped += tasks.len() as u32;
            for (number, uuid) in tasks {
                self.stop_task(index, number, uuid, StopReason::Killed);
                self.settle(index, number);
            }
        }
        let what = name.map_or_else(
            || "kill all tasks".to_owned(),
            |name| format!("kill all tasks of {name}"),
        );
        self.audit(actor, what, None, Some(format!("{stopped} tasks")));
        Ok(Answer::Stopping { tasks: stopped })
    }

    fn kill_unknown(&mut self, actor: Actor, task: TaskId) -> Result<Answer, Refusal> {
        let update = self
            .unknown_tasks
            .get(&task)
            .ok_or_else(|| Refusal::UnknownTask(task.clone()))?;
        let call = Call::Kill {
            task: task.clone(),
            agent: update.agent.clone(),
            grace: None,
        };
        self.counters.kills += 1;
        self.send(call);
        self.audit(actor, format!("kill unknown task {task}"), None, None);
        Ok(Answer::Stopping { tasks: 1 })
    }

    pub(super) fn audit(
        &mut self,
        actor: Actor,
        action: String,
        before: Option<String>,
        after: Option<String>,
    ) {
        let sequence = self.next_audit;
        self.next_audit += 1;
        let entry = AuditEntry {
            sequence,
            at: self.now,
            actor,
            action,
            before,
            after,
        };
        self.out
            .writes
            .push(Write::Put(Record::Audit(entry.clone())));
        self.audit.push_back(Arc::new(entry));
        while self.audit.len() > AUDIT_RING as usize {
            self.audit.pop_front();
        }
        self.notice(Notice::Audit { sequence });
    }
}

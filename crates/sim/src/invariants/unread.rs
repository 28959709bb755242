//! What could not be read: nothing is stopped, launched a second time, scaled down or let go for it.

use std::collections::{BTreeMap, BTreeSet};

use gantry_core::{
    Call, Effects, Goal, Key, Launch, Record, StopReason, TaskId, TaskRecord, View, WorkloadName,
    Write,
};

use crate::{term::Term, world::World};

impl World {
    /// Right after a start: what is made of each record that could not be read.
    pub(crate) fn check_doubts(&mut self, gantry: usize, effects: &Effects) {
        let term = self.gantrys[gantry].term.as_ref();
        let Some(term) = term.filter(|term| {
            // Of a leader that is late everything may be another's by now.
            !term.unreadable.is_empty() && term.epoch == self.keeper.epoch
        }) else {
            return;
        };
        let view = term.scheduler.view();
        let mut unreadable = term.unreadable.iter();
        let checked = unreadable.try_for_each(|key| match key {
            Key::Task(id) if !self.is_shown(&view, id) => {
                Err(format!("{id} may live, but its record could not be read"))
            }
            Key::Workload(name) => self.check_count(gantry, &view, name),
            Key::Access if !ends_sessions(effects) => {
                Err("no session is ended, though their ends could not be read".to_owned())
            }
            _ => Ok(()),
        });
        if let Err(violation) = checked {
            self.violate(violation);
        }
    }

    /// Whether a scheduler knows of a task.
    fn is_shown(&self, view: &View, id: &TaskId) -> bool {
        let framework = &self.plan.settings.framework;
        view.unknown_tasks.contains_key(id)
            || view.workloads.iter().any(|workload| {
                let mut tasks = workload.tasks();
                tasks.any(|(number, task)| workload.task_id(framework, number, task) == *id)
            })
    }

    /// As many are wanted as are declared, and as there are.
    fn check_count(&self, gantry: usize, view: &View, name: &WorkloadName) -> Result<(), String> {
        let mut declares = self.gantrys[gantry].declares.iter();
        // What may not be scaled is as many as are declared.
        let Some(spec) = declares.find(|spec| spec.name == *name && spec.allow_scaling) else {
            return Ok(());
        };
        let there = self
            .keeper
            .records
            .values()
            .filter_map(|record| match record {
                Record::Task(task) if task.workload == *name => Some(task),
                _ => None,
            });
        let retired =
            |goal: Goal| matches!(goal, Goal::Stop { reason, .. } if reason == StopReason::Retired);
        let staying = there.filter(|task| !retired(task.goal));
        let numbers: BTreeSet<u32> = staying.map(|task| task.number).collect();
        let least = spec.instances.max(numbers.len() as u32);
        match view.workload(name.as_str()) {
            Some(workload) if workload.desired >= least => Ok(()),
            other => Err(format!(
                "{:?} of {name} are wanted and not {least}, as its record could not be read",
                other.map(|workload| workload.desired)
            )),
        }
    }

    /// After each step, while something is unreadable.
    pub(super) fn check_unread(
        &self,
        term: &Term,
        effects: &Effects,
        launches: &[&Launch],
    ) -> Result<(), String> {
        if term.unreadable.is_empty() {
            return Ok(());
        }
        let view = term.scheduler.view();
        if term.unreadable.contains(&Key::Brake) && view.brake.is_none() {
            return Err("the brake is off, though its record could not be read".to_owned());
        }
        for write in &effects.writes {
            if let Write::Put(Record::Task(task)) = write
                && let Goal::Stop { reason, .. } = task.goal
                && reason == StopReason::Retired
                && !self.memory.stopped.contains(&task.id)
                && self.may_be_scaled(&task.workload)
                && term
                    .unreadable
                    .contains(&Key::Workload(task.workload.clone()))
            {
                return Err(format!(
                    "{} is stopped ({reason:?}), though the record of its workload could not be read",
                    task.id
                ));
            }
        }
        for launch in launches {
            self.check_not_beside(term, &view, launch)?;
        }
        let hides = |key: &Key| matches!(key, Key::Workload(_) | Key::Task(_));
        if !term.unreadable.iter().any(hides) {
            return Ok(());
        }
        for call in &effects.calls {
            if let Call::Kill { task, .. } = call
                && view.unknown_tasks.contains_key(task)
                && !self.memory.kill_unknown.contains(task)
                && !self.memory.stopped.contains(task)
            {
                return Err(format!(
                    "{task} is killed as unknown, though what could not be read may know it"
                ));
            }
        }
        Ok(())
    }

    /// What may not be scaled is as many as are declared, whatever was stored.
    fn may_be_scaled(&self, name: &WorkloadName) -> bool {
        let mut declares = self.memory.declares.iter();
        declares.any(|spec| spec.name == *name && spec.allow_scaling)
    }

    /// A task whose record could not be read keeps its place.
    fn check_not_beside(&self, term: &Term, view: &View, launch: &Launch) -> Result<(), String> {
        let framework = &self.plan.settings.framework;
        let Some(place) = launch.task.parts(framework) else {
            return Ok(());
        };
        let living = self.agents.iter().flat_map(|agent| &agent.tasks);
        let beside = living
            .filter(|(_, task)| task.alive && !task.excused)
            .map(|(id, _)| id)
            .filter(|id| **id != launch.task && term.unreadable.contains(&Key::Task((*id).clone())))
            .find(|id| {
                id.parts(framework).is_some_and(|other| {
                    (other.workload, other.number) == (place.workload, place.number)
                })
            });
        match beside {
            Some(other) if !self.is_shown(view, other) => Err(format!(
                "{} is launched beside {other}, whose record could not be read",
                launch.task
            )),
            _ => Ok(()),
        }
    }

    /// In the end it is known of each task whether it lives, whatever could be read of it.
    pub(crate) fn check_settled(&self, view: &View) -> Result<(), String> {
        let framework = &self.plan.settings.framework;
        let left: BTreeMap<_, _> = self
            .keeper
            .unreadable
            .iter()
            .filter_map(|key| match key {
                Key::Task(id) => Some((id, id.parts(framework)?)),
                _ => None,
            })
            .collect();
        for (id, parts) in left {
            let mut workloads = view.workloads.iter();
            if workloads.any(|workload| *workload.task_name == *parts.workload) {
                return Err(format!("{id} still cannot be read"));
            }
        }
        Ok(())
    }

    /// Whether nothing is written of a task while it lives: its workload is not declared, and what
    /// was stored of it cannot be read.
    pub(crate) fn is_set_aside(&self, task: &TaskRecord) -> bool {
        let key = Key::Workload(task.workload.clone());
        let mut declares = self.memory.declares.iter();
        self.keeper.unreadable.contains(&key) && !declares.any(|spec| spec.name == task.workload)
    }

    /// Whether a task is one of two of its instance, and of one of them it was not known whether it
    /// was being replaced.
    pub(super) fn is_beside_an_unreadable_one(&self, task: &TaskRecord) -> bool {
        let unreadable = |id: &TaskId| self.keeper.unreadable.contains(&Key::Task(id.clone()));
        self.stored_beside(task)
            .any(|other| unreadable(&other.id) || unreadable(&task.id))
    }

    /// Whether tasks may belong to what cannot be read.
    pub(crate) fn may_hide_tasks(&self) -> bool {
        let mut unreadable = self.keeper.unreadable.iter();
        unreadable.any(|key| matches!(key, Key::Workload(_) | Key::Task(_)))
    }
}

fn ends_sessions(effects: &Effects) -> bool {
    effects
        .writes
        .iter()
        .any(|write| matches!(write, Write::Put(Record::Access(_))))
}

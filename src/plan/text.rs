//! The plan as people read it.

use std::fmt;

use super::{Action, FieldChange, Numbers, Report, WorkloadReport, fields::Change};

/// Tasks that are set aside, and records that cannot be read, which are named.
const NAMED: usize = 20;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |action| {
            let workloads = self.workloads.iter();
            workloads.filter(|one| one.action == action).count()
        };
        let counts: Vec<_> = [
            (Action::New, "new"),
            (Action::Change, "changed"),
            (Action::Remove, "removed"),
            (Action::Keep, "as before"),
        ]
        .into_iter()
        .map(|(action, word)| (count(action), word))
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
        if counts.is_empty() {
            writeln!(
                f,
                "{}: nothing is declared, and nothing stored",
                self.framework
            )?;
        } else {
            writeln!(f, "{}: {}", self.framework, counts.join(", "))?;
        }
        let shown = self.workloads.iter();
        let told = |one: &&WorkloadReport| one.action != Action::Keep || one.held_back.is_some();
        for workload in shown.filter(told) {
            workload.fmt(f)?;
        }
        if self.set_aside_count > 0 {
            let tasks = if self.set_aside_count == 1 {
                "task"
            } else {
                "tasks"
            };
            writeln!(
                f,
                "! {} {tasks} of types that are neither declared nor stored: shown as unknown, left \
                 alone unless KILL_UNKNOWN_TASKS is set",
                self.set_aside_count
            )?;
            for task in self.set_aside.iter().take(NAMED) {
                writeln!(f, "    {task}")?;
            }
        }
        if self.unreadable_count > 0 {
            let records = if self.unreadable_count == 1 {
                "stored record that cannot be read is left alone"
            } else {
                "stored records that cannot be read are left alone"
            };
            writeln!(f, "! {} {records}", self.unreadable_count)?;
            for record in self.unreadable.iter().take(NAMED) {
                writeln!(f, "    {record}")?;
            }
        }
        if let Some(reason) = &self.brake {
            writeln!(
                f,
                "! the brake is on ({reason}): nothing is replaced or started again before it is released"
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for WorkloadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.name;
        match self.action {
            Action::New => writeln!(f, "+ {name}")?,
            Action::Change if self.fields.is_empty() && self.held_back.is_none() => {
                writeln!(f, "~ {name}, declared as before")?
            }
            Action::Change => writeln!(f, "~ {name}")?,
            Action::Remove => writeln!(f, "- {name}")?,
            Action::Keep => writeln!(f, "  {name}")?,
        }
        for change in &self.fields {
            writeln!(f, "    {change}")?;
        }
        for (word, numbers) in [
            ("adopts", &self.adopted),
            ("creates", &self.created),
            ("replaces", &self.replaced),
            ("stops", &self.stopped),
        ] {
            if numbers.count > 0 {
                writeln!(f, "    {word} {numbers}")?;
            }
        }
        if let Some(limits) = &self.limits {
            writeln!(f, "    {limits}")?;
        }
        match &self.held_back {
            Some(why) => writeln!(f, "    {why}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for FieldChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = &self.path;
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => write!(f, "{path}: {}", Change(before, after)),
            (None, Some(after)) => write!(f, "{path}: {after}"),
            (Some(before), None) => write!(f, "{path}: {before} -> not set"),
            (None, None) => f.write_str(path),
        }
    }
}

impl fmt::Display for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// More ranges than these are only counted.
        const SHOWN_MAX: usize = 100;
        let instances = if self.count == 1 {
            "instance"
        } else {
            "instances"
        };
        write!(f, "{} {instances}", self.count)?;
        if self.numbers.len() <= SHOWN_MAX {
            write!(f, ": {}", self.numbers)?;
        }
        Ok(())
    }
}

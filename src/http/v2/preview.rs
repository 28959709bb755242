//! `?dry_run=true`: what a change would do, told without doing it.
//!
//! Which instances would be touched is decided by the rules that the scheduler uses itself
//! ([`Workload::first_to_go`] and its kind), on the state that is shown.

use actix_web::HttpResponse;
use gantry_core::{Goal, Refusal, TaskId, View, Workload, WorkloadName};
use serde::Serialize;
use utoipa::ToSchema;

use super::{tasks, workloads};
use crate::http::{AppState, error::ApiError, query::Query};

/// Most instances that are named in each list; a note tells how many more there are.
const NAMED_MAX: usize = 1_000;

/// What a change would do.
#[derive(Default, Serialize, ToSchema)]
pub(super) struct Preview {
    /// Instances that would be added.
    creates: Vec<String>,
    /// Instances that would be stopped.
    stops: Vec<String>,
    /// Instances whose task would be replaced by a new one.
    replaces: Vec<String>,
    /// How many of them would be touched at the same time.
    at_once: u32,
    /// What else there is to know, as sentences.
    notes: Vec<String>,
}

impl Preview {
    pub(super) fn answer(self) -> HttpResponse {
        HttpResponse::Ok().json(self)
    }

    fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }
}

/// Whether only a preview is asked for.
pub(super) fn is_asked(query: &Query) -> Result<bool, ApiError> {
    query.flag("dry_run")
}

/// The first names, and a note on the rest.
fn named(
    workload: &Workload,
    numbers: impl Iterator<Item = u32>,
    notes: &mut Vec<String>,
) -> Vec<String> {
    let mut numbers = numbers.map(|number| format!("{}-{number}", workload.name));
    let names: Vec<_> = numbers.by_ref().take(NAMED_MAX).collect();
    let more = numbers.count();
    if more > 0 {
        notes.push(format!("{more} more instances of {}", workload.name));
    }
    names
}

/// What `PUT …/scale` would do.
pub(super) fn scale(state: &AppState, name: &str, wanted: u32) -> Result<Preview, ApiError> {
    let view = state.handle().view();
    let workload = workloads::find(&view, name)?;
    if !workload.allow_scaling || workload.removed {
        return Err(Refusal::NotScalable(workload.name.clone()).into());
    }
    let limit = state.settings().instances_max;
    if wanted > limit {
        let asked = wanted;
        return Err(Refusal::TooManyInstances { asked, limit }.into());
    }
    let mut preview = Preview::default();
    let (more, fewer) = (
        wanted.saturating_sub(workload.desired),
        workload.desired.saturating_sub(wanted),
    );
    preview.at_once = more.max(fewer);
    if more > 0 {
        let numbers = workload.first_to_come().take(more as usize);
        preview.creates = named(workload, numbers, &mut preview.notes);
        if workload.counts.waiting > 0 {
            preview.note(format!(
                "{} instances wait for offers already",
                workload.counts.waiting
            ));
        }
    }
    if fewer > 0 {
        let numbers = workload.first_to_go(fewer as usize).into_iter();
        preview.stops = named(workload, numbers, &mut preview.notes);
        if wanted == 0 {
            preview.note("nothing of it would run any more");
        }
    }
    if wanted != workload.declared {
        preview.note(format!(
            "the declaration asks for {}; what is scaled by hand stays until that changes",
            workload.declared
        ));
    }
    braked(&view, &mut preview);
    Ok(preview)
}

/// What `POST /tasks/{id}/restart` would do.
pub(super) fn restart(state: &AppState, id: &TaskId) -> Result<Preview, ApiError> {
    let view = state.handle().view();
    let framework = &state.settings().framework_in_ids;
    let known = tasks::find(&view, framework, id);
    let Some((known, tasks::Run::Live(task))) = known.map(|known| (known, known.run)) else {
        return Err(tasks::unknown_task(id));
    };
    if task.goal != Goal::Run {
        return Err(Refusal::AlreadyChanging(id.clone()).into());
    }
    let mut preview = Preview {
        replaces: vec![format!("{}-{}", known.workload.name, known.instance.number)],
        at_once: 1,
        ..Preview::default()
    };
    in_which_order(known.workload, &mut preview);
    braked(&view, &mut preview);
    Ok(preview)
}

/// What `POST /rolling-restarts` would do.
pub(super) fn rolling_restart(
    state: &AppState,
    name: Option<&WorkloadName>,
) -> Result<Preview, ApiError> {
    let view = state.handle().view();
    let chosen = chosen(&view, name)?;
    let overlapping = view.deployments.iter().find(|deployment| {
        let other = deployment.kind.workload();
        !deployment.status.is_over() && (other.is_none() || name.is_none() || other == name)
    });
    if let Some(overlapping) = overlapping {
        return Err(Refusal::DeploymentRunning(overlapping.id).into());
    }
    let mut preview = Preview {
        at_once: 1,
        ..Preview::default()
    };
    for workload in chosen {
        // The youngest first, as the deployment goes about it.
        let mut tasks: Vec<_> = workload
            .tasks()
            .filter(|(_, task)| !task.goal.is_stop())
            .map(|(number, task)| (task.launched_at, number))
            .collect();
        tasks.sort_unstable_by(|one, other| other.cmp(one));
        tasks.dedup_by_key(|(_, number)| *number);
        if tasks.is_empty() {
            continue;
        }
        let numbers = tasks.into_iter().map(|(_, number)| number);
        let names = named(workload, numbers, &mut preview.notes);
        preview.replaces.extend(names);
        in_which_order(workload, &mut preview);
    }
    if view.brake.is_some() {
        preview.note("the brake is on: nothing is moved before it is released");
    }
    Ok(preview)
}

/// What `POST /kill` would do.
pub(super) fn kill(state: &AppState, name: Option<&WorkloadName>) -> Result<Preview, ApiError> {
    let view = state.handle().view();
    let mut preview = Preview::default();
    for workload in chosen(&view, name)? {
        let tasks = workload.tasks().filter(|(_, task)| !task.goal.is_stop());
        let mut numbers: Vec<_> = tasks.map(|(number, _)| number).collect();
        preview.at_once = preview.at_once.saturating_add(numbers.len() as u32);
        numbers.dedup();
        let names = named(workload, numbers.into_iter(), &mut preview.notes);
        preview.stops.extend(names);
    }
    if preview.at_once > 0 {
        preview.note("all at once; each is started again when it has ended");
    }
    braked(&view, &mut preview);
    Ok(preview)
}

fn chosen<'a>(view: &'a View, name: Option<&WorkloadName>) -> Result<Vec<&'a Workload>, ApiError> {
    match name {
        Some(name) => Ok(vec![workloads::find(view, name.as_str())?]),
        None => Ok(view.workloads.iter().map(AsRef::as_ref).collect()),
    }
}

fn in_which_order(workload: &Workload, preview: &mut Preview) {
    let name = &workload.name;
    if workload.stops_first() {
        preview.note(format!(
            "{name}: the old task is stopped before the new one starts, as both cannot run at once"
        ));
    } else {
        preview.note(format!(
            "{name}: the new task is ready before the old one is stopped"
        ));
    }
}

fn braked(view: &View, preview: &mut Preview) {
    if view.brake.is_some() {
        preview.note("the brake is on: this is done, but nothing is started again by itself");
    }
}

//! `/api/v2/trends`: how many instances were wanted, ready and running in the last minutes.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use actix_web::{HttpRequest, HttpResponse, web};
use gantry_core::{Counts, View};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    http::{
        AppState,
        error::{ApiError, Code},
        now,
        query::Query,
    },
    runtime::Handle,
};

/// Between two looks.
const STEP: Duration = Duration::from_secs(5);

/// Looks that are remembered: a quarter of an hour.
const POINTS_MAX: usize = 180;

/// Workloads that are remembered: the first of the declaration. Each takes 2 kB.
const WORKLOADS_MAX: usize = 1_000;

/// Longest time that can be asked for.
const MINUTES_MAX: usize = POINTS_MAX * STEP.as_secs() as usize / 60;

/// What was seen in the last minutes, in memory alone.
#[derive(Default)]
pub(crate) struct Trends(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    newest_at: u64,
    workloads: BTreeMap<String, VecDeque<Point>>,
}

/// Of the wanted, ready and running instances.
type Point = [u32; 3];

impl Trends {
    /// Looks every few seconds, without end.
    pub(crate) async fn keep(&self, handle: &Handle) {
        let mut ticks = tokio::time::interval(STEP);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.look(&handle.view(), now().as_millis());
        }
    }

    /// Remembers how the workloads are now, and forgets those that are gone.
    pub(crate) fn look(&self, view: &View, at: u64) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.newest_at = at;
        let mut before = std::mem::take(&mut seen.workloads);
        for workload in view.workloads.iter().take(WORKLOADS_MAX) {
            let name = workload.name.as_str();
            let mut points = before.remove(name).unwrap_or_default();
            let Counts { ready, running, .. } = workload.counts;
            points.push_back([workload.desired, ready, running]);
            if points.len() > POINTS_MAX {
                points.pop_front();
            }
            seen.workloads.insert(name.to_owned(), points);
        }
    }

    fn last(&self, points: usize) -> TrendsJson {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let workloads = seen.workloads.iter().map(|(name, all)| {
            let last = all.iter().skip(all.len().saturating_sub(points));
            let mut trend = TrendJson::default();
            for [wanted, ready, running] in last.copied() {
                trend.wanted.push(wanted);
                trend.ready.push(ready);
                trend.running.push(running);
            }
            (name.clone(), trend)
        });
        TrendsJson {
            step_ms: STEP.as_millis() as u64,
            newest_at: seen.newest_at,
            workloads: workloads.collect(),
        }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = Trends)]
pub(super) struct TrendsJson {
    /// Between two points, in milliseconds.
    step_ms: u64,
    /// When the last point of each series was; 0 before the first.
    newest_at: u64,
    workloads: BTreeMap<String, TrendJson>,
}

/// Oldest first; shorter for a workload that came to be meanwhile.
#[derive(Default, Serialize, ToSchema)]
#[schema(as = Trend)]
struct TrendJson {
    wanted: Vec<u32>,
    ready: Vec<u32>,
    running: Vec<u32>,
}

/// `GET /api/v2/trends?minutes=15`
pub(crate) async fn get(
    state: web::Data<AppState>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let minutes = Query::of(&request)?.number("minutes", MINUTES_MAX)?;
    if !(1..=MINUTES_MAX).contains(&minutes) {
        let message = format!("`minutes` must be from 1 to {MINUTES_MAX}");
        return Err(ApiError::new(Code::BadRequest, message));
    }
    let points = minutes * 60 / STEP.as_secs() as usize;
    Ok(HttpResponse::Ok().json(state.0.trends.last(points)))
}

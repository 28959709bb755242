//! `/health`: what Marathon asks to know whether to restart us.
//!
//! The status says whether a restart may help, the text says everything. While ZooKeeper or the
//! disk are away it would not: tasks run on, and what this process knows is worth keeping.

use std::{sync::Arc, time::Duration};

use actix_web::{
    HttpResponse,
    http::{StatusCode, header},
    web,
};
use gantry_core::{Brake, Unreadable};

use super::AppState;
use crate::runtime::{
    ConnectionState, ConnectionStatus, HomeKind, HomeStatus, Reach, Role, Standing,
};

/// `GET /health`: 200 `OK` of a leader that is heard of by the master.
pub(crate) async fn get(state: web::Data<AppState>) -> HttpResponse {
    let handle = state.handle();
    let home = handle.home();
    let view = handle.view();
    let found = Found {
        standing: handle.standing(),
        connection: handle.connection(),
        brake: view.brake.clone(),
        unreadable: view.unreadable.clone(),
        leader: handle.other_leader().map(|leader| leader.host),
        heartbeat_max: state.settings().heartbeat_max,
        home,
    };
    let (status, text) = found.verdict();
    HttpResponse::build(status)
        .insert_header((header::CONTENT_TYPE, "text/html; charset=utf-8"))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(super::html_text(&text))
}

struct Found {
    standing: Standing,
    connection: ConnectionStatus,
    home: HomeStatus,
    brake: Option<Brake>,
    unreadable: Arc<Vec<Unreadable>>,
    leader: Option<String>,
    heartbeat_max: Duration,
}

impl Found {
    fn verdict(self) -> (StatusCode, String) {
        // Marathon stops a deployment of a version that cannot lead before it has replaced those that
        // can.
        if let Some(fault) = self
            .standing
            .faults()
            .find(|fault| fault.is_of_this_process)
        {
            return (StatusCode::INTERNAL_SERVER_ERROR, fault.reason.clone());
        }
        if self.standing.role != Role::Leader {
            return self.stand_by();
        }
        match self.ailment() {
            Some(ailment) => (StatusCode::INTERNAL_SERVER_ERROR, ailment),
            None => (StatusCode::OK, but("OK", self.hindrances())),
        }
    }

    fn stand_by(&self) -> (StatusCode, String) {
        if let (Reach::Never { .. }, Some(problem)) = (&self.home.reach, self.home.reach.problem())
        {
            return (StatusCode::SERVICE_UNAVAILABLE, problem);
        }
        let text = match (self.standing.role, &self.leader) {
            (Role::Starting, _) => "OK: about to lead".to_owned(),
            (_, Some(leader)) => format!("OK: stand-by of {leader}"),
            (_, None) => "OK: stand-by, no leader is known".to_owned(),
        };
        (StatusCode::OK, but(&text, self.hindrances()))
    }

    /// Whether only an operator can help: whoever is started in our place is in the same position,
    /// or takes the framework away from another that acts.
    fn waits_for_an_operator(&self) -> bool {
        matches!(
            self.connection.state,
            ConnectionState::Removed | ConnectionState::FailedOver
        )
    }

    /// Why a leader should be replaced.
    fn ailment(&self) -> Option<String> {
        if self.waits_for_an_operator() {
            return None;
        }
        // One that has just taken over has had no time to hear the master.
        let took_over = (self.home.kind == HomeKind::ZooKeeper).then_some(self.standing.began);
        let heard = self.connection.last_heard.max(took_over);
        let age = heard.map(|heard| heard.elapsed());
        if age.is_some_and(|age| age < self.heartbeat_max) {
            return None;
        }
        let silence = match age {
            Some(age) => format!("no heartbeat for {} seconds", age.as_secs()),
            None => "no heartbeat yet".to_owned(),
        };
        Some(match self.connection.problem() {
            Some(problem) => format!("{silence}: {problem}"),
            None => silence,
        })
    }

    /// What keeps this Gantry from its work, where a restart would not help.
    fn hindrances(&self) -> Vec<String> {
        let brake = self.brake.as_ref().map(|brake| {
            format!(
                "the brake is on since {}: nothing is stopped or started again until it is released",
                brake.reason()
            )
        });
        // It speaks of the store, where that is the problem.
        let connection = self.waits_for_an_operator();
        let connection = connection.then(|| self.connection.problem()).flatten();
        let faults = self.standing.faults().map(|fault| fault.reason.clone());
        let others = [
            connection.or_else(|| self.connection.store.problem()),
            self.home.reach.problem(),
            brake,
            super::unreadable::clause(&self.unreadable),
        ];
        faults.chain(others.into_iter().flatten()).collect()
    }
}

fn but(text: &str, hindrances: Vec<String>) -> String {
    if hindrances.is_empty() {
        return text.to_owned();
    }
    format!("{text}, but {}", hindrances.join("; "))
}

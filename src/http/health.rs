//! `/health`: what Marathon asks to know whether to restart us.

use std::time::Duration;

use actix_web::{HttpResponse, http::header, web};

use super::{AppState, now};
use crate::runtime::{ConnectionState, ConnectionStatus, StoreState};

/// 200 `OK` while the master is being heard of, 500 with the reason at once otherwise.
pub(crate) async fn get(state: web::Data<AppState>) -> HttpResponse {
    let connection = state.handle().connection();
    let (mut response, text) = match ailment(&connection, state.settings().heartbeat_max) {
        None => (HttpResponse::Ok(), "OK".to_owned()),
        Some(reason) => (HttpResponse::InternalServerError(), reason),
    };
    response
        .insert_header((header::CONTENT_TYPE, "text/html; charset=utf-8"))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(handlebars::html_escape(&text))
}

fn ailment(connection: &ConnectionStatus, heartbeat_max: Duration) -> Option<String> {
    // What will not mend itself is told at once, however fresh the last heartbeat.
    let for_good = matches!(connection.store, StoreState::Refused { .. })
        || matches!(
            connection.state,
            ConnectionState::Removed | ConnectionState::FailedOver
        );
    if for_good {
        return connection.problem();
    }
    let age = connection.last_heard.map(|heard| now().since(heard));
    if age.is_some_and(|age| age < heartbeat_max) {
        return None;
    }
    let silence = match age {
        Some(age) => format!("no heartbeat for {} seconds", age.as_secs()),
        None => "no heartbeat yet".to_owned(),
    };
    Some(match connection.problem() {
        Some(problem) => format!("{silence}: {problem}"),
        None => silence,
    })
}

//! What is stored: compared with a declaration, and as a whole.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    sync::atomic::{AtomicBool, Ordering},
};

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{self, HeaderName, HeaderValue},
    web,
};
use gantry_core::{Found, Settings};

use super::{off_thread, to_json};
use crate::{
    backup::Backup,
    http::{
        AppState, body,
        error::{ApiError, Code},
    },
    plan::{Declaration, Report},
};

/// Largest declaration: a thousand task types of 16 kB.
pub(crate) const DECLARATION_BYTES_MAX: usize = 16 << 20;

/// Most instances in all of a declaration, each of which takes a kilobyte while it is looked at.
const INSTANCES_MAX: u64 = 2_000_000;

/// Whether the whole store is being read for somebody: one at a time, as it takes as much memory
/// as the scheduler itself.
static BUSY: AtomicBool = AtomicBool::new(false);

struct Turn;

impl Turn {
    fn take() -> Result<Self, ApiError> {
        if BUSY.swap(true, Ordering::AcqRel) {
            let message = "the store is being read for another plan or backup";
            return Err(ApiError::new(Code::Busy, message).remedy("try again in a moment"));
        }
        Ok(Self)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        BUSY.store(false, Ordering::Release);
    }
}

/// What a start with this declaration would change.
pub(crate) async fn plan(
    state: web::Data<AppState>,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let declaration: Declaration = body::large_json(&state, payload, DECLARATION_BYTES_MAX).await?;
    let framework = state.settings().framework_in_ids.clone();
    if declaration.framework != *framework {
        return Err(ApiError::new(
            Code::BadRequest,
            format!(
                "the declaration is of the framework '{}', and this is '{framework}'",
                declaration.framework
            ),
        ));
    }
    let services = declaration.into_services();
    let mut names = BTreeSet::new();
    for service in &services {
        if !names.insert(service.name.in_task_ids()) {
            let message = format!("{} is declared twice", service.name);
            return Err(ApiError::new(Code::BadRequest, message));
        }
    }
    let instances = services.iter().map(|service| u64::from(service.instances));
    if instances.sum::<u64>() > INSTANCES_MAX {
        let message = format!("more than {INSTANCES_MAX} instances are declared");
        return Err(ApiError::new(Code::TooManyInstances, message));
    }
    let turn = Turn::take()?;
    let loaded = state.handle().stored_lately().await?;
    off_thread(&state, move |_| {
        let _turn = turn;
        let mut found = Found::from(loaded);
        found.records = crate::plan::sealed_records(&framework, found.records);
        let settings = Settings::new(framework);
        to_json(&Report::of(&settings, services, found))
    })
    .await
}

/// All that is stored, for `gantry backup`: addresses of files to fetch may hold passwords, which are
/// masked everywhere else. Without login only programs of the same machine get it.
pub(crate) async fn backup(
    request: HttpRequest,
    state: web::Data<AppState>,
) -> Result<HttpResponse, ApiError> {
    if state.gate().is_open() {
        from_this_machine(&request)?;
    }
    let turn = Turn::take()?;
    let loaded = state.handle().stored().await?;
    if let Some(rejected) = loaded.rejected.first() {
        let message = format!(
            "the stored record {} cannot be understood: {}",
            rejected.key, rejected.reason
        );
        let remedy = "stop Gantry and run `gantry backup` on the store, which leaves such out";
        return Err(ApiError::new(Code::UnreadableRecord, message).remedy(remedy));
    }
    let framework = state.settings().framework_in_ids.clone();
    off_thread(&state, move |_| {
        let _turn = turn;
        let text = Backup::of(&framework, loaded).to_text();
        let text = text.map_err(|error| ApiError::new(Code::Internal, error.to_string()))?;
        Ok(text.into_bytes())
    })
    .await
    .map(|mut response| {
        let lines = HeaderValue::from_static("application/x-ndjson");
        response.headers_mut().insert(header::CONTENT_TYPE, lines);
        response
    })
}

/// Makes sure that a program of this machine asks for itself: no proxy for another, and no browser for
/// a page that has made its own name lead here.
fn from_this_machine(request: &HttpRequest) -> Result<(), ApiError> {
    const OF_OTHERS: [HeaderName; 5] = [
        header::FORWARDED,
        header::VIA,
        header::ORIGIN,
        header::REFERER,
        HeaderName::from_static("x-forwarded-for"),
    ];
    let headers = request.headers();
    let plain = OF_OTHERS.iter().all(|name| !headers.contains_key(name));
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    // Where we listen at one address alone, programs of this machine come from it.
    let ours = request.app_config().local_addr();
    let peer = request.peer_addr().map(|peer| peer.ip());
    let local = peer.is_some_and(|peer| peer.is_loopback() || peer == ours.ip());
    if plain && local && host.is_some_and(is_address) {
        return Ok(());
    }
    let scheme = if request.app_config().secure() {
        "https"
    } else {
        "http"
    };
    let address = if ours.ip().is_unspecified() {
        SocketAddr::from(([127, 0, 0, 1], ours.port()))
    } else {
        ours
    };
    let message = format!(
        "without login, a backup is given to programs of the same machine alone, which ask \
         {scheme}://{address}: under no name, and through no proxy"
    );
    Err(ApiError::new(Code::Forbidden, message)
        .remedy("run `gantry backup` there, or on the store itself"))
}

/// `127.0.0.1:3000`, `[::1]`, `localhost`: what no name of another can be.
fn is_address(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    name == "localhost"
        || host.parse::<SocketAddr>().is_ok()
        || name.parse::<IpAddr>().is_ok()
        || host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .is_some_and(|host| host.parse::<IpAddr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_are_no_names_of_others() {
        for host in [
            "127.0.0.1:3000",
            "10.0.0.1",
            "[::1]:1",
            "[::1]",
            "localhost:3000",
        ] {
            assert!(is_address(host), "{host}");
        }
        for host in [
            "evil.example:3000",
            "localhost.evil",
            "",
            "[x]",
            "127.0.0.1.evil:1",
        ] {
            assert!(!is_address(host), "{host}");
        }
    }
}

//! The HTTP faces: the boilerplate's routes, the full model under `/api/v2`, and the dashboard.
//!
//! Handlers read an immutable view and send commands; they know nothing else of the runtime.

mod access;
mod body;
mod compat;
mod error;
mod events;
mod health;
mod login;
mod logs;
pub(crate) mod mask;
mod metrics;
mod modules;
mod proxy;
mod query;
mod role;
mod routes;
mod security;
mod server;
mod settings;
#[cfg(test)]
mod tests;
mod tls;
mod unreadable;
mod v2;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Instant, SystemTime},
};

use actix_web::{
    HttpRequest, HttpResponse, ResponseError as _,
    http::header,
    middleware::from_fn,
    web::{self, ServiceConfig},
};
use gantry_core::{Actor, Answer, Command, Timestamp};
use tokio::sync::{Semaphore, watch};

use crate::{
    auth::{Caller, Gate, Proxies},
    cluster::Cluster,
    dashboard::Pages,
    modules::Modules,
    runtime::Handle,
};

pub use logs::{LOG_BYTES_MAX, LogTail};
pub use server::serve;
pub use settings::HttpSettings;

use body::Reason;
use error::{ApiError, Code};

/// Most changes that wait for a leader at once; more are refused at once.
const HELD_MAX: usize = 256;

/// What the handlers share. Cheap to clone.
#[derive(Clone)]
pub struct AppState(Arc<Shared>);

struct Shared {
    handle: Handle,
    settings: HttpSettings,
    modules: Modules,
    pages: Pages,
    /// What only masters and agents know.
    cluster: Cluster,
    trends: v2::Trends,
    gate: Gate,
    proxies: Proxies,
    event_streams: Arc<Semaphore>,
    /// Places of changes that wait for a leader.
    held: Semaphore,
    /// To hand changes to the leader.
    proxy: proxy::Client,
    restart: watch::Sender<bool>,
    leaving: AtomicBool,
    started: Instant,
    started_at: Timestamp,
}

impl AppState {
    /// The state of the faces, around a handle on the runtime; without modules.
    pub fn new(handle: Handle, settings: HttpSettings) -> Self {
        Self::with_modules(handle, settings, Modules::none())
    }

    /// The same, with modules.
    pub(crate) fn with_modules(handle: Handle, settings: HttpSettings, modules: Modules) -> Self {
        let proxy = proxy::Client::new(settings.tls.as_ref(), settings.advertised_ca.as_deref());
        let pages = Pages::new(settings.templates_dir.clone(), settings.static_dir.clone());
        let gate = Gate::new(
            &settings.auth,
            &settings.framework_in_ids,
            &settings.url_prefix,
        );
        let proxies = Proxies::new(settings.trusted_proxies.clone());
        Self(Arc::new(Shared {
            cluster: Cluster::new(&settings.mesos),
            trends: v2::Trends::default(),
            gate,
            proxies,
            event_streams: Arc::new(Semaphore::new(settings.event_streams_max)),
            held: Semaphore::new(HELD_MAX),
            proxy,
            handle,
            settings,
            modules,
            pages,
            restart: watch::Sender::new(false),
            leaving: AtomicBool::new(false),
            started: Instant::now(),
            started_at: now(),
        }))
    }

    /// Asks whoever awaits [`AppState::restart_requested`] to stop the program, so that its
    /// supervisor starts it again.
    pub fn request_restart(&self) {
        self.0.restart.send_replace(true);
    }

    /// Completes once a restart of the program has been asked for. The answer to the one who asked
    /// may still be on its way: the program should exit one second later, with code 0.
    pub async fn restart_requested(&self) {
        // The sender lives as long as `self`, so that this cannot fail.
        let _ = self.0.restart.subscribe().wait_for(|asked| *asked).await;
    }

    /// The process is about to end: once it does not lead any more, changes are refused at once instead
    /// of held. A Gantry that has handed one on here takes it to the next leader.
    pub fn leave(&self) {
        self.0.leaving.store(true, Ordering::Relaxed);
    }

    fn is_leaving(&self) -> bool {
        self.0.leaving.load(Ordering::Relaxed)
    }

    /// Remembers how the workloads are, every few seconds, for as long as it is awaited.
    pub async fn keep_trends(&self) {
        self.0.trends.keep(self.handle()).await;
    }

    pub(crate) fn cluster(&self) -> &Cluster {
        &self.0.cluster
    }

    fn handle(&self) -> &Handle {
        &self.0.handle
    }

    pub(crate) fn settings(&self) -> &HttpSettings {
        &self.0.settings
    }

    pub(crate) fn modules(&self) -> &Modules {
        &self.0.modules
    }

    pub(crate) fn gate(&self) -> &Gate {
        &self.0.gate
    }

    fn proxies(&self) -> &Proxies {
        &self.0.proxies
    }

    pub(crate) fn pages(&self) -> &Pages {
        &self.0.pages
    }

    async fn command(
        &self,
        request: &HttpRequest,
        reason: Option<Reason>,
        command: Command,
    ) -> Result<Answer, ApiError> {
        let caller = Caller::of(request).name;
        if let Some(refusal) = self.modules().refusal(&caller, &command).await {
            let message = format!("module {} refuses: {}", refusal.module, refusal.reason);
            return Err(ApiError::new(Code::RefusedByModule, message));
        }
        let actor = Actor {
            name: caller,
            address: proxy::asked_by(request),
            reason: reason
                .map(|reason| reason.0)
                .filter(|text| !text.is_empty()),
        };
        Ok(self.handle().command(actor, command).await?)
    }
}

/// All routes, for an actix application.
pub fn configure(state: AppState) -> impl FnOnce(&mut ServiceConfig) + Clone {
    move |config| {
        let paths = web::PathConfig::default().error_handler(|error, request| {
            // As for what is not there at all, but where the full model says what does not fit.
            let error = if request.path().starts_with("/api/v2/") {
                ApiError::new(Code::BadRequest, format!("the path does not fit: {error}"))
            } else {
                ApiError::new(Code::NotFound, format!("there is no {}", request.path()))
            };
            error.into()
        });
        config
            .app_data(paths)
            .app_data(web::Data::new(state))
            .service(
                web::scope("")
                    .wrap(from_fn(security::guard))
                    .configure(routes::configure),
            );
    }
}

/// The answer of the original's web framework to what it does not know.
pub(crate) async fn not_found(request: HttpRequest) -> HttpResponse {
    if request.path().starts_with("/api/v2/") {
        let message = format!("there is no {}", request.path());
        return ApiError::new(Code::NotFound, message).error_response();
    }
    let text = format!("Cannot {} {}\n", request.method(), request.path());
    HttpResponse::NotFound()
        .insert_header((header::CONTENT_TYPE, "text/html; charset=utf-8"))
        .body(html_text(&text))
}

/// Text as the content of a page, where quotes stay what they are: programs read it too.
fn html_text(text: &str) -> String {
    let text = text.replace('&', "&amp;");
    text.replace('<', "&lt;").replace('>', "&gt;")
}

/// The wall clock, only to tell how long ago something was.
fn now() -> Timestamp {
    let since_epoch = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::from_millis(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}

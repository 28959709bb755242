//! All parts put together: store, scheduler, HTTP; run until told to stop, then drained.

mod home;
mod signals;

use std::{
    io,
    net::{SocketAddr, TcpListener, ToSocketAddrs as _},
    sync::Arc,
    time::Duration,
};

use actix_web::dev::ServerHandle;
use gantry_core::{FrameworkId, stored_view};
use gantry_store::{Embedded, Memory, Store, StoreError};
use thiserror::Error;
use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    config::{self, Config},
    http::{self, AppState, HttpSettings},
    modules::Modules,
    runtime::{self, Candidate, Handle, Home, HomeKind, RuntimeError, Term, Work},
};
use home::{Alone, Ensemble};

pub use signals::Signals;

/// Between the answer to a restart and the exit, so that the answer arrives.
const RESTART_DELAY: Duration = Duration::from_secs(1);

/// What HTTP may take of the time of the shutdown: clients that keep a connection open without a
/// request are not waited for any longer.
const HTTP_DRAIN: Duration = Duration::from_secs(1);

/// After the lead was given up HTTP goes on for so long, until the other Gantrys have heard of it:
/// what they hand on to one that closes its connections might have taken effect or not.
const FAREWELL: Duration = Duration::from_millis(500);

/// What is decided at the start, apart from the configuration.
#[derive(Clone, Debug, Default)]
pub struct StartOptions {
    /// Begin with a new framework id if this one is stored: the master has removed it, with its tasks.
    pub forget_framework_id: Option<FrameworkId>,
}

/// A running Gantry.
pub struct Service {
    handle: Handle,
    candidate: JoinHandle<Result<(), RuntimeError>>,
    modules: JoinHandle<()>,
    stop: CancellationToken,
    state: AppState,
    server: ServerHandle,
    serving: JoinHandle<io::Result<()>>,
    address: SocketAddr,
    shutdown_timeout: Duration,
}

/// Why Gantry could not be started.
#[derive(Debug, Error)]
pub enum StartError {
    /// The store cannot be opened or read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The scheduler could not begin.
    #[error(transparent)]
    Runtime(RuntimeError),
    /// The HTTP server's address cannot be had.
    #[error("HTTP cannot listen on {address}: {source}; free it, or set LISTEN or PORT0")]
    Listen {
        /// The address.
        address: config::Address,
        /// What the system says.
        source: io::Error,
    },
    /// The HTTP server cannot be started.
    #[error("the HTTP server cannot be started: {0}")]
    Serve(#[source] io::Error),
}

impl From<RuntimeError> for StartError {
    fn from(error: RuntimeError) -> Self {
        match error {
            RuntimeError::Store(error) => Self::Store(error),
            error => Self::Runtime(error),
        }
    }
}

/// Why Gantry ended without having been told to.
#[derive(Debug, Error)]
pub enum Failure {
    /// The scheduler cannot go on.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The HTTP server ended.
    #[error("the HTTP server ended: {0}")]
    Server(String),
    /// Draining took too long.
    #[error("not everything was done within the {} s of SHUTDOWN_TIMEOUT", .0.as_secs_f64())]
    Drain(Duration),
}

impl Service {
    /// Takes the address, opens the store, and starts scheduler and HTTP server. Alone with its
    /// store, Gantry acts when this returns; one of several on ZooKeeper serves HTTP at once,
    /// whether or not ZooKeeper can be reached, and acts when it is elected.
    ///
    /// # Errors
    /// See [`StartError`]; nothing is left running then.
    pub async fn start(config: &Config, options: StartOptions) -> Result<Self, StartError> {
        let listener = listen(&config.http.listen).map_err(|source| StartError::Listen {
            address: config.http.listen.clone(),
            source,
        })?;
        let port = listener.local_addr().map_err(StartError::Serve)?.port();
        let config = &config.clone().at_port(port);
        let modules = Modules::find(&config.framework, &config.modules);
        let (kind, store): (_, Arc<dyn Store>) = match &config.store {
            config::Store::Memory => (HomeKind::Memory, Arc::new(Memory::new())),
            config::Store::Embedded(path) => {
                (HomeKind::Embedded, Arc::new(Embedded::open(path).await?))
            }
            config::Store::ZooKeeper(place) => {
                let (home, handle) = Ensemble::open(place, config, empty(config));
                let candidate = candidate(home, handle.clone(), config, options);
                return Self::serve(config, listener, handle, candidate, None, modules);
            }
        };
        let (home, handle) = Alone::new(kind, Arc::clone(&store), config, empty(config));
        modules.expect(&handle);
        let mut candidate = candidate(home, handle.clone(), config, options);
        let term = candidate.begin(store).await?;
        Self::serve(config, listener, handle, candidate, Some(term), modules)
    }

    fn serve<H: Home>(
        config: &Config,
        listener: TcpListener,
        handle: Handle,
        candidate: Candidate<H>,
        term: Option<Term>,
        modules: Modules,
    ) -> Result<Self, StartError> {
        let address = listener.local_addr().map_err(StartError::Serve)?;
        let settings = HttpSettings::from_config(config);
        let state = AppState::with_modules(handle.clone(), settings, modules.clone());
        let server = http::serve(listener, state.clone()).map_err(StartError::Serve)?;
        let stop = CancellationToken::new();
        let trends = state.clone();
        let keep = async move { trends.keep_trends().await };
        tokio::spawn(stop.clone().run_until_cancelled_owned(keep));
        let service = Self {
            modules: tokio::spawn(modules.run(handle.clone())),
            handle,
            candidate: tokio::spawn(candidate.run(term, stop.clone())),
            stop,
            state,
            server: server.handle(),
            serving: tokio::spawn(server),
            address,
            shutdown_timeout: config.shutdown_timeout,
        };
        tracing::info!(%address, "HTTP is served");
        if config.auth.is_open() {
            tracing::warn!(
                "no login is configured: whoever reaches {address} can start, stop and scale tasks"
            );
        }
        Ok(service)
    }

    /// Where HTTP is served.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The way into the scheduler.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Runs until a signal or an operator asks for the end, then drains: takes no more commands,
    /// makes durable and sends what was decided, gives up the lead, closes HTTP. Tasks live on. A
    /// second signal ends the process at once.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn run(mut self, signals: &mut Signals) -> Result<(), Failure> {
        tokio::select! {
            name = signals.next() => tracing::info!(signal = name, "stopping"),
            () = self.state.restart_requested() => {
                tracing::info!("stopping, as a restart was asked for");
                sleep(RESTART_DELAY).await;
            }
            ended = &mut self.candidate => return match ended.map_err(RuntimeError::from) {
                Ok(Ok(())) => Err(Failure::Server("the candidate ended".to_owned())),
                Ok(Err(error)) | Err(error) => Err(error.into()),
            },
            ended = &mut self.serving => return Err(Failure::Server(match ended {
                Ok(Ok(())) => "it was stopped".to_owned(),
                Ok(Err(error)) => error.to_string(),
                Err(error) => error.to_string(),
            })),
        }
        self.modules.abort();
        self.stop.cancel();
        self.state.leave();
        let farewell = match self.handle.home().kind {
            HomeKind::ZooKeeper => FAREWELL.min(self.shutdown_timeout / 2),
            HomeKind::Embedded | HomeKind::Memory => Duration::ZERO,
        };
        let drain = drain(self.candidate, self.server, farewell);
        tokio::select! {
            outcome = timeout(self.shutdown_timeout, drain) => {
                outcome.map_err(|_| Failure::Drain(self.shutdown_timeout))??;
                tracing::info!("stopped");
                Ok(())
            }
            name = signals.impatient() => {
                tracing::warn!(signal = name, "stopping at once");
                Ok(())
            }
        }
    }
}

async fn drain(
    candidate: JoinHandle<Result<(), RuntimeError>>,
    server: ServerHandle,
    farewell: Duration,
) -> Result<(), RuntimeError> {
    let outcome = candidate.await;
    sleep(farewell).await;
    // From here on new connections are refused; answers under way are waited for.
    if timeout(HTTP_DRAIN, server.stop(true)).await.is_err() {
        server.stop(false).await;
    }
    outcome?
}

/// What readers see before anything was read.
fn empty(config: &Config) -> gantry_core::View {
    stored_view(
        runtime::wall(),
        &config.scheduler,
        gantry_core::Found::default(),
    )
}

fn candidate<H: Home>(
    home: H,
    handle: Handle,
    config: &Config,
    options: StartOptions,
) -> Candidate<H> {
    let principal = config.mesos.principal.as_deref();
    let work = Work {
        settings: config.scheduler.clone(),
        services: config.services.clone(),
        client: runtime::client(&config.mesos),
        info: runtime::framework_info(&config.framework, principal, &config.services),
    };
    Candidate::new(home, handle, work, options.forget_framework_id)
}

fn listen(address: &config::Address) -> io::Result<TcpListener> {
    let mut outcome = Err(io::Error::other("the name has no address"));
    for address in (address.host.as_str(), address.port).to_socket_addrs()? {
        outcome = TcpListener::bind(address);
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

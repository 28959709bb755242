//! All parts put together: store, scheduler, HTTP; run until told to stop, then drained.

use std::{
    io,
    net::{SocketAddr, TcpListener, ToSocketAddrs as _},
    sync::Arc,
    time::Duration,
};

use actix_web::dev::ServerHandle;
use futures_util::FutureExt as _;
use gantry_core::{Key, Record, Write};
use gantry_store::{Embedded, Memory, Store, StoreError};
use thiserror::Error;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task::JoinHandle,
    time::timeout,
};

use crate::{
    config::{self, Config},
    http::{self, AppState, HttpSettings},
    plan,
    runtime::{self, Handle, Parts, Runtime, RuntimeError},
};

/// Between the answer to a restart and the exit, so that the answer arrives.
const RESTART_DELAY: Duration = Duration::from_secs(1);

/// What HTTP may take of the time of the shutdown: clients that keep a connection open without a
/// request are not waited for any longer.
const HTTP_DRAIN: Duration = Duration::from_secs(1);

/// A signal that comes this soon after the first is the same one again.
const ECHO: Duration = Duration::from_millis(300);

/// What is decided at the start, apart from the configuration.
#[derive(Clone, Copy, Debug, Default)]
pub struct StartOptions {
    /// Begin with a new framework id: after the master has removed the old one, with its tasks.
    pub forget_framework_id: bool,
}

/// A running Gantry.
pub struct Service {
    handle: Handle,
    runtime: Runtime,
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
    /// Opens the store, takes the address, and starts scheduler and HTTP server.
    ///
    /// # Errors
    /// See [`StartError`]; nothing is left running then.
    pub async fn start(config: &Config, options: StartOptions) -> Result<Self, StartError> {
        let listener = listen(&config.http.listen).map_err(|source| StartError::Listen {
            address: config.http.listen.clone(),
            source,
        })?;
        let address = listener.local_addr().map_err(StartError::Serve)?;
        let store: Arc<dyn Store> = match &config.store {
            config::Store::Memory => Arc::new(Memory::new()),
            config::Store::Embedded(path) => Arc::new(Embedded::open(path).await?),
            config::Store::ZooKeeper(place) => {
                let reason = format!("ZooKeeper at {} is not served yet", place.hosts.join(","));
                return Err(StoreError::Unavailable { reason }.into());
            }
        };
        let records = load(&*store, options.forget_framework_id).await?;
        plan::log(&config.scheduler, &config.services, &records);

        let principal = config.mesos.principal.as_deref();
        let info = runtime::framework_info(&config.framework, principal, &config.services);
        let client = runtime::client(&config.mesos);
        let (handle, runtime) = Runtime::start(Parts {
            settings: config.scheduler.clone(),
            services: config.services.clone(),
            store,
            records,
            client,
            info,
        });
        let state = AppState::new(handle.clone(), HttpSettings::from_config(config));
        let server = http::serve(listener, state.clone()).map_err(StartError::Serve)?;
        let service = Self {
            handle,
            runtime,
            state,
            server: server.handle(),
            serving: tokio::spawn(server),
            address,
            shutdown_timeout: config.shutdown_timeout,
        };
        tracing::info!(%address, "HTTP is served");
        tracing::warn!(
            "no login is configured: whoever reaches {address} can start, stop and scale tasks"
        );
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
    /// makes durable and sends what was decided, closes HTTP. Tasks live on. A second signal ends
    /// the process at once.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn run(mut self, signals: &mut Signals) -> Result<(), Failure> {
        tokio::select! {
            name = signals.next() => tracing::info!(signal = name, "stopping"),
            () = self.state.restart_requested() => {
                tracing::info!("stopping, as a restart was asked for");
                tokio::time::sleep(RESTART_DELAY).await;
            }
            error = self.runtime.ended() => return Err(error.into()),
            ended = &mut self.serving => return Err(Failure::Server(match ended {
                Ok(Ok(())) => "it was stopped".to_owned(),
                Ok(Err(error)) => error.to_string(),
                Err(error) => error.to_string(),
            })),
        }
        tokio::select! {
            outcome = timeout(self.shutdown_timeout, drain(self.runtime, self.server)) => {
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

async fn drain(runtime: Runtime, server: ServerHandle) -> Result<(), RuntimeError> {
    // New connections are refused at once; answers under way are waited for below.
    let graceful = server.stop(true);
    let outcome = runtime.stop().await;
    if timeout(HTTP_DRAIN, graceful).await.is_err() {
        server.stop(false).await;
    }
    outcome
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

async fn load(store: &dyn Store, forget_framework_id: bool) -> Result<Vec<Record>, StoreError> {
    let loaded = store.load().await?;
    for rejected in &loaded.rejected {
        tracing::error!(
            key = rejected.key,
            reason = rejected.reason,
            "a stored record is left out and left alone"
        );
    }
    tracing::info!(records = loaded.records.len(), "the store is read");
    let mut records = loaded.records;
    if forget_framework_id {
        store.commit(vec![Write::Delete(Key::Framework)]).await?;
        records.retain(|record| !matches!(record, Record::Framework(_)));
        tracing::warn!("the framework id is forgotten: Mesos will give a new one");
    }
    Ok(records)
}

/// SIGTERM and SIGINT.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From now on the signals are ours. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The system refuses.
    pub fn catch() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for one that is meant to hasten the end. Supervisors often send the first one twice,
    /// to the process and to its group.
    async fn impatient(&mut self) -> &'static str {
        tokio::time::sleep(ECHO).await;
        while let Some(Some(())) = self.terminate.recv().now_or_never() {}
        while let Some(Some(())) = self.interrupt.recv().now_or_never() {}
        self.next().await
    }

    /// Waits for the next, and tells its name.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

//! Starting, steering and stopping a cluster.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::http::{Listener, Server, Site};
use crate::hub::Hub;
use crate::options::{ClusterOptions, TaskMode};
use crate::process::Processes;
use crate::state::faults::{Fault, FaultError};

/// Why a cluster could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// An address could not be listened on.
    #[error("listening on {address} failed: {source}; choose another address or port 0")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// Everyone on the network could run commands here.
    #[error("{0} is not a loopback address: set credentials to listen there")]
    Exposed(SocketAddr),
    /// The sandboxes' parent could not be created.
    #[error("creating the work directory {path} failed: {source}")]
    WorkDir {
        /// The directory.
        path: std::path::PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The guardian of the processes could not be started.
    #[error("starting /bin/sh as the guardian of the tasks' processes failed: {0}")]
    Guardian(io::Error),
    /// The HTTP server could not be started.
    #[error("starting the HTTP server failed: {0}")]
    Server(io::Error),
}

/// Starts clusters.
#[derive(Debug)]
pub struct Cluster;

/// A running cluster. Dropping it ends the cluster without waiting for it; the
/// processes of its tasks are killed either way.
#[derive(Debug)]
pub struct ClusterHandle {
    hub: Arc<Hub>,
    site: Arc<Site>,
    server: Server,
    processes: Option<Processes>,
    ticker: JoinHandle<()>,
}

impl Cluster {
    /// Starts a master, its agents and their HTTP servers. Must be called in a tokio runtime
    /// with time and I/O enabled; HTTP is served by threads of its own.
    ///
    /// # Errors
    ///
    /// [`StartError`]; nothing is left running then.
    pub async fn start(options: ClusterOptions) -> Result<ClusterHandle, StartError> {
        for address in std::iter::once(options.listen).chain(options.standby) {
            if !address.ip().is_loopback() && options.credentials.is_empty() {
                return Err(StartError::Exposed(address));
            }
        }
        let options = Arc::new(options);
        let master = listen(options.listen)?;
        let standby = options.standby.map(listen).transpose()?;
        let mut masters = vec![master.0];
        let mut sockets = vec![(master.1, Listener::Master(0))];
        if let Some((address, socket)) = standby {
            masters.push(address);
            sockets.push((socket, Listener::Master(1)));
        }

        let (actions, orders) = mpsc::unbounded_channel();
        let hub = Hub::new(Arc::clone(&options), master.0, actions);
        for agent in &options.agents {
            if matches!(options.mode, TaskMode::Real { .. }) {
                let (own, socket) = listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
                let key = hub.turn(|s| s.add_agent(agent, own.ip(), own.port()));
                sockets.push((socket, Listener::Agent(key)));
            } else {
                hub.turn(|s| s.add_agent(agent, master.0.ip(), master.0.port()));
            }
        }
        let processes = match &options.mode {
            TaskMode::Real { work_dir } => {
                Some(Processes::start(work_dir, Arc::clone(&hub), orders)?)
            }
            TaskMode::Simulated(_) => None,
        };
        let site = Arc::new(Site::new(Arc::clone(&hub), options, masters));
        let server = Server::start(Arc::clone(&site), sockets).map_err(StartError::Server)?;
        let ticking = Arc::clone(&hub);
        let ticker = tokio::spawn(async move { ticking.tick().await });
        Ok(ClusterHandle {
            hub,
            site,
            server,
            processes,
            ticker,
        })
    }
}

fn listen(address: SocketAddr) -> Result<(SocketAddr, TcpListener), StartError> {
    let failed = |source| StartError::Listen { address, source };
    let socket = TcpListener::bind(address).map_err(failed)?;
    Ok((socket.local_addr().map_err(failed)?, socket))
}

impl ClusterHandle {
    /// Where the leading master listens.
    #[must_use]
    pub fn master_address(&self) -> SocketAddr {
        self.hub.turn(|s| s.leader())
    }

    /// Where all masters listen, the first one first.
    #[must_use]
    pub fn master_addresses(&self) -> Vec<SocketAddr> {
        self.site.masters()
    }

    /// The ids of the agents, in the order of the options.
    #[must_use]
    pub fn agent_ids(&self) -> Vec<String> {
        self.hub
            .turn(|s| s.agents.iter().map(|a| a.id.clone()).collect())
    }

    /// Makes something go wrong, at once.
    ///
    /// # Errors
    ///
    /// [`FaultError`] if the fault names something that is not there.
    pub fn inject(&self, fault: Fault) -> Result<(), FaultError> {
        self.site.inject(fault)
    }

    /// Ends the cluster: kills every task, closes every connection, and waits for it.
    pub async fn shutdown(mut self) {
        if let Some(processes) = self.processes.take() {
            processes.stop().await;
        }
        self.hub.turn(|s| s.close_all());
        self.server.stop();
    }
}

impl Drop for ClusterHandle {
    fn drop(&mut self) {
        self.ticker.abort();
        self.hub.turn(|s| s.close_all());
        self.server.stop();
    }
}

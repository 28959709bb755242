//! What only masters and agents know: which agents there are, what tasks write, and what they use.
//!
//! Read when somebody asks, with the credentials that Gantry has itself. Everything is bounded: how
//! many questions are open at once, how long one may take, and how much of an answer is taken.

mod inventory;
mod output;
mod usage;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use gantry_core::AgentAddress;
use gantry_mesos::{
    address::HostPort,
    http::HttpOptions,
    operator::{OperatorClient, OperatorError, OperatorLimits},
};
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub(crate) use inventory::{AgentState, Amounts, Inventory, KnownAgent};
pub(crate) use output::{OUTPUT_BYTES_MAX, Span};

/// How long a master or agent may take. An agent answers such questions in milliseconds.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Longest pause within a download.
const STALL_MAX: Duration = Duration::from_secs(30);

/// Largest answer: 10,000 agents are some 20 MB.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Most questions to agents at once; more are refused.
const QUESTIONS_MAX: usize = 64;

/// The cluster, as far as it can be asked. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Cluster(Arc<Shared>);

struct Shared {
    /// None when it could not be set up; the reason was logged.
    client: Option<OperatorClient>,
    /// Certificates are made out for names, and plain text needs none to be resolved.
    by_name: bool,
    questions: Arc<Semaphore>,
    inventory: tokio::sync::Mutex<inventory::Kept>,
    samples: Mutex<usage::Samples>,
}

/// Why the cluster did not say what was asked.
#[derive(Debug, Error)]
pub(crate) enum ClusterError {
    /// Too many questions are open.
    #[error("{QUESTIONS_MAX} questions to agents are open already")]
    Busy,
    /// There is no such file.
    #[error("there is no such file on {agent}")]
    NoFile {
        /// The agent's host name.
        agent: String,
    },
    /// The task is not among the agent's containers.
    #[error("{agent} has no container of this task")]
    NoContainer {
        /// The agent's host name.
        agent: String,
    },
    /// Nobody answers.
    #[error("{0}")]
    Unreachable(String),
    /// It says no, or what cannot be understood.
    #[error("{0}")]
    Refused(String),
}

impl Cluster {
    /// With these credentials and this trust.
    pub(crate) fn new(http: &HttpOptions) -> Self {
        let limits = OperatorLimits {
            request_timeout: ANSWER_WITHIN,
            download_stall_max: STALL_MAX,
            answer_bytes_max: ANSWER_BYTES_MAX,
            ..OperatorLimits::default()
        };
        let client = OperatorClient::new(http.clone(), limits);
        if let Err(error) = &client {
            tracing::error!(%error, "masters and agents cannot be asked for agents and output");
        }
        Self(Arc::new(Shared {
            client: client.ok(),
            by_name: http.tls.is_some(),
            questions: Arc::new(Semaphore::new(QUESTIONS_MAX)),
            inventory: tokio::sync::Mutex::default(),
            samples: Mutex::default(),
        }))
    }

    fn client(&self) -> Result<&OperatorClient, ClusterError> {
        let missing = || ClusterError::Refused("the HTTP client could not be set up".to_owned());
        self.0.client.as_ref().ok_or_else(missing)
    }

    fn place(&self) -> Result<OwnedSemaphorePermit, ClusterError> {
        let questions = Arc::clone(&self.0.questions);
        questions
            .try_acquire_owned()
            .map_err(|_| ClusterError::Busy)
    }

    /// Where the HTTP API of an agent is.
    fn address(&self, agent: &AgentAddress) -> HostPort {
        let host = if self.0.by_name || agent.ip.is_empty() {
            &agent.hostname
        } else {
            &agent.ip
        };
        HostPort {
            host: host.clone(),
            port: agent.port,
        }
    }
}

impl ClusterError {
    fn of(error: &OperatorError, agent: &AgentAddress) -> Self {
        let name = &agent.hostname;
        match error {
            OperatorError::Status { status: 404, .. } => Self::NoFile {
                agent: name.clone(),
            },
            OperatorError::Status {
                status: 401 | 403, ..
            } => Self::Refused(format!(
                "agent {name} does not let Gantry read there: {error}"
            )),
            OperatorError::Network { .. } | OperatorError::Timeout { .. } => {
                Self::Unreachable(format!(
                    "agent {name} cannot be asked, and may be gone with all that was there: {error}"
                ))
            }
            _ => Self::Refused(format!("agent {name}: {error}")),
        }
    }
}

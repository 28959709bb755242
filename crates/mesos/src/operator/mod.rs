//! A client for the operator API of masters and agents, and for the files of
//! sandboxes.

mod files;

use std::time::Duration;

use prost::Message;
use reqwest::header::{ACCEPT, CONTENT_TYPE, LOCATION};
use reqwest::{RequestBuilder, Response, StatusCode};
use thiserror::Error;

pub use files::{Download, FileChunk, FileInfo, FilePart, sandbox_path, task_sandbox_path};

use crate::address::{HostPort, redirect_target};
use crate::descriptor::MesosMessage;
use crate::http::{HOPS_MAX, Http, HttpOptions, PROTOBUF, SetupError, body_up_to, error_text};
use crate::required;
use crate::v1::{agent, master};

/// Limits of an operator client.
#[derive(Clone, Debug)]
pub struct OperatorLimits {
    /// From sending a request to the end of its answer. Default 30 s: the state of a
    /// large cluster takes a master seconds to write.
    pub request_timeout: Duration,
    /// Longest pause within a download. Default 30 s.
    pub download_stall_max: Duration,
    /// Largest answer of an API call, in bytes. Default 256 MiB, as for a record.
    pub answer_bytes_max: usize,
    /// Largest list of files, in bytes. Default 16 MiB, some 50,000 files.
    pub browse_bytes_max: usize,
    /// Largest file that can be downloaded, in bytes. Default 4 GiB; it is never held
    /// in memory.
    pub download_bytes_max: u64,
}

impl Default for OperatorLimits {
    fn default() -> Self {
        Self {
            request_timeout: Duration::from_secs(30),
            download_stall_max: Duration::from_secs(30),
            answer_bytes_max: crate::recordio::RECORD_BYTES_MAX,
            browse_bytes_max: 16 << 20,
            download_bytes_max: 4 << 30,
        }
    }
}

/// Why a question to a master or agent has no answer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OperatorError {
    /// The peer could not be reached, or the connection broke.
    #[error("asking {peer} failed: {reason}")]
    Network {
        /// The master or agent.
        peer: HostPort,
        /// What the network said.
        reason: String,
    },
    /// The answer took too long.
    #[error("{peer} did not answer within {} s", limit.as_secs_f64())]
    Timeout {
        /// The master or agent.
        peer: HostPort,
        /// The limit.
        limit: Duration,
    },
    /// The peer refused, or cannot answer now.
    #[error("{peer} answered {status}: {text}")]
    Status {
        /// The master or agent.
        peer: HostPort,
        /// The HTTP status; 404 of a file means that it does not exist (any more).
        status: u16,
        /// The beginning of the body.
        text: String,
    },
    /// The answer is larger than the limit.
    #[error("the answer of {peer} is larger than {limit} bytes")]
    TooLarge {
        /// The master or agent.
        peer: HostPort,
        /// The limit, in bytes.
        limit: u64,
    },
    /// The answer cannot be understood.
    #[error("the answer of {peer} cannot be understood: {reason}")]
    Unreadable {
        /// The master or agent.
        peer: HostPort,
        /// What is wrong with it.
        reason: String,
    },
    /// Masters sent the client round and round.
    #[error("gave up after {HOPS_MAX} redirects; the masters do not agree on who leads yet")]
    RedirectLoop,
}

/// Asks masters and agents. Cheap to clone.
#[derive(Clone, Debug)]
pub struct OperatorClient {
    http: Http,
    limits: OperatorLimits,
}

impl OperatorClient {
    /// A client with these settings.
    ///
    /// # Errors
    ///
    /// [`SetupError`] if TLS or HTTP cannot be set up.
    pub fn new(options: HttpOptions, limits: OperatorLimits) -> Result<Self, SetupError> {
        Ok(Self {
            http: Http::new(options, None)?,
            limits,
        })
    }

    /// Sends a call to a master and follows it to the leader.
    ///
    /// # Errors
    ///
    /// [`OperatorError`]. Calls that change something are answered without a body,
    /// which gives a response without a type.
    pub async fn master_call(
        &self,
        master: &HostPort,
        call: &master::Call,
    ) -> Result<master::Response, OperatorError> {
        self.call(master, call).await
    }

    /// Sends a call to an agent. Not for the calls that answer with a stream.
    ///
    /// # Errors
    ///
    /// [`OperatorError`].
    pub async fn agent_call(
        &self,
        agent: &HostPort,
        call: &agent::Call,
    ) -> Result<agent::Response, OperatorError> {
        self.call(agent, call).await
    }

    /// Who leads, and since when.
    ///
    /// # Errors
    ///
    /// [`OperatorError`].
    pub async fn get_master(
        &self,
        master: &HostPort,
    ) -> Result<master::response::GetMaster, OperatorError> {
        let response = self
            .master_call(master, &query(master::call::Type::GetMaster))
            .await?;
        expect(master, response.get_master)
    }

    /// The agents that are registered with the master, and those it waits for.
    ///
    /// # Errors
    ///
    /// [`OperatorError`].
    pub async fn get_agents(
        &self,
        master: &HostPort,
    ) -> Result<master::response::GetAgents, OperatorError> {
        let response = self
            .master_call(master, &query(master::call::Type::GetAgents))
            .await?;
        expect(master, response.get_agents)
    }

    /// Everything the master knows of agents, frameworks, executors and tasks.
    ///
    /// # Errors
    ///
    /// [`OperatorError`].
    pub async fn get_state(
        &self,
        master: &HostPort,
    ) -> Result<master::response::GetState, OperatorError> {
        let response = self
            .master_call(master, &query(master::call::Type::GetState))
            .await?;
        expect(master, response.get_state)
    }

    /// The containers of an agent with what they use, without nested ones: one for each executor,
    /// and so for each task that brings none.
    ///
    /// # Errors
    ///
    /// [`OperatorError`].
    pub async fn get_containers(
        &self,
        agent: &HostPort,
    ) -> Result<agent::response::GetContainers, OperatorError> {
        let call = agent::Call {
            r#type: Some(agent::call::Type::GetContainers.into()),
            get_containers: Some(agent::call::GetContainers::default()),
            ..Default::default()
        };
        let response = self.agent_call(agent, &call).await?;
        expect(agent, response.get_containers)
    }

    async fn call<C: Message, R: MesosMessage>(
        &self,
        peer: &HostPort,
        call: &C,
    ) -> Result<R, OperatorError> {
        let body: bytes::Bytes = call.encode_to_vec().into();
        let asking = async {
            let mut peer = peer.clone();
            for _ in 0..=HOPS_MAX {
                let request = self
                    .http
                    .client
                    .post(format!("{}://{peer}/api/v1", self.http.scheme.as_str()))
                    .header(CONTENT_TYPE, PROTOBUF)
                    .header(ACCEPT, PROTOBUF)
                    .body(body.clone());
                match self.send(&peer, request).await? {
                    Sent::Redirect(leader) => peer = leader,
                    Sent::Answer(mut answer) => {
                        let limit = self.limits.answer_bytes_max;
                        let bytes = self.body(&peer, &mut answer, limit).await?;
                        return required::decode(&bytes).map_err(|e| OperatorError::Unreadable {
                            peer: peer.clone(),
                            reason: e.to_string(),
                        });
                    }
                }
            }
            Err(OperatorError::RedirectLoop)
        };
        self.limited(peer, asking).await
    }

    async fn limited<T>(
        &self,
        peer: &HostPort,
        asking: impl Future<Output = Result<T, OperatorError>>,
    ) -> Result<T, OperatorError> {
        let limit = self.limits.request_timeout;
        match tokio::time::timeout(limit, asking).await {
            Ok(result) => result,
            Err(_) => Err(OperatorError::Timeout {
                peer: peer.clone(),
                limit,
            }),
        }
    }

    async fn send(&self, peer: &HostPort, request: RequestBuilder) -> Result<Sent, OperatorError> {
        let sent = self.http.authorized(request).send().await;
        let mut response = sent.map_err(|e| network(peer, &e))?;
        let status = response.status();
        if status.is_success() {
            return Ok(Sent::Answer(response));
        }
        let location = response
            .headers()
            .get(LOCATION)
            .and_then(|v| v.to_str().ok());
        if status == StatusCode::TEMPORARY_REDIRECT
            && let Some(leader) = location.and_then(redirect_target)
        {
            return Ok(Sent::Redirect(leader));
        }
        let text = error_text(&mut response, self.limits.request_timeout).await;
        Err(OperatorError::Status {
            peer: peer.clone(),
            status: status.as_u16(),
            text,
        })
    }

    async fn body(
        &self,
        peer: &HostPort,
        answer: &mut Response,
        limit: usize,
    ) -> Result<Vec<u8>, OperatorError> {
        body_up_to(answer, limit).await.map_err(|e| match e {
            Some(e) => network(peer, &e),
            None => OperatorError::TooLarge {
                peer: peer.clone(),
                limit: limit as u64,
            },
        })
    }
}

enum Sent {
    Answer(Response),
    Redirect(HostPort),
}

fn query(r#type: master::call::Type) -> master::Call {
    master::Call {
        r#type: Some(r#type.into()),
        ..Default::default()
    }
}

fn expect<T>(peer: &HostPort, part: Option<T>) -> Result<T, OperatorError> {
    part.ok_or_else(|| OperatorError::Unreadable {
        peer: peer.clone(),
        reason: "it lacks the part that was asked for".to_owned(),
    })
}

fn network(peer: &HostPort, error: &reqwest::Error) -> OperatorError {
    OperatorError::Network {
        peer: peer.clone(),
        reason: crate::http::root_cause(error),
    }
}

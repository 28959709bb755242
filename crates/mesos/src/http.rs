//! What all clients of this crate share: how to reach a master or agent over HTTP.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::HeaderValue;
use reqwest::redirect::Policy;
use thiserror::Error;

use crate::address::Scheme;
use crate::credentials::Credentials;
use crate::tls::{self, TlsError, TlsOptions};

/// Longest part of an error answer that is kept, in bytes.
pub(crate) const ERROR_BODY_BYTES_MAX: usize = 4096;

/// The content type all protobuf bodies have.
pub(crate) const PROTOBUF: &str = "application/x-protobuf";

/// Most redirects followed for one request. mesos-go, which has met the real
/// world's proxies, allows as many.
pub(crate) const HOPS_MAX: u32 = 9;

/// How to reach masters and agents.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// Sent with every request, also to the target of a redirect.
    pub credentials: Option<Credentials>,
    /// Set: speak TLS, unless the master address says `http://`. Unset: speak plain
    /// text, unless it says `https://`, which then trusts the public authorities.
    pub tls: Option<TlsOptions>,
    /// Time limit of establishing a connection. Default 5 s: a reachable host answers
    /// in less, and trying the next master is better than waiting.
    pub connect_timeout: Duration,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            credentials: None,
            tls: None,
            connect_timeout: Duration::from_secs(5),
        }
    }
}

/// Why an HTTP client could not be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SetupError {
    /// TLS could not be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The HTTP library refused its settings.
    #[error("the HTTP client could not be set up: {0}")]
    Http(#[source] reqwest::Error),
}

/// A ready HTTP client.
#[derive(Clone, Debug)]
pub(crate) struct Http {
    pub(crate) client: reqwest::Client,
    pub(crate) tls: Arc<rustls::ClientConfig>,
    pub(crate) scheme: Scheme,
    pub(crate) authorization: Option<HeaderValue>,
    pub(crate) options: HttpOptions,
}

impl Http {
    /// `scheme` is what the master address says, if it does.
    pub(crate) fn new(options: HttpOptions, scheme: Option<Scheme>) -> Result<Self, SetupError> {
        let default = if options.tls.is_some() {
            Scheme::Https
        } else {
            Scheme::Http
        };
        let config = tls::client_config(&options.tls.clone().unwrap_or_default())?;
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(config.clone())
            // Redirects are ours: a library would drop the credentials, and masters
            // write the target in forms that libraries refuse.
            .redirect(Policy::none())
            .no_proxy()
            .http1_only()
            .connect_timeout(options.connect_timeout)
            .tcp_nodelay(true)
            // A subscription must have a connection of its own.
            .pool_max_idle_per_host(0)
            .build()
            .map_err(SetupError::Http)?;
        Ok(Self {
            client,
            tls: Arc::new(config),
            scheme: scheme.unwrap_or(default),
            authorization: options
                .credentials
                .as_ref()
                .and_then(Credentials::header_value),
            options,
        })
    }

    pub(crate) fn authorized(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        match &self.authorization {
            Some(value) => request.header(reqwest::header::AUTHORIZATION, value.clone()),
            None => request,
        }
    }
}

/// The body of an answer, up to `limit` bytes; `Err(None)` if it is longer.
pub(crate) async fn body_up_to(
    response: &mut reqwest::Response,
    limit: usize,
) -> Result<Vec<u8>, Option<reqwest::Error>> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(Some)? {
        if body.len() + chunk.len() > limit {
            return Err(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The beginning of an error answer, as text. Never fails: the status counts.
pub(crate) async fn error_text(response: &mut reqwest::Response, limit: Duration) -> String {
    let mut body = Vec::new();
    let read = async {
        while let Ok(Some(chunk)) = response.chunk().await {
            body.extend_from_slice(&chunk);
            if body.len() >= ERROR_BODY_BYTES_MAX {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(limit, read).await;
    body.truncate(ERROR_BODY_BYTES_MAX);
    String::from_utf8_lossy(&body).trim().to_owned()
}

/// The innermost cause, which is the one that says what happened.
pub(crate) fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

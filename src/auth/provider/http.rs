//! Questions to a provider: no redirect is followed, and every answer has a limit of time and size.

use std::{pin::Pin, time::Duration};

use futures_util::StreamExt as _;
use oauth2::{AsyncHttpClient, HttpRequest, HttpResponse};
use reqwest::{Client, Response, StatusCode, redirect::Policy};
use serde::de::DeserializeOwned;
use thiserror::Error;

/// To be connected.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// From the first byte to the last.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Largest answer, in bytes: a person may be in a thousand groups.
const ANSWER_MAX: usize = 1 << 20;

/// Why a provider's answer cannot be used. For the log: no part of an answer is in it.
#[derive(Debug, Error)]
pub(crate) enum HttpError {
    #[error("no client could be made")]
    NoClient,
    #[error("{0}")]
    Failed(String),
    #[error("the answer is larger than {ANSWER_MAX} bytes")]
    TooLarge,
    #[error("the answer is {0}")]
    Status(StatusCode),
    #[error("the answer is not the JSON that was expected")]
    NotJson,
}

impl From<reqwest::Error> for HttpError {
    fn from(error: reqwest::Error) -> Self {
        let mut cause: &dyn std::error::Error = &error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        Self::Failed(cause.to_string())
    }
}

/// A client for providers.
pub(super) struct Http(Option<Client>);

impl Http {
    pub(super) fn new() -> Self {
        let client = Client::builder()
            .redirect(Policy::none())
            .connect_timeout(CONNECT_WITHIN)
            .timeout(ANSWER_WITHIN)
            .user_agent("gantry")
            .build();
        if let Err(error) = &client {
            tracing::error!(%error, "nobody can log in: there is no client for the provider");
        }
        Self(client.ok())
    }

    /// GET, answered with 200 and JSON.
    pub(super) async fn json<T: DeserializeOwned>(
        &self,
        url: &str,
        token: Option<&str>,
    ) -> Result<T, HttpError> {
        let client = self.0.as_ref().ok_or(HttpError::NoClient)?;
        let mut request = client.get(url).header("accept", "application/json");
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await?;
        if answer.status() != StatusCode::OK {
            return Err(HttpError::Status(answer.status()));
        }
        serde_json::from_slice(&whole(answer).await?).map_err(|_| HttpError::NotJson)
    }

    async fn exchange(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let client = self.0.as_ref().ok_or(HttpError::NoClient)?;
        let answer = client.execute(request.try_into()?).await?;
        let mut response = oauth2::http::Response::builder().status(answer.status());
        for (name, value) in answer.headers() {
            response = response.header(name, value);
        }
        let body = whole(answer).await?;
        response
            .body(body)
            .map_err(|error| HttpError::Failed(error.to_string()))
    }
}

async fn whole(answer: Response) -> Result<Vec<u8>, HttpError> {
    let mut stream = answer.bytes_stream();
    let mut bytes = Vec::new();
    while let Some(part) = stream.next().await {
        let part = part?;
        if bytes.len() + part.len() > ANSWER_MAX {
            return Err(HttpError::TooLarge);
        }
        bytes.extend_from_slice(&part);
    }
    Ok(bytes)
}

impl<'c> AsyncHttpClient<'c> for Http {
    type Error = HttpError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.exchange(request))
    }
}

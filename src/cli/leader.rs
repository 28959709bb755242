//! Questions to a running Gantry.

use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use futures_util::StreamExt as _;
use reqwest::{Client, RequestBuilder};
use serde::Deserialize;

/// From the first byte to the last.
const ANSWER_WITHIN: Duration = Duration::from_secs(300);

/// To be connected.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// Who is asked.
#[derive(Args, Clone, Debug, Default)]
pub struct LeaderOptions {
    /// Ask the Gantry that runs here instead of opening its store; GANTRY_URL when not given
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
}

/// A running Gantry.
pub(super) struct Leader {
    base: String,
    client: Client,
}

#[derive(Deserialize)]
struct Refusal {
    error: Error,
}

#[derive(Deserialize)]
struct Error {
    message: String,
    remedy: Option<String>,
}

impl LeaderOptions {
    /// Who is to be asked, if anybody.
    pub(super) fn leader(&self) -> anyhow::Result<Option<Leader>> {
        let variable = || std::env::var("GANTRY_URL").ok();
        let url = self.url.clone().or_else(variable);
        let Some(url) = url.filter(|url| !url.trim().is_empty()) else {
            return Ok(None);
        };
        let base = url.trim().trim_end_matches('/').to_owned();
        if !base.starts_with("http://") && !base.starts_with("https://") {
            bail!(
                "'{base}' is not the address of a Gantry: write one such as http://10.0.0.1:3000"
            );
        }
        let client = Client::builder()
            .timeout(ANSWER_WITHIN)
            .connect_timeout(CONNECT_WITHIN)
            .build()?;
        Ok(Some(Leader { base, client }))
    }
}

impl Leader {
    /// GET, answered by at most `bytes_max`.
    pub(super) async fn get(&self, path: &str, bytes_max: usize) -> anyhow::Result<Vec<u8>> {
        self.ask(self.client.get(self.at(path)), bytes_max).await
    }

    /// POST with JSON, answered by at most `bytes_max`.
    pub(super) async fn post(
        &self,
        path: &str,
        body: &impl serde::Serialize,
        bytes_max: usize,
    ) -> anyhow::Result<Vec<u8>> {
        let request = self.client.post(self.at(path)).json(body);
        self.ask(request, bytes_max).await
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    async fn ask(&self, request: RequestBuilder, bytes_max: usize) -> anyhow::Result<Vec<u8>> {
        let base = &self.base;
        let answer = request
            .send()
            .await
            .with_context(|| format!("the Gantry at {base} does not answer"))?;
        let status = answer.status();
        let mut stream = answer.bytes_stream();
        let mut bytes = Vec::new();
        while let Some(part) = stream.next().await {
            let part = part.with_context(|| format!("the answer of {base} broke off"))?;
            if bytes.len() + part.len() > bytes_max {
                bail!("the answer of {base} is longer than {bytes_max} bytes");
            }
            bytes.extend_from_slice(&part);
        }
        if status.is_success() {
            return Ok(bytes);
        }
        match serde_json::from_slice::<Refusal>(&bytes) {
            Ok(Refusal { error }) => {
                let remedy = error.remedy.map(|remedy| format!("; {remedy}"));
                bail!(
                    "{base} refuses: {}{}",
                    error.message,
                    remedy.unwrap_or_default()
                )
            }
            Err(_) => bail!("{base} answers {status}: is it a Gantry?"),
        }
    }
}

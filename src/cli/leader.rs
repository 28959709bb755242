//! Questions to a running Gantry.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context as _, bail};
use clap::Args;
use futures_util::StreamExt as _;
use reqwest::{
    Client, Method, RequestBuilder, Response, StatusCode, Url,
    header::{AUTHORIZATION, HeaderMap, HeaderValue},
    redirect::Policy,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::output::{Output, clean};

/// From the first byte to the last.
const ANSWER_WITHIN: Duration = Duration::from_secs(300);

/// To be connected.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// Longest answer to a question of [`Remote`]: a thousand entries of a list.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Most entries that Gantry gives at once.
const PAGE: usize = 1_000;

/// Where `gantry dev` serves, and a Gantry that is started by hand.
const URL_DEFAULT: &str = "http://127.0.0.1:3000";

/// Who is asked, if anybody.
#[derive(Args, Clone, Debug, Default)]
pub struct LeaderOptions {
    /// Ask the Gantry that runs here instead of opening its store; GANTRY_URL when not given
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
}

/// Which running Gantry is asked.
#[derive(Args, Clone, Debug)]
pub struct Address {
    /// Address of the Gantry; GANTRY_URL when not given, else http://127.0.0.1:3000. A token in
    /// GANTRY_TOKEN is sent along
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
}

/// Which running Gantry is asked, and how its answer is written.
#[derive(Args, Clone, Debug)]
pub struct Remote {
    /// Who is asked.
    #[command(flatten)]
    pub address: Address,
    /// How the answer is written
    #[arg(long, short, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

/// A running Gantry.
pub(super) struct Leader {
    base: String,
    client: Client,
}

/// Why there is no answer that could be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    #[error("{base} refuses: {message}{}", in_front("; ", .remedy.as_deref()))]
    Refused {
        base: String,
        status: StatusCode,
        message: String,
        remedy: Option<String>,
    },
    #[error("{base} answers {status}: is it a Gantry?")]
    Strange { base: String, status: StatusCode },
    #[error("the Gantry at {base} does not answer")]
    Silent {
        base: String,
        #[source]
        error: reqwest::Error,
    },
    #[error("the Gantry at {base} has not answered within {} s", .within.as_secs())]
    Late { base: String, within: Duration },
    #[error("the answer of {base} broke off")]
    BrokenOff {
        base: String,
        #[source]
        error: reqwest::Error,
    },
    #[error("the answer of {base} is longer than {bytes_max} bytes")]
    TooLong { base: String, bytes_max: usize },
}

fn in_front(mark: &str, text: Option<&str>) -> String {
    text.map(|text| format!("{mark}{text}")).unwrap_or_default()
}

impl AskError {
    /// Whether asking again in a moment may help.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Refused { status, .. } | Self::Strange { status, .. } => status.is_server_error(),
            Self::Silent { .. } | Self::Late { .. } | Self::BrokenOff { .. } => true,
            Self::TooLong { .. } => false,
        }
    }

    /// 1 when Gantry says no, 3 when it cannot be asked or cannot say at the moment.
    pub(super) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Refused { status, .. } if status.is_client_error() => ExitCode::FAILURE,
            _ => ExitCode::from(3),
        }
    }
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

/// A part of a file.
pub(super) struct Part {
    /// Where it begins, in bytes from the start of the file.
    pub(super) offset: u64,
    /// Size of the file.
    pub(super) size: u64,
    pub(super) bytes: Vec<u8>,
}

/// A list, or the beginning of it.
#[derive(Deserialize, Serialize)]
pub(super) struct Listed {
    pub(super) items: Vec<Value>,
    /// How many entries the whole list has.
    pub(super) total: usize,
}

impl Listed {
    /// The entries, as far as a command shows them.
    pub(super) fn entries<T: DeserializeOwned>(&self) -> anyhow::Result<Vec<T>> {
        let entries = self.items.iter().map(T::deserialize);
        entries
            .collect::<Result<_, _>>()
            .context("the answer is not understood: is that Gantry of another version?")
    }
}

impl LeaderOptions {
    /// Who is to be asked, if anybody.
    pub(super) fn leader(&self) -> anyhow::Result<Option<Leader>> {
        address(self.url.as_deref())
            .map(|base| Leader::at(&base))
            .transpose()
    }
}

impl Address {
    /// Who is to be asked.
    pub(super) fn leader(&self) -> anyhow::Result<Leader> {
        let address = address(self.url.as_deref());
        Leader::at(address.as_deref().unwrap_or(URL_DEFAULT))
    }
}

impl Remote {
    /// Who is to be asked.
    pub(super) fn leader(&self) -> anyhow::Result<Leader> {
        self.address.leader()
    }
}

/// The address that is given, here or in the environment.
fn address(given: Option<&str>) -> Option<String> {
    let variable = || std::env::var("GANTRY_URL").ok();
    let url = given.map(str::to_owned).or_else(variable)?;
    let url = url.trim().trim_end_matches('/');
    (!url.is_empty()).then(|| url.to_owned())
}

/// A text as one segment of a path, or as a value in a query.
pub(super) fn segment(text: &str) -> String {
    let mut segment = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                segment.push(char::from(byte));
            }
            _ => segment.push_str(&format!("%{byte:02X}")),
        }
    }
    segment
}

/// Where an answer may send us on: with a token to the same host only, and nowhere less safe.
fn near(base: &str, has_token: bool) -> anyhow::Result<Policy> {
    const REDIRECTS_MAX: usize = 5;
    let base = Url::parse(base).with_context(|| format!("'{base}' is not an address"))?;
    Ok(Policy::custom(move |attempt| {
        let to = attempt.url();
        let downgrades = base.scheme() == "https" && to.scheme() != "https";
        if downgrades || has_token && to.origin() != base.origin() {
            let to = to.origin().ascii_serialization();
            return attempt.error(format!("it sends on to {to}, where no token is sent"));
        }
        if attempt.previous().len() > REDIRECTS_MAX {
            return attempt.error("it sends on for ever");
        }
        attempt.follow()
    }))
}

impl Leader {
    fn at(base: &str) -> anyhow::Result<Self> {
        if !base.starts_with("http://") && !base.starts_with("https://") {
            bail!(
                "'{base}' is not the address of a Gantry: write one such as http://10.0.0.1:3000"
            );
        }
        let token = std::env::var("GANTRY_TOKEN").unwrap_or_default();
        Self::with(base, &token)
    }

    fn with(base: &str, token: &str) -> anyhow::Result<Self> {
        let mut headers = HeaderMap::new();
        if !token.trim().is_empty() {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", token.trim()))
                .map_err(|_| anyhow::anyhow!("GANTRY_TOKEN holds what no header can carry"))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let client = Client::builder()
            .redirect(near(base, !headers.is_empty())?)
            .default_headers(headers)
            .connect_timeout(CONNECT_WITHIN)
            .build()?;
        let base = base.to_owned();
        Ok(Self { base, client })
    }

    /// GET, answered by at most `bytes_max`.
    pub(super) async fn get(&self, path: &str, bytes_max: usize) -> Result<Vec<u8>, AskError> {
        self.ask(self.client.get(self.to(path)), bytes_max).await
    }

    /// GET of a part of a file.
    pub(super) async fn part(&self, path: &str) -> anyhow::Result<Part> {
        let request = self.client.get(self.to(path)).timeout(ANSWER_WITHIN);
        let answer = request.send().await.map_err(|error| self.silent(error))?;
        let status = answer.status();
        let number = |name: &str| {
            let value = answer.headers().get(name)?.to_str().ok()?;
            value.parse::<u64>().ok()
        };
        let place = number("x-gantry-offset").zip(number("x-gantry-size"));
        let bytes = self.whole(answer, ANSWER_BYTES_MAX).await?;
        if !status.is_success() {
            return Err(self.refused(status, &bytes).into());
        }
        let base = self.base.clone();
        let (offset, size) = place.ok_or(AskError::Strange { base, status })?;
        Ok(Part {
            offset,
            size,
            bytes,
        })
    }

    /// POST with JSON, answered by at most `bytes_max`.
    pub(super) async fn post(
        &self,
        path: &str,
        body: &impl Serialize,
        bytes_max: usize,
    ) -> Result<Vec<u8>, AskError> {
        let request = self.client.post(self.to(path)).json(body);
        self.ask(request, bytes_max).await
    }

    /// It was not waited for any longer.
    pub(super) fn late(&self, within: Duration) -> AskError {
        AskError::Late {
            base: self.base.clone(),
            within,
        }
    }

    /// GET, answered by JSON.
    pub(super) async fn json(&self, path: &str) -> anyhow::Result<Value> {
        self.parsed(&self.get(path, ANSWER_BYTES_MAX).await?)
    }

    /// Has something changed; `body` is an object, to which the reason is added.
    pub(super) async fn change(
        &self,
        method: Method,
        path: &str,
        mut body: Value,
        reason: Option<&str>,
    ) -> anyhow::Result<Value> {
        if let Some(reason) = reason {
            body["reason"] = json!(reason);
        }
        let request = self.client.request(method, self.to(path)).json(&body);
        self.parsed(&self.ask(request, ANSWER_BYTES_MAX).await?)
    }

    /// The first `limit` entries of a list.
    pub(super) async fn list(&self, path: &str, limit: usize) -> anyhow::Result<Listed> {
        let mark = if path.contains('?') { '&' } else { '?' };
        let mut listed = Listed {
            items: Vec::new(),
            total: 0,
        };
        loop {
            let offset = listed.items.len();
            let count = PAGE.min(limit - offset);
            let page = format!("{path}{mark}offset={offset}&limit={count}");
            let page: Listed = serde_json::from_value(self.json(&page).await?)
                .with_context(|| format!("the answer of {} is not a list", self.base))?;
            let empty = page.items.is_empty();
            listed.total = page.total;
            listed.items.extend(page.items);
            if empty || listed.items.len() >= limit.min(listed.total) {
                listed.items.truncate(limit);
                return Ok(listed);
            }
        }
    }

    /// GET, answered bit by bit and without end.
    pub(super) async fn stream(&self, path: &str) -> Result<Response, AskError> {
        let answer = self.client.get(self.to(path)).send().await;
        let answer = answer.map_err(|error| self.silent(error))?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status();
        let bytes = self.whole(answer, ANSWER_BYTES_MAX).await?;
        Err(self.refused(status, &bytes))
    }

    fn to(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    fn parsed(&self, bytes: &[u8]) -> anyhow::Result<Value> {
        serde_json::from_slice(bytes)
            .with_context(|| format!("the answer of {} is not JSON: is it a Gantry?", self.base))
    }

    async fn ask(&self, request: RequestBuilder, bytes_max: usize) -> Result<Vec<u8>, AskError> {
        let answer = request.timeout(ANSWER_WITHIN).send().await;
        let answer = answer.map_err(|error| self.silent(error))?;
        let status = answer.status();
        let bytes = self.whole(answer, bytes_max).await?;
        if status.is_success() {
            Ok(bytes)
        } else {
            Err(self.refused(status, &bytes))
        }
    }

    async fn whole(&self, answer: Response, bytes_max: usize) -> Result<Vec<u8>, AskError> {
        let mut stream = answer.bytes_stream();
        let mut bytes = Vec::new();
        while let Some(part) = stream.next().await {
            let part = part.map_err(|error| AskError::BrokenOff {
                base: self.base.clone(),
                error,
            })?;
            if bytes.len() + part.len() > bytes_max {
                let base = self.base.clone();
                return Err(AskError::TooLong { base, bytes_max });
            }
            bytes.extend_from_slice(&part);
        }
        Ok(bytes)
    }

    fn silent(&self, error: reqwest::Error) -> AskError {
        let base = self.base.clone();
        AskError::Silent { base, error }
    }

    fn refused(&self, status: StatusCode, bytes: &[u8]) -> AskError {
        let base = self.base.clone();
        match serde_json::from_slice::<Refusal>(bytes) {
            Ok(Refusal { error }) => AskError::Refused {
                base,
                status,
                message: clean(&error.message),
                remedy: error.remedy.as_deref().map(clean),
            },
            Err(_) => AskError::Strange { base, status },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that answers every request with `answer` and tells what it was asked.
    async fn server(answer: String) -> (String, tokio::sync::mpsc::Receiver<String>) {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (tell, told) = tokio::sync::mpsc::channel(8);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = vec![0; 8_192];
                let length = stream.read(&mut head).await.unwrap_or_default();
                let _ = tell
                    .send(String::from_utf8_lossy(&head[..length]).into_owned())
                    .await;
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        (url, told)
    }

    #[tokio::test]
    async fn the_token_is_shown_to_nobody_else() {
        let (other, mut asked_other) = server(
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}".to_owned(),
        )
        .await;
        let (base, mut asked) = server(format!(
            "HTTP/1.1 307 Elsewhere\r\nlocation: {other}/x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        ))
        .await;
        let leader = Leader::with(&base, "gantry_secret").unwrap();
        let error = leader.get("/x", 100).await.unwrap_err();
        let error = format!("{:#}", anyhow::Error::from(error));
        assert!(error.contains("where no token is sent"), "{error}");
        assert!(asked.recv().await.unwrap().contains("Bearer gantry_secret"));
        // Without one there is nothing to lose.
        let leader = Leader::with(&base, "").unwrap();
        assert_eq!(leader.get("/x", 100).await.unwrap(), b"{}");
        assert!(!asked_other.recv().await.unwrap().contains("gantry_secret"));
    }

    #[test]
    fn names_are_one_segment() {
        assert_eq!(segment("a/b c?#%é"), "a%2Fb%20c%3F%23%25%C3%A9");
        assert_eq!(segment("my-app_1.x~"), "my-app_1.x~");
    }
}

//! `fetch`: HTTP for modules, to the hosts that the operator lists and no other.

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use reqwest::{
    Client, Method, Url,
    dns::{Addrs, Name, Resolve, Resolving},
    header::{HeaderMap, HeaderName, HeaderValue},
    redirect,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::{Pending, World};

/// Most patterns in the list.
const PATTERNS_MAX: usize = 256;

/// Longest time a fetch may take.
const TIMEOUT_MAX: Duration = Duration::from_secs(30);

/// Most headers of a request, and of an answer that are shown.
const HEADERS_MAX: usize = 64;

/// Headers that are HTTP's own business.
const REFUSED_HEADERS: [&str; 6] = [
    "connection",
    "content-length",
    "host",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// What modules may fetch from, with the client that does it. Shared by all modules.
pub struct FetchRules {
    patterns: Arc<[Pattern]>,
    client: Client,
}

/// Why the list is not one, or cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RuleError {
    /// Not a pattern.
    #[error("`{0}` is not `host`, `host:port`, `*.domain`, an address, `*` or `tasks`")]
    Pattern(String),
    /// More than can be looked through for each fetch.
    #[error("there are more than {PATTERNS_MAX}")]
    TooMany,
    /// No HTTP client.
    #[error("there is no HTTP client for modules: {0}")]
    Client(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    /// Addresses and ports of this framework's live tasks.
    Tasks,
    /// Hosts, by their names as they stand in the URL.
    Host { host: Host, port: Option<u16> },
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    Any,
    /// `*.domain`: with the dot before it.
    Below(String),
    Name(String),
    Address(IpAddr),
}

impl FetchRules {
    /// From patterns, with blanks around them: `host`, `host:port`, `*.domain`, `*.domain:port`, an
    /// IP address (version 6 in brackets), `*` for every host, and `tasks`.
    ///
    /// # Errors
    /// A pattern that is none, too many of them, or there is no HTTP client.
    pub fn parse<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, RuleError> {
        let patterns: Arc<[Pattern]> = read(patterns)?.into();
        let client = Client::builder()
            .redirect(redirect::Policy::none())
            .no_proxy()
            .connect_timeout(Duration::from_secs(5))
            .pool_max_idle_per_host(2)
            .dns_resolver(Arc::new(Guarded(Arc::clone(&patterns))))
            .build()
            .map_err(|error| RuleError::Client(error.to_string()))?;
        Ok(Self { patterns, client })
    }

    /// Whether these are patterns, without making anything of them.
    ///
    /// # Errors
    /// A pattern that is none, or too many of them.
    pub fn check<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<(), RuleError> {
        read(patterns).map(|_| ())
    }

    /// Why this URL may not be fetched from, as a clause.
    fn refuse(&self, url: &Url, world: &dyn World) -> Option<String> {
        let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
            return Some(format!("`{url}` names no host"));
        };
        if !matches!(url.scheme(), "http" | "https") {
            return Some(format!("{} is neither http nor https", url.scheme()));
        }
        let address = address(host);
        if let Some(address) = address
            && is_reserved(address)
            && !lists(&self.patterns, address)
        {
            return Some(format!(
                "{address} is reached only when it is listed itself"
            ));
        }
        let allowed = self.patterns.iter().any(|pattern| match pattern {
            Pattern::Tasks => world.has_task_at(host, port),
            Pattern::Host {
                host: listed,
                port: listed_port,
            } => listed_port.is_none_or(|listed| listed == port) && listed.matches(host, address),
        });
        (!allowed).then(|| format!("{host}:{port} is not in MODULE_FETCH_ALLOW"))
    }
}

fn read<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Vec<Pattern>, RuleError> {
    let patterns: Vec<_> = patterns
        .into_iter()
        .map(str::trim)
        .filter(|text| !text.is_empty())
        .map(|text| Pattern::parse(text).ok_or_else(|| RuleError::Pattern(text.to_owned())))
        .collect::<Result<_, _>>()?;
    match patterns.len() > PATTERNS_MAX {
        true => Err(RuleError::TooMany),
        false => Ok(patterns),
    }
}

impl fmt::Debug for FetchRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.patterns.iter()).finish()
    }
}

impl Pattern {
    fn parse(text: &str) -> Option<Self> {
        if text == "tasks" {
            return Some(Self::Tasks);
        }
        let (host, port) = match text.rsplit_once(':') {
            // Neither brackets around nor a port behind: an address of version 6.
            Some(_) if text.parse::<Ipv6Addr>().is_ok() => (text, None),
            Some((host, port)) if !port.ends_with(']') => {
                (host, Some(port.parse().ok().filter(|port| *port > 0)?))
            }
            _ => (text, None),
        };
        let host = match host {
            "*" => Host::Any,
            _ => match (address(host), host.strip_prefix('*')) {
                (Some(address), _) => Host::Address(address),
                (None, Some(below)) if below.starts_with('.') => Host::Below(name(&below[1..])?),
                (None, _) => Host::Name(name(host)?),
            },
        };
        Some(Self::Host { host, port })
    }
}

impl Host {
    fn matches(&self, host: &str, address: Option<IpAddr>) -> bool {
        match self {
            Self::Any => true,
            Self::Address(listed) => address == Some(*listed),
            Self::Name(listed) => host.eq_ignore_ascii_case(listed),
            Self::Below(domain) => {
                let host = host.to_ascii_lowercase();
                host.strip_suffix(domain.as_str())
                    .is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
            }
        }
    }
}

fn name(text: &str) -> Option<String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let is_name = !text.is_empty() && text.len() <= 253 && text.chars().all(fits);
    is_name.then(|| text.to_ascii_lowercase())
}

/// A host that is an address, in brackets or not.
fn address(host: &str) -> Option<IpAddr> {
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    bare.parse().ok()
}

/// Link-local addresses and those where clouds give out credentials: never meant by a wide rule.
fn is_reserved(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            v4.is_link_local()
                || v4.is_unspecified()
                || v4.is_multicast()
                || v4.is_broadcast()
                || v4.octets() == [100, 100, 100, 200]
                || v4.octets() == [168, 63, 129, 16]
        }
        IpAddr::V6(v6) => {
            v6.is_unicast_link_local()
                || v6.is_unspecified()
                || v6.is_multicast()
                || v6 == Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)
        }
    }
}

fn lists(patterns: &[Pattern], address: IpAddr) -> bool {
    patterns.iter().any(|pattern| {
        matches!(pattern, Pattern::Host { host: Host::Address(listed), .. }
            if listed.to_canonical() == address.to_canonical())
    })
}

/// Names resolve to no reserved address that is not listed itself.
struct Guarded(Arc<[Pattern]>);

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let patterns = Arc::clone(&self.0);
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let usable: Vec<SocketAddr> = found
                .filter(|found| !is_reserved(found.ip()) || lists(&patterns, found.ip()))
                .collect();
            if usable.is_empty() {
                let reason = format!("{} has no address that may be reached", name.as_str());
                return Err(reason.into());
            }
            let addresses: Addrs = Box::new(usable.into_iter());
            Ok(addresses)
        })
    }
}

/// What a module wants fetched.
#[derive(Debug, Deserialize)]
pub(crate) struct Fetch {
    url: String,
    method: String,
    headers: BTreeMap<String, String>,
    body: Option<String>,
    /// Milliseconds.
    timeout: f64,
}

/// A module's way to the client.
pub(crate) struct Fetcher {
    rules: Arc<FetchRules>,
    world: Arc<dyn World>,
}

impl Fetcher {
    pub(crate) fn new(rules: Arc<FetchRules>, world: Arc<dyn World>) -> Self {
        Self { rules, world }
    }

    /// The answer as JSON: status, headers, body as text. `max` bytes of it.
    pub(crate) fn fetch(&self, fetch: Fetch, max: usize) -> Pending {
        let (rules, world) = (Arc::clone(&self.rules), Arc::clone(&self.world));
        Box::pin(async move {
            let failed = |reason: String| format!("fetch: {reason}");
            let (request, timeout) = prepare(&rules, &*world, fetch).map_err(failed)?;
            let fetched = tokio::time::timeout(timeout, answer(request, max));
            match fetched.await {
                Ok(answer) => answer.map_err(failed),
                Err(_) => Err(format!(
                    "fetch: no answer within {} ms",
                    timeout.as_millis()
                )),
            }
        })
    }
}

fn prepare(
    rules: &FetchRules,
    world: &dyn World,
    fetch: Fetch,
) -> Result<(reqwest::RequestBuilder, Duration), String> {
    let url = Url::parse(&fetch.url).map_err(|error| format!("`{}`: {error}", fetch.url))?;
    if let Some(reason) = rules.refuse(&url, world) {
        return Err(reason);
    }
    let method = match &*fetch.method.to_ascii_uppercase() {
        "GET" => Method::GET,
        "HEAD" => Method::HEAD,
        "POST" => Method::POST,
        "PUT" => Method::PUT,
        "PATCH" => Method::PATCH,
        "DELETE" => Method::DELETE,
        other => return Err(format!("there is no method {other}")),
    };
    if fetch.headers.len() > HEADERS_MAX {
        return Err(format!("there are more than {HEADERS_MAX} headers"));
    }
    let mut headers = HeaderMap::new();
    for (name, value) in &fetch.headers {
        let name: HeaderName = name
            .parse()
            .map_err(|_| format!("`{name}` is not a name of a header"))?;
        if REFUSED_HEADERS.contains(&name.as_str()) {
            return Err(format!("header {name} cannot be set"));
        }
        let value = HeaderValue::from_str(value)
            .map_err(|_| format!("header {name} has a value that cannot be sent"))?;
        headers.insert(name, value);
    }
    let millis = fetch.timeout.clamp(1.0, TIMEOUT_MAX.as_secs_f64() * 1000.0);
    let timeout = Duration::try_from_secs_f64(millis / 1000.0).unwrap_or(TIMEOUT_MAX);
    let mut request = rules.client.request(method, url).headers(headers);
    if let Some(body) = fetch.body {
        request = request.body(body);
    }
    Ok((request, timeout))
}

async fn answer(request: reqwest::RequestBuilder, max: usize) -> Result<Value, String> {
    let mut response = request.send().await.map_err(|error| innermost(&error))?;
    let headers: Map<String, Value> = response
        .headers()
        .iter()
        .take(HEADERS_MAX)
        .map(|(name, value)| {
            let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
            (name.as_str().to_owned(), Value::String(text))
        })
        .collect();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| innermost(&error))? {
        if body.len() + chunk.len() > max {
            return Err(format!("the answer has more than {max} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(json!({
        "status": response.status().as_u16(),
        "headers": headers,
        "body": String::from_utf8_lossy(&body),
    }))
}

/// The cause that says most: the outer ones repeat the URL, which may hold secrets.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Level, Request};

    /// One task at 10.0.0.1 and node-1, port 31000.
    struct OneTask;

    impl World for OneTask {
        fn tasks(&self, _: Option<&str>, _: usize) -> Vec<Value> {
            Vec::new()
        }
        fn has_task_at(&self, host: &str, port: u16) -> bool {
            matches!(host, "10.0.0.1" | "node-1") && port == 31_000
        }
        fn log(&self, _: &str, _: Level, _: &str) {}
        fn request(&self, _: &str, _: Request) -> Pending {
            Box::pin(async { Err("nothing is done here".to_owned()) })
        }
    }

    #[test]
    fn only_what_is_listed() {
        let listed = "consul.local, *.example.com:443, tasks, [fd00::1]:80, 10.1.1.1";
        let rules = FetchRules::parse(listed.split(',')).unwrap();
        let allowed = |url: &str| rules.refuse(&Url::parse(url).unwrap(), &OneTask).is_none();
        for url in [
            "http://consul.local:8500/v1",
            "http://CONSUL.local/",
            "https://hooks.example.com/x",
            "http://10.0.0.1:31000/status",
            "http://node-1:31000/",
            "http://[fd00::1]/",
            "http://10.1.1.1:9/",
        ] {
            assert!(allowed(url), "{url}");
        }
        for url in [
            "http://consul.local.evil.org/",
            "http://hooks.example.com/x",
            "https://example.com/",
            "https://evilexample.com/",
            "http://10.0.0.1:31001/",
            "http://127.0.0.1/",
            "ftp://consul.local/",
            "http://consul.local@evil.org/",
        ] {
            assert!(!allowed(url), "{url}");
        }
    }

    #[test]
    fn reserved_addresses_are_not_meant_by_wide_rules() {
        let wide = FetchRules::parse(["*"]).unwrap();
        let named = FetchRules::parse(["*", "169.254.169.254"]).unwrap();
        let refused = |rules: &FetchRules, url: &str| {
            rules.refuse(&Url::parse(url).unwrap(), &OneTask).is_some()
        };
        for url in [
            "http://169.254.169.254/latest/meta-data",
            "http://[::ffff:169.254.169.254]/",
            "http://2852039166/",
            "http://[fe80::1]/",
            "http://0.0.0.0/",
        ] {
            assert!(refused(&wide, url), "{url}");
        }
        assert!(!refused(&wide, "http://10.0.0.1/"));
        assert!(!refused(&named, "http://169.254.169.254/latest"));
    }

    #[test]
    fn what_is_not_a_pattern() {
        for bad in ["http://x", "a b", "x:0", "x:port", "*x", "x/y"] {
            assert!(FetchRules::parse([bad]).is_err(), "{bad}");
        }
    }
}

//! From where a request comes.

use std::net::IpAddr;

use actix_web::{
    HttpMessage as _, HttpRequest,
    http::header::{self, HeaderMap, HeaderName},
};

use crate::config::Network;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Most entries of `X-Forwarded-For` that are looked at.
const HOPS_MAX: usize = 32;

/// The proxies whose word about the client is taken.
#[derive(Clone, Debug, Default)]
pub(crate) struct Proxies(Vec<Network>);

/// From where a request comes, as far as it can be believed. It decides what is logged, whose
/// failures are counted, and which page is our own; never who is let in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sender {
    /// The client.
    pub(crate) address: Option<IpAddr>,
    /// `host[:port]` that the browser asked for.
    pub(crate) host: Option<String>,
}

impl Sender {
    /// From where this request comes.
    pub(crate) fn of(request: &HttpRequest) -> Self {
        let known = request.extensions().get::<Self>().cloned();
        known.unwrap_or_default()
    }
}

impl Proxies {
    pub(crate) fn new(networks: Vec<Network>) -> Self {
        Self(networks)
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }

    /// Who sent a request that came from `peer`.
    pub(crate) fn sender(&self, peer: Option<IpAddr>, headers: &HeaderMap) -> Sender {
        let text = |name: HeaderName| {
            let value = headers.get(name)?.to_str().ok()?;
            Some(value.trim().to_owned()).filter(|value| !value.is_empty())
        };
        let peer = peer.map(|peer| peer.to_canonical());
        let mut sender = Sender {
            address: peer,
            host: text(header::HOST),
        };
        let Some(peer) = peer.filter(|peer| self.trusts(*peer)) else {
            return sender;
        };
        // Every proxy adds to the end whom it has heard: the last that no proxy of ours is.
        let mut client = peer;
        let way = headers.get_all(FORWARDED_FOR);
        let way: Vec<&str> = way
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .collect();
        for hop in way.iter().rev().take(HOPS_MAX) {
            let Some(hop) = address_of(hop.trim()) else {
                break;
            };
            client = hop;
            if !self.trusts(hop) {
                break;
            }
        }
        sender.address = Some(client);
        // Where several proxies wrote, the first one is where the browser came in.
        let first = |value: String| value.split(',').next().map(|value| value.trim().to_owned());
        if let Some(host) = text(FORWARDED_HOST).and_then(first) {
            let standard = match text(FORWARDED_PROTO).and_then(first).as_deref() {
                Some("https") => ":443",
                Some("http") => ":80",
                _ => "",
            };
            // Browsers leave the standard port of the scheme out of `Origin`.
            let host = match host.strip_suffix(standard) {
                Some(bare) if !standard.is_empty() => bare.to_owned(),
                _ => host,
            };
            sender.host = Some(host);
        }
        sender
    }
}

/// An address, perhaps with a port behind it.
fn address_of(text: &str) -> Option<IpAddr> {
    let parsed = text.parse().or_else(|_| {
        text.parse::<std::net::SocketAddr>()
            .map(|address| address.ip())
    });
    let bare = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    parsed
        .ok()
        .or_else(bare)
        .map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    fn sender(peer: &str, pairs: &[(&'static str, &str)]) -> Sender {
        let network = |address: &str, bits| Network {
            address: address.parse().unwrap(),
            bits,
        };
        let proxies = Proxies::new(vec![network("10.0.0.0", 8), network("fd00::", 8)]);
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            let name = HeaderName::from_static(name);
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        proxies.sender(peer.parse().ok(), &headers)
    }

    #[test]
    fn only_listed_proxies_are_believed() {
        let claims = [
            ("host", "fw:31000"),
            ("x-forwarded-for", "1.1.1.1, 8.8.8.8"),
            ("x-forwarded-for", "10.0.0.7"),
            ("x-forwarded-host", "ui.example.com:443"),
            ("x-forwarded-proto", "https"),
        ];
        let stranger = sender("203.0.113.9", &claims);
        assert_eq!(stranger.address.unwrap().to_string(), "203.0.113.9");
        assert_eq!(stranger.host.as_deref(), Some("fw:31000"));
        for proxy in ["10.1.2.3", "::ffff:10.1.2.3", "fd12::1"] {
            let known = sender(proxy, &claims);
            // What the client itself has put in front is not believed.
            assert_eq!(known.address.unwrap().to_string(), "8.8.8.8");
            assert_eq!(known.host.as_deref(), Some("ui.example.com"));
        }
        for (way, client) in [
            ("[2001:db8::1]:4711", "2001:db8::1"),
            ("8.8.8.8:80", "8.8.8.8"),
            ("8.8.8.8, nonsense", "10.1.2.3"),
            ("", "10.1.2.3"),
        ] {
            let known = sender("10.1.2.3", &[("x-forwarded-for", way)]);
            assert_eq!(known.address.unwrap().to_string(), client, "{way}");
        }
    }
}

//! Addresses, ports, roles and the store.

use std::path::PathBuf;

use super::{Outcome, plain, wrong};
use crate::config::Address;

/// Most roles of the framework.
const ROLES_MAX: usize = 100;

fn is_host(host: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    let name = !host.is_empty() && host.chars().all(allowed);
    name || host.parse::<std::net::Ipv6Addr>().is_ok()
}

/// A name or address, IPv6 with or without brackets.
pub(in crate::config) fn host(text: &str) -> Outcome<String> {
    let text = text.trim();
    let bare = text
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(text);
    if is_host(bare) {
        plain(bare.to_owned())
    } else {
        wrong(
            "is not a host",
            "write a name or an address without a port, such as 10.0.0.1",
        )
    }
}

/// `host:port`, `[v6]:port`.
pub(in crate::config) fn listen(text: &str) -> Outcome<Address> {
    let remedy = "write host:port, such as 127.0.0.1:3000 or [::1]:3000";
    let Some((host, port)) = text.trim().rsplit_once(':') else {
        return wrong("has no port", remedy);
    };
    let inner = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let (host, bracketed) = inner.map_or((host, false), |inner| (inner, true));
    if host.contains(':') && !bracketed {
        return wrong("has more than one port", remedy);
    }
    if !is_host(host) || bracketed && !host.contains(':') {
        return wrong("has no host", remedy);
    }
    match port.parse::<u16>() {
        Ok(port_number) if port.bytes().all(|b| b.is_ascii_digit()) => plain(Address {
            host: host.to_owned(),
            port: port_number,
        }),
        _ => wrong("has no port from 0 to 65535", remedy),
    }
}

/// Most origins.
const ORIGINS_MAX: usize = 100;

/// Origins as browsers write them, separated by commas.
pub(in crate::config) fn origins(text: &str) -> Outcome<Vec<String>> {
    let remedy =
        "write origins as browsers do, such as https://ui.example.com,http://a.example:8080";
    let mut origins = Vec::new();
    for entry in text.split(',').map(str::trim) {
        let authority = entry
            .strip_prefix("https://")
            .or_else(|| entry.strip_prefix("http://"));
        let named = authority.map(|authority| match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => port.parse::<u16>().map_or("", |_| host),
            _ => authority,
        });
        if named.is_none_or(|named| host(named).is_err()) {
            let entry = crate::config::report::shown(entry, false);
            return wrong(format!("has {entry}, which is not an origin"), remedy);
        }
        origins.push(entry.to_ascii_lowercase());
    }
    if origins.len() > ORIGINS_MAX {
        return wrong(format!("has more than {ORIGINS_MAX} origins"), remedy);
    }
    plain(origins)
}

/// A port; 0 lets the system choose.
pub(in crate::config) fn port(text: &str) -> Outcome<u16> {
    super::integer_in(text, 0, 65_535)
}

/// Mesos roles, separated by commas (grammar: Mesos `src/common/roles.cpp`).
pub(in crate::config) fn roles(text: &str) -> Outcome<Vec<String>> {
    let remedy =
        "write Mesos roles separated by commas, such as web,batch/night; * for the default";
    let mut roles: Vec<String> = Vec::new();
    for role in text.split(',').map(str::trim) {
        let component = |part: &str| {
            !matches!(part, "" | "." | ".." | "*")
                && !part.starts_with('-')
                && !part.chars().any(|c| c.is_whitespace() || c.is_control())
        };
        if role != "*" && !role.split('/').all(component) {
            let role = crate::config::report::shown(role, false);
            return wrong(format!("has {role}, which is not a role"), remedy);
        }
        if roles.iter().any(|known| known == role) {
            return wrong(format!("names role '{role}' twice"), remedy);
        }
        roles.push(role.to_owned());
    }
    if roles.len() > ROLES_MAX {
        return wrong(format!("has more than {ROLES_MAX} roles"), remedy);
    }
    plain(roles)
}

/// What `STORE` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::config) enum Home {
    /// Nowhere.
    Memory,
    /// A file; of the sandbox when none is named.
    Embedded(Option<PathBuf>),
    /// The ensemble that `ZK_URL` names.
    ZooKeeper,
}

/// `memory`, `embedded`, `embedded:PATH`, `zookeeper`.
pub(in crate::config) fn store(text: &str) -> Outcome<Home> {
    let remedy = "write zookeeper, embedded:/a/lasting/path, or memory to keep nothing";
    let text = text.trim();
    match text.split_once(':') {
        None => match text {
            "memory" => plain(Home::Memory),
            "embedded" => plain(Home::Embedded(None)),
            "zookeeper" => plain(Home::ZooKeeper),
            _ => wrong("is not a store", remedy),
        },
        Some(("embedded", "")) => wrong("names no file", remedy),
        Some(("embedded", path)) => plain(Home::Embedded(Some(PathBuf::from(path)))),
        Some(("zookeeper" | "zk", _)) => wrong(
            "is not a store",
            "write STORE=zookeeper, and the servers in ZK_URL",
        ),
        Some(_) => wrong("is not a store", remedy),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listening_addresses() {
        let shown = |text| listen(text).ok().map(|parsed| parsed.value.to_string());
        assert_eq!(shown("localhost:80").as_deref(), Some("localhost:80"));
        assert_eq!(host("[::1]").unwrap().value, "::1");
        assert!(host("a b").is_err() && host("a:1").is_err() && host("http://a").is_err());
        assert_eq!(shown(" [::1]:0 ").as_deref(), Some("[::1]:0"));
        for bad in [
            "", "80", ":80", "a:", "a:b", "a:+1", "a:70000", "a b:1", "[x]:1", "a:1:2",
        ] {
            assert_eq!(shown(bad), None, "{bad}");
        }
    }

    #[test]
    fn origins_are_a_scheme_a_host_and_perhaps_a_port() {
        let read = origins("https://UI.example.com, http://[::1]:80,http://[::1]").unwrap();
        assert_eq!(read.value[0], "https://ui.example.com");
        for bad in [
            "",
            "a.example",
            "https://a/",
            "https://a:x",
            "ftp://a",
            "https://",
            "http://a,",
        ] {
            assert!(origins(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn roles_follow_the_grammar_of_mesos() {
        assert_eq!(roles("*, a/b").unwrap().value, ["*", "a/b"]);
        for bad in [
            "", "a,", "a,a", "/a", "a/", "a//b", "a/..", "-a", "a/*", "a b",
        ] {
            assert!(roles(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn stores() {
        assert_eq!(store("memory").unwrap().value, Home::Memory);
        assert_eq!(store("embedded").unwrap().value, Home::Embedded(None));
        assert_eq!(
            store("embedded:/a:b").unwrap().value,
            Home::Embedded(Some("/a:b".into()))
        );
        assert_eq!(store(" zookeeper ").unwrap().value, Home::ZooKeeper);
        for bad in ["", "embedded:", "memory:x", "disk:/x"] {
            assert!(store(bad).is_err(), "{bad}");
        }
        let wrong = store("zk://a:2181/x").unwrap_err();
        assert!(wrong.remedy.contains("ZK_URL"), "{wrong:?}");
    }
}

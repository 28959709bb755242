//! Where to look for the leading master: parsing of the user's `MESOS_MASTER`-like
//! setting.

use std::fmt;
use std::str::FromStr;

use secrecy::SecretString;
use thiserror::Error;

/// Port of a Mesos master if none is given (Mesos `--port` default).
pub const MASTER_PORT: u16 = 5050;

/// Port of a ZooKeeper server if none is given.
pub const ZOOKEEPER_PORT: u16 = 2181;

/// Most hosts a list may name. A list is tried one host after the other, so a
/// longer one would only hide a mistake.
const HOSTS_MAX: usize = 64;

/// A host and its port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// Name or address; IPv6 without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl HostPort {
    /// Parses `host`, `host:port`, `[v6]:port`.
    ///
    /// # Errors
    ///
    /// [`AddressError`] naming the bad part.
    pub fn parse(text: &str, default_port: u16) -> Result<Self, AddressError> {
        let bad_host = || AddressError::Host {
            text: text.to_owned(),
        };
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (host, rest) = rest.split_once(']').ok_or_else(bad_host)?;
            if host.parse::<std::net::Ipv6Addr>().is_err() {
                return Err(bad_host());
            }
            match rest.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if rest.is_empty() => (host, None),
                None => return Err(bad_host()),
            }
        } else {
            match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            }
        };
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':');
        if host.is_empty() || !host.chars().all(allowed) {
            return Err(bad_host());
        }
        let port = match port {
            None => default_port,
            Some(port) => match port.parse::<u16>() {
                Ok(port) if port != 0 && !text.contains('+') => port,
                _ => {
                    return Err(AddressError::Port {
                        port: port.to_owned(),
                        text: text.to_owned(),
                    });
                }
            },
        };
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Which protocol a master is spoken to with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Plain text.
    Http,
    /// TLS.
    Https,
}

impl Scheme {
    /// `http` or `https`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// Why a master address was refused. None of the texts contains a password.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddressError {
    /// Nothing but white space was given.
    #[error(
        "the master address is empty; give zk://host:2181/mesos, host:5050 or a comma list of them"
    )]
    Empty,
    /// The part before `://` is not known.
    #[error("'{0}://' is not known; use zk://, http:// or https://, or leave it out")]
    Scheme(String),
    /// A list names both `http://` and `https://`, or `zk://` beside others.
    #[error("a list of masters must use one scheme; found '{0}' beside another one")]
    Mixed(String),
    /// The host is empty or has a character no host name can have.
    #[error("'{text}' does not begin with a host name or address")]
    Host {
        /// The part of the setting that was looked at.
        text: String,
    },
    /// The port is not a number from 1 to 65535.
    #[error("'{port}' in '{text}' is not a port (1 to 65535)")]
    Port {
        /// What stands where the port should.
        port: String,
        /// The part of the setting that was looked at.
        text: String,
    },
    /// The list has an empty entry, as in `a,,b`.
    #[error("entry {0} of the list of hosts is empty")]
    EmptyEntry(usize),
    /// Too many hosts.
    #[error("{0} hosts are too many; give at most {HOSTS_MAX}")]
    TooMany(usize),
    /// A `zk://` address without a path, with `//` in it, or ending in `/`.
    #[error("'{0}' is not a ZooKeeper path; masters usually register under /mesos")]
    ZooKeeperPath(String),
    /// A `zk://` address whose credentials are not `user:password`.
    #[error("the part before '@' must be 'user:password'")]
    ZooKeeperAuth,
    /// An `http(s)://` address with something behind the port.
    #[error("'{0}' must not follow the port; only the host and the port of a master can be given")]
    Path(String),
    /// An `http(s)://` address with credentials.
    #[error("credentials do not belong in the master address; set principal and secret instead")]
    UserInfo,
}

/// Where ZooKeeper keeps the masters' addresses.
#[derive(Clone, Debug)]
pub struct ZooKeeperSource {
    /// The servers.
    pub hosts: Vec<HostPort>,
    /// Path of the masters' nodes, e.g. `/mesos`.
    pub path: String,
    /// `user:password` for the `digest` scheme.
    pub auth: Option<SecretString>,
}

/// How to find the leading master.
///
/// Parsed from `zk://[user:password@]h1:2181,h2/path`, `host:port`, `host`,
/// `http(s)://host:port`, or a comma list of the last three.
#[derive(Clone, Debug)]
pub enum MasterSource {
    /// Ask ZooKeeper.
    ZooKeeper(ZooKeeperSource),
    /// Try in turn and follow redirects to the leader.
    List {
        /// `None` if the setting names none.
        scheme: Option<Scheme>,
        /// The masters; one may be a name that always leads to the leader.
        hosts: Vec<HostPort>,
    },
}

impl FromStr for MasterSource {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(AddressError::Empty);
        }
        if let Some(rest) = text.strip_prefix("zk://") {
            return zookeeper(rest).map(Self::ZooKeeper);
        }
        let mut scheme = None;
        let mut hosts = Vec::new();
        for (i, entry) in text.split(',').map(str::trim).enumerate() {
            if entry.is_empty() {
                return Err(AddressError::EmptyEntry(i + 1));
            }
            let (found, rest) = split_scheme(entry)?;
            // The first entry speaks for all that name none.
            match (scheme, found) {
                (_, None) => {}
                (None, Some(_)) => scheme = found,
                (Some(a), Some(b)) if a == b => {}
                (Some(_), Some(b)) => return Err(AddressError::Mixed(b.as_str().to_owned())),
            }
            if rest.contains('@') {
                return Err(AddressError::UserInfo);
            }
            let rest = rest.strip_suffix('/').unwrap_or(rest);
            if let Some(at) = rest.find(['/', '?', '#']) {
                return Err(AddressError::Path(rest[at..].to_owned()));
            }
            hosts.push(HostPort::parse(rest, MASTER_PORT)?);
        }
        bounded(hosts).map(|hosts| Self::List { scheme, hosts })
    }
}

fn split_scheme(entry: &str) -> Result<(Option<Scheme>, &str), AddressError> {
    match entry.split_once("://") {
        None => Ok((None, entry)),
        Some(("http", rest)) => Ok((Some(Scheme::Http), rest)),
        Some(("https", rest)) => Ok((Some(Scheme::Https), rest)),
        Some(("zk", _)) => Err(AddressError::Mixed("zk".to_owned())),
        Some((other, _)) => Err(AddressError::Scheme(other.to_owned())),
    }
}

fn zookeeper(rest: &str) -> Result<ZooKeeperSource, AddressError> {
    // A password may hold any character, so the last '@' counts.
    let (auth, rest) = match rest.rsplit_once('@') {
        None => (None, rest),
        Some((auth, rest)) => match auth.split_once(':') {
            Some((user, password)) if !user.is_empty() && !password.is_empty() => {
                (Some(SecretString::from(auth)), rest)
            }
            _ => return Err(AddressError::ZooKeeperAuth),
        },
    };
    let (hosts, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    if path.len() < 2 || path.ends_with('/') || path.contains("//") {
        return Err(AddressError::ZooKeeperPath(path.to_owned()));
    }
    let hosts = hosts
        .split(',')
        .map(str::trim)
        .enumerate()
        .map(|(i, host)| match host {
            "" => Err(AddressError::EmptyEntry(i + 1)),
            host if host.contains("://") => Err(AddressError::Mixed(host.to_owned())),
            host => HostPort::parse(host, ZOOKEEPER_PORT),
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(ZooKeeperSource {
        hosts: bounded(hosts)?,
        path: path.to_owned(),
        auth,
    })
}

fn bounded(hosts: Vec<HostPort>) -> Result<Vec<HostPort>, AddressError> {
    if hosts.len() > HOSTS_MAX {
        return Err(AddressError::TooMany(hosts.len()));
    }
    Ok(hosts)
}

/// Host and port of a `Location` header as masters, proxies and old versions write
/// it: `//host:port/path`, `//host:port`, `http://host:port/path`, `host:port`.
///
/// Scheme and path are not taken over: the caller keeps its own (the header never
/// says whether TLS is used). `None` if there is no host in it, which means that no
/// leader is known.
#[must_use]
pub fn redirect_target(location: &str) -> Option<HostPort> {
    let location = location.trim();
    let rest = match location.split_once("://") {
        Some((_, rest)) => rest,
        None => location.strip_prefix("//").unwrap_or(location),
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let authority = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    HostPort::parse(authority, MASTER_PORT).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> (Option<Scheme>, Vec<String>) {
        match text.parse().unwrap() {
            MasterSource::List { scheme, hosts } => {
                (scheme, hosts.iter().map(ToString::to_string).collect())
            }
            MasterSource::ZooKeeper(_) => panic!("{text} is a list"),
        }
    }

    fn error(text: &str) -> AddressError {
        text.parse::<MasterSource>().unwrap_err()
    }

    #[test]
    fn lists_and_single_hosts() {
        assert_eq!(
            list("leader.mesos"),
            (None, vec!["leader.mesos:5050".into()])
        );
        assert_eq!(
            list(" a:1, b "),
            (None, vec!["a:1".into(), "b:5050".into()])
        );
        assert_eq!(
            list("https://m:443/"),
            (Some(Scheme::Https), vec!["m:443".into()])
        );
        assert_eq!(list("http://a,http://b:2").0, Some(Scheme::Http));
        assert_eq!(list("http://a,b:2").0, Some(Scheme::Http));
        assert_eq!(list("[::1]:5051"), (None, vec!["[::1]:5051".into()]));
    }

    #[test]
    fn zookeeper_addresses() {
        let MasterSource::ZooKeeper(zk) =
            "zk://me:p@ss:w@h1:2181,h2,[::1]:7/mesos/a".parse().unwrap()
        else {
            panic!("not ZooKeeper");
        };
        assert_eq!(zk.path, "/mesos/a");
        let hosts: Vec<_> = zk.hosts.iter().map(ToString::to_string).collect();
        assert_eq!(hosts, ["h1:2181", "h2:2181", "[::1]:7"]);
        assert!(!format!("{zk:?}").contains("p@ss"));
    }

    #[test]
    fn errors_name_the_bad_part_and_no_password() {
        assert_eq!(error("  "), AddressError::Empty);
        assert_eq!(error("etcd://a/b"), AddressError::Scheme("etcd".into()));
        assert_eq!(error("a,,b"), AddressError::EmptyEntry(2));
        assert_eq!(
            error("a:99999"),
            AddressError::Port {
                port: "99999".into(),
                text: "a:99999".into()
            }
        );
        assert_eq!(
            error("a:+1"),
            AddressError::Port {
                port: "+1".into(),
                text: "a:+1".into()
            }
        );
        assert_eq!(error("http://a/path"), AddressError::Path("/path".into()));
        assert_eq!(error("http://u:p@a"), AddressError::UserInfo);
        assert_eq!(
            error("https://a,http://b"),
            AddressError::Mixed("http".into())
        );
        assert_eq!(error("a,zk://b/mesos"), AddressError::Mixed("zk".into()));
        assert_eq!(
            error("a b:5050"),
            AddressError::Host {
                text: "a b:5050".into()
            }
        );
        for bad in ["zk://h", "zk://h/", "zk://h/a/", "zk://h//a"] {
            assert!(
                matches!(error(bad), AddressError::ZooKeeperPath(_)),
                "{bad}"
            );
        }
        for bad in ["zk://user@h/mesos", "zk://:topsecret@h/mesos"] {
            assert_eq!(error(bad), AddressError::ZooKeeperAuth);
            assert!(!error(bad).to_string().contains("topsecret"));
        }
        assert!(matches!(
            error("zk://u:topsecret@h:0/mesos"),
            AddressError::Port { .. }
        ));
        assert!(
            !error("zk://u:topsecret@h:0/mesos")
                .to_string()
                .contains("topsecret")
        );
        assert!(matches!(
            error(&"a,".repeat(100)),
            AddressError::EmptyEntry(101)
        ));
        assert_eq!(error(&["a"; 65].join(",")), AddressError::TooMany(65));
    }

    #[test]
    fn every_form_of_location() {
        let target = |l| redirect_target(l).map(|h| h.to_string());
        for location in [
            "//m2:5050/master/api/v1/scheduler",
            "//m2:5050",
            "http://m2:5050/x?y",
            "https://m2:5050",
            "m2:5050",
            "m2",
            " //m2/ ",
        ] {
            assert_eq!(target(location).as_deref(), Some("m2:5050"), "{location}");
        }
        for location in ["", "//", "/api/v1/scheduler", "//:5050", "http://", "//a b"] {
            assert_eq!(target(location), None, "{location}");
        }
    }
}

//! The ensemble of ZooKeeper servers and the places on it.

use gantry_mesos::address::{HostPort, ZOOKEEPER_PORT};
use secrecy::SecretString;

use super::{Outcome, plain, wrong};

/// Most servers: an ensemble has three, five or seven, and each may be known by several names.
const SERVERS_MAX: usize = 64;

/// The servers, as `ZK_URL` names them.
#[derive(Clone, Debug)]
pub(in crate::config) struct Servers {
    /// `host:port`, at least one.
    pub(in crate::config) hosts: Vec<String>,
    /// `/a/b`.
    pub(in crate::config) chroot: Option<String>,
    /// `user:password`.
    pub(in crate::config) auth: Option<SecretString>,
}

/// `[zk://[user:password@]]h1:2181,h2:2181[/chroot]`. No text of the value is repeated but hosts and
/// the path.
pub(in crate::config) fn servers(text: &str) -> Outcome<Servers> {
    let remedy = "write servers such as zk1:2181,zk2:2181,zk3:2181, with /a/path behind them if \
        everything is to lie there";
    let text = text.trim();
    let text = text.strip_prefix("zk://").unwrap_or(text);
    // A password may hold any character, so the last '@' counts.
    let (auth, rest) = match text.rsplit_once('@') {
        None => (None, text),
        Some((auth, rest)) => (Some(self::auth(auth)?.value), rest),
    };
    let (servers, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let chroot = match path {
        "" | "/" => None,
        path => match not_a_path(path) {
            None => Some(path.to_owned()),
            Some(reason) => {
                return wrong(
                    format!("has a path behind the servers that {reason}"),
                    remedy,
                );
            }
        },
    };
    let mut hosts = Vec::new();
    for server in servers.split(',').map(str::trim) {
        match HostPort::parse(server, ZOOKEEPER_PORT) {
            Ok(server) => hosts.push(server.to_string()),
            Err(_) => {
                let server = crate::config::report::shown(server, false);
                return wrong(format!("has {server}, which is not a server"), remedy);
            }
        }
    }
    if hosts.len() > SERVERS_MAX {
        return wrong(format!("names more than {SERVERS_MAX} servers"), remedy);
    }
    plain(Servers {
        hosts,
        chroot,
        auth,
    })
}

/// `user:password`.
pub(in crate::config) fn auth(text: &str) -> Outcome<SecretString> {
    let text = text.trim_end_matches(['\r', '\n']);
    match text.split_once(':') {
        Some((user, password)) if !user.is_empty() && !password.is_empty() => {
            plain(SecretString::from(text))
        }
        _ => wrong("is not a user and a password", "write user:password"),
    }
}

/// What stands before the framework's name: `/dcos-service-`, `/services/`.
pub(in crate::config) fn prefix(text: &str) -> Outcome<String> {
    let text = text.trim();
    // Any name makes it whole.
    match not_a_path(&format!("{text}x")) {
        None => plain(text.to_owned()),
        Some(reason) => wrong(
            reason,
            "write a path such as /dcos-service- or /services/; the framework's name follows",
        ),
    }
}

/// Why this is no path of a node, as a clause (ZooKeeper `PathUtils.validatePath`).
pub(in crate::config) fn not_a_path(path: &str) -> Option<&'static str> {
    let Some(rest) = path.strip_prefix('/') else {
        return Some("does not begin with '/'");
    };
    if path.len() > 1024 {
        return Some("is longer than 1024 bytes");
    }
    if rest.split('/').any(str::is_empty) {
        return Some("has an empty part, or ends with '/'");
    }
    if rest.split('/').any(|part| matches!(part, "." | "..")) {
        return Some("has '.' or '..' as a part");
    }
    if rest.split('/').next() == Some("zookeeper") {
        return Some("lies in /zookeeper, which is ZooKeeper's own");
    }
    let refused = |c: char| {
        c.is_control()
            || matches!(c, '\u{f000}'..='\u{f8ff}' | '\u{fff0}'..='\u{ffff}')
            || c.is_whitespace()
            || c == '@'
            || c == ','
    };
    path.chars()
        .any(refused)
        .then_some("has a character that is not allowed there")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn servers_with_all_that_may_stand_around_them() {
        let read = |text: &str| {
            let servers = servers(text).unwrap().value;
            let auth = servers.auth.map(|auth| auth.expose_secret().to_owned());
            (servers.hosts, servers.chroot, auth)
        };
        let list = |hosts: &[&str]| hosts.iter().map(|host| (*host).to_owned()).collect();
        assert_eq!(read("a"), (list(&["a:2181"]), None, None));
        assert_eq!(
            read(" zk://me:a@b:c@a:1,[::1]/x/y "),
            (
                list(&["a:1", "[::1]:2181"]),
                Some("/x/y".into()),
                Some("me:a@b:c".into())
            )
        );
        assert_eq!(read("a, b:2/"), (list(&["a:2181", "b:2"]), None, None));
        for bad in [
            "",
            ",",
            "a,,b",
            "a:0",
            "a:x",
            "a b",
            "/x",
            "a/x/",
            "a//x",
            "a/../b",
            "me@a",
            "zk://:x@a",
            "http://a",
            "a:1/zookeeper/x",
        ] {
            assert!(servers(bad).is_err(), "{bad}");
        }
        let many = vec!["a"; SERVERS_MAX + 1].join(",");
        assert!(servers(&many).unwrap_err().reason.contains("64"));
    }

    #[test]
    fn prefixes_become_paths_with_a_name() {
        for good in ["/dcos-service-", "/services/", "/a/b/c-"] {
            assert_eq!(prefix(good).unwrap().value, good);
        }
        for bad in ["", "x", "//", "/a//", "/a/./b", "/a b", "/zookeeper/"] {
            assert!(prefix(bad).is_err(), "{bad}");
        }
        assert!(not_a_path("/services/..").is_some());
    }

    proptest! {
        #[test]
        fn a_refusal_never_repeats_the_password(text in "[a-z:@/,]{0,12}") {
            if let Err(wrong) = servers(&format!("zk://me:hush@{text}@")) {
                prop_assert!(!wrong.reason.contains("hush") && !wrong.remedy.contains("hush"));
            }
        }
    }
}

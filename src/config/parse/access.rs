//! Who is let in: keys, lists of people and groups, networks, addresses of providers.

use std::net::IpAddr;

use regex::{Regex, RegexBuilder};
use reqwest::Url;
use secrecy::SecretString;

use super::{Outcome, plain, wrong};
use crate::config::{
    access::{BasicUser, Network, Rule},
    report::shown,
};

/// Fewest bytes of the key of the cookies: 256 bits, if they are random.
const KEY_MIN: usize = 32;

/// Most entries of a list.
const ENTRIES_MAX: usize = 1_000;

/// Longest entry of a list, in bytes.
const ENTRY_MAX: usize = 256;

/// Largest compiled `GOOGLE_FILTER`, in bytes.
const FILTER_MAX: usize = 1 << 20;

/// Shortest password for Basic authentication that is not doubted, in bytes.
const PASSWORD_MIN: usize = 12;

/// The key of the cookies.
pub(in crate::config) fn cookie_key(text: &str) -> Outcome<SecretString> {
    let key = text.trim();
    if key.len() < KEY_MIN {
        return wrong(
            format!("is shorter than {KEY_MIN} bytes: who guesses it can let himself in"),
            "write a random one, such as `openssl rand -base64 48` makes",
        );
    }
    plain(SecretString::from(key))
}

fn entries(
    text: &str,
    what: &str,
    remedy: &str,
    good: impl Fn(&str) -> bool,
) -> Outcome<Vec<String>> {
    let mut entries: Vec<String> = Vec::new();
    for entry in text
        .split([',', '\n'])
        .map(str::trim)
        .filter(|entry| !entry.is_empty())
    {
        let clean = !entry.chars().any(|c| c.is_control() || c.is_whitespace());
        if entry.len() > ENTRY_MAX || !clean || !good(entry) {
            let entry = shown(entry, false);
            return wrong(format!("has {entry}, which is no {what}"), remedy);
        }
        let entry = entry.to_lowercase();
        if !entries.contains(&entry) {
            entries.push(entry);
        }
    }
    if entries.is_empty() {
        return wrong(format!("names no {what}"), remedy);
    }
    if entries.len() > ENTRIES_MAX {
        return wrong(format!("has more than {ENTRIES_MAX} entries"), remedy);
    }
    plain(entries)
}

fn is_user_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .chars()
            .all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'))
}

fn is_group(path: &str) -> bool {
    path.split('/').all(is_user_name)
}

fn is_domain(domain: &str) -> bool {
    let parts = || domain.split('.');
    parts().count() > 1
        && parts()
            .all(|part| !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || c == '-'))
}

/// Whether this is one address of one mailbox: exactly one `@`, so that no part of it can be taken
/// for another domain.
pub(crate) fn is_mail(mail: &str) -> bool {
    let plain = !mail
        .chars()
        .any(|c| c.is_whitespace() || c.is_control() || matches!(c, '"' | '<' | '>' | ',' | '\\'));
    mail.len() <= 254
        && plain
        && mail.split_once('@').is_some_and(|(local, domain)| {
            !local.is_empty() && !domain.contains('@') && is_domain(domain)
        })
}

/// Names of users, separated by commas; in lower case.
pub(in crate::config) fn user_names(text: &str) -> Outcome<Vec<String>> {
    entries(
        text,
        "name of a user",
        "write names such as alice,bob",
        is_user_name,
    )
}

/// Full paths of groups, separated by commas; in lower case.
pub(in crate::config) fn groups(text: &str) -> Outcome<Vec<String>> {
    let remedy = "write full paths such as developers/frontend,operations";
    entries(text, "path of a group", remedy, is_group)
}

/// Domains, separated by commas; in lower case.
pub(in crate::config) fn domains(text: &str) -> Outcome<Vec<String>> {
    entries(
        text,
        "domain",
        "write domains such as example.com,example.org",
        is_domain,
    )
}

/// A regular expression, unanchored.
pub(in crate::config) fn filter(text: &str) -> Outcome<Regex> {
    match RegexBuilder::new(text.trim())
        .size_limit(FILTER_MAX)
        .build()
    {
        Ok(filter) => plain(filter),
        Err(regex::Error::CompiledTooBig(_)) => wrong("is too large", "write a shorter one"),
        Err(_) => wrong(
            "is no regular expression that is understood here",
            "write one without look-around and back-references, such as @example\\.com$",
        ),
    }
}

/// Who is meant by a rule: entries `provider:name`, separated by commas.
pub(in crate::config) fn rules(text: &str) -> Outcome<Vec<Rule>> {
    let remedy = "write entries such as gitlab:alice, gitlab-group:ops/core, google:bob@example.com, \
                  google-domain:example.com, basic:ci, or * for everybody who may enter";
    let mut rules = Vec::new();
    let known = entries(text, "rule", remedy, |_| true)?;
    for entry in known.value {
        let rule = match entry.split_once(':') {
            None if entry == "*" => Some(Rule::Everyone),
            Some(("gitlab", name)) if is_user_name(name) => Some(Rule::GitlabUser(name.to_owned())),
            Some(("gitlab-group", path)) if is_group(path) => {
                Some(Rule::GitlabGroup(path.to_owned()))
            }
            Some(("google", mail)) if is_mail(mail) => Some(Rule::GoogleMail(mail.to_owned())),
            Some(("google-domain", domain)) if is_domain(domain) => {
                Some(Rule::GoogleDomain(domain.to_owned()))
            }
            Some(("basic", name)) if !name.is_empty() => Some(Rule::Basic(name.to_owned())),
            _ => None,
        };
        let Some(rule) = rule else {
            let reason = match entry.contains(':') {
                true => "which is no rule",
                false => "which does not say who speaks for that name",
            };
            return wrong(format!("has {}, {reason}", shown(&entry, false)), remedy);
        };
        rules.push(rule);
    }
    plain(rules)
}

/// `user:password`, one a line. The password may hold colons.
pub(in crate::config) fn basic_users(text: &str) -> Outcome<Vec<BasicUser>> {
    let remedy = "write user:password, one a line";
    let mut users: Vec<BasicUser> = Vec::new();
    let mut short = false;
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let Some((name, password)) = line.split_once(':') else {
            return wrong("is no user and password", remedy);
        };
        if name.is_empty() || password.is_empty() {
            return wrong("has an empty user or password", remedy);
        }
        if line.chars().any(char::is_control) || line.len() > 4 * ENTRY_MAX {
            return wrong("has a control character, or is too long", remedy);
        }
        if users
            .iter()
            .any(|user| user.name.eq_ignore_ascii_case(name))
        {
            return wrong("names a user twice", remedy);
        }
        short |= password.len() < PASSWORD_MIN;
        users.push(BasicUser {
            name: name.to_owned(),
            password: SecretString::from(password),
        });
    }
    if users.len() > ENTRIES_MAX {
        return wrong(format!("has more than {ENTRIES_MAX} users"), remedy);
    }
    if short {
        return super::doubtful(
            users,
            format!("has a password of fewer than {PASSWORD_MIN} characters"),
            "choose a longer one, or use API_TOKENS_FILE",
        );
    }
    plain(users)
}

/// Addresses and networks, `10.0.0.0/8,::1`.
pub(in crate::config) fn networks(text: &str) -> Outcome<Vec<Network>> {
    let remedy = "write addresses or networks such as 10.0.0.5,192.168.0.0/16,fd00::/8";
    let known = entries(text, "network", remedy, |_| true)?;
    let mut networks = Vec::new();
    for entry in known.value {
        let (address, bits) = match entry.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (entry.as_str(), None),
        };
        let parsed = address.parse::<IpAddr>().ok().and_then(|address| {
            let widest = if address.is_ipv4() { 32 } else { 128 };
            let bits = bits.map_or(Some(widest), |bits| bits.parse().ok())?;
            (bits <= widest).then_some(Network { address, bits })
        });
        match parsed {
            Some(network) if network.bits > 0 => networks.push(network),
            Some(_) => return wrong("has a network of all addresses there are", remedy),
            None => {
                let entry = shown(&entry, false);
                return wrong(format!("has {entry}, which is no network"), remedy);
            }
        }
    }
    plain(networks)
}

/// The path at which a proxy shows Gantry: `/a/b`, without a slash at the end.
pub(in crate::config) fn url_prefix(text: &str) -> Outcome<String> {
    let path = text.trim().trim_end_matches('/');
    let good = |part: &str| {
        !matches!(part, "" | "." | "..")
            && part
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '~'))
    };
    match path.strip_prefix('/') {
        Some(parts) if path.len() <= ENTRY_MAX && parts.split('/').all(good) => {
            plain(path.to_owned())
        }
        None if path.is_empty() => plain(String::new()),
        _ => wrong("is no path", "write one such as /service/my-framework"),
    }
}

/// Address of a provider: https, or http on this very machine, for trying things out.
pub(in crate::config) fn provider(text: &str) -> Outcome<String> {
    let url = address(text)?;
    if url.scheme() != "https" && !is_loopback(&url) {
        return wrong(
            "is not https: whoever is on the way could let himself in",
            "write the https:// address of the provider",
        );
    }
    plain(text.trim().trim_end_matches('/').to_owned())
}

/// Where a provider sends the browser back to.
pub(in crate::config) fn callback(text: &str) -> Outcome<String> {
    let url = address(text)?;
    // Providers compare it letter by letter.
    let text = text.trim().to_owned();
    if url.scheme() != "https" && !is_loopback(&url) {
        return super::doubtful(
            text,
            "is not https: whoever is on the way can read the sessions",
            "serve the dashboard over https (TLS_CERT, or a proxy)",
        );
    }
    plain(text)
}

fn address(text: &str) -> Result<Url, super::Wrong> {
    let remedy = "write one such as https://gantry.example.com/auth/gitlab/callback";
    let text = text.trim();
    let url = Url::parse(text).ok().filter(|url| {
        (text.starts_with("http://") || text.starts_with("https://"))
            && url.host_str().is_some_and(|host| !host.is_empty())
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    });
    url.ok_or_else(|| {
        super::Wrong::new("is no address without query, fragment and password", remedy)
    })
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || bare
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_has_one_at() {
        assert!(is_mail("bob.x+y@mail.example.com"));
        for bad in [
            "bob@example.com@evil.com",
            "bob@evil.com,x@example.com",
            "\"bob@evil.com\"@example.com",
            "bob@evil.com x@example.com",
            "<bob@example.com>",
            "@example.com",
            "bob@",
            "bob@localhost",
            "bob",
            "",
        ] {
            assert!(!is_mail(bad), "{bad}");
        }
    }

    #[test]
    fn rules_say_who_speaks() {
        let read = rules("gitlab:Alice, gitlab-group:Ops/core\ngoogle:b@x.org,*").unwrap();
        assert_eq!(
            read.value,
            [
                Rule::GitlabUser("alice".to_owned()),
                Rule::GitlabGroup("ops/core".to_owned()),
                Rule::GoogleMail("b@x.org".to_owned()),
                Rule::Everyone,
            ]
        );
        for bad in [
            "alice",
            "github:alice",
            "gitlab:",
            "google:bob",
            "google-domain:x",
            "gitlab-group:/a",
            ",",
        ] {
            assert!(rules(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn credentials_are_split_at_the_first_colon() {
        let read = basic_users("ci:a:long:password\nbob:another-password").unwrap();
        assert!(read.warning.is_none());
        assert_eq!(read.value[0].name, "ci");
        assert!(basic_users("ci:short").unwrap().warning.is_some());
        for bad in ["admin", ":x", "x:", "a:b\nA:c"] {
            assert!(basic_users(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn addresses_of_providers_and_proxies() {
        assert!(
            provider("https://gitlab.example/git/")
                .unwrap()
                .value
                .ends_with("/git")
        );
        for good in [
            "http://127.0.0.1:3000",
            "http://localhost",
            "http://[::1]:1",
        ] {
            assert!(provider(good).is_ok(), "{good}");
        }
        for bad in [
            "http://gitlab.example",
            "gitlab.example",
            "https://a@b",
            "https://a/?x",
            "ftp://a",
        ] {
            assert!(provider(bad).is_err(), "{bad}");
        }
        assert!(
            callback("http://fw.example/auth/google/callback")
                .unwrap()
                .warning
                .is_some()
        );
        assert!(networks("10.0.0.0/8, ::1").is_ok());
        for bad in ["10.0.0.0/33", "0.0.0.0/0", "a", "10.0.0.0/x", ""] {
            assert!(networks(bad).is_err(), "{bad}");
        }
        assert_eq!(url_prefix("/service/fw/").unwrap().value, "/service/fw");
        for bad in ["service", "//x", "/a/../b", "/a?b", "/a b"] {
            assert!(url_prefix(bad).is_err(), "{bad}");
        }
        assert!(cookie_key("sesame").is_err() && filter("(?=x)").is_err());
    }
}

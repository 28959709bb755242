//! Who is let in: reads the variables of login, then checks what they say together.

use std::{fmt, net::IpAddr, path::PathBuf, time::Duration};

use regex::Regex;
use secrecy::SecretString;

use super::{
    reader::{Reader, read_file},
    table::{Typed, Variable, framework::*},
};
use crate::auth::TokenFile;

/// Who is let in, and as what.
#[derive(Clone, Debug, Default)]
pub struct Auth {
    /// Sessions of browsers, when login is on.
    pub sessions: Option<Sessions>,
    /// The file of tokens for programs.
    pub tokens_file: Option<PathBuf>,
    /// Users with a password, for HTTP Basic authentication.
    pub basic: Vec<BasicUser>,
    /// Who is more than an operator.
    pub admins: Vec<Rule>,
    /// Who is less than an operator.
    pub viewers: Vec<Rule>,
}

impl Auth {
    /// Whether everybody who reaches the port may do everything.
    pub const fn is_open(&self) -> bool {
        self.sessions.is_none() && self.tokens_file.is_none() && self.basic.is_empty()
    }

    /// Everything in it that must not be seen.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &SecretString> {
        let sessions = self.sessions.iter().flat_map(|sessions| {
            let applications = [
                sessions.gitlab.as_ref().map(|gitlab| &gitlab.application),
                sessions.google.as_ref().map(|google| &google.application),
            ];
            let applications = applications.into_iter().flatten();
            let keys = [Some(&sessions.key), sessions.old_key.as_ref()];
            keys.into_iter()
                .flatten()
                .chain(applications.map(|application| &application.secret))
        });
        sessions.chain(self.basic.iter().map(|user| &user.password))
    }
}

/// How browsers stay logged in.
#[derive(Clone, Debug)]
pub struct Sessions {
    /// Encrypts the cookies.
    pub key: SecretString,
    /// Still opens cookies that were made before the key was changed.
    pub old_key: Option<SecretString>,
    /// A session ends when nothing was asked for so long.
    pub idle: Duration,
    /// A session ends so long after the login at the latest.
    pub absolute: Duration,
    /// GitLab, when people log in there.
    pub gitlab: Option<Gitlab>,
    /// Google, when people log in there.
    pub google: Option<Google>,
}

/// What a provider knows Gantry as.
#[derive(Clone, Debug)]
pub struct Application {
    /// Its id.
    pub id: String,
    /// Its secret.
    pub secret: SecretString,
    /// Where the provider sends the browser back to, as it was registered there.
    pub callback: String,
    /// Address of the provider, without a slash at the end.
    pub provider: String,
    /// What Gantry asks to know, besides what it always needs.
    pub scopes: Vec<String>,
}

impl Application {
    /// Whether browsers come over https.
    pub fn is_secure(&self) -> bool {
        self.callback.starts_with("https://")
    }
}

/// GitLab as a provider.
#[derive(Clone, Debug)]
pub struct Gitlab {
    /// What Gantry is there.
    pub application: Application,
    /// Full paths of groups whose members, and those of their subgroups, may enter; lower case.
    pub groups: Vec<String>,
    /// Names of users who may enter; lower case. Empty like `groups`: whoever has an account.
    pub users: Vec<String>,
}

/// Google as a provider.
#[derive(Clone, Debug)]
pub struct Google {
    /// What Gantry is there.
    pub application: Application,
    /// Domains whose accounts may enter; lower case, empty for all.
    pub domains: Vec<String>,
    /// The verified e-mail address must match it.
    pub filter: Option<Regex>,
}

/// A user with a password.
#[derive(Clone, Debug)]
pub struct BasicUser {
    /// The name.
    pub name: String,
    /// The password.
    pub password: SecretString,
}

/// Whom a rule is about. Everything is in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// Everybody who may enter.
    Everyone,
    /// The user of this name at GitLab.
    GitlabUser(String),
    /// The members of this group at GitLab, and of its subgroups.
    GitlabGroup(String),
    /// The Google account of this verified address.
    GoogleMail(String),
    /// The Google accounts of this domain.
    GoogleDomain(String),
    /// The user of `HTTP_CREDENTIALS`.
    Basic(String),
}

/// An address and those that share its first bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// One address of it.
    pub address: IpAddr,
    /// How many bits are shared, at least 1.
    pub bits: u8,
}

impl Network {
    /// Whether the address is one of the network.
    pub fn contains(&self, address: IpAddr) -> bool {
        let bits = u32::from(self.bits);
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                (own.to_bits() ^ other.to_bits()).leading_zeros() >= bits
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                (own.to_bits() ^ other.to_bits()).leading_zeros() >= bits
            }
            _ => false,
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

/// The server's own certificate. The files have been read once: they are there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The certificate and those between it and the authority, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
    /// For how long browsers are told to come over https alone; zero for not at all.
    pub strict_for: Duration,
}

/// `None` when an error was reported that leaves nothing to go on with.
pub(super) fn read(reader: &mut Reader<'_>) -> Option<Auth> {
    let errors = reader.report.errors.len();
    let key = reader.framework(&AUTH_COOKIE_ENCRYPTION_KEY);
    let asked = reader.is_set(&AUTH_COOKIE_ENCRYPTION_KEY.about, 0);
    let old_key = reader.framework(&AUTH_COOKIE_ENCRYPTION_KEY_OLD);
    let idle = reader.framework(&AUTH_SESSION_IDLE);
    let absolute = reader.framework(&AUTH_SESSION_MAX);
    let allow_any = reader.framework(&AUTH_ALLOW_ANY).unwrap_or_default();
    let admins = reader.framework(&AUTH_ADMINS).unwrap_or_default();
    let viewers = reader.framework(&AUTH_VIEWERS).unwrap_or_default();
    let tokens_file = reader.framework(&API_TOKENS_FILE);
    let basic = reader.framework(&HTTP_CREDENTIALS).unwrap_or_default();
    let gitlab = gitlab(reader, allow_any);
    let google = google(reader, allow_any);
    if let Some(path) = &tokens_file {
        tokens(reader, path);
    }
    for (variable, provider) in [
        (&GITLAB_APP_ID.about, gitlab.is_some()),
        (&GOOGLE_CLIENT_ID.about, google.is_some()),
    ] {
        if provider && !asked {
            reader.error(
                variable,
                0,
                "asks for login, but AUTH_COOKIE_ENCRYPTION_KEY is not set; Gantry does not run open when login was asked for",
                "set AUTH_COOKIE_ENCRYPTION_KEY to a random text, such as `openssl rand -base64 48` makes",
            );
        }
    }
    let others = tokens_file.is_some() || reader.is_set(&HTTP_CREDENTIALS.about, 0);
    let any_provider =
        reader.is_set(&GITLAB_APP_ID.about, 0) || reader.is_set(&GOOGLE_CLIENT_ID.about, 0);
    if asked && !any_provider && !others {
        reader.error(
            &AUTH_COOKIE_ENCRYPTION_KEY.about,
            0,
            "asks for login, and nobody could log in",
            "set GITLAB_APP_ID or GOOGLE_CLIENT_ID with what belongs to it, API_TOKENS_FILE or HTTP_CREDENTIALS",
        );
    }
    if !asked && old_key.is_some() {
        let reason = "is without effect, as AUTH_COOKIE_ENCRYPTION_KEY is not set";
        reader.error(
            &AUTH_COOKIE_ENCRYPTION_KEY_OLD.about,
            0,
            reason,
            "set that one, or remove this",
        );
    }
    if idle > absolute {
        let reason = format!("is longer than {}", AUTH_SESSION_MAX.about.name);
        reader.error(&AUTH_SESSION_IDLE.about, 0, reason, "shorten it");
    }
    same_scheme(reader, gitlab.as_ref(), google.as_ref());
    for (variable, rules) in [
        (&AUTH_ADMINS.about, &admins),
        (&AUTH_VIEWERS.about, &viewers),
    ] {
        if !asked && !others && !rules.is_empty() {
            let reason = "is without effect, as login is off";
            reader.error(
                variable,
                0,
                reason,
                "switch login on with AUTH_COOKIE_ENCRYPTION_KEY, or remove it",
            );
        }
        let idle = rules.iter().any(|rule| match rule {
            Rule::Everyone => false,
            Rule::GitlabUser(_) | Rule::GitlabGroup(_) => gitlab.is_none(),
            Rule::GoogleMail(_) | Rule::GoogleDomain(_) => google.is_none(),
            Rule::Basic(name) => !basic
                .iter()
                .any(|user| user.name.eq_ignore_ascii_case(name)),
        });
        if idle && reader.report.errors.len() == errors {
            let reason = "has entries about nobody who can log in";
            reader.warning(
                variable,
                0,
                reason,
                "remove them, or configure their provider",
            );
        }
    }
    if reader.report.errors.len() > errors {
        return None;
    }
    let sessions = match key {
        Some(key) => Some(Sessions {
            key,
            old_key,
            idle: idle?,
            absolute: absolute?,
            gitlab,
            google,
        }),
        None => None,
    };
    Some(Auth {
        sessions,
        tokens_file,
        basic,
        admins,
        viewers,
    })
}

/// The variables of a provider's application.
struct Names {
    id: &'static Typed<String>,
    secret: &'static Typed<SecretString>,
    callback: &'static Typed<String>,
    provider: &'static Typed<String>,
    scopes: &'static Typed<String>,
    /// What the path of the callback ends with.
    path: &'static str,
}

fn application(reader: &mut Reader<'_>, names: &Names) -> Option<Application> {
    let id = reader.framework(names.id);
    let secret = reader.framework(names.secret);
    let callback = reader.framework(names.callback);
    let provider = reader.framework(names.provider);
    let scopes = reader.framework(names.scopes).unwrap_or_default();
    if id.is_none() {
        for variable in [&names.secret.about, &names.callback.about] {
            if reader.is_set(variable, 0) {
                let reason = format!("is set without {}", names.id.about.name);
                let remedy = format!("set {}, or remove it", names.id.about.name);
                reader.error(variable, 0, reason, remedy);
            }
        }
        return None;
    }
    let mut demand = |variable: &Variable, present: bool| {
        if !present && !reader.is_set(variable, 0) {
            let reason = format!("is not set, and {} is", names.id.about.name);
            reader.error(
                variable,
                0,
                reason,
                "set it: the provider shows it where the application is registered",
            );
            reader.report.missing.push(variable.name.to_owned());
        }
    };
    demand(&names.secret.about, secret.is_some());
    demand(&names.callback.about, callback.is_some());
    if let Some(callback) = &callback
        && !callback.ends_with(names.path)
    {
        let reason = format!(
            "does not end with {}, where Gantry expects the browser back",
            names.path
        );
        let remedy =
            "register the callback at that path, below the one at which the dashboard is shown";
        reader.error(&names.callback.about, 0, reason, remedy);
    }
    Some(Application {
        id: id?,
        secret: secret?,
        callback: callback?,
        provider: provider?,
        scopes: scopes.split_whitespace().map(str::to_owned).collect(),
    })
}

fn gitlab(reader: &mut Reader<'_>, allow_any: bool) -> Option<Gitlab> {
    let application = application(
        reader,
        &Names {
            id: &GITLAB_APP_ID,
            secret: &GITLAB_APP_SECRET,
            callback: &GITLAB_CALLBACK_URL,
            provider: &GITLAB_URL,
            scopes: &GITLAB_SCOPE,
            path: "/auth/gitlab/callback",
        },
    );
    let groups = reader.framework(&GITLAB_ALLOWED_GROUPS);
    let users = reader.framework(&GITLAB_ALLOWED_USERS);
    let ruled = reader.is_set(&GITLAB_ALLOWED_GROUPS.about, 0)
        || reader.is_set(&GITLAB_ALLOWED_USERS.about, 0);
    let application = application?;
    if !ruled && !allow_any {
        let reason = "lets in whoever has an account there";
        let remedy = "set GITLAB_ALLOWED_GROUPS or GITLAB_ALLOWED_USERS; or AUTH_ALLOW_ANY=true, if all of them may operate this framework";
        reader.error(&GITLAB_APP_ID.about, 0, reason, remedy);
    }
    Some(Gitlab {
        application,
        groups: groups.unwrap_or_default(),
        users: users.unwrap_or_default(),
    })
}

fn google(reader: &mut Reader<'_>, allow_any: bool) -> Option<Google> {
    let application = application(
        reader,
        &Names {
            id: &GOOGLE_CLIENT_ID,
            secret: &GOOGLE_CLIENT_SECRET,
            callback: &GOOGLE_CALLBACK_URL,
            provider: &GOOGLE_ISSUER,
            scopes: &GOOGLE_SCOPE,
            path: "/auth/google/callback",
        },
    );
    let domains = reader.framework(&GOOGLE_ALLOWED_DOMAINS);
    let filter = reader.framework(&GOOGLE_FILTER);
    let ruled =
        reader.is_set(&GOOGLE_ALLOWED_DOMAINS.about, 0) || reader.is_set(&GOOGLE_FILTER.about, 0);
    let application = application?;
    if !ruled && !allow_any {
        let reason = "lets in whoever has a Google account";
        let remedy = "set GOOGLE_ALLOWED_DOMAINS or GOOGLE_FILTER; or AUTH_ALLOW_ANY=true, if the whole world may operate this framework";
        reader.error(&GOOGLE_CLIENT_ID.about, 0, reason, remedy);
    }
    Some(Google {
        application,
        domains: domains.unwrap_or_default(),
        filter,
    })
}

/// A browser that comes over https has cookies that it never sends over http, and the other way
/// round it would send them in clear.
fn same_scheme(reader: &mut Reader<'_>, gitlab: Option<&Gitlab>, google: Option<&Google>) {
    if let (Some(gitlab), Some(google)) = (gitlab, google)
        && gitlab.application.is_secure() != google.application.is_secure()
    {
        let reason = "is of another scheme than GITLAB_CALLBACK_URL";
        reader.error(&GOOGLE_CALLBACK_URL.about, 0, reason, "use https for both");
    }
}

fn tokens(reader: &mut Reader<'_>, path: &std::path::Path) {
    let read = std::fs::read_to_string(path)
        .map_err(|error| format!("names a file that cannot be read: {error}"));
    let file = match read.map(|text| TokenFile::parse(&text)) {
        Ok(file) => file,
        Err(reason) => {
            let remedy = "name a file of lines that `gantry token new` prints; it may be empty";
            return reader.error(&API_TOKENS_FILE.about, 0, reason, remedy);
        }
    };
    for (line, reason) in file.problems {
        let reason = format!("names a file whose line {line} {reason}");
        reader.error(
            &API_TOKENS_FILE.about,
            0,
            reason,
            "mend it, or remove the line",
        );
    }
}

/// `None` when something is wrong.
pub(super) fn tls(reader: &mut Reader<'_>) -> Option<Option<Tls>> {
    let certificate = reader.framework(&TLS_CERT);
    let key = reader.framework(&TLS_KEY);
    let strict_for = reader.framework(&TLS_HSTS);
    let (certificate, key) = match (certificate, key) {
        (Some(certificate), Some(key)) => (certificate, key),
        (None, None) => return Some(None),
        (Some(_), None) => {
            reader.error(
                &TLS_CERT.about,
                0,
                "is set without TLS_KEY",
                "set TLS_KEY too",
            );
            return None;
        }
        (None, Some(_)) => {
            reader.error(
                &TLS_KEY.about,
                0,
                "is set without TLS_CERT",
                "set TLS_CERT too",
            );
            return None;
        }
    };
    let mut whole = true;
    for (variable, path, marker) in [
        (&TLS_CERT.about, &certificate, "-----BEGIN CERTIFICATE-----"),
        (&TLS_KEY.about, &key, "PRIVATE KEY-----"),
    ] {
        let wrong = match read_file(&path.to_string_lossy()) {
            Ok(pem) if pem.contains(marker) => continue,
            Ok(_) => format!("names a file without {marker}"),
            Err(reason) => reason,
        };
        reader.error(variable, 0, wrong, "name a PEM file");
        whole = false;
    }
    whole.then_some(Some(Tls {
        certificate,
        key,
        strict_for: strict_for?,
    }))
}

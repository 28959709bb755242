//! The gate: everything by which a request can be let in, behind one question.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use actix_web::{HttpRequest, cookie::Cookie, http::header};
use gantry_core::Timestamp;
use oauth2::CsrfToken;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::{
    AUDIT, Access, Caller, Identity, Session, Via,
    attempt::{self, Attempt, Used},
    basic::BasicUsers,
    cookies::Cookies,
    failures::Failures,
    person::{self, NotAllowed},
    provider::{Provider, ProviderError, Secrets},
    session::Limits,
    tokens::{BadToken, TokenUse, Tokens},
};
use crate::config::{Auth, Rule};

/// The kind of the cookie of a session.
const SESSION: &str = "session";

/// Random bytes of the id of a session.
const SESSION_ID_BYTES: u32 = 16;

/// Most sessions that are remembered as logged out.
const LOGGED_OUT_MAX: usize = 10_000;

/// Longest value of a parameter that a provider may send back, in bytes.
const PARAMETER_MAX: usize = 4_096;

/// Everything by which a request can be let in.
pub(crate) struct Gate {
    auth: Auth,
    sessions: Option<Sessions>,
    basic: BasicUsers,
    tokens: Option<Tokens>,
    failures: Failures,
}

struct Sessions {
    cookies: Cookies,
    limits: Limits,
    /// By which a session shows that it was begun under the rules of today.
    rules: String,
    providers: Vec<Provider>,
    used: Used,
    logged_out: Mutex<HashMap<String, u64>>,
}

/// Who asks, and the cookie that the answer has to bring along.
pub(crate) struct Known {
    pub(crate) caller: Caller,
    pub(crate) cookie: Option<Cookie<'static>>,
}

impl From<Caller> for Known {
    fn from(caller: Caller) -> Self {
        Self {
            caller,
            cookie: None,
        }
    }
}

/// What a provider sent the browser back with.
#[derive(Debug, Default)]
pub(crate) struct Callback {
    pub(crate) state: Option<String>,
    pub(crate) code: Option<String>,
    pub(crate) error: Option<String>,
    pub(crate) issuer: Option<String>,
}

/// Why a login came to nothing, as it is told to whoever tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Problem {
    /// The provider was told to stop.
    Cancelled,
    /// The answer belongs to no login that this browser has begun, or not any more.
    Lost,
    /// The provider cannot be asked, or answers what is not accepted.
    Provider,
    /// The account may not enter.
    NotAllowed,
    /// Nobody vouches for the address.
    Unverified,
}

impl Problem {
    const ALL: [Self; 5] = [
        Self::Cancelled,
        Self::Lost,
        Self::Provider,
        Self::NotAllowed,
        Self::Unverified,
    ];

    /// As it stands in the address of the login page.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
            Self::Lost => "lost",
            Self::Provider => "provider",
            Self::NotAllowed => "not-allowed",
            Self::Unverified => "unverified",
        }
    }

    /// The problem of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|problem| problem.name() == name)
    }

    /// What to tell and what to do.
    pub(crate) const fn sentence(self) -> &'static str {
        match self {
            Self::Cancelled => "The login was cancelled.",
            Self::Lost => {
                "The login took too long, or was begun in another browser. Please begin again."
            }
            Self::Provider => {
                "The provider cannot be asked at the moment, or does not know this Gantry. Try \
                 again; if that does not help, Gantry's log says what is wrong."
            }
            Self::NotAllowed => {
                "This account may not enter. Log in with another one, or ask whoever runs this \
                 framework."
            }
            Self::Unverified => {
                "The e-mail address of this account is not verified. Verify it with the provider \
                 first."
            }
        }
    }
}

impl From<NotAllowed> for Problem {
    fn from(why: NotAllowed) -> Self {
        match why {
            NotAllowed::UnverifiedMail => Self::Unverified,
            NotAllowed::OddMail
            | NotAllowed::NotListed
            | NotAllowed::OtherDomain
            | NotAllowed::Filtered => Self::NotAllowed,
            NotAllowed::NoSubject => Self::Provider,
        }
    }
}

/// From where somebody asks, for the log.
fn shown(from: Option<IpAddr>) -> String {
    from.map(|address| address.to_string()).unwrap_or_default()
}

impl Gate {
    /// `framework` names the cookies, `prefix` is the path at which a proxy shows Gantry.
    pub(crate) fn new(auth: &Auth, framework: &str, prefix: &str) -> Self {
        let sessions = auth.sessions.as_ref().map(|sessions| {
            let gitlab = sessions.gitlab.as_ref();
            let google = sessions.google.as_ref();
            let secure = gitlab.is_some_and(|gitlab| gitlab.application.is_secure())
                || google.is_some_and(|google| google.application.is_secure());
            let key = &sessions.key;
            let old_key = sessions.old_key.as_ref();
            let providers = gitlab
                .map(|gitlab| Provider::gitlab(&gitlab.application, wants_groups(auth)))
                .into_iter()
                .chain(google.map(|google| Provider::google(&google.application, &google.domains)));
            Sessions {
                cookies: Cookies::new(framework, key, old_key, secure, prefix),
                limits: Limits {
                    idle_ms: millis(sessions.idle),
                    absolute_ms: millis(sessions.absolute),
                },
                rules: rules_of(auth),
                providers: providers.collect(),
                used: Used::default(),
                logged_out: Mutex::default(),
            }
        });
        Self {
            sessions,
            basic: BasicUsers::new(&auth.basic),
            tokens: auth.tokens_file.clone().map(Tokens::new),
            failures: Failures::default(),
            auth: auth.clone(),
        }
    }

    /// Whether everybody may do everything.
    pub(crate) fn is_open(&self) -> bool {
        self.auth.is_open()
    }

    /// Whether browsers can have sessions.
    pub(crate) fn has_sessions(&self) -> bool {
        self.sessions.is_some()
    }

    /// Whether there are users with a password.
    pub(crate) fn has_passwords(&self) -> bool {
        !self.basic.is_empty()
    }

    /// Whether programs can have tokens.
    pub(crate) fn has_tokens(&self) -> bool {
        self.tokens.is_some()
    }

    /// Where people can log in.
    pub(crate) fn providers(&self) -> impl Iterator<Item = Via> {
        let sessions = self.sessions.iter();
        sessions.flat_map(|sessions| sessions.providers.iter().map(|provider| provider.via))
    }

    /// What may be shown of the tokens.
    pub(crate) fn token_uses(&self, now: Timestamp) -> Vec<TokenUse> {
        let tokens = self.tokens.as_ref();
        tokens.map(|tokens| tokens.uses(now)).unwrap_or_default()
    }

    // === Who asks ===

    /// Who sends the request. `has_ended` tells whether the sessions of a person that began at a
    /// moment were ended.
    ///
    /// # Errors
    /// How long to wait: there were too many wrong tokens or passwords from this address.
    pub(crate) fn identify(
        &self,
        request: &HttpRequest,
        from: Option<IpAddr>,
        now: Timestamp,
        has_ended: impl Fn(&str, Timestamp) -> bool,
    ) -> Result<Known, Duration> {
        if self.is_open() {
            return Ok(Caller::anybody().into());
        }
        let mut headers = request.headers().get_all(header::AUTHORIZATION);
        if let (Some(value), more) = (headers.next(), headers.next()) {
            // Two would be one for a proxy and another one for us.
            let value = value.to_str().ok().filter(|_| more.is_none());
            if let Some(known) = self.by_header(value.unwrap_or_default(), from, now) {
                return known.map(Known::from);
            }
        }
        Ok(self.by_cookie(request, now, has_ended))
    }

    /// `None` when the header says nothing that is meant for us.
    fn by_header(
        &self,
        value: &str,
        from: Option<IpAddr>,
        now: Timestamp,
    ) -> Option<Result<Caller, Duration>> {
        let (scheme, credentials) = value.split_once(' ').unwrap_or((value, ""));
        let clock = Instant::now();
        if scheme.eq_ignore_ascii_case("bearer") {
            let tokens = self.tokens.as_ref()?;
            tokens.refresh(clock);
            let why = match tokens.find(credentials.trim(), now) {
                Ok((name, access)) => {
                    return Some(Ok(Caller {
                        name: format!("token:{name}"),
                        access,
                        identity: Identity::Token,
                    }));
                }
                Err(BadToken::Expired(name)) => format!("the token {name} has expired"),
                Err(BadToken::Unknown) => "the token is not known".to_owned(),
            };
            return Some(self.failed(from, clock, &why));
        }
        if !scheme.eq_ignore_ascii_case("basic") || self.basic.is_empty() {
            return None;
        }
        // Passwords can be guessed: after too many wrong ones not even the right one is heard.
        if let Some(wait) = self.failures.wait(from, clock) {
            return Some(Err(wait));
        }
        Some(match self.basic.find(credentials) {
            Some(name) => {
                let is_meant = |rule: &Rule| match rule {
                    Rule::Everyone => true,
                    Rule::Basic(user) => user.eq_ignore_ascii_case(&name),
                    _ => false,
                };
                Ok(Caller {
                    name: format!("basic:{name}"),
                    access: person::access(&self.auth, is_meant),
                    identity: Identity::Basic,
                })
            }
            None => self.failed(from, clock, "user or password are wrong"),
        })
    }

    fn failed(&self, from: Option<IpAddr>, clock: Instant, why: &str) -> Result<Caller, Duration> {
        if let Some(wait) = self.failures.wait(from, clock) {
            return Err(wait);
        }
        self.failures.add(from, clock);
        tracing::warn!(target: AUDIT, from = shown(from), why, "not let in");
        Ok(Caller::nobody())
    }

    fn by_cookie(
        &self,
        request: &HttpRequest,
        now: Timestamp,
        has_ended: impl Fn(&str, Timestamp) -> bool,
    ) -> Known {
        let Some(sessions) = &self.sessions else {
            return Caller::nobody().into();
        };
        let cookies = &sessions.cookies;
        let Some(session) = cookies.open::<Session>(request, SESSION) else {
            return Caller::nobody().into();
        };
        if !sessions.counts(&session, now, has_ended) {
            return Known {
                caller: Caller::nobody(),
                cookie: Some(cookies.forget(SESSION)),
            };
        }
        let limits = sessions.limits;
        let renewed = session.renewed(now, limits);
        let cookie = renewed
            .and_then(|session| cookies.seal(SESSION, &session, session.seconds_left(now, limits)));
        Known {
            caller: Caller {
                name: session.person.to_string(),
                access: session.access,
                identity: Identity::Session(Arc::new(session)),
            },
            cookie,
        }
    }

    /// Whether a caller who was let in some time ago would still be, as far as sessions go.
    pub(crate) fn still(
        &self,
        caller: &Caller,
        now: Timestamp,
        has_ended: impl Fn(&str, Timestamp) -> bool,
    ) -> bool {
        let Identity::Session(session) = &caller.identity else {
            return true;
        };
        let sessions = self.sessions.as_ref();
        sessions.is_some_and(|sessions| sessions.counts(session, now, has_ended))
    }

    // === Logging in and out ===

    /// Where to send the browser to log in, with the cookies that it has to keep meanwhile; `None`
    /// when there is no such provider.
    pub(crate) async fn begin(
        &self,
        request: &HttpRequest,
        via: Via,
        next: &str,
        now: Timestamp,
    ) -> Option<Result<(String, Vec<Cookie<'static>>), Problem>> {
        let sessions = self.sessions.as_ref()?;
        let provider = sessions.provider(via)?;
        let begun = provider.begin(Instant::now()).await;
        let (url, secrets) = match begun {
            Ok(begun) => begun,
            Err(error) => {
                tracing::error!(%error, "nobody can log in with {}", via.name());
                return Some(Err(Problem::Provider));
            }
        };
        let cookies = &sessions.cookies;
        let mut set = Vec::new();
        let others = cookies.kinds(request, attempt::KIND);
        if others.len() >= attempt::AT_ONCE_MAX {
            set.extend(others.iter().map(|kind| cookies.forget(kind)));
        }
        let kind = attempt::kind(&secrets.state);
        let attempt = Attempt {
            via,
            state: secrets.state,
            nonce: secrets.nonce,
            verifier: secrets.verifier,
            until: now.as_millis().saturating_add(attempt::LASTS_MS),
            next: next.to_owned(),
        };
        let sealed = cookies.seal(&kind, &attempt, attempt::LASTS_MS / 1_000);
        set.extend(sealed);
        Some(Ok((url, set)))
    }

    /// Ends a login: where to go, with the cookie of the new session, or why not. In any case with
    /// what makes the browser forget the attempt. `None` when there is no such provider.
    pub(crate) async fn finish(
        &self,
        request: &HttpRequest,
        via: Via,
        callback: Callback,
        from: Option<IpAddr>,
        now: Timestamp,
        has_ended: impl Fn(&str, Timestamp) -> bool,
    ) -> Option<(Vec<Cookie<'static>>, Result<String, Problem>)> {
        let sessions = self.sessions.as_ref()?;
        let provider = sessions.provider(via)?;
        let mut set = Vec::new();
        let outcome = self.finished(sessions, provider, request, callback, now, &mut set);
        let outcome = match outcome.await {
            Ok((mut session, next)) => {
                session.begin_after_the_last_end(has_ended);
                let limits = sessions.limits;
                let lasts = session.seconds_left(now, limits);
                let Some(sealed) = sessions.cookies.seal(SESSION, &session, lasts) else {
                    tracing::error!(target: AUDIT, who = %session.person, "too long for a cookie");
                    return Some((set, Err(Problem::Provider)));
                };
                set.push(sealed);
                tracing::info!(
                    target: AUDIT, from = shown(from), who = %session.person,
                    name = session.person.name, level = session.access.name(),
                    session = session.id, "logged in"
                );
                Ok(next)
            }
            Err((problem, why)) => {
                let via = via.name();
                tracing::warn!(target: AUDIT, from = shown(from), via, why, "not logged in");
                Err(problem)
            }
        };
        Some((set, outcome))
    }

    async fn finished(
        &self,
        sessions: &Sessions,
        provider: &Provider,
        request: &HttpRequest,
        callback: Callback,
        now: Timestamp,
        set: &mut Vec<Cookie<'static>>,
    ) -> Result<(Session, String), (Problem, String)> {
        let lost = |why: &str| (Problem::Lost, why.to_owned());
        let cookies = &sessions.cookies;
        let short = |text: &String| !text.is_empty() && text.len() <= PARAMETER_MAX;
        let state = callback.state.filter(short);
        let state = state.ok_or_else(|| lost("the answer has no state"))?;
        let kind = attempt::kind(&state);
        let attempt: Option<Attempt> = cookies.open(request, &kind);
        set.push(cookies.forget(&kind));
        let attempt = attempt.ok_or_else(|| lost("this browser has not begun this login"))?;
        let same = attempt.state.as_bytes().ct_eq(state.as_bytes());
        if attempt.via != provider.via || !bool::from(same) {
            return Err(lost("the answer is to another login"));
        }
        if attempt.until <= now.as_millis() {
            return Err(lost("the login took too long"));
        }
        if !sessions.used.first(&attempt, now) {
            return Err(lost("the answer has come before"));
        }
        if let Some(error) = callback.error.filter(short) {
            let problem = match error.as_str() {
                "access_denied" | "login_required" | "consent_required" => Problem::Cancelled,
                _ => Problem::Provider,
            };
            let error: String = error
                .chars()
                .filter(char::is_ascii_graphic)
                .take(64)
                .collect();
            return Err((problem, format!("the provider says {error}")));
        }
        let code = callback.code.filter(short);
        let code = code.ok_or_else(|| lost("the answer has no code"))?;
        let secrets = Secrets {
            state: attempt.state,
            nonce: attempt.nonce,
            verifier: attempt.verifier,
        };
        let issuer = callback.issuer.as_deref();
        let claims = provider
            .finish(code, issuer, &secrets, Instant::now())
            .await;
        let claims = claims.map_err(|error: ProviderError| {
            (Problem::Provider, format!("the provider: {error}"))
        })?;
        let via = provider.via;
        let refused = |why: NotAllowed| {
            let who = claims.person(via).map_or_else(
                |_| {
                    claims
                        .subject
                        .chars()
                        .filter(|c| !c.is_control())
                        .take(64)
                        .collect()
                },
                |person| person.to_string(),
            );
            (Problem::from(why), format!("{who}: {}", why.reason()))
        };
        let configured = self.auth.sessions.as_ref();
        let allowed = match via {
            Via::Gitlab => configured
                .and_then(|sessions| sessions.gitlab.as_ref())
                .map(|rules| claims.allowed_by_gitlab(rules)),
            Via::Google => configured
                .and_then(|sessions| sessions.google.as_ref())
                .map(|rules| claims.allowed_by_google(rules)),
        };
        allowed
            .unwrap_or(Err(NotAllowed::NotListed))
            .map_err(&refused)?;
        let session = Session {
            id: CsrfToken::new_random_len(SESSION_ID_BYTES).secret().clone(),
            access: claims.access(via, &self.auth),
            person: claims.person(via).map_err(&refused)?,
            began: now.as_millis(),
            seen: now.as_millis(),
            rules: sessions.rules.clone(),
        };
        Ok((session, attempt.next))
    }

    /// Ends this session. The cookie is forgotten by the browser; this process refuses it even if
    /// somebody has kept a copy.
    pub(crate) fn log_out(
        &self,
        caller: &Caller,
        from: Option<IpAddr>,
        now: Timestamp,
    ) -> Option<Cookie<'static>> {
        let sessions = self.sessions.as_ref()?;
        if let Identity::Session(session) = &caller.identity {
            tracing::info!(
                target: AUDIT, from = shown(from), who = %session.person,
                session = session.id, "logged out"
            );
            sessions.end(session, now);
        }
        Some(sessions.cookies.forget(SESSION))
    }
}

impl Sessions {
    fn provider(&self, via: Via) -> Option<&Provider> {
        self.providers.iter().find(|provider| provider.via == via)
    }

    fn counts(
        &self,
        session: &Session,
        now: Timestamp,
        has_ended: impl Fn(&str, Timestamp) -> bool,
    ) -> bool {
        let over = session.over(now, self.limits, &self.rules, has_ended);
        let logged_out = self
            .logged_out
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        over.is_none() && !logged_out.contains_key(&session.id)
    }

    fn end(&self, session: &Session, now: Timestamp) {
        let mut logged_out = self
            .logged_out
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if logged_out.len() >= LOGGED_OUT_MAX {
            logged_out.retain(|_, until| *until > now.as_millis());
        }
        if logged_out.len() < LOGGED_OUT_MAX {
            let until = session.began.saturating_add(self.limits.absolute_ms);
            logged_out.insert(session.id.clone(), until);
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Whether anything depends on groups of GitLab.
fn wants_groups(auth: &Auth) -> bool {
    let gitlab = auth
        .sessions
        .as_ref()
        .and_then(|sessions| sessions.gitlab.as_ref());
    let rules = auth.admins.iter().chain(&auth.viewers);
    gitlab.is_some_and(|gitlab| !gitlab.groups.is_empty())
        || rules
            .into_iter()
            .any(|rule| matches!(rule, Rule::GitlabGroup(_)))
}

/// A fingerprint of who may enter and as what.
fn rules_of(auth: &Auth) -> String {
    let sessions = auth.sessions.as_ref();
    let gitlab = sessions.and_then(|sessions| sessions.gitlab.as_ref());
    let google = sessions.and_then(|sessions| sessions.google.as_ref());
    let gitlab = gitlab.map(|gitlab| {
        (
            &gitlab.application.provider,
            &gitlab.application.id,
            &gitlab.groups,
            &gitlab.users,
        )
    });
    let google = google.map(|google| {
        let filter = google.filter.as_ref().map(|filter| filter.as_str());
        (
            &google.application.provider,
            &google.application.id,
            &google.domains,
            filter,
        )
    });
    let rules = format!("{:?}", (&auth.admins, &auth.viewers, gitlab, google));
    let hash = Sha256::digest(rules.as_bytes());
    hash.iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// What is said to whoever may not use a route.
pub(crate) fn too_little(caller: &Caller, needed: Access) -> String {
    format!(
        "{} may {}, and this needs `{}`",
        caller.name,
        caller.access.name(),
        needed.name()
    )
}

//! GitLab and Google: where people show who they are.
//!
//! One flow for both: OAuth 2.0 with a code, PKCE, `state` and `nonce`. Who it is comes from the
//! signed token of OpenID Connect, completed by what the provider answers to the access token; a
//! GitLab without OpenID Connect is asked by its own API. Tokens are forgotten at once.

mod discovery;
mod gitlab;
mod http;
mod verify;

use std::time::{Duration, Instant};

use oauth2::{
    AuthUrl, AuthorizationCode, Client, ClientId, ClientSecret, CsrfToken, EndpointNotSet,
    EndpointSet, ExtraTokenFields, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, Scope,
    StandardRevocableToken, StandardTokenResponse, TokenResponse as _, TokenUrl,
    basic::{
        BasicErrorResponse, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse,
        BasicTokenType,
    },
};
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::sync::{Mutex, Semaphore};

use super::person::{Claims, Via};
use crate::config::Application;
use discovery::Endpoints;
use http::Http;
pub(crate) use http::HttpError;

/// What a provider says of itself is asked again after this time.
const KNOWN_FOR: Duration = Duration::from_secs(3_600);

/// Keys that a token names and that are not known are asked for at most so often.
const KEYS_EVERY: Duration = Duration::from_secs(60);

/// After a failure the provider is let alone for so long: those who log in are told at once.
const FAILED_FOR: Duration = Duration::from_secs(3);

/// Most logins that ask the provider at once; further ones are told to try again.
const AT_ONCE_MAX: usize = 32;

/// What the token endpoint adds to OAuth 2.0.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct IdTokenField {
    id_token: Option<String>,
}

impl ExtraTokenFields for IdTokenField {}

type Oauth = Client<
    BasicErrorResponse,
    StandardTokenResponse<IdTokenField, BasicTokenType>,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
>;

/// Why a provider cannot say who it is. For the log: nothing secret is in it.
#[derive(Debug, Error)]
pub(super) enum ProviderError {
    #[error("{what} cannot be had: {error}")]
    Http {
        what: &'static str,
        #[source]
        error: HttpError,
    },
    #[error("{AT_ONCE_MAX} logins ask it already")]
    Busy,
    #[error("it failed a moment ago: {0}")]
    FailedBefore(String),
    #[error("it says that it is {said}, and {expected} is configured")]
    OtherIssuer { said: String, expected: String },
    #[error("its {0} is no address that can be trusted")]
    BadAddress(&'static str),
    #[error("it does not take the code: {0}")]
    Code(String),
    #[error("it gives no signed token: is the scope `openid` allowed for the application?")]
    NoIdToken,
    #[error("its token is not accepted: {0}")]
    Token(String),
    #[error("its answers are about two different people")]
    TwoPeople,
    #[error("the account is not active")]
    Inactive,
}

/// A provider with which Gantry is registered.
pub(super) struct Provider {
    pub(super) via: Via,
    application: Application,
    http: Http,
    /// Whether groups of people matter.
    wants_groups: bool,
    /// The only domain, to choose the account by; nothing relies on it.
    hint: Option<String>,
    known: Mutex<Known>,
    places: Semaphore,
}

#[derive(Default)]
struct Known {
    endpoints: Option<(Instant, Endpoints)>,
    keys_at: Option<Instant>,
    failed: Option<(Instant, String)>,
}

/// What is kept of the beginning of a login until its end.
pub(super) struct Secrets {
    pub(super) state: String,
    pub(super) nonce: String,
    pub(super) verifier: String,
}

impl Provider {
    pub(super) fn gitlab(application: &Application, wants_groups: bool) -> Self {
        Self::new(Via::Gitlab, application, wants_groups, None)
    }

    pub(super) fn google(application: &Application, domains: &[String]) -> Self {
        let hint = match domains {
            [] => None,
            [domain] => Some(domain.clone()),
            _ => Some("*".to_owned()),
        };
        Self::new(Via::Google, application, false, hint)
    }

    fn new(via: Via, application: &Application, wants_groups: bool, hint: Option<String>) -> Self {
        Self {
            via,
            application: application.clone(),
            http: Http::new(),
            wants_groups,
            hint,
            known: Mutex::default(),
            places: Semaphore::new(AT_ONCE_MAX),
        }
    }

    /// Whether OpenID Connect is asked for.
    fn is_openid(&self) -> bool {
        self.via == Via::Google
            || self
                .application
                .scopes
                .iter()
                .any(|scope| scope == "openid")
    }

    fn scopes(&self, endpoints: &Endpoints) -> Vec<String> {
        let own = self.application.scopes.iter().cloned();
        match (self.via, endpoints) {
            (Via::Google, _) => {
                let mut scopes: Vec<_> = ["openid", "email", "profile"].map(str::to_owned).into();
                scopes.extend(
                    own.filter(|scope| !["openid", "email", "profile"].contains(&&**scope)),
                );
                scopes
            }
            // Its GitLab does not know what was asked for.
            (Via::Gitlab, Endpoints { openid: None, .. }) if self.is_openid() => {
                let groups = self.wants_groups.then(|| "read_api".to_owned());
                ["read_user".to_owned()].into_iter().chain(groups).collect()
            }
            (Via::Gitlab, _) => own.collect(),
        }
    }

    /// What the provider says of itself.
    async fn endpoints(&self, now: Instant) -> Result<Endpoints, ProviderError> {
        let mut known = self.known.lock().await;
        if let Some((at, endpoints)) = &known.endpoints
            && now.saturating_duration_since(*at) < KNOWN_FOR
        {
            return Ok(endpoints.clone());
        }
        if let Some((at, reason)) = &known.failed
            && now.saturating_duration_since(*at) < FAILED_FOR
        {
            return Err(ProviderError::FailedBefore(reason.clone()));
        }
        let found = match (self.is_openid(), self.via) {
            (true, via) => discovery::discover(&self.http, &self.application, via).await,
            (false, _) => Ok(Endpoints::of_gitlab(&self.application.provider)),
        };
        match found {
            Ok(endpoints) => {
                known.endpoints = Some((now, endpoints.clone()));
                known.keys_at = Some(now);
                known.failed = None;
                Ok(endpoints)
            }
            Err(error) => {
                known.failed = Some((Instant::now(), error.to_string()));
                // What was true an hour ago is better than nothing.
                match &known.endpoints {
                    Some((_, endpoints)) => Ok(endpoints.clone()),
                    None => Err(error),
                }
            }
        }
    }

    /// Has the keys read again; `None` when that was done a moment ago.
    async fn newer_keys(&self, now: Instant) -> Option<Endpoints> {
        let mut known = self.known.lock().await;
        let recent = known
            .keys_at
            .is_some_and(|at| now.saturating_duration_since(at) < KEYS_EVERY);
        if recent {
            return None;
        }
        known.keys_at = Some(now);
        let (_, endpoints) = known.endpoints.as_mut()?;
        let openid = endpoints.openid.as_mut()?;
        openid.keys = self.http.json(&openid.keys_url, None).await.ok()?;
        Some(endpoints.clone())
    }

    fn client(&self, endpoints: &Endpoints) -> Result<Oauth, ProviderError> {
        let bad = |what| move |_| ProviderError::BadAddress(what);
        let application = &self.application;
        let authorize = AuthUrl::new(endpoints.authorize.clone());
        let token = TokenUrl::new(endpoints.token.clone());
        let callback = RedirectUrl::new(application.callback.clone());
        Ok(Client::new(ClientId::new(application.id.clone()))
            .set_client_secret(ClientSecret::new(
                application.secret.expose_secret().to_owned(),
            ))
            .set_auth_uri(authorize.map_err(bad("authorization endpoint"))?)
            .set_token_uri(token.map_err(bad("token endpoint"))?)
            .set_redirect_uri(callback.map_err(bad("callback"))?))
    }

    /// Where the browser is sent to log in, and what has to be known when it comes back.
    pub(super) async fn begin(&self, now: Instant) -> Result<(String, Secrets), ProviderError> {
        let endpoints = self.endpoints(now).await?;
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let nonce = CsrfToken::new_random_len(32).secret().clone();
        let client = self.client(&endpoints)?;
        let mut request = client
            .authorize_url(|| CsrfToken::new_random_len(32))
            .add_scopes(self.scopes(&endpoints).into_iter().map(Scope::new))
            .set_pkce_challenge(challenge);
        if endpoints.openid.is_some() {
            request = request.add_extra_param("nonce", nonce.clone());
        }
        if let Some(hint) = &self.hint {
            request = request.add_extra_param("hd", hint);
        }
        let (url, state) = request.url();
        let secrets = Secrets {
            state: state.secret().clone(),
            nonce,
            verifier: verifier.secret().clone(),
        };
        Ok((url.into(), secrets))
    }

    /// Who it is that came back with `code`. `issuer` is who the answer says it comes from
    /// (RFC 9207), where it does.
    pub(super) async fn finish(
        &self,
        code: String,
        issuer: Option<&str>,
        secrets: &Secrets,
        now: Instant,
    ) -> Result<Claims, ProviderError> {
        let _place = self.places.try_acquire().map_err(|_| ProviderError::Busy)?;
        let endpoints = self.endpoints(now).await?;
        if let Some(said) = issuer.filter(|issuer| *issuer != endpoints.issuer) {
            return Err(ProviderError::OtherIssuer {
                said: said.chars().filter(|c| !c.is_control()).take(200).collect(),
                expected: endpoints.issuer,
            });
        }
        let tokens = self
            .client(&endpoints)?
            .exchange_code(AuthorizationCode::new(code))
            .set_pkce_verifier(PkceCodeVerifier::new(secrets.verifier.clone()))
            .request_async(&self.http)
            .await
            .map_err(|error| ProviderError::Code(refused(&error)))?;
        let access = tokens.access_token().secret();
        let Some(openid) = &endpoints.openid else {
            return self.ask_gitlab(&endpoints.issuer, access).await;
        };
        let id_token = tokens.extra_fields().id_token.as_deref();
        let id_token = id_token.ok_or(ProviderError::NoIdToken)?;
        let application = &self.application;
        let mut verified =
            verify::claims(id_token, application, &endpoints.issuer, openid, secrets);
        if matches!(verified, Err(verify::Fault::UnknownKey))
            && let Some(newer) = self.newer_keys(now).await
            && let Some(openid) = &newer.openid
        {
            verified = verify::claims(id_token, application, &newer.issuer, openid, secrets);
        }
        let mut claims = verified.map_err(|fault| ProviderError::Token(fault.to_string()))?;
        // GitLab tells groups there alone, and others leave out what a token need not have.
        let more = self.via == Via::Gitlab || claims.mail.is_none();
        if let Some(url) = openid.userinfo.as_deref().filter(|_| more) {
            let info: verify::UserInfo = self.ask("who it is", url, access).await?;
            if info.sub != claims.subject {
                return Err(ProviderError::TwoPeople);
            }
            info.complete(&mut claims);
        }
        if self.via == Via::Gitlab && self.wants_groups && claims.groups.is_empty() {
            // Without the scope for it there is nothing more to know.
            claims.groups = self.gitlab_groups(access).await.unwrap_or_default();
        }
        Ok(claims)
    }

    async fn ask<T: serde::de::DeserializeOwned>(
        &self,
        what: &'static str,
        url: &str,
        token: &str,
    ) -> Result<T, ProviderError> {
        let answer = self.http.json(url, Some(token)).await;
        answer.map_err(|error| ProviderError::Http { what, error })
    }
}

/// Why the code was not taken: the kind of the error, and nothing that the provider wrote freely.
fn refused(error: &oauth2::RequestTokenError<HttpError, BasicErrorResponse>) -> String {
    match error {
        oauth2::RequestTokenError::ServerResponse(response) => {
            let kind = response.error().as_ref().chars();
            kind.filter(|c| c.is_ascii_graphic()).take(64).collect()
        }
        oauth2::RequestTokenError::Request(error) => error.to_string(),
        oauth2::RequestTokenError::Parse(..) => "the answer is not what was expected".to_owned(),
        oauth2::RequestTokenError::Other(_) => "the answer cannot be read".to_owned(),
    }
}

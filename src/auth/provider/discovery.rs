//! What a provider says of itself.

use openidconnect::core::CoreJsonWebKeySet;
use reqwest::{StatusCode, Url};
use serde::Deserialize;

use super::{
    ProviderError, Via,
    http::{Http, HttpError},
};
use crate::config::Application;

/// Where a provider is asked what.
#[derive(Clone, Debug)]
pub(super) struct Endpoints {
    /// Who the provider is, exactly.
    pub(super) issuer: String,
    pub(super) authorize: String,
    pub(super) token: String,
    /// `None` for a GitLab that does not speak OpenID Connect.
    pub(super) openid: Option<OpenId>,
}

/// What OpenID Connect adds.
#[derive(Clone, Debug)]
pub(super) struct OpenId {
    pub(super) userinfo: Option<String>,
    pub(super) keys_url: String,
    pub(super) keys: CoreJsonWebKeySet,
}

impl Endpoints {
    /// Of a GitLab, which has had them for ever.
    pub(super) fn of_gitlab(provider: &str) -> Self {
        Self {
            issuer: provider.to_owned(),
            authorize: format!("{provider}/oauth/authorize"),
            token: format!("{provider}/oauth/token"),
            openid: None,
        }
    }
}

#[derive(Deserialize)]
struct Document {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    userinfo_endpoint: Option<String>,
    jwks_uri: String,
}

/// Asks the provider. A GitLab that says there is no such document is taken for one without
/// OpenID Connect; any other failure is one.
pub(super) async fn discover(
    http: &Http,
    application: &Application,
    via: Via,
) -> Result<Endpoints, ProviderError> {
    let provider = &application.provider;
    let url = format!("{provider}/.well-known/openid-configuration");
    let document: Document = match http.json(&url, None).await {
        Ok(document) => document,
        Err(HttpError::Status(StatusCode::NOT_FOUND)) if via == Via::Gitlab => {
            return Ok(Endpoints::of_gitlab(provider));
        }
        Err(error) => {
            let what = "its OpenID Connect configuration";
            return Err(ProviderError::Http { what, error });
        }
    };
    if document
        .issuer
        .strip_suffix('/')
        .unwrap_or(&document.issuer)
        != provider
    {
        return Err(ProviderError::OtherIssuer {
            said: document
                .issuer
                .chars()
                .filter(|c| !c.is_control())
                .take(200)
                .collect(),
            expected: provider.clone(),
        });
    }
    let safe = |what, url: String| {
        let parsed = Url::parse(&url).ok();
        let scheme = parsed.as_ref().map(Url::scheme);
        // Where the provider itself is on https, so is everything that it names.
        match scheme {
            Some("https") => Ok(url),
            Some("http") if provider.starts_with("http://") => Ok(url),
            _ => Err(ProviderError::BadAddress(what)),
        }
    };
    let keys_url = safe("jwks_uri", document.jwks_uri)?;
    let keys = http.json(&keys_url, None).await;
    let userinfo = document.userinfo_endpoint;
    Ok(Endpoints {
        issuer: document.issuer,
        authorize: safe("authorization endpoint", document.authorization_endpoint)?,
        token: safe("token endpoint", document.token_endpoint)?,
        openid: Some(OpenId {
            userinfo: userinfo
                .map(|url| safe("userinfo endpoint", url))
                .transpose()?,
            keys: keys.map_err(|error| ProviderError::Http {
                what: "the list of its keys",
                error,
            })?,
            keys_url,
        }),
    })
}

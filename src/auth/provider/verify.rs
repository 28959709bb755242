//! The signed token, and what completes it.

use openidconnect::{
    AdditionalClaims, ClaimsVerificationError, ClientId, ClientSecret, IdToken, IdTokenVerifier,
    IssuerUrl, Nonce, SignatureVerificationError,
    core::{
        CoreGenderClaim, CoreJsonWebKey, CoreJweContentEncryptionAlgorithm,
        CoreJwsSigningAlgorithm as Algorithm,
    },
};
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Secrets, discovery::OpenId};
use crate::{auth::person::Claims, config::Application};

/// Signatures that only the provider can make. With HMAC the secret that signs would be the one
/// that others hold too, and `none` is no signature.
const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RsaSsaPkcs1V15Sha256,
    Algorithm::RsaSsaPkcs1V15Sha384,
    Algorithm::RsaSsaPkcs1V15Sha512,
    Algorithm::RsaSsaPssSha256,
    Algorithm::RsaSsaPssSha384,
    Algorithm::RsaSsaPssSha512,
    Algorithm::EcdsaP256Sha256,
    Algorithm::EcdsaP384Sha384,
    Algorithm::EdDsa,
];

/// Most groups that are looked at.
pub(super) const GROUPS_MAX: usize = 10_000;

/// Claims that OpenID Connect does not know.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct Extra {
    hd: Option<String>,
    groups: Option<Vec<String>>,
}

impl AdditionalClaims for Extra {}

type Token = IdToken<Extra, CoreGenderClaim, CoreJweContentEncryptionAlgorithm, Algorithm>;

/// Why a token does not count.
#[derive(Debug, Error)]
pub(super) enum Fault {
    #[error("it is malformed")]
    Malformed,
    #[error("it is signed with a key that the provider does not list")]
    UnknownKey,
    #[error("{0}")]
    Refused(&'static str),
}

/// Checks signature, issuer, audience, time and nonce; in the end everything that it says is true.
pub(super) fn claims(
    token: &str,
    application: &Application,
    issuer: &str,
    openid: &OpenId,
    secrets: &Secrets,
) -> Result<Claims, Fault> {
    let token: Token = token.parse().map_err(|_| Fault::Malformed)?;
    let issuer_url = IssuerUrl::new(issuer.to_owned()).map_err(|_| Fault::Malformed)?;
    let verifier: IdTokenVerifier<'_, CoreJsonWebKey> = IdTokenVerifier::new_confidential_client(
        ClientId::new(application.id.clone()),
        ClientSecret::new(application.secret.expose_secret().to_owned()),
        issuer_url,
        openid.keys.clone(),
    )
    .set_allowed_algs(ALGORITHMS);
    let claims = token
        .claims(&verifier, &Nonce::new(secrets.nonce.clone()))
        .map_err(|error| fault(&error))?;
    let first = |name: Option<&openidconnect::LocalizedClaim<_>>| {
        let name: Option<&openidconnect::EndUserName> = name?.get(None);
        name.map(|name| name.to_string())
    };
    let extra = claims.additional_claims();
    Ok(Claims {
        issuer: issuer.to_owned(),
        subject: claims.subject().to_string(),
        user_name: claims.preferred_username().map(|name| name.to_string()),
        name: first(claims.name()),
        mail: claims.email().map(|mail| mail.to_string()),
        mail_verified: claims.email_verified(),
        hosted_domain: extra.hd.clone(),
        groups: extra.groups.clone().unwrap_or_default(),
    })
}

fn fault(error: &ClaimsVerificationError) -> Fault {
    use ClaimsVerificationError as E;
    match error {
        E::SignatureVerification(SignatureVerificationError::NoMatchingKey) => Fault::UnknownKey,
        E::SignatureVerification(SignatureVerificationError::NoSignature) => {
            Fault::Refused("it is not signed")
        }
        E::SignatureVerification(SignatureVerificationError::DisallowedAlg(_)) => {
            Fault::Refused("it is signed in a way that anybody could")
        }
        E::SignatureVerification(_) => Fault::Refused("its signature is not the provider's"),
        E::Expired(_) => Fault::Refused("it has expired: are the clocks right?"),
        E::InvalidAudience(_) => Fault::Refused("it was made for another application"),
        E::InvalidIssuer(_) => Fault::Refused("it was made by another issuer"),
        E::InvalidNonce(_) => Fault::Refused("it was made for another login"),
        _ => Fault::Refused("it does not hold what it must"),
    }
}

/// What the provider answers to the access token.
#[derive(Debug, Default, Deserialize)]
pub(super) struct UserInfo {
    pub(super) sub: String,
    name: Option<String>,
    nickname: Option<String>,
    preferred_username: Option<String>,
    email: Option<String>,
    email_verified: Option<bool>,
    hd: Option<String>,
    groups: Option<Vec<String>>,
}

impl UserInfo {
    /// Adds what the token left out; what is signed goes first.
    pub(super) fn complete(self, claims: &mut Claims) {
        // GitLab's older name for it.
        let user_name = self.preferred_username.or(self.nickname);
        claims.user_name = claims.user_name.take().or(user_name);
        claims.name = claims.name.take().or(self.name);
        // The address and the word on it belong together.
        if claims.mail.is_none() {
            claims.mail = self.email;
            claims.mail_verified = self.email_verified;
        }
        claims.hosted_domain = claims.hosted_domain.take().or(self.hd);
        if claims.groups.is_empty() {
            claims.groups = self.groups.unwrap_or_default();
            claims.groups.truncate(GROUPS_MAX);
        }
    }
}

//! What a client shows to be let in.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use thiserror::Error;

/// Credentials for the HTTP APIs of masters and agents. Never printed.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The whole value of the `Authorization` header.
    header: SecretString,
}

/// Why credentials cannot be used. The texts never contain the secret.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum CredentialsError {
    /// Mesos splits the decoded credentials at every colon and refuses all that do
    /// not have exactly one (Mesos `src/authentication/http/basic_authenticator…`).
    #[error("the {0} must not contain ':'; Mesos cannot authenticate it")]
    Colon(&'static str),
    /// The principal or the header value is empty.
    #[error("the {0} must not be empty")]
    Empty(&'static str),
    /// The header value has characters that no HTTP header can carry.
    #[error("the Authorization value must be printable ASCII on one line")]
    Header,
}

impl Credentials {
    /// HTTP Basic authentication with a Mesos principal and its secret.
    ///
    /// # Errors
    ///
    /// [`CredentialsError`] if either contains a colon or the principal is empty.
    pub fn basic(principal: &str, secret: &SecretString) -> Result<Self, CredentialsError> {
        if principal.is_empty() {
            return Err(CredentialsError::Empty("principal"));
        }
        if principal.contains(':') {
            return Err(CredentialsError::Colon("principal"));
        }
        if secret.expose_secret().contains(':') {
            return Err(CredentialsError::Colon("secret"));
        }
        let pair = SecretString::from(format!("{principal}:{}", secret.expose_secret()));
        // The word is compared with case by Mesos.
        Ok(Self {
            header: format!("Basic {}", STANDARD.encode(pair.expose_secret())).into(),
        })
    }

    /// A literal value for the `Authorization` header, for authenticator modules
    /// that want something else than Basic (`token=…`, `Bearer …`).
    ///
    /// # Errors
    ///
    /// [`CredentialsError`] if it is empty or no valid header value.
    pub fn header(value: SecretString) -> Result<Self, CredentialsError> {
        if value.expose_secret().is_empty() {
            return Err(CredentialsError::Empty("Authorization value"));
        }
        let printable = |b: u8| (b' '..=b'~').contains(&b);
        if !value.expose_secret().bytes().all(printable) {
            return Err(CredentialsError::Header);
        }
        Ok(Self { header: value })
    }

    /// The value for the `Authorization` header, marked as sensitive.
    pub(crate) fn header_value(&self) -> Option<HeaderValue> {
        let mut value = HeaderValue::from_str(self.header.expose_secret()).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// The value for the `Authorization` header.
    pub(crate) fn expose(&self) -> &str {
        self.header.expose_secret()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_is_encoded_and_hidden() {
        let credentials = Credentials::basic("me", &"hush".into()).unwrap();
        assert_eq!(credentials.expose(), "Basic bWU6aHVzaA==");
        let debug = format!("{credentials:?} {:?}", credentials.header_value());
        assert!(
            !debug.contains("bWU6") && !debug.contains("hush"),
            "{debug}"
        );
    }

    #[test]
    fn what_mesos_cannot_take_is_refused_at_once() {
        let basic = |p, s: &str| Credentials::basic(p, &s.into()).unwrap_err();
        assert_eq!(basic("me", "a:b"), CredentialsError::Colon("secret"));
        assert_eq!(basic("m:e", "ab"), CredentialsError::Colon("principal"));
        assert_eq!(basic("", "ab"), CredentialsError::Empty("principal"));
        let header = |s: &str| Credentials::header(s.into()).unwrap_err();
        assert_eq!(header("a\r\nX: y"), CredentialsError::Header);
        assert_eq!(header(""), CredentialsError::Empty("Authorization value"));
    }
}

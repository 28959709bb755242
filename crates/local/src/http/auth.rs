//! Basic authentication as libprocess does it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::ExposeSecret as _;

use hyper::StatusCode;

use super::server::Response;
use super::{Request, answer};
use crate::options::ClusterOptions;

/// The authenticated principal; `None` where authentication is off.
pub(super) fn principal(options: &ClusterOptions, request: &Request) -> Result<Option<String>, ()> {
    if options.credentials.is_empty() {
        return Ok(None);
    }
    // The word is compared exactly, and the decoded text holds exactly one colon.
    let encoded = request
        .header("Authorization")
        .and_then(|h| h.strip_prefix("Basic "))
        .ok_or(())?;
    let decoded = STANDARD.decode(encoded).map_err(|_| ())?;
    let decoded = String::from_utf8(decoded).map_err(|_| ())?;
    let (principal, secret) = decoded
        .split_once(':')
        .filter(|(_, secret)| !secret.contains(':'))
        .ok_or(())?;
    let expected = options.credentials.get(principal).ok_or(())?;
    if same(expected.expose_secret().as_bytes(), secret.as_bytes()) {
        Ok(Some(principal.to_owned()))
    } else {
        Err(())
    }
}

/// Compares in a time that does not tell where two secrets of one length differ.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

pub(super) fn unauthorized(realm: &str) -> Response {
    let challenge = format!("Basic realm=\"{realm}\"");
    let headers = [
        ("WWW-Authenticate", &*challenge),
        ("Content-Type", "text/plain; charset=utf-8"),
    ];
    answer(StatusCode::UNAUTHORIZED, &headers, "401 Unauthorized.")
}

//! Users with a password.

use std::sync::Arc;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use secrecy::ExposeSecret as _;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::config::BasicUser;

/// The users of `HTTP_CREDENTIALS`. Only digests are kept; comparing takes the same time whatever
/// is right.
pub(super) struct BasicUsers(Vec<Entry>);

struct Entry {
    name: Arc<str>,
    digest: [u8; 32],
}

impl BasicUsers {
    pub(super) fn new(users: &[BasicUser]) -> Self {
        let entry = |user: &BasicUser| Entry {
            name: user.name.as_str().into(),
            digest: digest(&user.name, user.password.expose_secret()),
        };
        Self(users.iter().map(entry).collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The user that `credentials`, what follows `Basic` in the header, belong to.
    pub(super) fn find(&self, credentials: &str) -> Option<Arc<str>> {
        let text = BASE64_STANDARD.decode(credentials.trim()).ok()?;
        let text = String::from_utf8(text).ok()?;
        let (name, password) = text.split_once(':')?;
        let given = digest(name, password);
        let mut found = None;
        for entry in &self.0 {
            if bool::from(entry.digest.ct_eq(&given)) {
                found = Some(Arc::clone(&entry.name));
            }
        }
        found
    }
}

fn digest(name: &str, password: &str) -> [u8; 32] {
    let mut hash = Sha256::new();
    // The name holds no colon.
    hash.update(name.as_bytes());
    hash.update(b":");
    hash.update(password.as_bytes());
    hash.finalize().into()
}

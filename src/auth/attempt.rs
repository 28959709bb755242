//! One attempt to log in: what has to come back from the provider, kept by the browser alone.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use gantry_core::Timestamp;
use serde::{Deserialize, Serialize};

use super::Via;

/// How long somebody may take at the provider, in milliseconds.
pub(super) const LASTS_MS: u64 = 600_000;

/// What the kinds of the cookies of attempts begin with.
pub(super) const KIND: &str = "login";

/// Most attempts of one browser at once; more make it forget the others.
pub(super) const AT_ONCE_MAX: usize = 5;

/// Most states that are remembered as used.
const USED_MAX: usize = 10_000;

/// Longest path to which somebody is brought after the login, in bytes.
const PATH_MAX: usize = 1_024;

/// What the browser keeps, encrypted, while the person is at the provider.
#[derive(Serialize, Deserialize)]
pub(super) struct Attempt {
    pub(super) via: Via,
    /// Comes back in the address: the answer is to a question of this browser.
    pub(super) state: String,
    /// Comes back in the signed token: the token is for this attempt.
    pub(super) nonce: String,
    /// Proves that whoever trades the code in is who asked for it.
    pub(super) verifier: String,
    pub(super) until: u64,
    /// Where to go afterwards.
    pub(super) next: String,
}

/// The kind of the cookie of the attempt with this state.
pub(super) fn kind(state: &str) -> String {
    let begin: String = state
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .take(12)
        .collect();
    format!("{KIND}-{begin}")
}

/// The states that have come back: none counts twice, even if the browser still has the cookie.
#[derive(Default)]
pub(super) struct Used(Mutex<HashMap<String, u64>>);

impl Used {
    /// Whether the state comes back for the first time.
    pub(super) fn first(&self, attempt: &Attempt, now: Timestamp) -> bool {
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if used.len() >= USED_MAX {
            used.retain(|_, until| *until > now.as_millis());
        }
        // The provider takes each code once, so that a full memory costs the second line only.
        if used.len() >= USED_MAX {
            return !used.contains_key(&attempt.state);
        }
        used.insert(attempt.state.clone(), attempt.until).is_none()
    }
}

/// The text as a path of our own, relative to where we are shown: `/a?b` as `a?b`. `None` for what
/// a browser might take for the address of another site.
pub(crate) fn own_path(text: &str) -> Option<&str> {
    let path = text.strip_prefix('/')?;
    let plain = text.len() <= PATH_MAX
        && !path.starts_with(['/', '\\'])
        && text
            .chars()
            .all(|c| c.is_ascii_graphic() && !matches!(c, '\\' | '"' | '<' | '>' | '`'));
    // A path without its slash must not turn into a scheme, nor climb.
    let first = path.split(['/', '?', '#']).next().unwrap_or_default();
    let climbs = path
        .split(['?', '#'])
        .next()
        .unwrap_or_default()
        .split('/')
        .any(|part| {
            matches!(
                part.to_ascii_lowercase().replace("%2e", ".").as_str(),
                "." | ".."
            )
        });
    (plain && !first.contains(':') && !climbs).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_of_our_own_are_gone_to() {
        assert_eq!(own_path("/"), Some(""));
        assert_eq!(own_path("/#/tasks?q=a:b"), Some("#/tasks?q=a:b"));
        assert_eq!(
            own_path("/api/v2/tasks?a=/../b"),
            Some("api/v2/tasks?a=/../b")
        );
        for bad in [
            "",
            "tasks",
            "//evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "https://evil.example",
            "/javascript:alert(1)",
            "/https://evil.example",
            "/a\r\nset-cookie: x=y",
            "/a\tb",
            "/a b",
            "/../../x",
            "/a/%2E%2e/x",
            "/é",
        ] {
            assert_eq!(own_path(bad), None, "{bad:?}");
        }
        assert_eq!(own_path(&format!("/{}", "a".repeat(PATH_MAX))), None);
    }

    #[test]
    fn a_state_counts_once() {
        let used = Used::default();
        let now = Timestamp::from_millis(1);
        let attempt = |state: usize, until| Attempt {
            via: Via::Google,
            state: state.to_string(),
            nonce: String::new(),
            verifier: String::new(),
            until,
            next: String::new(),
        };
        assert!(used.first(&attempt(0, 2), now));
        assert!(!used.first(&attempt(0, 2), now));
        for state in 1..2 * USED_MAX {
            assert!(used.first(&attempt(state, 2), now));
        }
        assert!(used.0.lock().unwrap().len() <= USED_MAX);
        assert!(!used.first(&attempt(0, 2), now));
        let later = Timestamp::from_millis(3);
        assert!(
            used.first(&attempt(USED_MAX + 1, 9), later),
            "forgotten by then"
        );
    }
}

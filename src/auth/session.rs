//! The session of a browser: what the encrypted cookie holds, and when it ends.

use gantry_core::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Access, person::Person};

/// A session is written anew when this part of its idle time has gone by: not with each answer.
const RENEWALS: u32 = 20;

/// Somebody who has logged in. All of it is in the cookie: nothing is kept here but the moments
/// before which sessions do not count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Session {
    /// 128 random bits, made anew at each login: names the session in the log.
    pub(crate) id: String,
    /// Who.
    pub(crate) person: Person,
    /// What they may do.
    pub(crate) access: Access,
    /// When they logged in.
    pub(super) began: u64,
    /// When they were last known to ask for something.
    pub(super) seen: u64,
    /// The rules that they were let in by. Under others they have to log in again.
    pub(super) rules: String,
}

/// When sessions end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) idle_ms: u64,
    pub(super) absolute_ms: u64,
}

impl Session {
    /// Why the session does not count any more, if so. `has_ended` tells whether the sessions of a
    /// person that began at a moment were ended.
    pub(super) fn over(
        &self,
        now: Timestamp,
        limits: Limits,
        rules: &str,
        has_ended: impl Fn(&str, Timestamp) -> bool,
    ) -> Option<&'static str> {
        let now = now.as_millis();
        if self.rules != rules {
            return Some("the rules have changed");
        }
        if has_ended(&self.person.key(), Timestamp::from_millis(self.began)) {
            return Some("it was ended");
        }
        // The clocks of two Gantrys of a framework may differ a little.
        const AHEAD_MAX_MS: u64 = 60_000;
        if self.began > now.saturating_add(AHEAD_MAX_MS) {
            return Some("it begins in the future");
        }
        if now.saturating_sub(self.began) >= limits.absolute_ms {
            return Some("it has lasted too long");
        }
        if now.saturating_sub(self.seen) >= limits.idle_ms {
            return Some("nothing was asked for too long");
        }
        None
    }

    /// The session as it is from now on, if the browser should be told.
    pub(super) fn renewed(&self, now: Timestamp, limits: Limits) -> Option<Self> {
        let now = now.as_millis();
        let due = now.saturating_sub(self.seen) >= limits.idle_ms / u64::from(RENEWALS);
        due.then(|| Self {
            seen: now,
            ..self.clone()
        })
    }

    /// For how much longer it can last.
    pub(super) fn seconds_left(&self, now: Timestamp, limits: Limits) -> u64 {
        let now = now.as_millis();
        let absolute = (self.began.saturating_add(limits.absolute_ms)).saturating_sub(now);
        absolute.min(limits.idle_ms) / 1_000
    }
}

//! The session of a browser: what the encrypted cookie holds, and when it ends.

use gantry_core::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Access, person::Person};

/// A session is written anew when this part of its idle time has gone by: not with each answer.
const RENEWALS: u32 = 20;

/// The clocks of two Gantrys of a framework may differ by so much, in milliseconds.
const AHEAD_MAX_MS: u64 = 60_000;

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

    /// Where the clock of whoever ended the sessions before is ahead of ours, a new one would seem to
    /// be one of those.
    pub(super) fn begin_after_the_last_end(&mut self, has_ended: impl Fn(&str, Timestamp) -> bool) {
        let key = self.person.key();
        let ended = |began| has_ended(&key, Timestamp::from_millis(began));
        let latest = self.began.saturating_add(AHEAD_MAX_MS);
        if !ended(self.began) || ended(latest) {
            return;
        }
        // The first moment that is not ended, between one that is and one that is not.
        let (mut before, mut after) = (self.began, latest);
        while after - before > 1 {
            let middle = before + (after - before) / 2;
            if ended(middle) {
                before = middle;
            } else {
                after = middle;
            }
        }
        self.began = after;
        self.seen = after;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Via;

    const LIMITS: Limits = Limits {
        idle_ms: 1_000_000,
        absolute_ms: 5_000_000,
    };

    fn session(began: u64, seen: u64) -> Session {
        Session {
            id: "x".to_owned(),
            person: Person {
                via: Via::Gitlab,
                issuer: "https://a".to_owned(),
                subject: "7".to_owned(),
                name: "Alice".to_owned(),
                mail: None,
                user_name: None,
            },
            access: Access::View,
            began,
            seen,
            rules: "r".to_owned(),
        }
    }

    #[test]
    fn a_session_ends() {
        let at = Timestamp::from_millis;
        let never = |_: &str, _| false;
        let over = |session: &Session, now| session.over(at(now), LIMITS, "r", never).is_some();
        let fresh = session(100_000, 100_000);
        assert!(!over(&fresh, 100_000) && !over(&fresh, 1_099_999));
        assert!(over(&fresh, 1_100_000), "idle");
        assert!(!over(&session(100_000, 5_000_000), 5_099_999));
        assert!(over(&session(100_000, 5_000_000), 5_100_000), "old");
        assert!(!over(&fresh, 40_000), "clocks differ");
        assert!(over(&fresh, 39_999), "but not so much");
        assert!(
            fresh.over(at(100_000), LIMITS, "s", never).is_some(),
            "other rules"
        );
        let mine = |user: &str, began: Timestamp| user == "https://a 7" && began <= at(100_000);
        assert!(fresh.over(at(100_001), LIMITS, "r", mine).is_some());
        assert!(
            session(100_001, 100_001)
                .over(at(100_001), LIMITS, "r", mine)
                .is_none()
        );

        let mut late = session(99_000, 99_000);
        late.begin_after_the_last_end(mine);
        assert_eq!((late.began, late.seen), (100_001, 100_001));

        assert_eq!(fresh.renewed(at(149_999), LIMITS), None);
        assert_eq!(fresh.renewed(at(150_000), LIMITS).unwrap().seen, 150_000);
        assert_eq!(fresh.seconds_left(at(100_000), LIMITS), 1_000);
        assert_eq!(fresh.seconds_left(at(5_000_000), LIMITS), 100);
    }
}

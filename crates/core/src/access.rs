//! Which sessions of people who logged in have ended before their time. A session itself is kept
//! by its browser alone.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// Most users whose sessions' ends are remembered one by one.
pub const ACCESS_USERS_MAX: usize = 1_000;

/// About how large an [`AccessRecord`] may grow, in bytes.
pub const ACCESS_BYTES_MAX: usize = 256 * 1024;

/// Longest name of a user, in bytes: the longest e-mail address.
pub const USER_BYTES_MAX: usize = 320;

/// A session may not last longer: the end of one that began before is forgotten.
pub const SESSION_LASTS_MAX: Duration = Duration::from_secs(32 * 24 * 3600);

/// Which sessions have ended before their time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessRecord {
    /// Every session that began at this moment or before has ended.
    pub all_sessions_end_before: Timestamp,
    /// Every session of this user that began at this moment or before has ended. At most
    /// [`ACCESS_USERS_MAX`] users and [`ACCESS_BYTES_MAX`] bytes: beyond, the oldest entry is made
    /// one for all users, which ends more sessions and never fewer.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub users: BTreeMap<String, Timestamp>,
}

impl AccessRecord {
    /// Whether a session of `user` that began at `began` has ended before its time.
    pub fn has_ended(&self, user: &str, began: Timestamp) -> bool {
        let alone = self.users.get(user).copied().unwrap_or_default();
        let before = self.all_sessions_end_before.max(alone);
        // Nothing was ended at the beginning of time.
        before != Timestamp::ZERO && began <= before
    }

    /// Whether somebody can be named so: 1 to [`USER_BYTES_MAX`] bytes, no control characters.
    pub fn is_user(name: &str) -> bool {
        (1..=USER_BYTES_MAX).contains(&name.len()) && !name.chars().any(char::is_control)
    }

    /// Takes in what another one has ended: afterwards all of both has.
    pub fn join(&mut self, other: &Self) {
        self.all_sessions_end_before = self
            .all_sessions_end_before
            .max(other.all_sessions_end_before);
        for (user, ended) in &other.users {
            let known = self.users.entry(user.clone()).or_default();
            *known = (*known).max(*ended);
        }
        self.fold(self.newest());
    }

    /// Ends all sessions that began by now, of one user or of everybody.
    pub(crate) fn end(&mut self, user: Option<String>, now: Timestamp) {
        match user {
            None => self.all_sessions_end_before = now,
            Some(user) => {
                self.users.insert(user, now);
            }
        }
        self.fold(now);
    }

    /// The newest moment that it tells of.
    pub(crate) fn newest(&self) -> Timestamp {
        let newest = self.users.values().max().copied().unwrap_or_default();
        newest.max(self.all_sessions_end_before)
    }

    /// Forgets what no session can be as old as, and keeps the rest within its bounds.
    fn fold(&mut self, now: Timestamp) {
        let all = self.all_sessions_end_before;
        self.users
            .retain(|_, ended| *ended > all && now.since(*ended) <= SESSION_LASTS_MAX);
        while self.users.len() > ACCESS_USERS_MAX || self.bytes() > ACCESS_BYTES_MAX {
            let Some(oldest) = self.users.values().min().copied() else {
                return;
            };
            self.all_sessions_end_before = oldest;
            self.users.retain(|_, ended| *ended > oldest);
        }
    }

    /// No less than its JSON has: a quote or a backslash is written as two bytes.
    fn bytes(&self) -> usize {
        self.users.keys().map(|user| 2 * user.len() + 32).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(day: u64) -> Timestamp {
        Timestamp::from_millis(day * 24 * 3_600_000)
    }

    #[test]
    fn what_has_ended_stays_ended_as_long_as_it_could_matter() {
        let mut access = AccessRecord::default();
        assert!(!access.has_ended("ann", Timestamp::ZERO));
        access.end(Some("ann".into()), at(1));
        assert!(access.has_ended("ann", at(1)));
        assert!(!access.has_ended("ann", at(2)));
        assert!(!access.has_ended("bob", at(1)));
        access.end(Some("bob".into()), at(33));
        assert!(access.has_ended("ann", at(1)), "it may just have begun");
        access.end(Some("bob".into()), at(34));
        assert_eq!(access.users.len(), 1, "no session of ann is so old");
        access.end(None, at(35));
        assert!(access.users.is_empty());
        assert!(access.has_ended("bob", at(35)) && access.has_ended("eve", at(35)));
        assert!(!access.has_ended("bob", at(36)));

        // Of two, whichever is the later.
        let mut other = AccessRecord::default();
        other.end(Some("ann".into()), at(40));
        other.join(&access);
        assert_eq!(other.all_sessions_end_before, at(35));
        assert!(other.has_ended("ann", at(40)) && !other.has_ended("eve", at(36)));
    }

    #[test]
    fn at_its_bounds_it_ends_more_sessions_and_never_fewer() {
        let mut access = AccessRecord::default();
        let mut ended = Vec::new();
        for number in 0..1_500 {
            let moment = Timestamp::from_millis(1_000_000 + number);
            let user = format!("{number:0>300}");
            access.end(Some(user.clone()), moment);
            ended.push((user, moment));
            assert!(access.users.len() <= ACCESS_USERS_MAX);
            let bytes = serde_json::to_vec(&access).unwrap().len();
            assert!(bytes <= ACCESS_BYTES_MAX + 100, "{bytes}");
        }
        assert!(ended.iter().all(|(user, at)| access.has_ended(user, *at)));
        assert!(!access.has_ended(&ended[1_499].0, Timestamp::from_millis(1_001_500)));
        assert!(!AccessRecord::is_user("") && !AccessRecord::is_user("a\nb"));
        assert!(!AccessRecord::is_user(&"x".repeat(USER_BYTES_MAX + 1)));
    }
}

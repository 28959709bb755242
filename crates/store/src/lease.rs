//! How long a process may act.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};
use tokio::sync::watch;

/// The end of a lease that has none.
const NEVER: u64 = u64::MAX;

/// The right to act for one term. Clones are one lease.
///
/// A lease is a bet on time: until its end no other process can have become the leader. It ends
/// when it was not renewed in time, when the store says so, or when it was given up, and never
/// begins again. A process that was frozen past the end finds it ended with the first look,
/// before anything had a chance to tell it: [`Lease::holds`] reads the clock.
///
/// One that was not renewed in time, or ended with its session, says nothing against the next term of
/// this process. One that the store took back does ([`Lease::was_taken_back`]): what led to that is
/// still there, and another process may do better.
#[derive(Clone, Debug)]
pub struct Lease {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    epoch: u64,
    // Milliseconds of `Moment`.
    end: AtomicU64,
    // Why it ended, once it did.
    ended: watch::Sender<Option<Ended>>,
}

#[derive(Debug)]
struct Ended {
    reason: String,
    taken_back: bool,
}

/// A reading of the machine's clock that goes on while the machine is suspended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

impl Moment {
    pub(crate) fn now() -> Self {
        let time = clock_gettime(ClockId::Boottime);
        let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
        let millis = u64::try_from(time.tv_nsec / 1_000_000).unwrap_or_default();
        Self(seconds * 1_000 + millis)
    }

    pub(crate) fn after(self, duration: Duration) -> Self {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(NEVER);
        Self(self.0.saturating_add(millis))
    }
}

impl Lease {
    /// A lease that only ends when it is given up: of a home that no other process can write.
    pub fn forever() -> Self {
        Self::new(1, Moment(NEVER))
    }

    pub(crate) fn new(epoch: u64, end: Moment) -> Self {
        Self {
            shared: Arc::new(Shared {
                epoch,
                end: AtomicU64::new(end.0),
                ended: watch::Sender::new(None),
            }),
        }
    }

    /// The number of the term. A later one is larger.
    pub fn epoch(&self) -> u64 {
        self.shared.epoch
    }

    /// Whether this process may act now. Once false, false for ever. Costs some 30 ns.
    pub fn holds(&self) -> bool {
        if self.shared.ended.borrow().is_some() {
            return false;
        }
        let over = Moment::now().0 >= self.shared.end.load(Ordering::Acquire);
        if over {
            self.end("it was not renewed in time");
        }
        !over
    }

    /// Waits until it has ended, and tells why, as a clause.
    pub async fn lost(&self) -> String {
        let mut ended = self.shared.ended.subscribe();
        loop {
            if let Some(ended) = &*ended.borrow_and_update() {
                return ended.reason.clone();
            }
            if !self.holds() {
                continue;
            }
            let end = self.shared.end.load(Ordering::Acquire);
            let left = Duration::from_millis(end.saturating_sub(Moment::now().0));
            // Too early is no harm: the loop looks again. A timer stands still while the machine
            // is suspended, so none is long.
            let pause = left.clamp(Duration::from_millis(1), Duration::from_secs(1));
            let _ = tokio::time::timeout(pause, ended.changed()).await;
        }
    }

    /// Whether it ended for a cause that lies in what is stored or in the way to it, so that a new
    /// term of this process might end as this one did.
    pub fn was_taken_back(&self) -> bool {
        let ended = self.shared.ended.borrow();
        ended.as_ref().is_some_and(|ended| ended.taken_back)
    }

    /// Moves the end, unless it has come. Says whether the lease holds.
    pub(crate) fn renew(&self, end: Moment) -> bool {
        let holds = self.holds();
        if holds {
            self.shared.end.fetch_max(end.0, Ordering::AcqRel);
        }
        holds
    }

    /// When it ends or has ended, unless something ended it before.
    #[cfg(test)]
    pub(crate) fn renewed_until(&self) -> Moment {
        Moment(self.shared.end.load(Ordering::Acquire))
    }

    /// Ends it. The first reason is kept.
    pub(crate) fn end(&self, reason: &str) {
        self.end_with(reason, false);
    }

    /// Ends it for a cause, see [`Lease::was_taken_back`]. The first reason is kept.
    pub(crate) fn take_back(&self, reason: &str) {
        self.end_with(reason, true);
    }

    fn end_with(&self, reason: &str, taken_back: bool) {
        self.shared.ended.send_if_modified(|ended| {
            let first = ended.is_none();
            if first {
                *ended = Some(Ended {
                    reason: reason.to_owned(),
                    taken_back,
                });
            }
            first
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn ends_by_itself_and_stays_ended() {
        let begin = Moment::now();
        let lease = Lease::new(7, begin.after(Duration::from_secs(3_600)));
        let other = lease.clone();
        let later = begin.after(Duration::from_secs(7_200));
        assert!(lease.holds() && other.renew(later));
        // An earlier end that is confirmed late takes nothing away.
        assert!(lease.renew(begin.after(Duration::from_millis(50))));
        assert_eq!(lease.renewed_until(), later);
        let end = begin.after(Duration::from_millis(50));
        lease.shared.end.store(end.0, Ordering::Release);
        assert_eq!(lease.lost().await, "it was not renewed in time");
        assert!(Moment::now() >= end);
        assert!(!other.renew(Moment::now().after(Duration::from_secs(60))));
        assert!(!lease.holds() && !other.holds());
        assert_eq!(other.epoch(), 7);
    }

    #[tokio::test]
    async fn is_told_at_once_when_it_is_ended() {
        let lease = Lease::forever();
        let other = lease.clone();
        let waiting = tokio::spawn(async move { other.lost().await });
        assert!(lease.holds());
        lease.end("given up");
        lease.end("something later");
        assert_eq!(waiting.await.ok().as_deref(), Some("given up"));
        lease.take_back("too late");
        assert!(!lease.holds() && !lease.was_taken_back());
    }

    /// Nothing told it, no timer ran: as after SIGCONT.
    #[test]
    fn the_first_look_after_a_freeze_finds_it_ended() {
        let lease = Lease::new(1, Moment::now().after(Duration::from_millis(30)));
        std::thread::sleep(Duration::from_millis(31));
        assert!(!lease.holds());
    }
}

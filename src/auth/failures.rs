//! Wrong passwords and tokens are counted by address, so that nobody can try many.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// So many failures within [`WINDOW`] are answered; further ones are refused unheard.
const FAILURES_MAX: u32 = 10;

/// Failures are forgotten after this time.
const WINDOW: Duration = Duration::from_secs(60);

/// Most addresses that are counted; all further ones share one count.
const ADDRESSES_MAX: usize = 10_000;

/// Failures by address.
#[derive(Debug, Default)]
pub(super) struct Failures(Mutex<HashMap<Option<IpAddr>, Count>>);

#[derive(Clone, Copy, Debug)]
struct Count {
    failures: u32,
    since: Instant,
}

impl Failures {
    /// How long this address has to wait before it is heard again.
    pub(super) fn wait(&self, address: Option<IpAddr>, now: Instant) -> Option<Duration> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = counts.get(&of(address));
        let count = own.or_else(|| counts.get(&None).filter(|_| counts.len() > ADDRESSES_MAX))?;
        let over = now.saturating_duration_since(count.since);
        (count.failures >= FAILURES_MAX && over < WINDOW).then(|| WINDOW - over)
    }

    /// Counts a failure.
    pub(super) fn add(&self, address: Option<IpAddr>, now: Instant) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut address = of(address);
        if counts.len() > ADDRESSES_MAX && !counts.contains_key(&address) {
            counts.retain(|_, count| now.saturating_duration_since(count.since) < WINDOW);
            if counts.len() > ADDRESSES_MAX {
                address = None;
            }
        }
        let count = counts.entry(address).or_insert(Count {
            failures: 0,
            since: now,
        });
        if now.saturating_duration_since(count.since) >= WINDOW {
            *count = Count {
                failures: 0,
                since: now,
            };
        }
        count.failures = count.failures.saturating_add(1);
    }
}

/// Who has one address of version 6 has the 2^64 around it.
fn of(address: Option<IpAddr>) -> Option<IpAddr> {
    address.map(|address| match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_failures_are_refused_and_memory_is_bounded() {
        let (failures, now) = (Failures::default(), Instant::now());
        let guesser: Option<IpAddr> = "2001:db8::1".parse().ok();
        for _ in 0..FAILURES_MAX {
            assert_eq!(failures.wait(guesser, now), None);
            failures.add(guesser, now);
        }
        let neighbour: Option<IpAddr> = "2001:db8::2".parse().ok();
        assert_eq!(failures.wait(neighbour, now), Some(WINDOW));
        assert_eq!(failures.wait("2001:db9::1".parse().ok(), now), None);
        assert_eq!(failures.wait(guesser, now + WINDOW), None);
        // One who has many addresses does not get more tries, nor all the memory.
        for number in 0..2 * ADDRESSES_MAX as u32 {
            failures.add(Some(IpAddr::V4(number.into())), now);
        }
        assert!(failures.0.lock().unwrap().len() <= ADDRESSES_MAX + 2);
        assert!(failures.wait("203.0.113.7".parse().ok(), now).is_some());
        // Later they are forgotten.
        failures.add(guesser, now + WINDOW);
        assert_eq!(
            failures.wait("203.0.113.7".parse().ok(), now + WINDOW),
            None
        );
    }
}

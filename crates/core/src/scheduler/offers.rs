//! Offers at hand, and asking for more or fewer of them.
//!
//! Every offer is answered in the step that brings it, but for those that would be used if their
//! agent had a free starting place: they are held for a moment.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use super::{Scheduler, Timer};
use crate::{AgentAddress, AgentId, Call, Offer, OfferId, Timestamp};

/// While something waits, offers are asked for again this often, in case a REVIVE was lost.
const REVIVE_REPEAT: Duration = Duration::from_secs(30);

/// A subscription should bring all offers by itself. A master that has kept refusals of the last
/// one, because it did not see it end, is asked after so long.
const REVIVE_AFTER_SUBSCRIPTION: Duration = Duration::from_secs(5);

/// A REVIVE makes the master look at every agent once; so many agents may be looked at a second.
const REVIVED_AGENTS_PER_SECOND: u64 = 10_000;

/// Shortest time between two REVIVE calls, however few agents there are.
const REVIVE_MIN: Duration = Duration::from_millis(50);

/// Offers at hand, and what we have told Mesos about wanting some.
#[derive(Debug, Default)]
pub(super) struct Offers {
    /// By order of arrival.
    pub(super) held: BTreeMap<u64, HeldOffer>,
    by_id: HashMap<OfferId, u64>,
    arrivals: u64,
    /// Something happened that makes a cycle worth while.
    pub(super) changed: bool,
    /// Something waits now that did not, or may fit now where it did not.
    pub(super) work_changed: bool,
    /// An agent has room for one more starting task.
    pub(super) place_freed: bool,
    /// Nothing waits, and Mesos has been told.
    pub(super) suppressed: bool,
    /// Some offer has been refused since the last REVIVE.
    pub(super) refused: bool,
    pub(super) revive_due: bool,
    last_revive: Timestamp,
    /// While something waits, REVIVE is sent again then…
    revive_again_at: Timestamp,
    /// …and a timer is set for it.
    timer_at: Option<Timestamp>,
    /// Agents that we have been offered something of.
    pub(super) agents_seen: BTreeMap<AgentId, Arc<AgentAddress>>,
}

/// An offer and when it came.
#[derive(Debug)]
pub(super) struct HeldOffer {
    pub(super) offer: Offer,
    pub(super) since: Timestamp,
}

impl Offers {
    /// Forgets what was told to and heard from a master that we have lost.
    pub(super) fn reset(&mut self, now: Timestamp) {
        self.last_revive = now; // A subscription brings all offers, as a REVIVE does.
        self.revive_again_at = now + REVIVE_AFTER_SUBSCRIPTION;
        self.held.clear();
        self.by_id.clear();
        self.suppressed = false;
        self.refused = false;
        self.revive_due = false;
        self.changed = true;
    }

    pub(super) fn take_all(&mut self) -> BTreeMap<u64, HeldOffer> {
        self.by_id.clear();
        std::mem::take(&mut self.held)
    }

    pub(super) fn hold(&mut self, arrival: u64, held: HeldOffer) {
        self.by_id.insert(held.offer.id.clone(), arrival);
        self.held.insert(arrival, held);
    }
}

impl Scheduler {
    pub(super) fn receive_offers(&mut self, offers: Vec<Offer>) {
        let since = self.now;
        for mut offer in offers {
            self.counters.offers += 1;
            let seen = &mut self.offers.agents_seen;
            match seen.get(&offer.agent.id) {
                // One address for all tasks of an agent keeps a million of them small.
                Some(known) if **known == *offer.agent => offer.agent = known.clone(),
                _ => {
                    seen.insert(offer.agent.id.clone(), offer.agent.clone());
                }
            }
            // Reserved resources are used before unreserved ones, the most specific first.
            offer
                .entries
                .sort_by_key(|entry| std::cmp::Reverse(entry.reservations.0.len()));
            self.offers.arrivals += 1;
            let arrival = self.offers.arrivals;
            self.offers.hold(arrival, HeldOffer { offer, since });
        }
        let again_at = self.offers.last_revive + REVIVE_REPEAT;
        self.offers.revive_again_at = self.offers.revive_again_at.max(again_at);
        self.offers.changed = true;
        if self.offers.suppressed {
            // They crossed our SUPPRESS, or it was lost: say it again.
            self.offers.suppressed = false;
        }
    }

    pub(super) fn rescind(&mut self, offer: &OfferId) {
        if let Some(arrival) = self.offers.by_id.remove(offer) {
            self.offers.held.remove(&arrival);
        }
    }

    pub(super) fn forget_agent(&mut self, agent: &AgentId) {
        self.offers.agents_seen.remove(agent);
    }

    /// Suppresses offers when nothing waits; revives them, within a limit, when something does and
    /// the offers we need may have been refused.
    pub(super) fn ask_for_offers(&mut self) {
        let work_changed = std::mem::take(&mut self.offers.work_changed);
        let place_freed = std::mem::take(&mut self.offers.place_freed);
        if !self.connection.subscribed {
            return;
        }
        if self.waiting_services.is_empty() {
            self.offers.revive_due = false;
            // What waits for an answer may want offers in a moment.
            if !self.offers.suppressed && !self.is_reconciling() {
                self.offers.suppressed = true;
                self.send(Call::Suppress);
            }
            return;
        }
        let overdue = self.now >= self.offers.revive_again_at;
        if self.offers.suppressed || (work_changed && self.offers.refused) || place_freed || overdue
        {
            self.offers.revive_due = true;
        }
        if !self.offers.revive_due {
            let again_at = self.offers.revive_again_at;
            if self.offers.timer_at != Some(again_at) {
                self.offers.timer_at = Some(again_at);
                self.timers.set(again_at, Timer::Revive);
            }
            return;
        }
        let earliest = self.offers.last_revive + self.revive_interval();
        if self.now >= earliest {
            self.offers.revive_due = false;
            self.offers.suppressed = false;
            self.offers.refused = false;
            self.offers.last_revive = self.now;
            self.counters.revives += 1;
            self.send(Call::Revive);
            let again_at = self.now + REVIVE_REPEAT;
            self.offers.revive_again_at = again_at;
            self.offers.timer_at = Some(again_at);
            self.timers.set(again_at, Timer::Revive);
        } else {
            self.timers.set(earliest, Timer::Revive);
        }
    }

    fn revive_interval(&self) -> Duration {
        let agents = self.offers.agents_seen.len() as u64;
        let fair = Duration::from_millis(agents * 1000 / REVIVED_AGENTS_PER_SECOND);
        fair.max(REVIVE_MIN).min(self.settings.revive_every)
    }
}

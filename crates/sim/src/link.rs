//! The connection of a Gantry to the master, as seen from its side.

use gantry_core::{Call, Input, MesosEvent};

use crate::{
    Sabotage,
    world::{Event, Happening, World},
};

/// A connection to the master, and whose it was.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) gantry: usize,
    pub(crate) term: u64,
    pub(crate) epoch: u64,
}

impl World {
    fn link(&self, number: u64) -> &Link {
        &self.links[number as usize]
    }

    pub(crate) fn link_of(&self, number: u64) -> (usize, u64, u64) {
        let link = self.link(number);
        (link.gantry, link.term, link.epoch)
    }

    pub(crate) fn gantry_subscribes(&mut self, gantry: usize, number: u64) {
        if !self.is_term(gantry, number) {
            return;
        }
        if !self.lease_holds(gantry) {
            return self.lose_lease(gantry);
        }
        if !self.master.up {
            let delay = self.dice.around(1_000);
            return self.soon(delay, gantry, Happening::Subscribes { term: number });
        }
        let link = self.links.len() as u64;
        let delay = self.latency() + self.freeze_before_leaving(gantry);
        let arrives = self.now + delay;
        let Some(term) = &mut self.gantrys[gantry].term else {
            return;
        };
        if term.link.is_some() || term.draining {
            return;
        }
        let id = match self.sabotage {
            Some(Sabotage::NewFrameworkId) if term.epoch > 1 => None,
            _ => term.scheduler.view().framework.id,
        };
        term.link = Some(link);
        term.arrives_at = arrives;
        self.links.push(Link {
            gantry,
            term: number,
            epoch: term.epoch,
        });
        self.queue.put(arrives, Event::Subscribe { link, id });
    }

    pub(crate) fn link_seen_down(&mut self, gantry: usize, link: u64) {
        let Some(term) = self.gantrys[gantry].term.as_mut() else {
            return;
        };
        if term.link != Some(link) {
            return;
        }
        term.link = None;
        term.held.clear();
        let number = term.number;
        self.note(|| format!("G{gantry} sees its connection to the master broken"));
        self.hear(gantry, Input::Mesos(MesosEvent::Disconnected));
        let delay = self.dice.around(1_500);
        self.soon(delay, gantry, Happening::Subscribes { term: number });
    }

    /// Breaks the connection for both, who notice in their time.
    pub(crate) fn break_link(&mut self, gantry: usize, silently: bool) {
        let Some(term) = self.gantrys[gantry].term.as_mut() else {
            return;
        };
        let Some(link) = term.link else {
            return;
        };
        term.broken = Some(link);
        let (mean, master_mean) = if silently {
            (30_000, 40_000)
        } else {
            (500, 200)
        };
        self.break_link_at_master(gantry, link, master_mean);
        let delay = self.dice.around(mean);
        self.soon(delay, gantry, Happening::LinkSeenDown { link });
    }

    pub(crate) fn break_link_at_master(&mut self, gantry: usize, link: u64, mean: u64) {
        // Behind the calls that are under way.
        let arrives_at = self.gantrys[gantry]
            .term
            .as_ref()
            .map_or(0, |term| term.arrives_at);
        let delay = arrives_at.saturating_sub(self.now) + self.dice.around(mean);
        self.after(delay, Event::LinkBreaks { link });
    }

    pub(crate) fn gantry_hears(&mut self, gantry: usize, link: u64, event: MesosEvent) {
        let now = self.now;
        let Some(term) = self.gantrys[gantry].term.as_mut() else {
            return;
        };
        if term.link != Some(link) || term.broken == Some(link) {
            return;
        }
        match &event {
            MesosEvent::Offers(offers) => {
                for offer in offers {
                    term.held.insert(offer.id.clone(), now);
                }
            }
            MesosEvent::Rescinded(offer) => {
                term.held.remove(offer);
                if self.sabotage == Some(Sabotage::IgnoreRescind) {
                    return;
                }
            }
            _ => {}
        }
        self.hear(gantry, Input::Mesos(event));
    }

    /// Lets a call leave on the link it was thought of on; the rest is up to the network.
    pub(crate) fn leave(&mut self, gantry: usize, call: Call, thought_of_on: Option<u64>) {
        let Some(term) = &self.gantrys[gantry].term else {
            return;
        };
        let Some(link) = term.link.filter(|link| thought_of_on == Some(*link)) else {
            return;
        };
        let broken = term.broken == Some(link);
        self.check_call(gantry, &call);
        if broken {
            return;
        }
        if self.fails(self.plan.rates.call_vanishes) {
            self.note(|| format!("call vanishes: {call:?}"));
            let answers_offers = matches!(call, Call::Accept { .. } | Call::Decline { .. });
            if answers_offers && self.plan.offer_timeout.is_none() {
                self.break_link(gantry, false);
            }
            return;
        }
        let breaks = self.fails(self.plan.rates.call_breaks);
        if !breaks || self.dice.chance(500) {
            let delay = self.latency() + self.freeze_before_leaving(gantry);
            let now = self.now;
            if let Some(term) = self.gantrys[gantry].term.as_mut() {
                term.arrives_at = term.arrives_at.max(now + delay);
                self.queue
                    .put(term.arrives_at, Event::ToMaster { link, call });
            }
        }
        if breaks {
            self.note(|| "the connection breaks on a call");
            self.break_link(gantry, false);
        }
    }

    /// Now and then a process is stopped between its last look at the lease and the write to the
    /// wire. For how long.
    fn freeze_before_leaving(&mut self, gantry: usize) -> u64 {
        if !self.fails(self.plan.rates.freeze_at_release) {
            return 0;
        }
        let millis = self.dice.between(1_000, 40_000);
        self.freeze(gantry, millis);
        millis
    }
}

//! The rule of the runtime: the writes of a step are durable before anything else of it leaves, and
//! nothing leaves without a look at the lease.

use gantry_core::{Answer, Call, Refusal, ReplyToken, Write};

use crate::{
    Sabotage,
    keeper::Request,
    world::{Happening, World},
};

/// An answer that takes longer is taken for lost, and its outcome is read back.
const COMMIT_LIMIT: u64 = 5_000;

/// An answer to a command.
type Reply = (ReplyToken, Result<Answer, Refusal>);

/// The effects of one step and the link on which they were thought of.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) writes: Vec<Write>,
    pub(crate) calls: Vec<Call>,
    pub(crate) replies: Vec<Reply>,
    pub(crate) link: Option<u64>,
}

/// Something that may leave now.
#[derive(Debug)]
pub(crate) enum Released {
    Call(Call, Option<u64>),
    Reply(Reply),
}

impl World {
    pub(crate) fn begin_commit(&mut self, gantry: usize) {
        loop {
            let Some(term) = self.gantrys[gantry].term.as_mut() else {
                return;
            };
            if !term.committing.is_empty() || !term.released.is_empty() {
                return;
            }
            if term.waiting.is_empty() {
                if term.draining {
                    self.resign(gantry);
                    self.crash(gantry, "when told to");
                }
                return;
            }
            // What has gathered is committed together.
            let group: Vec<_> = term.waiting.drain(..).collect();
            if group.iter().all(|pending| pending.writes.is_empty()) {
                if !self.release(gantry, group) {
                    return;
                }
                continue;
            }
            term.committing = group;
            return self.send_commit(gantry, 0);
        }
    }

    /// Hands the writes to the store but for the first `skipped`, in order; where transactions are
    /// bounded, in several.
    fn send_commit(&mut self, gantry: usize, skipped: u64) {
        if !self.lease_holds(gantry) {
            return self.lose_lease(gantry);
        }
        if self.fails(self.plan.rates.crash_at_commit) {
            return self.crash(gantry, "before a commit");
        }
        let Some(term) = self.gantrys[gantry].term.as_ref() else {
            return;
        };
        let (epoch, number) = (term.epoch, term.number);
        let first = term.confirmed + skipped;
        let mut writes: Vec<Write> = term
            .committing
            .iter()
            .flat_map(|pending| pending.writes.iter().cloned())
            .skip(skipped as usize)
            .collect();
        let end = first + writes.len() as u64;
        let mut transactions = Vec::new();
        let mut position = first;
        while !writes.is_empty() {
            let most = if self.plan.is_single() {
                writes.len()
            } else {
                self.dice.between(1, self.plan.transaction_max) as usize
            };
            let rest = writes.split_off(most.min(writes.len()));
            let length = writes.len() as u64;
            transactions.push(Request::Commit {
                epoch,
                position,
                writes,
                last: rest.is_empty(),
            });
            position += length;
            writes = rest;
        }
        if self.sabotage == Some(Sabotage::CommitOutOfOrder) {
            transactions.reverse();
        }
        for transaction in transactions {
            self.ask_keeper(gantry, transaction);
        }
        if let Some(term) = self.gantrys[gantry].term.as_mut() {
            term.issued = end;
        }
        self.expect_commit(gantry, number, first - skipped);
    }

    fn expect_commit(&mut self, gantry: usize, term: u64, confirmed: u64) {
        if !self.plan.is_single() {
            let what = Happening::CommitOverdue { term, confirmed };
            self.soon(COMMIT_LIMIT, gantry, what);
        }
    }

    /// No answer has come: whether the writes are there is read back, never guessed.
    pub(crate) fn commit_overdue(&mut self, gantry: usize, number: u64, confirmed: u64) {
        let Some(term) = &self.gantrys[gantry].term else {
            return;
        };
        if term.number == number && !term.committing.is_empty() && term.confirmed == confirmed {
            self.read_back(gantry);
            self.expect_commit(gantry, number, confirmed);
        }
    }

    pub(crate) fn read_back(&mut self, gantry: usize) {
        if let Some(term) = &self.gantrys[gantry].term
            && !term.committing.is_empty()
        {
            let epoch = term.epoch;
            self.note(|| format!("G{gantry} reads back what it wrote"));
            self.ask_keeper(gantry, Request::ReadBack { epoch });
        }
    }

    /// What has not come to be is sent again.
    pub(crate) fn was_read_back(&mut self, gantry: usize, epoch: u64, applied: u64) {
        let Some(term) = &self.gantrys[gantry].term else {
            return;
        };
        if epoch != term.epoch || term.committing.is_empty() {
            return;
        }
        match applied.checked_sub(term.confirmed) {
            Some(skipped) if applied < term.issued => self.send_commit(gantry, skipped),
            _ => self.committed(gantry, epoch, applied),
        }
    }

    pub(crate) fn committed(&mut self, gantry: usize, epoch: u64, applied: u64) {
        let crashes = self.fails(self.plan.rates.crash_at_commit);
        let Some(term) = self.gantrys[gantry].term.as_mut() else {
            return;
        };
        if crashes {
            return self.crash(gantry, "after a transaction");
        }
        // What is said of an earlier term of this process says nothing of this one.
        if epoch != term.epoch {
            return;
        }
        if applied < term.issued || term.committing.is_empty() {
            return;
        }
        term.confirmed = term.issued;
        let group = std::mem::take(&mut term.committing);
        if self.release(gantry, group) {
            self.begin_commit(gantry);
        }
    }

    /// The same batch again: records are whole, so that writing them twice is harmless.
    pub(crate) fn commit_failed(&mut self, gantry: usize) {
        if let Some(term) = self.gantrys[gantry].term.as_ref() {
            let term = term.number;
            let delay = self.dice.around(100);
            self.soon(delay, gantry, Happening::Commits { term });
        }
    }

    pub(crate) fn commit_again(&mut self, gantry: usize, number: u64) {
        if self.is_term(gantry, number) {
            self.send_commit(gantry, 0);
        }
    }

    /// Lets calls and answers leave in their order; false when that has to wait, or the term ended.
    fn release(&mut self, gantry: usize, group: Vec<Pending>) -> bool {
        let Some(term) = self.gantrys[gantry].term.as_mut() else {
            return false;
        };
        for pending in group {
            let link = pending.link;
            let calls = pending.calls.into_iter();
            term.released
                .extend(calls.map(|call| Released::Call(call, link)));
            term.released
                .extend(pending.replies.into_iter().map(Released::Reply));
        }
        self.drain_released(gantry)
    }

    pub(crate) fn release_on(&mut self, gantry: usize, number: u64) {
        if self.is_term(gantry, number) && self.drain_released(gantry) {
            self.begin_commit(gantry);
        }
    }

    fn drain_released(&mut self, gantry: usize) -> bool {
        loop {
            if self.gantrys[gantry].frozen_until > self.now {
                if let Some(term) = &self.gantrys[gantry].term {
                    let term = term.number;
                    self.soon(0, gantry, Happening::Release { term });
                }
                return false;
            }
            let Some(term) = self.gantrys[gantry].term.as_mut() else {
                return false;
            };
            let Some(next) = term.released.pop_front() else {
                return true;
            };
            if !self.lease_holds(gantry) {
                self.summary.dropped += 1;
                self.lose_lease(gantry);
                return false;
            }
            if self.fails(self.plan.rates.crash_between_calls) {
                self.crash(gantry, "between two calls");
                return false;
            }
            match next {
                Released::Call(call, link) => self.leave(gantry, call, link),
                Released::Reply((token, answer)) => self.answered(gantry, token, answer),
            }
        }
    }
}

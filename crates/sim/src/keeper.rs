//! Where records are kept: a ZooKeeper ensemble with sessions, a lock, an epoch and ordered
//! transactions; in a world of a single Gantry its own file.

use std::collections::{BTreeMap, BTreeSet};

use gantry_core::{Found, Key, Record, Write};

use crate::{
    Sabotage,
    decay::key_of,
    world::{Event, Happening, World},
};

/// The ensemble, seen as one server.
#[derive(Debug)]
pub(crate) struct Keeper {
    pub(crate) up: bool,
    /// The epoch node: who writes must know its value.
    pub(crate) epoch: u64,
    /// Writes of this epoch that are applied.
    pub(crate) applied: u64,
    /// The last commit was applied to its end.
    pub(crate) whole: bool,
    pub(crate) records: BTreeMap<Key, Record>,
    /// What nobody can read any more, until something is written there.
    pub(crate) unreadable: BTreeSet<Key>,
    sessions: BTreeMap<u64, Session>,
    sessions_made: u64,
    /// Lock nodes by their number in the sequence: the session and the campaign of each.
    locks: BTreeMap<u64, (u64, u64)>,
    locks_made: u64,
    connections: BTreeMap<u64, u64>,
    connections_made: u64,
}

#[derive(Debug)]
struct Session {
    gantry: usize,
    heard_at: u64,
    connection: Option<u64>,
    /// When it is looked at next, to see whether it has expired.
    look_at: u64,
}

/// What a client asks of the server.
#[derive(Debug)]
pub(crate) enum Request {
    Ping,
    /// The lock node of this session, or a new one. Campaigns of a client are numbered.
    Campaign {
        number: u64,
    },
    Resign,
    /// One more than the epoch that was seen.
    Bump {
        seen: u64,
    },
    Load,
    /// One transaction.
    Commit {
        epoch: u64,
        /// How many writes of this epoch come before it.
        position: u64,
        writes: Vec<Write>,
        /// It ends what is committed together.
        last: bool,
    },
    /// What has come of transactions of this epoch without an answer.
    ReadBack {
        epoch: u64,
    },
}

/// What the server says.
#[derive(Debug)]
pub(crate) enum Word {
    Pong,
    /// The lock node of this campaign is the first.
    First {
        number: u64,
        epoch: u64,
    },
    /// The lock node has others before it.
    Queued,
    Bumped {
        epoch: u64,
    },
    Records(Found),
    /// So many writes of the epoch are applied.
    Committed {
        epoch: u64,
        applied: u64,
    },
    /// As read back: nothing else of what was sent on this connection is still to come.
    Applied {
        epoch: u64,
        applied: u64,
    },
    /// Another epoch has begun: nothing was written.
    Refused {
        epoch: u64,
    },
    /// Another epoch had begun before ours could.
    Outrun,
    /// The disk of a single Gantry has failed, whether or not it has written.
    Failed,
}

impl Default for Keeper {
    fn default() -> Self {
        Self {
            up: true,
            epoch: 0,
            applied: 0,
            whole: true,
            records: BTreeMap::new(),
            unreadable: BTreeSet::new(),
            sessions: BTreeMap::new(),
            sessions_made: 0,
            locks: BTreeMap::new(),
            locks_made: 0,
            connections: BTreeMap::new(),
            connections_made: 0,
        }
    }
}

impl World {
    // === Connections and sessions ===

    /// A client connects, with the session it had; the connection and the session it has now.
    pub(crate) fn keeper_accepts(&mut self, gantry: usize, session: Option<u64>) -> (u64, u64) {
        let keeper = &mut self.keeper;
        let session = match session.filter(|session| keeper.sessions.contains_key(session)) {
            Some(session) => session,
            None => {
                keeper.sessions_made += 1;
                keeper.sessions_made
            }
        };
        keeper.connections_made += 1;
        let connection = keeper.connections_made;
        let now = self.now;
        let entry = keeper.sessions.entry(session).or_insert(Session {
            gantry,
            heard_at: now,
            connection: None,
            look_at: 0,
        });
        entry.heard_at = now;
        let before = entry.connection.replace(connection);
        if let Some(before) = before {
            keeper.connections.remove(&before);
        }
        let new = entry.look_at == 0;
        keeper.connections.insert(connection, session);
        if new && !self.plan.is_single() {
            self.expect_session(session);
        }
        (connection, session)
    }

    fn expect_session(&mut self, id: u64) {
        if let Some(session) = self.keeper.sessions.get_mut(&id) {
            session.look_at = session.heard_at + self.plan.session_timeout;
            self.queue
                .put(session.look_at, Event::Expiry { session: id });
        }
    }

    pub(crate) fn keeper_loses(&mut self, connection: u64) {
        if let Some(session) = self.keeper.connections.remove(&connection)
            && let Some(session) = self.keeper.sessions.get_mut(&session)
        {
            session.connection = None;
        }
    }

    pub(crate) fn look_at_session(&mut self, id: u64) {
        let Some(session) = self.keeper.sessions.get(&id) else {
            return;
        };
        // Whoever leads the ensemble after a failure gives everybody the full time again.
        if !self.keeper.up || session.look_at != self.now {
            return;
        }
        if self.now < session.heard_at + self.plan.session_timeout {
            return self.expect_session(id);
        }
        let (gantry, connection) = (session.gantry, session.connection);
        self.note(|| format!("session {id} of G{gantry} EXPIRES"));
        self.summary.expiries += 1;
        self.keeper.sessions.remove(&id);
        if let Some(connection) = connection {
            self.keeper.connections.remove(&connection);
            self.soon(1, gantry, Happening::ConnectionSeenDown { connection });
        }
        self.unlock(id);
    }

    /// The ensemble has no quorum for a while.
    pub(crate) fn keeper_goes_away(&mut self, millis: u64) {
        if !self.keeper.up {
            return;
        }
        self.note(|| "ZOOKEEPER goes away");
        self.keeper.up = false;
        let connections = std::mem::take(&mut self.keeper.connections);
        for (connection, session) in connections {
            let Some(session) = self.keeper.sessions.get_mut(&session) else {
                continue;
            };
            session.connection = None;
            let gantry = session.gantry;
            let delay = self.dice.around(200);
            self.soon(delay, gantry, Happening::ConnectionSeenDown { connection });
        }
        self.after(millis, Event::KeeperUp);
    }

    pub(crate) fn keeper_up(&mut self) {
        if self.keeper.up {
            return;
        }
        self.note(|| "zookeeper is back");
        self.keeper.up = true;
        let now = self.now;
        let sessions: Vec<_> = self.keeper.sessions.keys().copied().collect();
        for id in sessions {
            if let Some(session) = self.keeper.sessions.get_mut(&id) {
                session.heard_at = now;
            }
            self.expect_session(id);
        }
    }

    // === Leadership ===

    /// Whose lock node is the first.
    pub(crate) fn first_in_line(&self) -> Option<usize> {
        let (session, _) = self.keeper.locks.values().next()?;
        Some(self.keeper.sessions.get(session)?.gantry)
    }

    fn unlock(&mut self, session: u64) {
        let before = self.keeper.locks.values().next().copied();
        self.keeper.locks.retain(|_, (owner, _)| *owner != session);
        let first = self.keeper.locks.values().next().copied();
        if first != before
            && let Some((first, number)) = first
            && let Some(entry) = self.keeper.sessions.get(&first)
            && let Some(connection) = entry.connection
        {
            let word = Word::First {
                number,
                epoch: self.keeper.epoch,
            };
            // Nothing that was sent is confirmed by it.
            self.keeper_answers(connection, 0, word);
        }
    }

    // === Requests ===

    pub(crate) fn keeper_hears(&mut self, connection: u64, sent_at: u64, request: Request) {
        let Some(session) = self.keeper.connections.get(&connection).copied() else {
            return self.keep_unsent(connection, request);
        };
        let now = self.now;
        let Some(entry) = self.keeper.sessions.get_mut(&session) else {
            return;
        };
        if self.gantrys[entry.gantry].cut_off {
            // What follows on this connection is lost as well.
            self.keeper_loses(connection);
            return self.keep_unsent(connection, request);
        }
        entry.heard_at = now;
        let gantry = entry.gantry;
        let word = match request {
            Request::Ping => Word::Pong,
            Request::Resign => return self.unlock(session),
            Request::Campaign { number } => {
                if self.plan.is_single() {
                    self.keeper.locks.clear(); // A dead process holds no lock on its file.
                }
                let node = (session, number);
                let mut locks = self.keeper.locks.values_mut();
                // The node of an earlier campaign is found again.
                match locks.find(|(owner, _)| *owner == session) {
                    Some(own) => *own = node,
                    None => {
                        self.keeper.locks_made += 1;
                        self.keeper.locks.insert(self.keeper.locks_made, node);
                    }
                }
                if self.keeper.locks.values().next() == Some(&node) {
                    Word::First {
                        number,
                        epoch: self.keeper.epoch,
                    }
                } else {
                    Word::Queued
                }
            }
            Request::Bump { seen } if seen == self.keeper.epoch => {
                self.keeper.epoch += 1;
                self.keeper.applied = 0;
                self.forget_asks_before(seen + 1);
                self.summary.terms += 1;
                self.note(|| format!("epoch {} belongs to G{gantry}", seen + 1));
                Word::Bumped { epoch: seen + 1 }
            }
            Request::Bump { .. } => Word::Outrun,
            Request::Load => Word::Records(self.load()),
            Request::Commit {
                epoch,
                position,
                writes,
                last,
            } => {
                if epoch != self.keeper.epoch && self.sabotage != Some(Sabotage::NoEpochCheck) {
                    self.summary.fenced += 1;
                    self.note(|| format!("a commit of G{gantry} in epoch {epoch} is refused"));
                    Word::Refused { epoch }
                } else if !self.plan.is_single()
                    && position != self.keeper.applied
                    && self.sabotage.is_none()
                {
                    // Each transaction checks how many came before it: this one was sent twice.
                    self.note(|| format!("a commit of G{gantry} comes a second time"));
                    Word::Applied {
                        epoch,
                        applied: self.keeper.applied,
                    }
                } else if self.plan.is_single() && self.fails(self.plan.rates.commit_fails) {
                    let applied = self.dice.chance(500);
                    self.note(|| format!("a commit fails, applied: {applied}"));
                    if applied {
                        self.apply(epoch, position, writes, last);
                    }
                    Word::Failed
                } else {
                    self.apply(epoch, position, writes, last);
                    if !self.plan.is_single() && self.fails(self.plan.rates.commit_fails) {
                        self.note(|| "the answer to a commit is lost");
                        return;
                    }
                    Word::Committed {
                        epoch,
                        applied: self.keeper.applied,
                    }
                }
            }
            Request::ReadBack { epoch } if epoch == self.keeper.epoch => Word::Applied {
                epoch,
                applied: self.keeper.applied,
            },
            Request::ReadBack { epoch } => Word::Refused { epoch },
        };
        self.keeper_answers(connection, sent_at, word);
    }

    fn keeper_answers(&mut self, connection: u64, sent_at: u64, word: Word) {
        let Some(session) = self.keeper.connections.get(&connection) else {
            return;
        };
        let Some(session) = self.keeper.sessions.get(session) else {
            return;
        };
        let gantry = session.gantry;
        let arrives = (self.now + self.latency()).max(self.gantrys[gantry].candidate.hears_at);
        self.gantrys[gantry].candidate.hears_at = arrives;
        self.queue.put(
            arrives,
            Event::At {
                gantry,
                what: Happening::KeeperSays {
                    connection,
                    sent_at,
                    word,
                },
            },
        );
    }

    /// One transaction: all of it, or a crash leaves none of it.
    fn apply(&mut self, epoch: u64, position: u64, writes: Vec<Write>, last: bool) {
        self.summary.commits += 1;
        self.check_commit(epoch, position);
        let again = position < self.keeper.applied;
        self.keeper.applied = position + writes.len() as u64;
        self.keeper.whole = last;
        for write in writes {
            if self.is_sabotaged_write(&write) {
                continue;
            }
            self.trace.line(self.now, || match &write {
                Write::Put(Record::Task(task)) => format!(
                    "  stored {} {:?} {:?} on {}",
                    task.id, task.state, task.goal, task.agent.id
                ),
                Write::Put(Record::Workload(record)) => {
                    format!("  stored {}: {} desired", record.name, record.desired)
                }
                Write::Put(Record::Deployment(record)) => {
                    format!("  stored deployment {}: {:?}", record.id, record.status)
                }
                Write::Put(record) => format!("  stored {:?}", record.key()),
                Write::Delete(key) => format!("  deleted {key:?}"),
            });
            if !again {
                self.remember_write(&write);
            }
            self.keeper.unreadable.remove(&key_of(&write));
            match write.clone() {
                Write::Put(record) => self.keeper.records.insert(record.key(), record),
                Write::Delete(key) => self.keeper.records.remove(&key),
            };
            self.forget_taken_back(&write);
        }
        self.check_truth();
    }
}

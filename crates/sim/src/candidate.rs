//! A Gantry as a client of ZooKeeper: its connection and session, the campaign for leadership, and
//! the lease by which it knows for how long nobody else can lead.

use crate::{
    Sabotage,
    keeper::{Request, Word},
    world::{Event, Happening, World},
};

/// The client.
#[derive(Debug, Default)]
pub(crate) struct Candidate {
    session: Option<u64>,
    pub(crate) connection: Option<u64>,
    /// When the server was last heard of.
    heard_at: u64,
    /// When the last request arrives there, and the last answer here: none overtakes another.
    arrives_at: u64,
    pub(crate) hears_at: u64,
    /// Counts campaigns.
    campaigns: u64,
    stage: Stage,
    /// The epoch is ours, and confirmed until `lease_until`.
    epoch: Option<u64>,
    lease_until: u64,
    /// The last connection, until there is another.
    before: Option<u64>,
    /// Transactions that were lost with their connection.
    unsent: Vec<Request>,
    /// Whom it takes for the leader.
    pub(crate) believes: Option<usize>,
}

/// How far a campaign is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Idle,
    Waiting,
    Bumping,
    Loading,
    Leading,
}

impl World {
    /// Whether a Gantry may act: nobody else can have become the leader. Asked right before
    /// anything is released, as a frozen process does not know that it was.
    pub(crate) fn lease_holds(&self, gantry: usize) -> bool {
        let candidate = &self.gantrys[gantry].candidate;
        if self.plan.is_single() {
            return true;
        }
        let confirmed = match self.sabotage {
            Some(Sabotage::NoLeaseTest) => return true,
            // What timers and messages have told so far, and no look at the clock.
            Some(Sabotage::LeaseIgnoresFreeze) => true,
            _ => self.now < candidate.lease_until,
        };
        candidate.epoch.is_some() && confirmed
    }

    // === The connection ===

    pub(crate) fn candidate_connects(&mut self, gantry: usize, life: u64) {
        let current = &self.gantrys[gantry];
        if current.life != life || !current.up || current.candidate.connection.is_some() {
            return;
        }
        if !self.keeper.up || current.cut_off {
            let delay = self.dice.around(1_500);
            return self.soon(delay, gantry, Happening::Connects { life });
        }
        let before = current.candidate.session;
        let (connection, session) = self.keeper_accepts(gantry, before);
        let now = self.now;
        if before != Some(session) {
            // The library tells it apart: what was ours by the old session is another's by now.
            self.end_term(gantry, "its session has expired");
        }
        let term_goes_on = self.gantrys[gantry].term.is_some();
        let candidate = &mut self.gantrys[gantry].candidate;
        candidate.connection = Some(connection);
        candidate.session = Some(session);
        candidate.heard_at = now;
        candidate.arrives_at = now;
        candidate.hears_at = now;
        candidate.before = None;
        let unsent = std::mem::take(&mut candidate.unsent);
        if self.dice.chance(500) {
            for request in unsent {
                self.ask_keeper(gantry, request);
            }
        }
        if !self.plan.is_single() {
            self.soon(0, gantry, Happening::Tick { connection });
        }
        if term_goes_on {
            self.note(|| format!("G{gantry} is connected again and leads on"));
            self.read_back(gantry);
        } else {
            self.campaign(gantry);
        }
    }

    /// A request has not arrived. Now and then the client's library sends it on the next
    /// connection, whatever has happened meanwhile.
    pub(crate) fn keep_unsent(&mut self, connection: u64, request: Request) {
        let mut gantrys = self.gantrys.iter_mut();
        if matches!(request, Request::Commit { .. })
            && let Some(gantry) = gantrys.find(|gantry| {
                let candidate = &gantry.candidate;
                [candidate.connection, candidate.before].contains(&Some(connection))
            })
        {
            gantry.candidate.unsent.push(request);
        }
    }

    /// The connection ends now at this side; the server notices when it does.
    pub(crate) fn disconnect_candidate(&mut self, gantry: usize) {
        let candidate = &mut self.gantrys[gantry].candidate;
        let Some(connection) = candidate.connection.take() else {
            return;
        };
        // The session outlives the connection, and so does the lease for its time.
        if candidate.stage != Stage::Leading {
            candidate.epoch = None;
            candidate.stage = Stage::Idle;
        }
        candidate.before = Some(connection);
        // Some of what is under way still arrives.
        let under_way = candidate.arrives_at.saturating_sub(self.now);
        let delay = self.dice.below(under_way + 2);
        self.after(delay, Event::KeeperLoses { connection });
    }

    pub(crate) fn connection_seen_down(&mut self, gantry: usize, connection: u64) {
        if self.gantrys[gantry].candidate.connection != Some(connection) {
            return;
        }
        self.note(|| format!("G{gantry} sees its connection to ZooKeeper broken"));
        self.disconnect_candidate(gantry);
        let life = self.gantrys[gantry].life;
        let delay = self.dice.around(800);
        self.soon(delay, gantry, Happening::Connects { life });
    }

    /// The connection breaks for both, who notice in their time.
    pub(crate) fn break_connection(&mut self, gantry: usize) {
        let candidate = &self.gantrys[gantry].candidate;
        let Some(connection) = candidate.connection else {
            return;
        };
        let under_way = candidate.arrives_at.saturating_sub(self.now);
        let delay = self.dice.below(under_way + 2);
        self.after(delay, Event::KeeperLoses { connection });
        let delay = self.dice.around(300);
        self.soon(delay, gantry, Happening::ConnectionSeenDown { connection });
    }

    pub(crate) fn candidate_ticks(&mut self, gantry: usize, connection: u64) {
        let candidate = &self.gantrys[gantry].candidate;
        if candidate.connection != Some(connection) {
            return;
        }
        let timeout = self.plan.session_timeout;
        if self.now >= candidate.heard_at + timeout * 2 / 3 {
            return self.connection_seen_down(gantry, connection);
        }
        let believes = self.first_in_line();
        if !self.gantrys[gantry].cut_off {
            self.gantrys[gantry].candidate.believes = believes;
        }
        self.ask_keeper(gantry, Request::Ping);
        self.soon(timeout / 6, gantry, Happening::Tick { connection });
    }

    pub(crate) fn ask_keeper(&mut self, gantry: usize, request: Request) {
        let mean = if matches!(request, Request::Commit { .. })
            && self.fails(self.plan.rates.commit_slow)
        {
            3_000
        } else {
            6
        };
        let delay = self.dice.around(mean);
        let sent_at = self.now;
        let candidate = &mut self.gantrys[gantry].candidate;
        let Some(connection) = candidate.connection else {
            return;
        };
        candidate.arrives_at = candidate.arrives_at.max(sent_at + delay);
        self.queue.put(
            candidate.arrives_at,
            Event::ToKeeper {
                connection,
                sent_at,
                request,
            },
        );
    }

    // === The campaign ===

    pub(crate) fn campaign(&mut self, gantry: usize) {
        let candidate = &mut self.gantrys[gantry].candidate;
        candidate.epoch = None;
        candidate.stage = Stage::Waiting;
        candidate.campaigns += 1;
        let number = candidate.campaigns;
        self.ask_keeper(gantry, Request::Campaign { number });
    }

    pub(crate) fn keeper_says(&mut self, gantry: usize, connection: u64, sent_at: u64, word: Word) {
        if self.gantrys[gantry].candidate.connection != Some(connection) {
            return;
        }
        if self.gantrys[gantry].cut_off {
            return self.keeper_loses(connection);
        }
        let now = self.now;
        let lasts = self.plan.session_timeout * 2 / 3;
        let term = self.gantrys[gantry].term.as_ref().map(|term| term.epoch);
        let candidate = &mut self.gantrys[gantry].candidate;
        candidate.heard_at = now;
        candidate.lease_until = candidate.lease_until.max(sent_at + lasts);
        match (word, candidate.stage) {
            (Word::First { number, epoch }, Stage::Waiting) if number == candidate.campaigns => {
                candidate.stage = Stage::Bumping;
                self.ask_keeper(gantry, Request::Bump { seen: epoch });
            }
            (Word::Bumped { epoch }, Stage::Bumping) => {
                candidate.stage = Stage::Loading;
                candidate.epoch = Some(epoch);
                self.ask_keeper(gantry, Request::Load);
            }
            (Word::Outrun, Stage::Bumping) => self.campaign(gantry),
            (Word::Records(found), Stage::Loading) => {
                if let Some(epoch) = candidate.epoch
                    && self.lease_holds(gantry)
                {
                    self.gantrys[gantry].candidate.stage = Stage::Leading;
                    self.start_term(gantry, epoch, found);
                } else {
                    self.campaign(gantry);
                }
            }
            (Word::Committed { epoch, applied }, _) => self.committed(gantry, epoch, applied),
            (Word::Applied { epoch, applied }, _) => self.was_read_back(gantry, epoch, applied),
            (Word::Refused { epoch }, Stage::Leading) if term == Some(epoch) => {
                self.end_term(gantry, "another epoch has begun");
                self.campaign(gantry);
            }
            (Word::Failed, _) => self.commit_failed(gantry),
            // Nothing to do, or meant for a campaign that is over.
            _ => {}
        }
    }

    pub(crate) fn watch_lease(&mut self, gantry: usize, term: u64) {
        if !self.plan.is_single() {
            let until = self.gantrys[gantry].candidate.lease_until;
            let delay = until.saturating_sub(self.now).max(1);
            self.soon(delay, gantry, Happening::LeaseEnds { term });
        }
    }

    pub(crate) fn lease_ends(&mut self, gantry: usize, term: u64) {
        if !self.is_term(gantry, term) {
            return;
        }
        if self.now < self.gantrys[gantry].candidate.lease_until {
            return self.watch_lease(gantry, term);
        }
        self.lose_lease(gantry);
    }

    /// The lease has ended unconfirmed: not a call more. The session may live on.
    pub(crate) fn lose_lease(&mut self, gantry: usize) {
        self.end_term(gantry, "its lease has ended");
        self.campaign(gantry);
    }

    /// Gives leadership up, so that a successor need not wait for the session to expire.
    pub(crate) fn resign(&mut self, gantry: usize) {
        self.ask_keeper(gantry, Request::Resign);
    }
}

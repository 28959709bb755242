//! The last events, kept for those who watch: a ring with a number on each, replayed to readers
//! that come back.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use gantry_core::{Notice, Timestamp};
use serde::Serialize;
use tokio::sync::watch;
use utoipa::ToSchema;

/// How many events are remembered.
pub const EVENTS_KEPT: usize = 4_096;

/// How many events a stream takes out of the ring at once.
const FETCH_MAX: usize = 256;

/// Something that happened, durable by the time it is told.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Event {
    /// Position in the sequence of all events. Ids of a later term are larger, as far as the clocks
    /// of the machines agree; there are no gaps within a term. Below 2^53, so that JavaScript reads
    /// it exactly.
    pub id: u64,
    /// When it was told, in milliseconds since the Unix epoch.
    #[schema(value_type = u64)]
    pub at: Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened: [`Notice`] in the form readers get it.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum EventKind {
    /// A task came to be or changed its state.
    Task {
        /// Its id.
        task: String,
        /// The workload's name.
        workload: String,
        /// The instance's number.
        number: u32,
        /// `TASK_RUNNING` and the like.
        state: &'static str,
        /// Health as last heard; `null` without a check.
        healthy: Option<bool>,
        /// `REASON_…`, or ours.
        #[schema(value_type = Option<String>)]
        reason: Option<Arc<str>>,
        /// For people.
        #[schema(value_type = Option<String>)]
        message: Option<Arc<str>>,
    },
    /// The wanted count of a workload changed.
    Scaled {
        /// The workload's name.
        workload: String,
        /// Before.
        from: u32,
        /// Now.
        to: u32,
    },
    /// A workload was added, changed its revision, or was removed.
    WorkloadChanged {
        /// The workload's name.
        workload: String,
    },
    /// A deployment moved.
    Deployment {
        /// Its number.
        deployment: u64,
    },
    /// The disaster brake went on or off.
    Brake {
        /// On now.
        on: bool,
    },
    /// The subscription to the master began or ended.
    Connection {
        /// Subscribed now.
        subscribed: bool,
    },
    /// A task of this framework that no workload knows was found.
    UnknownTask {
        /// Its id.
        task: String,
        /// `TASK_RUNNING` and the like.
        state: &'static str,
    },
    /// An operator acted.
    Audit {
        /// Position in the sequence of all actions.
        sequence: u64,
    },
}

impl EventKind {
    /// The name that an event stream gives to this kind: its `type` in the JSON form.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Task { .. } => "task",
            Self::Scaled { .. } => "scaled",
            Self::WorkloadChanged { .. } => "workload_changed",
            Self::Deployment { .. } => "deployment",
            Self::Connection { .. } => "connection",
            Self::Brake { .. } => "brake",
            Self::UnknownTask { .. } => "unknown_task",
            Self::Audit { .. } => "audit",
        }
    }
}

impl From<Notice> for EventKind {
    fn from(notice: Notice) -> Self {
        match notice {
            Notice::Task {
                task,
                workload,
                number,
                state,
                healthy,
                reason,
                message,
            } => Self::Task {
                task: task.as_str().to_owned(),
                workload: workload.as_str().to_owned(),
                number,
                state: state.mesos_name(),
                healthy,
                reason,
                message,
            },
            Notice::Scaled { workload, from, to } => Self::Scaled {
                workload: workload.as_str().to_owned(),
                from,
                to,
            },
            Notice::WorkloadChanged { workload } => Self::WorkloadChanged {
                workload: workload.as_str().to_owned(),
            },
            Notice::Deployment { id } => Self::Deployment { deployment: id.0 },
            Notice::Connection { subscribed } => Self::Connection { subscribed },
            Notice::Brake { on } => Self::Brake { on },
            Notice::UnknownTask { task, state } => Self::UnknownTask {
                task: task.as_str().to_owned(),
                state: state.mesos_name(),
            },
            Notice::Audit { sequence } => Self::Audit { sequence },
        }
    }
}

/// What a reader gets.
#[derive(Clone, Debug)]
pub enum Delivery {
    /// The next event.
    Event(Arc<Event>),
    /// Some events are no longer remembered, or belong to an earlier run: read the view again. The
    /// stream goes on with the oldest that is.
    Lagged,
}

/// A reader of the events. See [`crate::runtime::Handle::events`].
pub struct EventStream {
    log: Arc<EventLog>,
    latest: watch::Receiver<u64>,
    /// Id of the last event that was fetched.
    seen: u64,
    fetched: VecDeque<Delivery>,
}

impl EventStream {
    /// The next delivery, awaited. `None` when Gantry is stopping. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Delivery> {
        loop {
            if let Some(delivery) = self.fetched.pop_front() {
                return Some(delivery);
            }
            self.log.fetch(&mut self.seen, &mut self.fetched);
            if self.fetched.is_empty() {
                let seen = self.seen;
                self.latest.wait_for(|latest| *latest > seen).await.ok()?;
            }
        }
    }
}

/// The ring.
pub(crate) struct EventLog {
    ring: Mutex<Ring>,
}

struct Ring {
    events: VecDeque<Arc<Event>>,
    /// Id of the last event; before the first, one less than its id.
    last: u64,
    /// Gone once closed.
    latest: Option<watch::Sender<u64>>,
}

impl EventLog {
    /// An empty ring, open to readers, whose ids begin after the microseconds of `start`. A term
    /// would have to tell a million events a second to reach the ids of a later one.
    pub(crate) fn new(start: Timestamp) -> Arc<Self> {
        let last = first_id(start);
        Arc::new(Self {
            ring: Mutex::new(Ring {
                events: VecDeque::with_capacity(EVENTS_KEPT),
                last,
                latest: Some(watch::Sender::new(last)),
            }),
        })
    }

    /// Begins anew at `start`: readers of before are told that they missed something.
    pub(crate) fn open(&self, start: Timestamp) {
        let mut ring = self.lock();
        ring.events.clear();
        ring.last = ring.last.max(first_id(start));
        ring.latest = Some(watch::Sender::new(ring.last));
    }

    /// Tells `notices`, in their order.
    pub(crate) fn tell(&self, at: Timestamp, notices: impl IntoIterator<Item = Notice>) {
        let mut ring = self.lock();
        let before = ring.last;
        for notice in notices {
            ring.last += 1;
            let event = Event {
                id: ring.last,
                at,
                kind: notice.into(),
            };
            if ring.events.len() == EVENTS_KEPT {
                ring.events.pop_front();
            }
            ring.events.push_back(Arc::new(event));
        }
        let last = ring.last;
        if last != before
            && let Some(latest) = &ring.latest
        {
            latest.send_replace(last);
        }
    }

    /// Ends every stream, now and until it is opened again, once it has been read to the end.
    pub(crate) fn close(&self) {
        self.lock().latest = None;
    }

    pub(crate) fn subscribe(self: &Arc<Self>, after: Option<u64>) -> EventStream {
        let ring = self.lock();
        let latest = match &ring.latest {
            Some(latest) => latest.subscribe(),
            None => watch::channel(ring.last).1,
        };
        let mut fetched = VecDeque::new();
        let seen = match after {
            // An id from the future belongs to another Gantry, or to none.
            Some(after) if after > ring.last => {
                fetched.push_back(Delivery::Lagged);
                ring.last
            }
            Some(after) => after,
            None => ring.last,
        };
        EventStream {
            log: Arc::clone(self),
            latest,
            seen,
            fetched,
        }
    }

    fn fetch(&self, seen: &mut u64, into: &mut VecDeque<Delivery>) {
        let ring = self.lock();
        let forgotten = ring.last - ring.events.len() as u64;
        if *seen < forgotten {
            into.push_back(Delivery::Lagged);
            *seen = forgotten;
        }
        let skip = (*seen - forgotten) as usize;
        let events = ring.events.iter().skip(skip).take(FETCH_MAX);
        into.extend(events.cloned().map(Delivery::Event));
        *seen = (*seen + FETCH_MAX as u64).min(ring.last);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn first_id(start: Timestamp) -> u64 {
    start.as_millis().saturating_mul(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn audit(sequence: u64) -> Notice {
        Notice::Audit { sequence }
    }

    async fn sequence(stream: &mut EventStream) -> Option<u64> {
        match stream.next().await? {
            Delivery::Event(event) => match event.kind {
                EventKind::Audit { sequence } => Some(sequence),
                _ => None,
            },
            Delivery::Lagged => None,
        }
    }

    #[tokio::test]
    async fn replays_what_it_remembers_and_says_what_it_does_not() {
        let log = EventLog::new(Timestamp::from_millis(5));
        let mut live = log.subscribe(None);
        log.tell(Timestamp::ZERO, [audit(1), audit(2)]);
        assert_eq!(sequence(&mut live).await, Some(1));

        // From the first event on, from the middle, and by an id of an earlier run.
        let mut replay = log.subscribe(Some(5_001));
        assert_eq!(sequence(&mut replay).await, Some(2));
        let mut earlier = log.subscribe(Some(4_000));
        assert!(matches!(earlier.next().await, Some(Delivery::Lagged)));
        assert_eq!(sequence(&mut earlier).await, Some(1));
        let mut future = log.subscribe(Some(u64::MAX));
        assert!(matches!(future.next().await, Some(Delivery::Lagged)));

        // A reader that falls behind by more than the ring is told so, and goes on at its start.
        log.tell(Timestamp::ZERO, (3..3 + EVENTS_KEPT as u64 + 10).map(audit));
        assert_eq!(sequence(&mut live).await, Some(2));
        assert!(matches!(live.next().await, Some(Delivery::Lagged)));
        assert_eq!(sequence(&mut live).await, Some(13));

        // Closing lets everything be read first.
        log.close();
        let mut count = 1;
        while sequence(&mut live).await.is_some() {
            count += 1;
        }
        assert_eq!(count, EVENTS_KEPT);
        assert!(future.next().await.is_some());
        assert!(log.subscribe(None).next().await.is_none());

        // Another term: nothing of the last one is left, and its readers are told so.
        log.open(Timestamp::from_millis(50));
        log.tell(Timestamp::ZERO, [audit(1)]);
        let mut returned = log.subscribe(Some(5_001));
        assert!(matches!(returned.next().await, Some(Delivery::Lagged)));
        assert_eq!(sequence(&mut returned).await, Some(1));
    }

    #[test]
    fn event_as_json() {
        let event = Event {
            id: 7,
            at: Timestamp::from_millis(9),
            kind: EventKind::from(Notice::Scaled {
                workload: gantry_core::WorkloadName::new("web"),
                from: 1,
                to: 3,
            }),
        };
        assert_eq!(
            serde_json::to_value(&event).unwrap(),
            serde_json::json!({"id": 7, "at": 9, "type": "scaled", "workload": "web", "from": 1, "to": 3})
        );
        assert_eq!(event.kind.name(), "scaled");
    }
}

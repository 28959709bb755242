//! The one lock around the state, and what follows from each turn under it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{Notify, mpsc};

use crate::options::ClusterOptions;
use crate::state::{Action, State};

/// State, clock and the way to the processes.
#[derive(Debug)]
pub(crate) struct Hub {
    guarded: Mutex<Guarded>,
    started: Instant,
    wake: Notify,
}

#[derive(Debug)]
struct Guarded {
    state: State,
    actions: mpsc::UnboundedSender<Action>,
    /// When the ticker wakes up next.
    alarm: Option<Duration>,
}

impl Hub {
    pub(crate) fn new(
        options: Arc<ClusterOptions>,
        address: SocketAddr,
        actions: mpsc::UnboundedSender<Action>,
    ) -> Arc<Self> {
        let unix = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let state = State::new(options, address, unix.as_secs_f64());
        Arc::new(Self {
            guarded: Mutex::new(Guarded {
                state,
                actions,
                alarm: None,
            }),
            started: Instant::now(),
            wake: Notify::new(),
        })
    }

    /// One turn: brings the clock up to date, runs `f`, and passes on what it asks for, in order.
    pub(crate) fn turn<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        let mut guarded = self.guarded.lock().unwrap_or_else(PoisonError::into_inner);
        let guarded = &mut *guarded;
        guarded.state.at(self.started.elapsed());
        let result = f(&mut guarded.state);
        for action in guarded.state.take_actions() {
            // Fails only while the cluster shuts down, when nothing is to be started.
            let _ = guarded.actions.send(action);
        }
        let next = guarded.state.next_wake();
        if let Some(next) = next
            && guarded.alarm.is_none_or(|alarm| next < alarm)
        {
            guarded.alarm = Some(next);
            self.wake.notify_one();
        }
        result
    }

    /// Runs the timers; ends only when it is dropped.
    pub(crate) async fn tick(&self) {
        loop {
            self.turn(|_| ());
            let next = {
                let mut guarded = self.guarded.lock().unwrap_or_else(PoisonError::into_inner);
                let next = guarded.state.next_wake();
                guarded.alarm = next;
                next
            };
            let sleep = next.map_or(Duration::from_secs(60), |at| {
                at.saturating_sub(self.started.elapsed())
            });
            tokio::select! {
                () = tokio::time::sleep(sleep) => {}
                () = self.wake.notified() => {}
            }
        }
    }
}

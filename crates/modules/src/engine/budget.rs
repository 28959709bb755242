//! The processor time of one call.

use std::{cell::Cell, sync::Arc, time::Duration};

use rustix::time::{ClockId, clock_gettime};

use crate::module::Shared;

/// The processor time of one call, watched by the interrupt handler.
pub(crate) struct Budget {
    shared: Arc<Shared>,
    began: Cell<Duration>,
    ends: Cell<Duration>,
    exceeded: Cell<bool>,
}

impl Budget {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            began: Cell::new(Duration::ZERO),
            ends: Cell::new(Duration::MAX),
            exceeded: Cell::new(false),
        }
    }

    pub(crate) fn begin(&self, limit: Duration) {
        let now = spent();
        self.began.set(now);
        self.ends.set(now + limit);
        self.exceeded.set(false);
        self.shared.enters();
    }

    /// What was spent.
    pub(crate) fn end(&self) -> Duration {
        self.shared.leaves();
        self.ends.set(Duration::MAX);
        spent().saturating_sub(self.began.get())
    }

    /// Asked by the runtime every now and then: yes ends the call, and nothing in JavaScript can
    /// catch that.
    pub(crate) fn interrupts(&self) -> bool {
        self.is_over() || self.shared.inbox.is_closed()
    }

    /// Whether the call has to end. Once exceeded, it stays so until the next begins.
    pub(crate) fn is_over(&self) -> bool {
        if !self.exceeded.get() && spent() > self.ends.get() {
            self.exceeded.set(true);
        }
        self.exceeded.get()
    }

    pub(crate) fn was_exceeded(&self) -> bool {
        self.exceeded.get()
    }
}

/// Processor time of this thread.
fn spent() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        time.tv_sec.try_into().unwrap_or_default(),
        time.tv_nsec.try_into().unwrap_or_default(),
    )
}

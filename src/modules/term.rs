//! The time in which this process leads, as modules live it.

use std::{sync::Arc, time::Duration};

use gantry_core::Workloads;
use gantry_modules::{Hook, Host, State};
use tokio::time::timeout;

use super::{Modules, said::Said, shape, world::Around};
use crate::runtime::{Delivery, EventStream, Handle, Questions, Role};

/// Between two looks whether this process leads.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Launches wait for modules to be loaded, but not for longer.
const LOADED_WITHIN: Duration = Duration::from_secs(5);

impl Modules {
    /// Runs the modules whenever this process leads. Ends when it is aborted; at once when there
    /// are none.
    pub(crate) async fn run(self, handle: Handle) {
        if self.is_empty() {
            return;
        }
        loop {
            self.expect(&handle);
            let questions = handle.questions();
            let term = self.leads(&handle).await;
            // From here on nothing that happens is missed, however long loading takes.
            let events = handle.events(None);
            let around = Around::new(handle.clone(), Arc::clone(&self.0.framework_in_ids));
            let around = Arc::new(around);
            tokio::select! {
                () = self.act(&handle, &around, events, questions) => {}
                () = ended(&handle, term) => {}
            }
            // Dropped, they end: nothing of them is left for the next term.
            self.0.host.store(None);
            self.0.said.store(Arc::new(Said::default()));
            handle.need_readiness(Workloads::None);
        }
    }

    /// Where there are modules, nothing is launched before they are loaded.
    pub(crate) fn expect(&self, handle: &Handle) {
        handle.need_admission(!self.is_empty());
    }

    /// Waits until this process leads; the number of its term.
    async fn leads(&self, handle: &Handle) -> u64 {
        loop {
            let standing = handle.standing();
            if standing.role == Role::Leader {
                return standing.terms;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn act(
        &self,
        handle: &Handle,
        around: &Arc<Around>,
        events: EventStream,
        questions: Questions,
    ) {
        let modules = self.start(handle, around);
        let host = Arc::new(Host::new(
            modules,
            Arc::clone(around) as Arc<dyn gantry_modules::World>,
        ));
        if timeout(LOADED_WITHIN, host.loaded()).await.is_err() {
            tracing::warn!("modules are still being loaded: launches no longer wait for them");
            handle.need_admission(false);
            host.loaded().await;
        }
        for status in host.statuses() {
            if status.state == State::Running {
                tracing::info!(module = status.name, "loaded");
            }
        }
        self.0.host.store(Some(Arc::clone(&host)));
        tokio::join!(
            tell(&host, events),
            self.annotate(handle, &host),
            self.answer(handle, &host, questions),
        );
    }
}

/// Waits until this term has ended.
async fn ended(handle: &Handle, term: u64) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let standing = handle.standing();
        if standing.role != Role::Leader || standing.terms != term {
            return;
        }
    }
}

/// Tells the modules of every change of a task. Reading the events costs little, and nothing when
/// no module wants them.
async fn tell(host: &Host, mut events: EventStream) {
    if !host.has(Hook::OnStatus) {
        return;
    }
    while let Some(delivery) = events.next().await {
        match delivery {
            Delivery::Event(event) => {
                if let Some(json) = shape::event(&event) {
                    host.tell(&json);
                }
            }
            Delivery::Lagged => tracing::warn!("modules have missed some changes of tasks"),
        }
    }
}

//! The time in which this process leads, as modules live it.

use std::{sync::Arc, time::Duration};

use gantry_modules::{Hook, Host, State};

use super::{Modules, said::Said, shape, world::Around};
use crate::runtime::{Delivery, EventStream, Handle, Role};

/// Between two looks whether this process leads.
const LOOK_EVERY: Duration = Duration::from_millis(50);

impl Modules {
    /// Runs the modules whenever this process leads. Ends when it is aborted; at once when there
    /// are none.
    pub(crate) async fn run(self, handle: Handle) {
        if self.is_empty() {
            return;
        }
        loop {
            let term = self.leads(&handle).await;
            // From here on nothing that happens is missed, however long loading takes.
            let events = handle.events(None);
            let around = Around::new(handle.clone(), Arc::clone(&self.0.framework_in_ids));
            let around = Arc::new(around);
            tokio::select! {
                () = self.act(&handle, &around, events) => {}
                () = ended(&handle, term) => {}
            }
            // Dropped, they end: nothing of them is left for the next term.
            self.0.host.store(None);
            self.0.said.store(Arc::new(Said::default()));
        }
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

    async fn act(&self, handle: &Handle, around: &Arc<Around>, events: EventStream) {
        let modules = self.start(handle, around);
        let host = Arc::new(Host::new(
            modules,
            Arc::clone(around) as Arc<dyn gantry_modules::World>,
        ));
        host.loaded().await;
        for status in host.statuses() {
            if status.state == State::Running {
                tracing::info!(module = status.name, "loaded");
            }
        }
        self.0.host.store(Some(Arc::clone(&host)));
        tokio::join!(
            tell(&host, events),
            self.annotate(handle, &host),
            self.answer(handle, &host),
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

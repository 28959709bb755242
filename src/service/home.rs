//! Where the records are, and with them the right to act.

use std::{future::ready, sync::Arc};

use futures_util::{FutureExt as _, future::BoxFuture};
use gantry_core::View;
use gantry_store::{Loaded, Store, StoreError, ZooKeeper, ZooKeeperStatus};
use tokio::{sync::watch, task::JoinHandle};

use crate::{
    config::{self, Config},
    runtime::{self, Handle, Home, HomeKind, HomeStatus, Reach},
    store,
};

// === One process ===

/// A place that nobody else can write.
pub(super) struct Alone(Arc<dyn Store>);

impl Alone {
    pub(super) fn new(
        kind: HomeKind,
        store: Arc<dyn Store>,
        config: &Config,
        view: View,
    ) -> (Self, Handle) {
        let me = store::member(config);
        let status = HomeStatus {
            kind,
            reach: Reach::Always,
            leader: Some(me.clone()),
        };
        (Self(store), Handle::new(me, view, move || status.clone()))
    }
}

impl Home for Alone {
    fn campaign(&self) -> impl Future<Output = Result<Arc<dyn Store>, StoreError>> + Send {
        ready(Ok(Arc::clone(&self.0)))
    }

    async fn read(&self) -> Result<Loaded, StoreError> {
        self.0.load().await
    }
}

// === One of several ===

/// A place on ZooKeeper.
pub(super) struct Ensemble {
    zookeeper: Arc<ZooKeeper>,
    following: JoinHandle<()>,
}

impl Ensemble {
    /// Begins to connect.
    pub(super) fn open(place: &config::ZooKeeper, config: &Config, view: View) -> (Self, Handle) {
        let me = store::member(config);
        let zookeeper = Arc::new(store::zookeeper(place, me.clone()));
        let read = reader(&zookeeper);
        let (told, known) = watch::channel(HomeStatus {
            kind: HomeKind::ZooKeeper,
            reach: Reach::Never {
                reason: "the connection is being made".to_owned(),
            },
            leader: None,
        });
        let following = tokio::spawn(follow(zookeeper.status(), told));
        let home = Self {
            zookeeper,
            following,
        };
        let handle = Handle::new(me, view, move || known.borrow().clone()).with_reader(read);
        (home, handle)
    }
}

/// Reads what is stored as long as `zookeeper` lives, which is as long as this process may lead.
fn reader(
    zookeeper: &Arc<ZooKeeper>,
) -> impl Fn() -> BoxFuture<'static, Result<Loaded, StoreError>> + Send + Sync + use<> {
    let zookeeper = Arc::downgrade(zookeeper);
    move || {
        let zookeeper = zookeeper.upgrade();
        let read = async move {
            match zookeeper {
                Some(zookeeper) => zookeeper.read().await,
                None => Err(StoreError::Unavailable {
                    reason: "Gantry is stopping".to_owned(),
                }),
            }
        };
        read.boxed()
    }
}

impl Home for Ensemble {
    async fn campaign(&self) -> Result<Arc<dyn Store>, StoreError> {
        self.zookeeper.campaign().await
    }

    async fn read(&self) -> Result<Loaded, StoreError> {
        self.zookeeper.read().await
    }
}

impl Drop for Ensemble {
    fn drop(&mut self) {
        self.following.abort();
    }
}

/// Keeps what is known of the ensemble, and for how long it has been so.
async fn follow(mut status: watch::Receiver<ZooKeeperStatus>, known: watch::Sender<HomeStatus>) {
    loop {
        let ZooKeeperStatus { connected, leader } = status.borrow_and_update().clone();
        known.send_modify(|known| {
            known.reach = match (connected, &known.reach) {
                (Ok(since), _) => Reach::Connected { since },
                (Err(reason), Reach::Never { .. }) => Reach::Never { reason },
                (Err(reason), Reach::Lost { since, .. }) => Reach::Lost {
                    since: *since,
                    reason,
                },
                (Err(reason), Reach::Connected { .. } | Reach::Always) => Reach::Lost {
                    since: runtime::wall(),
                    reason,
                },
            };
            known.leader = leader;
        });
        if status.changed().await.is_err() {
            return;
        }
    }
}

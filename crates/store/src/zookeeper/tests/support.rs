//! A place on an ensemble, and ways to look at it behind the store's back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use gantry_core::Record;
use secrecy::SecretString;
use zookeeper_client::{Acls, Client, CreateMode, Error};

use crate::{
    Member, Store, StoreError, ZooKeeper, ZooKeeperConfig,
    conformance::Home,
    zookeeper::layout::{Layout, SINGLE},
};

pub(super) use gantry_testbed::{Ensemble, Link, Proxy, soon};

/// Short enough that tests need not wait for long, and allowed by the test bed's servers.
pub(super) const SHORT_SESSION: Duration = Duration::from_secs(4);

/// Long enough that no pause of a busy machine ends a term, or makes an answer late. Who waits for the end
/// of a session takes a shorter one.
const SESSION: Duration = Duration::from_secs(30);

static NUMBER: AtomicU32 = AtomicU32::new(1);

/// A framework's place on an ensemble.
pub(super) struct Place {
    pub(super) config: ZooKeeperConfig,
}

impl Place {
    /// A new one.
    pub(super) fn new(hosts: Vec<String>) -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self {
            config: ZooKeeperConfig {
                hosts,
                chroot: None,
                root: format!("/dcos-service-test-{number}"),
                auth: None,
                tls: None,
                session_timeout: SESSION,
                member: member(),
            },
        }
    }

    pub(super) fn with_auth(mut self, auth: &str) -> Self {
        self.config.auth = Some(SecretString::from(auth));
        self
    }

    /// Another process of the framework.
    pub(super) fn process(&self) -> ZooKeeper {
        self.process_through(self.config.hosts.clone())
    }

    /// Another process, that reaches the ensemble through something else.
    pub(super) fn process_through(&self, hosts: Vec<String>) -> ZooKeeper {
        ZooKeeper::connect(ZooKeeperConfig {
            hosts,
            member: member(),
            ..self.config.clone()
        })
    }

    pub(super) fn layout(&self) -> Layout {
        let chroot = self.config.chroot.as_deref().unwrap_or_default();
        Layout::new(chroot, &self.config.root, false)
    }

    /// A plain client.
    pub(super) async fn client(&self) -> Client {
        Client::connect(&self.config.hosts.join(","))
            .await
            .expect("a session")
    }
}

#[async_trait]
impl Home for Place {
    async fn open(&self) -> Result<Arc<dyn Store>, StoreError> {
        soon("an election", self.process().campaign()).await
    }

    async fn put_raw(&self, path: &str, bytes: &[u8]) {
        let node = if path.contains('/') || SINGLE.contains(&path) {
            self.layout().node(path)
        } else {
            self.layout().own(path)
        };
        put(&self.client().await, &node, bytes).await;
    }
}

fn member() -> Member {
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    Member {
        id: format!("00000000-0000-4000-8000-{number:012}"),
        host: format!("host-{number}"),
        url: Some(format!("http://host-{number}:8080")),
    }
}

/// Makes a node hold something, and those above it be there.
pub(super) async fn put(client: &Client, node: &str, bytes: &[u8]) {
    let options = CreateMode::Persistent.with_acls(Acls::anyone_all());
    if let Err(error) = client.set_data(node, bytes, None).await {
        assert_eq!(error, Error::NoNode, "{node}");
        client.mkdir(node, &options).await.expect("a node");
        client.set_data(node, bytes, None).await.expect("its data");
    }
}

/// The records of a store, in the order of their debug texts.
pub(super) async fn records(store: &dyn Store) -> Vec<Record> {
    let loaded = store.load().await.expect("a load");
    assert_eq!(loaded.rejected, []);
    sorted(loaded.records)
}

pub(super) fn sorted(mut records: Vec<Record>) -> Vec<Record> {
    records.sort_by_cached_key(|record| crate::codec::path(&record.key()));
    records
}

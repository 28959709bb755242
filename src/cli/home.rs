//! The store at rest, for the commands that look after it.

use std::{
    fs,
    path::PathBuf,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, bail};
use gantry_store::{Embedded, Loaded, Store, StoreError, ZooKeeper};
use tokio::time::timeout;

use crate::{
    config::{self, Config},
    store,
};

/// Beyond the time after which a dead leader is forgotten, how long to wait for the lead.
const LEAD_WITHIN: Duration = Duration::from_secs(5);

/// What has not happened by then is told.
const LONG: Duration = Duration::from_secs(1);

/// Where the records of a framework are.
pub(super) enum Home {
    /// Nowhere.
    Memory,
    /// In this file.
    Embedded(PathBuf),
    /// On an ensemble.
    ZooKeeper {
        zookeeper: ZooKeeper,
        session_timeout: Duration,
        /// Its address, for people.
        place: String,
    },
}

impl Home {
    /// As it is configured, for a subcommand. Must be called within a tokio runtime.
    pub(super) fn of(config: &Config, command: &str) -> Self {
        match &config.store {
            config::Store::Memory => Self::Memory,
            config::Store::Embedded(path) => Self::Embedded(path.clone()),
            config::Store::ZooKeeper(place) => Self::ZooKeeper {
                zookeeper: store::zookeeper(place, store::caretaker(config, command)),
                session_timeout: place.session_timeout,
                place: format!("ZooKeeper at {}", config.store),
            },
        }
    }

    /// All that is stored, read without any right to write; `None` when nothing is.
    pub(super) async fn read(&self) -> anyhow::Result<Option<Loaded>> {
        let loaded = match self {
            Self::Memory => return Ok(None),
            Self::Embedded(path) => {
                // Opening it would make it.
                if !path.try_exists()? {
                    return Ok(None);
                }
                match Embedded::open(path).await {
                    Ok(store) => store.load().await?,
                    Err(StoreError::Locked { path }) => bail!(
                        "a Gantry has the store {} open: ask it with --url, or stop it",
                        path.display()
                    ),
                    Err(error) => return Err(error.into()),
                }
            }
            Self::ZooKeeper {
                zookeeper, place, ..
            } => match zookeeper.read().await {
                Ok(loaded) => loaded,
                // What it says of writes does not belong here.
                Err(StoreError::Unavailable { reason }) => {
                    bail!("{place} cannot be read: {reason}; nothing was changed")
                }
                Err(error) => return Err(error.into()),
            },
        };
        let is_empty = loaded.records.is_empty() && loaded.rejected.is_empty();
        Ok((!is_empty).then_some(loaded))
    }

    /// That nobody waits to lead after us.
    pub(super) async fn require_alone(&self) -> anyhow::Result<()> {
        if let Self::ZooKeeper { zookeeper, .. } = self {
            zookeeper.require_alone().await?;
        }
        Ok(())
    }

    /// The right to write, which no Gantry has then.
    pub(super) async fn lead(&self) -> anyhow::Result<Arc<dyn Store>> {
        match self {
            Self::Memory => bail!("STORE=memory keeps nothing: there is no store"),
            Self::Embedded(path) => match Embedded::open(path).await {
                Ok(store) => Ok(Arc::new(store)),
                Err(StoreError::Locked { path }) => bail!(
                    "a Gantry has the store {} open: stop it first",
                    path.display()
                ),
                Err(error) => Err(error.into()),
            },
            Self::ZooKeeper {
                zookeeper,
                session_timeout,
                place,
            } => {
                // A leader that has died is forgotten within the session's time-out.
                let within = *session_timeout + LEAD_WITHIN;
                let campaign = pin!(zookeeper.campaign());
                let campaign = told_of(campaign, || {
                    let leader = zookeeper.status().borrow().leader.clone();
                    let leader = leader.map(|leader| format!("{} leads; ", leader.host));
                    let leader = leader.unwrap_or_default();
                    eprintln!("gantry: {place}: {leader}waiting for the lead, at most {within:?}");
                });
                if let Ok(leading) = timeout(within, campaign).await {
                    return Ok(leading?);
                }
                let status = zookeeper.status().borrow().clone();
                match (status.connected, status.leader) {
                    (Err(reason), _) => bail!("{place} cannot be reached: {reason}"),
                    (Ok(_), Some(leader)) => {
                        let url = leader
                            .url
                            .map(|url| format!(" ({url})"))
                            .unwrap_or_default();
                        bail!("{}{url} leads: stop every Gantry first", leader.host)
                    }
                    (Ok(_), None) => bail!("{place} did not give the lead within {within:?}"),
                }
            }
        }
    }

    /// Removes all that is stored, with the right to write.
    pub(super) async fn remove(self, leading: Arc<dyn Store>) -> anyhow::Result<()> {
        match self {
            Self::Memory => {}
            Self::Embedded(path) => {
                // While it is open nobody else can begin to write it.
                fs::remove_file(&path)
                    .with_context(|| format!("{} cannot be removed", path.display()))?;
                drop(leading);
            }
            Self::ZooKeeper { zookeeper, .. } => {
                zookeeper.remove_everything().await?;
                drop(leading);
            }
        }
        Ok(())
    }
}

/// Tells once of what takes long.
async fn told_of<T>(mut done: Pin<&mut impl Future<Output = T>>, tell: impl FnOnce()) -> T {
    if let Ok(done) = timeout(LONG, done.as_mut()).await {
        return done;
    }
    tell();
    done.await
}

impl std::fmt::Display for Home {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Memory => f.write_str("memory"),
            Self::Embedded(path) => write!(f, "{}", path.display()),
            Self::ZooKeeper { place, .. } => f.write_str(place),
        }
    }
}

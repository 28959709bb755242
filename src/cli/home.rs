//! The store at rest, for the commands that look after it.

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use gantry_store::{Embedded, Loaded, Store, StoreError, ZooKeeper};
use tokio::time::timeout;

use crate::{
    config::{self, Config},
    store,
};

/// Beyond the time after which a dead leader is forgotten, how long to wait for the lead.
const LEAD_WITHIN: Duration = Duration::from_secs(5);

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
    /// As it is configured. Must be called within a tokio runtime.
    pub(super) fn of(config: &Config) -> Self {
        match &config.store {
            config::Store::Memory => Self::Memory,
            config::Store::Embedded(path) => Self::Embedded(path.clone()),
            config::Store::ZooKeeper(place) => Self::ZooKeeper {
                zookeeper: store::zookeeper(place, store::member(config)),
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
            Self::ZooKeeper { zookeeper, .. } => zookeeper.read().await?,
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
                if let Ok(leading) = timeout(within, zookeeper.campaign()).await {
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
                        bail!(
                            "the Gantry on {}{url} leads: stop every one first",
                            leader.host
                        )
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

impl std::fmt::Display for Home {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Memory => f.write_str("memory"),
            Self::Embedded(path) => write!(f, "{}", path.display()),
            Self::ZooKeeper { place, .. } => f.write_str(place),
        }
    }
}

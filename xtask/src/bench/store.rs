//! Where a measured Gantry keeps its records.

use std::{path::PathBuf, process::Command};

use anyhow::Result;
use gantry_testbed::{Ensemble, Setup};

/// A place for records and for what the Gantry writes besides, removed with the value.
pub(crate) struct Place {
    folder: PathBuf,
    // None: the store is a file in the folder.
    zookeeper: Option<Ensemble>,
}

impl Place {
    pub(crate) fn embedded() -> Result<Self> {
        Self::new("embedded", None)
    }

    /// One real server; `None` where none is installed.
    pub(crate) fn zookeeper() -> Result<Option<Self>> {
        let ensemble = Ensemble::start_with(&Setup {
            sync: true,
            ..Setup::default()
        });
        ensemble
            .map(|ensemble| Self::new("zookeeper", Some(ensemble)))
            .transpose()
    }

    fn new(name: &str, zookeeper: Option<Ensemble>) -> Result<Self> {
        let name = format!("gantry-bench-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder)?;
        Ok(Self { folder, zookeeper })
    }

    pub(crate) fn name(&self) -> &'static str {
        match self.zookeeper {
            None => "embedded store",
            Some(_) => "ZooKeeper",
        }
    }

    /// Tells a Gantry of it.
    pub(crate) fn apply(&self, command: &mut Command) {
        command.env("MESOS_SANDBOX", &self.folder);
        match &self.zookeeper {
            None => {
                let file = self.folder.join("store");
                command.env("STORE", format!("embedded:{}", file.display()));
            }
            Some(ensemble) => {
                command
                    .env("STORE", "zookeeper")
                    .env("ZK_URL", ensemble.connect_string());
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // What is left behind is a folder among the temporary ones.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

//! Where a measured Gantry keeps its records.

use std::{path::PathBuf, process::Command};

use anyhow::Result;
use gantry_testbed::{Ensemble, Setup};

/// A place for records, removed with the value.
pub(crate) enum Place {
    Embedded(PathBuf),
    ZooKeeper(Box<Ensemble>),
}

impl Place {
    pub(crate) fn embedded() -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("gantry-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        Ok(Self::Embedded(folder))
    }

    /// One real server; `None` where none is installed.
    pub(crate) fn zookeeper() -> Result<Option<Self>> {
        let ensemble = Ensemble::start_with(&Setup {
            sync: true,
            ..Setup::default()
        });
        if let Some(ensemble) = &ensemble {
            ensemble.wait_until_serving();
        }
        Ok(ensemble.map(|ensemble| Self::ZooKeeper(Box::new(ensemble))))
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Embedded(_) => "embedded store",
            Self::ZooKeeper(_) => "ZooKeeper",
        }
    }

    /// Tells a Gantry of it.
    pub(crate) fn apply(&self, command: &mut Command) {
        match self {
            Self::Embedded(folder) => {
                let file = folder.join("store");
                command
                    .env("MESOS_SANDBOX", folder)
                    .env("STORE", format!("embedded:{}", file.display()));
            }
            Self::ZooKeeper(ensemble) => {
                command
                    .env("STORE", "zookeeper")
                    .env("ZK_URL", ensemble.connect_string());
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Self::Embedded(folder) = self {
            // What is left behind is a file in the folder for temporary ones.
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

//! ZooKeeper servers, a cluster and Gantrys, with a proxy on every way between them.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use gantry_testbed::{Ensemble, Link, PATIENCE, Proxy, free_port};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::timeout;

use super::{terms::Life, watch::Watch};
use crate::support::{Api, Local, Program, until};

pub(super) type Variables = BTreeMap<&'static str, String>;

/// For one answer, when a test has failed and wants to know why.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Of one such answer.
const ANSWER_BYTES: usize = 60_000;

/// The framework's name, which is the first part of its task ids.
pub(super) const FRAMEWORK: &str = "ha";

/// A framework on ZooKeeper, with several Gantrys.
pub(super) struct Site {
    pub(super) gantries: Vec<Gantry>,
    pub(super) watch: Arc<Watch>,
    pub(super) local: Local,
    pub(super) ensemble: Ensemble,
    directory: TempDir,
}

/// One of them, through all the lives of its process.
pub(super) struct Gantry {
    pub(super) api: Api,
    pub(super) variables: Variables,
    /// To each of the ZooKeeper servers, in their order.
    pub(super) to_zookeeper: Vec<Proxy>,
    pub(super) to_mesos: Proxy,
    pub(super) program: Option<Program>,
    /// What it was called, and where it wrote, in each life.
    pub(super) lives: Vec<Life>,
    directory: PathBuf,
    port: u16,
}

impl Site {
    /// So many servers and Gantrys; the latter declare `declared`, and do not run yet. `None` where no
    /// ZooKeeper is installed.
    pub(super) async fn start(
        servers: usize,
        gantries: usize,
        declared: &[(&'static str, &str)],
    ) -> Option<Self> {
        let ensemble = Ensemble::start(servers)?;
        let directory = tempfile::tempdir().unwrap();
        let local = Local::start(directory.path(), &["--agents", "3"]).await;
        let mut all = Vec::new();
        for number in 0..gantries {
            let place = directory.path().join(format!("gantry-{number}"));
            all.push(Gantry::new(place, &ensemble, &local, declared).await);
        }
        let apis = all.iter().map(|gantry| gantry.api.clone()).collect();
        Some(Self {
            watch: Arc::new(Watch::start(&local.master, apis).await),
            gantries: all,
            local,
            ensemble,
            directory,
        })
    }

    pub(super) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// As [`until`], and nothing forbidden happens meanwhile.
    pub(super) async fn until<T>(&self, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
        until(what, async || {
            self.watch.check();
            look().await
        })
        .await
    }

    /// Which of the Gantrys leads, once one does.
    pub(super) async fn leader(&self) -> usize {
        self.until("a leader", async || {
            // What was seen may just have changed.
            let index = self.watch.leader()?;
            let answer = self.gantries[index].about_leader().await?;
            (answer["role"] == "leader").then_some(index)
        })
        .await
    }

    /// Which does not.
    pub(super) async fn stand_by(&self) -> usize {
        let leader = self.leader().await;
        (0..self.gantries.len())
            .find(|index| *index != leader)
            .expect("more than one Gantry")
    }

    /// Starts every Gantry and waits until these instances run, alone.
    pub(super) async fn runs(&mut self, instances: &[(&str, u32)]) -> BTreeMap<String, String> {
        for gantry in &mut self.gantries {
            if gantry.program.is_none() {
                gantry.start();
            }
        }
        for (workload, count) in instances {
            self.watch.may_run(workload, *count);
        }
        self.until(&format!("{instances:?} to run"), async || {
            self.watch.running_exactly(instances)
        })
        .await
    }

    /// Everything any of them said in any life, for checking who acted in which term.
    pub(super) fn lives(&self) -> impl Iterator<Item = &Life> {
        self.gantries.iter().flat_map(|gantry| &gantry.lives)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.directory.disable_cleanup(true);
            eprintln!("what was written is kept in {}", self.directory().display());
            eprintln!("{}", self.watch.story());
            let hosts = self.ensemble.hosts();
            let bases = self.gantries.iter().map(|gantry| gantry.api.base.clone());
            let bases = bases.collect();
            let master = format!("http://{}", self.local.master);
            let told = std::thread::spawn(move || {
                let runtime = tokio::runtime::Runtime::new().unwrap();
                runtime.block_on(async {
                    let answers = answers(bases, &master).await;
                    format!("{answers}\n{}", differences(hosts).await)
                })
            });
            eprintln!("{}", told.join().unwrap_or_default());
        }
    }
}

impl Gantry {
    async fn new(
        directory: PathBuf,
        ensemble: &Ensemble,
        local: &Local,
        declared: &[(&'static str, &str)],
    ) -> Self {
        std::fs::create_dir(&directory).unwrap();
        let mut to_zookeeper = Vec::new();
        for host in ensemble.hosts() {
            to_zookeeper.push(Proxy::start(host).await);
        }
        let to_mesos = Proxy::start(local.master.clone()).await;
        let port = free_port();
        let servers: Vec<_> = to_zookeeper.iter().map(Proxy::address).collect();
        let mut variables = Variables::from([
            ("FRAMEWORK_NAME", FRAMEWORK.to_owned()),
            ("HOST", "127.0.0.1".to_owned()),
            ("PORT0", port.to_string()),
            ("MESOS_SANDBOX", directory.to_string_lossy().into_owned()),
            ("MESOS_MASTER", to_mesos.address()),
            ("ZK_URL", servers.join(",")),
            ("ZK_SESSION_TIMEOUT", "4s".to_owned()),
            ("SHUTDOWN_TIMEOUT", "60s".to_owned()),
            ("LOG_FORMAT", "json".to_owned()),
        ]);
        let declared = declared
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()));
        variables.extend(declared);
        Self {
            api: Api::at(&format!("127.0.0.1:{port}")),
            variables,
            to_zookeeper,
            to_mesos,
            program: None,
            lives: Vec::new(),
            directory,
            port,
        }
    }

    /// Starts the next life; does not wait for anything.
    pub(super) fn start(&mut self) {
        assert!(self.program.is_none(), "it lives");
        let name = format!("life-{}", self.lives.len() + 1);
        // By this the cluster tells lives apart.
        let called = format!("http://127.0.0.1:{}/{name}", self.port);
        self.variables.insert("FRAMEWORK_WEBUI_URL", called.clone());
        let program = Program::start(&self.directory, &name, &["serve"], &self.variables);
        self.program = Some(program);
        self.lives.push(Life {
            called,
            output: self.directory.join(format!("{name}.out")),
        });
    }

    pub(super) fn kill_9(&mut self) {
        if let Some(program) = self.program.take() {
            program.kill_9();
        }
    }

    /// SIGTERM, and a good end.
    pub(super) async fn stop(&mut self) {
        let mut program = self.program.take().expect("it lives");
        program.signal("TERM");
        let status = program.ended().await;
        assert!(status.success(), "{status}: {}", program.output());
    }

    pub(super) fn signal(&self, name: &str) {
        self.program.as_ref().expect("it lives").signal(name);
    }

    /// Declares something else in its next life; an empty text removes a variable.
    pub(super) fn declare(&mut self, changes: &[(&'static str, &str)]) {
        for (name, value) in changes {
            if value.is_empty() {
                self.variables.remove(name);
            } else {
                self.variables.insert(name, (*value).to_owned());
            }
        }
    }

    /// What becomes of its connections to ZooKeeper.
    pub(super) fn link_to_zookeeper(&self, link: Link) {
        for proxy in &self.to_zookeeper {
            proxy.set(link);
        }
    }

    /// What it says of who leads.
    pub(super) async fn about_leader(&self) -> Option<Value> {
        let (status, text) = self.api.get("/api/v2/leader").await?;
        (status == 200).then(|| serde_json::from_str(&text).unwrap())
    }

    /// What the process has printed in this life.
    pub(super) fn output(&self) -> String {
        self.program
            .as_ref()
            .map_or_else(String::new, Program::output)
    }
}

/// What the Gantrys and the cluster say of how things are.
async fn answers(gantries: Vec<String>, master: &str) -> String {
    let mut all = String::from("=== what everybody says ===");
    let paths = [
        "/api/v2/leader",
        "/api/v2/overview",
        "/api/v2/workloads/web/explain",
        "/api/v2/workloads/worker/explain",
        "/api/v2/tasks",
        "/api/v2/agents",
        "/api/v2/deployments?limit=5",
    ];
    let mut addresses: Vec<_> = gantries
        .iter()
        .flat_map(|base| paths.map(|path| format!("{base}{path}")))
        .collect();
    addresses
        .extend(["/local/calls", "/frameworks", "/slaves"].map(|path| format!("{master}{path}")));
    for address in addresses {
        let answer = timeout(ANSWER_WITHIN, async {
            reqwest::get(&address).await?.text().await
        });
        let answer = answer.await.map_or_else(
            |_| "no answer in time".to_owned(),
            |answer| answer.unwrap_or_else(|error| error.to_string()),
        );
        // The latest are the last.
        let from = answer.len().saturating_sub(ANSWER_BYTES);
        let answer = answer.get(from..).unwrap_or(&answer);
        let _ = write!(all, "\n--- {address}\n{answer}");
    }
    all
}

/// What the ZooKeeper servers hold that not all of them hold.
async fn differences(hosts: Vec<String>) -> String {
    let mut all: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (index, host) in hosts.iter().enumerate() {
        let look = timeout(PATIENCE, nodes(host)).await;
        for node in look.ok().and_then(Result::ok).unwrap_or_default() {
            all.entry(node).or_default().push(index);
        }
    }
    let count = all.len();
    all.retain(|_, holders| holders.len() < hosts.len());
    format!("of {count} nodes not on every ZooKeeper server: {all:#?}")
}

async fn nodes(host: &str) -> Result<Vec<String>, zookeeper_client::Error> {
    let client = zookeeper_client::Client::connect(host).await?;
    let mut nodes = vec![format!("/dcos-service-{FRAMEWORK}")];
    let mut next = 0;
    while let Some(node) = nodes.get(next).cloned() {
        next += 1;
        // It may have gone meanwhile.
        let children = client.list_children(&node).await.unwrap_or_default();
        nodes.extend(children.iter().map(|child| format!("{node}/{child}")));
    }
    Ok(nodes)
}

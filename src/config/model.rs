//! What the environment says, as plain data. Nothing here has been opened, bound or connected.

use std::{collections::BTreeMap, fmt, path::PathBuf, time::Duration};

use gantry_core::{ServiceSpec, Settings, WorkloadName};
use gantry_mesos::{address::MasterSource, credentials::Credentials};
use secrecy::SecretString;

use super::access::{Auth, Network, Tls};

/// Everything that can be set about a Gantry process.
#[derive(Clone, Debug)]
pub struct Config {
    /// How the framework presents itself to Mesos and to people.
    pub framework: Framework,
    /// Where Mesos is and how to be let in.
    pub mesos: Mesos,
    /// Where the scheduler's records are kept.
    pub store: Store,
    /// The HTTP server.
    pub http: Http,
    /// Who is let in, and as what.
    pub auth: Auth,
    /// The modules.
    pub modules: Modules,
    /// The log.
    pub logging: Logging,
    /// The scheduler's own settings.
    pub scheduler: Settings,
    /// The declared services, in the order of their indices.
    pub services: Vec<ServiceSpec>,
    /// What the declarations said word for word; same order and length as `services`.
    pub declarations: Vec<Declaration>,
    /// After SIGTERM, how long requests and writes at hand may take to end.
    pub shutdown_timeout: Duration,
}

/// How the framework presents itself. Checkpointing is not here: it is always on, because without
/// it a restarted agent kills its tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Framework {
    /// `FRAMEWORK_NAME` as written; shown to people and used for the log file.
    pub name: String,
    /// The name with `-` for every blank; used for Mesos, the store and task ids.
    pub task_name: String,
    /// Unix user of tasks that name none.
    pub user: String,
    /// Mesos roles, at least one.
    pub roles: Vec<String>,
    /// `HOST`: name or address of the scheduler's own host.
    pub hostname: String,
    /// Address of the dashboard as others reach it.
    pub webui_url: String,
    /// How long Mesos keeps the tasks running while no scheduler is connected.
    pub failover_timeout: Duration,
    /// CSS colour of the title row.
    pub background: Option<String>,
}

/// Where Mesos is and how to be let in.
#[derive(Clone, Debug)]
pub struct Mesos {
    /// How the leading master is found.
    pub master: MasterSource,
    /// The same as people and the boilerplate's API see it, without credentials.
    pub master_shown: MasterShown,
    /// The framework's principal.
    pub principal: Option<String>,
    /// What is shown to masters and agents to be let in.
    pub credentials: Option<Credentials>,
    /// Certificates (PEM) of the authorities to trust over TLS; the public ones when absent.
    pub ca_pem: Option<Vec<u8>>,
}

/// The configured master as the boilerplate's API shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MasterShown {
    /// `masterUrl`: the host, or the whole `zk://…` text without its credentials, or the list.
    pub url: String,
    /// `port`: that of the first master, 5050 unless given.
    pub port: u16,
}

/// Where the scheduler's records are kept.
#[derive(Clone, Debug)]
pub enum Store {
    /// Nowhere: they are gone with the process.
    Memory,
    /// In this file.
    Embedded(PathBuf),
    /// On an ensemble of ZooKeeper servers, where several Gantrys of one framework may stand by.
    ZooKeeper(ZooKeeper),
}

/// A place on an ensemble of ZooKeeper servers, and how to be let in.
#[derive(Clone, Debug)]
pub struct ZooKeeper {
    /// The servers as `host:port`, at least one; IPv6 in brackets.
    pub hosts: Vec<String>,
    /// Where everything of this client lies, `/a/b`: of `ZK_URL`.
    pub chroot: Option<String>,
    /// The framework's own node below `chroot`, `/dcos-service-my-framework`.
    pub root: String,
    /// `user:password` for the `digest` scheme.
    pub auth: Option<SecretString>,
    /// Talk over TLS.
    pub tls: Option<ZooKeeperTls>,
    /// After this time without a word the ensemble gives the leadership to another; 4 s to 60 s.
    pub session_timeout: Duration,
}

/// How to talk to ZooKeeper over TLS. The files have been read once: they are there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZooKeeperTls {
    /// Certificates (PEM) of the authorities to trust; the public ones when absent.
    pub ca: Option<PathBuf>,
    /// The client's own certificate, where the servers ask for one.
    pub identity: Option<ZooKeeperIdentity>,
}

/// A client's certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZooKeeperIdentity {
    /// The certificate and those between it and the authority, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory"),
            Self::Embedded(path) => write!(f, "{}", path.display()),
            Self::ZooKeeper(place) => write!(
                f,
                "{}{}{}",
                place.hosts.join(","),
                place.chroot.as_deref().unwrap_or_default(),
                place.root
            ),
        }
    }
}

/// The HTTP server and its limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// Where it listens.
    pub listen: Address,
    /// Where the other Gantrys of this framework reach it, without a slash at the end.
    pub advertised_url: String,
    /// Authorities (PEM) to trust besides the public ones where others are reached over TLS.
    pub advertised_ca: Option<PathBuf>,
    /// Most bytes of a request's body; more is answered with 413.
    pub body_max: usize,
    /// Most connections at once; more wait in the system's queue.
    pub connections_max: usize,
    /// Most event streams at once; more are answered with 503.
    pub event_streams_max: usize,
    /// Longest time from a request's first byte to the end of its head.
    pub request_timeout: Duration,
    /// Origins besides the request's own `Host` whose pages may change something, lower case.
    pub allowed_origins: Vec<String>,
    /// Proxies whose word about the client is taken.
    pub trusted_proxies: Vec<Network>,
    /// Path at which a proxy shows Gantry, without a slash at the end; empty for none.
    pub url_prefix: String,
    /// The server's own certificate; without TLS when absent.
    pub tls: Option<Tls>,
    /// `/health` says OK while the master was heard of within this time.
    pub heartbeat_max: Duration,
    /// Files here replace templates of the same name.
    pub templates_dir: Option<PathBuf>,
    /// Files here replace or add to the static files.
    pub static_dir: Option<PathBuf>,
}

/// Where modules are, and what they may reach.
#[derive(Clone, Debug)]
pub struct Modules {
    /// The directory they are in; it need not exist.
    pub directory: PathBuf,
    /// What they may fetch from; see [`gantry_modules::FetchRules::parse`].
    pub fetch_allow: Vec<String>,
    /// What is set for single modules.
    pub variables: ModuleVariables,
}

/// Every variable whose name begins with `MODULE_`: each module sees its own. May hold secrets, so
/// that only names are shown.
#[derive(Clone, Default)]
pub struct ModuleVariables(BTreeMap<String, SecretString>);

impl ModuleVariables {
    /// By name.
    pub fn new(variables: BTreeMap<String, SecretString>) -> Self {
        Self(variables)
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &SecretString)> {
        self.0.iter()
    }
}

impl fmt::Debug for ModuleVariables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// A host, not yet resolved, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Name or address; IPv6 without brackets.
    pub host: String,
    /// Port; 0 lets the system choose.
    pub port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// The log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logging {
    /// The least important level that is written.
    pub level: LogLevel,
    /// How a line looks.
    pub format: LogFormat,
    /// Directory of the log files, `<MESOS_SANDBOX>/logs`; to be created when missing.
    pub directory: PathBuf,
    /// Name of the log, `<FRAMEWORK_NAME>.log`; files carry the day in front of it.
    pub file_name: String,
    /// How many daily files are kept.
    pub files_max: u32,
}

/// Log levels, with the names of the original.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Failures.
    Error,
    /// What may become a failure.
    Warn,
    /// What happens.
    Info,
    /// What happens, in detail.
    Verbose,
    /// What helps to find faults.
    Debug,
    /// Everything.
    Silly,
}

impl LogLevel {
    /// The name in the environment and in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Verbose => "verbose",
            Self::Debug => "debug",
            Self::Silly => "silly",
        }
    }

    /// The level of `tracing`, which has one fewer.
    pub const fn tracing(self) -> tracing::Level {
        match self {
            Self::Error => tracing::Level::ERROR,
            Self::Warn => tracing::Level::WARN,
            Self::Info => tracing::Level::INFO,
            Self::Verbose | Self::Debug => tracing::Level::DEBUG,
            Self::Silly => tracing::Level::TRACE,
        }
    }
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What a task definition said, word for word, where the boilerplate's API shows it so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declaration {
    /// The `#` of its variables.
    pub index: u32,
    /// The task type.
    pub name: WorkloadName,
    /// `TASK#_NUM_INSTANCES` as written.
    pub instances: String,
}

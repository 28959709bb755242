//! What the HTTP faces and the dashboard need to know, apart from the state itself.

use std::{path::PathBuf, sync::Arc, time::Duration};

use gantry_mesos::http::HttpOptions;

use super::logs::LogTail;
use crate::{
    config::{Auth, Config, Network, Store, Tls},
    runtime,
};

/// What the HTTP faces and the dashboard need to know. Its `Debug` shows no secrets.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// The framework's name as the operator wrote it.
    pub framework_name: String,
    /// The framework's name as it stands in task ids; see [`gantry_core::Settings::framework`].
    pub framework_in_ids: Arc<str>,
    /// Colour of the title row, any CSS colour (`FRAMEWORK_NAME_BACKGROUND`).
    pub name_background: Option<String>,
    /// Host of the master as configured (`masterUrl` of the original configuration).
    pub master_host: String,
    /// Port of the master as configured.
    pub master_port: u16,
    /// How masters and agents are asked for agents and the output of tasks.
    pub mesos: HttpOptions,
    /// Most instances that a workload may be scaled to.
    pub instances_max: u32,
    /// Where the log is written.
    pub log: LogTail,
    /// The level of the log, as a word.
    pub log_level: String,
    /// Whether tasks that no workload knows are killed.
    pub kill_unknown_tasks: bool,
    /// Whether the state is kept in ZooKeeper.
    pub use_zookeeper: bool,
    /// Types in the order of their declaration with their count as the operator wrote it.
    pub declared_counts: Vec<(String, String)>,
    /// The master must have been heard of within this time for `/health` to say OK. The
    /// original's limit is 60 s, four heartbeats of Mesos.
    pub heartbeat_max: Duration,
    /// Origins besides the request's own `Host` that may change state, as browsers write them
    /// (`https://ui.example.com`): for proxies that rewrite `Host`.
    pub allowed_origins: Vec<String>,
    /// Who is let in, and as what.
    pub auth: Auth,
    /// Proxies whose word about the client is taken.
    pub trusted_proxies: Vec<Network>,
    /// Path at which a proxy shows Gantry, without a slash at the end; empty for none.
    pub url_prefix: String,
    /// The server's own certificate.
    pub tls: Option<Tls>,
    /// Authorities (PEM) to trust besides the public ones where the leader is reached over TLS.
    pub advertised_ca: Option<PathBuf>,
    /// Files here replace templates of the same name.
    pub templates_dir: Option<PathBuf>,
    /// Files here replace or add to the static files.
    pub static_dir: Option<PathBuf>,
    /// Most event streams at once; more are answered with 503.
    pub event_streams_max: usize,
    /// Most bytes of a request's body; more is answered with 413.
    pub body_max: usize,
    /// Most connections at once; more wait in the system's queue.
    pub connections_max: usize,
    /// Longest time from a request's first byte to the end of its head.
    pub request_timeout: Duration,
    /// How long a change waits while there is no leader, or it cannot be reached, before it is
    /// refused.
    pub hold: Duration,
}

impl HttpSettings {
    /// Defaults for a framework of this name, with its log in `log`.
    pub fn new(framework_name: &str, log: LogTail) -> Self {
        Self {
            framework_name: framework_name.to_owned(),
            framework_in_ids: framework_name.replace(' ', "-").into(),
            name_background: None,
            master_host: "leader.mesos".to_owned(),
            master_port: 5050,
            mesos: HttpOptions::default(),
            instances_max: gantry_core::Settings::new("").instances_max,
            log,
            log_level: "info".to_owned(),
            kill_unknown_tasks: false,
            use_zookeeper: false,
            declared_counts: Vec::new(),
            heartbeat_max: Duration::from_secs(60),
            allowed_origins: Vec::new(),
            auth: Auth::default(),
            trusted_proxies: Vec::new(),
            url_prefix: String::new(),
            tls: None,
            advertised_ca: None,
            templates_dir: None,
            static_dir: None,
            // Each holds a connection and a little memory; a team has tens of open dashboards.
            event_streams_max: 256,
            body_max: 64 * 1024,
            connections_max: 4_096,
            request_timeout: Duration::from_secs(10),
            // An orderly change of the leader takes a second or two.
            hold: Duration::from_secs(10),
        }
    }

    /// As configured.
    pub fn from_config(config: &Config) -> Self {
        let log = LogTail::new(&config.logging.directory, &config.logging.file_name);
        let declared = config.declarations.iter();
        Self {
            framework_in_ids: config.framework.task_name.as_str().into(),
            name_background: config.framework.background.clone(),
            master_host: config.mesos.master_shown.url.clone(),
            master_port: config.mesos.master_shown.port,
            mesos: runtime::client(&config.mesos).http,
            instances_max: config.scheduler.instances_max,
            log_level: config.logging.level.name().to_owned(),
            kill_unknown_tasks: config.scheduler.kill_unknown.is_some(),
            use_zookeeper: matches!(config.store, Store::ZooKeeper(_)),
            declared_counts: declared
                .map(|declared| {
                    (
                        declared.name.as_str().to_owned(),
                        declared.instances.clone(),
                    )
                })
                .collect(),
            event_streams_max: config.http.event_streams_max,
            body_max: config.http.body_max,
            connections_max: config.http.connections_max,
            request_timeout: config.http.request_timeout,
            allowed_origins: config.http.allowed_origins.clone(),
            auth: config.auth.clone(),
            trusted_proxies: config.http.trusted_proxies.clone(),
            url_prefix: config.http.url_prefix.clone(),
            tls: config.http.tls.clone(),
            advertised_ca: config.http.advertised_ca.clone(),
            heartbeat_max: config.http.heartbeat_max,
            templates_dir: config.http.templates_dir.clone(),
            static_dir: config.http.static_dir.clone(),
            ..Self::new(&config.framework.name, log)
        }
    }
}

//! Everything that is set once: reads the variables, then checks what they say together.

use std::{net::IpAddr, path::PathBuf, sync::Arc};

use gantry_core::{BrakePolicy, Settings, Workloads};
use gantry_mesos::{
    address::{HostPort, MASTER_PORT, MasterSource},
    credentials::Credentials,
};
use secrecy::SecretString;

use super::{
    Address, Auth, Framework, Http, Logging, MasterShown, Mesos, ModuleVariables, Modules, Store,
    Tls, access,
    reader::{Reader, read_file},
    store,
    table::framework::*,
};

/// The master that Mesos-DNS knows.
const DEFAULT_MASTER: &str = "leader.mesos";

/// The parts of the configuration that are set once.
pub(super) struct Once {
    pub(super) framework: Framework,
    pub(super) mesos: Mesos,
    pub(super) store: Store,
    pub(super) http: Http,
    pub(super) auth: Auth,
    pub(super) modules: Modules,
    pub(super) logging: Logging,
    pub(super) scheduler: Settings,
    pub(super) shutdown_timeout: std::time::Duration,
}

/// `None` when an error was reported that leaves nothing to go on with; every variable is read
/// all the same.
pub(super) fn read(reader: &mut Reader<'_>) -> Option<Once> {
    for (variable, what) in [
        (&HOST.about, "this host is taken to be 127.0.0.1"),
        (&PORT0.about, "the HTTP server uses port 3000"),
        (&MESOS_SANDBOX.about, "the current directory is used"),
    ] {
        if !reader.is_set(variable, 0) {
            reader.notice(
                variable,
                format!("is not set: {what}"),
                "Marathon and Mesos set it",
            );
        }
    }
    let name = reader.framework(&FRAMEWORK_NAME);
    let host = reader.framework(&HOST);
    let port = reader.framework(&PORT0);
    let sandbox = reader.framework(&MESOS_SANDBOX);
    let listen = reader.framework(&LISTEN).or_else(|| {
        Some(Address {
            host: host.clone()?,
            port: port?,
        })
    });
    let tls = access::tls(reader);
    let certified = matches!(tls, Some(Some(_)));
    // In a container's own network PORT0 is the port outside, and LISTEN the one inside.
    let outside = reader.is_set(&PORT0.about, 0);
    let reached = || {
        let port = if outside {
            port
        } else {
            listen.as_ref().map(|listen: &Address| listen.port)
        };
        let host = host.clone()?;
        let scheme = if certified { "https" } else { "http" };
        Some(format!("{scheme}://{}", Address { host, port: port? }))
    };
    let advertised_url = reader.framework(&ADVERTISED_URL).or_else(reached);
    let advertised_ca = advertised_ca(reader);
    let webui_url = reader.framework(&FRAMEWORK_WEBUI_URL).or_else(reached);
    let task_name = name.as_ref().map(|name: &String| name.replace(' ', "-"));
    let framework = Framework {
        name: name.unwrap_or_default(),
        task_name: task_name.unwrap_or_default(),
        user: reader.framework(&FRAMEWORK_USER).unwrap_or_default(),
        roles: reader.framework(&FRAMEWORK_ROLES).unwrap_or_default(),
        hostname: host.unwrap_or_default(),
        webui_url: webui_url.unwrap_or_default(),
        failover_timeout: reader
            .framework(&FRAMEWORK_FAILOVER_TIMEOUT)
            .unwrap_or_default(),
        background: reader.framework(&FRAMEWORK_NAME_BACKGROUND),
    };
    let shutdown_timeout = reader.framework(&SHUTDOWN_TIMEOUT);
    let mesos = mesos(reader);
    let store = store::read(reader, sandbox.as_ref(), &framework.task_name);
    if let (Some(Store::ZooKeeper(place)), Some(url)) = (&store, &advertised_url) {
        look_at_reach(reader, place, url);
    }
    let http = http(reader, listen, advertised_url, advertised_ca?, tls);
    let modules = modules(reader);
    let logging = logging(reader, &framework.name, sandbox);
    let scheduler = scheduler(reader, &framework);
    let auth = access::read(reader);
    Some(Once {
        framework,
        mesos: mesos?,
        store: store?,
        http: http?,
        auth: auth?,
        modules: modules?,
        logging: logging?,
        scheduler: scheduler?,
        shutdown_timeout: shutdown_timeout?,
    })
}

fn mesos(reader: &mut Reader<'_>) -> Option<Mesos> {
    let address = reader.framework(&MESOS_MASTER);
    let host = reader.framework(&MASTER_IP);
    if host.is_some() && reader.is_set(&MESOS_MASTER.about, 0) {
        reader.warning(
            &MASTER_IP.about,
            0,
            "is ignored, as MESOS_MASTER is set too",
            "remove it",
        );
    }
    let master = address.or_else(|| {
        let host = host.as_deref().unwrap_or(DEFAULT_MASTER);
        match HostPort::parse(host, MASTER_PORT) {
            Ok(host) => Some(MasterSource::List {
                scheme: None,
                hosts: vec![host],
            }),
            Err(error) => {
                let remedy = "write a host, or use MESOS_MASTER for anything else";
                reader.error(&MASTER_IP.about, 0, format!("is no host: {error}"), remedy);
                None
            }
        }
    });
    let principal = reader.framework(&MESOS_PRINCIPAL);
    let secret = reader.framework(&MESOS_SECRET);
    let authorization = reader.framework(&MESOS_AUTHORIZATION);
    let credentials = match (&principal, &secret, authorization) {
        (_, None, None) => None,
        (_, None, Some(value)) => match Credentials::header(value) {
            Ok(credentials) => Some(credentials),
            Err(error) => {
                let remedy = "write the value of the header alone, on one line";
                reader.error(
                    &MESOS_AUTHORIZATION.about,
                    0,
                    format!("cannot be used: {error}"),
                    remedy,
                );
                None
            }
        },
        (_, Some(_), Some(_)) => {
            let reason = "is set beside MESOS_SECRET, and only one can be sent";
            reader.error(
                &MESOS_AUTHORIZATION.about,
                0,
                reason,
                "remove one of the two",
            );
            None
        }
        (None, Some(_), None) => {
            let reason = "is set without MESOS_PRINCIPAL";
            reader.error(&MESOS_SECRET.about, 0, reason, "set MESOS_PRINCIPAL too");
            None
        }
        (Some(principal), Some(secret), None) => match Credentials::basic(principal, secret) {
            Ok(credentials) => Some(credentials),
            Err(error) => {
                let reason = format!("cannot be used with MESOS_PRINCIPAL: {error}");
                reader.error(
                    &MESOS_SECRET.about,
                    0,
                    reason,
                    "have the master given others",
                );
                None
            }
        },
    };
    let ca_pem = reader.framework(&MESOS_CA_FILE).and_then(|path| {
        let read = read_file(&path.to_string_lossy()).and_then(|pem| {
            if pem.contains("-----BEGIN CERTIFICATE-----") {
                Ok(pem.into_bytes())
            } else {
                Err("names a file without a PEM certificate".to_owned())
            }
        });
        match read {
            Ok(pem) => Some(pem),
            Err(reason) => {
                let remedy = "name a PEM file of certificates";
                reader.error(&MESOS_CA_FILE.about, 0, reason, remedy);
                None
            }
        }
    });
    let master = master?;
    Some(Mesos {
        master_shown: master_shown(&master),
        master,
        principal,
        credentials,
        ca_pem,
    })
}

fn master_shown(master: &MasterSource) -> MasterShown {
    let list = |hosts: &[HostPort]| {
        let hosts: Vec<_> = hosts.iter().map(HostPort::to_string).collect();
        hosts.join(",")
    };
    match master {
        MasterSource::ZooKeeper(source) => MasterShown {
            url: format!("zk://{}{}", list(&source.hosts), source.path),
            port: MASTER_PORT,
        },
        MasterSource::List { hosts, .. } => MasterShown {
            url: match &hosts[..] {
                [host] => host.host.clone(),
                hosts => list(hosts),
            },
            port: hosts.first().map_or(MASTER_PORT, |host| host.port),
        },
    }
}

/// `None` when something is wrong.
fn advertised_ca(reader: &mut Reader<'_>) -> Option<Option<PathBuf>> {
    let marker = "-----BEGIN CERTIFICATE-----";
    let Some(path) = reader.framework(&ADVERTISED_CA) else {
        return (!reader.is_set(&ADVERTISED_CA.about, 0)).then_some(None);
    };
    let wrong = match read_file(&path.to_string_lossy()) {
        Ok(pem) if pem.contains(marker) => return Some(Some(path)),
        Ok(_) => format!("names a file without {marker}"),
        Err(reason) => reason,
    };
    reader.error(&ADVERTISED_CA.about, 0, wrong, "name a PEM file");
    None
}

/// Where ZooKeeper is on other machines other Gantrys may be too, and these do not reach us under an
/// address of this machine alone: they would ask themselves.
fn look_at_reach(reader: &mut Reader<'_>, place: &super::ZooKeeper, url: &str) {
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = authority.split('/').next().unwrap_or_default();
    if !is_loopback(authority) || place.hosts.iter().all(|host| is_loopback(host)) {
        return;
    }
    let (about, what) = match reader.is_set(&ADVERTISED_URL.about, 0) {
        true => (&ADVERTISED_URL.about, "names this machine alone".to_owned()),
        false => (
            &HOST.about,
            format!("makes others look for this Gantry at {url}"),
        ),
    };
    let reason =
        format!("{what}, while ZooKeeper is elsewhere: Gantrys on other machines cannot reach it");
    reader.warning(
        about,
        0,
        reason,
        "set HOST to this machine's address, or ADVERTISED_URL",
    );
}

/// Whether `host:port`, or `host`, is this machine for everybody.
fn is_loopback(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority
            .rsplit_once(':')
            .map_or(authority, |(host, _)| host),
    };
    let address = host.parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

fn http(
    reader: &mut Reader<'_>,
    listen: Option<Address>,
    advertised_url: Option<String>,
    advertised_ca: Option<PathBuf>,
    tls: Option<Option<Tls>>,
) -> Option<Http> {
    let body_max = reader.framework(&HTTP_BODY_MAX);
    let connections_max = reader.framework(&HTTP_CONNECTIONS_MAX);
    let event_streams_max = reader.framework(&HTTP_EVENT_STREAMS_MAX);
    let request_timeout = reader.framework(&HTTP_REQUEST_TIMEOUT);
    let allowed_origins = reader.framework(&HTTP_ALLOWED_ORIGINS);
    let trusted_proxies = reader.framework(&TRUSTED_PROXIES);
    let url_prefix = reader.framework(&URL_PREFIX);
    let heartbeat_max = reader.framework(&HEALTH_TIMEOUT);
    let templates_dir = reader.framework(&TEMPLATES_DIR);
    let static_dir = reader.framework(&STATIC_DIR);
    Some(Http {
        listen: listen?,
        advertised_url: advertised_url?,
        advertised_ca,
        body_max: body_max?,
        connections_max: connections_max?,
        event_streams_max: event_streams_max?,
        request_timeout: request_timeout?,
        allowed_origins: allowed_origins.unwrap_or_default(),
        trusted_proxies: trusted_proxies.unwrap_or_default(),
        url_prefix: url_prefix.unwrap_or_default(),
        tls: tls?,
        heartbeat_max: heartbeat_max?,
        templates_dir,
        static_dir,
    })
}

fn modules(reader: &mut Reader<'_>) -> Option<Modules> {
    let directory = reader.framework(&MODULES_DIR);
    let fetch_allow = reader.framework(&MODULE_FETCH_ALLOW);
    let names = reader.variables.names().into_iter();
    let variables = names
        .filter(|name| name.starts_with("MODULE_") && *name != MODULE_FETCH_ALLOW.about.name)
        .filter_map(|name| {
            let value = reader.variables.get(name).ok()??;
            Some((name.to_owned(), SecretString::from(value)))
        })
        .collect();
    Some(Modules {
        directory: directory?,
        fetch_allow: fetch_allow.unwrap_or_default(),
        variables: ModuleVariables::new(variables),
    })
}

fn logging(
    reader: &mut Reader<'_>,
    name: &str,
    sandbox: Option<std::path::PathBuf>,
) -> Option<Logging> {
    let level = reader.framework(&LOG_LEVEL);
    let format = reader.framework(&LOG_FORMAT);
    let directory = reader.framework(&LOG_DIR);
    let files_max = reader.framework(&LOG_FILES_MAX);
    Some(Logging {
        level: level?,
        format: format?,
        directory: directory.or_else(|| Some(sandbox?.join("logs")))?,
        file_name: format!("{name}.log"),
        files_max: files_max?,
    })
}

fn scheduler(reader: &mut Reader<'_>, framework: &Framework) -> Option<Settings> {
    let instances_max = reader.framework(&INSTANCES_MAX);
    let starting_per_agent_max = reader.framework(&STARTING_PER_AGENT_MAX);
    let launch_deadline = reader.framework(&LAUNCH_DEADLINE);
    let unreachable_after = reader.framework(&UNREACHABLE_AFTER);
    let replace_deadline = reader.framework(&REPLACE_DEADLINE);
    let reconcile_initial = reader.framework(&RECONCILE_INITIAL);
    let reconcile_max = reader.framework(&RECONCILE_MAX);
    let reconcile_every = reader.framework(&RECONCILE_EVERY);
    let kill_initial = reader.framework(&KILL_RETRY_INITIAL);
    let kill_max = reader.framework(&KILL_RETRY_MAX);
    let refuse_idle = reader.framework(&DECLINE_TIME);
    let hold_max = reader.framework(&OFFER_HOLD_MAX);
    let revive_every = reader.framework(&REVIVE_EVERY);
    let brake = brake(reader);
    let kill_unknown = reader.framework(&KILL_UNKNOWN_TASKS);
    let kill_unknown_after = reader.framework(&KILL_UNKNOWN_AFTER);
    for (initial, max, variable, other) in [
        (
            reconcile_initial,
            reconcile_max,
            &RECONCILE_MAX.about,
            RECONCILE_INITIAL.about.name,
        ),
        (
            kill_initial,
            kill_max,
            &KILL_RETRY_MAX.about,
            KILL_RETRY_INITIAL.about.name,
        ),
    ] {
        if initial > max && max.is_some() {
            let remedy = "raise it, or lower the other";
            reader.error(variable, 0, format!("is shorter than {other}"), remedy);
        }
    }
    Some(Settings {
        framework: Arc::from(framework.task_name.as_str()),
        scheduler_hosts: vec![framework.hostname.clone()],
        instances_max: instances_max?,
        starting_per_agent_max: starting_per_agent_max?,
        refuse_idle: refuse_idle?,
        hold_max: hold_max?,
        launch_deadline: launch_deadline?,
        reconcile_initial: reconcile_initial?,
        reconcile_max: reconcile_max?,
        reconcile_every: reconcile_every?,
        unreachable_after: unreachable_after?,
        kill_initial: kill_initial?,
        kill_max: kill_max?,
        revive_every: revive_every?,
        replace_deadline: replace_deadline?,
        kill_unknown: if kill_unknown? {
            Some(kill_unknown_after?)
        } else {
            None
        },
        brake: brake?,
        // Modules say at run time what they need.
        admission: false,
        readiness: Workloads::None,
    })
}

/// `None` when something is wrong.
fn brake(reader: &mut Reader<'_>) -> Option<Option<BrakePolicy>> {
    let share = reader.framework(&BRAKE_SHARE);
    let window = reader.framework(&BRAKE_WINDOW);
    let tasks_min = reader.framework(&BRAKE_TASKS_MIN);
    let Some(share_thousandths) = share? else {
        for variable in [&BRAKE_WINDOW.about, &BRAKE_TASKS_MIN.about] {
            if reader.is_set(variable, 0) {
                let reason = "is without effect, as BRAKE_SHARE is off";
                reader.warning(variable, 0, reason, "remove it");
            }
        }
        return Some(None);
    };
    Some(Some(BrakePolicy {
        share_thousandths,
        window: window?,
        tasks_min: tasks_min?,
    }))
}

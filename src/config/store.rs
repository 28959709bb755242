//! Where the records are kept: which store, and what belongs to it.

use std::path::{Path, PathBuf};

use super::{
    Store, ZooKeeper, ZooKeeperIdentity, ZooKeeperTls,
    parse::{Home, not_a_path},
    reader::{Reader, read_file},
    table::{Variable, framework::*},
};

/// What is only for ZooKeeper.
static ZOOKEEPER: [&Variable; 8] = [
    &ZK_URL.about,
    &ZK_PATH.about,
    &ZK_AUTH.about,
    &ZK_SESSION_TIMEOUT.about,
    &ZK_TLS.about,
    &ZK_TLS_CA.about,
    &ZK_TLS_CERT.about,
    &ZK_TLS_KEY.about,
];

/// `task_name` is the framework's name as it stands in the store.
pub(super) fn read(
    reader: &mut Reader<'_>,
    sandbox: Option<&PathBuf>,
    task_name: &str,
) -> Option<Store> {
    let asked = reader.framework(&STORE);
    let zookeeper = zookeeper(reader, task_name);
    let marathon = reader.framework(&MARATHON_APP_ID).is_some();
    let home = match asked {
        Some(home) => home,
        // Whatever it names is in error.
        None if reader.is_set(&STORE.about, 0) => return None,
        None if reader.is_set(&ZK_URL.about, 0) => Home::ZooKeeper,
        None if marathon => {
            reader.notice(
                &STORE.about,
                "is not set: Gantry was started by Marathon, so the records are on ZooKeeper",
                "they are found there after every restart, as with the original; ZK_URL names the servers",
            );
            Home::ZooKeeper
        }
        None => {
            let path = sandbox?.join(EMBEDDED_FILE);
            reader.warning(
                &STORE.about,
                0,
                format!(
                    "is not set: the records go to {}, and a new sandbox starts without them, as a new framework",
                    path.display()
                ),
                "set ZK_URL, or STORE=embedded:/a/lasting/path, or STORE=memory if nothing is to be kept",
            );
            Home::Embedded(None)
        }
    };
    if home != Home::ZooKeeper {
        for variable in ZOOKEEPER {
            if reader.is_set(variable, 0) {
                let reason = "is without effect, as STORE names another store";
                reader.warning(variable, 0, reason, "remove it, or set STORE=zookeeper");
            }
        }
    }
    Some(match home {
        Home::Memory => Store::Memory,
        Home::Embedded(Some(path)) => Store::Embedded(path),
        Home::Embedded(None) => Store::Embedded(sandbox?.join(EMBEDDED_FILE)),
        Home::ZooKeeper => Store::ZooKeeper(zookeeper?),
    })
}

/// The file in the sandbox, when none is named.
const EMBEDDED_FILE: &str = "gantry.redb";

fn zookeeper(reader: &mut Reader<'_>, task_name: &str) -> Option<ZooKeeper> {
    let servers = reader.framework(&ZK_URL);
    let prefix = reader.framework(&ZK_PATH);
    let auth = reader.framework(&ZK_AUTH);
    let session_timeout = reader.framework(&ZK_SESSION_TIMEOUT);
    let tls = tls(reader);
    let servers = servers?;
    if auth.is_some() && servers.auth.is_some() {
        let reason = "is set, and ZK_URL holds a user and password too";
        reader.error(&ZK_AUTH.about, 0, reason, "keep one of the two");
    }
    let root = format!("{}{task_name}", prefix?);
    if let Some(reason) = not_a_path(&root) {
        reader.error(
            &ZK_PATH.about,
            0,
            format!("and FRAMEWORK_NAME make the path {root}, which {reason}"),
            "change one of the two",
        );
        return None;
    }
    Some(ZooKeeper {
        hosts: servers.hosts,
        chroot: servers.chroot,
        root,
        auth: auth.or(servers.auth),
        tls: tls?,
        session_timeout: session_timeout?,
    })
}

/// `None` when something is wrong.
fn tls(reader: &mut Reader<'_>) -> Option<Option<ZooKeeperTls>> {
    let on = reader.framework(&ZK_TLS);
    let ca = reader.framework(&ZK_TLS_CA);
    let certificate = reader.framework(&ZK_TLS_CERT);
    let key = reader.framework(&ZK_TLS_KEY);
    if on == Some(false) {
        for variable in [&ZK_TLS_CA.about, &ZK_TLS_CERT.about, &ZK_TLS_KEY.about] {
            if reader.is_set(variable, 0) {
                let reason = "asks for TLS, which ZK_TLS does not switch on";
                reader.error(variable, 0, reason, "set ZK_TLS=true, or remove it");
            }
        }
        return Some(None);
    }
    let identity = match (certificate, key) {
        (Some(certificate), Some(key)) => Some(ZooKeeperIdentity { certificate, key }),
        (None, None) => None,
        (Some(_), None) => {
            let reason = "is set without ZK_TLS_KEY";
            reader.error(&ZK_TLS_CERT.about, 0, reason, "set ZK_TLS_KEY too");
            return None;
        }
        (None, Some(_)) => {
            let reason = "is set without ZK_TLS_CERT";
            reader.error(&ZK_TLS_KEY.about, 0, reason, "set ZK_TLS_CERT too");
            return None;
        }
    };
    let mut whole = true;
    let mut look = |variable, path: Option<&Path>, marker: &str| {
        let Some(path) = path else { return };
        let wrong = match read_file(&path.to_string_lossy()) {
            Ok(pem) if pem.contains(marker) => return,
            Ok(_) => format!("names a file without {marker}"),
            Err(reason) => reason,
        };
        reader.error(variable, 0, wrong, "name a PEM file");
        whole = false;
    };
    let certificates = "-----BEGIN CERTIFICATE-----";
    look(&ZK_TLS_CA.about, ca.as_deref(), certificates);
    if let Some(identity) = &identity {
        look(
            &ZK_TLS_CERT.about,
            Some(&identity.certificate),
            certificates,
        );
        look(&ZK_TLS_KEY.about, Some(&identity.key), "PRIVATE KEY-----");
    }
    whole.then_some(Some(ZooKeeperTls { ca, identity }))
}

//! This process's place on ZooKeeper.

use gantry_core::IdGenerator;
use gantry_store::{Member, ZooKeeper, ZooKeeperConfig, ZooKeeperIdentity, ZooKeeperTls};

use crate::{
    config::{self, Config},
    runtime,
};

/// This process, as the others know it; another one with each call.
pub fn member(config: &Config) -> Member {
    Member {
        id: IdGenerator::new(runtime::seed()).uuid().to_string(),
        host: config.framework.hostname.clone(),
        url: Some(config.http.advertised_url.clone()),
    }
}

/// This process, which looks after what is stored and leads nothing: nobody can hand it a request.
pub fn caretaker(config: &Config, command: &str) -> Member {
    let member = member(config);
    Member {
        host: format!("`gantry {command}` on {}", member.host),
        url: None,
        ..member
    }
}

/// Begins to connect to the ensemble, as `member`. Must be called within a tokio runtime.
pub fn zookeeper(place: &config::ZooKeeper, member: Member) -> ZooKeeper {
    ZooKeeper::connect(ZooKeeperConfig {
        hosts: place.hosts.clone(),
        chroot: place.chroot.clone(),
        root: place.root.clone(),
        auth: place.auth.clone(),
        tls: place.tls.as_ref().map(|tls| ZooKeeperTls {
            ca: tls.ca.clone(),
            identity: tls.identity.as_ref().map(|identity| ZooKeeperIdentity {
                certificate: identity.certificate.clone(),
                key: identity.key.clone(),
            }),
        }),
        session_timeout: place.session_timeout,
        member,
    })
}

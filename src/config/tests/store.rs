//! Where the records are kept, and where the others are.

use std::time::Duration;

use secrecy::ExposeSecret as _;

use super::{bad, good, warned};
use crate::config::{Store, ZooKeeper, ZooKeeperIdentity, ZooKeeperTls};

fn zookeeper(changes: &[(&str, &str)]) -> ZooKeeper {
    match good(changes).store {
        Store::ZooKeeper(place) => place,
        other => panic!("{changes:?}: {other}"),
    }
}

#[test]
fn the_store_follows_what_is_set() {
    let nowhere = ("STORE", "");
    let of = |changes: &[(&str, &str)]| good(changes).store.to_string();
    assert_eq!(of(&[nowhere]), "/sandbox/gantry.redb");
    assert_eq!(of(&[("STORE", "embedded")]), "/sandbox/gantry.redb");
    assert_eq!(of(&[("STORE", "embedded:/a/b")]), "/a/b");
    assert_eq!(of(&[("MARATHON_APP_ID", "/x")]), "memory");
    let from_url = "z:2181,y:1/x/dcos-service-my-fw";
    assert_eq!(of(&[nowhere, ("ZK_URL", "z,y:1/x")]), from_url);
    let original = "master.mesos:2181/dcos-service-my-fw";
    assert_eq!(of(&[nowhere, ("MARATHON_APP_ID", "/x")]), original);
    assert_eq!(of(&[("STORE", "zookeeper")]), original);

    let place = zookeeper(&[nowhere, ("ZK_URL", "z")]);
    assert_eq!(place.session_timeout, Duration::from_secs(10));
    assert!(place.auth.is_none() && place.tls.is_none() && place.chroot.is_none());
    assert_eq!(
        (place.hosts, place.root.as_str()),
        (vec!["z:2181".to_owned()], "/dcos-service-my-fw")
    );
    let elsewhere = [("STORE", "zookeeper"), ("ZK_PATH", "/services/")];
    assert_eq!(zookeeper(&elsewhere).root, "/services/my-fw");
    let unused = warned(&[("ZK_URL", "zk://me:hush@z"), ("ZK_TLS", "1")]);
    assert_eq!(unused.len(), 2, "{unused:?}");
    assert!(
        unused[0].starts_with("ZK_URL=**** is without effect"),
        "{unused:?}"
    );
}

#[test]
fn credentials_and_tls_of_zookeeper() {
    let zk = ("STORE", "zookeeper");
    for by in [
        &[zk, ("ZK_URL", "zk://me:hush@z")][..],
        &[zk, ("ZK_AUTH", "me:hush")],
    ] {
        let place = zookeeper(by);
        assert_eq!(place.auth.as_ref().unwrap().expose_secret(), "me:hush");
        assert!(!format!("{place:?}").contains("hush"));
    }
    let file = |text: &str| {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, text).unwrap();
        file
    };
    let auth = file("me:hush\n");
    let place = zookeeper(&[zk, ("ZK_AUTH_FILE", auth.path().to_str().unwrap())]);
    assert_eq!(place.auth.unwrap().expose_secret(), "me:hush");

    let certificate = file("-----BEGIN CERTIFICATE-----\n");
    let key = file("-----BEGIN PRIVATE KEY-----\n");
    let (certificate, key) = (
        certificate.path().to_str().unwrap(),
        key.path().to_str().unwrap(),
    );
    let on = ("ZK_TLS", "true");
    let tls = zookeeper(&[
        zk,
        on,
        ("ZK_TLS_CA", certificate),
        ("ZK_TLS_CERT", certificate),
        ("ZK_TLS_KEY", key),
    ])
    .tls;
    assert_eq!(
        tls,
        Some(ZooKeeperTls {
            ca: Some(certificate.into()),
            identity: Some(ZooKeeperIdentity {
                certificate: certificate.into(),
                key: key.into(),
            }),
        })
    );
    for (changes, why) in [
        (
            &[("ZK_AUTH", "me:hush"), ("ZK_URL", "zk://you:hush@z")][..],
            "ZK_URL holds a user and password too",
        ),
        (
            &[("ZK_AUTH", "hush")],
            "ZK_AUTH=**** is not a user and a password",
        ),
        (
            &[("ZK_URL", "zk://hush@z")],
            "ZK_URL=**** is not a user and a password",
        ),
        (&[("ZK_URL", "a,,b")], "has '', which is not a server"),
        (&[("ZK_PATH", "x")], "does not begin with '/'"),
        (
            &[("ZK_PATH", "/a/"), ("FRAMEWORK_NAME", "..")],
            "make the path /a/..",
        ),
        (&[("ZK_SESSION_TIMEOUT", "3s")], "is shorter than 4s"),
        (&[("ZK_SESSION_TIMEOUT", "2m")], "is longer than 1m"),
        (&[("ZK_TLS_CA", certificate)], "ZK_TLS does not switch on"),
        (
            &[on, ("ZK_TLS_CERT", certificate)],
            "is set without ZK_TLS_KEY",
        ),
        (&[on, ("ZK_TLS_KEY", key)], "is set without ZK_TLS_CERT"),
        (&[on, ("ZK_TLS_CA", key)], "without -----BEGIN CERTIFICATE"),
        (&[on, ("ZK_TLS_CA", "/no/such/file")], "cannot be read"),
        (&[("STORE", "zk://a:2181")], "the servers in ZK_URL"),
    ] {
        let mut changes = changes.to_vec();
        if !changes.iter().any(|(name, _)| *name == "STORE") {
            changes.push(zk);
        }
        let errors = bad(&changes);
        assert!(
            errors.len() == 1 && errors[0].contains(why),
            "{changes:?}: {errors:?}"
        );
        assert!(!errors.concat().contains("hush"), "{errors:?}");
    }
}

#[test]
fn other_gantrys_reach_this_one_by_its_own_address() {
    let of = |changes: &[(&str, &str)]| good(changes).http.advertised_url;
    assert_eq!(of(&[]), "http://10.0.0.1:31000");
    // A load balancer before all of them would lead back to whoever asks.
    let balanced = [("FRAMEWORK_WEBUI_URL", "https://gantry.example")];
    assert_eq!(of(&balanced), "http://10.0.0.1:31000");
    assert_eq!(of(&[("ADVERTISED_URL", "https://a:1/")]), "https://a:1");
    let by_hand = [("LISTEN", "0.0.0.0:8080"), ("PORT0", "")];
    assert_eq!(of(&by_hand), "http://10.0.0.1:8080");
    // Once the system has chosen a port, that is the one.
    let chosen = good(&[("PORT0", "0")]).at_port(40_123);
    assert_eq!(chosen.http.advertised_url, "http://10.0.0.1:40123");
    assert_eq!(chosen.framework.webui_url, "http://10.0.0.1:40123");
    assert_eq!(
        good(&[]).at_port(1).http.advertised_url,
        "http://10.0.0.1:31000"
    );
}

#[test]
fn an_address_of_this_machine_alone_is_no_use_to_gantrys_elsewhere() {
    let zk = ("STORE", "zookeeper");
    let elsewhere = ("ZK_URL", "127.0.0.1:2181,zk-2:2181");
    for (changes, why) in [
        (
            &[("HOST", "")][..],
            "HOST makes others look for this Gantry at http://127.0.0.1:31000",
        ),
        (&[("HOST", "::1")], "HOST='::1' makes others"),
        (
            &[("ADVERTISED_URL", "http://localhost:1/x")],
            "ADVERTISED_URL='http://localhost:1/x' names this machine alone",
        ),
    ] {
        let both = [changes, &[zk, elsewhere]].concat();
        let warnings = warned(&both);
        assert!(
            warnings.len() == 1 && warnings[0].contains(why),
            "{changes:?}: {warnings:?}"
        );
        // Everything on one machine.
        let here = [changes, &[zk, ("ZK_URL", "localhost,[::1]:2181")]].concat();
        assert_eq!(warned(&here), Vec::<String>::new());
    }
    assert_eq!(warned(&[zk, elsewhere]), Vec::<String>::new());
    let errors = bad(&[("ADVERTISED_CA", "/no/such/file")]);
    assert!(errors[0].contains("ADVERTISED_CA"), "{errors:?}");
}

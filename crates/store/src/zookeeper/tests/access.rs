//! Who is let in.

use std::{path::Path, process::Command};

use gantry_core::Write;
use gantry_testbed::Setup;
use zookeeper_client::{Acls, AuthId, Client, Error, Permission};

use super::support::{Ensemble, Place, put, records, soon};
use crate::{
    StoreError, ZooKeeperIdentity, ZooKeeperTls,
    conformance::{Home as _, task},
};

#[tokio::test(flavor = "multi_thread")]
async fn with_a_password_nodes_are_for_their_owner_alone() {
    let Some(ensemble) = Ensemble::start(1) else {
        return;
    };
    // The original's nodes are open; ours are not, and then its are not any more either.
    let open = Place::new(ensemble.hosts());
    let anonymous = open.client().await;
    put(&anonymous, &open.layout().framework_id(), b"f").await;
    let layout = open.layout();
    let place = open.with_auth("me:hush");
    let store = place.open().await.expect("a store");
    store.load().await.expect("a load");
    store
        .commit(vec![Write::Put(task("web", 1))])
        .await
        .expect("a commit");

    let me = Client::connector()
        .with_auth("digest", b"me:hush")
        .connect(&ensemble.connect_string())
        .await
        .expect("a session");
    let record = layout.node(&crate::codec::path(&task("web", 1).key()));
    let lock = me
        .list_children(&layout.leader())
        .await
        .expect("a queue")
        .remove(0);
    let nodes = [
        layout.root().to_owned(),
        layout.framework_id(),
        layout.gantry().to_owned(),
        layout.epoch(),
        layout.own("framework"),
        format!("{}/{lock}", layout.leader()),
        record,
    ];
    for node in nodes {
        let (access, _) = me.get_acl(&node).await.expect("an access list");
        let [only] = &access[..] else {
            panic!("{node}: {access:?}");
        };
        assert_eq!(only.permission(), Permission::ALL, "{node}");
        assert_eq!(only.auth_id().scheme(), "digest", "{node}");
        assert!(only.auth_id().id().starts_with("me:"), "{node}");
        assert_ne!(only.auth_id(), &AuthId::anyone(), "{node}");
    }

    for auth in [None, Some("me:wrong")] {
        let mut stranger = Place::new(ensemble.hosts());
        stranger.config.root.clone_from(&place.config.root);
        if let Some(auth) = auth {
            stranger = stranger.with_auth(auth);
        }
        let process = stranger.process();
        let refused = |error: StoreError| matches!(&error, StoreError::Refused { reason } if reason.contains("user and password"));
        assert!(process.read().await.is_err_and(refused));
        assert!(
            soon("an answer", process.campaign())
                .await
                .is_err_and(refused)
        );
    }
    assert_eq!(records(&*store).await.len(), 2);
    assert!(!format!("{:?}", place.config).contains("hush"));
}

/// A password that is set later protects what was there before, and everything of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_was_open_is_closed_when_a_password_is_set() {
    let Some(ensemble) = Ensemble::start(1) else {
        return;
    };
    let mut place = Place::new(ensemble.hosts());
    let framework = gantry_core::Record::Framework(gantry_core::FrameworkRecord {
        id: gantry_core::FrameworkId::new("f"),
        registered_at: gantry_core::Timestamp::ZERO,
    });
    let mut batch: Vec<_> = (1..=1_000)
        .map(|number| Write::Put(task("web", number)))
        .collect();
    batch.push(Write::Put(framework));
    let store = place.open().await.expect("a store");
    store.commit(batch).await.expect("a commit");
    drop(store);
    let layout = place.layout();
    let anonymous = place.client().await;
    put(&anonymous, &layout.own("surprises/1/2"), b"x").await;

    place = place.with_auth("me:hush");
    let me = Client::connector()
        .with_auth("digest", b"me:hush")
        .connect(&ensemble.connect_string())
        .await
        .expect("a session");
    // As a start leaves it that was killed in the middle of it.
    let first = layout.node(&crate::codec::path(&task("web", 7).key()));
    me.set_acl(&first, &Acls::creator_all(), None)
        .await
        .expect("an access list");
    let store = place.open().await.expect("a store");
    assert_eq!(records_of(&*store).await, 1_001);
    let mut nodes = vec![layout.root().to_owned()];
    let mut next = 0;
    while let Some(node) = nodes.get(next).cloned() {
        let below = me.list_children(&node).await.expect("children");
        nodes.extend(below.iter().map(|name| format!("{node}/{name}")));
        next += 1;
    }
    assert!(nodes.len() > 1_600, "{}", nodes.len());
    for node in &nodes {
        let read = anonymous.get_data(node).await;
        assert_eq!(read.err(), Some(Error::NoAuth), "{node}");
        let write = anonymous.set_data(node, b"", None).await;
        assert_eq!(write.err(), Some(Error::NoAuth), "{node}");
    }

    // It is done once, and told by one node.
    drop(store);
    let anyone = Acls::anyone_all();
    me.set_acl(&first, &anyone, None).await.expect("a list");
    drop(place.open().await.expect("a store"));
    assert!(anonymous.get_data(&first).await.is_ok());

    // Whoever comes without it, or as another, is told so at once.
    let mut stranger = Place::new(ensemble.hosts());
    stranger.config.root.clone_from(&place.config.root);
    for stranger in [stranger.process(), stranger.with_auth("you:hush").process()] {
        let refused = |error: StoreError| matches!(&error, StoreError::Refused { reason } if reason.contains("user and password"));
        assert!(stranger.read().await.is_err_and(refused));
        let campaign = soon("an answer", stranger.campaign()).await;
        assert!(campaign.is_err_and(refused));
    }
}

async fn records_of(store: &dyn crate::Store) -> usize {
    let loaded = store.load().await.expect("a load");
    loaded.records.len()
}

/// A server that asks for certificates, and that they are looked at on both sides.
#[tokio::test(flavor = "multi_thread")]
async fn tls_with_certificates_on_both_sides() {
    let directory = tempfile::tempdir().expect("a directory");
    let directory = directory.path();
    certificates(directory);
    let file = |name: &str| directory.join(name).display().to_string();
    let setup = Setup {
        config: vec![
            "serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory".to_owned(),
            "client.portUnification=true".to_owned(),
            "authProvider.x509=org.apache.zookeeper.server.auth.X509AuthenticationProvider"
                .to_owned(),
            format!("ssl.keyStore.location={}", file("server.pem")),
            format!("ssl.trustStore.location={}", file("ca.pem")),
        ],
        ..Setup::default()
    };
    let Some(ensemble) = Ensemble::start_with(&setup) else {
        return;
    };
    let tls = |identity: bool| ZooKeeperTls {
        ca: Some(directory.join("ca.pem")),
        identity: identity.then(|| ZooKeeperIdentity {
            certificate: directory.join("client.crt"),
            key: directory.join("client.key"),
        }),
    };
    let mut place = Place::new(ensemble.hosts());
    place.config.tls = Some(tls(true));
    let store = place.open().await.expect("a store");
    store
        .commit(vec![Write::Put(task("web", 1))])
        .await
        .expect("a commit");
    assert_eq!(records(&*store).await, [task("web", 1)]);

    place.config.session_timeout = super::support::SHORT_SESSION;
    for wrong in [
        tls(false),
        ZooKeeperTls {
            ca: Some(directory.join("other.pem")),
            ..tls(true)
        },
        ZooKeeperTls {
            ca: Some(directory.join("nowhere.pem")),
            ..tls(true)
        },
    ] {
        place.config.tls = Some(wrong);
        let error = place.process().read().await.expect_err("no session");
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
    }
}

/// An authority, and certificates of it for 127.0.0.1 as server and client; another authority.
fn certificates(directory: &Path) {
    let script = r#"
        set -e
        authority() {
            openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=$1" \
                -keyout "$1.key" -out "$1.pem"
        }
        certificate() {
            openssl req -newkey rsa:2048 -nodes -subj "/CN=localhost" -keyout "$1.key" -out "$1.csr"
            printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\n' > "$1.ext"
            openssl x509 -req -days 2 -in "$1.csr" -CA ca.pem -CAkey ca.key -CAcreateserial \
                -extfile "$1.ext" -out "$1.crt"
            cat "$1.key" "$1.crt" > "$1.pem"
        }
        authority ca; authority other; certificate server; certificate client
    "#;
    let output = Command::new("sh")
        .args(["-c", script])
        .current_dir(directory)
        .output()
        .expect("a shell");
    assert!(output.status.success(), "{output:?}");
}

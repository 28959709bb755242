//! Detection of the leader by a real ZooKeeper. Where none is installed nothing is checked; see
//! `gantry-testbed`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

mod support;

use std::time::Duration;

use gantry_mesos::address::{HostPort, Scheme};
use gantry_mesos::detect::{DetectError, Detector};
use gantry_testbed::Ensemble;
use support::{Server, client, config, soon};
use zookeeper_client::{Acls, Client, CreateMode};

/// A client to write with.
async fn writer(zookeeper: &Ensemble) -> Client {
    Client::connect(&zookeeper.connect_string()).await.unwrap()
}

fn detector(zookeeper: &Ensemble, path: &str) -> Detector {
    let source = format!("zk://{}{path}", zookeeper.connect_string());
    Detector::new(&source.parse().unwrap(), Scheme::Http)
}

fn master_info(address: &HostPort) -> Vec<u8> {
    format!(
        r#"{{"id":"m","ip":16777343,"port":{port},"hostname":"localhost",
            "address":{{"hostname":"localhost","ip":"{host}","port":{port}}}}}"#,
        host = address.host,
        port = address.port
    )
    .into_bytes()
}

async fn create(client: &Client, path: &str, data: &[u8]) {
    let options = CreateMode::Persistent.with_acls(Acls::anyone_all());
    client.create(path, data, &options).await.unwrap();
}

fn master(port: u16) -> HostPort {
    HostPort {
        host: "127.0.0.1".into(),
        port,
    }
}

/// The error of not finding anyone, once it is of the wanted kind.
async fn error(detector: &mut Detector, wanted: impl Fn(&DetectError) -> bool) {
    soon(async {
        loop {
            if let Err(error) = detector.candidate(Duration::from_millis(50)).await
                && wanted(&error)
            {
                return;
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_is_followed_through_elections_and_restarts() {
    let Some(mut zookeeper) = Ensemble::start(1) else {
        return;
    };
    let client = writer(&zookeeper).await;
    let mut detector = detector(&zookeeper, "/mesos");
    error(&mut detector, |e| matches!(e, DetectError::NoLeader { .. })).await;

    create(&client, "/mesos", b"").await;
    create(&client, "/mesos/log_replicas", b"").await;
    create(
        &client,
        "/mesos/json.info_0000000002",
        &master_info(&master(2)),
    )
    .await;
    let found = soon(detector.candidate(Duration::from_secs(15)))
        .await
        .unwrap();
    assert_eq!((found.address, found.last_of_round), (master(2), true));

    // A contender that comes later does not lead, until the leader is gone.
    create(
        &client,
        "/mesos/json.info_0000000003",
        &master_info(&master(3)),
    )
    .await;
    client
        .delete("/mesos/json.info_0000000002", None)
        .await
        .unwrap();
    assert_eq!(
        soon(detector.leader_other_than(&[&master(2)])).await,
        master(3)
    );

    // Known while ZooKeeper is away; seen to change once it is back.
    zookeeper.server(0).kill();
    let found = soon(detector.candidate(Duration::from_secs(15)))
        .await
        .unwrap();
    assert_eq!(found.address, master(3));
    zookeeper.server(0).start();
    zookeeper.wait_until_serving();
    let client = writer(&zookeeper).await;
    create(
        &client,
        "/mesos/json.info_0000000001",
        &master_info(&master(1)),
    )
    .await;
    assert_eq!(
        soon(detector.leader_other_than(&[&master(3)])).await,
        master(1)
    );

    // Nonsense in the node is named; an empty election is told.
    create(&client, "/mesos/json.info_0000000000", b"nonsense").await;
    error(&mut detector, |e| {
        matches!(e, DetectError::Unreadable { .. })
    })
    .await;
    for node in ["0000000000", "0000000001", "0000000003"] {
        client
            .delete(&format!("/mesos/json.info_{node}"), None)
            .await
            .unwrap();
    }
    error(&mut detector, |e| matches!(e, DetectError::NoLeader { .. })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_protected_path_needs_the_password() {
    let Some(zookeeper) = Ensemble::start(1) else {
        return;
    };
    let client = Client::connector()
        .with_auth("digest", b"me:hush")
        .connect(&zookeeper.connect_string())
        .await
        .unwrap();
    let options = CreateMode::Persistent.with_acls(Acls::creator_all());
    client.create("/mesos", b"", &options).await.unwrap();
    client
        .create(
            "/mesos/json.info_0000000001",
            &master_info(&master(1)),
            &options,
        )
        .await
        .unwrap();

    let mut anonymous = detector(&zookeeper, "/mesos");
    error(&mut anonymous, |e| {
        e.to_string().contains("check user and password")
    })
    .await;
    let source = format!("zk://me:hush@{}/mesos", zookeeper.connect_string())
        .parse()
        .unwrap();
    let mut known = Detector::new(&source, Scheme::Http);
    let found = soon(known.candidate(Duration::from_secs(15)))
        .await
        .unwrap();
    assert_eq!(found.address, master(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_framework_moves_to_the_new_leader() {
    let Some(zookeeper) = Ensemble::start(1) else {
        return;
    };
    let writer = writer(&zookeeper).await;
    let (mut old, mut new) = (Server::start().await, Server::start().await);
    create(&writer, "/mesos", b"").await;
    create(
        &writer,
        "/mesos/json.info_0000000001",
        &master_info(&old.address),
    )
    .await;
    create(
        &writer,
        "/mesos/json.info_0000000002",
        &master_info(&new.address),
    )
    .await;
    let source = format!("zk://{}/mesos", zookeeper.connect_string())
        .parse()
        .unwrap();
    let mut client = client(config(source));
    let _stream = old.subscribed("f", 15.0).await;
    assert_eq!(client.subscribed().await.master, old.address);
    // The stream is still open, as it is if the old leader is merely cut off.
    writer
        .delete("/mesos/json.info_0000000001", None)
        .await
        .unwrap();
    assert!(client.disconnected().await.contains("LeaderChanged"));
    let stream = new.subscribed("f", 15.0).await;
    assert_eq!(stream.call().framework_id.unwrap().value, "f");
    assert_eq!(client.subscribed().await.master, new.address);
}

//! The scheduler client against a server that behaves and misbehaves.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

mod support;

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gantry_mesos::credentials::Credentials;
use gantry_mesos::scheduler::{Permission, RefusalKind, SchedulerEvent};
use gantry_mesos::v1::scheduler::{Event, event};
use support::{Server, client, config, error, heartbeat, record, rescind, soon, subscribed_event};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

#[tokio::test]
async fn subscribes_as_a_master_expects_it() {
    let mut master = Server::start().await;
    let mut client = client(config(master.source()));
    client
        .subscription
        .send_modify(|s| s.suppressed_roles = vec!["quiet".into()]);
    let stream = master.subscribed("f-1", 15.0).await;
    assert_eq!(stream.path(), "/api/v1/scheduler");
    assert!(stream.head.starts_with("POST "));
    assert_eq!(stream.header("accept"), Some("application/x-protobuf"));
    assert_eq!(
        stream.header("content-type"),
        Some("application/x-protobuf")
    );
    assert_eq!(stream.header("mesos-stream-id"), None);
    assert_eq!(stream.header("authorization"), None);
    let call = stream.call();
    assert_eq!(call.framework_id, None);
    assert_eq!(call.subscribe.unwrap().suppressed_roles, ["quiet"]);

    let SchedulerEvent::Connecting { master: address } = client.next().await else {
        panic!("expected Connecting")
    };
    assert_eq!(address, master.address);
    let subscribed = client.subscribed().await;
    assert_eq!(subscribed.framework_id.value, "f-1");
    assert_eq!(subscribed.heartbeat_interval, Duration::from_secs(15));
    assert_eq!(subscribed.epoch.get(), 1);

    // The id is used from now on, even if the caller has not stored it yet.
    stream.end_stream().await;
    assert!(client.disconnected().await.contains("Closed"));
    let again = master.request().await.call();
    assert_eq!(again.framework_id.unwrap().value, "f-1");
    assert_eq!(
        again.subscribe.unwrap().framework_info.id.unwrap().value,
        "f-1"
    );
}

#[tokio::test]
async fn records_are_found_wherever_they_are_split() {
    let mut master = Server::start().await;
    let mut client = client(config(master.source()));
    let request = master.request().await;
    request.open_stream("s").await;
    let wire = [
        record(&subscribed_event("f", 15.0)),
        record(&rescind("ä→😀")),
        b"0\n".to_vec(),
        record(&heartbeat()),
        record(&rescind("last")),
    ]
    .concat();
    for byte in &wire {
        request.chunk(std::slice::from_ref(byte)).await;
    }
    client.subscribed().await;
    let mut seen = Vec::new();
    for _ in 0..3 {
        let event = client.event().await;
        seen.push(event.rescind.map_or_else(String::new, |r| r.offer_id.value));
    }
    assert_eq!(seen, ["ä→😀", "", "last"]);
    // And many in one chunk.
    request
        .chunk(&[record(&rescind("a")), record(&rescind("b"))].concat())
        .await;
    assert_eq!(client.event().await.rescind.unwrap().offer_id.value, "a");
    assert_eq!(client.event().await.rescind.unwrap().offer_id.value, "b");
}

#[tokio::test]
async fn a_bad_record_is_skipped_and_the_rest_goes_on() {
    let mut master = Server::start().await;
    let mut client = client(config(master.source()));
    let stream = master.subscribed("f", 15.0).await;
    client.subscribed().await;
    stream.chunk(b"3\n\xff\xff\xff").await;
    // RESCIND without the required offer id, and an event of a type to come.
    stream.chunk(b"4\n\x08\x03\x22\x00").await;
    stream.chunk(b"3\n\x08\xe7\x07").await;
    stream.event(&rescind("fine")).await;
    assert!(matches!(
        client.news().await,
        SchedulerEvent::Undecodable { .. }
    ));
    match client.news().await {
        SchedulerEvent::Undecodable { reason, .. } => {
            assert!(reason.contains("rescind.offer_id"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(client.event().await.rescind.unwrap().offer_id.value, "fine");
}

#[tokio::test]
async fn hostile_framing_ends_the_stream() {
    let mut master = Server::start().await;
    let mut client = client(config(master.source()));
    for (bytes, complaint) in [
        ("99999999999\n", "larger than the limit"),
        ("twelve\n", "not a RecordIO stream"),
    ] {
        let stream = master.subscribed("f", 15.0).await;
        client.subscribed().await;
        stream.chunk(bytes.as_bytes()).await;
        let reason = client.disconnected().await;
        assert!(reason.contains(complaint), "{reason}");
    }
}

#[tokio::test]
async fn redirects_are_followed_with_credentials() {
    let (mut first, mut second, mut leader) = (
        Server::start().await,
        Server::start().await,
        Server::start().await,
    );
    let mut config = config(first.source());
    config.http.credentials = Some(Credentials::basic("me", &"hush".into()).unwrap());
    let mut client = client(config);
    for (from, location) in [
        (
            &mut first,
            format!("//{}/master/api/v1/scheduler", second.address),
        ),
        (&mut second, format!("http://{}", leader.address)),
    ] {
        let request = from.request().await;
        assert_eq!(request.header("authorization"), Some("Basic bWU6aHVzaA=="));
        let headers = format!("Location: {location}\r\n");
        request.reply("307 Temporary Redirect", &headers, "").await;
        assert!(client.disconnected().await.contains("Redirected"));
    }
    let stream = leader.subscribed("f", 15.0).await;
    assert_eq!(stream.header("authorization"), Some("Basic bWU6aHVzaA=="));
    assert_eq!(client.subscribed().await.master, leader.address);
}

#[tokio::test]
async fn masters_that_redirect_in_a_circle_are_left_after_a_while() {
    let mut master = Server::start().await;
    let mut client = client(config(master.source()));
    let headers = format!("Location: {}\r\n", master.address);
    for _ in 0..10 {
        master
            .request()
            .await
            .reply("307 Temporary Redirect", &headers, "")
            .await;
        assert!(client.disconnected().await.contains("Redirected"));
    }
    assert!(
        client
            .disconnected()
            .await
            .contains("gave up after 9 redirects")
    );
    // From the beginning.
    master.subscribed("f", 15.0).await;
    client.subscribed().await;
}

#[tokio::test]
async fn a_master_that_cannot_serve_is_tried_again() {
    let mut master = Server::start().await;
    let mut client = client(config(master.source()));
    for (status, body) in [
        ("503 Service Unavailable", "No leader elected"),
        ("404 Not Found", ""),
        ("307 Temporary Redirect", ""),
        ("500 Internal Server Error", "oops"),
    ] {
        master
            .request()
            .await
            .reply(status, "Location: \r\n", body)
            .await;
        let reason = client.disconnected().await;
        assert!(
            reason.contains("Unavailable") && reason.contains(body),
            "{reason}"
        );
    }
    master.request().await.close().await;
    assert!(client.disconnected().await.contains("Connect"));
    master.subscribed("f", 15.0).await;
    client.subscribed().await;
}

#[tokio::test]
async fn hosts_of_a_list_are_tried_in_turn() {
    // Bound, but nobody will ever listen there again.
    let dead = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let mut master = Server::start().await;
    let mut config = config(format!("{dead},{}", master.address).parse().unwrap());
    // One round only: with a pause the test would not end in time.
    config.timing.backoff_initial = Duration::from_secs(3600);
    config.timing.backoff_max = Duration::from_secs(3600);
    let mut client = client(config);
    master.subscribed("f", 15.0).await;
    assert!(client.disconnected().await.contains("Connect"));
    client.subscribed().await;
}

#[tokio::test]
async fn wrong_credentials_are_told_and_not_hammered() {
    let mut master = Server::start().await;
    let mut config = config(master.source());
    config.timing.backoff_max = Duration::from_secs(3600);
    let mut client = client(config);
    let headers = "WWW-Authenticate: Basic realm=\"mesos-master-scheduler\"\r\n";
    master
        .request()
        .await
        .reply("401 Unauthorized", headers, "401 Unauthorized.")
        .await;
    match client.news().await {
        SchedulerEvent::Refused { text, kind, .. } => {
            assert_eq!(kind, RefusalKind::Configuration);
            assert_eq!(text, "401: 401 Unauthorized.");
        }
        other => panic!("{other:?}"),
    }
    match client.news().await {
        SchedulerEvent::Disconnected { retry_in, .. } => {
            assert!(retry_in >= Duration::from_secs(1800), "{retry_in:?}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn silence_is_noticed() {
    let mut master = Server::start().await;
    let mut client = client(config(master.source()));
    let stream = master.subscribed("f", 1.0).await;
    client.subscribed().await;
    stream.event(&heartbeat()).await;
    client.event().await;
    assert!(client.disconnected().await.contains("Silence"));
    let again = master.request().await;
    assert_eq!(again.call().framework_id.unwrap().value, "f");
}

#[tokio::test]
async fn silence_before_the_first_event_is_noticed() {
    let mut master = Server::start().await;
    let mut config = config(master.source());
    config.timing.subscribe_timeout = Duration::from_millis(50);
    let mut client = client(config);
    // First without any answer, then with a head only.
    let _silent = master.request().await;
    assert!(client.disconnected().await.contains("SubscribeTimeout"));
    let half = master.request().await;
    half.open_stream("s").await;
    assert!(client.disconnected().await.contains("SubscribeTimeout"));
}

#[tokio::test]
async fn an_owner_that_is_busy_is_not_taken_for_silence() {
    let mut master = Server::start().await;
    let mut config = config(master.source());
    config.limits.events_queued_max = 1;
    let mut client = client(config);
    let stream = master.subscribed("f", 1.0).await;
    client.subscribed().await;
    for i in 0..20 {
        stream.event(&rescind(&i.to_string())).await;
    }
    // Longer than the watchdog would wait. Nothing can be awaited here, for the point
    // is that nothing happens.
    tokio::time::sleep(Duration::from_secs(4)).await;
    for i in 0..20 {
        assert_eq!(
            client.event().await.rescind.unwrap().offer_id.value,
            i.to_string()
        );
    }
    stream.event(&rescind("still there")).await;
    assert_eq!(
        client.event().await.rescind.unwrap().offer_id.value,
        "still there"
    );
}

#[tokio::test]
async fn a_connection_cut_within_a_record_is_no_orderly_end() {
    let mut master = Server::start().await;
    let mut client = client(config(master.source()));
    let stream = master.subscribed("f", 15.0).await;
    client.subscribed().await;
    let wire = record(&rescind("never seen"));
    stream.chunk(&wire[..wire.len() - 3]).await;
    stream.close().await;
    assert!(client.disconnected().await.contains("Broken"));

    let stream = master.subscribed("f", 15.0).await;
    assert_eq!(client.subscribed().await.epoch.get(), 2);
    stream.chunk(&wire[..wire.len() - 3]).await;
    stream.end_stream().await;
    assert!(client.disconnected().await.contains("Truncated"));
}

#[tokio::test]
async fn a_removed_framework_stops_the_client() {
    let mut master = Server::start().await;
    let mut client = client(config(master.source()));
    let request = master.request().await;
    request.open_stream("s").await;
    request.event(&error("Framework has been removed")).await;
    request.end_stream().await;
    assert!(matches!(
        client.news().await,
        SchedulerEvent::Refused {
            kind: RefusalKind::FrameworkRemoved,
            ..
        }
    ));
    assert!(client.disconnected().await.contains("Refused"));
    assert!(soon(client.events.next()).await.is_none());
    assert!(master.try_request().is_none());
}

#[tokio::test]
async fn a_scheduler_that_was_replaced_stops() {
    let mut master = Server::start().await;
    let mut client = client(config(master.source()));
    let stream = master.subscribed("f", 15.0).await;
    client.subscribed().await;
    stream.event(&error("Framework failed over")).await;
    assert_eq!(
        client.event().await.error.unwrap().message,
        "Framework failed over"
    );
    assert!(matches!(
        client.news().await,
        SchedulerEvent::Refused {
            kind: RefusalKind::FailedOver,
            ..
        }
    ));
    client.disconnected().await;
    assert!(soon(client.events.next()).await.is_none());
}

/// One whose permission says that it is right does not leave the framework to whoever comes late. Two
/// that both say so would go on for ever.
#[tokio::test]
async fn a_scheduler_that_is_right_subscribes_again_but_not_for_ever() {
    let mut master = Server::start().await;
    let mut config = config(master.source());
    config.limits.failovers_max = 2;
    let mut client = client(config);
    for times in 1..=3 {
        let stream = master.subscribed("f", 15.0).await;
        client.subscribed().await;
        stream.event(&error("Framework failed over")).await;
        client.event().await;
        match client.news().await {
            SchedulerEvent::Refused { kind, stops, .. } => {
                assert_eq!(kind, RefusalKind::FailedOver);
                assert_eq!(stops, times == 3);
            }
            other => panic!("{other:?}"),
        }
        client.disconnected().await;
    }
    assert!(soon(client.events.next()).await.is_none());
    assert!(master.try_request().is_none());
}

/// Names are looked up, connections made and keys agreed upon after it was decided to subscribe.
#[tokio::test]
async fn without_permission_nothing_is_written_to_a_connection_that_is_ready_too_late() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = config(listener.local_addr().unwrap().to_string().parse().unwrap());
    let asked = AtomicU32::new(0);
    config.permission = Permission::new(move || asked.fetch_add(1, Ordering::SeqCst) == 0);
    let mut client = client(config);
    let (mut stream, _) = soon(listener.accept()).await.unwrap();
    let mut seen = Vec::new();
    soon(stream.read_to_end(&mut seen)).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&seen), "");
    assert!(client.disconnected().await.contains("NotPermitted"));
    assert!(soon(client.events.next()).await.is_none());
}

#[tokio::test]
async fn what_is_no_master_is_told_apart() {
    let mut master = Server::start().await;
    let mut client = client(config(master.source()));
    master
        .request()
        .await
        .reply("200 OK", "Content-Type: text/html\r\n", "<html>")
        .await;
    assert!(client.disconnected().await.contains("is this a master?"));
    let headers = "Content-Type: application/x-protobuf\r\n";
    master.request().await.reply("200 OK", headers, "").await;
    assert!(client.disconnected().await.contains("Mesos-Stream-Id"));
    let request = master.request().await;
    request.open_stream("s").await;
    request
        .event(&Event {
            r#type: Some(event::Type::Offers.into()),
            ..Event::default()
        })
        .await;
    assert!(
        client
            .disconnected()
            .await
            .contains("instead of SUBSCRIBED")
    );
}

#[tokio::test]
async fn dropping_the_events_closes_the_connections() {
    let mut master = Server::start().await;
    let mut client = client(config(master.source()));
    let stream = master.subscribed("f", 15.0).await;
    let epoch = client.subscribed().await.epoch;
    drop(client.events);
    // The server notices: writing fails sooner or later, and calls are refused.
    soon(async {
        let call = gantry_mesos::v1::scheduler::Call::teardown;
        while client.calls.send(epoch, call()).await.is_ok() {
            stream.event(&heartbeat()).await;
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Collects everything that is logged, by this crate and all below it.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Single-threaded, so that the subscriber of this thread sees all tasks.
#[tokio::test(flavor = "current_thread")]
async fn credentials_are_never_logged() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);

    let mut master = Server::start().await;
    let mut config = config(master.source());
    config.http.credentials = Some(Credentials::basic("me", &"hush-hush".into()).unwrap());
    let debug = format!("{config:?}");
    let mut client = client(config);
    master
        .request()
        .await
        .reply("401 Unauthorized", "", "401 Unauthorized.")
        .await;
    let refused = format!("{:?}", client.news().await);
    let disconnected = client.disconnected().await;
    let stream = master.subscribed("f", 15.0).await;
    let epoch = client.subscribed().await.epoch;
    client
        .calls
        .send(epoch, gantry_mesos::v1::scheduler::Call::teardown())
        .await
        .unwrap();
    let call = master.request().await;
    assert_eq!(call.header("authorization"), stream.header("authorization"));
    call.reply("401 Unauthorized", "", "401 Unauthorized.")
        .await;
    let report = format!("{:?}", client.news().await);

    let logged = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    assert!(logged.contains("subscribed"), "the log is being collected");
    let everything = [debug, refused, disconnected, report, logged].concat();
    for secret in ["hush-hush", "bWU6aHVzaC1odXNo"] {
        assert!(
            !everything.contains(secret),
            "{secret} stands in: {everything}"
        );
    }
}

//! One that does not lead: reads from its copy, hands changes on, says how it stands.

use std::{
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use actix_web::{body::MessageBody as _, dev::ServerHandle};
use gantry_core::{Timestamp, View};
use gantry_store::{Lease, Member, StoreError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::world::{OWN_URL, START, World, member, rich_service, service};
use crate::{
    auth::{Access, NewToken},
    http::{self, HttpSettings},
    runtime::{ConnectionState, Reach, wall},
};

/// Where changes are refused quickly when there is nobody to make them.
fn impatient(settings: &mut HttpSettings) {
    settings.hold = Duration::from_millis(100);
}

/// One that led, has its last view, and knows this leader.
fn stand_by_of(leader: Option<Member>) -> World {
    stand_by_with(leader, impatient)
}

fn stand_by_with(leader: Option<Member>, adjust: impl Fn(&mut HttpSettings)) -> World {
    let world = World::with(vec![rich_service("web", 2)], adjust);
    world.subscribe();
    world.offer(1, 8, 8_000);
    world.step_down(leader);
    world
}

fn leader_at(address: SocketAddr) -> Option<Member> {
    Some(member("leader", Some(format!("http://{address}"))))
}

/// A world that leads, on a port of this machine.
struct Leader {
    world: World,
    address: SocketAddr,
    server: ServerHandle,
}

impl Leader {
    fn start() -> Self {
        Self::with(|_| {})
    }

    fn with(adjust: impl Fn(&mut HttpSettings)) -> Self {
        let world = World::with(vec![rich_service("web", 2)], adjust);
        world.subscribe();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = http::serve(listener, world.state.clone()).unwrap();
        let handle = server.handle();
        tokio::spawn(server);
        Self {
            world,
            address,
            server: handle,
        }
    }

    fn desired(&self) -> u32 {
        let view = self.world.state.handle().view();
        view.workload("web").unwrap().desired
    }
}

/// Something at the leader's address that gives these answers, one a connection, and tells what it
/// was asked.
async fn answering(
    answers: &'static [&'static str],
) -> (SocketAddr, tokio::task::JoinHandle<Vec<String>>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = tokio::spawn(async move {
        let mut asked = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = String::new();
            while !request.ends_with(r#""reason":"why"}"#) {
                let mut buffer = [0; 4_096];
                let read = stream.read(&mut buffer).await.unwrap();
                assert!(read > 0, "cut off after: {request}");
                request.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
            }
            asked.push(request);
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        asked
    });
    (address, asked)
}

#[actix_web::test]
async fn reads_are_answered_from_the_copy_and_marked() {
    let world = stand_by_of(leader_at("127.0.0.1:9".parse().unwrap()));
    for path in [
        "/api/v2/overview",
        "/api/v2/workloads/web",
        "/api/v2/tasks",
        "/api/v1/tasks/launched",
        "/tasks/types",
    ] {
        let reply = world.get(path).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.body);
        assert_eq!(reply.header("x-gantry-role"), "stand-by", "{path}");
        assert_eq!(reply.header("x-gantry-leader"), "http://127.0.0.1:9");
        let at: jiff::Timestamp = reply.header("x-gantry-as-of").parse().unwrap();
        assert!(at <= jiff::Timestamp::now(), "{path}");
    }
    let overview = world.get("/api/v2/overview").await.json();
    let leadership = &overview["leadership"];
    assert_eq!(leadership["role"], "stand-by");
    assert_eq!(leadership["leader"]["host"], "leader.example");
    assert_eq!(leadership["ended"], "the lease has ended");
    assert!(leadership["as_of"].is_u64());
    assert_eq!(overview["totals"]["wanted"], 2);
    let metrics = world.get("/metrics").await.body;
    assert!(metrics.contains("gantry_leader 0"), "{metrics}");

    // Of a leader nothing is marked, and it names itself.
    world.lead();
    let reply = world.get("/api/v2/leader").await;
    assert_eq!(reply.header("x-gantry-role"), "");
    let leadership = reply.json();
    assert_eq!(leadership["role"], "leader");
    assert_eq!(leadership["leader"]["id"], "me");
    assert_eq!(leadership["terms"], 2);
    assert_eq!(leadership["as_of"], serde_json::Value::Null);
    assert_eq!(leadership["store"]["kind"], "zookeeper");
    assert!(world.get("/metrics").await.body.contains("gantry_leader 1"));
}

#[actix_web::test]
async fn what_was_never_read_is_no_empty_list() {
    let world = World::candidate(vec![service("web", 1)], impatient);
    world.follow(None);
    let reason = "no server answers".to_owned();
    world.cut_off(Reach::Never { reason });
    for path in ["/api/v2/overview", "/api/v2/tasks", "/tasks/launched"] {
        let reply = world.get(path).await;
        assert_eq!(reply.status, 503, "{path}");
        assert_eq!(reply.code(), "unavailable");
        assert!(reply.body.contains("no server answers"), "{}", reply.body);
    }
    for path in ["/", "/metrics", "/api/v2/leader", "/static/css/base.css"] {
        assert_eq!(world.get(path).await.status, 200, "{path}");
    }
}

#[actix_web::test]
async fn changes_are_made_by_the_leader() {
    let leader = Leader::start();
    let world = stand_by_of(leader_at(leader.address));
    // From a page of the stand-by, as its cross-site check sees it.
    let own = [("host", "standby:1"), ("origin", "http://standby:1")];
    let body = r#"{"instances":5,"reason":"why"}"#;
    let reply = world
        .send("PUT /api/v2/workloads/web/scale", &own, body)
        .await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert_eq!(reply.json()["to"], 5);
    assert_eq!(leader.desired(), 5);
    let audit = leader.world.get("/api/v2/audit").await.json();
    assert_eq!(audit["items"][0]["address"], "10.1.2.3 via 127.0.0.1");
    assert_eq!(audit["items"][0]["reason"], "why");

    // The other face, with its answer and its header.
    let reply = world.send("PUT /tasks/types/web/scale/3", &[], "").await;
    assert_eq!((reply.status.as_u16(), reply.body.as_str()), (200, ""));
    assert_eq!(reply.header("x-gantry-result"), "scaled: 5 -> 3");
    assert_eq!(leader.desired(), 3);
    let reply = world
        .send("PUT /api/v2/workloads/none/scale", &[], body)
        .await;
    assert_eq!(
        (reply.status.as_u16(), reply.code().as_str()),
        (404, "unknown_workload")
    );

    // What is refused here does not get there.
    let evil = [("host", "standby:1"), ("origin", "http://evil")];
    let reply = world.send("PUT /tasks/types/web/scale/9", &evil, "").await;
    assert_eq!(
        (reply.status.as_u16(), reply.code().as_str()),
        (403, "cross_site")
    );
    let huge = "x".repeat(65 * 1024);
    let reply = world
        .send("PUT /api/v2/workloads/web/scale", &[], &huge)
        .await;
    assert_eq!(
        (reply.status.as_u16(), reply.code().as_str()),
        (413, "body_too_large")
    );
    let get = "GET /framework/restart?sure=yes";
    assert_eq!(world.send(get, &[], "").await.status, 403);
    assert_eq!(leader.desired(), 3);

    // The one GET that changes something, for our own page.
    assert_eq!(world.send(get, &own, "").await.status, 200);
    leader.world.state.restart_requested().await;
    leader.server.stop(false).await;
    let reply = world.send("PUT /tasks/types/web/scale/4", &[], "").await;
    assert_eq!(
        (reply.status.as_u16(), reply.code().as_str()),
        (503, "stand_by")
    );
    assert_eq!(reply.header("retry-after"), "1");
    assert!(
        reply.body.contains("leader.example leads"),
        "{}",
        reply.body
    );
}

#[actix_web::test]
async fn what_is_handed_on_is_the_request_and_nothing_of_the_connection() {
    let (address, asked) = answering(&[
        // One that has just stepped down has changed nothing: asked again.
        "HTTP/1.1 503 Service Unavailable\r\nx-gantry-role: stand-by\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 202 Accepted\r\nconnection: close, x-hop\r\nx-other: kept\r\ncontent-length: 2\r\n\r\nok",
    ])
    .await;
    let world = stand_by_of(leader_at(address));
    let headers = [
        ("host", "standby:1"),
        ("origin", "http://standby:1"),
        ("sec-fetch-site", "same-origin"),
        ("connection", "close, x-hop"),
        ("x-hop", "1"),
        ("te", "trailers"),
        ("cookie", "session=1"),
        ("authorization", "Bearer t"),
        ("accept", "application/json"),
        ("x-forwarded-for", "192.0.2.7"),
    ];
    let reply = world
        .send("POST /api/v2/kill?a=%2F", &headers, r#"{"reason":"why"}"#)
        .await;
    assert_eq!((reply.status.as_u16(), reply.body.as_str()), (202, "ok"));
    assert_eq!(reply.header("x-other"), "kept");

    let asked = asked.await.unwrap();
    let [_, request] = asked.as_slice() else {
        panic!("{asked:?}")
    };
    let request = request.to_ascii_lowercase();
    assert!(
        request.starts_with("post /api/v2/kill?a=%2f http/1.1\r\n"),
        "{request}"
    );
    for kept in [
        &format!("host: {address}"),
        "cookie: session=1",
        "authorization: bearer t",
        "accept: application/json",
        "x-forwarded-for: 192.0.2.7, 10.1.2.3",
        "x-gantry-forwarded-by: me",
        "content-length: 16",
    ] {
        assert!(
            request.contains(&format!("\r\n{kept}\r\n")),
            "{kept}: {request}"
        );
    }
    for dropped in ["x-hop", "te:", "origin", "sec-fetch", "standby"] {
        assert!(
            !request.contains(&format!("\r\n{dropped}")),
            "{dropped}: {request}"
        );
    }
}

#[actix_web::test]
async fn an_answer_that_is_lost_is_no_refusal() {
    let (address, asked) = answering(&["HTTP/1.1 200"]).await;
    let world = stand_by_of(leader_at(address));
    let reply = world
        .send("POST /api/v2/kill", &[], r#"{"reason":"why"}"#)
        .await;
    assert_eq!(
        (reply.status.as_u16(), reply.code().as_str()),
        (503, "outcome_unknown")
    );
    assert_eq!(
        reply.header("retry-after"),
        "",
        "not to be done twice by a machine"
    );
    assert_eq!(asked.await.unwrap().len(), 1, "asked once");
}

#[actix_web::test]
async fn nothing_is_handed_on_twice() {
    // Nobody is there: an attempt to reach it would be told as such.
    let world = stand_by_of(leader_at("127.0.0.1:9".parse().unwrap()));
    let handed = [
        ("x-gantry-forwarded-by", "other"),
        ("x-forwarded-for", "192.0.2.7"),
    ];
    let reply = world.send("POST /api/v2/kill", &handed, "{}").await;
    assert_eq!(
        (reply.status.as_u16(), reply.code().as_str()),
        (503, "stand_by")
    );
    assert!(
        reply.body.contains("another Gantry has handed"),
        "{}",
        reply.body
    );
    assert_eq!(reply.header("x-gantry-role"), "stand-by");
}

/// All said that they are at 127.0.0.1, on machines of their own.
#[actix_web::test]
async fn a_leader_at_our_own_address_is_told_and_not_asked() {
    let world = stand_by_of(Some(member("other", Some(OWN_URL.to_owned()))));
    for line in ["POST /api/v2/kill", "GET /api/v2/events"] {
        let reply = world.send(line, &[], "{}").await;
        assert_eq!(
            (reply.status.as_u16(), reply.code().as_str()),
            (503, "stand_by")
        );
        assert!(reply.body.contains("ADVERTISED_URL"), "{}", reply.body);
        assert!(!reply.body.contains("cannot be reached"), "{}", reply.body);
    }
}

#[actix_web::test]
async fn a_change_waits_for_the_one_who_is_about_to_lead() {
    let world = World::with(vec![rich_service("web", 2)], |_| {});
    world.subscribe();
    world.step_down(None);
    let body = r#"{"instances":6}"#;
    let asked = world.send("PUT /api/v2/workloads/web/scale", &[], body);
    let elected = async {
        tokio::task::yield_now().await;
        world.lead();
    };
    let (reply, ()) = tokio::join!(asked, elected);
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert_eq!(reply.json()["to"], 6);

    // Without ZooKeeper nobody will be: told at once.
    world.step_down(None);
    let lost = Reach::Lost {
        since: Timestamp::from_millis(START),
        reason: "the servers are gone".to_owned(),
    };
    world.cut_off(lost);
    let reply = world
        .send("PUT /api/v2/workloads/web/scale", &[], body)
        .await;
    assert_eq!(
        (reply.status.as_u16(), reply.code().as_str()),
        (503, "stand_by")
    );
    assert!(
        reply.body.contains("the servers are gone"),
        "{}",
        reply.body
    );
}

#[actix_web::test]
async fn events_are_to_be_had_from_the_leader() {
    let world = stand_by_of(leader_at("127.0.0.1:9".parse().unwrap()));
    let reply = world.get("/api/v2/events?after=7").await;
    assert_eq!(reply.status, 307);
    assert_eq!(
        reply.header("location"),
        "http://127.0.0.1:9/api/v2/events?after=7"
    );
    for leader in [None, Some(member("leader", None))] {
        world.follow(leader);
        let reply = world.get("/api/v2/events").await;
        assert_eq!(
            (reply.status.as_u16(), reply.code().as_str()),
            (503, "stand_by")
        );
    }
}

#[actix_web::test]
async fn health_says_everything_and_fails_only_where_a_restart_may_help() {
    let world = World::candidate(vec![service("web", 1)], impatient);
    let health = async || {
        let reply = world.get("/health").await;
        // As HTML; nothing of it is in here otherwise.
        let text = reply.body.replace("&#x60;", "`").replace("&#x3D;", "=");
        (reply.status.as_u16(), text)
    };
    let lost = || Reach::Lost {
        since: Timestamp::from_millis(START),
        reason: "gone".to_owned(),
    };
    world.follow(None);
    let reason = "refused".to_owned();
    world.cut_off(Reach::Never { reason });
    assert_eq!(health().await.0, 503);

    world.follow(Some(member("leader", None)));
    assert_eq!(
        health().await,
        (200, "OK: stand-by of leader.example".to_owned())
    );
    world.cut_off(lost());
    let (status, text) = health().await;
    assert_eq!(status, 200);
    assert!(text.starts_with("OK: stand-by of leader.example, but ") && text.contains("gone"));

    world.follow(None);
    let (status, text) = health().await;
    assert_eq!(status, 200);
    assert!(
        text.starts_with("OK: stand-by, no leader is known"),
        "{text}"
    );
    world.shared.place.start(wall(), Lease::forever());
    assert_eq!(health().await, (200, "OK: about to lead".to_owned()));

    // One that has just taken over is not blamed for what it could not hear.
    world.follow(None);
    world.lead();
    assert_eq!(health().await, (200, "OK".to_owned()));
    world.cut_off(lost());
    let (status, text) = health().await;
    assert_eq!(status, 200);
    assert!(
        text.starts_with("OK, but ") && text.contains("gone"),
        "{text}"
    );

    // Only an operator can help: whoever were started instead would be in the same position.
    world.follow(None);
    let connection = &world.shared.connection;
    connection.set_framework_id("f-1".to_owned());
    for (state, text) in [
        (
            ConnectionState::Removed,
            "OK, but the Mesos master has removed this framework and ended its tasks: restart Gantry with \
             `--forget-framework-id=f-1` to begin",
        ),
        (
            ConnectionState::FailedOver,
            "OK, but another scheduler has subscribed",
        ),
    ] {
        connection.set_state(state, wall());
        world.heartbeat(Duration::from_secs(61));
        let (status, told) = health().await;
        assert_eq!(status, 200, "{told}");
        assert!(told.starts_with(text), "{told}");
    }
    connection.set_state(ConnectionState::Subscribed, wall());
    let mut view = View::clone(&world.state.handle().view());
    view.brake = Some(gantry_core::Brake {
        since: Timestamp::from_millis(START),
        troubled: 7,
        of: 9,
    });
    world.shared.view.store(view.into());
    world.heartbeat(Duration::ZERO);
    let (status, text) = health().await;
    assert_eq!(status, 200);
    assert!(
        text.starts_with("OK, but the brake is on since 7 of 9 tasks failed at once"),
        "{text}"
    );

    world.step_down(None);
    // Nor does a restart help one that cannot lead, or cannot read: what it says stays, whatever it
    // reads meanwhile.
    let place = &world.shared.place;
    let no_id = StoreError::NoFrameworkId { tasks: 2 };
    let gone = StoreError::Corrupt {
        place: "/a".to_owned(),
        reason: "it is gone".to_owned(),
    };
    place.fault((&no_id).into());
    place.read_fault((&gone).into());
    let says = async |faults: String| {
        let (status, text) = health().await;
        assert_eq!(status, 200);
        let expected = format!("OK: stand-by, no leader is known, but {faults}; the brake is on");
        assert!(text.starts_with(&expected), "{text}");
    };
    says(format!("{no_id}; {gone}")).await;
    place.show_copy(wall());
    says(no_id.to_string()).await;
    let told = world.get("/api/v2/leader").await.json();
    assert_eq!(told["fault"], no_id.to_string());
    assert_eq!(told["read_fault"], serde_json::Value::Null);

    // Another version, or one of the right name, in its place does help.
    let newer = StoreError::NewerLayout { found: 2, known: 1 };
    place.read_fault((&newer).into());
    assert_eq!(health().await, (500, newer.to_string()));
    place.show_copy(wall());
    let renamed = StoreError::OtherFramework {
        tasks: 2,
        name: "shop".to_owned(),
        wanted: "shop2".to_owned(),
    };
    place.fault((&renamed).into());
    assert_eq!(health().await, (500, renamed.to_string()));
}

#[actix_web::test]
async fn a_frozen_leader_is_not_waited_for_once_it_is_replaced() {
    // It takes the connection and says nothing.
    let frozen = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let world = stand_by_of(leader_at(frozen.local_addr().unwrap()));
    let asked = world.send("POST /api/v2/kill", &[], "{}");
    let replaced = async {
        let taken = frozen.accept().await.unwrap();
        world.follow(Some(member("next", None)));
        taken
    };
    let (reply, _taken) = tokio::join!(asked, replaced);
    assert_eq!(
        (reply.status.as_u16(), reply.code().as_str()),
        (503, "outcome_unknown")
    );
}

#[actix_web::test]
async fn a_leader_without_zookeeper_takes_no_changes() {
    let world = World::new(vec![rich_service("web", 2)]);
    world.follow(None);
    let lost = |since| Reach::Lost {
        since,
        reason: "the servers are gone".to_owned(),
    };
    world.cut_off(lost(Timestamp::from_millis(START)));
    let line = "PUT /api/v2/workloads/web/scale";
    let body = r#"{"instances":6}"#;
    let reply = world.send(line, &[], body).await;
    assert_eq!(
        (reply.status.as_u16(), reply.code().as_str()),
        (503, "unavailable")
    );
    assert!(reply.body.contains("the servers are gone"));
    assert_eq!(reply.header("retry-after"), "5");
    // It may be about to come back by way of another server. Until then nothing is taken.
    let before = world.state.handle().view().at;
    world.cut_off(lost(wall()));
    let refused = world.send(line, &[], body).await;
    assert_eq!(refused.status, 503);
    assert!(refused.body.contains("the servers are gone"));
    assert!(refused.body.contains("nothing has changed"));
    assert_eq!(world.state.handle().view().at, before);
    // However long it takes until somebody looks.
    world.cut_off(lost(wall() + Duration::from_secs(60)));
    let back = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        world.cut_off(Reach::Connected { since: wall() });
    };
    let (taken, ()) = tokio::join!(world.send(line, &[], body), back);
    assert_eq!(taken.status, 200, "{}", taken.body);
}

#[actix_web::test]
async fn with_login_the_leader_decides_again_and_events_are_relayed() {
    let expires = jiff::Timestamp::from_second(4_000_000_000).unwrap();
    let tokens = ["one", "two"].map(|name| NewToken::make(name, Access::Admin, expires).unwrap());
    let files = [(); 2].map(|()| tempfile::NamedTempFile::new().unwrap());
    let [one, two] = &tokens;
    // The leader knows one of them only.
    std::fs::write(&files[0], &one.line).unwrap();
    std::fs::write(&files[1], format!("{}\n{}", one.line, two.line)).unwrap();
    let known = |file: usize| {
        let path = files[file].path().to_owned();
        move |settings: &mut HttpSettings| {
            impatient(settings);
            settings.auth.tokens_file = Some(path.clone());
        }
    };
    let leader = Leader::with(known(0));
    let world = stand_by_with(leader_at(leader.address), known(1));
    let line = "PUT /tasks/types/web/scale/5";
    for (token, status) in [(one, 200), (two, 401)] {
        let bearer = format!("Bearer {}", token.token);
        let with = [("authorization", bearer.as_str())];
        let reply = world.send(line, &with, "").await;
        assert_eq!(reply.status.as_u16(), status, "{}", reply.body);
        let events = world.open("GET /api/v2/events?after=0", &with, "").await;
        assert_eq!(events.status().as_u16(), status);
        assert!(!events.headers().contains_key("location"));
        if status == 200 {
            assert_eq!(events.headers().get("x-gantry-role").unwrap(), "stand-by");
            let mut body = std::pin::pin!(events.into_body());
            let first = std::future::poll_fn(|context| body.as_mut().poll_next(context)).await;
            let first = first.unwrap().ok().unwrap();
            assert!(first.starts_with(b"retry:"), "{first:?}");
        }
    }
    assert_eq!(world.send(line, &[], "").await.status, 401, "here already");
    let view = leader.world.state.handle().view();
    assert_eq!(view.audit[0].actor.name, "token:one");
    // One that was handed on is not handed on again.
    let bearer = format!("Bearer {}", one.token);
    let again = [
        ("authorization", bearer.as_str()),
        ("x-gantry-forwarded-by", "other"),
    ];
    let reply = world.send("GET /api/v2/events", &again, "").await;
    assert_eq!(
        (reply.status.as_u16(), reply.code().as_str()),
        (503, "stand_by")
    );
    leader.server.stop(false).await;
}

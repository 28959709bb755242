//! The event stream.

use std::{pin::pin, time::Duration};

use actix_web::body::MessageBody;
use gantry_core::TaskState;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::world::{World, service};

/// Reads the next chunk of a body, in which the server never waits here.
async fn chunk(body: &mut std::pin::Pin<&mut impl MessageBody>) -> Option<String> {
    let next = std::future::poll_fn(|context| body.as_mut().poll_next(context)).await?;
    let bytes = next.unwrap_or_else(|_| panic!("the body ended in an error"));
    Some(String::from_utf8(bytes.to_vec()).expect("UTF-8"))
}

fn id(chunk: &str) -> Option<u64> {
    chunk
        .lines()
        .find_map(|line| line.strip_prefix("id: "))
        .map(|id| id.parse().expect("a number"))
}

#[actix_web::test]
async fn events_are_told_live_and_what_was_missed_is_replayed() {
    let world = World::new(vec![service("web", 1)]);
    let response = world.open("GET /api/v2/events", &[], "").await;
    assert_eq!(
        response.headers().get("content-type").unwrap(),
        "text/event-stream"
    );
    assert_eq!(response.headers().get("x-accel-buffering").unwrap(), "no");
    assert_eq!(
        response.headers().get("content-encoding").unwrap(),
        "identity"
    );
    let mut body = pin!(response.into_body());
    let hello = chunk(&mut body).await.unwrap();
    assert!(
        hello.contains("event: snapshot\n") && hello.contains("retry: "),
        "{hello}"
    );

    world.subscribe();
    let task = world.offer(1, 8, 8_000).remove(0).task;
    world.status(&task, TaskState::Running);
    let mut ids = Vec::new();
    let last = loop {
        let told = chunk(&mut body).await.unwrap();
        ids.push(id(&told).expect("an event has an id"));
        if told.contains("TASK_RUNNING") {
            break told;
        }
    };
    assert!(last.contains("event: task\n"), "{last}");
    assert!(last.contains(&format!("\"task\":\"{task}\"")), "{last}");
    assert!(last.ends_with("\n\n"));
    assert!(ids.is_sorted() && ids.len() >= 3, "{ids:?}");

    // A reader that comes back gets exactly what it missed, by header or by query.
    let after = ids[0].to_string();
    let by_query = format!("GET /api/v2/events?after={after}");
    for (line, headers) in [
        (
            "GET /api/v2/events",
            vec![("last-event-id", after.as_str())],
        ),
        (by_query.as_str(), vec![]),
    ] {
        let mut body = pin!(world.open(line, &headers, "").await.into_body());
        chunk(&mut body).await;
        for expected in &ids[1..] {
            let told = chunk(&mut body).await.unwrap();
            assert_eq!(id(&told), Some(*expected));
        }
    }
    // One from before this run is told that it missed something.
    let mut body = pin!(
        world
            .open("GET /api/v2/events?after=5", &[], "")
            .await
            .into_body()
    );
    chunk(&mut body).await;
    assert_eq!(
        chunk(&mut body).await.unwrap(),
        "event: lagged\ndata: {}\n\n"
    );
    assert_eq!(id(&chunk(&mut body).await.unwrap()), Some(ids[0]));

    let bad = world.send("GET /api/v2/events?after=x", &[], "").await;
    assert_eq!(
        (bad.status.as_u16(), bad.code().as_str()),
        (400, "bad_request")
    );
}

#[actix_web::test]
async fn a_reader_that_does_not_read_is_let_go_and_streams_are_limited() {
    let world = World::with(vec![service("web", 1)], |settings| {
        settings.event_streams_max = 1
    });
    world.subscribe();
    let response = world.open("GET /api/v2/events?after=1", &[], "").await;
    let full = world.send("GET /api/v2/events", &[], "").await;
    assert_eq!(
        (full.status.as_u16(), full.code().as_str()),
        (503, "too_many_streams")
    );
    assert!(full.headers.contains_key("retry-after"));
    {
        let mut body = pin!(response.into_body());
        for _ in 0..3 {
            chunk(&mut body).await;
        }
        let task = world.offer(1, 8, 8_000).remove(0).task;
        for round in 0..crate::runtime::EVENTS_KEPT + 10 {
            let state = if round % 2 == 0 {
                TaskState::Running
            } else {
                TaskState::Unreachable
            };
            world.status(&task, state);
        }
        let mut rest = Vec::new();
        while let Some(told) = chunk(&mut body).await {
            rest.push(told);
        }
        assert_eq!(
            rest.last().map(String::as_str),
            Some("event: lagged\ndata: {}\n\n")
        );
        assert!(rest.len() < 300, "{} chunks were kept for it", rest.len());
    }
    assert_eq!(
        world.open("GET /api/v2/events", &[], "").await.status(),
        200,
        "the place is free"
    );
}

#[actix_web::test]
async fn a_silent_stream_pings() {
    let world = World::new(Vec::new());
    tokio::time::pause();
    let mut body = pin!(world.open("GET /api/v2/events", &[], "").await.into_body());
    chunk(&mut body).await;
    let before = tokio::time::Instant::now();
    let ping = chunk(&mut body).await.unwrap();
    assert!(ping.starts_with("event: ping\ndata: {\"at\":"), "{ping}");
    assert_eq!(before.elapsed().as_secs(), 15);
}

/// The same on a real connection: what is told meanwhile waits nowhere.
#[actix_web::test]
async fn nothing_is_kept_for_a_connection_that_is_not_read() {
    const TOLD: usize = 40_000;
    let world = World::new(vec![service("web", 1)]);
    world.subscribe();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = crate::http::serve(listener, world.state.clone()).unwrap();
    let handle = server.handle();
    tokio::spawn(server);
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    // Little is on its way to a reader that announces little room.
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    stream
        .write_all(b"GET /api/v2/events HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut text = vec![0; 16 << 10];
    let mut read = 0;
    while !String::from_utf8_lossy(&text[..read]).contains("event: snapshot") {
        read += stream.read(&mut text[read..]).await.unwrap();
    }
    let task = world.offer(1, 8, 8_000).remove(0).task;
    for round in 0..TOLD {
        let state = if round % 2 == 0 {
            TaskState::Running
        } else {
            TaskState::Unreachable
        };
        world.status(&task, state);
    }
    let mut rest = Vec::new();
    tokio::time::timeout(Duration::from_secs(60), stream.read_to_end(&mut rest))
        .await
        .expect("the stream ends")
        .unwrap();
    let rest = String::from_utf8_lossy(&rest);
    assert!(rest.contains("event: lagged"), "it is told");
    let events = rest.matches("event: task").count();
    assert!(events < TOLD / 2, "{events} of {TOLD} were kept");
    handle.stop(false).await;
}

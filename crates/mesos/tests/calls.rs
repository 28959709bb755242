//! How calls are sent.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gantry_mesos::scheduler::{CallOutcome, CallReport, Permission, SchedulerEvent, SendError};
use gantry_mesos::v1::scheduler::Call;
use support::{Client, Request, Server, client, config, soon};

fn kill(task: impl ToString) -> Call {
    Call::kill_task(task.to_string().into(), None, None)
}

fn task(call: &Call) -> String {
    call.kill.as_ref().unwrap().task_id.value.clone()
}

async fn report(client: &mut Client) -> CallReport {
    match client.news().await {
        SchedulerEvent::Call(report) => *report,
        other => panic!("expected a report: {other:?}"),
    }
}

async fn start() -> (Server, Client, Request, gantry_mesos::scheduler::Epoch) {
    start_with(|_| {}).await
}

async fn start_with(
    change: impl FnOnce(&mut gantry_mesos::scheduler::SchedulerConfig),
) -> (Server, Client, Request, gantry_mesos::scheduler::Epoch) {
    let mut master = Server::start().await;
    let mut config = config(master.source());
    change(&mut config);
    let mut client = client(config);
    let stream = master.subscribed("f", 15.0).await;
    let epoch = client.subscribed().await.epoch;
    (master, client, stream, epoch)
}

#[tokio::test]
async fn many_calls_leave_in_order_before_the_first_answer() {
    let (mut master, client, stream, epoch) = start().await;
    for i in 0..200 {
        client.calls.send(epoch, kill(i)).await.unwrap();
    }
    let mut requests = Vec::new();
    for i in 0..200 {
        let request = master.request().await;
        assert_eq!(task(&request.call()), i.to_string());
        assert_eq!(request.call().framework_id.unwrap().value, "f");
        assert_eq!(request.header("mesos-stream-id"), Some("stream-1"));
        assert_eq!(
            request.header("content-type"),
            Some("application/x-protobuf")
        );
        assert_eq!(request.path(), "/api/v1/scheduler");
        assert_ne!(request.connection, stream.connection);
        requests.push(request);
    }
    let mut flushed = Box::pin(client.calls.flush());
    for request in &requests {
        assert!(futures_util::poll!(&mut flushed).is_pending());
        request.accept().await;
    }
    soon(flushed).await.unwrap();
}

#[tokio::test]
async fn nothing_leaves_once_the_permission_has_ended() {
    let permitted = Arc::new(AtomicBool::new(true));
    let asked = Arc::clone(&permitted);
    let (mut master, mut client, stream, epoch) = start_with(|config| {
        config.permission = Permission::new(move || asked.load(Ordering::SeqCst));
    })
    .await;
    client.calls.send(epoch, kill("before")).await.unwrap();
    let before = master.request().await;
    assert_eq!(task(&before.call()), "before");

    permitted.store(false, Ordering::SeqCst);
    client.calls.send(epoch, kill("after")).await.unwrap();
    before.accept().await;
    stream.end_stream().await;
    let mut ends = Vec::new();
    while let Some(event) = soon(client.events.next()).await {
        if let SchedulerEvent::Disconnected { reason, .. } = event {
            ends.push(format!("{reason:?}"));
        }
    }
    assert_eq!(ends, ["Closed", "NotPermitted"]);
    assert!(master.try_request().is_none());
}

#[tokio::test]
async fn the_window_and_the_queue_are_bounded() {
    let (mut master, client, _stream, epoch) = start_with(|config| {
        config.limits.calls_in_flight_max = 4;
        config.limits.calls_queued_max = 2;
    })
    .await;
    let sender = client.calls.clone();
    let sending = tokio::spawn(async move {
        for i in 0..50 {
            sender.send(epoch, kill(i)).await.unwrap();
        }
    });
    // As many as the window holds, and the one whose answer is awaited.
    let mut waiting = std::collections::VecDeque::new();
    for _ in 0..5 {
        waiting.push_back(master.request().await);
    }
    while client.calls.try_send(epoch, kill("x")).is_ok() {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        client.calls.try_send(epoch, kill("x")),
        Err(SendError::Full)
    );
    assert!(master.try_request().is_none());
    assert!(!sending.is_finished());
    while let Some(request) = waiting.pop_front() {
        request.accept().await;
        if !sending.is_finished() {
            waiting.push_back(master.request().await);
        }
    }
    soon(sending).await.unwrap();
}

#[tokio::test]
async fn a_rejected_call_is_reported_and_the_others_go_on() {
    let (mut master, mut client, _stream, epoch) = start().await;
    for i in 0..3 {
        client.calls.send(epoch, kill(i)).await.unwrap();
    }
    let (a, b, c) = (
        master.request().await,
        master.request().await,
        master.request().await,
    );
    a.accept().await;
    let text = "Failed to validate scheduler::Call: Expecting 'kill' to be present";
    b.reply("400 Bad Request", "", text).await;
    c.reply("200 OK", "", "").await;
    let report = report(&mut client).await;
    assert_eq!(task(&report.call), "1");
    assert_eq!(
        report.outcome,
        CallOutcome::Rejected {
            status: 400,
            text: text.into()
        }
    );
    soon(client.calls.flush()).await.unwrap();
    client.calls.send(epoch, kill(3)).await.unwrap();
    assert_eq!(master.request().await.connection, c.connection);
}

#[tokio::test]
async fn a_stale_stream_id_leads_to_a_new_subscription() {
    for (status, text) in [
        (
            "400 Bad Request",
            "The stream ID 'x' included in this request didn't match",
        ),
        ("403 Forbidden", "Framework is not subscribed"),
        ("400 Bad Request", "Framework cannot be found"),
        (
            "503 Service Unavailable",
            "Master has not finished recovery",
        ),
        ("404 Not Found", "404 Not Found."),
    ] {
        let (mut master, mut client, _stream, epoch) = start().await;
        client.calls.send(epoch, kill(0)).await.unwrap();
        client.calls.send(epoch, kill(1)).await.unwrap();
        master.request().await.reply(status, "", text).await;
        let rejected = report(&mut client).await;
        assert!(
            matches!(rejected.outcome, CallOutcome::Rejected { .. }),
            "{rejected:?}"
        );
        let unanswered = report(&mut client).await;
        assert!(
            matches!(
                unanswered.outcome,
                CallOutcome::Unknown | CallOutcome::Stale
            ),
            "{unanswered:?}"
        );
        let reason = client.disconnected().await;
        assert!(
            reason.contains("Stale") || reason.contains("Unavailable"),
            "{reason}"
        );
        assert_eq!(
            client.calls.send(epoch, kill(2)).await,
            Err(SendError::Stale)
        );
        // The second call of the old connection may still be on its way.
        loop {
            let request = master.request().await;
            if request.call().kill.is_none() {
                request.open_stream("stream-2").await;
                request.event(&support::subscribed_event("f", 15.0)).await;
                break;
            }
        }
        let epoch = client.subscribed().await.epoch;
        client.calls.send(epoch, kill("new")).await.unwrap();
        let request = master.request().await;
        assert_eq!(task(&request.call()), "new");
        assert_eq!(request.header("mesos-stream-id"), Some("stream-2"));
    }
}

/// An offer whose answer is not taken would be outstanding until the subscription ends.
#[tokio::test]
async fn a_refused_answer_to_offers_leads_to_a_new_subscription() {
    let decline = || Call::decline_offers(vec!["o".into()], None);
    let accept = || Call::accept_offers(vec!["o".into()], Vec::new(), None);
    let (mut master, mut client, mut _stream, mut epoch) = start().await;
    for (call, status) in [
        (decline(), "502 Bad Gateway"),
        (accept(), "500 Internal Server Error"),
        (decline(), "401 Unauthorized"),
        (accept(), "403 Forbidden"),
    ] {
        client.calls.send(epoch, call).await.unwrap();
        master.request().await.reply(status, "", "no").await;
        let rejected = report(&mut client).await;
        assert!(matches!(rejected.outcome, CallOutcome::Rejected { .. }));
        let reason = client.disconnected().await;
        assert!(reason.contains("OffersUnanswered"), "{reason}");
        _stream = master.subscribed("f", 15.0).await;
        epoch = client.subscribed().await.epoch;
    }
}

#[tokio::test]
async fn a_redirected_call_leads_to_the_new_leader() {
    let (mut master, mut client, _stream, epoch) = start().await;
    let mut leader = Server::start().await;
    client.calls.send(epoch, kill(0)).await.unwrap();
    let headers = format!("Location: //{}/api/v1/scheduler\r\n", leader.address);
    master
        .request()
        .await
        .reply("307 Temporary Redirect", &headers, "")
        .await;
    report(&mut client).await;
    assert!(client.disconnected().await.contains("Redirected"));
    leader.subscribed("f", 15.0).await;
    assert_eq!(client.subscribed().await.master, leader.address);
}

#[tokio::test]
async fn calls_without_an_answer_are_unknown_and_end_the_subscription() {
    let (mut master, mut client, _stream, epoch) = start().await;
    for i in 0..3 {
        client.calls.send(epoch, kill(i)).await.unwrap();
    }
    let first = master.request().await;
    for _ in 0..2 {
        master.request().await;
    }
    first.accept().await;
    first.close().await;
    for i in 1..3 {
        let report = report(&mut client).await;
        assert_eq!(
            (task(&report.call), report.outcome),
            (i.to_string(), CallOutcome::Unknown)
        );
    }
    assert!(client.disconnected().await.contains("CallsFailed"));
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_not_waited_for_for_ever() {
    let (mut master, mut client, _stream, epoch) =
        start_with(|config| config.timing.call_timeout = Duration::from_millis(50)).await;
    client.calls.send(epoch, kill(0)).await.unwrap();
    let _silent = master.request().await;
    assert_eq!(report(&mut client).await.outcome, CallOutcome::Unknown);
    assert!(client.disconnected().await.contains("no answer in time"));
}

#[tokio::test]
async fn an_idle_connection_may_be_closed_by_the_server() {
    let (mut master, mut client, stream, epoch) = start().await;
    let mut last = None;
    for i in 0..5 {
        client.calls.send(epoch, kill(i)).await.unwrap();
        let request = master.request().await;
        assert_eq!(task(&request.call()), i.to_string());
        assert_ne!(last.replace(request.connection), Some(request.connection));
        if i % 2 == 0 {
            request
                .reply("202 Accepted", "Connection: close\r\n", "")
                .await;
            soon(client.calls.flush()).await.unwrap();
        } else {
            request.accept().await;
            soon(client.calls.flush()).await.unwrap();
            request.close().await;
            // A call sent before the client has noticed would be lost.
            master.closed(request.connection).await;
        }
    }
    // Still the same subscription.
    stream.event(&support::rescind("o")).await;
    client.event().await;
}

#[tokio::test]
async fn what_is_no_answer_ends_the_subscription() {
    for garbage in [
        "SSH-2.0-OpenSSH\r\n",
        "HTTP/1.1 202 Accepted\r\nContent-Length: x\r\n\r\n",
    ] {
        let (mut master, mut client, _stream, epoch) = start().await;
        client.calls.send(epoch, kill(0)).await.unwrap();
        master.request().await.write(garbage).await;
        assert_eq!(report(&mut client).await.outcome, CallOutcome::Unknown);
        assert!(client.disconnected().await.contains("CallsFailed"));
    }
    // An answer nobody asked for.
    let (mut master, mut client, _stream, epoch) = start().await;
    client.calls.send(epoch, kill(0)).await.unwrap();
    let request = master.request().await;
    request.accept().await;
    request.accept().await;
    assert!(client.disconnected().await.contains("unasked"));
}

#[tokio::test]
async fn calls_of_an_ended_subscription_are_dropped() {
    let (mut master, mut client, stream, old) = start().await;
    stream.close().await;
    client.disconnected().await;
    assert_eq!(client.calls.send(old, kill(0)).await, Err(SendError::Stale));
    master.subscribed("f", 15.0).await;
    let new = client.subscribed().await.epoch;
    assert!(new > old);
    assert_eq!(client.calls.send(old, kill(1)).await, Err(SendError::Stale));
    client.calls.send(new, kill(2)).await.unwrap();
    assert_eq!(task(&master.request().await.call()), "2");
}

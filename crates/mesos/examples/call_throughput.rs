//! How many small calls a second one connection carries on this machine.
//!
//! A bare server in the same process answers every call with 202. Run with
//! `cargo run --release -p gantry-mesos --example call_throughput [calls]`.

use std::error::Error;

use bytes::{Buf, BytesMut};
use gantry_mesos::scheduler::{SchedulerConfig, SchedulerEvent, Subscription, connect};
use gantry_mesos::v1::FrameworkInfo;
use gantry_mesos::v1::scheduler::{Call, Event, event};
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let count: u64 = std::env::args().nth(1).map_or(Ok(300_000), |n| n.parse())?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let config = SchedulerConfig::new(listener.local_addr()?.to_string().parse()?);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });

    let info = FrameworkInfo {
        user: "u".into(),
        name: "n".into(),
        ..Default::default()
    };
    let (_subscription, watched) = tokio::sync::watch::channel(Subscription::new(info));
    let (calls, mut events) = connect(config, watched)?;
    while let Some(event) = events.next().await {
        let SchedulerEvent::Subscribed(subscribed) = event else {
            continue;
        };
        let start = Instant::now();
        for i in 0..count {
            let call = Call::acknowledge_update(
                "6f96ad19-7533-4f65-adbd-eab6c4701992-S1".into(),
                format!("task-{i}").into(),
                vec![7; 16],
            );
            calls.send(subscribed.epoch, call).await?;
        }
        calls.flush().await?;
        let seconds = start.elapsed().as_secs_f64();
        println!(
            "{count} calls in {seconds:.2} s: {:.0} calls/s",
            count as f64 / seconds
        );
        return Ok(());
    }
    Err("the client has stopped".into())
}

/// Answers SUBSCRIBE (a request without a stream id) with a stream, and every other
/// call with 202.
async fn serve(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut input = BytesMut::with_capacity(64 << 10);
    let mut output = Vec::new();
    loop {
        while let Some((head, body, subscribe)) = request(&input) {
            input.advance(head + body);
            if subscribe {
                output.extend_from_slice(&subscription());
            } else {
                output.extend_from_slice(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n");
            }
        }
        stream.write_all(&output).await?;
        output.clear();
        if stream.read_buf(&mut input).await? == 0 {
            return Ok(());
        }
    }
}

/// Length of the head, length of the body, and whether it is a SUBSCRIBE.
fn request(input: &[u8]) -> Option<(usize, usize, bool)> {
    let mut headers = [httparse::EMPTY_HEADER; 16];
    let mut head = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(length) = head.parse(input).ok()? else {
        return None;
    };
    let header = |name: &str| {
        head.headers
            .iter()
            .find(|h| h.name.eq_ignore_ascii_case(name))
    };
    let body = std::str::from_utf8(header("content-length")?.value)
        .ok()?
        .parse()
        .ok()?;
    (input.len() >= length + body).then(|| (length, body, header("mesos-stream-id").is_none()))
}

fn subscription() -> Vec<u8> {
    let event = Event {
        r#type: Some(event::Type::Subscribed.into()),
        subscribed: Some(event::Subscribed {
            framework_id: "f".into(),
            heartbeat_interval_seconds: Some(3600.0),
            master_info: None,
        }),
        ..Event::default()
    }
    .encode_to_vec();
    let record = [format!("{}\n", event.len()).as_bytes(), &event].concat();
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nMesos-Stream-Id: s\r\n\
                Content-Type: application/x-protobuf\r\n\r\n";
    [
        head.as_bytes(),
        format!("{:x}\r\n", record.len()).as_bytes(),
        &record,
        b"\r\n",
    ]
    .concat()
}

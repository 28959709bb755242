//! A hand-driven HTTP server: the test sees each request and writes each answer.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses a part of it"
)]

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use gantry_mesos::address::{HostPort, MasterSource};
use gantry_mesos::scheduler::{
    CallSender, EventStream, SchedulerConfig, SchedulerEvent, Subscribed, Subscription, connect,
};
use gantry_mesos::v1::scheduler::{Call, Event, event};
use gantry_mesos::v1::{FrameworkInfo, OfferId};
use prost::Message;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc, watch};
use tokio_rustls::TlsAcceptor;

/// Far more than any step of a test takes, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what)
        .await
        .expect("this should have happened by now")
}

// === The server ===

pub struct Server {
    pub address: HostPort,
    requests: mpsc::UnboundedReceiver<Request>,
    /// Connections the client has closed.
    closed: mpsc::UnboundedReceiver<usize>,
}

type Writer = Arc<Mutex<Option<Box<dyn AsyncWrite + Send + Unpin>>>>;

pub struct Request {
    /// Number of the connection it came on.
    pub connection: usize,
    pub head: String,
    pub body: Vec<u8>,
    writer: Writer,
}

impl Server {
    pub async fn start() -> Self {
        Self::start_with(None).await
    }

    pub async fn start_with(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, requests) = mpsc::unbounded_channel();
        let (closing, closed) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            for connection in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                let (sender, closing, tls) = (sender.clone(), closing.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, connection, sender).await,
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => serve(stream, connection, sender).await,
                            Err(_) => return,
                        },
                    }
                    let _ = closing.send(connection);
                });
            }
        });
        Self {
            address: HostPort {
                host: "127.0.0.1".into(),
                port,
            },
            requests,
            closed,
        }
    }

    pub fn source(&self) -> MasterSource {
        self.address.to_string().parse().unwrap()
    }

    pub async fn request(&mut self) -> Request {
        soon(self.requests.recv())
            .await
            .expect("the server has stopped")
    }

    /// Waits until the client has closed this connection.
    pub async fn closed(&mut self, connection: usize) {
        while soon(self.closed.recv()).await != Some(connection) {}
    }

    pub fn try_request(&mut self) -> Option<Request> {
        self.requests.try_recv().ok()
    }

    /// The next SUBSCRIBE, answered up to SUBSCRIBED.
    pub async fn subscribed(&mut self, framework: &str, heartbeat_seconds: f64) -> Request {
        let request = self.request().await;
        assert_eq!(request.call().r#type().as_str_name(), "SUBSCRIBE");
        request.open_stream("stream-1").await;
        request
            .event(&subscribed_event(framework, heartbeat_seconds))
            .await;
        request
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    connection: usize,
    requests: mpsc::UnboundedSender<Request>,
) {
    let (mut reader, writer) = tokio::io::split(stream);
    let writer: Writer = Arc::new(Mutex::new(Some(Box::new(writer))));
    let mut buffer = BytesMut::new();
    loop {
        while let Some(end) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8(buffer[..end].to_vec()).unwrap();
            let length = header_of(&head, "content-length").map_or(0, |v| v.parse().unwrap());
            if buffer.len() < end + 4 + length {
                break;
            }
            buffer.advance(end + 4);
            let body = buffer.split_to(length).to_vec();
            let request = Request {
                connection,
                head,
                body,
                writer: Arc::clone(&writer),
            };
            if requests.send(request).is_err() {
                return;
            }
        }
        match reader.read_buf(&mut buffer).await {
            Ok(n) if n > 0 => {}
            _ => return,
        }
    }
}

fn header_of<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(found, _)| found.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        header_of(&self.head, name)
    }

    pub fn path(&self) -> &str {
        self.head.split(' ').nth(1).unwrap()
    }

    pub fn call(&self) -> Call {
        Call::decode(self.body.as_slice()).unwrap()
    }

    /// Errors are ignored: the client may have gone, which the test sees elsewhere.
    pub async fn write(&self, bytes: impl AsRef<[u8]>) {
        if let Some(writer) = self.writer.lock().await.as_mut() {
            let _ = writer.write_all(bytes.as_ref()).await;
            let _ = writer.flush().await;
        }
    }

    pub async fn reply(&self, status: &str, headers: &str, body: impl AsRef<[u8]>) {
        let body = body.as_ref();
        let head = format!(
            "HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n",
            body.len()
        );
        self.write([head.as_bytes(), body].concat()).await;
    }

    pub async fn accept(&self) {
        self.reply("202 Accepted", "", "").await;
    }

    pub async fn open_stream(&self, stream_id: &str) {
        self.write(format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nMesos-Stream-Id: {stream_id}\r\n\
             Content-Type: application/x-protobuf\r\n\r\n"
        ))
        .await;
    }

    /// One chunk, of whatever bytes.
    pub async fn chunk(&self, bytes: &[u8]) {
        let size = format!("{:x}\r\n", bytes.len());
        self.write([size.as_bytes(), bytes, b"\r\n"].concat()).await;
    }

    pub async fn event(&self, event: &Event) {
        self.chunk(&record(event)).await;
    }

    /// Ends the stream as the protocol wants it.
    pub async fn end_stream(&self) {
        self.write("0\r\n\r\n").await;
    }

    /// Closes the connection.
    pub async fn close(&self) {
        if let Some(mut writer) = self.writer.lock().await.take() {
            let _ = writer.shutdown().await;
        }
    }
}

// === Events ===

pub fn record(event: &Event) -> Vec<u8> {
    let body = event.encode_to_vec();
    [format!("{}\n", body.len()).as_bytes(), &body].concat()
}

pub fn subscribed_event(framework: &str, heartbeat_seconds: f64) -> Event {
    Event {
        r#type: Some(event::Type::Subscribed.into()),
        subscribed: Some(event::Subscribed {
            framework_id: framework.into(),
            heartbeat_interval_seconds: Some(heartbeat_seconds),
            master_info: None,
        }),
        ..Event::default()
    }
}

pub fn heartbeat() -> Event {
    Event {
        r#type: Some(event::Type::Heartbeat.into()),
        ..Event::default()
    }
}

pub fn rescind(offer: &str) -> Event {
    Event {
        r#type: Some(event::Type::Rescind.into()),
        rescind: Some(event::Rescind {
            offer_id: OfferId::from(offer),
        }),
        ..Event::default()
    }
}

pub fn error(message: &str) -> Event {
    Event {
        r#type: Some(event::Type::Error.into()),
        error: Some(event::Error {
            message: message.into(),
        }),
        ..Event::default()
    }
}

// === The client ===

pub struct Client {
    pub calls: CallSender,
    pub events: EventStream,
    pub subscription: watch::Sender<Subscription>,
}

/// Settings without pauses, so that tests take no longer than they must.
pub fn config(source: MasterSource) -> SchedulerConfig {
    let mut config = SchedulerConfig::new(source);
    config.timing.connect_delay_max = Duration::ZERO;
    config.timing.backoff_initial = Duration::from_millis(1);
    config.timing.backoff_max = Duration::from_millis(5);
    config
}

pub fn client(config: SchedulerConfig) -> Client {
    let info = FrameworkInfo {
        user: "root".into(),
        name: "test".into(),
        ..FrameworkInfo::default()
    };
    let (subscription, watched) = watch::channel(Subscription::new(info));
    let (calls, events) = connect(config, watched).unwrap();
    Client {
        calls,
        events,
        subscription,
    }
}

impl Client {
    pub async fn next(&mut self) -> SchedulerEvent {
        soon(self.events.next())
            .await
            .expect("the client has stopped")
    }

    /// The next event that is not `Connecting`.
    pub async fn news(&mut self) -> SchedulerEvent {
        loop {
            match self.next().await {
                SchedulerEvent::Connecting { .. } => {}
                event => return event,
            }
        }
    }

    pub async fn subscribed(&mut self) -> Subscribed {
        match self.news().await {
            SchedulerEvent::Subscribed(subscribed) => *subscribed,
            other => panic!("expected Subscribed: {other:?}"),
        }
    }

    pub async fn event(&mut self) -> Event {
        match self.news().await {
            SchedulerEvent::Event { event, .. } => *event,
            other => panic!("expected an event: {other:?}"),
        }
    }

    /// The text of the reason of the next event, which must be `Disconnected`.
    pub async fn disconnected(&mut self) -> String {
        match self.news().await {
            SchedulerEvent::Disconnected { reason, .. } => format!("{reason:?}: {reason}"),
            other => panic!("expected Disconnected: {other:?}"),
        }
    }
}

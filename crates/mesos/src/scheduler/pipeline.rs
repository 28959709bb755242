//! The connection that carries the calls.
//!
//! A master handles the calls of one connection in order, so many can be written one
//! behind the other without waiting for their answers. An HTTP library would send one
//! at a time, or spread them over connections and lose the order; hence the
//! requests are written and the answers read here.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::Message as _;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use super::config::Timing;
use super::event::{CallOutcome, DisconnectReason};
use super::response::{self, Response};
use super::sender::{Failure, Item, Reporter, Session};
use crate::address::{Scheme, redirect_target};
use crate::http::{Http, PROTOBUF};
use crate::v1::scheduler::{Call, call::Type};

/// Calls are gathered up to this many bytes before they are written.
const WRITE_BYTES: usize = 64 << 10;

/// A larger buffer is given back after it has been written.
const BUFFER_KEPT_BYTES_MAX: usize = 1 << 20;

const READ_BYTES: usize = 16 << 10;

/// What has been taken off the queue and has no answer yet.
#[derive(Debug)]
pub(super) struct InFlight {
    /// Taken, but not written: there was no connection yet.
    unsent: Option<Item>,
    /// The one whose answer is being read.
    current: Option<Sent>,
    written: mpsc::Receiver<Sent>,
    window: mpsc::Sender<Sent>,
}

#[derive(Debug)]
enum Sent {
    Call { body: Bytes, deadline: Instant },
    Flush(oneshot::Sender<()>),
}

impl InFlight {
    pub(super) fn new(window: usize) -> Self {
        let (sender, written) = mpsc::channel(window);
        Self {
            unsent: None,
            current: None,
            written,
            window: sender,
        }
    }

    /// Reports everything that will never be answered.
    pub(super) fn give_up(mut self, epoch: super::Epoch, reporter: &Reporter) {
        let current = self.current.take();
        let written = std::iter::from_fn(|| self.written.try_recv().ok());
        for sent in current.into_iter().chain(written) {
            match sent {
                Sent::Call { body, .. } => reporter.report(epoch, &body, CallOutcome::Unknown),
                Sent::Flush(done) => drop(done.send(())),
            }
        }
        match self.unsent.take() {
            Some(Item::Call { epoch, body }) => reporter.report(epoch, &body, CallOutcome::Stale),
            Some(Item::Flush(done)) => drop(done.send(())),
            None => {}
        }
    }
}

/// Sends calls until the subscription proves to be over, connecting anew whenever the
/// server has closed an idle connection. May be cancelled at any point.
pub(super) async fn run(
    http: &Http,
    timing: &Timing,
    session: &Session,
    queue: &mut mpsc::Receiver<Item>,
    in_flight: &mut InFlight,
    reporter: &Reporter,
) -> Failure {
    let failed = |(reason, redirect)| Failure {
        epoch: session.epoch,
        reason,
        redirect,
    };
    let prefix = request_prefix(http, session);
    loop {
        // No call, no connection: a server that closes idle ones is not pestered.
        if in_flight.unsent.is_none() {
            match queue.recv().await {
                Some(item) => in_flight.unsent = Some(item),
                None => std::future::pending().await,
            }
        }
        let io = match connect(http, session).await {
            Ok(io) => io,
            Err(reason) => return failed((DisconnectReason::CallsFailed(reason), None)),
        };
        let (reader, writer) = tokio::io::split(io);
        let InFlight {
            unsent,
            current,
            written,
            window,
        } = &mut *in_flight;
        let write = write(
            writer, &prefix, timing, session, queue, unsent, window, reporter,
        );
        let read = read(reader, session, current, written, reporter);
        tokio::pin!(read);
        let end = tokio::select! {
            end = &mut read => end,
            // The server may have said why before it closed: read on to the end.
            () = write => read.await,
        };
        if let Err(end) = end {
            return failed(end);
        }
    }
}

// === Connecting ===

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}
type Connection = Box<dyn Io>;

async fn connect(http: &Http, session: &Session) -> Result<Connection, String> {
    let master = &session.master;
    let connecting = async {
        let tcp = TcpStream::connect((master.host.as_str(), master.port)).await?;
        tcp.set_nodelay(true)?;
        if http.scheme == Scheme::Http {
            return Ok(Box::new(tcp) as Connection);
        }
        let name = rustls_pki_types::ServerName::try_from(master.host.clone())
            .map_err(std::io::Error::other)?;
        let connector = tokio_rustls::TlsConnector::from(http.tls.clone());
        Ok(Box::new(connector.connect(name, tcp).await?) as Connection)
    };
    match timeout(http.options.connect_timeout, connecting).await {
        Ok(Ok(io)) => Ok(io),
        Ok(Err(e)) => {
            let e: std::io::Error = e;
            Err(format!("connecting to {master} failed: {e}"))
        }
        Err(_) => Err(format!("connecting to {master} took too long")),
    }
}

// === Writing ===

/// Everything of a request's head up to the length of the body.
fn request_prefix(http: &Http, session: &Session) -> Bytes {
    let mut head = BytesMut::with_capacity(512);
    head.put_slice(b"POST /api/v1/scheduler HTTP/1.1\r\nHost: ");
    head.put_slice(session.master.to_string().as_bytes());
    for (name, value) in [
        ("Content-Type", PROTOBUF),
        ("Accept", PROTOBUF),
        ("Mesos-Stream-Id", &session.stream_id),
    ] {
        put_header(&mut head, name, value);
    }
    if let Some(credentials) = &http.options.credentials {
        put_header(&mut head, "Authorization", credentials.expose());
    }
    head.put_slice(b"\r\nContent-Length: ");
    head.freeze()
}

fn put_header(head: &mut BytesMut, name: &str, value: &str) {
    head.put_slice(b"\r\n");
    head.put_slice(name.as_bytes());
    head.put_slice(b": ");
    head.put_slice(value.as_bytes());
}

/// Ends when the connection takes no more.
#[expect(clippy::too_many_arguments, reason = "each belongs to another owner")]
async fn write(
    mut io: WriteHalf<Connection>,
    prefix: &[u8],
    timing: &Timing,
    session: &Session,
    queue: &mut mpsc::Receiver<Item>,
    unsent: &mut Option<Item>,
    window: &mpsc::Sender<Sent>,
    reporter: &Reporter,
) {
    let mut buffer = BytesMut::with_capacity(WRITE_BYTES);
    // The window is entered before the bytes leave, so that an answer always finds
    // its call there; and no await stands between taking a call and entering it,
    // so that a cancelled write loses none.
    loop {
        let Ok(room) = window.reserve().await else {
            return;
        };
        let item = match unsent.take() {
            Some(item) => item,
            None => match queue.recv().await {
                Some(item) => item,
                None => std::future::pending().await,
            },
        };
        let put = |item: Item, room: mpsc::Permit<'_, Sent>, buffer: &mut BytesMut| match item {
            Item::Flush(done) => room.send(Sent::Flush(done)),
            Item::Call { epoch, body } if epoch != session.epoch => {
                reporter.report(epoch, &body, CallOutcome::Stale);
            }
            Item::Call { body, .. } => {
                buffer.put_slice(prefix);
                buffer.put_slice(body.len().to_string().as_bytes());
                buffer.put_slice(b"\r\n\r\n");
                buffer.put_slice(&body);
                room.send(Sent::Call {
                    body,
                    deadline: Instant::now() + timing.call_timeout,
                });
            }
        };
        put(item, room, &mut buffer);
        while buffer.len() < WRITE_BYTES {
            let Ok(room) = window.try_reserve() else {
                break;
            };
            let Ok(item) = queue.try_recv() else { break };
            put(item, room, &mut buffer);
        }
        if !session.permission.holds() {
            return;
        }
        let written = async {
            io.write_all_buf(&mut buffer).await?;
            io.flush().await
        };
        if written.await.is_err() {
            return;
        }
        if buffer.capacity() > BUFFER_KEPT_BYTES_MAX {
            buffer = BytesMut::with_capacity(WRITE_BYTES);
        }
    }
}

// === Reading ===

type End = (DisconnectReason, Option<crate::address::HostPort>);

/// Reads answers; `Ok` if the server closed the connection while nothing was in
/// flight.
async fn read(
    mut io: ReadHalf<Connection>,
    session: &Session,
    current: &mut Option<Sent>,
    written: &mut mpsc::Receiver<Sent>,
    reporter: &Reporter,
) -> Result<(), End> {
    let mut buffer = BytesMut::with_capacity(READ_BYTES);
    loop {
        while current.is_none() {
            // A call enters the window before its bytes leave, so an answer without a
            // call there is an answer to nothing.
            *current = written.try_recv().ok();
            if current.is_some() {
                break;
            }
            if !buffer.is_empty() {
                return Err(failed("the master answers unasked"));
            }
            tokio::select! {
                biased;
                sent = written.recv() => *current = sent,
                more = io.read_buf(&mut buffer) => {
                    *current = written.try_recv().ok();
                    if current.is_none() && !matches!(more, Ok(1..)) {
                        return Ok(());
                    }
                }
            }
        }
        let deadline = match current {
            Some(Sent::Call { deadline, .. }) => *deadline,
            _ => {
                if let Some(Sent::Flush(done)) = current.take() {
                    let _ = done.send(());
                }
                continue;
            }
        };
        let response = match timeout_at(deadline, next_response(&mut io, &mut buffer)).await {
            Ok(response) => response.map_err(failed)?,
            Err(_) => return Err(failed("no answer in time")),
        };
        let Some(Sent::Call { body, .. }) = current.take() else {
            continue;
        };
        let close = response.close;
        if let Some(end) = judge(response, session, &body, reporter) {
            return Err(end);
        }
        if close {
            while let Ok(sent) = written.try_recv() {
                match sent {
                    Sent::Flush(done) => drop(done.send(())),
                    call => {
                        *current = Some(call);
                        return Err(failed("the master closed the connection"));
                    }
                }
            }
            return Ok(());
        }
    }
}

fn failed(reason: impl Into<String>) -> End {
    (DisconnectReason::CallsFailed(reason.into()), None)
}

async fn next_response(
    io: &mut ReadHalf<Connection>,
    buffer: &mut BytesMut,
) -> Result<Response, String> {
    loop {
        if !buffer.is_empty()
            && let Some((response, length)) = response::parse(buffer).map_err(|e| e.to_string())?
        {
            buffer.advance(length);
            return Ok(response);
        }
        buffer.reserve(READ_BYTES);
        match io.read_buf(buffer).await {
            Ok(0) => return Err("the master closed the connection".to_owned()),
            Ok(_) => {}
            Err(e) => return Err(e.to_string()),
        }
    }
}

/// What an answer means (order and texts of Mesos `src/master/http.cpp:scheduler`);
/// `Some` if the subscription is over.
fn judge(response: Response, session: &Session, body: &[u8], reporter: &Reporter) -> Option<End> {
    let Response {
        status,
        location,
        text,
        ..
    } = response;
    if (200..300).contains(&status) {
        return None;
    }
    let outcome = CallOutcome::Rejected {
        status,
        text: text.clone(),
    };
    reporter.report(session.epoch, body, outcome);
    let from = || session.master.clone();
    match status {
        301 | 302 | 307 | 308 => Some(match location.as_deref().and_then(redirect_target) {
            Some(to) => (
                DisconnectReason::Redirected {
                    from: from(),
                    to: to.clone(),
                },
                Some(to),
            ),
            None => (
                DisconnectReason::Unavailable {
                    master: from(),
                    status,
                    text,
                },
                None,
            ),
        }),
        404 | 503 => Some((
            DisconnectReason::Unavailable {
                master: from(),
                status,
                text,
            },
            None,
        )),
        400 | 403 if is_stale(&text) => Some((DisconnectReason::Stale { status, text }, None)),
        _ if answers_offers(body) => {
            Some((DisconnectReason::OffersUnanswered { status, text }, None))
        }
        _ => None,
    }
}

/// Whether the call answers offers, which stay with the framework as long as the subscription when
/// the answer is not taken. What any other call asks for can be asked for again.
fn answers_offers(body: &[u8]) -> bool {
    Call::decode(body).is_ok_and(|call| matches!(call.r#type(), Type::Accept | Type::Decline))
}

fn is_stale(text: &str) -> bool {
    [
        "The stream ID",
        "'Mesos-Stream-Id' header",
        "Framework cannot be found",
        "Framework is not subscribed",
    ]
    .iter()
    .any(|t| text.contains(t))
}

//! Records, streams and the two content types.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::Stream;
use gantry_mesos::descriptor::MesosMessage;
use gantry_mesos::{json, required};

/// `application/json`.
pub(crate) const JSON: &str = "application/json";
/// `application/x-protobuf`.
pub(crate) const PROTOBUF: &str = "application/x-protobuf";

/// Content type of one stream or answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    Protobuf,
}

impl Format {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Json => JSON,
            Self::Protobuf => PROTOBUF,
        }
    }

    /// The type of an answer, by the rules of libprocess: JSON if it is acceptable
    /// at all, else protobuf, else `None` (406).
    pub(crate) fn accepted(accept: Option<&str>) -> Option<Self> {
        let Some(accept) = accept else {
            return Some(Self::Json);
        };
        let allows = |wanted: &str| {
            accept.split(',').any(|range| {
                let mut parts = range.split(';').map(str::trim);
                let name = parts.next().unwrap_or_default();
                let refused = parts.any(|p| {
                    p.strip_prefix("q=")
                        .is_some_and(|q| q.parse::<f64>().is_ok_and(|q| q <= 0.0))
                });
                !refused && (name == wanted || name == "*/*" || name == "application/*")
            })
        };
        if allows(JSON) {
            Some(Self::Json)
        } else if allows(PROTOBUF) {
            Some(Self::Protobuf)
        } else {
            None
        }
    }

    pub(crate) fn encode<M: MesosMessage>(self, message: &M) -> Vec<u8> {
        match self {
            Self::Json => json::to_vec(message),
            Self::Protobuf => message.encode_to_vec(),
        }
    }

    /// One RecordIO record: decimal length, line feed, message.
    pub(crate) fn record<M: MesosMessage>(self, message: &M) -> Bytes {
        match self {
            Self::Json => {
                let body = json::to_vec(message);
                let mut out = BytesMut::with_capacity(body.len() + 12);
                put_length(&mut out, body.len());
                out.put_slice(&body);
                out.freeze()
            }
            Self::Protobuf => {
                let len = message.encoded_len();
                let mut out = BytesMut::with_capacity(len + 12);
                put_length(&mut out, len);
                // The buffer grows as needed, so encoding into it cannot fail.
                let _ = message.encode(&mut out);
                out.freeze()
            }
        }
    }

    /// Reads a call from a request body; the error is the text of a 400 answer.
    pub(crate) fn decode<M: MesosMessage>(self, body: &[u8]) -> Result<M, String> {
        match self {
            Self::Protobuf => required::decode(body)
                .map_err(|_| "Failed to parse body into Call protobuf".to_owned()),
            Self::Json => json::from_json(body).map_err(|e| {
                if e.is_syntax() {
                    format!("Failed to parse body into JSON: {e}")
                } else {
                    format!("Failed to convert JSON into Call protobuf: {e}")
                }
            }),
        }
    }
}

fn put_length(out: &mut BytesMut, mut len: usize) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(len % 10).unwrap_or(0);
        len /= 10;
        if len == 0 {
            break;
        }
    }
    out.put_slice(&digits[at..]);
    out.put_u8(b'\n');
}

/// How a stream ends once its queue is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With the last chunk, as after an ERROR event or a TEARDOWN.
    Clean,
    /// The TCP connection is closed in the middle of the body, as when a master dies.
    Abort,
    /// Nothing more is sent and nothing is closed, as when a cable is cut.
    Silence,
}

/// What waits to be written to one subscriber.
#[derive(Debug)]
pub(crate) struct Outbox {
    format: Format,
    limit: usize,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    records: VecDeque<Bytes>,
    bytes: usize,
    end: Option<End>,
    waker: Option<Waker>,
}

impl Outbox {
    /// `limit`: bytes that may wait; beyond it the stream is cut.
    pub(crate) fn new(format: Format, limit: usize) -> Arc<Self> {
        Arc::new(Self {
            format,
            limit,
            queue: Mutex::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn send<M: MesosMessage>(&self, message: &M) {
        if self.lock().end.is_none() {
            self.push(self.format.record(message));
        }
    }

    fn push(&self, record: Bytes) {
        let waker = {
            let mut queue = self.lock();
            if queue.end.is_some() {
                return;
            }
            queue.bytes += record.len();
            if queue.bytes > self.limit && !queue.records.is_empty() {
                tracing::warn!(
                    waiting = queue.bytes,
                    "a subscriber reads too slowly and is cut off"
                );
                queue.records.clear();
                queue.end = Some(End::Abort);
            } else {
                queue.records.push_back(record);
            }
            queue.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Ends the stream after what is queued (at once for [`End::Abort`] and [`End::Silence`]).
    pub(crate) fn end(&self, end: End) {
        let waker = {
            let mut queue = self.lock();
            if queue.end.is_none() {
                queue.end = Some(end);
            }
            if end != End::Clean {
                queue.records.clear();
            }
            queue.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The body of a streaming answer.
pub(crate) struct RecordStream {
    outbox: Arc<Outbox>,
    on_drop: Option<Box<dyn FnOnce() + Send>>,
}

impl RecordStream {
    /// `on_drop` runs when the connection is gone, whoever closed it.
    pub(crate) fn new(outbox: Arc<Outbox>, on_drop: impl FnOnce() + Send + 'static) -> Self {
        Self {
            outbox,
            on_drop: Some(Box::new(on_drop)),
        }
    }
}

impl Stream for RecordStream {
    type Item = io::Result<Bytes>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut queue = self.outbox.lock();
        if let Some(record) = queue.records.pop_front() {
            queue.bytes = queue.bytes.saturating_sub(record.len());
            return Poll::Ready(Some(Ok(record)));
        }
        match queue.end {
            Some(End::Clean) => Poll::Ready(None),
            Some(End::Abort) => Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into()))),
            Some(End::Silence) => Poll::Pending,
            None => {
                queue.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for RecordStream {
    fn drop(&mut self) {
        if let Some(on_drop) = self.on_drop.take() {
            on_drop();
        }
    }
}

//! One SUBSCRIBE and the stream it opens.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use prost::Message;
use reqwest::header::{ACCEPT, CONTENT_TYPE, LOCATION};
use reqwest::{Response, StatusCode};
use thiserror::Error;
use tokio::time::{Duration, Instant, timeout_at};
use tokio_util::codec::Decoder;

use super::config::Permission;
use super::event::DisconnectReason;
use crate::address::{HostPort, redirect_target};
use crate::http::{Http, PROTOBUF, error_text, root_cause};
use crate::recordio::RecordIo;
use crate::v1::scheduler::Call;

/// Longest stream id the documentation allows, in bytes.
const STREAM_ID_BYTES_MAX: usize = 128;

/// How long to wait for the body of a refusal, which is only for people.
const ERROR_TEXT_TIMEOUT: Duration = Duration::from_secs(2);

/// Records of a subscription as they come.
#[derive(Debug)]
pub(super) struct RecordStream {
    response: Response,
    buffer: BytesMut,
    codec: RecordIo,
}

/// How a master answered SUBSCRIBE.
#[derive(Debug)]
pub(super) enum Answer {
    Stream {
        records: Box<RecordStream>,
        stream_id: String,
    },
    Redirect(HostPort),
    /// The request is at fault.
    Refused {
        status: u16,
        text: String,
    },
}

/// What SUBSCRIBE says, on condition: it is taken when there is a connection to write it to, which
/// may be long after it was decided. Without permission nothing is written, not even the head.
struct Guarded {
    call: Option<Bytes>,
    permission: Permission,
}

impl Body for Guarded {
    type Data = Bytes;
    type Error = NotPermitted;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, NotPermitted>>> {
        let this = self.get_mut();
        let call = this.call.take();
        Poll::Ready(call.map(|call| match this.permission.holds() {
            true => Ok(Frame::data(call)),
            false => Err(NotPermitted),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.call.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.call.as_ref().map_or(0, |call| call.len() as u64))
    }
}

#[derive(Debug, Error)]
#[error("this process may not speak for the framework any more")]
struct NotPermitted;

/// Sends SUBSCRIBE to one master.
pub(super) async fn subscribe(
    http: &Http,
    master: &HostPort,
    call: &Call,
    permission: &Permission,
    record_bytes_max: usize,
    deadline: Instant,
) -> Result<Answer, DisconnectReason> {
    let url = format!("{}://{master}/api/v1/scheduler", http.scheme.as_str());
    let request = http
        .authorized(http.client.post(url))
        .header(CONTENT_TYPE, PROTOBUF)
        // Exactly this: if JSON is acceptable at all, a master prefers it.
        .header(ACCEPT, PROTOBUF)
        .body(reqwest::Body::wrap(Guarded {
            call: Some(call.encode_to_vec().into()),
            permission: permission.clone(),
        }));
    let started = Instant::now();
    let mut response = match timeout_at(deadline, request.send()).await {
        Ok(Ok(response)) => response,
        Ok(Err(_)) if !permission.holds() => return Err(DisconnectReason::NotPermitted),
        Ok(Err(e)) => {
            return Err(DisconnectReason::Connect {
                master: master.clone(),
                reason: root_cause(&e),
            });
        }
        Err(_) => return Err(DisconnectReason::SubscribeTimeout(deadline - started)),
    };
    let status = response.status();
    if status == StatusCode::OK {
        return stream(response, record_bytes_max);
    }
    if status.is_redirection() {
        let location = response
            .headers()
            .get(LOCATION)
            .and_then(|v| v.to_str().ok());
        if let Some(target) = location.and_then(redirect_target) {
            return Ok(Answer::Redirect(target));
        }
    }
    let text = error_text(&mut response, ERROR_TEXT_TIMEOUT).await;
    match status.as_u16() {
        400 | 401 | 403 | 405 | 406 | 411 | 413 | 415 => Ok(Answer::Refused {
            status: status.as_u16(),
            text,
        }),
        status => Err(DisconnectReason::Unavailable {
            master: master.clone(),
            status,
            text,
        }),
    }
}

fn stream(response: Response, record_bytes_max: usize) -> Result<Answer, DisconnectReason> {
    let header = |name: &str| response.headers().get(name).and_then(|v| v.to_str().ok());
    let content_type = header("content-type").unwrap_or_default();
    if content_type != PROTOBUF {
        return Err(DisconnectReason::Protocol(format!(
            "the answer to SUBSCRIBE is '{content_type}' instead of '{PROTOBUF}'; is this a master?"
        )));
    }
    let stream_id = match header("mesos-stream-id") {
        Some(id) if !id.is_empty() && id.len() <= STREAM_ID_BYTES_MAX => id.to_owned(),
        _ => {
            return Err(DisconnectReason::Protocol(
                "the answer to SUBSCRIBE has no usable Mesos-Stream-Id".to_owned(),
            ));
        }
    };
    let codec = RecordIo::new(record_bytes_max);
    let records = Box::new(RecordStream {
        response,
        buffer: BytesMut::new(),
        codec,
    });
    Ok(Answer::Stream { records, stream_id })
}

impl RecordStream {
    /// The next record; `None` if the master closed the stream in an orderly way. May
    /// be cancelled without losing bytes.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, DisconnectReason> {
        loop {
            if let Some(record) = self.codec.decode(&mut self.buffer)? {
                return Ok(Some(record));
            }
            match self.response.chunk().await {
                Ok(Some(chunk)) => self.buffer.extend_from_slice(&chunk),
                Ok(None) => return Ok(self.codec.decode_eof(&mut self.buffer)?),
                Err(e) => return Err(DisconnectReason::Broken(root_cause(&e))),
            }
        }
    }
}

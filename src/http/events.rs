//! `/api/v2/events`: server-sent events with ids, replay and a limit on streams.

use std::{sync::Arc, time::Duration};

use actix_web::{Error, HttpRequest, HttpResponse, http::header, web};
use bytes::Bytes;
use futures_util::stream::{self, Stream};
use tokio::{sync::OwnedSemaphorePermit, time::Interval};

use super::{
    AppState, access,
    error::{ApiError, Code},
    now,
};
use crate::{
    auth::Caller,
    runtime::{Delivery, Event, EventStream},
};

/// A stream is never silent for longer: proxies keep it open, and readers know that it lives.
const PING_EVERY: Duration = Duration::from_secs(15);

/// How long a browser waits before it connects again, in milliseconds.
const RETRY_MILLIS: u32 = 2_000;

/// A stream: what it reads from, and its place among those allowed.
struct Reader {
    events: EventStream,
    ping: Interval,
    stage: Stage,
    caller: Caller,
    state: AppState,
    _place: OwnedSemaphorePermit,
}

#[derive(Clone, Copy, PartialEq)]
enum Stage {
    /// The greeting comes first.
    Greeting,
    /// Events are being sent; `true` once one has been.
    Sending(bool),
    /// The reader was too slow: it has been told, and the stream ends.
    Ended,
}

/// `GET /api/v2/events`. With `Last-Event-ID` (or `?after=`) what was missed is sent first.
///
/// Nothing is queued for a slow reader: it falls behind in the ring that all share, is told so by
/// an event `lagged`, and its stream ends.
pub(crate) async fn get(
    state: web::Data<AppState>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let place = place(&state)?;
    let after = last_event_id(&request)?;
    let reader = Reader {
        events: state.handle().events(after),
        ping: tokio::time::interval_at(tokio::time::Instant::now() + PING_EVERY, PING_EVERY),
        stage: Stage::Greeting,
        caller: Caller::of(&request),
        state: state.get_ref().clone(),
        _place: place,
    };
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "text/event-stream"))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        // Compression would hold events back, and so would a proxy that buffers.
        .insert_header((header::CONTENT_ENCODING, "identity"))
        .insert_header(("x-accel-buffering", "no"))
        .streaming(chunks(reader)))
}

/// A place among the streams that are allowed.
pub(super) fn place(state: &AppState) -> Result<OwnedSemaphorePermit, ApiError> {
    Arc::clone(&state.0.event_streams)
        .try_acquire_owned()
        .map_err(|_| {
            ApiError::new(
                Code::TooManyStreams,
                format!(
                    "there are {} event streams already",
                    state.settings().event_streams_max
                ),
            )
            .remedy("close one, or read the lists every few seconds instead")
        })
}

fn last_event_id(request: &HttpRequest) -> Result<Option<u64>, ApiError> {
    let header = request.headers().get("last-event-id");
    let query = super::query::Query::of(request)?;
    let text = match header.map(|value| value.to_str()) {
        Some(Ok(text)) => Some(text),
        Some(Err(_)) => Some("?"),
        None => query.text("after")?,
    };
    text.filter(|text| !text.is_empty())
        .map(|text| {
            text.parse().map_err(|_| {
                ApiError::new(
                    Code::BadRequest,
                    "`Last-Event-ID` must be the id of an event",
                )
            })
        })
        .transpose()
}

fn chunks(reader: Reader) -> impl Stream<Item = Result<Bytes, Error>> {
    stream::unfold(reader, |mut reader| async move {
        let chunk = reader.next().await?;
        Some((Ok(chunk), reader))
    })
}

impl Reader {
    async fn next(&mut self) -> Option<Bytes> {
        match self.stage {
            Stage::Greeting => {
                self.stage = Stage::Sending(false);
                let at = now().as_millis();
                // The hint is: read the lists now, what comes from here on changes them.
                let text =
                    format!("retry: {RETRY_MILLIS}\nevent: snapshot\ndata: {{\"at\":{at}}}\n\n");
                Some(text.into())
            }
            Stage::Ended => None,
            Stage::Sending(sent) => tokio::select! {
                delivery = self.events.next() => match delivery? {
                    Delivery::Event(event) => {
                        self.stage = Stage::Sending(true);
                        Some(framed(&event))
                    }
                    Delivery::Lagged => {
                        // A reader that comes back after long is told and goes on; one that was
                        // here all the time and did not read is let go.
                        if sent {
                            self.stage = Stage::Ended;
                        }
                        Some(Bytes::from_static(b"event: lagged\ndata: {}\n\n"))
                    }
                },
                _ = self.ping.tick() => {
                    // A stream does not outlive the session that it was opened in.
                    if !access::still(&self.state, &self.caller) {
                        return None;
                    }
                    let at = now().as_millis();
                    Some(format!("event: ping\ndata: {{\"at\":{at}}}\n\n").into())
                }
            },
        }
    }
}

fn framed(event: &Event) -> Bytes {
    // JSON has no raw line breaks, which would end the data.
    let data = serde_json::to_string(event).unwrap_or_default();
    format!(
        "id: {}\nevent: {}\ndata: {data}\n\n",
        event.id,
        event.kind.name()
    )
    .into()
}

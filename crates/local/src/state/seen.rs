//! The latest calls of schedulers as they were answered: who asked for what, and who was refused.

use std::collections::VecDeque;
use std::sync::Arc;

use gantry_mesos::v1::scheduler::call;
use serde::Serialize;

/// So many calls are remembered.
const CALLS_MAX: usize = 10_000;

/// A call, and how it was answered.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct SeenCall {
    /// Counts the calls from 1, so that whoever asks in time knows that none is missing.
    number: u64,
    /// Unix time in milliseconds.
    at: u64,
    call: &'static str,
    /// Null when no such framework is known.
    framework: Option<Arc<str>>,
    /// The `Mesos-Stream-Id`: given by SUBSCRIBE, and sent with every other call.
    stream: Option<Box<str>>,
    /// Of SUBSCRIBE: what the scheduler says of itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    webui_url: Option<Box<str>>,
    /// The HTTP status. A SUBSCRIBE that is refused by an ERROR event has 200 and no framework.
    status: u16,
}

#[derive(Debug, Default)]
pub(crate) struct SeenCalls {
    latest: VecDeque<SeenCall>,
    count: u64,
}

/// What a call is about, besides its answer.
pub(super) struct About<'a> {
    pub(super) kind: call::Type,
    pub(super) framework: Option<Arc<str>>,
    pub(super) stream: Option<&'a str>,
    pub(super) webui_url: Option<&'a str>,
}

impl SeenCalls {
    pub(super) fn add(&mut self, unix_seconds: f64, about: About<'_>, status: u16) {
        self.count += 1;
        if self.latest.len() >= CALLS_MAX {
            self.latest.pop_front();
        }
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let at = (unix_seconds * 1e3) as u64;
        self.latest.push_back(SeenCall {
            number: self.count,
            at,
            call: about.kind.as_str_name(),
            framework: about.framework,
            stream: about.stream.map(Into::into),
            webui_url: about.webui_url.map(Into::into),
            status,
        });
    }

    /// The remembered calls that came after number `after`.
    pub(crate) fn after(&self, after: u64) -> Vec<SeenCall> {
        let first = self.latest.partition_point(|call| call.number <= after);
        self.latest.range(first..).cloned().collect()
    }
}

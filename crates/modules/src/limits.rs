//! What a module may use.

use std::time::Duration;

/// What a module may use. All are per module.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Processor time of one call, and of everything that goes on after an `await` until the next.
    /// Processor time and not time by the clock: a busy machine must not stop a well-behaved module.
    pub call: Duration,
    /// Processor time of loading: a module may prepare tables.
    pub load: Duration,
    /// By the clock: how long an answer to a hook, or a timer's or event's function, may wait for
    /// what it awaits.
    pub settle: Duration,
    /// By the clock: the same for a route, and for loading.
    pub settle_route: Duration,
    /// By the clock: a call that is not back after this time is stuck where it cannot be
    /// interrupted. Far above `call`, because it is a verdict without appeal.
    pub stuck: Duration,
    /// Bytes of everything that the module keeps.
    pub memory: usize,
    /// Bytes of its stack. The thread has more, for the host's own calls.
    pub stack: usize,
    /// Events that wait; more are dropped and counted.
    pub events: usize,
    /// Questions that wait or are being answered; more get no opinion.
    pub questions: usize,
    /// Bytes of an answer, and of a body fetched or sent.
    pub answer: usize,
    /// Timers at once.
    pub timers: usize,
    /// Requests (fetches, changes, writes of state) under way at once.
    pub requests: usize,
    /// Lines of console output a second, and in a burst ten times as many; more are dropped and
    /// counted.
    pub lines_per_second: u32,
    /// The same handler may fail so often in a row; then the module is stopped.
    pub failures: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            call: Duration::from_millis(100),
            load: Duration::from_secs(1),
            settle: Duration::from_secs(10),
            settle_route: Duration::from_secs(30),
            stuck: Duration::from_secs(10),
            memory: 32 << 20,
            stack: 512 << 10,
            events: 1_024,
            questions: 64,
            answer: 1 << 20,
            timers: 256,
            requests: 32,
            lines_per_second: 20,
            failures: 5,
        }
    }
}

/// Stack of a module's thread: that of JavaScript, and room for the host's own frames.
pub(crate) const THREAD_STACK: usize = 4 << 20;

/// Longest text of an error that is kept, in bytes.
pub(crate) const ERROR_MAX: usize = 2_048;

/// Longest line of console output, in bytes.
pub(crate) const LINE_MAX: usize = 4_096;

/// Routes, menus, pages, columns, scripts and styles: so many of each.
pub(crate) const REGISTRATIONS_MAX: usize = 64;

/// Longest name, title, path or key, in bytes.
pub(crate) const NAME_MAX: usize = 128;

/// Keys of a module's state.
pub(crate) const STATE_KEYS_MAX: usize = 200;

/// Bytes of a value of a module's state, as JSON.
pub(crate) const STATE_VALUE_MAX: usize = 16 << 10;

/// Bytes of a file of JavaScript.
pub(crate) const SOURCE_MAX: u64 = 1 << 20;

/// Cuts a text to at most `max` bytes, at a character's boundary.
pub(crate) fn cut(mut text: String, max: usize) -> String {
    if text.len() > max {
        let end = (0..=max).rev().find(|&at| text.is_char_boundary(at));
        text.truncate(end.unwrap_or(0));
        text.push('…');
    }
    text
}

//! The log: lines on standard error and in daily files, in the form of the original.
//!
//! Lines go through a bounded queue to a thread of their own, so that neither a slow disk nor a
//! full pipe can hold up the scheduler. When the queue is full lines are dropped, and their number
//! is logged.

mod files;
mod line;

use std::{
    io::{self, Write as _},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread::JoinHandle,
};

use gantry_core::EnvironmentValue;
use secrecy::ExposeSecret as _;
use tracing::{Event, Level, Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    Layer, Registry, filter::Targets, layer::Context, layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

use crate::config::{Config, LogFormat, LogLevel, Logging};
use files::Files;
use line::Line;

/// Lines that wait for the writing thread.
const QUEUE_LINES: usize = 8_192;

/// Shorter secrets are not looked for: they would cover every other word.
const SECRET_MIN: usize = 5;

/// Keeps the log going. Dropping it writes what is still queued.
#[derive(Debug)]
pub struct LogGuard {
    queue: Option<SyncSender<Queued>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
enum Queued {
    Line {
        /// Absent when it is not important enough.
        console: Option<String>,
        file: String,
    },
    End,
}

/// Starts the log: to standard error what is at least as important as `console`, to the file what
/// is configured. Every one of `secrets` has `****` in its place.
///
/// # Errors
/// The directory or the file cannot be made, or a log has been started before.
pub fn start(logging: &Logging, console: LogLevel, secrets: Vec<String>) -> io::Result<LogGuard> {
    let files = Files::open(logging)?;
    install(logging.level, console, logging.format, secrets, Some(files))
}

/// Starts a log that goes to standard error alone, for commands without a configuration.
///
/// # Errors
/// A log has been started before.
pub fn start_on_stderr(level: LogLevel) -> io::Result<LogGuard> {
    install(level, level, LogFormat::Text, Vec::new(), None)
}

/// The secret values that are configured, to be kept out of the log.
pub fn secrets_of(config: &Config) -> Vec<String> {
    let variables = config
        .services
        .iter()
        .flat_map(|service| &service.template.environment);
    let mut secrets: Vec<_> = variables
        .filter_map(|variable| match &variable.value {
            EnvironmentValue::Secret(secret) => secret.reveal(),
            EnvironmentValue::Plain(_) => None,
        })
        .chain(config.auth.secrets().map(|secret| secret.expose_secret()))
        .chain(of_modules(config))
        .filter(|secret| secret.len() >= SECRET_MIN)
        .map(str::to_owned)
        .collect();
    // The longest first, so that nothing of it is left by a shorter one within.
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets.dedup();
    secrets
}

/// What modules are given under a name that tells a secret: a module may write what it likes.
fn of_modules(config: &Config) -> impl Iterator<Item = &str> {
    const NAMES: [&str; 5] = ["TOKEN", "SECRET", "PASSWORD", "CREDENTIAL", "_KEY"];
    let variables = config.modules.variables.iter();
    variables
        .filter(|(name, _)| NAMES.iter().any(|secret| name.contains(secret)))
        .map(|(_, value)| value.expose_secret())
}

fn install(
    level: LogLevel,
    console: LogLevel,
    format: LogFormat,
    secrets: Vec<String>,
    files: Option<Files>,
) -> io::Result<LogGuard> {
    let (queue, lines) = sync_channel(QUEUE_LINES);
    let dropped = Arc::new(AtomicU64::new(0));
    let dropped_in_thread = Arc::clone(&dropped);
    let thread = std::thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || write_lines(&lines, files, &dropped_in_thread))?;
    // Other people's code speaks only of trouble, unless everything is wanted.
    let others = match level {
        LogLevel::Silly => LevelFilter::DEBUG,
        level => LevelFilter::from_level(level.tracing().min(Level::WARN)),
    };
    // What the client of the master tells is told again by the runtime, which knows what it means.
    let client = match level {
        LogLevel::Info => LevelFilter::WARN,
        level => LevelFilter::from_level(level.tracing()),
    };
    // So is what that of ZooKeeper tells, which repeats it for every attempt to connect.
    let ensemble = match level {
        LogLevel::Info => LevelFilter::ERROR,
        _ => others,
    };
    let filter = Targets::new()
        .with_target("gantry", level.tracing())
        .with_target("gantry_mesos", client)
        .with_target("zookeeper_client", ensemble)
        .with_default(others);
    let layer = LogLayer {
        console: console.tracing(),
        format,
        secrets,
        queue: queue.clone(),
        dropped,
    };
    Registry::default()
        .with(layer.with_filter(filter))
        .try_init()
        .map_err(io::Error::other)?;
    std::panic::set_hook(Box::new(
        |panic| tracing::error!(%panic, "a fault in Gantry"),
    ));
    Ok(LogGuard {
        queue: Some(queue),
        thread: Some(thread),
    })
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        // The layer holds a sender for ever, so the end has to be said.
        if let Some(queue) = self.queue.take()
            && queue.send(Queued::End).is_ok()
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
    }
}

fn write_lines(lines: &Receiver<Queued>, mut files: Option<Files>, dropped: &AtomicU64) {
    while let Ok(Queued::Line { console, file }) = lines.recv() {
        // A log that cannot be written has nowhere to say so.
        if let Some(console) = console {
            let _ = io::stderr().lock().write_all(console.as_bytes());
        }
        if let Some(files) = &mut files {
            files.write(&file);
        }
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let line = format!("warn: {lost} log lines were dropped, as they came too fast\n");
            let _ = io::stderr().lock().write_all(line.as_bytes());
            if let Some(files) = &mut files {
                files.write(&line);
            }
        }
    }
}

struct LogLayer {
    console: Level,
    format: LogFormat,
    secrets: Vec<String>,
    queue: SyncSender<Queued>,
    dropped: Arc<AtomicU64>,
}

impl<S: Subscriber> Layer<S> for LogLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line::of(event);
        line.redact(&self.secrets);
        let (console, file) = match self.format {
            LogFormat::Text => (line.console(), line.file()),
            LogFormat::Json => (line.json(), line.json()),
        };
        let console = (*event.metadata().level() <= self.console).then_some(console);
        match self.queue.try_send(Queued::Line { console, file }) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

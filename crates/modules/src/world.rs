//! What a module may ask of the service around it.

use std::{future::Future, pin::Pin};

use serde_json::Value;

/// What a module may ask of the service around it. Called on the modules' threads: it must answer
/// at once, from memory.
pub trait World: Send + Sync + 'static {
    /// The tasks alive, each a JSON object; those of one workload when it is given. At most
    /// `max`.
    fn tasks(&self, workload: Option<&str>, max: usize) -> Vec<Value>;

    /// Whether a live task has this port on this host name or address: whom the word `tasks` lets
    /// modules fetch from.
    fn has_task_at(&self, host: &str, port: u16) -> bool;

    /// A line of a module's console, or about the module.
    fn log(&self, module: &str, level: Level, line: &str);

    /// Asks for a change. The error is a clause for the module's author.
    fn request(&self, module: &str, request: Request) -> Pending;
}

/// The outcome of a [`Request`], awaited.
pub type Pending = Pin<Box<dyn Future<Output = Result<Value, String>> + Send>>;

/// How loud a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// `console.debug`
    Debug,
    /// `console.log`, `console.info`
    Info,
    /// `console.warn`
    Warn,
    /// `console.error`
    Error,
}

/// A change that a module asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Replace a task by a fresh one.
    Restart {
        /// Its id.
        task: String,
    },
    /// Keep this many instances.
    Scale {
        /// Of which workload.
        workload: String,
        /// How many.
        instances: u32,
    },
    /// Keep a value of the module's state; `None` forgets it. At most 200 keys of 128 bytes, with
    /// values of 16 KiB.
    Store {
        /// Its key.
        key: String,
        /// Its JSON.
        value: Option<String>,
    },
}

//! Tasks and executors as processes.

mod checks;
mod command;
mod environment;
mod executor;
mod fetch;
mod guardian;
mod sandbox;
mod spawn;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};

use crate::cluster::StartError;
use crate::hub::Hub;
use crate::state::{Action, ExecutorKey, TaskKey};
use guardian::Guardian;

/// What a running process is told.
#[derive(Clone, Copy, Debug)]
enum Order {
    /// SIGTERM, then SIGKILL after the grace period (the task's own if `None`).
    Kill(Option<Duration>),
    /// SIGKILL, and nobody wants to know.
    Cancel,
    /// SIGKILL as if from outside.
    Crash,
}

/// What all processes share.
#[derive(Debug)]
struct Shop {
    work_dir: PathBuf,
    hub: Arc<Hub>,
    guardian: Guardian,
    http: reqwest::Client,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Key {
    Task(TaskKey),
    Executor(ExecutorKey),
}

/// Starts and ends processes as the state asks for it.
#[derive(Debug)]
pub(crate) struct Processes {
    stop: oneshot::Sender<()>,
    manager: JoinHandle<()>,
}

impl Processes {
    pub(crate) fn start(
        work_dir: &Path,
        hub: Arc<Hub>,
        actions: mpsc::UnboundedReceiver<Action>,
    ) -> Result<Self, StartError> {
        let failed = |source| StartError::WorkDir {
            path: work_dir.to_owned(),
            source,
        };
        std::fs::create_dir_all(work_dir).map_err(failed)?;
        let work_dir = std::fs::canonicalize(work_dir).map_err(failed)?;
        let guardian = Guardian::start().map_err(StartError::Guardian)?;
        let http = reqwest::Client::builder()
            .no_proxy()
            .build()
            .map_err(|e| StartError::Server(std::io::Error::other(e)))?;
        let shop = Arc::new(Shop {
            work_dir,
            hub,
            guardian,
            http,
        });
        let (stop, stopped) = oneshot::channel();
        let manager = tokio::spawn(manage(shop, actions, stopped));
        Ok(Self { stop, manager })
    }

    /// Kills everything and waits until it is gone.
    pub(crate) async fn stop(self) {
        let _ = self.stop.send(());
        let _ = self.manager.await;
    }
}

async fn manage(
    shop: Arc<Shop>,
    mut actions: mpsc::UnboundedReceiver<Action>,
    mut stopped: oneshot::Receiver<()>,
) {
    let mut orders: HashMap<Key, mpsc::UnboundedSender<Order>> = HashMap::new();
    let mut running: JoinSet<Key> = JoinSet::new();
    loop {
        tokio::select! {
            action = actions.recv() => match action {
                Some(action) => carry_out(&shop, action, &mut orders, &mut running),
                None => break,
            },
            Some(ended) = running.join_next() => {
                if let Ok(key) = ended {
                    orders.remove(&key);
                }
            }
            // Also when the handle is dropped without a stop.
            _ = &mut stopped => break,
        }
    }
    for order in orders.values() {
        let _ = order.send(Order::Cancel);
    }
    while running.join_next().await.is_some() {}
}

fn carry_out(
    shop: &Arc<Shop>,
    action: Action,
    orders: &mut HashMap<Key, mpsc::UnboundedSender<Order>>,
    running: &mut JoinSet<Key>,
) {
    let tell = |key: Key, order: Order| {
        if let Some(orders) = orders.get(&key) {
            let _ = orders.send(order);
        }
    };
    match action {
        Action::Launch(launch) => {
            let key = Key::Task(launch.task);
            let (sender, receiver) = mpsc::unbounded_channel();
            orders.insert(key, sender);
            let shop = Arc::clone(shop);
            running.spawn(async move {
                command::run(&shop, *launch, receiver).await;
                key
            });
        }
        Action::LaunchExecutor(launch) => {
            let key = Key::Executor(launch.executor);
            let (sender, receiver) = mpsc::unbounded_channel();
            orders.insert(key, sender);
            let shop = Arc::clone(shop);
            running.spawn(async move {
                executor::run(&shop, *launch, receiver).await;
                key
            });
        }
        Action::Kill { task, grace } => tell(Key::Task(task), Order::Kill(grace)),
        Action::Cancel { task } => tell(Key::Task(task), Order::Cancel),
        Action::Crash { task } => tell(Key::Task(task), Order::Crash),
        Action::DestroyExecutor { executor } => tell(Key::Executor(executor), Order::Crash),
    }
}

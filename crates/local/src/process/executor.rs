//! The process of a custom executor.

use std::os::unix::process::ExitStatusExt as _;
use std::sync::Arc;

use gantry_mesos::v1::TaskState;
use gantry_mesos::v1::task_status::Reason;
use rustix::process::Signal;
use tokio::sync::mpsc::UnboundedReceiver;

use super::spawn::{Group, arguments};
use super::{Order, Shop, environment, fetch, sandbox};
use crate::state::{ExecutorLaunch, Report};

pub(super) async fn run(
    shop: &Arc<Shop>,
    launch: ExecutorLaunch,
    mut orders: UnboundedReceiver<Order>,
) {
    let key = launch.executor;
    let fail = |report: Report| shop.hub.turn(|s| s.executor_failed(key, report));
    let sandbox = match sandbox::create(&shop.work_dir, &launch.site) {
        Ok(sandbox) => sandbox,
        Err(text) => {
            fail(Report::agent(
                TaskState::TaskDropped,
                Reason::ExecutorTerminated,
                text,
            ));
            return;
        }
    };
    let command = launch.info.command.clone().unwrap_or_default();
    let failed = |text: String| {
        fail(Report::agent(
            TaskState::TaskFailed,
            Reason::ContainerLaunchFailed,
            format!("Failed to launch container: {text}"),
        ));
    };
    let fetched = tokio::select! {
        fetched = fetch::all(shop, &command.uris, &sandbox) => fetched,
        _ = orders.recv() => {
            shop.hub.turn(|s| s.executor_exited(key, None));
            return;
        }
    };
    if let Err(error) = fetched {
        tracing::info!(%error, "an executor's files could not be fetched");
        failed(format!(
            "Failed to fetch all URIs for container '{}': exited with status 1",
            launch.site.container
        ));
        return;
    }
    let variables = environment::of_executor(&launch.site, &sandbox.directory, &command);
    let program = arguments(&command).unwrap_or_default();
    let started = Group::start(
        shop,
        &program,
        &variables,
        &sandbox.directory,
        sandbox.account,
        true,
    )
    .await;
    let mut group = match started {
        Ok(group) => group,
        Err(error) => {
            failed(error.to_string());
            return;
        }
    };
    shop.hub.turn(|s| s.set_executor_pid(key, group.id()));
    let status = loop {
        tokio::select! {
            status = group.wait() => break status.ok().map(|s| s.into_raw()),
            order = orders.recv() => {
                group.signal(Signal::KILL);
                if order.is_none() {
                    break None;
                }
            }
        }
    };
    drop(group);
    shop.hub.turn(|s| s.executor_exited(key, status));
}

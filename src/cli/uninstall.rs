//! `gantry uninstall`: the end of a framework, its tasks and its records.

use std::{
    io::{Write as _, stdin, stdout},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, bail};
use clap::Args;
use gantry_core::{FrameworkId, Record};
use gantry_mesos::{
    scheduler::{
        CallOutcome, CallSender, Epoch, EventStream, RefusalKind, SchedulerEvent, Subscription,
        connect,
    },
    v1::scheduler::Call,
};
use tokio::{sync::watch, time::timeout};

use super::{environment::EnvironmentOptions, home::Home};
use crate::{config::Config, runtime};

/// How long the master may take.
const MESOS_WITHIN: Duration = Duration::from_secs(60);

/// Options of `gantry uninstall`.
#[derive(Args, Debug)]
pub struct UninstallOptions {
    /// The framework's name, instead of typing it when asked
    #[arg(long, value_name = "NAME")]
    pub confirm: Option<String>,
    /// Which framework.
    #[command(flatten)]
    pub environment: EnvironmentOptions,
}

/// Exit code 0 when Mesos does not know the framework any more and nothing is stored, else 1.
pub fn run(options: &UninstallOptions) -> ExitCode {
    let uninstalled = options.environment.config().and_then(|config| {
        confirm(&config, options.confirm.as_deref())?;
        super::block_on(uninstall(&config))
    });
    match uninstalled {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => super::fail(format_args!("{error:#}")),
    }
}

fn confirm(config: &Config, given: Option<&str>) -> anyhow::Result<()> {
    let name = config.framework.name.as_str();
    let given = match given {
        Some(given) => given.to_owned(),
        None => {
            println!("This ends every task of the framework '{name}', and removes all that is");
            println!("stored in {}. It cannot be undone.", config.store);
            print!("Type the framework's name to go on: ");
            stdout().flush()?;
            let mut line = String::new();
            stdin().read_line(&mut line)?;
            line.trim().to_owned()
        }
    };
    if given != name {
        bail!("'{given}' is not the framework's name, '{name}': nothing is done");
    }
    Ok(())
}

async fn uninstall(config: &Config) -> anyhow::Result<()> {
    let home = Home::of(config);
    if let Home::Embedded(path) = &home
        && !path.try_exists()?
    {
        bail!("there is nothing stored in {home}");
    }
    let leading = home.lead().await?;
    let ended = end_tasks(config, &*leading).await;
    if let Err(error) = ended {
        leading.resign().await;
        return Err(error.context(format!("nothing is removed from {home}")));
    }
    let place = home.to_string();
    home.remove(leading).await?;
    println!("{place}: everything is removed");
    Ok(())
}

/// Has Mesos forget the framework, which ends its tasks.
async fn end_tasks(config: &Config, store: &dyn gantry_store::Store) -> anyhow::Result<()> {
    let loaded = store.load().await?;
    let tasks = loaded
        .records
        .iter()
        .filter(|record| matches!(record, Record::Task(_)))
        .count();
    let id = loaded.records.iter().find_map(|record| match record {
        Record::Framework(framework) => Some(framework.id.clone()),
        _ => None,
    });
    let Some(id) = id else {
        println!("no framework id is stored: Mesos knows nothing of this framework");
        return Ok(());
    };
    println!("framework {id}: {tasks} tasks are recorded, and all end");
    let last_words = std::sync::Mutex::new(String::new());
    let asked = timeout(MESOS_WITHIN, tear_down(config, &id, &last_words));
    match asked.await {
        Ok(outcome) => outcome,
        Err(_) => {
            let last = last_words.lock().map(|last| last.clone());
            bail!(
                "Mesos did not accept TEARDOWN within {} s: {}",
                MESOS_WITHIN.as_secs(),
                last.unwrap_or_default()
            )
        }
    }
}

/// Subscribes as the framework, without wanting offers, and asks for its end.
async fn tear_down(
    config: &Config,
    id: &FrameworkId,
    last_words: &std::sync::Mutex<String>,
) -> anyhow::Result<()> {
    let principal = config.mesos.principal.as_deref();
    let mut info = runtime::framework_info(&config.framework, principal, &config.services);
    info.id = Some(id.as_str().into());
    let subscription = Subscription {
        suppressed_roles: info.roles.clone(),
        ..Subscription::new(info)
    };
    let (_subscription, watched) = watch::channel(subscription);
    let (sender, mut events) = connect(runtime::client(&config.mesos), watched)?;
    // Who was asked; the subscription may end before the answer is known.
    let mut asked = None;
    while let Some(event) = events.next().await {
        match event {
            SchedulerEvent::Subscribed(subscribed) => {
                if subscribed.framework_id.value != id.as_str() {
                    bail!("the master gave another framework id");
                }
                let master = subscribed.master;
                if ask(&sender, subscribed.epoch, &mut events).await? {
                    println!("the master at {master} accepted TEARDOWN");
                    return Ok(());
                }
                asked = Some(master);
            }
            SchedulerEvent::Refused {
                kind: RefusalKind::FrameworkRemoved,
                ..
            } => {
                match asked {
                    Some(master) => println!("the master at {master} accepted TEARDOWN"),
                    None => println!("Mesos has removed this framework already"),
                }
                return Ok(());
            }
            SchedulerEvent::Refused { text, kind } if kind.is_final() => {
                bail!("the master refuses: {text}")
            }
            SchedulerEvent::Refused { text, .. } => note(last_words, text),
            SchedulerEvent::Disconnected { reason, .. } => note(last_words, reason.to_string()),
            _ => {}
        }
    }
    bail!("the connection to the master ended")
}

/// Sends TEARDOWN. False when the subscription ended before its fate was known: the next one tells.
async fn ask(sender: &CallSender, epoch: Epoch, events: &mut EventStream) -> anyhow::Result<bool> {
    if sender.send(epoch, Call::teardown()).await.is_err() {
        return Ok(false);
    }
    let answered = sender.flush().await;
    // Only what is not accepted is reported, and before the flush is over.
    loop {
        let event = timeout(Duration::ZERO, events.next()).await;
        match event {
            Ok(Some(SchedulerEvent::Call(report))) => match report.outcome {
                CallOutcome::Rejected { status, text } => {
                    bail!("the master refuses TEARDOWN: {status} {text}")
                }
                CallOutcome::Stale | CallOutcome::Unknown => return Ok(false),
                other => bail!("TEARDOWN: {other:?}"),
            },
            Ok(Some(SchedulerEvent::Refused {
                kind: RefusalKind::FrameworkRemoved,
                ..
            })) => return Ok(true),
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => break,
        }
    }
    answered.context("the connection to the master ended")?;
    Ok(true)
}

fn note(last_words: &std::sync::Mutex<String>, text: String) {
    if let Ok(mut last) = last_words.lock() {
        *last = text;
    }
}

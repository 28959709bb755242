//! `gantry uninstall`: the end of a framework, its tasks and its records.

use std::{
    io::{Write as _, stdin, stdout},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, bail};
use clap::Args;
use gantry_core::{Found, FrameworkId, Key, Record};
use gantry_mesos::{
    scheduler::{
        CallOutcome, CallSender, Epoch, EventStream, RefusalKind, SchedulerEvent, Subscription,
        connect,
    },
    v1::scheduler::Call,
};
use tokio::{sync::watch, time::timeout};

use super::{environment::EnvironmentOptions, home::Home};
use crate::{
    config::Config,
    runtime::{self, identity},
};

/// How long the master may take.
const MESOS_WITHIN: Duration = Duration::from_secs(60);

/// Options of `gantry uninstall`.
#[derive(Args, Debug)]
pub struct UninstallOptions {
    /// The framework's name, instead of typing it when asked
    #[arg(long, value_name = "NAME")]
    pub confirm: Option<String>,
    /// Remove what is stored without asking the Mesos master, which is gone for good: tasks that
    /// still run somewhere go on, and nobody knows of them any more
    #[arg(long)]
    pub without_teardown: bool,
    /// Which framework.
    #[command(flatten)]
    pub environment: EnvironmentOptions,
}

/// Exit code 0 when Mesos does not know the framework any more, if it was to be asked, and nothing is
/// stored; else 1.
pub fn run(options: &UninstallOptions) -> ExitCode {
    let uninstalled = options.environment.config().and_then(|config| {
        confirm(&config, options)?;
        super::block_on(uninstall(&config, options.without_teardown))
    });
    match uninstalled {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => super::fail(format_args!("{error:#}")),
    }
}

fn confirm(config: &Config, options: &UninstallOptions) -> anyhow::Result<()> {
    let name = config.framework.name.as_str();
    let given = match &options.confirm {
        Some(given) => given.clone(),
        None => {
            let store = &config.store;
            if options.without_teardown {
                println!(
                    "This removes all that is stored in {store} of the framework '{name}'. Its tasks"
                );
                println!(
                    "are not ended: where they still run, nobody knows of them any more. It cannot be undone."
                );
            } else {
                println!("This ends every task of the framework '{name}', and removes all that is");
                println!("stored in {store}. It cannot be undone.");
            }
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

async fn uninstall(config: &Config, without_teardown: bool) -> anyhow::Result<()> {
    let home = Home::of(config, "uninstall");
    let is_empty = match &home {
        Home::Embedded(path) => !path.try_exists()?,
        // What cannot be read is something, too.
        home => home.read().await.is_ok_and(|loaded| loaded.is_none()),
    };
    if is_empty {
        bail!(
            "there is nothing stored in {home}: FRAMEWORK_NAME, STORE, ZK_URL and ZK_PATH say where it is"
        );
    }
    let leading = home.lead().await?;
    let ended = async {
        // Before anything is ended: whoever leads next would go on with what is stored.
        home.require_alone().await?;
        end_tasks(config, &*leading, without_teardown).await
    };
    let ended = match ended.await {
        Ok(ended) => ended,
        Err(error) => {
            leading.resign().await;
            return Err(error.context(format!("nothing is removed from {home}")));
        }
    };
    let place = home.to_string();
    home.remove(leading).await.with_context(|| {
        let but = if ended {
            "the tasks have ended, but "
        } else {
            ""
        };
        format!("{but}not all is removed from {place}: repeat `gantry uninstall`")
    })?;
    super::tell(format_args!("{place}: everything is removed"));
    Ok(())
}

/// Has Mesos forget the framework, which ends its tasks; false when it is not to be asked.
async fn end_tasks(
    config: &Config,
    store: &dyn gantry_store::Store,
    without_teardown: bool,
) -> anyhow::Result<bool> {
    // Also of a restoration that was cut off.
    let loaded = store.salvage().await?;
    let mut rejected = loaded.rejected.iter();
    let unreadable_id = rejected
        .find(|rejected| rejected.of == Some(Key::Framework))
        .cloned();
    let found = Found::from(loaded);
    let name = &config.framework.task_name;
    if let Some(other) = found.other_framework(name) {
        return Err(identity::refusal(other, name).into());
    }
    let tasks = identity::tasks(&found);
    let id = found.records.iter().find_map(|record| match record {
        Record::Framework(framework) => Some(framework.id.clone()),
        _ => None,
    });
    if without_teardown {
        super::tell(format_args!(
            "{tasks} tasks are recorded; none is ended, as the master is not asked"
        ));
        return Ok(false);
    }
    if let Some(rejected) = unreadable_id {
        bail!(
            "the framework's id cannot be read: {}: {}; mend it, or restore a backup",
            rejected.key,
            rejected.reason
        );
    }
    let Some(id) = id else {
        if tasks > 0 {
            bail!(
                "{tasks} records are of tasks or may be, but no framework id is stored by which Mesos could be asked to end them: restore it from a backup, or give --without-teardown to forget tasks that may still run"
            );
        }
        super::tell(format_args!(
            "no framework id is stored: Mesos knows nothing of this framework"
        ));
        return Ok(true);
    };
    super::tell(format_args!(
        "framework {id}: {tasks} tasks are recorded, and all end"
    ));
    let last_words = std::sync::Mutex::new(String::new());
    let asked = timeout(MESOS_WITHIN, tear_down(config, &id, &last_words));
    match asked.await {
        Ok(outcome) => outcome.map(|()| true),
        Err(_) => {
            let last = last_words.lock().map(|last| last.clone());
            bail!(
                "Mesos did not accept TEARDOWN within {} s: {}; where the cluster is gone for good, give --without-teardown",
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
                    super::tell(format_args!("the master at {master} accepted TEARDOWN"));
                    return Ok(());
                }
                asked = Some(master);
            }
            SchedulerEvent::Refused {
                kind: RefusalKind::FrameworkRemoved,
                ..
            } => {
                match asked {
                    Some(master) => {
                        super::tell(format_args!("the master at {master} accepted TEARDOWN"))
                    }
                    None => super::tell(format_args!("Mesos has removed this framework already")),
                }
                return Ok(());
            }
            SchedulerEvent::Refused {
                text, stops: true, ..
            } => {
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

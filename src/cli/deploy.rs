//! `gantry deploy`: rolling updates and restarts, and what is done about them.

use std::{io::Write, process::ExitCode, time::Duration};

use clap::{Args, Subcommand};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use super::{
    leader::{AskError, Remote},
    output::{self, Output, Table, ago, clean, colours, or_none},
};

/// How often a deployment is looked at while one waits for its end.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// While one waits, Gantry may be silent for so long: another has to take over, or it is started anew.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Options of `gantry deploy`.
#[derive(Args, Debug)]
pub struct DeployOptions {
    /// What is done.
    #[command(subcommand)]
    pub action: Action,
}

/// What is done with deployments.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// The deployments, the youngest first
    List(ListOptions),
    /// How one deployment stands
    Status(StandingOptions),
    /// Stop moving further tasks, until `resume`
    Pause(ActOptions),
    /// Go on
    Resume(ActOptions),
    /// End it where it is
    Abort(ActOptions),
    /// Move the tasks back to the revision before; also when it is done
    Rollback(ActOptions),
}

/// Options of `gantry deploy list`.
#[derive(Args, Debug)]
pub struct ListOptions {
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..))]
    pub limit: u16,
    /// Who is asked.
    #[command(flatten)]
    pub remote: Remote,
}

/// Options of `gantry deploy status`.
#[derive(Args, Debug)]
pub struct StandingOptions {
    /// Its number
    #[arg(value_name = "ID")]
    pub id: u64,
    /// Until it has ended or is paused; the exit code is 0 only when it is done
    #[arg(long)]
    pub wait: bool,
    /// Who is asked.
    #[command(flatten)]
    pub remote: Remote,
}

/// Options of what changes a deployment.
#[derive(Args, Debug)]
pub struct ActOptions {
    /// Its number
    #[arg(value_name = "ID")]
    pub id: u64,
    /// Why, for the audit
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Who is asked.
    #[command(flatten)]
    pub remote: Remote,
}

#[derive(Deserialize)]
struct Deployment {
    id: u64,
    kind: String,
    workload: Option<String>,
    from_revision: Option<u32>,
    to_revision: Option<u32>,
    status: String,
    reason: Option<String>,
    total: u32,
    done: u32,
    started_at: u64,
}

impl Deployment {
    fn revisions(&self) -> String {
        match (self.from_revision, self.to_revision) {
            (Some(from), Some(to)) => format!("{from} -> {to}"),
            _ => "-".to_owned(),
        }
    }

    /// Whether it goes on by itself.
    fn moves(&self) -> bool {
        matches!(self.status.as_str(), "running" | "rolling_back")
    }
}

/// Does it. Exit code 0, but for waiting: 1 when the deployment has not come to its end.
///
/// # Errors
/// Gantry refuses or does not answer, or `out` cannot be written to.
pub async fn run(options: &DeployOptions, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    match &options.action {
        Action::List(options) => list(options, out).await?,
        Action::Status(options) => return standing(options, out).await,
        Action::Pause(options) => act("pause", options, out).await?,
        Action::Resume(options) => act("resume", options, out).await?,
        Action::Abort(options) => act("abort", options, out).await?,
        Action::Rollback(options) => act("rollback", options, out).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(options: &ListOptions, out: &mut dyn Write) -> anyhow::Result<()> {
    let leader = options.remote.leader()?;
    let listed = leader
        .list("/api/v2/deployments", usize::from(options.limit))
        .await?;
    if options.remote.output == Output::Json {
        return Ok(output::json(out, &listed)?);
    }
    let mut table = Table::new([
        "ID",
        "KIND",
        "WORKLOAD",
        "REVISIONS",
        "STATUS",
        "DONE",
        "STARTED",
        "REASON",
    ]);
    for deployment in listed.entries::<Deployment>()? {
        table.row([
            deployment.id.to_string(),
            deployment.kind.clone(),
            deployment
                .workload
                .clone()
                .unwrap_or_else(|| "(all)".to_owned()),
            deployment.revisions(),
            deployment.status.clone(),
            format!("{} of {}", deployment.done, deployment.total),
            ago(deployment.started_at),
            or_none(deployment.reason.as_deref()).to_owned(),
        ]);
    }
    table.write(out, colours())?;
    Ok(())
}

async fn standing(options: &StandingOptions, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let leader = options.remote.leader()?;
    let path = format!("/api/v2/deployments/{}", options.id);
    let mut progress = None;
    let mut silent_since = None;
    loop {
        let asked = Instant::now();
        let answer = if options.wait {
            // A Gantry that stands still answers nothing, and closes nothing.
            let silent = silent_since.map_or(Duration::ZERO, |since: Instant| since.elapsed());
            let left = SILENCE_MAX.saturating_sub(silent);
            let answer = timeout(left, leader.json(&path)).await;
            answer.unwrap_or_else(|_| Err(leader.late(SILENCE_MAX).into()))
        } else {
            leader.json(&path).await
        };
        let answer = match answer {
            Ok(answer) => answer,
            // It may just be changing hands.
            Err(error) if options.wait && may_pass(&error) => {
                let first = silent_since.is_none();
                let since = *silent_since.get_or_insert(asked);
                if since.elapsed() >= SILENCE_MAX {
                    return Err(error);
                }
                if first {
                    eprintln!("gantry: {error:#}; trying again");
                }
                tokio::time::sleep(LOOK_EVERY).await;
                continue;
            }
            Err(error) => return Err(error),
        };
        silent_since = None;
        let deployment = Deployment::deserialize(&answer)?;
        if !options.wait || !deployment.moves() {
            show(&answer, &deployment, options.remote.output, out)?;
            let fine = !options.wait || deployment.status == "done";
            return Ok(ExitCode::from(u8::from(!fine)));
        }
        let now = (deployment.status.clone(), deployment.done);
        if progress.as_ref() != Some(&now) {
            let (status, total) = (clean(&deployment.status), deployment.total);
            eprintln!("{status}, {} of {total} done", deployment.done);
            progress = Some(now);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn may_pass(error: &anyhow::Error) -> bool {
    let asked = error.downcast_ref::<AskError>();
    asked.is_some_and(AskError::may_pass)
}

async fn act(action: &str, options: &ActOptions, out: &mut dyn Write) -> anyhow::Result<()> {
    let path = format!("/api/v2/deployments/{}/{action}", options.id);
    let leader = options.remote.leader()?;
    let answer = leader
        .change(Method::POST, &path, json!({}), options.reason.as_deref())
        .await?;
    let deployment = Deployment::deserialize(&answer)?;
    show(&answer, &deployment, options.remote.output, out)
}

fn show(
    answer: &Value,
    deployment: &Deployment,
    written: Output,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    if written == Output::Json {
        return Ok(output::json(out, answer)?);
    }
    let workload = deployment.workload.as_deref().map(clean);
    let workload = workload.as_deref().unwrap_or("all workloads");
    let kind = clean(&deployment.kind).replace('_', " ");
    writeln!(out, "deployment   {}", deployment.id)?;
    writeln!(out, "kind         {kind} of {workload}")?;
    if deployment.to_revision.is_some() {
        writeln!(out, "revisions    {}", deployment.revisions())?;
    }
    writeln!(
        out,
        "status       {}",
        clean(&deployment.status).replace('_', " ")
    )?;
    if let Some(reason) = &deployment.reason {
        writeln!(out, "reason       {}", clean(reason))?;
    }
    writeln!(
        out,
        "done         {} of {}",
        deployment.done, deployment.total
    )?;
    writeln!(out, "started      {} ago", ago(deployment.started_at))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::{super::leader::Address, *};

    #[tokio::test]
    async fn whoever_waits_bears_a_change_of_the_leader_and_no_refusal() {
        let done = r#"{"id":1,"kind":"update","status":"done","total":2,"done":2,"started_at":0}"#;
        let reply = |status: &str, body: &str| {
            let length = body.len();
            format!(
                "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
            )
        };
        let away = r#"{"error":{"message":"there is no leader at the moment"}}"#;
        let unknown = r#"{"error":{"message":"there is no such deployment"}}"#;
        let answers = [
            // Cut off before a word.
            String::new(),
            reply("503 Service Unavailable", away),
            reply("200 OK", done),
            reply("404 Not Found", unknown),
        ];
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = stream.read(&mut [0; 8_192]).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        let options = StandingOptions {
            id: 1,
            wait: true,
            remote: Remote {
                address: Address { url: Some(url) },
                output: Output::Text,
            },
        };
        let mut out = Vec::new();
        standing(&options, &mut out).await.unwrap();
        let out = String::from_utf8(out).unwrap();
        assert!(out.contains("status       done"), "{out}");

        let error = standing(&options, &mut Vec::new()).await.unwrap_err();
        assert!(error.to_string().contains("no such deployment"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_gives_a_gantry_up_that_stands_still() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            loop {
                let held = listener.accept().await;
                tokio::spawn(async move {
                    std::future::pending::<()>().await;
                    drop(held);
                });
            }
        });
        let options = StandingOptions {
            id: 1,
            wait: true,
            remote: Remote {
                address: Address { url: Some(url) },
                output: Output::Text,
            },
        };
        let began = Instant::now();
        let error = standing(&options, &mut Vec::new()).await.unwrap_err();
        assert!(may_pass(&error), "{error}");
        let took = began.elapsed();
        assert!(took >= SILENCE_MAX && took < SILENCE_MAX * 2, "{took:?}");
    }
}

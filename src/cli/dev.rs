//! `gantry dev`: a cluster of this machine and Gantry on it, in one process.

use std::{
    collections::BTreeMap,
    fs,
    io::{IsTerminal as _, Write as _, stdout},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use clap::Args;
use gantry_core::View;
use gantry_local::{Cluster, ClusterHandle, ClusterOptions};

use super::{fail, local::agents_here};
use crate::{
    config::{Config, LogLevel, ProcessEnvironment, Variables, env_file, sample},
    logging,
    runtime::Handle,
    service::{Service, Signals, StartOptions},
};

/// Where HTTP is served, unless said otherwise and if it is free.
const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 3000);

/// What each agent offers. Nothing holds tasks to it: it is only counted.
const CPUS: f64 = 4.0;
const MEM: f64 = 4096.0;

/// How often the progress is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Options of `gantry dev`.
#[derive(Args, Clone, Debug)]
pub struct DevOptions {
    /// Where the dashboard and the API are served, on loopback unless login is configured; 127.0.0.1:3000, or any port if that is taken
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: Option<SocketAddr>,
    /// Where everything is kept: records, log, sandboxes
    #[arg(long, value_name = "DIR", default_value = ".gantry")]
    pub data_dir: PathBuf,
    /// How many agents the cluster has
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub agents: u16,
    /// Read this file of NAME=value lines instead of the environment of the process
    #[arg(long, value_name = "FILE")]
    pub env_file: Option<PathBuf>,
}

/// Runs until a signal; every task ends with it, and is started again the next time.
pub fn run(options: &DevOptions) -> ExitCode {
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(error),
    };
    let outcome = runtime.block_on(dev(options));
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(format_args!("{error:#}")),
    }
}

async fn dev(options: &DevOptions) -> anyhow::Result<()> {
    let began = Instant::now();
    let listen = address(options.listen);
    let data = std::path::absolute(&options.data_dir)?;
    let mut signals = Signals::catch()?;

    // Mistakes are told before anything is started.
    let variables = variables(options, listen, &data)?;
    let config = read(&variables)?;
    refuse_strangers(listen, &config)?;
    fs::create_dir_all(&data)
        .with_context(|| format!("the directory {} cannot be made", data.display()))?;
    let fixed: Vec<_> = config
        .services
        .iter()
        .flat_map(|service| service.template.demand.fixed_ports.iter().copied())
        .collect();
    let agents = agents_here(usize::from(options.agents), CPUS, MEM, &fixed);
    let cluster = Cluster::start(ClusterOptions::real(data.join("work"), agents)).await?;
    // The cluster has processes of its own: it is shut down on every way out.
    let outcome = on(&cluster, variables, &data, &mut signals, began).await;
    cluster.shutdown().await;
    outcome
}

fn read(variables: &BTreeMap<String, String>) -> anyhow::Result<Config> {
    Config::read(variables)
        .map(|(config, _)| config)
        .map_err(|report| {
            eprint!("{report}");
            anyhow::anyhow!("the declarations above have to be mended first")
        })
}

async fn on(
    cluster: &ClusterHandle,
    mut variables: BTreeMap<String, String>,
    data: &Path,
    signals: &mut Signals,
    began: Instant,
) -> anyhow::Result<()> {
    let master = cluster.master_address().to_string();
    variables.insert("MESOS_MASTER".to_owned(), master);
    let config = read(&variables)?;
    let secrets = logging::secrets_of(&config);
    let _log = logging::start(&config.logging, LogLevel::Error, secrets)?;
    let start = StartOptions {
        forget_framework_id: None,
    };
    let service = Service::start(&config, start).await?;
    println!("dashboard  http://{}", service.address());
    println!("master     http://{}", cluster.master_address());
    println!("data       {}", data.display());
    if config.auth.is_open() {
        println!("Whoever has an account on this machine can use both: there is no login.");
    }
    println!("Ctrl-C stops everything.");
    let progress = tokio::spawn(progress(service.handle().clone(), service.address(), began));
    let outcome = service.run(signals).await;
    progress.abort();
    println!("stopped; the next start goes on with the same framework, counts and history");
    Ok(outcome?)
}

/// The address to serve on.
fn address(asked: Option<SocketAddr>) -> SocketAddr {
    if let Some(asked) = asked {
        return asked;
    }
    match TcpListener::bind(LISTEN) {
        Ok(_) => LISTEN,
        Err(_) => SocketAddr::new(LISTEN.ip(), 0),
    }
}

/// Without login nobody else may reach what runs commands on this machine.
fn refuse_strangers(listen: SocketAddr, config: &Config) -> anyhow::Result<()> {
    if !listen.ip().is_loopback() && config.auth.is_open() {
        bail!(
            "--listen {listen}: there is no login, so that everybody who reaches {} could run \
             commands on this machine; configure one, or use a loopback address such as \
             127.0.0.1:{}, with an ssh tunnel from elsewhere",
            listen.ip(),
            listen.port()
        );
    }
    Ok(())
}

/// What is declared, and in what is not, what suits a machine of one's own.
fn variables(
    options: &DevOptions,
    listen: SocketAddr,
    data: &Path,
) -> anyhow::Result<BTreeMap<String, String>> {
    let mut variables = match &options.env_file {
        Some(path) => {
            let text = fs::read_to_string(path)
                .with_context(|| format!("{} cannot be read", path.display()))?;
            env_file::parse(&text).map_err(|errors| {
                let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
                anyhow::anyhow!("{}: {}", path.display(), errors.join("; "))
            })?
        }
        None => {
            let environment = ProcessEnvironment::snapshot();
            let names = environment.names().into_iter();
            names
                .filter_map(|name| Some((name.to_owned(), environment.get(name).ok()??.to_owned())))
                .collect()
        }
    };
    if !sample::declares_work(&variables) {
        let gantry = std::env::current_exe().context("the path of this program is not known")?;
        variables.extend(sample::work(&gantry));
    }
    for ours in [
        "MASTER_IP",
        "MESOS_MASTER",
        "LISTEN",
        "FRAMEWORK_WEBUI_URL",
        "CREDENTIALS_URL",
        "LOG_DIR",
    ] {
        variables.remove(ours);
    }
    variables.extend([
        ("HOST".to_owned(), listen.ip().to_string()),
        ("PORT0".to_owned(), listen.port().to_string()),
        (
            "MESOS_SANDBOX".to_owned(),
            data.to_string_lossy().into_owned(),
        ),
    ]);
    let store = format!("embedded:{}", data.join("gantry.redb").display());
    for (name, value) in [("FRAMEWORK_NAME", "dev"), ("STORE", store.as_str())] {
        variables
            .entry(name.to_owned())
            .or_insert_with(|| value.to_owned());
    }
    Ok(variables)
}

// === Progress ===

/// Tells how far the start is until everything runs, then what can be tried.
async fn progress(handle: Handle, address: SocketAddr, began: Instant) {
    let live = stdout().is_terminal();
    let mut shown = String::new();
    loop {
        let view = handle.view();
        let line = line(&view);
        if line != shown {
            // On a terminal the line is written over itself.
            let (start, end) = if live { ("\r\x1b[2K", "") } else { ("", "\n") };
            let mut out = stdout().lock();
            let _ = write!(out, "{start}{line}{end}").and_then(|()| out.flush());
            shown = line;
        }
        if complete(&view) {
            break;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let url = format!("http://{address}");
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "{}everything runs, {seconds:.1} s after the start",
        if live { "\n" } else { "" }
    );
    let view = handle.view();
    let Some(workload) = view.workloads.first() else {
        println!("nothing is declared yet: set TASK0_NAME and its kind, see `gantry env`");
        return;
    };
    let name = &workload.name;
    let more = workload.desired.saturating_add(2);
    println!("\nTry:");
    if let Some((_, task)) = workload.tasks().next()
        && let Some(port) = task.ports.first()
    {
        println!("  curl {}:{port}/", task.agent.ip);
    }
    println!("  curl {url}/api/v1/tasks/launched");
    println!("  curl -X PUT {url}/api/v1/tasks/types/{name}/scale/{more}");
    println!("  curl -X POST '{url}/api/v1/tasks/rollingRestart?sure=yes'");
    println!("  curl -N {url}/api/v2/events\n");
}

fn line(view: &View) -> String {
    let workloads = view.workloads.iter().map(|workload| {
        let counts = &workload.counts;
        let mut text = format!(
            "{} {}/{} running",
            workload.name, counts.running, workload.desired
        );
        for (count, word) in [
            (counts.starting, "starting"),
            (counts.admitting, "waiting for modules"),
            (counts.waiting, "waiting"),
            (counts.backing_off, "backing off"),
        ] {
            if count > 0 {
                text.push_str(&format!(", {count} {word}"));
            }
        }
        text
    });
    let workloads: Vec<_> = workloads.collect();
    workloads.join(" | ")
}

/// Whether every instance runs, and is healthy where that is checked.
fn complete(view: &View) -> bool {
    view.workloads.iter().all(|workload| {
        let checked = workload
            .template()
            .is_some_and(|template| template.health_check.is_some());
        let ready = if checked {
            workload.counts.healthy
        } else {
            workload.counts.running
        };
        workload.removed || ready >= workload.desired
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_need_a_login() {
        let config = |more: &[(&str, &str)]| {
            let base = [
                ("FRAMEWORK_NAME", "dev"),
                ("TASK_DEF_NUM", "0"),
                ("STORE", "memory"),
            ];
            let variables = base.iter().chain(more);
            let variables =
                variables.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            read(&variables.collect()).unwrap()
        };
        let everywhere = ([0, 0, 0, 0], 3000).into();
        let error = refuse_strangers(everywhere, &config(&[])).unwrap_err();
        assert!(error.to_string().contains("no login"), "{error}");
        let login = config(&[("HTTP_CREDENTIALS", "me:a-long-password")]);
        assert!(refuse_strangers(everywhere, &login).is_ok());
        assert!(refuse_strangers(([127, 0, 0, 2], 0).into(), &config(&[])).is_ok());
    }
}

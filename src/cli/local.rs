//! `gantry local`: a Mesos-compatible cluster of this machine alone.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
};

use clap::Args;
use gantry_local::{AgentOptions, Cluster, ClusterOptions};

use super::fail;
use crate::{config::LogLevel, logging, service::Signals};

/// Options of `gantry local`.
#[derive(Args, Clone, Debug)]
pub struct LocalOptions {
    /// Where the master listens; port 0 takes a free one
    #[arg(long, value_name = "ADDR:PORT", default_value_t = SocketAddr::from((Ipv4Addr::LOCALHOST, 5050)))]
    pub listen: SocketAddr,
    /// How many agents
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub agents: u16,
    /// Tasks are only made up, not run
    #[arg(long)]
    pub simulated: bool,
    /// Cpus that each agent offers
    #[arg(long, value_name = "N", default_value_t = 4.0)]
    pub cpus: f64,
    /// Megabytes of memory that each agent offers
    #[arg(long, value_name = "MB", default_value_t = 4096.0)]
    pub mem: f64,
    /// Where the sandboxes of tasks are
    #[arg(long, value_name = "DIR", default_value = ".gantry/local")]
    pub work_dir: PathBuf,
}

/// Megabytes of disk that each agent offers: enough for every sandbox.
pub(super) const DISK: f64 = 10_000.0;

/// Runs until a signal; every task ends with it.
pub fn run(options: &LocalOptions) -> ExitCode {
    let _log = match logging::start_on_stderr(LogLevel::Warn) {
        Ok(log) => log,
        Err(error) => return fail(error),
    };
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(error),
    };
    match runtime.block_on(serve(options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(error),
    }
}

async fn serve(options: &LocalOptions) -> anyhow::Result<()> {
    let mut signals = Signals::catch()?;
    let agents = usize::from(options.agents);
    let agents = AgentOptions::many(agents, options.cpus, options.mem, DISK);
    let mut cluster = if options.simulated {
        ClusterOptions::simulated(agents)
    } else {
        let work_dir = std::path::absolute(&options.work_dir)?;
        ClusterOptions::real(work_dir, agents)
    };
    cluster.listen = options.listen;
    let cluster = Cluster::start(cluster).await?;
    println!("master at {}", cluster.master_address());
    for id in cluster.agent_ids() {
        println!("agent {id}");
    }
    println!(
        "Run `MESOS_MASTER={} gantry serve` with your declarations; Ctrl-C stops the cluster and its tasks.",
        cluster.master_address()
    );
    signals.next().await;
    cluster.shutdown().await;
    Ok(())
}

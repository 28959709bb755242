//! `gantry local`: a Mesos-compatible cluster of this machine alone.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    ops::RangeInclusive,
    path::PathBuf,
    process::ExitCode,
};

use clap::Args;
use gantry_core::PortSet;
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
const DISK: f64 = 10_000.0;

/// Ports that agents on this machine offer: below those that Linux gives to outgoing connections.
const PORTS: RangeInclusive<u16> = 12_000..=31_999;

/// Ports that one such agent offers at most.
const PORTS_PER_AGENT: usize = 100;

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

/// Agents whose tasks are processes of this machine, so that they must share its ports: each has
/// some that are free now, and the first has `fixed` too. Another cluster on the machine is unlikely
/// to offer the same ones, as the search begins at a place of this process's own.
pub(super) fn agents_here(count: usize, cpus: f64, mem: f64, fixed: &[u16]) -> Vec<AgentOptions> {
    let each = PORTS_PER_AGENT.min(PORTS.len() / count.max(1)).max(1);
    let start = std::process::id() as usize * 997 % PORTS.len();
    let mut free = PORTS
        .skip(start)
        .chain(PORTS.take(start))
        .filter(|port| !fixed.contains(port))
        .filter(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok());
    let mut fixed = fixed.to_vec();
    let agents = AgentOptions::many(count, cpus, mem, DISK).into_iter();
    agents
        .map(|mut agent| {
            agent.resources.retain(|resource| resource.name != "ports");
            let ports = free.by_ref().take(each).chain(fixed.drain(..));
            let ports = PortSet::from_ranges(ports.map(|port| (port, port)));
            let ranges = ports.ranges().iter();
            let ranges: Vec<_> = ranges
                .map(|(begin, end)| (u64::from(*begin), u64::from(*end)))
                .collect();
            agent.ranges("ports", &ranges)
        })
        .collect()
}

async fn serve(options: &LocalOptions) -> anyhow::Result<()> {
    let mut signals = Signals::catch()?;
    let count = usize::from(options.agents);
    let mut cluster = if options.simulated {
        let agents = AgentOptions::many(count, options.cpus, options.mem, DISK);
        ClusterOptions::simulated(agents)
    } else {
        let work_dir = std::path::absolute(&options.work_dir)?;
        let agents = agents_here(count, options.cpus, options.mem, &[]);
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

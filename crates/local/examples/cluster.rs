//! Runs a cluster of processes until ^C, for trying things out by hand.
//!
//! `cargo run -p gantry-local --example cluster -- [port] [agents]`

use gantry_local::{AgentOptions, Cluster, ClusterOptions};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut options = ClusterOptions::default();
    options
        .listen
        .set_port(arguments.next().map_or(Ok(5050), |a| a.parse())?);
    let agents = arguments.next().map_or(Ok(2), |a| a.parse())?;
    options.agents = AgentOptions::many(agents, 2.0, 2048.0, 10_000.0);
    let cluster = Cluster::start(options).await?;
    println!("master at {}", cluster.master_address());
    tokio::signal::ctrl_c().await?;
    cluster.shutdown().await;
    Ok(())
}

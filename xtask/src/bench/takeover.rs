//! How long nobody acts when the leader is killed: two Gantrys on ZooKeeper, a simulated cluster,
//! and kill -9.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::{http, process, store::Place};

/// The time-out of the ZooKeeper sessions.
const SESSION: Duration = Duration::from_secs(4);

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let tasks = arguments
        .first()
        .and_then(|text| text.parse().ok())
        .unwrap_or(50_000);
    let Some(place) = Place::zookeeper()? else {
        println!("no ZooKeeper on this machine: nothing is measured");
        return Ok(());
    };
    let (_cluster, master) = process::cluster(1_000, "1000", "100000")?;
    let start = || -> Result<_> {
        let port = process::free_port()?;
        let mut command = process::serve(port, &master, tasks);
        place.apply(&mut command);
        command.env("ZK_SESSION_TIMEOUT", format!("{}s", SESSION.as_secs()));
        Ok((process::start(&mut command)?, format!("127.0.0.1:{port}")))
    };
    let limit = Duration::from_secs(300);
    let (mut leader, address) = start()?;
    process::until(limit, "all tasks run", || {
        let web = http::get(&address, "/api/v2/workloads/web");
        Ok(web.is_ok_and(|web| web["counts"]["running"].as_u64() >= Some(tasks as u64)))
    })?;
    let (_stand_by, successor) = start()?;
    process::until(limit, "the other one stands by", || {
        Ok(role(&successor) == Some("stand-by".to_owned()))
    })?;
    let before = framework(&address)?;

    leader.0.kill()?; // SIGKILL
    let died = Instant::now();
    process::until(limit, "the stand-by leads", || {
        Ok(role(&successor) == Some("leader".to_owned()))
    })?;
    let leads = died.elapsed();
    process::until(limit, "it is subscribed", || {
        let overview = http::get(&successor, "/api/v2/overview");
        Ok(overview.is_ok_and(|overview| overview["connection"]["state"] == "subscribed"))
    })?;
    let subscribed = died.elapsed();
    // A write that is acknowledged is one that was acted upon.
    let body = format!("{{\"instances\":{}}}", tasks + 1);
    process::until(limit, "it takes a command", || {
        Ok(http::request(&successor, "PUT", "/api/v2/workloads/web/scale", &body).is_ok())
    })?;
    let acts = died.elapsed();
    process::until(limit, "every task has answered", || {
        let web = http::get(&successor, "/api/v2/workloads/web");
        Ok(web.is_ok_and(|web| {
            web["counts"]["unconfirmed"] == 0
                && web["counts"]["running"].as_u64() == Some(tasks as u64 + 1)
        }))
    })?;
    let confirmed = died.elapsed();
    anyhow::ensure!(framework(&successor)? == before, "the framework id changed");
    println!(
        "{tasks} tasks, session {} s: leads after {:.2} s, subscribed {:.2} s, acts {:.2} s, every task confirmed {:.2} s",
        SESSION.as_secs(),
        leads.as_secs_f64(),
        subscribed.as_secs_f64(),
        acts.as_secs_f64(),
        confirmed.as_secs_f64(),
    );
    Ok(())
}

fn role(address: &str) -> Option<String> {
    let leader = http::get(address, "/api/v2/leader").ok()?;
    Some(leader["role"].as_str()?.to_owned())
}

fn framework(address: &str) -> Result<String> {
    let overview = http::get(address, "/api/v2/overview")?;
    let id = overview["framework"]["id"].as_str();
    Ok(id.context("there is no framework id")?.to_owned())
}

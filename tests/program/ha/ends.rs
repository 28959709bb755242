//! Terms that have to end though ZooKeeper is well and the leader too, and how they end.

use std::time::{Duration, Instant};

use gantry_testbed::Link;
use zookeeper_client::{Acls, Client, CreateMode};

use super::site::{FRAMEWORK, Gantry, Site};

const DECLARED: [(&str, &str); 6] = [
    ("TASK_DEF_NUM", "1"),
    ("TASK0_NAME", "web"),
    ("TASK0_NUM_INSTANCES", "3"),
    ("TASK0_CMD", "exec sleep 100000"),
    ("TASK0_CPUS", "0.1"),
    ("TASK0_MEM", "32"),
];

const WANTED: [(&str, u32); 1] = [("web", 3)];

/// ZooKeeper refuses to delete a node that has others below it, whatever it said of it before. The
/// leader cannot write that, and must not keep others from trying.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_cannot_write_makes_way() {
    let Some(mut site) = Site::start(1, 2, &DECLARED).await else {
        return;
    };
    site.runs(&WANTED).await;
    let (leader, stand_by) = (site.leader().await, site.stand_by().await);
    let client = Client::connect(&site.ensemble.hosts().join(","))
        .await
        .unwrap();
    let blocks = block(&client, "tasks").await;
    let asked = Instant::now();
    let api = site.gantries[leader].api.clone();
    // Whether the count was taken is not known; in the end it is.
    let scaling = tokio::spawn(async move { api.scale("web", 1).await });
    site.until("the stand-by to lead", async || {
        leads(&site.gantries[stand_by]).await
    })
    .await;
    println!("another led after {:?}", asked.elapsed());
    for block in blocks {
        client.delete(&block, None).await.unwrap();
    }
    scaling.await.unwrap();
    site.until("a write to be taken", async || {
        let api = &site.gantries[site.watch.leader()?].api;
        (api.scale("web", 1).await == Some(true)).then_some(())
    })
    .await;
    site.until("one task", async || {
        site.watch.running_exactly(&[("web", 1)])
    })
    .await;
    let terms = site.gantries[leader]
        .output()
        .matches("this Gantry leads")
        .count();
    assert!(terms < 10, "{terms} terms, one after the other");
}

/// SIGTERM while the master says nothing: what it was asked last is not waited for.
#[tokio::test(flavor = "multi_thread")]
async fn the_lead_is_given_up_though_the_master_is_silent() {
    let Some(mut site) = Site::start(1, 2, &DECLARED).await else {
        return;
    };
    site.runs(&WANTED).await;
    let (leader, stand_by) = (site.leader().await, site.stand_by().await);
    site.gantries[leader].to_mesos.set(Link::BlackHole);
    // Its calls get no answer.
    assert_eq!(site.gantries[leader].api.scale("web", 1).await, Some(true));
    let begun = Instant::now();
    let mut program = site.gantries[leader].program.take().unwrap();
    program.signal("TERM");
    site.until("the stand-by to lead", async || {
        leads(&site.gantries[stand_by]).await
    })
    .await;
    let took = begun.elapsed();
    let status = program.ended().await;
    println!(
        "another led after {took:?}, the process ended after {:?}",
        begun.elapsed()
    );
    assert!(status.success(), "{status}: {}", program.output());
    let output = program.output();
    assert!(
        output.contains("has not answered every call, and is not waited for"),
        "{output}"
    );
    // The calls' own time-out.
    assert!(took < Duration::from_secs(30), "{took:?}");
    site.until("one task", async || {
        site.watch.running_exactly(&[("web", 1)])
    })
    .await;
}

async fn leads(gantry: &Gantry) -> Option<()> {
    (gantry.about_leader().await?["role"] == "leader").then_some(())
}

/// Puts a node below each record of a kind.
async fn block(client: &Client, kind: &str) -> Vec<String> {
    let directory = format!("/dcos-service-{FRAMEWORK}/gantry/{kind}");
    let options = CreateMode::Persistent.with_acls(Acls::anyone_all());
    let mut blocks = Vec::new();
    for shard in client.list_children(&directory).await.unwrap() {
        let shard = format!("{directory}/{shard}");
        for record in client.list_children(&shard).await.unwrap() {
            let block = format!("{shard}/{record}/below");
            client.create(&block, b"", &options).await.unwrap();
            blocks.push(block);
        }
    }
    assert_eq!(blocks.len(), 3);
    blocks
}

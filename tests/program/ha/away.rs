//! ZooKeeper is away for a minute.

use std::{
    fs,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::time::{sleep_until, timeout};

use super::{site::Site, terms::acting};

const AWAY: Duration = Duration::from_secs(60);

/// What a request is held for that a leader may yet take. Who waits so long has been held.
const HELD: Duration = Duration::from_secs(10);

/// Half of the answers without ZooKeeper, refusals and reads alike, take no longer: nothing is waited for.
const AT_ONCE: Duration = Duration::from_secs(1);

/// In hundredths of a second, as Linux counts: a twentieth of a processor. (Measured: 88.)
const CPU_MAX: u64 = 300;

const LINES_MAX: usize = 60;

const WANTED: [(&str, u32); 1] = [("web", 3)];

#[tokio::test(flavor = "multi_thread")]
async fn without_zookeeper_reads_go_on_and_nothing_is_touched() {
    let declared = [
        ("TASK_DEF_NUM", "1"),
        ("TASK0_NAME", "web"),
        ("TASK0_NUM_INSTANCES", "3"),
        ("TASK0_CMD", "exec sleep 100000"),
        ("TASK0_CPUS", "0.1"),
        ("TASK0_MEM", "32"),
    ];
    let Some(mut site) = Site::start(1, 2, &declared).await else {
        return;
    };
    let before = site.runs(&WANTED).await;
    let stand_by = site.stand_by().await;
    site.until("the stand-by to know what runs", async || {
        (site.gantries[stand_by].api.running().await == before).then_some(())
    })
    .await;
    let launched = site.watch.launched();

    let leader = site.leader().await;
    site.ensemble.server(0).kill();
    let gone = Instant::now();
    // What it took before it noticed may have any outcome. From then on it takes nothing: it waits for
    // another server, but not for long.
    let about = &site.gantries[leader];
    site.until("the leader to notice", async || {
        (about.about_leader().await?["store"]["connected"] == false).then_some(())
    })
    .await;
    let asked = Instant::now();
    let (status, text) = scale(&site, leader).await;
    println!(
        "the first write was refused after {:?}: {text}",
        asked.elapsed()
    );
    assert_eq!(status, 503, "{text}");
    assert!(text.contains("ZooKeeper cannot be reached"), "{text}");
    assert!(text.contains("nothing has changed"), "{text}");
    assert!(asked.elapsed() < HELD, "{:?}", asked.elapsed());

    // It leads on until its lease ends.
    site.until("the end of the lease", async || {
        (about.about_leader().await?["role"] == "stand-by").then_some(())
    })
    .await;
    let mut spent: Vec<_> = Vec::new();
    for gantry in &site.gantries {
        let pid = gantry.program.as_ref().unwrap().pid();
        spent.push((cpu(pid), gantry.output().lines().count()));
    }
    let until = tokio::time::Instant::from_std(gone + AWAY);
    let mut took = Vec::new();
    loop {
        for index in 0..site.gantries.len() {
            let api = &site.gantries[index].api;
            let asked = Instant::now();
            let (status, text) = scale(&site, index).await;
            assert_eq!(status, 503, "{text}");
            assert!(text.contains("ZooKeeper"), "{text}");
            took.push(asked.elapsed());

            let asked = Instant::now();
            assert_eq!(api.running().await, before);
            let overview = api.json("/api/v2/overview").await;
            assert_eq!(overview["framework"]["name"], "ha");
            let answer = reqwest::get(format!("{}/api/v2/tasks", api.base))
                .await
                .unwrap();
            assert_eq!(answer.headers()["x-gantry-role"], "stand-by");
            assert!(answer.headers().contains_key("x-gantry-as-of"));
            // Starting it again would not help.
            assert_eq!(api.health().await, Some(200));
            took.push(asked.elapsed());
        }
        site.watch.check();
        let next = tokio::time::Instant::now() + Duration::from_secs(5);
        sleep_until(next.min(until)).await;
        if next >= until {
            break;
        }
    }
    took.sort();
    assert!(took[took.len() / 2] < AT_ONCE, "{took:?}");
    assert!(took[took.len() - 1] < HELD, "{took:?}");
    for (gantry, (cpu_before, lines_before)) in site.gantries.iter().zip(spent) {
        let used = cpu(gantry.program.as_ref().unwrap().pid()) - cpu_before;
        let output = gantry.output();
        let lines = output.lines().count() - lines_before;
        println!("in a minute without ZooKeeper: {used}0 ms of a processor, {lines} lines");
        assert!(used <= CPU_MAX, "{used} hundredths of a second");
        assert!(lines <= LINES_MAX, "{output}");
    }
    assert_eq!(site.watch.running_exactly(&WANTED), Some(before.clone()));

    // Everything goes on by itself.
    site.ensemble.server(0).start();
    site.ensemble.wait_until_serving();
    let back = Instant::now();
    site.leader().await;
    println!("a leader {:?} after ZooKeeper", back.elapsed());
    site.watch.may_run("web", 4);
    for index in 0..site.gantries.len() {
        site.until("writes to be taken again", async || {
            (scale(&site, index).await.0 == 200).then_some(())
        })
        .await;
    }
    let after = site
        .until("the fourth task", async || {
            site.watch.running_exactly(&[("web", 4)])
        })
        .await;
    assert!(before.iter().all(|(name, id)| after[name] == *id));
    assert_eq!(site.watch.launched(), (launched.0 + 1, 0));
    let acting = acting(&site.watch.calls(), site.lives());
    assert!(
        acting.wrong.is_empty() && acting.late.is_empty(),
        "{acting:?}"
    );
}

/// Asks for four instances; the status and what was said.
async fn scale(site: &Site, index: usize) -> (u16, String) {
    let base = &site.gantries[index].api.base;
    let request = reqwest::Client::new()
        .put(format!("{base}/api/v2/workloads/web/scale"))
        .json(&json!({"instances": 4}));
    let answer = timeout(crate::support::WITHIN, request.send()).await;
    let answer = answer.expect("an answer in time").unwrap();
    let status = answer.status().as_u16();
    let text = answer.text().await.unwrap();
    let body: Value = serde_json::from_str(&text).unwrap();
    let message = body["error"]["message"].as_str().unwrap_or_default();
    (status, message.to_owned())
}

/// What a process has used of the processors.
fn cpu(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The name, in parentheses, may hold blanks.
    let (_, numbers) = stat.rsplit_once(')').unwrap();
    let numbers: Vec<&str> = numbers.split_whitespace().collect();
    let of = |index: usize| numbers[index].parse::<u64>().unwrap();
    of(11) + of(12)
}

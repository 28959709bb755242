//! Another declaration, by starting every Gantry again with another environment.

use std::{collections::BTreeMap, process::Command};

use serde_json::Value;

use super::site::{Gantry, Site};

const DECLARED: [(&str, &str); 14] = [
    ("TASK_DEF_NUM", "2"),
    ("REVIVE_EVERY", "200ms"),
    ("TASK0_NAME", "web"),
    ("TASK0_NUM_INSTANCES", "3"),
    ("TASK0_CMD", "exec sleep 100000"),
    ("TASK0_CPUS", "0.1"),
    ("TASK0_MEM", "32"),
    ("TASK0_UPDATE_MONITOR", "1s"),
    ("TASK0_BACKOFF", "100ms"),
    ("TASK1_NAME", "worker"),
    ("TASK1_NUM_INSTANCES", "2"),
    ("TASK1_CMD", "exec sleep 100000"),
    ("TASK1_CPUS", "0.1"),
    ("TASK1_MEM", "32"),
];

type Tasks = BTreeMap<String, String>;

/// `gantry plan` with the environment of a Gantry's next life: the exit code, and what it says.
async fn plan(gantry: &Gantry) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gantry"));
    command.arg("plan").env_clear().envs(&gantry.variables);
    let output = tokio::task::spawn_blocking(move || command.output());
    let output = output.await.unwrap().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    (output.status.code().unwrap(), text)
}

/// Starts every Gantry again with these changes, the leader last, as nobody with an old
/// declaration is to lead any more.
pub(super) async fn relaunch(site: &mut Site, changes: &[(&'static str, &str)]) {
    let leader = site.leader().await;
    let mut order: Vec<usize> = (0..site.gantries.len()).collect();
    order.sort_by_key(|index| *index == leader);
    for index in order {
        let gantry = &mut site.gantries[index];
        gantry.declare(changes);
        gantry.stop().await;
        gantry.start();
        let gantry = &site.gantries[index];
        site.until("it to be well again", async || {
            (gantry.api.health().await? == 200).then_some(())
        })
        .await;
    }
}

/// Until the youngest deployment has ended; it.
async fn deployment(site: &Site, status: &str) -> Value {
    site.until(&format!("an update that is {status}"), async || {
        let api = &site.gantries[site.watch.leader()?].api;
        let (_, text) = api.get("/api/v2/deployments").await?;
        let answer: Value = serde_json::from_str(&text).unwrap();
        let youngest = &answer["items"][0];
        (youngest["status"] == status).then(|| youngest.clone())
    })
    .await
}

fn of<'a>(tasks: &'a Tasks, workload: &str) -> Vec<&'a String> {
    let names = tasks.iter().filter(|(name, _)| name.starts_with(workload));
    names.map(|(_, id)| id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_environment_is_planned_rolled_out_and_rolled_back() {
    let Some(mut site) = Site::start(1, 2, &DECLARED).await else {
        return;
    };
    let first = site.runs(&[("web", 3), ("worker", 2)]).await;
    assert_eq!(
        plan(&site.gantries[0]).await,
        (0, "ha: 2 as before\n".to_owned())
    );

    // What an operator has set stays, when the declaration's count does.
    site.watch.may_run("worker", 4);
    let stand_by = site.stand_by().await;
    assert_eq!(
        site.gantries[stand_by].api.scale("worker", 4).await,
        Some(true)
    );
    let all = [("web", 3), ("worker", 4)];
    let scaled = site
        .until("four workers", async || site.watch.running_exactly(&all))
        .await;
    assert!(first.iter().all(|(name, id)| scaled[name] == *id));

    // A change of one type moves its tasks, one after the other, and no others.
    let change = [("TASK0_CMD", "exec sleep 99999")];
    let leader = site.leader().await;
    site.gantries[leader].declare(&change);
    let (code, text) = plan(&site.gantries[leader]).await;
    assert!(
        code == 1 && text.contains("replaces 3 instances: 1-3"),
        "{text}"
    );
    site.watch
        .may_replace((1..=3).map(|number| ("web".to_owned(), number)));
    relaunch(&mut site, &change).await;
    let done = deployment(&site, "done").await;
    assert_eq!(
        (done["kind"].as_str(), done["done"].as_u64()),
        (Some("update"), Some(3))
    );
    let updated = site
        .until("the update", async || site.watch.running_exactly(&all))
        .await;
    assert_eq!(of(&updated, "worker"), of(&scaled, "worker"));
    assert!(
        of(&updated, "web")
            .iter()
            .all(|id| !of(&scaled, "web").contains(id))
    );
    let (code, text) = plan(&site.gantries[0]).await;
    assert_eq!((code, text.as_str()), (0, "ha: 2 as before\n"));

    // A broken command is tried, and taken back: the others were never touched.
    let broken = [("TASK0_CMD", "exit 3")];
    site.watch.may_replace([
        ("web".to_owned(), 1),
        ("web".to_owned(), 2),
        ("web".to_owned(), 3),
    ]);
    site.watch
        .may_replace(std::iter::repeat_n(("web".to_owned(), 1), 9));
    relaunch(&mut site, &broken).await;
    let back = deployment(&site, "rolled_back").await;
    let reason = back["reason"].as_str().unwrap();
    assert!(reason.contains("failed"), "{reason}");
    let rolled_back = site
        .until("everything as before", async || {
            site.watch.running_exactly(&all)
        })
        .await;
    assert_eq!(rolled_back, updated);
    // A successor with the same declaration does not try it again.
    let leader = site.leader().await;
    let deployments = site.gantries[leader].api.json("/api/v2/deployments").await["total"].clone();
    site.gantries[leader].stop().await;
    site.gantries[leader].start();
    let leader = site.leader().await;
    site.until("the successor to be well", async || {
        (site.gantries[leader].api.health().await? == 200).then_some(())
    })
    .await;
    let after = site.gantries[leader].api.json("/api/v2/deployments").await["total"].clone();
    assert_eq!(after, deployments);
    assert_eq!(site.watch.running_exactly(&all), Some(rolled_back.clone()));

    // A type that is not declared any more stops; the other goes on.
    let removed = [
        ("TASK0_CMD", "exec sleep 99999"),
        ("TASK_DEF_NUM", "1"),
        ("TASK1_NAME", ""),
        ("TASK1_NUM_INSTANCES", ""),
        ("TASK1_CMD", ""),
        ("TASK1_CPUS", ""),
        ("TASK1_MEM", ""),
    ];
    let leader = site.leader().await;
    site.gantries[leader].declare(&removed);
    let (code, text) = plan(&site.gantries[leader]).await;
    assert!(
        code == 1 && text.contains("- worker\n    stops 4 instances: 1-4"),
        "{text}"
    );
    relaunch(&mut site, &removed).await;
    let left = site
        .until("the end of the workers", async || {
            site.watch.running_exactly(&[("web", 3)])
        })
        .await;
    assert_eq!(of(&left, "web"), of(&updated, "web"));
}

//! Modules of a whole Gantry: they have a say in what is launched and in what is ready.

use std::fs;

use serde_json::Value;

use crate::support::{Local, serve, until, variables};

const MODULE: &str = "export default (gantry) => {
  let moved = false;
  gantry.beforeLaunch(({ type, instance, env }) => {
    if (type !== 'web') return undefined;
    if (!moved) return { veto: 'the database is being moved', retryAfter: 1 };
    return { env: { ADDED: `${instance} ${env.join()}`, MODE: 'from the module' } };
  });
  let open = false;
  gantry.restartCheck((task) => (task.type === 'web' ? open : undefined));
  gantry.route('POST', '/open', () => { open = true; return { json: open } });
  gantry.route('POST', '/moved', () => { moved = true; return { json: moved } });
  gantry.onStatus(({ instance, state }) => { if (state === 'TASK_RUNNING') console.log('runs:', instance) });
};";

#[tokio::test(flavor = "multi_thread")]
async fn modules_have_a_say_in_launches_and_restarts() {
    let directory = tempfile::tempdir().unwrap();
    let module = directory.path().join("modules/guard-module");
    fs::create_dir_all(&module).unwrap();
    fs::write(module.join("index.js"), MODULE).unwrap();
    let written = directory.path().join("written");
    let local = Local::start(directory.path(), &["--agents", "1"]).await;
    let mut variables = variables(&local.master, directory.path());
    let command = format!(
        "echo \"$MODE|$ADDED\" >> {}; exec sleep 1000",
        written.display()
    );
    for (name, value) in [
        ("TASK_DEF_NUM", "1"),
        ("TASK0_NAME", "web"),
        ("TASK0_NUM_INSTANCES", "1"),
        ("TASK0_CMD", command.as_str()),
        ("TASK0_ENV", r#"{"MODE":"declared"}"#),
        ("TASK0_CPUS", "0.1"),
        ("TASK0_MEM", "32"),
    ] {
        variables.insert(name, value.to_owned());
    }
    let (program, api) = serve(directory.path(), &variables, &[]).await;

    // It is vetoed first, and that can be seen; then it is launched with what the module adds.
    until("the veto in words", async || {
        let (_, why) = api.get("/api/v2/workloads/web/explain").await?;
        let why: Value = serde_json::from_str(&why).ok()?;
        let refused = &why["instances"][0]["refused"];
        let told = refused["reason"] == "the database is being moved";
        (told && refused["module"] == "guard" && why["sentences"].to_string().contains("guard"))
            .then_some(())
    })
    .await;
    assert_eq!(api.running().await.len(), 0);
    assert_eq!(api.post("/api/v1/moved").await, true);
    let first = until("web-1 to run", async || {
        api.running().await.get("web-1").cloned()
    })
    .await;
    let lines = until("what the task was given", async || {
        let text = fs::read_to_string(&written).ok()?;
        text.ends_with('\n').then_some(text)
    })
    .await;
    assert_eq!(lines, "from the module|web-1 MODE\n");
    until("the line of the module", async || {
        program.output().contains("runs: web-1").then_some(())
    })
    .await;

    // A restart keeps the old task until the module says that the new one is ready.
    let path = format!("/api/v1/tasks/{first}/restart");
    assert_eq!(api.post(&path).await["status"], "ok");
    until("the second task to run", async || {
        let text = fs::read_to_string(&written).ok()?;
        (text.lines().count() == 2).then_some(())
    })
    .await;
    assert!(local.live().await.contains_key(&first));
    assert_eq!(api.post("/api/v1/open").await, true);
    until("the first task to be gone", async || {
        let live = local.live().await;
        (live.len() == 1 && !live.contains_key(&first)).then_some(())
    })
    .await;
}

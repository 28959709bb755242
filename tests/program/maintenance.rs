//! `gantry plan`, `backup`, `restore` and `uninstall`, on a store that a real Gantry has written.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

use crate::support::{Api, Local, Program, serve, until, variables};

type Variables = BTreeMap<&'static str, String>;

fn declared(master: &str, directory: &Path) -> Variables {
    let mut variables = variables(master, directory);
    for (name, value) in [
        ("TASK_DEF_NUM", "2"),
        ("TASK0_NAME", "web"),
        ("TASK0_NUM_INSTANCES", "2"),
        ("TASK0_CMD", "sleep 100000"),
        ("TASK0_CPUS", "0.1"),
        ("TASK0_MEM", "32"),
        ("TASK0_SECRET_ENV", r#"{"TOKEN":"sesame"}"#),
        ("TASK1_NAME", "worker"),
        ("TASK1_NUM_INSTANCES", "1"),
        ("TASK1_CMD", "sleep 100000"),
        ("TASK1_CPUS", "0.1"),
        ("TASK1_MEM", "32"),
    ] {
        variables.insert(name, value.to_owned());
    }
    variables
}

/// The same with changes; an empty text removes a variable.
fn with(variables: &Variables, changes: &[(&'static str, &str)]) -> Variables {
    let mut variables = variables.clone();
    for (name, value) in changes {
        if value.is_empty() {
            variables.remove(name);
        } else {
            variables.insert(name, (*value).to_owned());
        }
    }
    variables
}

struct Done {
    code: i32,
    out: String,
    all: String,
}

/// Runs `gantry` to its end.
async fn gantry(directory: &Path, variables: &Variables, arguments: &[&str]) -> Done {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gantry"));
    command
        .args(arguments)
        .env_clear()
        .envs(variables)
        .current_dir(directory);
    let output = tokio::task::spawn_blocking(move || command.output());
    let Output {
        status,
        stdout,
        stderr,
    } = output.await.unwrap().unwrap();
    let out = String::from_utf8(stdout).unwrap();
    let all = format!("{out}{}", String::from_utf8(stderr).unwrap());
    assert!(
        !all.contains("sesame") && !all.contains("panicked"),
        "{all}"
    );
    let code = status.code().unwrap_or(-1);
    Done { code, out, all }
}

async fn runs(api: &Api, instances: &[&str]) -> BTreeMap<String, String> {
    until(&format!("{instances:?} to run"), async || {
        let running = api.running().await;
        running.keys().eq(instances).then_some(running)
    })
    .await
}

async fn stop(mut program: Program) {
    program.signal("TERM");
    assert!(program.ended().await.success());
}

/// The records of a backup.
fn records(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap();
    assert!(!text.contains("sesame"));
    serde_json::from_str::<Value>(&text).unwrap()["records"].take()
}

const ALL: [&str; 3] = ["web-1", "web-2", "worker-1"];

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_tells_what_a_start_would_change_and_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let local = Local::start(directory, &["--agents", "2"]).await;
    let first = declared(&local.master, directory);

    // Before the first start everything is new, and no store comes to be.
    let plan = gantry(directory, &first, &["plan"]).await;
    assert_eq!(plan.code, 1, "{}", plan.all);
    assert!(plan.out.starts_with("test: 2 new\n+ web\n"), "{}", plan.out);
    assert!(!directory.join("gantry.redb").exists());

    let (program, api) = serve(directory, &first, &[]).await;
    let tasks = runs(&api, &ALL).await;
    let open = gantry(directory, &first, &["plan"]).await;
    assert_eq!(open.code, 255, "{}", open.all);
    assert!(open.all.contains("ask it with --url"), "{}", open.all);
    stop(program).await;

    let same = gantry(directory, &first, &["plan"]).await;
    assert_eq!((same.code, same.out.as_str()), (0, "test: 2 as before\n"));
    let changes = [
        ("TASK0_CMD", "sleep 99999"),
        ("TASK0_SECRET_ENV", r#"{"TOKEN":"opened"}"#),
        ("TASK0_NUM_INSTANCES", "3"),
        ("TASK1_NAME", "cron"),
    ];
    let changed = with(&first, &changes);
    let plan = gantry(directory, &changed, &["plan"]).await;
    let expected = r#"test: 1 new, 1 changed, 1 removed
~ web
    num_instances: 2 -> 3
    cmd: "sleep 100000" -> "sleep 99999"
    env.TOKEN: **** -> ****
    creates 1 instance: 3
    replaces 2 instances: 1-2
    the new task starts first, 1 at once, at least 2 of 3 stay ready; a new task counts after 5s, must be ready within 10m, else the update rolls back
+ cron
    num_instances: 1
    cmd: "sleep 100000"
    cpus: 0.1
    mem: "32 MB"
    creates 1 instance: 1
- worker
    stops 1 instance: 1
"#;
    assert_eq!(plan.code, 1, "{}", plan.all);
    assert_eq!(plan.out, expected, "\n{}", plan.out);
    let json = gantry(directory, &changed, &["plan", "-o", "json"]).await;
    let report: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(report["changes"], true);
    assert_eq!(report["workloads"][0]["replaced"]["count"], 2);
    assert_eq!(report["workloads"][0]["fields"][2]["path"], "env.TOKEN");
    let broken = with(&first, &[("TASK0_CPUS", "")]);
    assert_eq!(gantry(directory, &broken, &["plan"]).await.code, 255);

    // Nothing has changed by all this: the tasks live on, as the same ones.
    let (_program, api) = serve(directory, &first, &[]).await;
    assert_eq!(runs(&api, &ALL).await, tasks);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_comes_back_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let local = Local::start(directory, &["--agents", "2"]).await;
    let first = declared(&local.master, directory);
    let (program, api) = serve(directory, &first, &[]).await;
    let tasks = runs(&api, &ALL).await;
    assert_eq!(api.scale("web", 1).await, Some(true));
    until("the end of the third task", async || {
        (api.json("/api/v2/tasks").await["total"] == 2).then_some(())
    })
    .await;

    // Not while a Gantry has the store.
    let open = gantry(directory, &first, &["backup", "early.json"]).await;
    assert!(open.code == 1 && !directory.join("early.json").exists());
    stop(program).await;
    let taken = gantry(directory, &first, &["backup", "a.json"]).await;
    assert_eq!(taken.code, 0, "{}", taken.all);
    assert!(
        taken
            .out
            .contains("1 framework id, 2 workloads, 2 revisions, 2 tasks"),
        "{}",
        taken.out
    );
    let a = directory.join("a.json");
    let kept = records(&a);
    let on_stdout = gantry(directory, &first, &["backup"]).await;
    let on_stdout: Value = serde_json::from_str(&on_stdout.out).unwrap();
    assert_eq!(on_stdout["records"], kept);

    // What would lose or mix something is refused, and changes nothing.
    let refused = async |variables: &Variables, file: &str, why: &str| {
        let done = gantry(directory, variables, &["restore", file]).await;
        assert!(done.code == 1 && done.all.contains(why), "{}", done.all);
    };
    refused(
        &first,
        "a.json",
        "it is not empty, but holds 1 framework id",
    )
    .await;
    let other = with(&first, &[("FRAMEWORK_NAME", "other")]);
    refused(
        &other,
        "a.json",
        "is of the framework 'test', and this is 'other'",
    )
    .await;
    refused(&first, "none.json", "none.json cannot be read").await;
    let text = fs::read_to_string(&a).unwrap();
    let damaged = text.replace("\"desired\":", "\"desire\":");
    fs::write(directory.join("damaged.json"), damaged).unwrap();
    refused(&first, "damaged.json", "workloads/web: it is not readable").await;
    refused(
        &first,
        "damaged.json",
        "2 of its records cannot be understood",
    )
    .await;
    let half = &text[..text.len() / 2];
    fs::write(directory.join("half.json"), half).unwrap();
    refused(&first, "half.json", "not all of one").await;
    let memory = with(&first, &[("STORE", "memory")]);
    refused(&memory, "a.json", "STORE=memory keeps nothing").await;
    let again = gantry(directory, &first, &["backup", "b.json"]).await;
    assert_eq!(again.code, 0);
    assert_eq!(records(&directory.join("b.json")), kept);

    // Into an empty store, and over what has been written since.
    let new_store = format!("embedded:{}", directory.join("new.redb").display());
    let elsewhere = with(&first, &[("STORE", &new_store)]);
    let restored = gantry(directory, &elsewhere, &["restore", "a.json"]).await;
    assert_eq!(restored.code, 0, "{}", restored.all);
    let (program, api) = serve(directory, &elsewhere, &[]).await;
    let running = runs(&api, &["web-1", "worker-1"]).await;
    assert!(running.iter().all(|(name, id)| tasks[name] == *id));
    let leading = gantry(directory, &elsewhere, &["restore", "--replace", "a.json"]).await;
    assert!(
        leading.code == 1 && leading.all.contains("stop it first"),
        "{}",
        leading.all
    );
    assert_eq!(api.scale("web", 2).await, Some(true));
    runs(&api, &ALL).await;
    stop(program).await;
    let replaced = gantry(directory, &elsewhere, &["restore", "--replace", "a.json"]).await;
    assert_eq!(replaced.code, 0, "{}", replaced.all);
    assert!(
        replaced.out.contains("it replaces 1 framework id"),
        "{}",
        replaced.out
    );
    gantry(directory, &elsewhere, &["backup", "c.json"]).await;
    assert_eq!(records(&directory.join("c.json")), kept);
}

#[tokio::test(flavor = "multi_thread")]
async fn uninstall_ends_every_task_and_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let local = Local::start(directory, &["--agents", "2"]).await;
    let first = declared(&local.master, directory);
    let store = directory.join("gantry.redb");
    let uninstall = ["uninstall", "--confirm", "test"];
    let nothing = gantry(directory, &first, &uninstall).await;
    assert!(
        nothing.code == 1 && nothing.all.contains("nothing stored"),
        "{}",
        nothing.all
    );

    let (program, api) = serve(directory, &first, &[]).await;
    runs(&api, &ALL).await;
    let leading = gantry(directory, &first, &uninstall).await;
    assert!(
        leading.code == 1 && leading.all.contains("stop it first"),
        "{}",
        leading.all
    );
    stop(program).await;
    for unsure in [&["uninstall"][..], &["uninstall", "--confirm", "tests"]] {
        let done = gantry(directory, &first, unsure).await;
        assert!(
            done.code == 1 && done.all.contains("nothing is done"),
            "{}",
            done.all
        );
    }
    assert!(store.exists() && local.live().await.len() == 3);

    let done = gantry(directory, &first, &uninstall).await;
    assert_eq!(done.code, 0, "{}", done.all);
    assert!(
        done.out.contains("3 tasks are recorded, and all end"),
        "{}",
        done.out
    );
    assert!(done.out.contains("accepted TEARDOWN"), "{}", done.out);
    assert!(!store.exists());
    until("the end of every task", async || {
        local.live().await.is_empty().then_some(())
    })
    .await;

    // Where Mesos has removed the framework, only the records are left to be removed.
    let (program, api) = serve(directory, &first, &[]).await;
    runs(&api, &ALL).await;
    stop(program).await;
    let backup = gantry(directory, &first, &["backup", "a.json"]).await;
    assert_eq!(backup.code, 0);
    let id = records(&directory.join("a.json"))["framework"]["id"].take();
    local.tear_down(id.as_str().unwrap()).await;
    let done = gantry(directory, &first, &uninstall).await;
    assert_eq!(done.code, 0, "{}", done.all);
    assert!(
        done.out.contains("has removed this framework already"),
        "{}",
        done.out
    );
    assert!(!store.exists());
}

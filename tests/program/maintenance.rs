//! `gantry plan`, `backup`, `restore` and `uninstall`, on a store that a real Gantry has written.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Output},
    time::Duration,
};

use gantry_store::ZooKeeper;
use gantry_testbed::Ensemble;
use serde_json::Value;

use crate::support::{Api, Local, Program, serve, until, variables};

pub(crate) type Variables = BTreeMap<&'static str, String>;

pub(crate) fn declared(master: &str, directory: &Path) -> Variables {
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
pub(crate) fn with(variables: &Variables, changes: &[(&'static str, &str)]) -> Variables {
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

pub(crate) struct Done {
    pub(crate) code: i32,
    out: String,
    pub(crate) all: String,
}

/// Runs `gantry` to its end.
pub(crate) async fn gantry(directory: &Path, variables: &Variables, arguments: &[&str]) -> Done {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gantry"));
    command
        .args(arguments)
        .env_clear()
        .envs(variables)
        .current_dir(directory);
    ended(command).await
}

async fn ended(mut command: Command) -> Done {
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

/// Runs `gantry` where what it prints cannot be written.
async fn into_full(directory: &Path, variables: &Variables, arguments: &[&str]) -> Done {
    let mut command = Command::new("sh");
    command
        .args([
            "-c",
            r#""$0" "$@" > /dev/full"#,
            env!("CARGO_BIN_EXE_gantry"),
        ])
        .args(arguments)
        .env_clear()
        .envs(variables)
        .current_dir(directory);
    ended(command).await
}

pub(crate) async fn runs(api: &Api, instances: &[&str]) -> BTreeMap<String, String> {
    until(&format!("{instances:?} to run"), async || {
        let running = api.running().await;
        running.keys().eq(instances).then_some(running)
    })
    .await
}

pub(crate) async fn stop(mut program: Program) {
    program.signal("TERM");
    assert!(program.ended().await.success());
}

/// The records of a backup.
pub(crate) fn records(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap();
    assert!(!text.contains("sesame"));
    serde_json::from_str::<Value>(&text).unwrap()["records"].take()
}

pub(crate) const ALL: [&str; 3] = ["web-1", "web-2", "worker-1"];

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
    assert!(plan.all.contains("nothing is stored yet"), "{}", plan.all);
    // Neither code of a plan is true of one that nobody could read.
    let full = into_full(directory, &first, &["plan"]).await;
    assert!(
        full.code == 255 && full.all.contains("cannot be written"),
        "{}",
        full.all
    );

    let (program, api) = serve(directory, &first, &[]).await;
    let tasks = runs(&api, &ALL).await;
    let open = gantry(directory, &first, &["plan"]).await;
    assert_eq!(open.code, 255, "{}", open.all);
    assert!(open.all.contains("ask it with --url"), "{}", open.all);
    let changes = [
        ("TASK0_CMD", "sleep 99999"),
        ("TASK0_SECRET_ENV", r#"{"TOKEN":"opened"}"#),
        ("TASK0_NUM_INSTANCES", "3"),
        ("TASK1_NAME", "cron"),
    ];
    let changed = with(&first, &changes);

    // A Gantry that runs says the same as the store does when it is stopped.
    let asked = async |variables: &Variables| {
        gantry(directory, variables, &["plan", "--url", &api.base]).await
    };
    let same = asked(&first).await;
    assert_eq!((same.code, same.out.as_str()), (0, "test: 2 as before\n"));
    let of_leader = asked(&changed).await;
    assert_eq!(of_leader.code, 1, "{}", of_leader.all);
    let other = asked(&with(&first, &[("FRAMEWORK_NAME", "other")])).await;
    assert!(other.code == 255 && other.all.contains("is of the framework 'other'"));
    stop(program).await;
    let gone = asked(&first).await;
    assert!(
        gone.code == 255 && gone.all.contains("does not answer"),
        "{}",
        gone.all
    );

    let same = gantry(directory, &first, &["plan"]).await;
    assert_eq!((same.code, same.out.as_str()), (0, "test: 2 as before\n"));
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
    assert_eq!(of_leader.out, expected);
    let json = gantry(directory, &changed, &["plan", "-o", "json"]).await;
    let report: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(report["changes"], true);
    assert_eq!(report["workloads"][0]["replaced"]["count"], 2);
    assert_eq!(report["workloads"][0]["fields"][2]["path"], "env.TOKEN");
    let broken = with(&first, &[("TASK0_CPUS", "")]);
    assert_eq!(gantry(directory, &broken, &["plan"]).await.code, 255);

    // Nothing has changed by all this: the tasks live on, as the same ones.
    let (mut program, api) = serve(directory, &first, &[]).await;
    assert_eq!(runs(&api, &ALL).await, tasks);
    program.said("plan: everything is declared as it is").await;
    stop(program).await;
    // A start tells the plan too.
    let (mut program, _) = serve(directory, &changed, &[]).await;
    program.said("plan:     stops 1 instance: ").await;
    for line in expected.lines() {
        assert!(
            program.output().contains(&format!("plan: {line}\n")),
            "{line}"
        );
    }
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

    // While a Gantry has the store it is asked, from the same machine and not for another.
    let open = gantry(directory, &first, &["backup", "open.json"]).await;
    assert!(open.code == 1 && !directory.join("open.json").exists());
    let live = gantry(
        directory,
        &first,
        &["backup", "--url", &api.base, "live.json"],
    )
    .await;
    assert_eq!(live.code, 0, "{}", live.all);
    let request = reqwest::Client::new().get(format!("{}/api/v2/backup", api.base));
    for (header, value) in [
        ("X-Forwarded-For", "10.0.0.1"),
        ("Host", "evil.example"),
        ("Referer", "http://evil.example/"),
    ] {
        let request = request.try_clone().unwrap().header(header, value);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 403, "{header}");
        let told = answer.text().await.unwrap();
        assert!(
            told.contains(&format!("which ask {}: under no name", api.base)),
            "{told}"
        );
    }
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
    assert_eq!(records(&directory.join("live.json")), kept);
    let on_stdout = gantry(directory, &first, &["backup"]).await;
    let on_stdout: Value = serde_json::from_str(&on_stdout.out).unwrap();
    assert_eq!(on_stdout["records"], kept);
    let full = into_full(directory, &first, &["backup"]).await;
    assert!(
        full.code == 1 && full.all.contains("cannot be written"),
        "{}",
        full.all
    );
    let full = into_full(directory, &first, &["backup", "full.json"]).await;
    assert!(
        full.code == 0 && records(&directory.join("full.json")) == kept,
        "{}",
        full.all
    );
    let gone = gantry(directory, &first, &["backup", "--url", &api.base]).await;
    assert_eq!(gone.code, 3, "{}", gone.all);

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

    // Where the cluster is gone for good nobody can be asked.
    let (program, api) = serve(directory, &first, &[]).await;
    runs(&api, &ALL).await;
    stop(program).await;
    let unasked = ["uninstall", "--confirm", "test", "--without-teardown"];
    let done = gantry(
        directory,
        &with(&first, &[("MESOS_MASTER", "127.0.0.1:9")]),
        &unasked,
    )
    .await;
    assert_eq!(done.code, 0, "{}", done.all);
    assert!(
        done.out.contains("3 tasks are recorded; none is ended"),
        "{}",
        done.out
    );
    assert!(!store.exists());
    assert_eq!(local.live().await.len(), 3);
}

/// Another process of the framework, on a host of this name.
fn process(ensemble: &Ensemble, name: &str) -> ZooKeeper {
    ZooKeeper::connect(gantry_store::ZooKeeperConfig {
        hosts: ensemble.hosts(),
        chroot: Some("/below".to_owned()),
        root: "/dcos-service-test".to_owned(),
        auth: Some("me:sesame".to_owned().into()),
        tls: None,
        session_timeout: Duration::from_secs(10),
        member: gantry_store::Member {
            id: name.to_owned(),
            host: format!("{name}.host"),
            url: None,
        },
    })
}

/// Until exactly these stand by, as the leader sees it.
async fn stand_by(leader: &ZooKeeper, hosts: &str) {
    until(hosts, async || {
        let alone = leader.require_alone().await;
        alone.err()?.to_string().contains(hosts).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_moves_to_zookeeper_and_is_removed_from_it() {
    let Some(ensemble) = Ensemble::start(1) else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let local = Local::start(directory, &["--agents", "2"]).await;
    let first = declared(&local.master, directory);
    let (program, api) = serve(directory, &first, &[]).await;
    runs(&api, &ALL).await;
    stop(program).await;
    let backup = gantry(directory, &first, &["backup", "a.json"]).await;
    assert_eq!(backup.code, 0, "{}", backup.all);
    let kept = records(&directory.join("a.json"));

    let servers = format!("zk://me:sesame@{}/below", ensemble.connect_string());
    let moved = with(&first, &[("STORE", ""), ("ZK_URL", &servers)]);
    let plan = gantry(directory, &moved, &["plan"]).await;
    assert!(
        plan.code == 1
            && plan.out.starts_with("test: 2 new\n")
            && plan.all.contains("nothing is stored yet"),
        "{}",
        plan.all
    );
    // Nothing takes the place of what was.
    let yesterday = fs::read(directory.join("a.json")).unwrap();
    for arguments in [
        &["backup", "a.json"][..],
        &["uninstall", "--confirm", "test"],
    ] {
        let done = gantry(directory, &moved, arguments).await;
        assert!(
            done.code == 1 && done.all.contains("nothing stored"),
            "{}",
            done.all
        );
    }
    assert_eq!(fs::read(directory.join("a.json")).unwrap(), yesterday);
    let restored = gantry(directory, &moved, &["restore", "a.json"]).await;
    assert_eq!(restored.code, 0, "{}", restored.all);
    assert!(
        restored.out.contains("/below/dcos-service-test holds"),
        "{}",
        restored.out
    );
    let plan = gantry(directory, &moved, &["plan"]).await;
    assert_eq!((plan.code, plan.out.as_str()), (0, "test: 2 as before\n"));
    gantry(directory, &moved, &["backup", "b.json"]).await;
    assert_eq!(records(&directory.join("b.json")), kept);
    let again = gantry(directory, &moved, &["restore", "a.json"]).await;
    assert!(
        again.code == 1 && again.all.contains("it is not empty"),
        "{}",
        again.all
    );

    // While another leads, it can be looked at and not touched.
    let other = process(&ensemble, "other");
    let leading = other.campaign().await.unwrap();
    let hurried = with(&moved, &[("ZK_SESSION_TIMEOUT", "4s")]);
    let (restore, uninstall) = tokio::join!(
        gantry(directory, &hurried, &["restore", "--replace", "a.json"]),
        gantry(directory, &hurried, &["uninstall", "--confirm", "test"]),
    );
    for done in [restore, uninstall] {
        assert!(
            done.code == 1
                && done
                    .all
                    .contains("other.host leads: stop every Gantry first"),
            "{}",
            done.all
        );
    }
    let looked = gantry(directory, &moved, &["backup", "c.json"]).await;
    assert_eq!(looked.code, 0, "{}", looked.all);
    assert_eq!(records(&directory.join("c.json")), kept);
    // Nothing is ended while another waits for its turn.
    until("the sessions of those that gave up to expire", async || {
        other.require_alone().await.ok()
    })
    .await;
    let (place, variables) = (directory.to_owned(), moved.clone());
    let uninstall = tokio::spawn(async move {
        gantry(&place, &variables, &["uninstall", "--confirm", "test"]).await
    });
    stand_by(&other, "(`gantry uninstall` on 127.0.0.1)").await;
    let third = process(&ensemble, "third");
    let waiting = tokio::spawn(async move { third.campaign().await.map(|_| ()) });
    stand_by(&other, "(`gantry uninstall` on 127.0.0.1, third.host)").await;
    leading.resign().await;
    drop((leading, other));
    let done = uninstall.await.unwrap();
    assert!(
        done.code == 1
            && done.all.contains("nothing is removed")
            && done.all.contains("stand by (third.host): stop them first"),
        "{}",
        done.all
    );
    assert_eq!(local.live().await.len(), 3);
    waiting.await.unwrap().unwrap();

    // Of several Gantrys each gives the backup.
    let (leader, _) = serve(directory, &moved, &[]).await;
    let mut second = Program::start(directory, "second", &["serve"], &moved);
    let api = Api::at(&second.said("HTTP is served address=").await);
    second.said("this Gantry stands by").await;
    let asked = gantry(directory, &moved, &["backup", "--url", &api.base, "d.json"]).await;
    assert_eq!(asked.code, 0, "{}", asked.all);
    assert_eq!(
        records(&directory.join("d.json"))["framework"],
        kept["framework"]
    );
    stop(second).await;
    stop(leader).await;

    let done = gantry(directory, &moved, &["uninstall", "--confirm", "test"]).await;
    assert_eq!(done.code, 0, "{}", done.all);
    until("the end of every task", async || {
        local.live().await.is_empty().then_some(())
    })
    .await;
    let plan = gantry(directory, &moved, &["plan"]).await;
    assert!(plan.out.starts_with("test: 2 new\n"), "{}", plan.all);
}

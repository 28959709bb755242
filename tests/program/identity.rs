//! As which framework a Gantry goes on: never as another than the one whose tasks are stored.

use std::{fs, path::Path};

use crate::{
    maintenance::{ALL, Variables, declared, gantry, records, runs, stop, with},
    support::{Local, Program, serve},
};

/// Starts Gantry, which ends by itself; what it said.
async fn refused(directory: &Path, variables: &Variables) -> String {
    let mut program = Program::start(directory, "refused", &["serve"], variables);
    let status = program.ended().await;
    assert_eq!(status.code(), Some(1), "{}", program.output());
    program.output()
}

#[tokio::test(flavor = "multi_thread")]
async fn under_another_name_nothing_is_touched() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let local = Local::start(directory, &["--simulated"]).await;
    let first = declared(&local.master, directory);
    let (program, api) = serve(directory, &first, &[]).await;
    let tasks = runs(&api, &ALL).await;
    stop(program).await;
    let backup = gantry(directory, &first, &["backup", "before.json"]).await;
    assert_eq!(backup.code, 0, "{}", backup.all);

    let other = with(&first, &[("FRAMEWORK_NAME", "other")]);
    let why = "the 3 tasks that are recorded are of the framework `test`, and this is `other`";
    let remedy = "set FRAMEWORK_NAME=test again";
    let plan = gantry(directory, &other, &["plan"]).await;
    assert_eq!(plan.code, 255, "{}", plan.all);
    assert!(
        plan.all.contains(why) && plan.all.contains(remedy),
        "{}",
        plan.all
    );
    let said = refused(directory, &other).await;
    assert!(said.contains(why) && said.contains(remedy), "{said}");
    let uninstall = ["uninstall", "--confirm", "other"];
    let done = gantry(directory, &other, &uninstall).await;
    assert!(done.code == 1 && done.all.contains(why), "{}", done.all);

    gantry(directory, &first, &["backup", "after.json"]).await;
    let [before, after] = ["before.json", "after.json"].map(|file| records(&directory.join(file)));
    assert_eq!(before, after);
    assert_eq!(local.live().await.len(), 3);
    let (program, api) = serve(directory, &first, &[]).await;
    assert_eq!(runs(&api, &ALL).await, tasks);
    stop(program).await;

    // A single stray record stands in nobody's way.
    let text = fs::read_to_string(directory.join("before.json")).unwrap();
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    let task = lines
        .iter()
        .position(|line| line.starts_with("\"tasks/test.web-1."));
    let task = task.unwrap();
    let stray = lines[task].replace("test.web-1.", "other.web-1.");
    lines.insert(task, stray);
    fs::write(directory.join("stray.json"), lines.join("\n")).unwrap();
    let restored = gantry(directory, &first, &["restore", "--replace", "stray.json"]).await;
    assert_eq!(restored.code, 0, "{}", restored.all);
    let why = "has an id that is not the one of its place";
    let plan = gantry(directory, &first, &["plan"]).await;
    assert!(plan.code == 0 && plan.all.contains(why), "{}", plan.all);
    let (program, api) = serve(directory, &first, &[]).await;
    assert!(program.output().contains(why), "{}", program.output());
    assert_eq!(runs(&api, &ALL).await, tasks);
    stop(program).await;
    assert_eq!(local.live().await.len(), 3);

    // Ended under its old name, it may have another.
    let done = gantry(directory, &first, &["uninstall", "--confirm", "test"]).await;
    assert_eq!(done.code, 0, "{}", done.all);
    let (_program, api) = serve(directory, &other, &[]).await;
    let tasks = runs(&api, &ALL).await;
    assert!(
        tasks.values().all(|task| task.starts_with("other.")),
        "{tasks:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_without_a_framework_id_are_not_forgotten_unasked() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let local = Local::start(directory, &["--simulated"]).await;
    let first = declared(&local.master, directory);
    let (program, api) = serve(directory, &first, &[]).await;
    runs(&api, &ALL).await;
    stop(program).await;
    gantry(directory, &first, &["backup", "a.json"]).await;
    let text = fs::read_to_string(directory.join("a.json")).unwrap();
    let lines = text
        .lines()
        .filter(|line| !line.starts_with("\"framework\":"));
    let lines: Vec<_> = lines.collect();
    fs::write(directory.join("b.json"), lines.join("\n")).unwrap();
    let restored = gantry(directory, &first, &["restore", "--replace", "b.json"]).await;
    assert_eq!(restored.code, 0, "{}", restored.all);

    let plan = gantry(directory, &first, &["plan"]).await;
    assert_eq!(plan.code, 255, "{}", plan.all);
    for said in [plan.all, refused(directory, &first).await] {
        assert!(said.contains("--forget-framework-id=unknown"), "{said}");
    }
    let uninstall = ["uninstall", "--confirm", "test"];
    let done = gantry(directory, &first, &uninstall).await;
    assert!(
        done.code == 1
            && done.all.contains("3 records are of tasks")
            && done.all.contains("--without-teardown"),
        "{}",
        done.all
    );
    assert!(directory.join("gantry.redb").exists());
    assert_eq!(local.live().await.len(), 3);

    let unasked = ["uninstall", "--confirm", "test", "--without-teardown"];
    let done = gantry(directory, &first, &unasked).await;
    assert_eq!(done.code, 0, "{}", done.all);
    assert!(!directory.join("gantry.redb").exists());
}

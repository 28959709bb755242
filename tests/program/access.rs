//! A Gantry with login, asked by programs.

use std::{fs, process::Command, time::Duration};

use crate::support::{Local, Program, until, variables};

struct Done {
    code: Option<i32>,
    out: String,
    talk: String,
}

fn gantry(variables: &[(&str, &str)], arguments: &[&str]) -> Done {
    let output = Command::new(env!("CARGO_BIN_EXE_gantry"))
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    Done {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        talk: String::from_utf8(output.stderr).unwrap(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_was_made_lets_in_what_its_level_allows() {
    let directory = tempfile::tempdir().unwrap();
    let local = Local::start(directory.path(), &["--simulated", "--agents", "1"]).await;
    let tokens = directory.path().join("tokens");
    fs::write(&tokens, "").unwrap();
    let mut variables = variables(&local.master, directory.path());
    variables.insert("API_TOKENS_FILE", tokens.display().to_string());
    variables.insert("TASK_DEF_NUM", "0".to_owned());
    let mut program = Program::start(directory.path(), "serve", &["serve"], &variables);
    let url = format!("http://{}", program.said("HTTP is served address=").await);
    assert!(!program.output().contains("no login is configured"));
    let asked = |token: &str, arguments: &[&str]| {
        gantry(&[("GANTRY_URL", &url), ("GANTRY_TOKEN", token)], arguments)
    };
    let stranger = asked("", &["agents"]);
    assert_eq!(stranger.code, Some(1), "{}", stranger.talk);
    assert!(
        stranger.talk.contains("not authenticated"),
        "{}",
        stranger.talk
    );

    let made = gantry(
        &[],
        &[
            "token",
            "new",
            "--name",
            "ci",
            "--level",
            "view",
            "--expires",
            "1d",
        ],
    );
    assert_eq!(made.code, Some(0), "{}", made.talk);
    let (token, line) = (made.out.trim(), made.talk.lines().last().unwrap());
    assert!(!made.talk.contains(token));
    // It counts as soon as its line is there, without a restart.
    fs::write(&tokens, format!("{line}\n")).unwrap();
    until("the token", async || {
        // Who tries too often with what is no token yet is made to wait.
        tokio::time::sleep(Duration::from_millis(300)).await;
        (asked(token, &["agents"]).code == Some(0)).then_some(())
    })
    .await;
    let denied = asked(token, &["brake", "release"]);
    assert_eq!(denied.code, Some(1), "{}", denied.talk);
    assert!(denied.talk.contains("token:ci may view"), "{}", denied.talk);
    let log = program.output();
    assert!(log.contains("denied"), "{log}");
    assert!(!log.contains(token), "{log}");
}

//! The command line against a running Gantry.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    path::Path,
    process::{Command, Output},
};

use serde_json::{Value, json};

use crate::support::{Api, Local, Program, serve, until, variables};

struct Done {
    code: Option<i32>,
    out: String,
    talk: String,
}

/// Runs `gantry` with these arguments and variables to its end.
async fn run(variables: &[(&str, &str)], arguments: &[&str]) -> Done {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gantry"));
    command
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied());
    let output = tokio::task::spawn_blocking(move || command.output());
    let Output {
        status,
        stdout,
        stderr,
    } = output.await.unwrap().unwrap();
    Done {
        code: status.code(),
        out: String::from_utf8(stdout).unwrap(),
        talk: String::from_utf8(stderr).unwrap(),
    }
}

/// A Gantry with work, and what it is asked by.
struct Site {
    local: Local,
    _gantry: Program,
    api: Api,
    /// What differs from run to run, and the word for it.
    words: Vec<(String, &'static str)>,
}

impl Site {
    async fn start(directory: &Path) -> Self {
        let local = Local::start(directory, &["--simulated", "--agents", "2"]).await;
        let mut variables = variables(&local.master, directory);
        for (name, value) in [
            ("TASK_DEF_NUM", "2"),
            ("TASK0_NAME", "web"),
            ("TASK0_NUM_INSTANCES", "2"),
            ("TASK0_CMD", "sleep 100000"),
            ("TASK0_CPUS", "0.5"),
            ("TASK0_MEM", "32"),
            ("TASK0_PORT_NUM", "1"),
            ("TASK0_UNIQUE_HOSTS", "true"),
            ("TASK0_UPDATE_MONITOR", "0s"),
            ("TASK1_NAME", "big/one"),
            ("TASK1_NUM_INSTANCES", "1"),
            ("TASK1_CMD", "sleep 100000"),
            ("TASK1_CPUS", "0.1"),
            ("TASK1_MEM", "64000"),
            ("TASK1_PRIORITY", "2"),
        ] {
            variables.insert(name, value.to_owned());
        }
        let (gantry, api) = serve(directory, &variables, &[]).await;
        until("the tasks", async || {
            (api.running().await.len() == 2).then_some(())
        })
        .await;
        let overview = api.json("/api/v2/overview").await;
        let framework = overview["framework"]["id"].as_str().unwrap().to_owned();
        let cluster = framework.rsplit_once('-').unwrap().0.to_owned();
        let words = vec![
            (local.master.clone(), "MASTER"),
            (framework, "FRAMEWORK"),
            (cluster, "CLUSTER"),
        ];
        Self {
            local,
            _gantry: gantry,
            api,
            words,
        }
    }

    async fn gantry(&self, arguments: &[&str]) -> Done {
        run(&[("GANTRY_URL", &self.api.base)], arguments).await
    }

    /// What a command writes that succeeds.
    async fn said(&self, arguments: &[&str]) -> String {
        let done = self.gantry(arguments).await;
        assert_eq!(done.code, Some(0), "{arguments:?}: {}", done.talk);
        done.out
    }

    /// Until a command writes exactly this, but for what differs from run to run.
    async fn says(&self, arguments: &[&str], golden: &str) {
        let golden = golden.trim_start();
        let mut last = String::new();
        let said = until_or(async || {
            last = self.plain(&self.said(arguments).await);
            last == golden
        });
        assert!(
            said.await,
            "{arguments:?} says\n{last}\ninstead of\n{golden}"
        );
    }

    /// Ends the subscription, so that there is another.
    async fn drop_streams(&self) {
        let faults = format!("http://{}/local/faults", self.local.master);
        let fault = json!({"fault": "drop_streams"});
        let answer = reqwest::Client::new().post(faults).json(&fault).send();
        assert!(answer.await.unwrap().status().is_success());
    }

    fn plain(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (from, to) in &self.words {
            text = text.replace(from, to);
        }
        let mut plain = String::new();
        for line in text.lines() {
            let words: Vec<_> = line.split_whitespace().map(word).collect();
            plain.push_str(&words.join(" "));
            plain.push('\n');
        }
        plain
    }
}

/// Whether it comes to be true in good time.
async fn until_or(mut look: impl AsyncFnMut() -> bool) -> bool {
    for _ in 0..200 {
        if look().await {
            return true;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    false
}

/// A word, without what differs from run to run.
fn word(word: &str) -> String {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (head, mark) = match word.strip_suffix(',') {
        Some(head) => (head, ","),
        None => (word, ""),
    };
    let plain = match head.rsplit_once('.') {
        Some((task, uuid)) if uuid.len() == 36 => format!("{task}.UUID"),
        _ if head.len() == 20 && head.ends_with('Z') => "TIME".to_owned(),
        _ if head.len() == 5 && head.starts_with('3') && digits(head) => "PORT".to_owned(),
        _ if head.starts_with("agent-") && head.ends_with(".local") => "HOST".to_owned(),
        _ if head.strip_suffix(['s', 'm']).is_some_and(digits) => "AGO".to_owned(),
        _ => head.to_owned(),
    };
    plain + mark
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_is_shown_and_changed() {
    let directory = tempfile::tempdir().unwrap();
    let site = Site::start(directory.path()).await;

    site.says(
        &["status"],
        "
framework test (FRAMEWORK), Gantry 0.1.0
role leader
master subscribed at MASTER for AGO
tasks 3 wanted: 2 running, 1 waiting

WORKLOAD CONDITION WANTED RUNNING HEALTHY WAITING REVISION IMAGE
web steady 2 2 0 0 1 -
big/one waiting 1 0 0 1 1 -
big/one: 1 instance waits: none of 2 offers have the resources (0.1 cpus, 64000 MB); nearest: HOST lacks 59936 mem
",
    )
    .await;
    site.says(
        &["tasks"],
        "
INSTANCE STATE HEALTHY GOAL HOST PORTS REVISION SINCE ID
web-1 TASK_RUNNING - run HOST PORT 1 AGO test.web-1.UUID
web-2 TASK_RUNNING - run HOST PORT 1 AGO test.web-2.UUID
",
    )
    .await;
    site.says(
        &["explain", "big/one"],
        "
big/one is waiting: 1 wanted, 1 waiting
1 instance waits: none of 2 offers have the resources (0.1 cpus, 64000 MB); nearest: HOST lacks 59936 mem

TEST LEFT RULED OUT
offers 2 -
constraints 2 0
maintenance 2 0
colocation 2 0
resources 0 2
ports 0 0
limits 0 0
launched 0 when last tried, AGO ago
nearest miss: HOST lacks 59936 mem

INSTANCE WAITS FOR SINCE FAILURES LAST TASK
big/one-1 an offer AGO 0 -
",
    )
    .await;
    site.says(
        &["explain", "web"],
        "
web is steady: 2 wanted, 2 running
nothing keeps it from being as it is wanted
",
    )
    .await;
    site.says(
        &["status", "web"],
        "
workload web
condition steady
instances 2 wanted, 2 declared
tasks 2 running
revision 1
priority 1
image -
each takes 0.5 cpus, 32 MB, 1 port
",
    )
    .await;
    site.says(
        &["agents", "-q", "agent-2"],
        "
HOST ADDRESS TASKS CPUS MEM WORKLOADS ID STATE FREE CPUS FREE MEM
HOST 127.0.0.1 1 0.5 32 web:1 CLUSTER-S1 active 3.5 4064
",
    )
    .await;

    // A restart, followed to its end.
    let before = site.api.running().await;
    assert_eq!(
        site.said(&["restart", "web", "--reason", "new day"]).await,
        "deployment 1\n"
    );
    site.said(&["deploy", "status", "1", "--wait"]).await;
    let after = site.api.running().await;
    assert!(after.len() == 2 && before.iter().all(|(name, id)| after[name] != *id));
    site.says(
        &["deploy", "list"],
        "
ID KIND WORKLOAD REVISIONS STATUS DONE STARTED REASON
1 rolling_restart web - done 2 of 2 AGO -
",
    )
    .await;
    site.says(
        &["deploy", "status", "1"],
        "
deployment 1
kind rolling restart of web
status done
done 2 of 2
started AGO ago
",
    )
    .await;
    let task = ["restart", "--task", &after["web-1"]];
    assert!(site.said(&task).await.ends_with(": restarting\n"));

    let scaled = site.said(&["scale", "web", "1", "--reason", "night"]).await;
    assert_eq!(scaled, "web: 2 -> 1\n");

    // What is written from now on is shown, once: a new subscription, for example.
    let log = ["logs", "-f", "-n", "1000", "--url", &site.api.base];
    let follower = Program::start(directory.path(), "follower", &log, &BTreeMap::new());
    let subscriptions = || {
        let lines = follower.output();
        lines.matches(" subscribed framework_id=").count()
    };
    until("what is there", async || {
        (subscriptions() == 1).then_some(())
    })
    .await;
    site.drop_streams().await;
    until("another subscription", async || {
        (subscriptions() == 2).then_some(())
    })
    .await;
    until("the same in both", async || {
        (site.said(&["logs", "-n", "1000"]).await == follower.output()).then_some(())
    })
    .await;
    assert_eq!(site.said(&["logs", "-n", "3"]).await.lines().count(), 3);

    let audit = site.said(&["audit"]).await;
    let newest = audit.lines().nth(1).unwrap_or_default();
    assert!(
        newest.contains("127.0.0.1") && newest.ends_with("night"),
        "{audit}"
    );

    // Events that are remembered come first, each on a line of its own.
    let events = site.said(&["events", "--after", "0", "--count", "3"]).await;
    assert_eq!(events.lines().count(), 3, "{events}");

    // For programs.
    for arguments in [
        &["status"][..],
        &["status", "web"],
        &["tasks", "web", "--state", "running", "--sort", "-running"],
        &["explain", "web"],
        &["agents"],
        &["audit", "--limit", "1"],
        &["deploy", "list"],
        &["deploy", "status", "1"],
        &["scale", "web", "1"],
        &["events", "--after", "0", "--count", "1"],
    ] {
        let text = site.said(&[arguments, &["-o", "json"]].concat()).await;
        let value: Value = serde_json::from_str(&text).unwrap();
        assert!(value.is_object(), "{arguments:?}: {text}");
    }

    // 1: Gantry says no; 2: nothing was asked; 3: nobody answers.
    for (arguments, code, why) in [
        (
            &["scale", "nothing", "1"][..],
            1,
            "refuses: there is no workload named",
        ),
        (&["deploy", "pause", "1"], 1, "refuses: "),
        (&["deploy", "status", "99"], 1, "refuses: "),
        (&["brake", "release"], 1, "refuses: "),
        (&["tasks", "--state", "asleep"], 1, "`state` must be"),
        (&["scale", "web", "some"], 2, "invalid value 'some'"),
        (&["restart"], 2, "required"),
        (&["restart", "web", "--all"], 2, "cannot be used with"),
        (
            &["status", "--url", "10.0.0.1"],
            1,
            "is not the address of a Gantry",
        ),
        (
            &["status", "--url", "http://127.0.0.1:1"],
            3,
            "does not answer",
        ),
    ] {
        let done = site.gantry(arguments).await;
        assert_eq!(done.code, Some(code), "{arguments:?}: {}", done.talk);
        assert!(
            done.talk.contains(why) && done.out.is_empty(),
            "{arguments:?}: {}",
            done.talk
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_goes_with_the_question_and_nowhere_else() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let head = tokio::task::spawn_blocking(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let lines = BufReader::new(stream.try_clone().unwrap()).lines();
        let lines = lines
            .map(Result::unwrap)
            .take_while(|line| !line.is_empty());
        let head: Vec<_> = lines.collect();
        let body = r#"{"error":{"code":"forbidden","message":"not \u001b[2Jthis one","remedy":"try another"}}"#;
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 403 Forbidden\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
        stream.write_all(answer.as_bytes()).unwrap();
        head.join("\n")
    });
    let variables = [("GANTRY_URL", url.as_str()), ("GANTRY_TOKEN", "sesame")];
    let done = run(&variables, &["status"]).await;
    let head = head.await.unwrap();
    assert!(head.contains("authorization: Bearer sesame"), "{head}");
    assert_eq!(done.code, Some(1), "{}", done.talk);
    assert!(done.talk.contains("this one; try another"), "{}", done.talk);
    assert!(!done.talk.contains(['\u{1b}', '\r']), "{}", done.talk);
    assert!(!done.talk.contains("sesame"), "{}", done.talk);
}

#[tokio::test]
async fn shells_complete_the_command_line() {
    for (shell, mark) in [
        ("bash", "complete -F _gantry"),
        ("zsh", "#compdef gantry"),
        ("fish", "complete -c gantry"),
    ] {
        let done = run(&[], &["completions", shell]).await;
        assert_eq!(done.code, Some(0), "{shell}: {}", done.talk);
        assert!(
            done.out.contains(mark) && done.out.contains("rollback"),
            "{shell}"
        );
    }
}

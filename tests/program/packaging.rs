//! What it takes to run from Marathon: its application files, `get_creds.sh`, `CREDENTIALS_URL`.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;

use crate::support::{Local, serve, until};

type Variables = BTreeMap<String, String>;

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The environment of an application file of Marathon, with the texts for its placeholders.
fn environment(path: &str, placeholders: &[(&str, &str)]) -> Variables {
    let mut text = fs::read_to_string(project(path)).unwrap();
    for (placeholder, value) in placeholders {
        assert!(text.contains(placeholder), "{placeholder}");
        text = text.replace(placeholder, value);
    }
    let mut application: Value = serde_json::from_str(&text).unwrap();
    serde_json::from_value(application["env"].take()).unwrap()
}

/// With what Marathon and Mesos set.
fn of_marathon(mut variables: Variables, directory: &Path) -> Variables {
    for (name, value) in [
        ("HOST", "127.0.0.2"),
        ("PORT0", "0"),
        ("MARATHON_APP_ID", "/gantry"),
        ("MESOS_SANDBOX", &directory.to_string_lossy()),
    ] {
        variables.insert(name.to_owned(), value.to_owned());
    }
    variables
}

/// On an agent that others reach, with the port that Marathon gave.
fn elsewhere(variables: &mut Variables) {
    for (name, value) in [("HOST", "agent-1.example"), ("PORT0", "31000")] {
        variables.insert(name.to_owned(), value.to_owned());
    }
}

fn run(program: &Path, arguments: &[&str], variables: &Variables) -> (Option<i32>, String) {
    let mut command = Command::new(program);
    let command = command.args(arguments).env_clear().envs(variables);
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    let all = [stdout, stderr].concat();
    (status.code(), String::from_utf8(all).unwrap())
}

fn gantry(arguments: &[&str], variables: &Variables) -> (Option<i32>, String) {
    run(
        Path::new(env!("CARGO_BIN_EXE_gantry")),
        arguments,
        variables,
    )
}

#[test]
fn ours_is_without_fault() {
    let directory = tempfile::tempdir().unwrap();
    let mut variables = of_marathon(environment("marathon.json", &[]), directory.path());
    elsewhere(&mut variables);
    let (code, said) = gantry(&["check"], &variables);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("0 errors, 0 warnings"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_original_application_runs() {
    let directory = tempfile::tempdir().unwrap();
    let original = |ports| {
        let placeholders = [
            ("<FRAMEWORK_NAME>", "shop"),
            ("<TASK_NAME>", "sleeper"),
            ("<PORTS>", ports),
        ];
        let variables = environment("tests/fixtures/boilerplate-marathon.json", &placeholders);
        of_marathon(variables, directory.path())
    };
    let mut checked = original("8080");
    elsewhere(&mut checked);
    let (code, said) = gantry(&["check"], &checked);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("0 errors, 1 warning,"), "{said}");
    assert!(
        said.contains("TASK0_HEALTHCHECK_PORT='1' counts from 1"),
        "{said}"
    );

    // No two agents here have a port in common.
    let mut variables = original("");
    let local = Local::start(directory.path(), &["--simulated", "--agents", "3"]).await;
    variables.insert("MESOS_MASTER".to_owned(), local.master.clone());
    let store = format!("embedded:{}", directory.path().join("store.redb").display());
    variables.insert("STORE".to_owned(), store);
    let variables = variables
        .iter()
        .map(|(name, value)| (name.as_str(), value.clone()));
    let (_program, api) = serve(directory.path(), &variables.collect(), &[]).await;
    until("three tasks", async || {
        (api.running().await.len() == 3).then_some(())
    })
    .await;
}

// === Credentials ===

const CREDENTIALS: &str = "# of shop\nexport FRAMEWORK_NAME='from there'\n\
    export MESOS_PRINCIPAL=shop MESOS_SECRET=\"sesame\"\n";

/// Serves some texts on a port of its own until the tests end.
fn serve_texts() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = BufReader::new(stream.try_clone().unwrap()).lines();
            let Some(Ok(first)) = head.next() else {
                continue;
            };
            let _ = head
                .take_while(|line| line.as_ref().is_ok_and(|line| !line.is_empty()))
                .count();
            let path = first.split([' ', '?']).nth(1).unwrap_or_default();
            let (status, more, length, body) = match path {
                "/good" => ("200 OK", "", None, CREDENTIALS.to_owned()),
                "/moved" => ("302 Found", "Location: /good\r\n", None, String::new()),
                "/elsewhere" => {
                    let location = "Location: https://127.0.0.1:1/good\r\n";
                    ("302 Found", location, None, String::new())
                }
                "/empty" => ("200 OK", "", None, "\n".to_owned()),
                "/page" => ("200 OK", "", None, "<html>sesame</html>\n".to_owned()),
                "/failing" => ("200 OK", "", None, "false\nexport A=1\n".to_owned()),
                "/open" => ("200 OK", "", None, "export A='sesame\n".to_owned()),
                // What has come so far would be understood.
                "/short" => ("200 OK", "", Some(10_000), CREDENTIALS.to_owned()),
                "/large" => ("200 OK", "", None, "#".repeat(100_000) + "\nA=1\n"),
                _ => ("404 Not Found", "", None, CREDENTIALS.to_owned()),
            };
            let length = length.unwrap_or(body.len());
            let answer = format!(
                "HTTP/1.1 {status}\r\n{more}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            );
            // A client may hang up once it has seen enough.
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    format!("http://{address}")
}

fn started(url: &str, directory: &Path) -> Variables {
    let variables = [
        ("FRAMEWORK_NAME", "from here"),
        ("TASK_DEF_NUM", "0"),
        ("STORE", "memory"),
        ("CREDENTIALS_URL", url),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    of_marathon(variables.into(), directory)
}

#[test]
fn credentials_are_read_without_a_shell() {
    let directory = tempfile::tempdir().unwrap();
    let server = serve_texts();
    let file = directory.path().join("credentials");
    fs::write(&file, CREDENTIALS).unwrap();
    for url in [
        format!("{server}/good"),
        format!("{server}/moved"),
        format!("file://{}", file.display()),
    ] {
        let (code, said) = gantry(&["check"], &started(&url, directory.path()));
        assert_eq!(code, Some(0), "{url}: {said}");
        assert!(said.contains("framework from-there on"), "{url}: {said}");
        assert!(!said.contains("sesame"), "{said}");
    }
    for (path, why) in [
        ("/nothing", "the answer is 404"),
        ("/elsewhere", "it redirects from http to https"),
        ("/empty", "sets no variable"),
        ("/page", "line 1 is not NAME=value"),
        ("/failing", "line 1 is not NAME=value"),
        ("/open", "line 1 has a ' without its end"),
        ("/short", "cannot be had"),
        ("/large", "more than 65536 bytes"),
    ] {
        let variables = started(&format!("{server}{path}?key=sesame"), directory.path());
        for command in ["serve", "check"] {
            let (code, said) = gantry(&[command], &variables);
            assert_eq!(code, Some(1), "{path}: {said}");
            assert!(said.contains(why), "{path}: {said}");
            assert!(!said.contains("sesame"), "{path}: {said}");
        }
    }
}

/// A directory with the program, and with these of the system's commands.
fn commands(directory: &Path, name: &str, others: &[&str]) -> String {
    let path = directory.join(name);
    fs::create_dir(&path).unwrap();
    symlink(env!("CARGO_BIN_EXE_gantry"), path.join("gantry")).unwrap();
    let system = std::env::var_os("PATH").unwrap_or_default();
    for other in others {
        let found = std::env::split_paths(&system)
            .map(|place| place.join(other))
            .find(|file| file.exists());
        let found = found.unwrap_or_else(|| panic!("this test needs {other}"));
        symlink(found, path.join(other)).unwrap();
    }
    path.to_string_lossy().into_owned()
}

#[test]
fn the_script_starts_gantry_with_the_credentials_or_not_at_all() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let server = serve_texts();
    let script = project("get_creds.sh");
    let script = script.to_string_lossy();
    let start = |url: &str, path: &str| {
        let mut variables = started(url, directory);
        variables.insert("PATH".to_owned(), path.to_owned());
        run(Path::new("/bin/sh"), &[&script, "check"], &variables)
    };

    let none = commands(directory, "none", &["cat"]);
    let file = directory.join("credentials");
    fs::write(&file, CREDENTIALS).unwrap();
    let tools = [
        commands(directory, "curl", &["curl"]),
        commands(directory, "wget", &["wget"]),
        commands(directory, "timeout", &["wget", "timeout"]),
    ];
    let mut good = vec![(format!("file://{}", file.display()), &none)];
    let mut bad = vec![
        ("ftp://127.0.0.1/x".to_owned(), &tools[0]),
        ("file:///no/such/file".to_owned(), &none),
        (format!("{server}/good"), &none),
    ];
    for path in &tools {
        good.extend(["/good", "/moved"].map(|what| (format!("{server}{what}"), path)));
        let faults = ["/nothing", "/empty", "/page", "/failing", "/open", "/short"];
        bad.extend(faults.map(|what| (format!("{server}{what}"), path)));
        bad.push(("http://127.0.0.1:1/".to_owned(), path));
        bad.push((format!("{server}/elsewhere"), path));
    }
    for (url, path) in good {
        let (code, said) = start(&url, path);
        assert_eq!(code, Some(0), "{url} by {path}: {said}");
        assert!(said.contains("framework from-there on"), "{said}");
    }
    for (url, path) in bad {
        let (code, said) = start(&url, path);
        assert_ne!(code, Some(0), "{url} by {path}: {said}");
        assert!(
            said.contains("nothing is started"),
            "{url} by {path}: {said}"
        );
        assert!(!said.contains("framework"), "{url} by {path}: {said}");
        assert!(!said.contains("sesame"), "{url} by {path}: {said}");
    }
    let (code, said) = start("", &none);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("framework from-here on"), "{said}");
}

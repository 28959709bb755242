//! `cargo xtask api`: requests made up from the OpenAPI document, against a Gantry with a cluster of
//! its own. No answer may be a fault of the server, or another than the document says.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{
    bench::http,
    commands::{self, Background},
    system,
};

/// What is made up is the same in every run.
const SEED: &str = "20061";

/// Requests made up for an operation; those at the bounds of every parameter come on top.
const EXAMPLES: &str = "25";

/// Longest run, in seconds; there are two.
const SECONDS_MAX: &str = "45";

/// How long everything that is started may take to be there.
const PATIENCE: Duration = Duration::from_secs(60);

/// What must hold of every answer.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_headers_conformance,response_schema_conformance";

/// Work that nothing can be done to which would matter: what is launched sleeps, few fit on the
/// agents, and nobody can ask for many.
const DECLARED: &str = "\
FRAMEWORK_NAME=fuzzed
STORE=memory
TASK_DEF_NUM=2
INSTANCES_MAX=300
TASK0_NAME=web
TASK0_CMD=echo out; echo err >&2; exec sleep 1000
TASK0_NUM_INSTANCES=3
TASK0_CPUS=1
TASK0_MEM=32
TASK1_NAME=fixed
TASK1_CMD=exec sleep 1000
TASK1_NUM_INSTANCES=1
TASK1_CPUS=1
TASK1_MEM=32
TASK1_ALLOW_SCALING=false
";

/// Builds the program and asks it everything.
pub(crate) fn run() -> Result<()> {
    system::install_packages()?;
    commands::cargo(&["build", "--package", "gantry", "--bin", "gantry"])?;
    test()
}

/// The same with the program that is there.
pub(crate) fn test() -> Result<()> {
    // This program lies beside the one under test, wherever the target directory is.
    let program = std::env::current_exe()?.with_file_name("gantry");
    let target = program.ancestors().nth(2).context("no target directory")?;
    let place = target.join("api");
    fs::create_dir_all(&place)?;
    let tool = install(&place)?;
    let (_gantry, address) = start(&program, &place)?;
    let known = known(&address)?;

    // First anything, of which most is not there; then the same of what is there.
    ask(&tool, &place, &address, "anything", "")?;
    ask(&tool, &place, &address, "known", &known)?;
    let health = http::request(&address, "GET", "/health", "")?;
    if !health.starts_with("OK") {
        bail!("Gantry is not well after all that: {health}");
    }
    Ok(())
}

/// Installs the tool in an environment of its own, unless it is there as it is asked for.
fn install(place: &Path) -> Result<PathBuf> {
    let asked = commands::project().join("tests/api/requirements.txt");
    let environment = place.join("venv");
    let tool = environment.join("bin/schemathesis");
    // Written last.
    let installed = environment.join("requirements.txt");
    let is_current = fs::read(&asked).ok() == fs::read(&installed).ok();
    if is_current && tool.exists() {
        return Ok(tool);
    }
    if environment.exists() {
        fs::remove_dir_all(&environment)?;
    }
    commands::run(
        Command::new("python3")
            .args(["-m", "venv"])
            .arg(&environment),
    )?;
    commands::run(
        Command::new(environment.join("bin/pip"))
            .args([
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--requirement",
            ])
            .arg(&asked),
    )?;
    fs::copy(&asked, &installed)?;
    Ok(tool)
}

/// A Gantry with a cluster in one process, and where it is.
fn start(program: &Path, place: &Path) -> Result<(Background, String)> {
    let data = place.join("data");
    if data.exists() {
        fs::remove_dir_all(&data)?;
    }
    let declared = place.join("declared.env");
    fs::write(&declared, DECLARED)?;
    let said = place.join("gantry.out");
    let output = File::create(&said)?;
    let child = Command::new(program)
        .args(["dev", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(&data)
        .arg("--env-file")
        .arg(&declared)
        .stdin(Stdio::null())
        .stderr(output.try_clone()?)
        .stdout(output)
        .spawn()
        .with_context(|| format!("cannot start {}", program.display()))?;
    let mut gantry = Background(child);
    let address = until("Gantry says where it is", || {
        if let Some(status) = gantry.0.try_wait()? {
            bail!("Gantry ended with {status}: {}", fs::read_to_string(&said)?);
        }
        let text = fs::read_to_string(&said)?;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("dashboard "));
        Ok(line.map(|line| line.trim().trim_start_matches("http://").to_owned()))
    })?;
    Ok((gantry, address))
}

/// Values of parameters that name something: a task, its agent, a deployment.
fn known(address: &str) -> Result<String> {
    let task = until("a task runs", || {
        let tasks = http::get(address, "/api/v2/tasks?workload=web&state=running")?;
        Ok(tasks["items"].get(0).cloned())
    })?;
    http::request(
        address,
        "POST",
        "/api/v2/rolling-restarts",
        r#"{"workload":"web"}"#,
    )?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (task, agent) = (text(&task["id"]), text(&task["agent_id"]));
    let of = |path: &str, values: &[(&str, &str)]| {
        let values = values
            .iter()
            .map(|(name, value)| format!("\"path.{name}\" = {value}"));
        let values = values.collect::<Vec<_>>().join("\n");
        format!(
            "[[operations]]\ninclude-path-regex = \"^{path}\"\n[operations.parameters]\n{values}\n"
        )
    };
    let quoted = |text: &str| format!("\"{text}\"");
    Ok([
        of(
            "/api/v2/workloads/",
            &[("name", "\"web\""), ("number", "1")],
        ),
        of("/api/v2/tasks/", &[("id", &quoted(&task))]),
        of("/api/v2/agents/", &[("id", &quoted(&agent))]),
        of("/api/v2/deployments/", &[("id", "1")]),
    ]
    .concat())
}

fn ask(tool: &Path, place: &Path, address: &str, name: &str, configuration: &str) -> Result<()> {
    println!("== requests made up of {name} ==");
    let file = place.join(format!("{name}.toml"));
    fs::write(&file, configuration)?;
    commands::run(
        Command::new(tool)
            .arg("--config-file")
            .arg(&file)
            .arg("run")
            .arg(commands::project().join("docs/openapi.json"))
            .args(["--url", &format!("http://{address}"), "--seed", SEED])
            .args(["--checks", CHECKS, "--max-examples", EXAMPLES])
            .args([
                "--max-time",
                SECONDS_MAX,
                "--phases",
                "examples,coverage,fuzzing",
            ])
            // A stream of events never ends.
            .args(["--exclude-path", "/api/v2/events", "--warnings", "off"])
            // How fast it makes requests up says nothing about what answers them.
            .args(["--suppress-health-check", "too_slow"])
            .args(["--request-timeout", "20", "--max-redirects", "0"])
            .current_dir(place),
    )
}

fn until<T>(what: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let begin = Instant::now();
    while begin.elapsed() < PATIENCE {
        // An answer that does not come may come yet.
        if let Ok(Some(found)) = look() {
            return Ok(found);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    bail!("waited {} s in vain: {what}", PATIENCE.as_secs())
}

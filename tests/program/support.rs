//! Programs under test, and questions to them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

/// How long anything may take, on a machine that is busy with other things.
pub(crate) const WITHIN: Duration = Duration::from_secs(60);

/// Waits until `look` gives something.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + WITHIN;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {WITHIN:?}: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// A running `gantry`, killed when dropped.
pub(crate) struct Program {
    child: Child,
    output: PathBuf,
}

impl Program {
    /// Starts `gantry` in `directory` with these arguments and variables, and no others.
    pub(crate) fn start(
        directory: &Path,
        name: &str,
        arguments: &[&str],
        variables: &BTreeMap<&str, String>,
    ) -> Self {
        let output = directory.join(format!("{name}.out"));
        let file = File::create(&output).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_gantry"))
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(variables)
            .current_dir(directory)
            .stdin(Stdio::null())
            .stderr(file.try_clone().unwrap())
            .stdout(file)
            .spawn()
            .unwrap();
        Self { child, output }
    }

    /// What it has printed so far.
    pub(crate) fn output(&self) -> String {
        fs::read_to_string(&self.output).unwrap_or_default()
    }

    /// The word that follows `mark` in what it prints, once it is there.
    pub(crate) async fn said(&mut self, mark: &str) -> String {
        until(&format!("`{mark}` in the output"), async || {
            let output = self.output();
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("ended with {status}: {output}");
            }
            let (_, rest) = output.split_once(mark)?;
            let word = rest.split_whitespace().next()?;
            // A word without its end may still be growing.
            rest.contains(char::is_whitespace).then(|| word.to_owned())
        })
        .await
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([format!("-{name}"), self.pid().to_string()])
            .status();
        assert!(status.unwrap().success());
    }

    /// Its exit status, once it has ended.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        until("the end of the program", async || {
            self.child.try_wait().unwrap()
        })
        .await
    }

    /// SIGKILL, and gone.
    pub(crate) fn kill_9(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("=== {} ===\n{}", self.output.display(), self.output());
        }
    }
}

/// A cluster, and what it knows.
pub(crate) struct Local {
    _program: Program,
    pub(crate) master: String,
    client: reqwest::Client,
}

impl Local {
    pub(crate) async fn start(directory: &Path, arguments: &[&str]) -> Self {
        let mut all = vec!["local", "--listen", "127.0.0.1:0"];
        all.extend(arguments);
        let mut program = Program::start(directory, "local", &all, &BTreeMap::new());
        let master = program.said("master at ").await;
        Self {
            _program: program,
            master,
            client: reqwest::Client::new(),
        }
    }

    async fn operator(&self, call: Value) -> reqwest::Response {
        let answer = self
            .client
            .post(format!("http://{}/api/v1", self.master))
            .header("Accept", "application/json")
            .json(&call)
            .send()
            .await
            .unwrap();
        assert!(answer.status().is_success(), "{call}");
        answer
    }

    async fn tasks(&self) -> Value {
        let answer = self.operator(json!({"type": "GET_TASKS"})).await;
        answer.json().await.unwrap()
    }

    /// Removes a framework with its tasks, as an operator of the cluster can.
    pub(crate) async fn tear_down(&self, framework: &str) {
        let call = json!({"type": "TEARDOWN", "teardown": {"framework_id": {"value": framework}}});
        self.operator(call).await;
    }

    /// The live tasks with their states, by id.
    pub(crate) async fn live(&self) -> BTreeMap<String, String> {
        let answer = self.tasks().await;
        let tasks = answer["get_tasks"]["tasks"].as_array().cloned();
        let tasks = tasks.unwrap_or_default().into_iter().filter_map(|task| {
            let id = task["task_id"]["value"].as_str()?.to_owned();
            let state = task["state"].as_str()?.to_owned();
            let ended = [
                "TASK_FINISHED",
                "TASK_FAILED",
                "TASK_KILLED",
                "TASK_ERROR",
                "TASK_LOST",
                "TASK_DROPPED",
                "TASK_GONE",
            ];
            (!ended.contains(&state.as_str())).then_some((id, state))
        });
        tasks.collect()
    }

    /// The ids of the frameworks that have or had tasks.
    pub(crate) async fn frameworks(&self) -> BTreeSet<String> {
        let answer = self.tasks().await;
        let lists = [
            "tasks",
            "completed_tasks",
            "unreachable_tasks",
            "orphan_tasks",
        ];
        let tasks = lists.iter().flat_map(|list| {
            let list = answer["get_tasks"][list].as_array().cloned();
            list.unwrap_or_default()
        });
        tasks
            .filter_map(|task| Some(task["framework_id"]["value"].as_str()?.to_owned()))
            .collect()
    }
}

/// A Gantry's API.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) base: String,
    client: reqwest::Client,
}

impl Api {
    pub(crate) fn at(address: &str) -> Self {
        Self {
            base: format!("http://{}", address.trim_start_matches("http://")),
            client: reqwest::Client::builder()
                .timeout(Duration::from_secs(10))
                .build()
                .unwrap(),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Option<(u16, String)> {
        let answer = self.client.get(format!("{}{path}", self.base)).send().await;
        let answer = answer.ok()?;
        Some((answer.status().as_u16(), answer.text().await.ok()?))
    }

    pub(crate) async fn json(&self, path: &str) -> Value {
        let (status, text) = self.get(path).await.expect("an answer");
        assert_eq!(status, 200, "{path}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    pub(crate) async fn post(&self, path: &str) -> Value {
        let answer = self
            .client
            .post(format!("{}{path}", self.base))
            .send()
            .await;
        let text = answer.unwrap().text().await.unwrap();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}: {text}"))
    }

    /// Scales; `Some(true)` when it was taken, `None` when there was no answer.
    pub(crate) async fn scale(&self, workload: &str, instances: u32) -> Option<bool> {
        let path = format!("/api/v2/workloads/{workload}/scale");
        let request = self.client.put(format!("{}{path}", self.base));
        let answer = request.json(&json!({"instances": instances})).send().await;
        Some(answer.ok()?.status().is_success())
    }

    /// The entries of `/tasks/launched` that run, as name and task id. None before Gantry has
    /// subscribed: until then it does not speak of tasks.
    pub(crate) async fn running(&self) -> BTreeMap<String, String> {
        let (status, text) = self.get("/api/v1/tasks/launched").await.expect("an answer");
        if status == 503 {
            return BTreeMap::new();
        }
        assert_eq!(status, 200, "{text}");
        let entries: Value = serde_json::from_str(&text).unwrap();
        let running = entries.as_array().unwrap().iter().filter_map(|entry| {
            let state = entry["runtimeInfo"]["state"].as_str()?;
            let name = entry["name"].as_str()?.to_owned();
            let id = entry["taskId"].as_str()?.to_owned();
            (state == "TASK_RUNNING").then_some((name, id))
        });
        running.collect()
    }

    pub(crate) async fn health(&self) -> Option<u16> {
        Some(self.get("/health").await?.0)
    }
}

/// The variables of a `gantry serve` on `master` that keeps everything below `directory`.
pub(crate) fn variables<'a>(master: &str, directory: &Path) -> BTreeMap<&'a str, String> {
    let store = directory.join("gantry.redb");
    BTreeMap::from([
        ("FRAMEWORK_NAME", "test".to_owned()),
        ("HOST", "127.0.0.1".to_owned()),
        ("PORT0", "0".to_owned()),
        ("MESOS_SANDBOX", directory.to_string_lossy().into_owned()),
        ("MESOS_MASTER", master.to_owned()),
        ("STORE", format!("embedded:{}", store.display())),
    ])
}

/// Starts `gantry serve` and waits until it answers.
pub(crate) async fn serve(
    directory: &Path,
    variables: &BTreeMap<&str, String>,
    arguments: &[&str],
) -> (Program, Api) {
    let mut all = vec!["serve"];
    all.extend(arguments);
    let mut program = Program::start(directory, "serve", &all, variables);
    let address = program.said("HTTP is served address=").await;
    (program, Api::at(&address))
}

//! Modules written in tests, in a made-up world.

use std::{
    collections::BTreeMap,
    fs,
    sync::{Arc, Mutex},
};

use gantry_modules::{
    Answer, FetchRules, Hook, Level, Limits, Module, NoAnswer, Pending, Question, Request, Setup,
    State, World,
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A world of a few tasks that writes down what it is asked.
#[derive(Default)]
pub(crate) struct MadeUp {
    pub(crate) tasks: Mutex<Vec<Value>>,
    pub(crate) lines: Mutex<Vec<(Level, String)>>,
    pub(crate) requests: Mutex<Vec<Request>>,
}

impl World for MadeUp {
    fn tasks(&self, workload: Option<&str>, max: usize) -> Vec<Value> {
        let tasks = self.tasks.lock().unwrap();
        let wanted = |task: &&Value| workload.is_none_or(|name| task["type"] == name);
        tasks.iter().filter(wanted).take(max).cloned().collect()
    }

    fn has_task_at(&self, host: &str, port: u16) -> bool {
        let tasks = self.tasks.lock().unwrap();
        tasks.iter().any(|task| {
            let ports = task["ports"].as_array().unwrap();
            (task["ip"] == host || task["host"] == host) && ports.contains(&json!(port))
        })
    }

    fn log(&self, module: &str, level: Level, line: &str) {
        let line = format!("{module}: {line}");
        self.lines.lock().unwrap().push((level, line));
    }

    fn request(&self, _: &str, request: Request) -> Pending {
        let refused = matches!(&request, Request::Restart { task } if task == "unknown");
        self.requests.lock().unwrap().push(request);
        Box::pin(async move {
            match refused {
                true => Err("there is no live task `unknown`".to_owned()),
                false => Ok(Value::Null),
            }
        })
    }
}

impl MadeUp {
    pub(crate) fn said(&self, part: &str) -> bool {
        let lines = self.lines.lock().unwrap();
        lines.iter().any(|(_, line)| line.contains(part))
    }
}

/// Modules of one test.
pub(crate) struct Bench {
    pub(crate) world: Arc<MadeUp>,
    pub(crate) limits: Limits,
    pub(crate) allow: &'static str,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) state: BTreeMap<String, String>,
    directory: TempDir,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self {
            world: Arc::default(),
            limits: Limits::default(),
            allow: "",
            environment: BTreeMap::new(),
            state: BTreeMap::new(),
            directory: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn setup(&self, name: &str, directory: std::path::PathBuf) -> Setup {
        Setup {
            name: name.to_owned(),
            directory,
            environment: self.environment.clone(),
            framework: json!({"name": "test"}),
            state: self.state.clone(),
            fetch: Arc::new(FetchRules::parse(self.allow.split(',')).unwrap()),
            world: Arc::clone(&self.world) as Arc<dyn World>,
            tokio: tokio::runtime::Handle::current(),
            limits: self.limits.clone(),
        }
    }

    /// A module of this source, loaded or stopped.
    pub(crate) async fn module(&self, name: &str, source: &str) -> Module {
        self.files(name, &[("index.js", source)]).await
    }

    /// The same, of several files.
    pub(crate) async fn files(&self, name: &str, files: &[(&str, &str)]) -> Module {
        let directory = self.directory.path().join(format!("{name}-module"));
        for (file, source) in files {
            let path = directory.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, source).unwrap();
        }
        let module = Module::start(self.setup(name, directory));
        module.loaded().await;
        module
    }

    /// A module whose default function has this body.
    pub(crate) async fn body(&self, name: &str, body: &str) -> Module {
        let source = format!("export default (gantry) => {{ {body} }}");
        self.module(name, &source).await
    }
}

/// Why the module is stopped; panics when it is not.
pub(crate) fn error(module: &Module) -> String {
    match module.status().state {
        State::Stopped { error } => error,
        other => panic!("{} is {other:?}", module.name()),
    }
}

pub(crate) fn is_running(module: &Module) -> bool {
    module.status().state == State::Running
}

/// Asks a hook about nothing in particular.
pub(crate) async fn ask(module: &Module, hook: Hook) -> Result<Answer, NoAnswer> {
    let argument = json!({});
    module.ask(Question::Hook { hook, argument }).await
}

/// Waits until something holds.
pub(crate) async fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !holds() {
        assert!(std::time::Instant::now() < deadline, "{what} has not come");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

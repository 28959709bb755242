//! `gantry module`: looks at one module without a framework.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
};

use clap::{Args, Subcommand};
use gantry_modules::{
    Admission, Answer, FetchRules, Found, Hook, Host, Level, Limits, Module, Pending, Question,
    Registration, Request, Setup, State, World,
};
use serde_json::{Value, json};

use super::environment::EnvironmentOptions;
use crate::config::Variables;

/// Options of `gantry module`.
#[derive(Args, Debug)]
pub struct ModuleOptions {
    /// What to do.
    #[command(subcommand)]
    pub action: Action,
}

/// What can be done with a module.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Load a module in a made-up world, run each of its hooks once, and say what it does
    Check(CheckOptions),
}

/// Options of `gantry module check`.
#[derive(Args, Debug)]
pub struct CheckOptions {
    /// The module's directory, with its index.js
    pub directory: PathBuf,
    /// Where the variables named MODULE_<NAME>_… are taken from.
    #[command(flatten)]
    pub environment: EnvironmentOptions,
}

/// Does what was asked. Exit code 1 when the module has errors.
///
/// # Errors
/// `out` cannot be written to.
pub async fn run(options: &ModuleOptions, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let Action::Check(options) = &options.action;
    let variables = match options.environment.variables() {
        Ok(variables) => variables,
        Err(errors) => {
            for error in errors {
                writeln!(out, "error: {error}")?;
            }
            return Ok(ExitCode::FAILURE);
        }
    };
    let found = Found::at(&options.directory);
    if !found.is_named_well() {
        writeln!(
            out,
            "error: `{}` must be lower-case letters, digits and hyphens, called <name>-module or \
             module-<name>",
            found.name
        )?;
        return Ok(ExitCode::FAILURE);
    }
    if !found.directory.join("index.js").is_file() {
        writeln!(out, "error: {} has no index.js", found.directory.display())?;
        return Ok(ExitCode::FAILURE);
    }
    let world = Arc::new(MadeUp::default());
    let setup = Setup {
        name: found.name.clone(),
        directory: found.directory.clone(),
        environment: of_module(variables.as_ref(), &found.name),
        framework: json!({"name": "made-up"}),
        state: BTreeMap::new(),
        // Nothing is fetched: a check must not reach what the module is for.
        fetch: Arc::new(FetchRules::parse([])?),
        world: Arc::clone(&world) as Arc<dyn World>,
        tokio: tokio::runtime::Handle::current(),
        limits: Limits::default(),
    };
    let host = Host::new(
        vec![Module::start(setup)],
        Arc::clone(&world) as Arc<dyn World>,
    );
    host.loaded().await;
    let errors = check(&host, &world, out).await?;
    Ok(match errors {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

fn of_module(variables: &dyn Variables, module: &str) -> BTreeMap<String, String> {
    let prefix = crate::modules::variable_prefix(module);
    let names = variables.names().into_iter();
    names
        .filter_map(|name| {
            let rest = name.strip_prefix(&prefix).filter(|rest| !rest.is_empty())?;
            Some((rest.to_owned(), variables.get(name).ok()??.to_owned()))
        })
        .collect()
}

/// Writes what there is, and returns how many errors there are.
async fn check(host: &Host, world: &MadeUp, out: &mut dyn Write) -> io::Result<usize> {
    let Some(module) = host.modules().first() else {
        return Ok(1);
    };
    let Some(registration) = module.registration() else {
        told(world, out)?;
        if let State::Stopped { error } = module.status().state {
            writeln!(out, "error: {error}")?;
        }
        return Ok(1);
    };
    writeln!(out, "module {}", module.name())?;
    registered(&registration, out)?;
    let mut errors = 0;
    for hook in &registration.hooks {
        let tried = hook_once(host, module, *hook).await;
        errors += usize::from(tried.is_err());
        line(out, hook.name(), tried)?;
    }
    if !registration.columns.is_empty()
        || registration.hooks.contains(&Hook::Healthy)
        || registration.hooks.contains(&Hook::Leader)
    {
        let tasks = world.tasks(None, usize::MAX);
        let tried = match module.ask(Question::Annotate { tasks }).await {
            Ok(Answer::Annotations(said)) => Ok(said
                .iter()
                .map(|said| {
                    let columns = Value::Object(said.columns.clone());
                    format!(
                        "{columns} healthy={:?} leader={:?}",
                        said.healthy, said.leader
                    )
                })
                .collect::<Vec<_>>()
                .join(", ")),
            Ok(other) => Ok(format!("{other:?}")),
            Err(error) => Err(error.to_string()),
        };
        errors += usize::from(tried.is_err());
        line(out, "columns", tried)?;
    }
    for (index, route) in registration.routes.iter().enumerate() {
        // What changes something in the world outside is not tried.
        if route.method != "GET" {
            continue;
        }
        let request = json!({"method": "GET", "path": route.path, "params": {}, "query": {},
                             "body": "", "json": null, "caller": {"name": "check", "level": "admin"}});
        let tried = match module.ask(Question::Route { index, request }).await {
            Ok(Answer::Response(response)) => Ok(format!("{} {}", response.status, response.body)),
            Ok(other) => Ok(format!("{other:?}")),
            Err(error) => Err(error.to_string()),
        };
        errors += usize::from(tried.is_err());
        line(out, &format!("GET {}", route.path), tried)?;
    }
    told(world, out)?;
    let status = module.status();
    if let State::Stopped { error } = status.state {
        writeln!(out, "error: it was stopped: {error}")?;
        errors += 1;
    }
    let spent = status.spent.as_secs_f64() * 1000.0;
    writeln!(
        out,
        "{} calls, {spent:.1} ms, {errors} errors",
        status.calls
    )?;
    Ok(errors)
}

fn registered(registration: &Registration, out: &mut dyn Write) -> io::Result<()> {
    let lists: [(&str, Vec<String>); 7] = [
        (
            "routes",
            registration
                .routes
                .iter()
                .map(|route| format!("{} {}", route.method, route.path))
                .collect(),
        ),
        (
            "menus",
            registration
                .menus
                .iter()
                .map(|menu| format!("{} -> {}", menu.title, menu.page))
                .collect(),
        ),
        (
            "pages",
            registration
                .pages
                .iter()
                .map(|(name, file)| format!("{name} ({file})"))
                .collect(),
        ),
        ("scripts", registration.scripts.clone()),
        ("styles", registration.styles.clone()),
        (
            "columns",
            registration
                .columns
                .iter()
                .map(|column| format!("{} ({})", column.key, column.title))
                .collect(),
        ),
        (
            "hooks",
            registration
                .hooks
                .iter()
                .map(|hook| hook.name().to_owned())
                .collect(),
        ),
    ];
    for (what, list) in lists {
        if !list.is_empty() {
            writeln!(out, "  {what:<8} {}", list.join(", "))?;
        }
    }
    Ok(())
}

/// Runs a hook with what it would be asked of the first made-up task.
async fn hook_once(host: &Host, module: &Module, hook: Hook) -> Result<String, String> {
    let task = made_up_tasks().remove(0);
    let argument = match hook {
        Hook::BeforeLaunch => {
            let launch = json!({"type": "web", "instance": "web-4", "number": 4, "revision": 1, "env": ["MODE"]});
            let failures = module.status().failures;
            let admission = host.before_launch(&launch).await;
            after_all(module).await;
            let status = module.status();
            if status.failures > failures || status.state != State::Running {
                return Err(status
                    .last_failure
                    .unwrap_or_else(|| "it was stopped".to_owned()));
            }
            return Ok(match admission {
                Admission::Admitted { environment } => {
                    let names: Vec<_> = environment.into_keys().collect();
                    format!("admitted, adding {names:?}")
                }
                Admission::Vetoed {
                    reason,
                    retry_after,
                    ..
                } => {
                    format!("vetoed for {} s: {reason}", retry_after.as_secs())
                }
            });
        }
        Hook::OnStatus => {
            let event = json!({"id": 1, "at": 1, "task": task["id"], "type": "web", "instance": "web-1",
                               "number": 1, "state": "TASK_FAILED", "healthy": null,
                               "reason": "REASON_COMMAND_EXECUTOR_FAILED", "message": "exit status 1"});
            return told_once(module, &event).await;
        }
        Hook::Healthy | Hook::Leader => return Ok("see columns".to_owned()),
        Hook::RestartCheck => task,
        Hook::BeforeRestart => {
            json!({"task": task["id"], "type": "web", "instance": "web-1", "caller": "check"})
        }
        Hook::BeforeRollingRestart => json!({"type": null, "caller": "check"}),
        Hook::BeforeKill => json!({"type": null, "task": null, "caller": "check"}),
    };
    match module.ask(Question::Hook { hook, argument }).await {
        Ok(Answer::Refused(reason)) => Ok(format!("refused: {reason}")),
        Ok(Answer::Ready(ready)) => Ok(format!("ready: {ready}")),
        Ok(_) => Ok("no objection".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Waits until all that was asked and told is dealt with, and counted: whatever is asked now is
/// answered after it.
async fn after_all(module: &Module) {
    let _ = module.ask(Question::Annotate { tasks: Vec::new() }).await;
}

/// An event is not answered: its end is seen from the count of calls.
async fn told_once(module: &Module, event: &Value) -> Result<String, String> {
    let before = module.status();
    module.tell(event.to_string().into());
    let deadline = tokio::time::Instant::now() + Limits::default().settle;
    while module.status().calls == before.calls && tokio::time::Instant::now() < deadline {
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    after_all(module).await;
    let after = module.status();
    if let State::Stopped { error } = after.state {
        return Err(error);
    }
    match after.failures > before.failures {
        true => Err(after.last_failure.unwrap_or_default()),
        false => Ok("told".to_owned()),
    }
}

fn line(out: &mut dyn Write, what: &str, tried: Result<String, String>) -> io::Result<()> {
    match tried {
        Ok(said) => writeln!(out, "  ok       {what}: {said}"),
        Err(error) => writeln!(out, "  error    {what}: {error}"),
    }
}

fn told(world: &MadeUp, out: &mut dyn Write) -> io::Result<()> {
    for told in world.lines().drain(..) {
        writeln!(out, "  said     {told}")?;
    }
    Ok(())
}

/// A framework with three tasks, of which nothing can be changed.
#[derive(Default)]
struct MadeUp {
    lines: Mutex<Vec<String>>,
}

impl MadeUp {
    fn lines(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl World for MadeUp {
    fn tasks(&self, workload: Option<&str>, max: usize) -> Vec<Value> {
        let wanted = |task: &Value| workload.is_none_or(|name| task["type"] == name);
        made_up_tasks()
            .into_iter()
            .filter(wanted)
            .take(max)
            .collect()
    }

    fn has_task_at(&self, _: &str, _: u16) -> bool {
        false
    }

    fn log(&self, _: &str, level: Level, line: &str) {
        let level = match level {
            Level::Debug => return,
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        };
        self.lines().push(format!("{level}: {line}"));
    }

    fn request(&self, _: &str, request: Request) -> Pending {
        let said = match request {
            Request::Restart { task } => format!("asks to restart {task}"),
            Request::Scale {
                workload,
                instances,
            } => format!("asks for {instances} of {workload}"),
            Request::Store { key, value: None } => format!("forgets {key}"),
            Request::Store { key, .. } => format!("keeps {key}"),
        };
        self.lines().push(said);
        Box::pin(async { Ok(Value::Null) })
    }
}

fn made_up_tasks() -> Vec<Value> {
    (1..=3)
        .map(|number| {
            json!({
                "id": format!("made-up.web-{number}.00000000-0000-4000-8000-00000000000{number}"),
                "type": "web", "instance": format!("web-{number}"), "number": number,
                "state": "TASK_RUNNING", "healthy": true, "host": format!("host-{number}"),
                "ip": format!("10.0.0.{number}"), "ports": [31000 + number], "agent": format!("agent-{number}"),
                "revision": 1, "current": true, "restarting": false,
                "launchedAt": 1_700_000_000_000_u64, "runningAt": 1_700_000_001_000_u64,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    async fn checked(source: &str) -> (ExitCode, String) {
        let directory = tempfile::tempdir().unwrap();
        let module = directory.path().join("try-module");
        fs::create_dir(&module).unwrap();
        fs::write(module.join("index.js"), source).unwrap();
        let module = module.to_str().unwrap();
        let cli = Cli::parse_from(["gantry", "module", "check", module]);
        let Some(Command::Module(options)) = cli.command else {
            panic!("{cli:?}");
        };
        let mut out = Vec::new();
        let code = run(&options, &mut out).await.unwrap();
        (code, String::from_utf8(out).unwrap())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn says_what_a_module_does_and_what_is_wrong_with_it() {
        let (code, said) = checked(
            "export default (gantry) => {
               gantry.route('GET', '/hello', () => ({text: 'hi'}));
               gantry.column({key: 'n', title: 'N', value: (task) => task.number});
               gantry.beforeLaunch(() => ({env: {A: '1'}}));
               gantry.onStatus((event) => console.log(event.instance, event.state));
             }",
        )
        .await;
        assert_eq!(code, ExitCode::SUCCESS, "{said}");
        for wanted in [
            "module try",
            "routes   GET /hello",
            "ok       beforeLaunch: admitted, adding [\"A\"]",
            "ok       GET /hello: 200 hi",
            "{\"n\":3}",
            "info: web-1 TASK_FAILED",
            "0 errors",
        ] {
            assert!(said.contains(wanted), "no `{wanted}` in {said}");
        }
        let broken = "export default (g) => { g.beforeLaunch(() => { throw new Error('no') }); g.onStatus(() => { for (;;) {} }) }";
        let (code, said) = checked(broken).await;
        assert_eq!(code, ExitCode::FAILURE);
        assert!(
            said.contains("error    beforeLaunch: beforeLaunch: Error: no"),
            "{said}"
        );
        assert!(said.contains("it was stopped: onStatus"), "{said}");
        let (code, said) = checked("export default (").await;
        assert_eq!(code, ExitCode::FAILURE);
        assert!(said.contains("SyntaxError"), "{said}");
    }
}

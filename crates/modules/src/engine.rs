//! A module's thread: its JavaScript runtime, what it is running, and when that must end.

mod budget;
mod desk;
mod error;
mod natives;

use std::{
    cell::RefCell,
    collections::HashMap,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use rquickjs::{Context, Ctx, Exception, Function, Object, Persistent, Runtime, Value};
use tokio::sync::oneshot;

use crate::{
    Level, Limits,
    answer::{Answer, Expected},
    inbox::{Ask, Next, Outcome},
    module::{NoAnswer, Question, Setup, Shared},
    registration::Hook,
    source::{Files, Inside, PRELUDE},
    timers::Timer,
};

use budget::Budget;
use desk::Desk;
use error::{Fault, describe};

/// A function of the module, kept between calls.
type Saved = Persistent<Function<'static>>;

/// Background work of so much processor time is followed by a rest as long: timers and events
/// together take at most half a processor.
const WORK: Duration = Duration::from_millis(5);

/// Why a module's thread ends.
pub(crate) enum End {
    /// Nobody wants it any more.
    Closed,
    /// It is stopped: its error.
    Stopped(String),
}

impl From<rquickjs::Error> for End {
    fn from(error: rquickjs::Error) -> Self {
        Self::Stopped(format!("the JavaScript runtime cannot be made: {error}"))
    }
}

/// Loads a module and serves its inbox until it is stopped or nobody wants it any more.
pub(crate) fn run(setup: Setup, shared: Arc<Shared>) -> End {
    match Engine::new(setup, shared) {
        Ok(mut engine) => match engine.serve() {
            Ok(never) => match never {},
            Err(end) => end,
        },
        Err(end) => end,
    }
}

/// For whom the module is running something; failures in a row are counted for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Source {
    Load,
    Route,
    Hook(Hook),
    Annotate,
    /// A repeating timer, or 0 for all that run once.
    Timer(u32),
}

/// Something the module is running, or awaits.
struct Run {
    source: Source,
    expected: Expected,
    deadline: Instant,
    reply: Option<oneshot::Sender<Result<Answer, NoAnswer>>>,
    /// Goes on when this run has ended.
    timer: Option<Timer<Saved>>,
}

struct Engine {
    shared: Arc<Shared>,
    limits: Limits,
    budget: Rc<Budget>,
    runs: HashMap<u32, Run>,
    last_run: u32,
    failures: HashMap<Source, u32>,
    loaded: bool,
    worked: Duration,
    rest_until: Option<Instant>,
    // What holds JavaScript values is emptied before their owners go, in this order.
    desk: Rc<RefCell<Desk>>,
    prelude: Option<Prelude>,
    context: Context,
    runtime: Runtime,
}

/// The host's own functions in JavaScript.
struct Prelude {
    run: Saved,
    load: Saved,
    annotate: Saved,
}

impl Engine {
    fn new(setup: Setup, shared: Arc<Shared>) -> Result<Self, End> {
        let limits = shared.limits.clone();
        let directory = std::fs::canonicalize(&setup.directory)
            .map_err(|error| End::Stopped(format!("{}: {error}", setup.directory.display())))?;
        let budget = Rc::new(Budget::new(Arc::clone(&shared)));
        let runtime = Runtime::new()?;
        runtime.set_memory_limit(limits.memory);
        runtime.set_max_stack_size(limits.stack);
        runtime.set_loader(Inside, Files::new(directory));
        let handler = Rc::clone(&budget);
        runtime.set_interrupt_handler(Some(Box::new(move || handler.interrupts())));
        let context = Context::full(&runtime)?;
        let desk = Rc::new(RefCell::new(Desk::new(setup, Arc::clone(&shared))));
        let mut engine = Self {
            shared,
            budget,
            runs: HashMap::new(),
            last_run: 0,
            failures: HashMap::new(),
            loaded: false,
            worked: Duration::ZERO,
            rest_until: None,
            desk,
            prelude: None,
            context,
            runtime,
            limits,
        };
        let desk = Rc::clone(&engine.desk);
        let prelude = engine.enter(engine.limits.load, |ctx| Prelude::new(ctx, &desk));
        engine.prelude = Some(prelude.map_err(|fault| End::Stopped(fault.to_string()))?);
        Ok(engine)
    }

    fn serve(&mut self) -> Result<std::convert::Infallible, End> {
        let load = self.prelude.as_ref().map(|prelude| prelude.load.clone());
        if let Some(load) = load {
            self.start(Source::Load, Expected::Nothing, load, None, None, None)?;
        }
        loop {
            self.expire()?;
            if self.is_load_lost() {
                return Err(End::Stopped(Source::Load.said(&self.unsettled())));
            }
            let now = Instant::now();
            let resting = self.rest_until.filter(|until| *until > now);
            if resting.is_none() {
                let due = self.desk.borrow_mut().timers.take(now);
                if let Some(timer) = due {
                    self.fire(timer)?;
                }
            }
            let next_timer = resting.or_else(|| self.desk.borrow().timers.next());
            let next_deadline = self.runs.values().map(|run| run.deadline).min();
            let until = next_timer.into_iter().chain(next_deadline).min();
            let events = self.loaded && resting.is_none() && !self.is_running(Hook::OnStatus);
            let shared = Arc::clone(&self.shared);
            match shared.inbox.next(until, events) {
                Next::Ask(ask) => self.ask(ask)?,
                Next::Outcome(outcome) => self.outcome(outcome)?,
                Next::Event(event) => self.event(&event)?,
                Next::Nothing => {}
                Next::Closed => return Err(End::Closed),
            }
        }
    }

    // === what there is to do ===

    fn ask(&mut self, Ask { question, reply }: Ask) -> Result<(), End> {
        if reply.is_closed() {
            self.shared.inbox.answered();
            return Ok(());
        }
        let (source, expected, function, argument) = match question {
            Question::Route { index, request } => {
                let function = self.desk.borrow().routes.get(index).cloned();
                let json = request.to_string();
                (Source::Route, Expected::Response, function, json)
            }
            Question::Hook { hook, argument } => {
                let function = self.desk.borrow().hooks.get(&hook).cloned();
                let json = argument.to_string();
                (Source::Hook(hook), hook.expected(), function, json)
            }
            Question::Annotate { tasks } => {
                let function = self
                    .prelude
                    .as_ref()
                    .map(|prelude| prelude.annotate.clone());
                let expected = Expected::Annotations(tasks.len());
                let json = serde_json::Value::Array(tasks).to_string();
                (Source::Annotate, expected, function, json)
            }
        };
        let Some(function) = function else {
            // Whoever asked has forgotten what the module registers.
            let _ = reply.send(Ok(Answer::None));
            self.shared.inbox.answered();
            return Ok(());
        };
        self.start(
            source,
            expected,
            function,
            Some(&argument),
            Some(reply),
            None,
        )
    }

    fn event(&mut self, event: &str) -> Result<(), End> {
        let function = self.desk.borrow().hooks.get(&Hook::OnStatus).cloned();
        let Some(function) = function else {
            return Ok(());
        };
        let source = Source::Hook(Hook::OnStatus);
        self.start(source, Expected::Nothing, function, Some(event), None, None)
    }

    fn fire(&mut self, timer: Timer<Saved>) -> Result<(), End> {
        let source = Source::Timer(timer.every.map_or(0, |_| timer.id));
        let function = timer.function.clone();
        self.start(source, Expected::Nothing, function, None, None, Some(timer))
    }

    fn outcome(&mut self, outcome: Outcome) -> Result<(), End> {
        let waiting = self.desk.borrow_mut().requests.remove(&outcome.request);
        let Some((resolve, reject)) = waiting else {
            return Ok(());
        };
        let entered = self.enter(self.limits.call, |ctx| match outcome.result {
            Ok(value) => {
                let value = ctx.json_parse(value.to_string())?;
                resolve.restore(ctx)?.call::<_, ()>((value,))
            }
            Err(reason) => {
                let error = Exception::from_message(ctx.clone(), &reason)?;
                reject.restore(ctx)?.call::<_, ()>((error,))
            }
        });
        self.rest();
        self.after(entered, None)
    }

    /// Runs that have waited too long for what they await.
    fn expire(&mut self) -> Result<(), End> {
        let now = Instant::now();
        let expired = |(id, run): (&u32, &Run)| (run.deadline <= now).then_some(*id);
        let expired: Vec<_> = self.runs.iter().filter_map(expired).collect();
        for id in expired {
            let fault = self.unsettled();
            self.conclude(id, Err(fault))?;
        }
        Ok(())
    }

    /// Loading that awaits what cannot come: nothing is under way, and nobody asks yet.
    fn is_load_lost(&self) -> bool {
        let desk = self.desk.borrow();
        !self.loaded && desk.timers.is_empty() && desk.requests.is_empty()
    }

    /// Where there was no memory for an error, what failed looks as if it were still awaited.
    fn unsettled(&self) -> Fault {
        let used = self.runtime.memory_usage().malloc_size;
        let most = self.limits.memory / 4 * 3;
        match usize::try_from(used).is_ok_and(|used| used > most) {
            true => Fault::Memory,
            false => Fault::Unsettled,
        }
    }

    fn is_running(&self, hook: Hook) -> bool {
        let source = Source::Hook(hook);
        self.runs.values().any(|run| run.source == source)
    }

    // === running ===

    fn start(
        &mut self,
        source: Source,
        expected: Expected,
        function: Saved,
        argument: Option<&str>,
        reply: Option<oneshot::Sender<Result<Answer, NoAnswer>>>,
        timer: Option<Timer<Saved>>,
    ) -> Result<(), End> {
        self.last_run = self.last_run.wrapping_add(1);
        let id = self.last_run;
        let (limit, settle) = match source {
            Source::Load => (self.limits.load, self.limits.settle_route),
            Source::Route => (self.limits.call, self.limits.settle_route),
            _ => (self.limits.call, self.limits.settle),
        };
        let run = Run {
            source,
            expected,
            deadline: Instant::now() + settle,
            reply,
            timer,
        };
        self.runs.insert(id, run);
        let runner = self.prelude.as_ref().map(|prelude| prelude.run.clone());
        let entered = self.enter(limit, |ctx| {
            let function = function.restore(ctx)?;
            let argument = match argument {
                Some(json) => ctx.json_parse(json)?,
                None => Value::new_undefined(ctx.clone()),
            };
            match runner {
                Some(runner) => runner.restore(ctx)?.call::<_, ()>((id, function, argument)),
                None => Ok(()),
            }
        });
        if matches!(source, Source::Timer(_) | Source::Hook(Hook::OnStatus)) {
            self.rest();
        }
        self.after(entered, Some(id))
    }

    /// Enters JavaScript: the call, and everything that became due by it.
    fn enter<R>(
        &mut self,
        limit: Duration,
        call: impl for<'js> FnOnce(&Ctx<'js>) -> rquickjs::Result<R>,
    ) -> Result<R, Fault> {
        self.budget.begin(limit);
        let mut result = self
            .context
            .with(|ctx| call(&ctx).map_err(|error| Fault::from_error(&ctx, error)));
        while !self.budget.is_over() {
            match self.runtime.execute_pending_job() {
                Ok(true) => {}
                Ok(false) => break,
                Err(thrown) => {
                    let fault = thrown.0.with(|ctx| describe(&ctx, ctx.catch()));
                    // The host's own jobs throw nothing, so that this is a limit or a bug.
                    if result.is_ok() {
                        result = Err(fault);
                    }
                }
            }
        }
        let spent = self.budget.end();
        self.worked += spent;
        self.shared.count(spent);
        match self.budget.was_exceeded() {
            true => Err(Fault::Time { limit }),
            false => result,
        }
    }

    /// What a call has brought: answers of this run and of others that went on.
    fn after(&mut self, entered: Result<(), Fault>, id: Option<u32>) -> Result<(), End> {
        let settled = std::mem::take(&mut self.desk.borrow_mut().settled);
        for (id, result) in settled {
            self.conclude(id, result)?;
        }
        match (entered, id) {
            (Ok(()), _) => Ok(()),
            (Err(fault), Some(id)) if self.runs.contains_key(&id) => self.conclude(id, Err(fault)),
            (Err(fault), _) if fault.is_final() => Err(End::Stopped(fault.to_string())),
            (Err(fault), _) => {
                self.shared.say(Level::Warn, &fault.to_string());
                Ok(())
            }
        }
    }

    fn conclude(&mut self, id: u32, result: Result<Option<String>, Fault>) -> Result<(), End> {
        let Some(mut run) = self.runs.remove(&id) else {
            return Ok(());
        };
        let read = result.and_then(|json| {
            let answer = run.expected.read(json.as_deref());
            answer.map_err(Fault::Garbage)
        });
        if run.reply.is_some() {
            self.shared.inbox.answered();
        }
        if let Some(timer) = run.timer.take() {
            self.desk.borrow_mut().timers.again(Instant::now(), timer);
        }
        match read {
            Ok(answer) => {
                self.failures.remove(&run.source);
                if let Some(reply) = run.reply {
                    let _ = reply.send(Ok(answer));
                }
                if run.source == Source::Load {
                    self.begin()?;
                }
                Ok(())
            }
            Err(fault) => self.failed(run, &fault),
        }
    }

    fn failed(&mut self, run: Run, fault: &Fault) -> Result<(), End> {
        let text = run.source.said(fault);
        if let Some(reply) = run.reply {
            let _ = reply.send(Err(NoAnswer::Failed(text.clone())));
        }
        if fault.is_final() || run.source == Source::Load {
            return Err(End::Stopped(text));
        }
        self.shared.failed(&text);
        // Whoever may call a route could otherwise stop a module by bad requests.
        if run.source == Source::Route {
            return Ok(());
        }
        let failures = self.failures.entry(run.source).or_default();
        *failures += 1;
        if *failures >= self.limits.failures {
            return Err(End::Stopped(format!(
                "{failures} failures in a row: {text}"
            )));
        }
        Ok(())
    }

    /// The module is loaded: what it registered is fixed.
    fn begin(&mut self) -> Result<(), End> {
        let registration = {
            let mut desk = self.desk.borrow_mut();
            desk.loading = false;
            desk.registration.clone()
        };
        registration.check().map_err(End::Stopped)?;
        self.loaded = true;
        self.shared.begin(registration);
        Ok(())
    }

    fn rest(&mut self) {
        if self.worked >= WORK {
            self.rest_until = Some(Instant::now() + self.worked);
            self.worked = Duration::ZERO;
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.runs.clear();
        self.prelude = None;
        self.desk.borrow_mut().clear();
        self.runtime.set_interrupt_handler(None);
    }
}

impl Source {
    fn said(self, fault: &Fault) -> String {
        match self {
            Self::Load => format!("while it was loaded: {fault}"),
            Self::Route => format!("a route: {fault}"),
            Self::Hook(hook) => format!("{}: {fault}", hook.name()),
            Self::Annotate => format!("a column, healthy or leader: {fault}"),
            Self::Timer(_) => format!("a timer: {fault}"),
        }
    }
}

impl Hook {
    const fn expected(self) -> Expected {
        match self {
            Self::BeforeLaunch => Expected::Launch,
            Self::BeforeRestart | Self::BeforeRollingRestart | Self::BeforeKill => {
                Expected::Permission
            }
            Self::RestartCheck => Expected::Ready,
            Self::OnStatus | Self::Healthy | Self::Leader => Expected::Nothing,
        }
    }
}

impl Prelude {
    fn new(ctx: &Ctx<'_>, desk: &Rc<RefCell<Desk>>) -> rquickjs::Result<Self> {
        let mut options = rquickjs::context::EvalOptions::default();
        options.filename = Some(PRELUDE.to_owned());
        let make: Function<'_> = ctx.eval_with_options(include_str!("prelude.js"), options)?;
        let made: Object<'_> = make.call((natives::object(ctx, desk)?,))?;
        Ok(Self {
            run: made.get("run")?,
            load: made.get("load")?,
            annotate: made.get("annotate")?,
        })
    }
}

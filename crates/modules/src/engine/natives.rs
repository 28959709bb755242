//! The functions that the host's script calls.

use std::{cell::RefCell, rc::Rc, time::Instant};

use rquickjs::{
    Ctx, Exception, Function, IntoJs, Object, Persistent, Result, Value,
    function::{IntoJsFunc, Opt},
};

use super::{
    desk::Desk,
    error::{Fault, describe},
};
use crate::{
    Level, Pending, Request,
    fetch::Fetch,
    inbox::Outcome,
    limits::{NAME_MAX, STATE_KEYS_MAX, STATE_VALUE_MAX},
    registration::{Hook, Registration, Wrong},
};

/// Most tasks that a module gets at once: their JSON has to fit into its memory and time.
const TASKS_MAX: usize = 5_000;

/// The object with all of them.
pub(crate) fn object<'js>(ctx: &Ctx<'js>, desk: &Rc<RefCell<Desk>>) -> Result<Object<'js>> {
    let native = Natives {
        ctx,
        object: Object::new(ctx.clone())?,
    };
    native.values(&desk.borrow())?;
    native.running(desk)?;
    native.registering(desk)?;
    native.timers(desk)?;
    native.reading(desk)?;
    native.asking(desk)?;
    Ok(native.object)
}

struct Natives<'a, 'js> {
    ctx: &'a Ctx<'js>,
    object: Object<'js>,
}

impl<'js> Natives<'_, 'js> {
    fn function<P>(&self, name: &str, f: impl IntoJsFunc<'js, P> + 'js) -> Result<()> {
        self.object.set(name, Function::new(self.ctx.clone(), f)?)
    }

    fn values(&self, desk: &Desk) -> Result<()> {
        self.object.set("name", desk.shared.name.as_str())?;
        let framework = self.ctx.json_parse(desk.framework.to_string())?;
        self.object.set("framework", framework)?;
        let environment = Object::new(self.ctx.clone())?;
        for (name, value) in &desk.environment {
            environment.set(name.as_str(), value.as_str())?;
        }
        self.object.set("env", environment)
    }

    fn running(&self, desk: &Rc<RefCell<Desk>>) -> Result<()> {
        let desk_ = Rc::clone(desk);
        let answered = move |ctx: Ctx<'js>, run: u32, value: Value<'js>| {
            let max = desk_.borrow().shared.limits.answer;
            let json = json(&ctx, value, max);
            desk_.borrow_mut().settled.push((run, json));
        };
        self.function("answered", answered)?;
        let desk = Rc::clone(desk);
        let failed = move |ctx: Ctx<'js>, run: u32, thrown: Value<'js>| {
            let fault = describe(&ctx, thrown);
            desk.borrow_mut().settled.push((run, Err(fault)));
        };
        self.function("failed", failed)
    }

    fn registering(&self, desk: &Rc<RefCell<Desk>>) -> Result<()> {
        let with = |desk: &Rc<RefCell<Desk>>| {
            let desk = Rc::clone(desk);
            move |ctx: &Ctx<'js>,
                  add: &dyn Fn(&mut Registration) -> std::result::Result<(), Wrong>| {
                let mut desk = desk.borrow_mut();
                let added = match desk.loading {
                    true => add(&mut desk.registration),
                    false => Err("a module can register only while it is loaded".to_owned()),
                };
                added.map_err(|wrong| Exception::throw_type(ctx, &wrong))
            }
        };
        let register = with(desk);
        let desk_ = Rc::clone(desk);
        let route =
            move |ctx: Ctx<'js>, method: String, path: String, run: Function<'js>| -> Result<()> {
                register(&ctx, &|all| all.add_route(&method, &path))?;
                desk_.borrow_mut().routes.push(Persistent::save(&ctx, run));
                Ok(())
            };
        self.function("route", route)?;
        let register = with(desk);
        let desk_ = Rc::clone(desk);
        let hook = move |ctx: Ctx<'js>, name: String, run: Function<'js>| -> Result<()> {
            let hook = Hook::ALL.into_iter().find(|hook| hook.name() == name);
            let hook = hook.ok_or_else(|| Exception::throw_type(&ctx, "there is no such hook"))?;
            register(&ctx, &|all| all.add_hook(hook))?;
            desk_
                .borrow_mut()
                .hooks
                .insert(hook, Persistent::save(&ctx, run));
            Ok(())
        };
        self.function("hook", hook)?;
        let register = with(desk);
        let menu = move |ctx: Ctx<'js>, title: String, page: String| -> Result<()> {
            register(&ctx, &|all| all.add_menu(&title, &page))
        };
        self.function("menu", menu)?;
        let register = with(desk);
        let page = move |ctx: Ctx<'js>, name: String, file: String| -> Result<()> {
            register(&ctx, &|all| all.add_page(&name, &file))
        };
        self.function("page", page)?;
        let register = with(desk);
        let column = move |ctx: Ctx<'js>, key: String, title: String| -> Result<()> {
            register(&ctx, &|all| all.add_column(&key, &title))
        };
        self.function("column", column)?;
        let register = with(desk);
        let script = move |ctx: Ctx<'js>, file: String| -> Result<()> {
            register(&ctx, &|all| all.add_script(&file))
        };
        self.function("script", script)?;
        let register = with(desk);
        let style = move |ctx: Ctx<'js>, file: String| -> Result<()> {
            register(&ctx, &|all| all.add_style(&file))
        };
        self.function("style", style)
    }

    fn timers(&self, desk: &Rc<RefCell<Desk>>) -> Result<()> {
        let desk_ = Rc::clone(desk);
        let timer =
            move |ctx: Ctx<'js>, run: Function<'js>, millis: f64, repeat: bool| -> Result<u32> {
                let mut desk = desk_.borrow_mut();
                let max = desk.shared.limits.timers;
                if desk.timers.len() >= max {
                    let message = format!("there are {max} timers already");
                    return Err(Exception::throw_range(&ctx, &message));
                }
                let run = Persistent::save(&ctx, run);
                Ok(desk.timers.add(Instant::now(), run, millis, repeat))
            };
        self.function("timer", timer)?;
        let desk = Rc::clone(desk);
        let clear = move |id: f64| desk.borrow_mut().timers.remove(id as u32);
        self.function("clearTimer", clear)
    }

    fn reading(&self, desk: &Rc<RefCell<Desk>>) -> Result<()> {
        let desk_ = Rc::clone(desk);
        let log = move |level: u32, line: String| {
            let level = match level {
                0 => Level::Debug,
                1 => Level::Info,
                2 => Level::Warn,
                _ => Level::Error,
            };
            desk_.borrow_mut().log(level, line);
        };
        self.function("log", log)?;
        let desk_ = Rc::clone(desk);
        let tasks = move |ctx: Ctx<'js>, workload: Option<String>| -> Result<Value<'js>> {
            let world = std::sync::Arc::clone(&desk_.borrow().world);
            let tasks = world.tasks(workload.as_deref(), TASKS_MAX);
            ctx.json_parse(serde_json::Value::Array(tasks).to_string())
        };
        self.function("tasks", tasks)?;
        let desk_ = Rc::clone(desk);
        let get = move |key: String| desk_.borrow().state.get(&key).cloned();
        self.function("stateGet", get)?;
        let desk = Rc::clone(desk);
        let keys = move || -> Vec<String> { desk.borrow().state.keys().cloned().collect() };
        self.function("stateKeys", keys)
    }

    fn asking(&self, desk: &Rc<RefCell<Desk>>) -> Result<()> {
        let desk_ = Rc::clone(desk);
        let fetch = move |ctx: Ctx<'js>, options: Value<'js>| -> Result<Value<'js>> {
            let max = desk_.borrow().shared.limits.answer;
            let json = json(&ctx, options, max).map_err(|fault| throw(&ctx, &fault))?;
            let fetch: Fetch = serde_json::from_str(&json.unwrap_or_default())
                .map_err(|error| Exception::throw_type(&ctx, &format!("fetch: {error}")))?;
            let pending = desk_.borrow().fetcher.fetch(fetch, max);
            request(&ctx, &desk_, pending)
        };
        self.function("fetch", fetch)?;
        let desk_ = Rc::clone(desk);
        let restart =
            move |ctx: Ctx<'js>, task: String| command(&ctx, &desk_, Request::Restart { task });
        self.function("restart", restart)?;
        let desk_ = Rc::clone(desk);
        let scale = move |ctx: Ctx<'js>, workload: String, instances: f64| -> Result<Value<'js>> {
            let whole =
                instances.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&instances);
            if !whole {
                let message = "gantry.scale: instances must be a whole number";
                return Err(Exception::throw_type(&ctx, message));
            }
            let instances = instances as u32;
            command(
                &ctx,
                &desk_,
                Request::Scale {
                    workload,
                    instances,
                },
            )
        };
        self.function("scale", scale)?;
        let desk = Rc::clone(desk);
        let set =
            move |ctx: Ctx<'js>, key: String, value: Opt<Option<String>>| -> Result<Value<'js>> {
                let value = value.0.flatten();
                store(&mut desk.borrow_mut(), &key, value.as_deref())
                    .map_err(|wrong| Exception::throw_range(&ctx, &wrong))?;
                command(&ctx, &desk, Request::Store { key, value })
            };
        self.function("stateSet", set)
    }
}

/// The JSON of a value; nothing for what has none.
fn json<'js>(
    ctx: &Ctx<'js>,
    value: Value<'js>,
    max: usize,
) -> std::result::Result<Option<String>, Fault> {
    let text = ctx
        .json_stringify(value)
        .and_then(|text| text.map(|text| text.to_string()).transpose())
        .map_err(|error| Fault::from_error(ctx, error))?;
    match text.as_ref().map_or(0, String::len) {
        bytes if bytes > max => Err(Fault::TooLong { bytes, max }),
        _ => Ok(text),
    }
}

fn throw(ctx: &Ctx<'_>, fault: &Fault) -> rquickjs::Error {
    Exception::throw_type(ctx, &fault.to_string())
}

/// Changes the module's own copy of its state, which is read at once.
fn store(desk: &mut Desk, key: &str, value: Option<&str>) -> std::result::Result<(), String> {
    if key.is_empty() || key.len() > NAME_MAX {
        return Err(format!("gantry.state: a key has 1 to {NAME_MAX} bytes"));
    }
    let Some(value) = value else {
        desk.state.remove(key);
        return Ok(());
    };
    if value.len() > STATE_VALUE_MAX {
        return Err(format!(
            "gantry.state: the JSON of `{key}` has {} bytes, more than {STATE_VALUE_MAX}",
            value.len()
        ));
    }
    if !desk.state.contains_key(key) && desk.state.len() >= STATE_KEYS_MAX {
        return Err(format!(
            "gantry.state: there are {STATE_KEYS_MAX} keys already"
        ));
    }
    desk.state.insert(key.to_owned(), value.to_owned());
    Ok(())
}

fn command<'js>(ctx: &Ctx<'js>, desk: &Rc<RefCell<Desk>>, wanted: Request) -> Result<Value<'js>> {
    let (world, name) = {
        let desk = desk.borrow();
        (std::sync::Arc::clone(&desk.world), desk.shared.name.clone())
    };
    request(ctx, desk, world.request(&name, wanted))
}

/// A promise of what the world does.
fn request<'js>(ctx: &Ctx<'js>, desk: &Rc<RefCell<Desk>>, pending: Pending) -> Result<Value<'js>> {
    let (promise, resolve, reject) = ctx.promise()?;
    let mut desk = desk.borrow_mut();
    let max = desk.shared.limits.requests;
    if desk.requests.len() >= max {
        let message = format!("{max} requests are under way already: await some");
        return Err(Exception::throw_range(ctx, &message));
    }
    desk.last_request = desk.last_request.wrapping_add(1);
    let request = desk.last_request;
    let saved = (
        Persistent::save(ctx, resolve),
        Persistent::save(ctx, reject),
    );
    desk.requests.insert(request, saved);
    let shared = std::sync::Arc::clone(&desk.shared);
    desk.tokio.spawn(async move {
        let result = pending.await;
        shared.inbox.complete(Outcome { request, result });
    });
    promise.into_js(ctx)
}

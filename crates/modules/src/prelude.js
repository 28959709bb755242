// The host's own script: it makes what a module sees out of the few functions the host gives.
// Whatever a module later does to prototypes and globals happens after these have been taken.
(function (native) {
  "use strict";
  const { parse, stringify } = JSON;
  const { freeze, defineProperty, assign } = Object;
  const { isArray } = Array;
  const text = String;
  const ErrorType = Error;

  // === console ===
  const show = (value) => {
    if (typeof value === "string") return value;
    if (value instanceof ErrorType) return `${value.name}: ${value.message}`;
    if (typeof value === "object" && value !== null) {
      try {
        return stringify(value);
      } catch {
        return "[object]";
      }
    }
    return text(value);
  };
  const line = (level) => (...values) => {
    let joined = "";
    for (let index = 0; index < values.length; index++) {
      joined += (index ? " " : "") + show(values[index]);
    }
    native.log(level, joined);
  };
  const info = line(1);
  globalThis.console = freeze({ debug: line(0), log: info, info, warn: line(2), error: line(3) });

  // === timers ===
  const timer = (repeat) => (run, millis = 0, ...values) => {
    if (typeof run !== "function") throw new TypeError("a timer needs a function");
    return native.timer(values.length ? () => run(...values) : run, +millis || 0, repeat);
  };
  globalThis.setTimeout = timer(false);
  globalThis.setInterval = timer(true);
  globalThis.clearTimeout = globalThis.clearInterval = (id) => native.clearTimer(+id || 0);

  // === fetch ===
  const fetch = async (url, options = {}) => {
    const { method = "GET", headers = {}, json, timeout = 5000 } = options;
    let { body } = options;
    const sent = assign({}, headers);
    if (json !== undefined) {
      body = stringify(json);
      sent["content-type"] ??= "application/json";
    }
    if (body !== undefined && typeof body !== "string") {
      throw new TypeError("fetch: body must be a text; give an object as `json`");
    }
    const answer = await native.fetch({ url: text(url), method, headers: sent, body, timeout });
    return freeze({
      url: text(url),
      status: answer.status,
      ok: answer.status >= 200 && answer.status < 300,
      headers: freeze(answer.headers),
      text: () => answer.body,
      json: () => parse(answer.body),
    });
  };
  globalThis.fetch = fetch;

  // === what is registered ===
  const columns = [];
  const indicators = { healthy: undefined, leader: undefined };
  const hook = (name) => (run) => {
    if (typeof run !== "function") throw new TypeError(`gantry.${name}: needs a function`);
    native.hook(name, run);
    if (name in indicators) indicators[name] = run;
  };

  const known = (value) => (value === undefined ? null : value);
  const annotate = (tasks) => {
    const all = [];
    for (let index = 0; index < tasks.length; index++) {
      const task = tasks[index];
      const said = { columns: {}, healthy: null, leader: null };
      for (let at = 0; at < columns.length; at++) {
        const { key, value } = columns[at];
        said.columns[key] = known(value(task));
      }
      if (indicators.healthy) said.healthy = known(indicators.healthy(task));
      if (indicators.leader) said.leader = known(indicators.leader(task));
      all[index] = said;
    }
    return all;
  };

  // === polling tasks ===
  const poll = (options) => {
    const {
      types = null, portIndex = 0, path = "/", every = 30000, timeout = 5000, graceCount = 4,
      status = [200], body = null, sets = "healthy", onChange = null,
    } = options ?? {};
    if (types !== null && !isArray(types)) throw new TypeError("gantry.poll: types must be a list of task types");
    if (!isArray(status)) throw new TypeError("gantry.poll: status must be a list of numbers");
    if (sets !== "healthy" && sets !== "leader") {
      throw new TypeError('gantry.poll: sets must be "healthy" or "leader"');
    }
    const results = new Map();
    const look = async (task) => {
      let answer;
      let good = false;
      try {
        answer = await fetch(`http://${task.ip || task.host}:${task.ports[portIndex]}${path}`, { timeout });
        good = status.includes(answer.status) && (!body || !!(await body(task, answer.text())));
      } catch (error) {
        console.debug(`poll of ${task.id}: ${error.message}`);
      }
      const before = results.get(task.id) ?? { value: null, fails: 0 };
      // That another leads is an answer; that nobody answers may pass.
      const certain = good || (sets === "leader" && answer !== undefined);
      const fails = certain ? 0 : before.fails + 1;
      const value = certain ? good : fails >= graceCount ? false : before.value;
      results.set(task.id, { value, fails });
      if (value !== before.value && onChange) await onChange(task, value);
    };
    const round = async () => {
      const tasks = native.tasks(null).filter((task) =>
        task.state === "TASK_RUNNING" && (!types || types.includes(task.type)) &&
        task.ports.length > portIndex);
      const alive = new Set(tasks.map((task) => task.id));
      for (const id of results.keys()) if (!alive.has(id)) results.delete(id);
      const worker = async () => {
        while (tasks.length) await look(tasks.pop());
      };
      await Promise.all([worker(), worker(), worker(), worker(), worker(), worker(), worker(), worker()]);
    };
    // A round may take longer than the host waits for a timer: it is not awaited here.
    let running = false;
    const start = () => {
      if (running) return;
      running = true;
      round().catch((error) => console.error(error)).finally(() => { running = false; });
    };
    setTimeout(start, 0);
    setInterval(start, every);
    hook(sets)((task) => results.get(task.id)?.value ?? null);
    return freeze({ get: (id) => results.get(id)?.value ?? null, now: round });
  };

  // === gantry ===
  const gantry = freeze({
    name: native.name,
    framework: freeze(native.framework),
    env: freeze(native.env),
    route: (method, path, run) => {
      if (typeof run !== "function") throw new TypeError("gantry.route: needs a function");
      native.route(text(method), text(path), run);
    },
    menu: (title, page) => native.menu(text(title), text(page)),
    page: (name, file) => native.page(text(name), text(file)),
    script: (file) => native.script(text(file)),
    style: (file) => native.style(text(file)),
    column: ({ key, title, value }) => {
      if (typeof value !== "function") throw new TypeError("gantry.column: value must be a function");
      native.column(text(key), text(title ?? key));
      columns[columns.length] = freeze({ key: text(key), value });
    },
    healthy: hook("healthy"),
    leader: hook("leader"),
    poll,
    beforeLaunch: hook("beforeLaunch"),
    onStatus: hook("onStatus"),
    beforeRestart: hook("beforeRestart"),
    beforeRollingRestart: hook("beforeRollingRestart"),
    beforeKill: hook("beforeKill"),
    restartCheck: hook("restartCheck"),
    every: (millis, run) => setInterval(run, millis),
    tasks: (type = null) => native.tasks(type),
    restart: (task) => native.restart(text(task)),
    scale: (type, instances) => native.scale(text(type), +instances),
    state: freeze({
      get: (key) => {
        const value = native.stateGet(text(key));
        return value === undefined ? undefined : parse(value);
      },
      set: (key, value) => native.stateSet(text(key), stringify(value) ?? "null"),
      delete: (key) => native.stateSet(text(key), undefined),
      keys: () => native.stateKeys(),
    }),
  });

  // === what the host calls ===
  const run = async (id, f, value) => {
    let answer;
    try {
      answer = await f(value);
    } catch (error) {
      native.failed(id, error);
      return;
    }
    native.answered(id, answer);
  };
  const load = async () => {
    const { default: main } = await import("./index.js");
    if (typeof main !== "function") {
      throw new TypeError("index.js must export a function: export default (gantry) => { … }");
    }
    await main(gantry);
  };
  for (const name of ["console", "fetch", "setTimeout", "setInterval", "clearTimeout", "clearInterval"]) {
    defineProperty(globalThis, name, { enumerable: false });
  }
  return { run, load, annotate };
});

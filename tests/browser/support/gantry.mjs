// The program under test: real processes with folders and ports of their own.

import { spawn } from "node:child_process";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { given } from "./packages.mjs";
import { WITHIN, until } from "./wait.mjs";

export const PROGRAM = given("GANTRY_PROGRAM");

const running = new Set();
// Whatever becomes of the tests, nothing is left behind: a cluster's tasks end with it.
process.on("exit", () => running.forEach((program) => program.child.kill("SIGKILL")));

/** A running `gantry`. */
export class Program {
  constructor(directory, name, args, variables = {}) {
    this.output = join(directory, `${name}.out`);
    const file = openSync(this.output, "w");
    this.child = spawn(PROGRAM, args, {
      cwd: directory,
      env: { PATH: process.env.PATH, ...variables },
      stdio: ["ignore", file, file],
    });
    closeSync(file);
    this.name = name;
    this.ended = new Promise((resolve) => this.child.once("exit", (code, signal) => resolve({ code, signal })));
    this.ended.then((how) => {
      this.how = how;
      running.delete(this);
    });
    running.add(this);
  }

  text() {
    return readFileSync(this.output, "utf8");
  }

  /** What the first group of `pattern` matches in what it prints. */
  async said(pattern) {
    const found = await until(`${pattern} in the output of ${this.name}`, () => this.text().match(pattern) ?? (this.how ? { gone: true } : null));
    if (found.gone) throw new Error(`${this.name} ended with ${JSON.stringify(this.how)}: ${this.text()}`);
    return found[1];
  }

  /** Ends it, and waits until it has ended. */
  async stop(signal = "SIGTERM") {
    if (!this.how) this.child.kill(signal);
    const late = setTimeout(() => this.child.kill("SIGKILL"), WITHIN);
    await this.ended;
    clearTimeout(late);
    return this.how;
  }
}

/** A folder for one test file, removed at its end. */
export function folder() {
  const directory = mkdtempSync(join(tmpdir(), "gantry-browser-"));
  return { directory, remove: () => rmSync(directory, { recursive: true, force: true, maxRetries: 5 }) };
}

const PORTS = { first: 12_000, count: 8_000 };
let next = process.pid * 97;

/** A port that nobody listens on, and from which no outgoing connection is made: it stays free while a Gantry is away. */
export async function freePort() {
  for (let tries = 0; tries < PORTS.count; tries += 1) {
    const port = PORTS.first + (next++ % PORTS.count);
    const server = createServer();
    const free = await new Promise((resolve) => server.once("error", () => resolve(false)).listen(port, "127.0.0.1", () => resolve(true)));
    if (!free) continue;
    await new Promise((resolve) => server.close(resolve));
    return port;
  }
  throw new Error("no free port");
}

/** Task definitions as variables: `[{ NAME: "web", CMD: "sleep 1000" }]`. */
export function declared(tasks) {
  const variables = { TASK_DEF_NUM: String(tasks.length) };
  tasks.forEach((task, index) => {
    for (const [name, value] of Object.entries({ NUM_INSTANCES: 1, CPUS: "0.1", MEM: "32", ...task })) variables[`TASK${index}_${name}`] = String(value);
  });
  return variables;
}

/** A service that answers health checks on its first port. */
export const WEB = {
  CMD: `exec '${PROGRAM}' sample-web`,
  PORT_NUM: 1,
  HEALTHCHECK: "/health",
  HEALTHCHECK_DELAY: "0s",
  HEALTHCHECK_INTERVAL: "1s",
};

/** A cluster of this machine, and a Gantry on it that can be stopped and started again. */
export class World {
  /** `variables` may be a function of the world: its folder, port and master are known by then. A
      `simulated` cluster makes its tasks up. */
  static async start(variables, { agents = 2, simulated = false } = {}) {
    const world = new World();
    Object.assign(world, folder());
    try {
      world.cluster = new Program(world.directory, "local", ["local", "--listen", "127.0.0.1:0", "--agents", String(agents), ...(simulated ? ["--simulated"] : [])]);
      world.master = await world.cluster.said(/master at (\S+)\s/);
      world.port = await freePort();
      await world.serve(typeof variables === "function" ? await variables(world) : variables);
    } catch (error) {
      await world.end();
      throw error;
    }
    return world;
  }

  /** Starts Gantry, on the address it had before. */
  async serve(variables = this.variables) {
    this.variables = variables;
    this.gantry = new Program(this.directory, "serve", ["serve"], {
      FRAMEWORK_NAME: "browser",
      HOST: "127.0.0.1",
      PORT0: String(this.port),
      MESOS_SANDBOX: this.directory,
      MESOS_MASTER: this.master,
      SHUTDOWN_TIMEOUT: "60s",
      STORE: `embedded:${join(this.directory, "gantry.redb")}`,
      ...variables,
    });
    const address = await this.gantry.said(/HTTP is served address=(\S+)/);
    this.base = `http://${address}`;
  }

  async ask(method, path, body, headers = {}) {
    const response = await fetch(`${this.base}${path}`, {
      method,
      headers: body === undefined ? headers : { "content-type": "application/json", ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.timeout(WITHIN),
      redirect: "manual",
    });
    const text = await response.text();
    let json;
    try {
      json = JSON.parse(text);
    } catch {
      json = undefined;
    }
    return { status: response.status, headers: response.headers, text, json };
  }

  /** The JSON at a path, which must be there. */
  async get(path) {
    const { status, text, json } = await this.ask("GET", path);
    if (status !== 200 || json === undefined) throw new Error(`GET ${path}: ${status} ${text.slice(0, 300)}`);
    return json;
  }

  /** The live tasks that run, by instance. */
  async tasks() {
    const { items } = await this.get("/api/v2/tasks?limit=1000");
    return Object.fromEntries(items.filter((task) => task.state === "TASK_RUNNING").map((task) => [task.name, task]));
  }

  /** Waits until exactly these instances run, each with one task that is well. */
  async runs(...names) {
    const wanted = [...names].sort().join(" ");
    return until(`${wanted} to run`, async () => {
      const { items } = await this.get("/api/v2/tasks?limit=1000");
      const is = items.map(({ name }) => name).sort().join(" ");
      if (is !== wanted) throw new Error(`tasks are ${is}`);
      const ill = items.find(({ state, healthy }) => state !== "TASK_RUNNING" || healthy === false);
      if (ill) throw new Error(`${ill.name} is ${ill.state}, healthy: ${ill.healthy}`);
      return Object.fromEntries(items.map((task) => [task.name, task]));
    });
  }

  async end() {
    await this.gantry?.stop();
    await this.cluster?.stop();
    this.remove();
  }
}

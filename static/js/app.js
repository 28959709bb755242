// The frame: which page is shown, and when it is read again.
//
// What stays the same for programs that look at these pages:
//   nav a[data-page]          the menu: overview scaling tasks activity agents configuration logs module/<name>/<page>
//   #page[data-shown]         the page that is shown: one of these, or task workload instance agent deployment module
//   #live[data-state]         connecting live reconnecting polling stale paused; #live-text says it in words
//   [data-action]             less more scale restart rolling kill framework-restart deployment (data-verb: pause resume
//                             abort rollback; data-id) brake end-sessions copy fold unfold help menu pause; what it is
//                             about is in data-workload, data-task, data-id, data-whose
//   article.workload[data-key]           a workload; article.deployment[data-deployment] a deployment
//   tr[data-key]                         a task, by its id; tr[data-agent] an agent; tr[data-module] a module
//   [data-filter]             search and choices that live in the address: q workload state health agent limit lines
//   [data-panel=why]          why a workload waits; [data-side=old|new] the two sides of a deployment; [data-tile] tiles
//   #confirm                  the question: #confirm-diff [data-change=creates|stops|replaces], #confirm-typed,
//                             #confirm-reason, #confirm-lines (#confirm-cli, #confirm-curl), #confirm-go, #confirm-cancel
//   .banner[data-banner]      in #problem: away stand-by fault read-fault store master brake open module-<name>
//   #keyboard                 the list of keys; #session who is logged in; #toasts what became of things
//   .output[data-own]         a followed text: [data-output=follow|wrap|search|next|previous|end|earlier|download], pre.log
//   [data-stream]             stdout and stderr of a task
// Modules' scripts hear `gantry:page` on the document, with { module, page, element }, when a page of a module is there.

import { listen, provide } from "./actions.js";
import { get } from "./api.js";
import { bringPictures, h, settle, update } from "./dom.js";
import { closeDrawer, menu, showFrame, startFrame } from "./frame.js";
import { keyboard } from "./keyboard.js";
import { Live } from "./live.js";
import * as modules from "./modules.js";
import { notices } from "./notices.js";
import * as activity from "./pages/activity.js";
import * as agent from "./pages/agent.js";
import * as agents from "./pages/agents.js";
import * as configuration from "./pages/configuration.js";
import * as deployment from "./pages/deployment.js";
import * as instance from "./pages/instance.js";
import * as logs from "./pages/logs.js";
import * as modulePage from "./pages/module.js";
import * as overview from "./pages/overview.js";
import * as scaling from "./pages/scaling.js";
import * as task from "./pages/task.js";
import * as tasks from "./pages/tasks.js";
import * as workload from "./pages/workload.js";
import * as session from "./session.js";
import { theme } from "./theme.js";

const shown = document.getElementById("page");
const problem = document.getElementById("problem");
const frameworkName = document.querySelector("meta[name=framework-name]").content;

/** Who is logged in and which modules there are changes seldom; read again after so long. */
const SELDOM = 30_000;

const PAGES = {
  "": [overview, "Overview", "overview"],
  scaling: [scaling, "Scaling"],
  tasks: [tasks, "Tasks"],
  activity: [activity, "Activity"],
  agents: [agents, "Agents"],
  configuration: [configuration, "Configuration"],
  logs: [logs, "Logs"],
};

/** Pages about one thing: `#/tasks/<id>`, with the entry of the menu that they belong to. */
const ABOUT = {
  tasks: [task, "task", "tasks"],
  workloads: [workload, "workload", "overview"],
  instances: [instance, "instance", "overview"],
  agents: [agent, "agent", "agents"],
  deployments: [deployment, "deployment", "activity"],
  module: [modulePage, "module", null],
};

/** The page that the address names: `#/tasks?state=running`. */
function route() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const parts = path.split("/").map(decode);
  const [first, name, more] = parts;
  const parameters = Object.fromEntries(new URLSearchParams(query));
  if (name && ABOUT[first]) {
    const [page, key, entry] = ABOUT[first];
    // A task's workload may have a slash in its name, and some write it as it is.
    const whole = ["instances", "module"].includes(first) ? name : parts.slice(1).join("/");
    return { page, key, menu: entry ?? `module/${encodeURIComponent(name)}/${encodeURIComponent(more ?? "")}`, title: first === "tasks" ? "Task" : whole, name: whole, more, parameters };
  }
  const [page, title] = PAGES[first] ?? PAGES[""];
  const key = PAGES[first] && first ? first : "overview";
  return { page, key, menu: key, title, parameters };
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

let current = null;
let surroundings = 0;
/** Of several refreshes at once only the youngest is shown. */
let turn = 0;

async function readSurroundings() {
  if (Date.now() - surroundings < SELDOM) return;
  surroundings = Date.now();
  // Neither is needed to show the rest.
  await Promise.all([session.read(), modules.read()]).catch(() => (surroundings = 0));
}

/** Reads what the page shows; false when the server could not be reached. */
async function refresh() {
  const hash = location.hash;
  const mine = ++turn;
  const { page, key, menu: entry, title, name, more, parameters } = route();
  document.title = `${title} · ${frameworkName} · Gantry`;
  const arrives = current === null || current.split("?")[0] !== hash.split("?")[0];
  showFrame(entry);
  if (arrives && current !== null) shown.classList.add("leaving");
  let status = null;
  let content;
  try {
    [status] = await Promise.all([get("overview"), readSurroundings()]);
    live.follow(status.leadership.role === "leader");
    live.atLeast(page.EVERY);
    content = await page.show({ name, more, parameters, status });
  } catch (error) {
    if (!("status" in error)) throw error;
    if (mine !== turn) return true;
    tellProblem(status, error.status ? null : error);
    shown.classList.remove("leaving");
    // What was shown stays while the server is away; a page that was never read says why.
    if (error.status || current !== hash) {
      current = hash;
      shown.dataset.shown = key;
      update(shown, h("div", {}, failure(error)));
    }
    return Boolean(error.status);
  }
  if (mine !== turn) return true;
  tellProblem(status, null);
  showFrame(entry);
  shown.classList.remove("leaving");
  shown.dataset.shown = key;
  if (arrives) {
    // Another page: nothing of the last one is worth keeping.
    shown.replaceChildren();
    window.scrollTo(0, 0);
  }
  update(shown, h("div", {}, content));
  settle(shown);
  current = hash;
  page.after?.();
  return true;
}

function failure(error) {
  return [
    h("div", { class: "head" }, h("h1", {}, error.status === 404 ? "Not here" : "Not available")),
    h("div", { class: "empty", role: "alert" }, h("p", {}, h("strong", {}, error.message)), error.remedy ? h("p", {}, error.remedy) : null, h("p", {}, h("a", { href: "#/" }, "To the overview"))),
  ];
}

function tellProblem(status, error) {
  update(problem, h("div", {}, notices(status, error)));
}

startFrame();
theme(document.getElementById("theme"), document.getElementById("theme-text"));
const live = new Live(refresh);
const pause = () => live.pause();
provide({ menu, pause });
listen(() => live.soon());
keyboard(pause);
addEventListener("hashchange", () => {
  closeDrawer();
  refresh();
});
document.addEventListener("refresh", () => refresh());
await bringPictures();
refresh();

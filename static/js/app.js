// The frame: which page is shown, and when it is read again.

import { listen } from "./actions.js";
import { get } from "./api.js";
import { h, update } from "./dom.js";
import { duration } from "./format.js";
import { Live } from "./live.js";
import { notices } from "./notices.js";
import * as activity from "./pages/activity.js";
import * as configuration from "./pages/configuration.js";
import * as logs from "./pages/logs.js";
import * as overview from "./pages/overview.js";
import * as task from "./pages/task.js";
import * as tasks from "./pages/tasks.js";
import * as workload from "./pages/workload.js";
import { theme } from "./theme.js";

const shown = document.getElementById("page");
const problem = document.getElementById("problem");
const frameworkName = document.title.replace(/ · Gantry$/, "");

/** The page that the address names: `#/tasks?state=running`. */
function route() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const [first, ...rest] = path.split("/");
  const parameters = Object.fromEntries(new URLSearchParams(query));
  const name = decode(rest.join("/"));
  if (first === "tasks" && name) return { page: task, menu: "tasks", title: "Task", name, parameters };
  if (first === "workloads" && name) return { page: workload, menu: "overview", title: name, name, parameters };
  const pages = { tasks: [tasks, "Tasks"], activity: [activity, "Activity"], configuration: [configuration, "Configuration"], logs: [logs, "Logs"] };
  const [page, title] = pages[first] ?? [overview, "Overview"];
  return { page, menu: pages[first] ? first : "overview", title, parameters };
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

let current = "";

/** Reads what the page shows; false when the server could not be reached. */
async function refresh() {
  const hash = location.hash;
  const { page, menu, title, name, parameters } = route();
  document.title = `${title} · ${frameworkName} · Gantry`;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.dataset.page === menu) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  let status = null;
  let content;
  try {
    status = await get("overview");
    live.follow(status.leadership.role === "leader");
    content = await page.show({ name, parameters, status });
  } catch (error) {
    if (hash !== location.hash) return true;
    tellProblem(status, error.status ? null : error);
    // What was shown stays while the server is away; a page that was never read says why.
    if (error.status || current !== hash) {
      update(shown, h("div", {}, failure(error)));
      current = hash;
    }
    return Boolean(error.status);
  }
  if (hash !== location.hash) return true;
  tellProblem(status, null);
  if (current.split("?")[0] !== hash.split("?")[0]) {
    // Another page: nothing of the last one is worth keeping.
    shown.replaceChildren();
    window.scrollTo(0, 0);
  }
  update(shown, h("div", {}, content));
  page.after?.(shown);
  current = hash;
  return true;
}

function failure(error) {
  return [
    h("div", { class: "head" }, h("h1", {}, error.status === 404 ? "Not here" : "Not available")),
    h("p", { class: "empty" }, error.message, error.remedy ? h("span", { class: "sub" }, ` (${error.remedy})`) : null),
  ];
}

function tellProblem(status, error) {
  update(problem, h("div", {}, notices(status, error)));
}

const LIVE_WORDS = { live: "live", connecting: "connecting", reconnecting: "reconnecting", polling: "every 5 s" };

function showLive(state, silent) {
  const element = document.getElementById("live");
  element.dataset.state = state;
  const word = LIVE_WORDS[state] ?? `stale since ${duration(silent)}`;
  const text = document.getElementById("live-text");
  if (text.textContent !== word) text.textContent = word;
}

theme(document.getElementById("theme"), document.getElementById("theme-text"));
const live = new Live(refresh, showLive);
listen(() => live.soon());
addEventListener("hashchange", () => refresh());
document.addEventListener("refresh", () => refresh());
document.addEventListener("keydown", (event) => {
  const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.nodeName);
  if (event.key === "/" && !typing && !document.querySelector("dialog[open]")) {
    const search = document.querySelector("input[type=search]");
    if (search) event.preventDefault();
    search?.focus();
  }
});
refresh();

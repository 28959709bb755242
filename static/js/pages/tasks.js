// Live tasks: a page of them at a time, filtered and sorted by the server.

import { get, part, seldom } from "../api.js";
import { h } from "../dom.js";
import { count } from "../format.js";
import * as modules from "../modules.js";
import { health, leader, taskState } from "../states.js";
import { refusal } from "../session.js";
import { since } from "../times.js";
import { button, choice, copy, field, pager, sortHead } from "../widgets.js";

const PAGE = "100";

const STATES = [
  ["", "every state"],
  ["trouble", "in trouble"],
  ["running", "running"],
  ["starting", "starting"],
  ["staging", "staging"],
  ["unreachable", "unreachable"],
  ["killing", "stopping"],
  ["unknown", "unknown to Gantry"],
];

const HEALTHS = [["", "any health"], ["healthy", "healthy"], ["unhealthy", "unhealthy"], ["unchecked", "not checked"]];

/** Agents that the filter offers. */
const AGENTS_MAX = 500;

export async function show({ parameters, status }) {
  const { workload, state, health: healthy, agent, q, sort, offset } = parameters;
  const limit = parameters.limit ?? PAGE;
  const [list, workloads, agents] = await Promise.all([
    get("tasks", { workload, state, health: healthy, agent, q, sort, offset, limit }),
    seldom("workloads", { limit: 1000, sort: "name" }),
    seldom("agents", { limit: AGENTS_MAX }),
  ]);
  const filtered = workload || state || healthy || agent || q;
  const unknown = state === "unknown";
  return [
    h(
      "div",
      { class: "head" },
      h("h1", {}, "Tasks"),
      h("span", { class: "sub", role: "status" }, unknown ? `${count(list.total)} of which there is no record` : filtered ? `${count(list.total)} of ${count(status.totals.tasks)} match` : `${count(list.total)} live`),
    ),
    h(
      "div",
      { class: "bar-of-controls", role: "search", "aria-label": "Filters" },
      field("search", "q", q, "Name, host, address or id"),
      choice("workload", workload, "Workload", [["", "every workload"], ...workloads.items.map(({ name }) => [name, name])]),
      choice("state", state, "State", STATES),
      choice("health", healthy, "Health", HEALTHS),
      choice("agent", agent, "Agent", [["", "every agent"], ...agents.items.filter(({ tasks }) => tasks).map(({ id, hostname }) => [id, hostname])]),
      filtered ? h("a", { href: "#/tasks" }, "Clear filters") : null,
    ),
    unknown && list.items.length ? h("p", { class: "sub" }, "Of this framework, but of no instance that is wanted: they are left alone. More instances of their workload take them in.") : null,
    list.items.length ? table(list.items, { group: !sort && !workload && !unknown, page: "tasks", parameters }) : h("p", { class: "empty" }, unknown ? "No task is unknown." : filtered ? "No live task matches." : "No task is live."),
    h("div", { class: "below" }, list.total > 50 ? choice("limit", limit, "Tasks on a page", [["50", "50 a page"], ["100", "100 a page"], ["250", "250 a page"], ["500", "500 a page"]]) : null, pager(list, "tasks", parameters)),
    deeds(workload, workloads.items),
  ];
}

/** What can be done to many at once: below the list, so that nobody presses it in passing. */
function deeds(workload, workloads) {
  const several = workloads.length > 1 && !workload;
  return h(
    "section",
    { class: "card deeds", "aria-label": workload ? `All tasks of ${workload}` : "All tasks" },
    h("h2", {}, workload ? `All tasks of ${workload}` : "All tasks"),
    refusal("admin") ? h("p", { class: "sub" }, refusal("operate") ?? `Killing and restarting the framework: ${refusal("admin")}`) : null,
    h(
      "div",
      { class: "bar-of-controls" },
      button({ action: "rolling", workload: workload ?? "" }, workload ? `Rolling restart of ${workload}` : "Rolling restart"),
      button({ action: "framework-restart", level: "admin" }, "Restart framework"),
      button({ action: "kill", level: "admin", class: "danger", workload: workload ?? "" }, workload ? `Kill all ${workload} tasks` : "Kill all tasks"),
    ),
    several
      ? h(
          "details",
          { class: "by-type" },
          h("summary", {}, "Of one workload"),
          h("div", { class: "bar-of-controls" }, workloads.map(({ name }) => button({ action: "kill", level: "admin", class: "danger small", workload: name }, `Kill all ${name} tasks`))),
        )
      : null,
  );
}

/** The table of tasks; `page` and `parameters` are where sorting leads. */
export function table(items, { group, page, parameters, place = true }) {
  const own = modules.columns();
  const checked = items.some(({ healthy_by_module: by }) => by !== undefined && by !== null);
  const led = items.some(({ leader: leads }) => leads !== undefined && leads !== null);
  const head = (text, key) => (key ? sortHead(text, key, page, parameters) : h("th", { scope: "col" }, text));
  const heads = [
    head("Task"),
    head("State", "state"),
    head("Health", "health"),
    led ? head("Leader") : null,
    place ? head("Host", "host") : null,
    head("Ports"),
    head("Uptime", "running"),
    head("Rev."),
    own.map(({ title }) => head(title)),
    h("th", { scope: "col" }, h("span", { class: "unseen" }, "Action")),
  ].flat().filter(Boolean);
  let last = null;
  const rows = items.flatMap((item) => {
    const first = group && item.workload !== last;
    last = item.workload;
    return [
      first ? h("tr", { class: "group", "data-key": `group ${item.workload}` }, h("th", { colspan: heads.length, scope: "rowgroup" }, h("a", { href: `#/workloads/${part(item.workload)}` }, item.workload))) : null,
      row(item, { own, checked, led, place }),
    ];
  });
  return h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Tasks" }, h("table", { class: "stacks" }, h("thead", {}, h("tr", {}, heads)), h("tbody", {}, rows)));
}

/** A host as a link, as it was; an address that could not be one stays text. */
const site = (host) => (/^[\w.-]+$/.test(host) ? h("a", { class: "plain", href: `http://${host}`, target: "_blank", rel: "noreferrer noopener" }, host) : host);

function row(task, { own, checked, led, place }) {
  const busy = task.goal !== "run";
  const word = { replace: "restarting", stop: "stopping" }[task.goal];
  return h(
    "tr",
    { "data-key": task.id },
    h("td", {}, h("a", { class: "name", href: `#/tasks/${part(task.id)}` }, task.name), h("span", { class: "id mono", title: task.id }, task.id.split(".").at(-1).slice(0, 8), copy(task.id, `the id of ${task.name}`))),
    h("td", { class: "aside" }, taskState(task.state), notes(task)),
    h("td", {}, health(checked ? (task.healthy_by_module ?? task.healthy) : task.healthy)),
    led ? h("td", { "data-label": "Leader" }, leader(task.leader)) : null,
    place ? h("td", { class: "aside" }, task.hostname ? site(task.hostname) : h("span", { class: "id" }, task.agent_id), task.ip === task.hostname ? null : h("span", { class: "id" }, site(task.ip))) : null,
    h("td", { class: "mono", "data-label": "Ports" }, task.ports.length ? task.ports.join(" ") : null),
    h("td", { class: "aside", "data-label": "Up" }, since(task.running_at)),
    h("td", { "data-label": "Revision" }, task.revision, task.current || task.standing === "unknown" ? null : h("span", { class: "id" }, "outdated")),
    own.map(({ key, title }) => h("td", { "data-label": title }, cell(task.columns?.[key]))),
    h("td", { class: "aside" }, task.standing === "unknown" ? null : button({ action: "restart", class: "small", why: busy ? `it is ${word}` : null, task: task.id, name: task.name }, word ?? "Restart")),
  );
}

const cell = (value) => (value === null || value === undefined ? null : value === true ? "yes" : value === false ? "no" : String(value));

function notes(task) {
  const text = task.stop_reason ?? (task.confirmed ? null : "not confirmed since the last subscription");
  return text ? h("span", { class: "id" }, text) : null;
}

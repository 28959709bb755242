// Live tasks: a page of them at a time, filtered and sorted by the server.

import { get, part } from "../api.js";
import { h } from "../dom.js";
import { count } from "../format.js";
import { health, taskState } from "../states.js";
import { since } from "../times.js";
import { address, choice, field, pager } from "../widgets.js";

const PAGE = 100;

const STATES = [
  ["", "every state"],
  ["trouble", "in trouble"],
  ["running", "running"],
  ["starting", "starting"],
  ["unhealthy", "unhealthy"],
  ["unreachable", "unreachable"],
  ["killing", "stopping"],
];

export async function show({ parameters, status }) {
  const { workload, state, q, sort, offset } = parameters;
  const [list, workloads] = await Promise.all([
    get("tasks", { workload, state, q, sort, offset, limit: PAGE }),
    get("workloads", { limit: 1000, sort: "name" }),
  ]);
  const filtered = workload || state || q;
  return [
    h(
      "div",
      { class: "head" },
      h("h1", {}, "Tasks"),
      h("span", { class: "sub" }, filtered ? `${count(list.total)} of ${count(status.totals.tasks)} match` : `${count(list.total)} live`),
      h(
        "span",
        { class: "bar-of-controls" },
        h("button", { type: "button", "data-action": "rolling", "data-workload": workload ?? "" }, workload ? `Rolling restart of ${workload}` : "Rolling restart"),
        h("button", { type: "button", class: "danger", "data-action": "kill", "data-workload": workload ?? "" }, workload ? `Kill all of ${workload}` : "Kill all"),
      ),
    ),
    h(
      "div",
      { class: "bar-of-controls" },
      field("search", "q", q, "Name, host, address or id"),
      choice("workload", workload, "Workload", [["", "every workload"], ...workloads.items.map(({ name }) => [name, name])]),
      choice("state", state, "State", STATES),
      filtered ? h("a", { href: "#/tasks" }, "Clear filters") : null,
    ),
    list.items.length ? table(list.items, { group: !sort && !workload, page: "tasks", parameters }) : h("p", { class: "empty" }, filtered ? "No live task matches." : "No task is live."),
    pager(list, "tasks", parameters),
  ];
}

/** The table of tasks; `page` and `parameters` are where sorting leads. */
export function table(items, { group, page, parameters }) {
  const head = (text, key) => {
    if (!key) return h("th", { scope: "col" }, text);
    const { sort } = parameters;
    const next = sort === key ? `-${key}` : sort === `-${key}` ? "" : key;
    const order = sort === key ? "ascending" : sort === `-${key}` ? "descending" : "none";
    return h("th", { scope: "col", "aria-sort": order }, h("a", { href: address(page, { ...parameters, sort: next, offset: "" }) }, text));
  };
  let last = null;
  const rows = items.flatMap((item) => {
    const first = group && item.workload !== last;
    last = item.workload;
    return [
      first ? h("tr", { class: "group", "data-key": `group ${item.workload}` }, h("th", { colspan: 8, scope: "rowgroup" }, h("a", { href: `#/workloads/${part(item.workload)}` }, item.workload))) : null,
      row(item),
    ];
  });
  return h(
    "div",
    { class: "scroll" },
    h(
      "table",
      { class: "stacks" },
      h("thead", {}, h("tr", {}, head("Task"), head("State", "state"), head("Health", "health"), head("Host", "host"), head("Ports"), head("Uptime", "running"), head("Rev."), h("th", {}, h("span", { class: "sub" }, "")))),
      h("tbody", {}, rows),
    ),
  );
}

function row(task) {
  const busy = task.goal !== "run";
  return h(
    "tr",
    { "data-key": task.id },
    h("td", {}, h("a", { href: `#/tasks/${part(task.id)}` }, task.name), h("span", { class: "id mono", title: task.id }, task.id.split(".").at(-1).slice(0, 8))),
    h("td", { class: "aside" }, taskState(task.state), notes(task)),
    h("td", {}, health(task.healthy)),
    h("td", { class: "aside" }, task.hostname, h("span", { class: "id" }, task.ip)),
    h("td", { class: "mono", "data-label": "Ports" }, task.ports.length ? task.ports.join(" ") : null),
    h("td", { class: "aside", "data-label": "Up" }, since(task.running_at)),
    h("td", { "data-label": "Revision" }, task.revision, task.current ? null : h("span", { class: "id" }, "outdated")),
    h("td", { class: "aside" }, h("button", { type: "button", class: "small", disabled: busy, "data-action": "restart", "data-task": task.id, "data-name": task.name }, task.goal === "replace" ? "restarting" : task.goal === "stop" ? "stopping" : "Restart")),
  );
}

function notes(task) {
  const text = task.stop_reason ?? (task.confirmed ? null : "not confirmed since the last subscription");
  return text ? h("span", { class: "id" }, text) : null;
}

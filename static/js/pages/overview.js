// Everything at a glance, trouble first.

import { get, part, trends } from "../api.js";
import { h } from "../dom.js";
import { count, duration, megabytes, plural } from "../format.js";
import { sparkline } from "../sparkline.js";
import { beam, condition, legend } from "../states.js";
import { since } from "../times.js";
import { field, pager, scale } from "../widgets.js";
import { moving } from "./deployment.js";

const PAGE = 50;

/** Deployments at work that are shown. */
const MOVES = 3;

/** The last minutes move on without events. */
export const EVERY = 10_000;

export async function show({ parameters, status }) {
  const offset = Number(parameters.offset) || 0;
  const [list, trend, moves] = await Promise.all([
    get("workloads", { sort: "trouble", q: parameters.q, offset, limit: PAGE }),
    trends(),
    status.deployments_at_work ? get("deployments", { limit: 100 }) : null,
  ]);
  return [
    h("div", { class: "head" }, h("h1", {}, "Overview"), connection(status)),
    tiles(status),
    all(status),
    moves ? atWork(moves.items.filter(({ status: state }) => ["running", "paused", "rolling_back"].includes(state))) : null,
    h(
      "section",
      { "aria-label": "Workloads" },
      h(
        "div",
        { class: "bar-of-controls head section-head" },
        h("h2", {}, "Workloads"),
        trouble(status),
        list.total > 8 || parameters.q ? field("search", "q", parameters.q, "Find a workload") : null,
      ),
      list.items.length
        ? h("div", { class: "workloads" }, list.items.map((item) => workload(item, trend)))
        : h("p", { class: "empty" }, parameters.q ? "No workload has this in its name." : "No workload is declared: set TASK_DEF_NUM and TASK0_NAME, TASK0_IMAGE, … in the environment."),
      pager(list, "", parameters),
    ),
  ];
}

function trouble({ trouble: found, totals }) {
  if (!totals.workloads) return null;
  const text = found.length ? `${found.length >= 20 ? "20 or more" : found.length} of ${totals.workloads} in trouble, these first` : "nothing is in trouble";
  return h("span", { class: found.length ? "sub bad" : "sub" }, text);
}

function connection({ connection, framework, leadership }) {
  if (leadership.role !== "leader") return h("p", { class: "sub" }, "stand-by", framework.id ? h("span", { class: "mono" }, ` · ${framework.id}`) : null);
  const steady = connection.state === "subscribed" && !connection.problem;
  return h(
    "p",
    { class: "sub" },
    steady ? "subscribed" : connection.state.replace("_", " "),
    connection.master ? ` to ${connection.master}` : "",
    " since ",
    since(connection.since),
    connection.last_heard_ago === null ? "" : `, last heard ${duration(connection.last_heard_ago)} ago`,
    connection.unconfirmed ? `, ${plural(connection.unconfirmed, "task")} not yet confirmed` : "",
    framework.id ? h("span", { class: "mono" }, ` · ${framework.id}`) : null,
  );
}

function tiles({ totals, framework, unknown_tasks, deployments_at_work, deployments_paused: paused }) {
  const [mem, memUnit] = megabytes(totals.mem);
  const [disk, diskUnit] = megabytes(totals.disk);
  const tile = (label, value, unit, href) =>
    h("div", { class: "tile", "data-tile": label.toLowerCase() }, h("dt", {}, label), h("dd", {}, href ? h("a", { href }, value) : value, unit ? h("small", {}, ` ${unit}`) : null));
  return h(
    "dl",
    { class: "tiles" },
    tile("Running", count(totals.counts.running), `of ${count(totals.wanted)} wanted`),
    tile("Tasks", count(totals.tasks), framework.agents ? `on ${plural(framework.agents, "agent")}` : "", "#/tasks"),
    tile("CPUs", count(totals.cpus)),
    tile("Memory", mem, memUnit),
    tile("Disk", disk, diskUnit),
    totals.gpus ? tile("GPUs", count(totals.gpus)) : null,
    tile("Ports", count(totals.ports)),
    deployments_at_work ? tile("Deployments", count(deployments_at_work), paused ? `not over, ${count(paused)} paused` : "at work", "#/activity") : null,
    unknown_tasks ? tile("Unknown", count(unknown_tasks), "tasks", "#/tasks?state=unknown") : null,
  );
}

function all({ totals }) {
  if (!totals.wanted && !totals.tasks) return null;
  return h("section", { class: "card", "aria-label": "States of all instances" }, h("h2", {}, "Tasks state"), beam(totals.counts, true), legend(totals.counts));
}

function atWork(moves) {
  if (!moves.length) return null;
  return h(
    "section",
    { "aria-label": "Deployments at work" },
    h("div", { class: "head section-head" }, h("h2", {}, "Deployments at work"), h("a", { class: "sub", href: "#/activity" }, "all activity")),
    h("div", { class: "workloads" }, moves.slice(0, MOVES).map((item) => moving(item))),
  );
}

function workload(item, trend) {
  const { running } = item.counts;
  return h(
    "article",
    { class: "workload", "data-key": item.name, "data-state": item.condition, "data-trouble": item.condition !== "steady" && item.condition !== "changing" },
    h(
      "div",
      { class: "name-line" },
      h("a", { class: "name", href: `#/workloads/${part(item.name)}` }, item.name),
      condition(item.condition, item),
    ),
    h("div", { class: "beam-cell" }, beam(item.counts)),
    h("div", { class: "count", title: `${running} running, ${item.wanted} wanted` }, h("b", {}, count(running)), h("span", { class: "sub" }, ` / ${count(item.wanted)}`)),
    h("div", { class: "spark-cell" }, sparkline(trend, item.name)),
    h("div", { class: "controls" }, scale(item)),
    item.sentences.length ? h("p", { class: "why" }, item.sentences[0]) : null,
  );
}

// One workload: its instances, why they wait, what can be done.

import { get, optional, part, trends } from "../api.js";
import { h } from "../dom.js";
import { count, duration, megabytes, plural } from "../format.js";
import { sparkline } from "../sparkline.js";
import { beam, condition, legend } from "../states.js";
import { waiting } from "../waiting.js";
import { button, choice, fact, field, pager, scale } from "../widgets.js";
import { moving } from "./deployment.js";
import { runs } from "./instance.js";
import { table } from "./tasks.js";

const PAGE = 50;

/** Ended tasks that are shown, and instances that are looked at for them. */
const ENDED_MAX = 20;
const LOOKED_AT = 200;

/** The last minutes move on without events. */
export const EVERY = 10_000;

export async function show({ name, parameters }) {
  const { q, state, sort, offset } = parameters;
  const [item, why, tasks, instances, trend, deployments] = await Promise.all([
    get(`workloads/${part(name)}`),
    get(`workloads/${part(name)}/explain`),
    get("tasks", { workload: name, q, state, sort, offset, limit: PAGE }),
    optional(`workloads/${part(name)}/instances`, { limit: LOOKED_AT }),
    trends(),
    get("deployments", { limit: 100 }),
  ]);
  const page = `workloads/${part(name)}`;
  const moves = deployments.items.filter(({ workload, status }) => (workload === name || workload === null) && ["running", "paused", "rolling_back"].includes(status));
  return [
    h(
      "div",
      { class: "head" },
      h("h1", {}, name),
      condition(item.condition, item),
      h(
        "span",
        { class: "bar-of-controls" },
        scale(item),
        button({ action: "rolling", workload: name }, "Rolling restart"),
        button({ action: "kill", level: "admin", class: "danger", workload: name }, "Kill all"),
      ),
    ),
    h(
      "section",
      { class: "card" },
      h("div", { class: "head" }, h("h2", {}, `${count(item.counts.running)} of ${count(item.wanted)} running`), sparkline(trend, name)),
      beam(item.counts),
      legend(item.counts),
    ),
    moves.length ? h("div", { class: "workloads" }, moves.map((move) => moving(move))) : null,
    h("div", { class: "columns" }, waiting(why), facts(item)),
    h(
      "section",
      {},
      h(
        "div",
        { class: "bar-of-controls section-head" },
        h("h2", {}, "Tasks"),
        field("search", "q", q, "Name, host, address or id"),
        choice("state", state, "State", [["", "every state"], ["trouble", "in trouble"], ["running", "running"], ["starting", "starting"], ["unhealthy", "unhealthy"]]),
      ),
      tasks.items.length ? table(tasks.items, { page, parameters }) : h("p", { class: "empty" }, q || state ? "No live task matches." : item.wanted ? "No task is live." : "Scaled to 0: no task is wanted."),
      pager(tasks, page, parameters),
    ),
    ended(name, instances),
  ];
}

/** The last tasks that ended, over all instances. */
function ended(name, instances) {
  const all = (instances?.items ?? []).flatMap((item) => item.history.map((run) => ({ ...run, name: item.name, number: item.number })));
  all.sort((one, other) => other.ended_at - one.ended_at);
  if (!all.length) return null;
  return h("section", {}, h("h2", { class: "section-head" }, "Ended tasks"), runs(all.slice(0, ENDED_MAX), name));
}

function facts(item) {
  const { demand, template, back_off } = item;
  return h(
    "section",
    { class: "card", "aria-label": "Definition" },
    h("h2", {}, "Definition"),
    h(
      "dl",
      { class: "facts" },
      fact("Image", item.image && h("code", {}, item.image)),
      fact("Command", template && h("code", {}, template.command.shell ?? (template.command.arguments.join(" ") || "the image's own"))),
      fact("Each task", `${count(demand.cpus)} cpus, ${megabytes(demand.mem).join(" ")} memory` + (demand.disk ? `, ${megabytes(demand.disk).join(" ")} disk` : "") + (demand.gpus ? `, ${count(demand.gpus)} gpus` : "")),
      fact("Ports", demand.ports ? `${count(demand.ports)}` + (demand.fixed_ports.length ? `, of which fixed: ${demand.fixed_ports.join(", ")}` : "") : null),
      fact("Revision", item.revisions.length > 1 ? `${item.revision} (also live: ${item.revisions.filter((other) => other !== item.revision).join(", ")})` : item.revision),
      fact("Declared", plural(item.declared, "instance")),
      fact("Priority", `${item.priority}` + (item.wait_healthy ? ", others wait until it is healthy" : "")),
      fact("Placement", placement(template)),
      fact("Health check", template?.health_check ? check(template.health_check) : "none"),
      fact("After a failure", `${duration(back_off.initial_seconds * 1000)} × ${back_off.factor}, at most ${duration(back_off.max_seconds * 1000)}`),
      fact("Environment", template?.environment.length ? h("code", {}, template.environment.map(({ name, value }) => h("div", {}, `${name}=${value}`))) : null),
    ),
  );
}

function placement(template) {
  if (!template) return null;
  const { avoid_scheduler_host, unique_hosts, constraints } = template.placement;
  const rules = [avoid_scheduler_host && "not on the scheduler's host", unique_hosts && "one task an agent", ...constraints.map(({ field: name, operator: { operator, value } }) => `${name} ${operator} ${value ?? ""}`)];
  return rules.filter(Boolean).join("; ") || null;
}

function check({ probe, interval_seconds, consecutive_failures }) {
  const port = typeof probe.port === "object" ? (probe.port.index !== undefined ? `port ${probe.port.index} of the task` : `port ${probe.port.number}`) : "";
  const what = { http: `GET ${probe.path}`, tcp: "connection", command: probe.command }[probe.type] ?? probe.type;
  return `${what} ${port}, every ${interval_seconds} s, ${plural(consecutive_failures, "failure")} kill it`;
}

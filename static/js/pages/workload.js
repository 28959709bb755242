// One workload: its instances, why they wait, what can be done.

import { get, part } from "../api.js";
import { grow, h } from "../dom.js";
import { count, duration, megabytes, plural } from "../format.js";
import { beam, condition, legend, taskState } from "../states.js";
import { since, until } from "../times.js";
import { choice, field, pager, scale } from "../widgets.js";
import { table } from "./tasks.js";

const PAGE = 50;

export async function show({ name, parameters }) {
  const { q, state, sort, offset } = parameters;
  const [item, why, tasks] = await Promise.all([
    get(`workloads/${part(name)}`),
    get(`workloads/${part(name)}/explain`),
    get("tasks", { workload: name, q, state, sort, offset, limit: PAGE }),
  ]);
  const page = `workloads/${part(name)}`;
  return [
    h(
      "div",
      { class: "head" },
      h("h1", {}, name),
      condition(item.condition),
      h(
        "span",
        { class: "bar-of-controls" },
        scale(item),
        h("button", { type: "button", "data-action": "rolling", "data-workload": name }, "Rolling restart"),
        h("button", { type: "button", class: "danger", "data-action": "kill", "data-workload": name }, "Kill all"),
      ),
    ),
    h(
      "section",
      { class: "card" },
      h("h2", {}, `${count(item.counts.running)} of ${count(item.wanted)} running`),
      beam(item.counts),
      legend(item.counts),
    ),
    h("div", { class: "columns" }, waits(why) ? waiting(why) : null, facts(item)),
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
      tasks.items.length ? table(tasks.items, { page, parameters }) : h("p", { class: "empty" }, q || state ? "No live task matches." : "No task is live."),
      pager(tasks, page, parameters),
    ),
  ];
}

const waits = (why) => why.sentences.length || why.instances.length;

function waiting(why) {
  return h(
    "section",
    { class: "card", "aria-label": "Why it waits" },
    h("h2", {}, "Why"),
    h("ul", { class: "sentences", "data-state": why.condition }, why.sentences.map((text) => h("li", {}, text))),
    why.funnel && why.counts.waiting ? funnel(why.funnel) : null,
    why.instances.length ? instances(why.instances) : null,
  );
}

const STAGES = {
  constraints: "satisfy the constraints",
  colocation: "are on an allowed host",
  resources: "have the resources",
  ports: "have the ports",
  limits: "may start one more task",
};

/** How many offers of the last cycle were left after each test. */
function funnel({ at, offers, stages, nearest, launched }) {
  let stopped = offers === 0;
  const line = (label, left, extra) => {
    const isEnd = !stopped && left === 0;
    stopped ||= isEnd;
    return [
      h("span", { class: isEnd ? "stopped" : "" }, label),
      h("div", { class: "track" }, grow(h("div", { class: isEnd ? "fill stop" : "fill" }), { width: offers ? (100 * left) / offers : 0 })),
      h("span", { class: isEnd ? "left stopped" : "left" }, count(left), extra ? h("span", { class: "sub" }, ` −${count(extra)}`) : null),
    ];
  };
  return [
    h("h3", {}, "Offers of the last cycle, ", since(at, true)),
    h("div", { class: "funnel", role: "group", "aria-label": "Offers left after each test" }, line("offers at hand", offers, 0), stages.map(({ name, left, ruled_out }) => line(STAGES[name] ?? name, left, ruled_out))),
    h("p", { class: "sub" }, nearest ? ["Nearest miss: ", h("strong", {}, nearest.hostname), ` lacks ${nearest.lacks}. `] : null, launched ? `${plural(launched, "instance")} launched in that cycle.` : null),
  ];
}

function instances(list) {
  return [
    h("h3", {}, plural(list.length, "waiting instance")),
    h(
      "table",
      { class: "stacks" },
      h("tbody", {}, list.map(({ name, waits_for, since: from, until: end, failures, last }) =>
        h(
          "tr",
          { "data-key": name },
          h("td", { class: "nowrap" }, name),
          h("td", {}, waits_for === "back_off" ? ["next try ", until(end), h("span", { class: "id" }, plural(failures, "failure"))] : [waits_for === "brake" ? "for the release of the brake since " : "for an offer since ", since(from)]),
          h("td", {}, last ? [taskState(last.state), " ", since(last.ended_at, true), h("span", { class: "id" }, last.message ?? last.reason ?? "")] : null),
        ),
      )),
    ),
  ];
}

function facts(item) {
  const { demand, template, back_off } = item;
  const fact = (label, value) => (value === null || value === undefined || value === "" ? null : [h("dt", {}, label), h("dd", {}, value)]);
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

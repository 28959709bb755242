// The agents: what runs where, what is free and used.

import { get, part } from "../api.js";
import { h } from "../dom.js";
import { count, megabytes, plural } from "../format.js";
import { agentState } from "../states.js";
import { field, meter, pager } from "../widgets.js";

const PAGE = 100;

/** Other frameworks' tasks come and go without events. */
export const EVERY = 10_000;

export async function show({ parameters }) {
  const { q, offset } = parameters;
  const list = await get("agents", { q, offset, limit: PAGE });
  return [
    h("div", { class: "head" }, h("h1", {}, "Agents"), h("span", { class: "sub", role: "status" }, q ? `${count(list.total)} match` : plural(list.total, "agent"))),
    list.problem ? h("p", { class: "banner", "data-banner": "agents" }, h("span", {}, `Only agents with tasks of this framework are listed: ${list.problem}.`)) : null,
    h("div", { class: "bar-of-controls" }, field("search", "q", q, "Host, address or id")),
    list.items.length ? table(list.items) : h("p", { class: "empty" }, q ? "No agent matches." : "No agent is known, and none runs a task of this framework."),
    pager(list, "agents", parameters),
  ];
}

function table(items) {
  return h(
    "div",
    { class: "scroll", tabindex: 0, role: "region", "aria-label": "Agents" },
    h(
      "table",
      { class: "stacks agents" },
      h("thead", {}, h("tr", {}, ["Host", "State", "Tasks", "CPUs", "Memory", "Attributes"].map((text) => h("th", { scope: "col" }, text)))),
      h("tbody", {}, items.map(row)),
    ),
  );
}

const memory = (value) => megabytes(value).join(" ");

/** Used of all there is, and free; what our tasks hold when the master does not tell. */
export function share({ total, used, free, ...ours }, key, text, detailed = false) {
  const own = `${text(ours[key])} held by our tasks`;
  if (!total || !used) return own;
  const left = free ? `, ${text(free[key])} free` : "";
  return meter(used[key], total[key], `${text(used[key])} of ${text(total[key])}${left}${detailed ? `, ${own}` : ""}`, key);
}

function row(agent) {
  const workloads = Object.entries(agent.workloads);
  return h(
    "tr",
    { "data-key": agent.id, "data-agent": agent.id },
    h("td", {}, h("a", { class: "name", href: `#/agents/${part(agent.id)}` }, agent.hostname), h("span", { class: "id" }, agent.ip === agent.hostname ? "" : agent.ip)),
    h("td", { class: "aside" }, agentState(agent.state)),
    h("td", { "data-label": "Tasks" }, h("a", { href: `#/tasks?agent=${part(agent.id)}` }, count(agent.tasks)), h("span", { class: "id" }, workloads.slice(0, 6).map(([name, amount]) => `${name} ${amount}`).join(", "), workloads.length > 6 ? ", …" : "")),
    h("td", { "data-label": "CPUs" }, share(agent, "cpus", count)),
    h("td", { "data-label": "Memory" }, share(agent, "mem", memory)),
    h("td", { class: "whole" }, attributes(agent.attributes)),
  );
}

export const attributes = (list) => (list.length ? h("ul", { class: "chips" }, list.map(([name, value]) => h("li", {}, `${name}: ${value}`))) : null);

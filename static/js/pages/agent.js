// One agent, with what runs there.

import { get, optional, part } from "../api.js";
import { h } from "../dom.js";
import { absolute, count, megabytes, plural } from "../format.js";
import { agentState } from "../states.js";
import { since } from "../times.js";
import { copy, fact, pager } from "../widgets.js";
import { attributes, share } from "./agents.js";
import { table } from "./tasks.js";

const PAGE = 100;

/** Other frameworks' tasks come and go without events. */
export const EVERY = 10_000;

export async function show({ name: id, parameters }) {
  const { sort, offset } = parameters;
  const [agent, tasks] = await Promise.all([optional(`agents/${part(id)}`), get("tasks", { agent: id, sort, offset, limit: PAGE })]);
  const page = `agents/${part(id)}`;
  const memory = (value) => megabytes(value).join(" ");
  return [
    h("nav", { class: "trail", "aria-label": "Where this is" }, h("a", { href: "#/agents" }, "Agents")),
    h("div", { class: "head" }, h("h1", {}, agent?.hostname ?? "Agent"), agent ? agentState(agent.state) : null),
    h("p", { class: "sub mono" }, id, copy(id, "the agent's id")),
    agent?.problem ? h("p", { class: "banner" }, h("span", {}, `The master does not tell of it: ${agent.problem}.`)) : null,
    agent
      ? h(
          "div",
          { class: "columns" },
          h(
            "section",
            { class: "card", "aria-label": "Resources" },
            h("h2", {}, "Resources"),
            h("dl", { class: "facts" }, fact("CPUs", share(agent, "cpus", count, true)), fact("Memory", share(agent, "mem", memory, true)), fact("Disk", share(agent, "disk", memory, true)), agent.total?.gpus ? fact("GPUs", `${count(agent.used?.gpus ?? 0)} of ${count(agent.total.gpus)}`) : null, agent.total ? fact("Ports", `${count(agent.used?.ports ?? 0)} of ${count(agent.total.ports)}`) : null),
          ),
          h(
            "section",
            { class: "card", "aria-label": "About" },
            h("h2", {}, "About"),
            h(
              "dl",
              { class: "facts" },
              fact("Address", `${agent.ip}:${agent.port}`),
              fact("Mesos", agent.version),
              fact("Registered", agent.registered_at ? [absolute(agent.registered_at), " (", since(agent.registered_at, true), ")"] : null),
              fact("Attributes", attributes(agent.attributes)),
              fact("Workloads", Object.entries(agent.workloads).map(([name, amount], index) => [index ? ", " : "", h("a", { href: `#/workloads/${part(name)}` }, name), ` ${amount}`])),
            ),
          ),
        )
      : h("p", { class: "empty" }, "Neither the master nor a live task knows this agent (any more)."),
    h("section", {}, h("h2", { class: "section-head" }, plural(tasks.total, "task")), tasks.items.length ? table(tasks.items, { page, parameters, place: false }) : h("p", { class: "empty" }, "No live task of this framework is here."), pager(tasks, page, parameters)),
  ];
}

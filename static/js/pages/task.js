// One task: where it is, how it does, what it writes, and those before it.

import { get, optional, part } from "../api.js";
import { h } from "../dom.js";
import { absolute, count, megabytes, percent } from "../format.js";
import { outputOf, viewer } from "../output.js";
import { health, leader, taskState } from "../states.js";
import { since } from "../times.js";
import { address, button, copy, fact, meter } from "../widgets.js";
import { runs } from "./instance.js";

const STREAMS = ["stdout", "stderr"];

/** Usage changes without events. */
export const EVERY = 5_000;

export async function show({ name: id, parameters, status }) {
  const stream = STREAMS.includes(parameters.output) ? parameters.output : STREAMS[0];
  const found = await get(`tasks/${part(id)}`);
  const { standing, task, ended, instance, sandbox } = found;
  // The agent may be away; everything else is shown all the same.
  const usage = task ? await optional(`tasks/${part(id)}/usage`).catch(() => null) : null;
  const state = task?.state ?? ended?.state ?? found.status?.state;
  const word = { replace: "restarting", stop: "stopping" }[task?.goal];
  return [
    trail(instance),
    h(
      "div",
      { class: "head" },
      h("h1", {}, instance?.name ?? "Unknown task"),
      taskState(state),
      task?.leader ? leader(true) : null,
      h(
        "span",
        { class: "bar-of-controls" },
        task ? button({ action: "restart", why: word && `it is ${word}`, task: id, name: task.name }, word ?? "Restart") : null,
      ),
    ),
    h("p", { class: "sub mono" }, id, copy(id, "the id")),
    standing === "unknown" ? h("p", { class: "banner" }, h("span", {}, "This task is of this framework, but no workload knows it.")) : null,
    standing === "ended" ? h("p", { class: "banner" }, h("span", {}, "This task has ended ", since(ended.ended_at, true), ". What it wrote can be read while the agent keeps its sandbox.", instance?.tasks.at(-1) ? [" ", h("a", { href: `#/tasks/${part(instance.tasks.at(-1))}` }, "To the task after it")] : null)) : null,
    h("div", { class: "columns three" }, facts(task, ended, instance), place(task ?? ended, sandbox, status), task ? used(usage) : null),
    sandbox ? output(id, stream, standing === "live", parameters) : null,
    instance?.history.length ? h("section", {}, h("h2", { class: "section-head" }, `Earlier tasks of ${instance.name}`), runs(instance.history)) : null,
  ];
}

const number = (name) => name.slice(name.lastIndexOf("-") + 1);

/** Where this is, from the workload down. */
function trail(instance) {
  if (!instance) return null;
  return h("nav", { class: "trail", "aria-label": "Where this is" }, h("a", { href: `#/workloads/${part(instance.workload)}` }, instance.workload), " › ", h("a", { href: `#/instances/${part(instance.workload)}/${number(instance.name)}` }, instance.name));
}

const moment = (millis) => (millis ? [absolute(millis), " (", since(millis, true), ")"] : null);

function facts(task, ended, instance) {
  const one = task ?? ended ?? {};
  return h(
    "section",
    { class: "card", "aria-label": "Run" },
    h("h2", {}, "Run"),
    h(
      "dl",
      { class: "facts" },
      instance && fact("Workload", h("a", { href: `#/workloads/${part(instance.workload)}` }, instance.workload)),
      fact("Revision", task && !task.current ? `${one.revision}, outdated` : one.revision),
      task && fact("Health", health(task.healthy)),
      task && task.goal !== "run" && fact("Goal", task.stop_reason ?? "being replaced"),
      fact("Launched", moment(one.launched_at)),
      fact("Running since", moment(one.running_at)),
      ended && fact("Ended", moment(ended.ended_at)),
      fact("Stopped because", one.stopped ?? null),
      fact("Reason", one.reason ?? null),
      fact("Message", one.message ?? null),
      instance && fact("Failures since a stable run", instance.failures || null),
    ),
  );
}

function place(one, sandbox, status) {
  if (!one || !sandbox) return null;
  const { master } = status.connection;
  // The files of a task are shown by the interface of the master.
  const files = master && sandbox.framework_id && `http://${master}/#/agents/${part(sandbox.agent_id)}/frameworks/${part(sandbox.framework_id)}/executors/${part(sandbox.executor_id)}`;
  return h(
    "section",
    { class: "card", "aria-label": "Place" },
    h("h2", {}, "Place"),
    h(
      "dl",
      { class: "facts" },
      fact("Host", one.hostname),
      fact("Address", one.ip),
      fact("Ports", one.ports?.length ? h("span", { class: "mono" }, one.ports.join(" ")) : null),
      fact("Agent", [h("a", { class: "mono", href: `#/agents/${part(one.agent_id)}` }, one.agent_id), copy(one.agent_id, "the agent's id")]),
      fact("Agent's API", h("a", { href: sandbox.agent_url, rel: "noreferrer" }, sandbox.agent_url)),
      fact("Sandbox", files ? h("a", { href: files, rel: "noreferrer" }, "all files, at the master") : null),
    ),
  );
}

function used(usage) {
  const known = usage && (usage.cpus !== null || usage.mem !== null);
  const amount = (value) => megabytes(value).join(" ");
  const line = (label, value, limit, text) => fact(label, value === null || value === undefined ? "not counted" : meter(value, limit ?? 0, limit ? `${text(value)} of ${text(limit)}, ${percent(value, limit)}` : text(value), label));
  return h(
    "section",
    { class: "card", "aria-label": "Usage" },
    h("h2", {}, "Usage now"),
    known
      ? h("dl", { class: "facts" }, line("CPUs", usage.cpus, usage.cpus_limit, count), line("Memory", usage.mem, usage.mem_limit, amount))
      : h("p", { class: "sub" }, "The agent does not tell."),
  );
}

function output(id, stream, alive, parameters) {
  return h(
    "section",
    { "aria-label": "Output" },
    h(
      "div",
      { class: "head section-head" },
      h("h2", {}, "Output"),
      h("div", { class: "tabs", role: "group", "aria-label": "Which output" }, STREAMS.map((name) => h("a", { href: address(`tasks/${part(id)}`, { ...parameters, output: name }), "aria-current": name === stream ? "true" : null, "data-stream": name }, name))),
    ),
    viewer(`${id} ${stream}`, outputOf(id, stream, alive)),
  );
}

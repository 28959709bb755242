// One task: where it is, how it got there, and those before it.

import { get, part } from "../api.js";
import { h } from "../dom.js";
import { absolute } from "../format.js";
import { health, taskState } from "../states.js";
import { since } from "../times.js";

export async function show({ name: id, status }) {
  const found = await get(`tasks/${part(id)}`);
  const { standing, task, ended, instance, sandbox } = found;
  const state = task?.state ?? ended?.state ?? found.status?.state;
  return [
    h(
      "div",
      { class: "head" },
      h("h1", {}, instance?.name ?? "Unknown task"),
      taskState(state),
      h(
        "span",
        { class: "bar-of-controls" },
        h("button", { type: "button", class: "small", "data-action": "copy", "data-text": id }, "Copy id"),
        task ? h("button", { type: "button", disabled: task.goal !== "run", "data-action": "restart", "data-task": id, "data-name": task.name }, task.goal === "run" ? "Restart" : "restarting") : null,
      ),
    ),
    h("p", { class: "sub mono" }, id),
    standing === "unknown" ? h("p", { class: "banner" }, "This task is of this framework, but no workload knows it.") : null,
    h("div", { class: "columns" }, facts(task, ended, instance), place(task ?? ended, sandbox, status)),
    instance?.history.length ? history(instance) : null,
  ];
}

const fact = (label, value) => (value === null || value === undefined ? null : [h("dt", {}, label), h("dd", {}, value)]);
const moment = (millis) => (millis ? [absolute(millis), " (", since(millis, true), ")"] : null);

function facts(task, ended, instance) {
  const one = task ?? ended ?? {};
  return h(
    "section",
    { class: "card" },
    h("h2", {}, "Run"),
    h(
      "dl",
      { class: "facts" },
      instance && fact("Workload", h("a", { href: `#/workloads/${part(instance.workload)}` }, instance.workload)),
      fact("Revision", one.revision),
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
    { class: "card" },
    h("h2", {}, "Place"),
    h(
      "dl",
      { class: "facts" },
      fact("Host", one.hostname),
      fact("Address", one.ip),
      fact("Ports", one.ports?.length ? h("span", { class: "mono" }, one.ports.join(" ")) : null),
      fact("Agent", h("code", {}, one.agent_id)),
      fact("Agent's API", h("a", { href: sandbox.agent_url, rel: "noreferrer" }, sandbox.agent_url)),
      fact("Sandbox", files ? h("a", { href: files, rel: "noreferrer" }, "files, stdout and stderr") : null),
    ),
  );
}

function history({ name, history: runs }) {
  return h(
    "section",
    {},
    h("h2", { class: "section-head" }, `Earlier tasks of ${name}`),
    h(
      "div",
      { class: "scroll" },
      h(
        "table",
        { class: "stacks" },
        h("thead", {}, h("tr", {}, ["Ended", "State", "Why", "Host", "Ran for"].map((text) => h("th", { scope: "col" }, text)))),
        h("tbody", {}, runs.map((run) =>
          h(
            "tr",
            { "data-key": run.id },
            h("td", {}, since(run.ended_at, true), h("span", { class: "id mono" }, run.id.split(".").at(-1).slice(0, 8))),
            h("td", { class: "aside" }, taskState(run.state)),
            h("td", {}, run.stopped ?? run.message ?? run.reason ?? ""),
            h("td", { class: "aside" }, run.hostname),
            h("td", {}, run.running_at ? `${Math.round((run.ended_at - run.running_at) / 1000)} s` : "never ran"),
          ),
        )),
      ),
    ),
  );
}

// One instance: what fills it now, what it waits for, and how its tasks ended.

import { get, part } from "../api.js";
import { h } from "../dom.js";
import { duration, plural } from "../format.js";
import { taskState } from "../states.js";
import { since } from "../times.js";
import { waitsFor } from "../waiting.js";
import { table } from "./tasks.js";

export async function show({ name: workload, more, parameters }) {
  const item = await get(`workloads/${part(workload)}/instances/${part(more)}`);
  const page = `instances/${part(workload)}/${part(more)}`;
  return [
    h("nav", { class: "trail", "aria-label": "Where this is" }, h("a", { href: `#/workloads/${part(workload)}` }, workload)),
    h("div", { class: "head" }, h("h1", {}, item.name), h("span", { class: "sub" }, item.wanted ? "" : "no longer wanted", item.failures ? `${plural(item.failures, "failure")} since a stable run` : "")),
    item.waiting ? h("section", { class: "card", "data-state": "waiting" }, h("h2", {}, "Waits"), h("p", {}, waitsFor(item.waiting)), h("p", { class: "sub" }, h("a", { href: `#/workloads/${part(workload)}` }, "why, with the offers of the last cycle"))) : null,
    h("section", {}, h("h2", { class: "section-head" }, "Live"), item.tasks.length ? table(item.tasks, { page, parameters }) : h("p", { class: "empty" }, "No task of this instance is live.")),
    h("section", {}, h("h2", { class: "section-head" }, "History"), item.history.length ? runs(item.history) : h("p", { class: "empty" }, "No task of this instance has ended yet.")),
  ];
}

/** Tasks that have ended, the newest first; each leads to what it wrote. */
export function runs(list, named = false) {
  return h(
    "div",
    { class: "scroll", tabindex: 0, role: "region", "aria-label": "Ended tasks" },
    h(
      "table",
      { class: "stacks" },
      h("thead", {}, h("tr", {}, [named ? "Instance" : null, "Ended", "State", "Why", "Host", "Ran for", "Rev.", "Output"].filter(Boolean).map((text) => h("th", { scope: "col" }, text)))),
      h("tbody", {}, list.map((run) => {
        const link = `#/tasks/${part(run.id)}`;
        const why = [run.stopped, run.message, run.reason].filter(Boolean);
        return h(
          "tr",
          { "data-key": run.id },
          named ? h("td", {}, h("a", { class: "name", href: `#/instances/${part(named)}/${run.number}` }, run.name)) : null,
          h("td", { class: named && "aside" }, since(run.ended_at, true), h("a", { class: "id mono", href: link, title: run.id }, run.id.split(".").at(-1).slice(0, 8))),
          h("td", { class: !named && "aside" }, taskState(run.state)),
          h("td", { class: "whole" }, why[0] ?? "", why[1] ? h("span", { class: "id" }, why.slice(1).join(" · ")) : null),
          h("td", {}, h("a", { class: "plain", href: `#/agents/${part(run.agent_id)}` }, run.hostname)),
          h("td", { class: "aside", "data-label": "Ran for" }, run.running_at ? duration(run.ended_at - run.running_at) : "never ran"),
          h("td", { "data-label": "Revision" }, run.revision),
          h("td", { class: "aside links" }, h("a", { href: link }, "stdout"), " ", h("a", { href: `${link}?output=stderr` }, "stderr")),
        );
      })),
    ),
  );
}

// Deployments, and who did what.

import { get } from "../api.js";
import { grow, h, icon } from "../dom.js";
import { count } from "../format.js";
import { since } from "../times.js";
import { pager } from "../widgets.js";

const SHAPES = { running: "changing", rolling_back: "changing", paused: "waiting", done: "steady", failed: "backing_off", aborted: "backing_off", rolled_back: "backing_off" };

/** What can be done about a deployment: its verbs with their buttons' texts. */
const CONTROLS = {
  running: [["pause", "Pause"], ["rollback", "Roll back"], ["abort", "Abort"]],
  paused: [["resume", "Resume"], ["rollback", "Roll back"], ["abort", "Abort"]],
  rolling_back: [["abort", "Abort"]],
  done: [["rollback", "Roll back"]],
  aborted: [["rollback", "Roll back"]],
  failed: [["rollback", "Roll back"]],
  rolled_back: [],
};

export async function show({ parameters }) {
  const [deployments, audit] = await Promise.all([get("deployments", { limit: 20 }), get("audit", { offset: parameters.offset, limit: 50 })]);
  return [
    h("div", { class: "head" }, h("h1", {}, "Activity")),
    h("section", {}, h("h2", { class: "section-head" }, "Deployments"), deployments.items.length ? h("div", { class: "workloads" }, deployments.items.map((item) => deployment(item, isLatest(item, deployments.items)))) : h("p", { class: "empty" }, "No deployment yet. A rolling restart is one, and so is a changed declaration.")),
    h("section", {}, h("h2", { class: "section-head" }, "What operators did"), audit.items.length ? table(audit.items) : h("p", { class: "empty" }, "Nothing yet. Every change is recorded here with who, when and why."), pager(audit, "activity", parameters)),
  ];
}

/** Only the last update of a workload can be rolled back. */
function isLatest(item, items) {
  return items.find((other) => other.kind === "update" && other.workload === item.workload) === item;
}

function deployment(item, latest) {
  const over = !["running", "paused", "rolling_back"].includes(item.status);
  const update = item.kind === "update";
  const button = ([verb, text]) => h("button", { type: "button", class: verb === "abort" ? "small danger" : "small", "data-action": "deployment", "data-id": item.id, "data-verb": verb }, text);
  const controls = CONTROLS[item.status].filter(([verb]) => verb !== "rollback" || (update && latest));
  const title = update ? `Update ${item.id} · revision ${item.from_revision} → ${item.to_revision}` : `Rolling restart ${item.id}`;
  return h(
    "article",
    { class: "workload", "data-key": item.id, "data-state": over || item.status === "paused" ? item.status : "starting" },
    h("div", { class: "name-line" }, h("span", { class: "name" }, title), h("span", { class: "sub" }, item.workload ?? "every workload")),
    h("div", { class: "beam-cell" }, h("div", { class: "beam", role: "img", "aria-label": `${item.done} of ${item.total}` }, item.done ? grow(h("span", { class: "segment", "data-state": "running" }), { grow: item.done }) : null, grow(h("span", {}), { grow: Math.max(0, item.total - item.done) }))),
    h("div", { class: "count" }, h("b", {}, count(item.done)), h("span", { class: "sub" }, ` / ${count(item.total)}`)),
    h("div", { class: "controls bar-of-controls" }, controls.map(button)),
    h("p", { class: "why" }, h("span", { class: "state" }, icon(SHAPES[item.status]), item.status.replace("_", " ")), item.reason ? `: ${item.reason}` : "", " · begun ", since(item.started_at, true), item.at ? [over ? " · ended " : " · since ", since(item.at, true)] : null),
  );
}

function table(items) {
  return h(
    "div",
    { class: "scroll" },
    h(
      "table",
      { class: "stacks" },
      h("thead", {}, h("tr", {}, ["When", "What", "Before → after", "Who", "Why"].map((text) => h("th", { scope: "col" }, text)))),
      h("tbody", {}, items.map((entry) =>
        h(
          "tr",
          { "data-key": entry.sequence },
          h("td", {}, since(entry.at, true)),
          h("td", { class: "aside" }, entry.action),
          h("td", {}, entry.before || entry.after ? `${entry.before ?? ""} → ${entry.after ?? ""}` : ""),
          h("td", { class: "aside" }, entry.actor, h("span", { class: "id" }, entry.address)),
          h("td", {}, entry.reason ?? ""),
        ),
      )),
    ),
  );
}

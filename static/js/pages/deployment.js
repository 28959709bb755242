// Deployments: as a row of a list, and one by itself with old and new side by side.

import { get, part } from "../api.js";
import { grow, h, icon } from "../dom.js";
import { count, percent, plural } from "../format.js";
import { health, taskState } from "../states.js";
import { since, until } from "../times.js";
import { button } from "../widgets.js";

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

const AT_WORK = ["running", "paused", "rolling_back"];

/** Tasks of a side that are shown one by one. */
const TASKS_MAX = 60;

export const title = (item) => (item.kind === "update" ? `Update ${item.id} · revision ${item.from_revision} → ${item.to_revision}` : `Rolling restart ${item.id}`);

/** Only the last update of a workload can be rolled back. */
export const isLatest = (item, items) => items.find((other) => other.kind === "update" && other.workload === item.workload)?.id === item.id;

function controls(item, latest) {
  const possible = (CONTROLS[item.status] ?? []).filter(([verb]) => verb !== "rollback" || (item.kind === "update" && latest));
  return possible.map(([verb, text]) => button({ action: "deployment", class: verb === "abort" ? "small danger" : "small", id: item.id, verb }, text));
}

function progress(item) {
  return h(
    "div",
    { class: "beam", role: "img", "aria-label": `${item.done} of ${item.total}, ${percent(item.done, item.total)}` },
    item.done ? grow(h("span", { class: "segment", "data-state": "running" }), { grow: item.done }) : null,
    grow(h("span", {}), { grow: Math.max(0, item.total - item.done) }),
  );
}

/** A deployment in a list. */
export function moving(item, latest = true) {
  const over = !AT_WORK.includes(item.status);
  return h(
    "article",
    { class: "workload deployment", "data-key": `deployment ${item.id}`, "data-deployment": item.id, "data-state": over || item.status === "paused" ? item.status : "starting" },
    h("div", { class: "name-line" }, h("a", { class: "name", href: `#/deployments/${item.id}` }, title(item)), h("span", { class: "sub" }, item.workload ?? "every workload")),
    h("div", { class: "beam-cell" }, progress(item)),
    h("div", { class: "count" }, h("b", {}, count(item.done)), h("span", { class: "sub" }, ` / ${count(item.total)}`)),
    h("div", { class: "controls bar-of-controls" }, controls(item, latest)),
    h("p", { class: "why" }, h("span", { class: "state" }, icon(SHAPES[item.status] ?? "changing"), item.status.replace("_", " ")), item.reason ? `: ${item.reason}` : "", " · begun ", since(item.started_at, true), item.at ? [over ? " · ended " : " · since ", since(item.at, true)] : null, item.deadline_at && !over ? [" · deadline ", until(item.deadline_at)] : null),
  );
}

export async function show({ name: id }) {
  const [item, all, audit] = await Promise.all([get(`deployments/${part(id)}`), get("deployments", { limit: 100 }), get("audit", { limit: 500 })]);
  const live = item.workload ? await Promise.all([get("tasks", { workload: item.workload, limit: 1000 }), get(`workloads/${part(item.workload)}`)]).catch(() => null) : null;
  const story = audit.items.filter((entry) => about(entry, item));
  return [
    h("nav", { class: "trail", "aria-label": "Where this is" }, h("a", { href: "#/activity" }, "Activity"), item.workload ? [" › ", h("a", { href: `#/workloads/${part(item.workload)}` }, item.workload)] : null),
    h("div", { class: "head" }, h("h1", {}, title(item))),
    h("div", { class: "workloads" }, moving(item, isLatest(item, all.items))),
    item.limits ? h("p", { class: "sub" }, `Limits: ${item.limits}.`) : null,
    item.changes ? changes(item) : null,
    live ? sides(item, live) : item.workload ? null : h("p", { class: "empty" }, "This restart is of every workload; the page of each shows its tasks."),
    h("section", {}, h("h2", { class: "section-head" }, "What operators did about it"), story.length ? timeline(story) : h("p", { class: "empty" }, "Nothing; it went by itself.")),
  ];
}

const about = ({ action, at }, item) => new RegExp(`\\bdeployment #?${item.id}\\b`).test(action) || (Math.abs(at - item.started_at) < 1000 && /rolling|restart/.test(action));

/** What an update changes, field by field. */
function changes({ changes: list, from_revision: from, to_revision: to }) {
  return h(
    "section",
    { "aria-label": "What changes" },
    h("h2", { class: "section-head" }, "What changes"),
    list.length
      ? h(
          "div",
          { class: "scroll", tabindex: 0, role: "region", "aria-label": "Changed fields" },
          h(
            "table",
            { class: "stacks fields" },
            h("thead", {}, h("tr", {}, ["Field", `Revision ${from}`, `Revision ${to}`].map((text) => h("th", { scope: "col" }, text)))),
            h("tbody", {}, list.map(({ path, before, after }) => h("tr", { "data-key": path }, h("th", { scope: "row", class: "mono" }, path), h("td", { class: "mono was" }, before === null ? h("span", { class: "sub" }, "not set") : h("del", {}, before)), h("td", { class: "mono becomes" }, after === null ? h("span", { class: "sub" }, "not set") : h("ins", {}, after))))),
          ),
        )
      : h("p", { class: "empty" }, "Tasks of both revisions are made of the same."),
  );
}

/** Old and new, each with its tasks. */
function sides(item, [tasks, workload]) {
  const isNew = item.kind === "update" ? ({ revision }) => revision === item.to_revision : ({ launched_at: at }) => at >= item.started_at;
  const fresh = tasks.items.filter(isNew);
  const old = tasks.items.filter((task) => !isNew(task));
  const ready = fresh.filter(({ state, healthy }) => state === "TASK_RUNNING" && healthy !== false).length;
  const update = item.kind === "update";
  return h(
    "div",
    { class: "columns sides" },
    side("old", update ? `Old: revision ${item.from_revision}` : "Before", `${plural(old.length, "task")} left`, old),
    side("new", update ? `New: revision ${item.to_revision}` : "After", `${count(ready)} of ${plural(fresh.length, "task")} ready, ${count(workload.wanted)} wanted`, fresh),
  );
}

function side(key, name, text, tasks) {
  return h(
    "section",
    { class: "card", "data-side": key, "aria-label": name },
    h("h2", {}, name),
    h("p", { class: "sub" }, text),
    tasks.length
      ? h("table", {}, h("thead", { class: "unseen" }, h("tr", {}, ["Task", "State", "Health", "For"].map((head) => h("th", { scope: "col" }, head)))), h("tbody", {}, tasks.slice(0, TASKS_MAX).map((task) => h("tr", { "data-key": task.id }, h("td", {}, h("a", { href: `#/tasks/${part(task.id)}` }, task.name)), h("td", {}, taskState(task.state)), h("td", {}, task.healthy === null ? null : health(task.healthy)), h("td", {}, since(task.running_at ?? task.launched_at))))))
      : h("p", { class: "empty" }, key === "old" ? "None is left." : "None yet."),
    tasks.length > TASKS_MAX ? h("p", { class: "sub" }, `and ${count(tasks.length - TASKS_MAX)} more`) : null,
  );
}

/** Who did what, when and why. */
export function timeline(entries) {
  return h(
    "ol",
    { class: "timeline" },
    entries.map((entry) =>
      h(
        "li",
        { "data-key": entry.sequence },
        h("div", { class: "what" }, h("strong", {}, entry.action), entry.before || entry.after ? h("span", { class: "diff-line" }, entry.before ? h("del", {}, entry.before) : null, entry.before ? " → " : null, h("ins", {}, entry.after ?? "")) : null),
        entry.reason ? h("blockquote", {}, entry.reason) : null,
        h("p", { class: "sub" }, since(entry.at, true), " · ", entry.actor, entry.address && entry.address !== entry.actor ? ` · ${entry.address}` : ""),
      ),
    ),
  );
}

// What states are called, which shape goes with their colour, and the beam of a workload.

import { grow, h, icon } from "./dom.js";
import { count } from "./format.js";

/** Conditions of a workload: icon and words. */
const CONDITIONS = {
  backing_off: "failing, waits before the next try",
  unreachable: "agent cannot be reached",
  unhealthy: "unhealthy",
  waiting: "waiting for offers",
  unconfirmed: "not yet confirmed",
  changing: "changing",
  steady: "as wanted",
};

export const conditionText = (condition) => CONDITIONS[condition] ?? condition;

/** The condition in words; one that is scaled to nothing is as wanted, and says so. */
export function condition(name, item) {
  const { wanted, counts } = item ?? {};
  const held = name === "waiting" && counts?.admitting && !counts.waiting;
  const text = name === "steady" && wanted === 0 ? "scaled to 0" : held ? "waiting for modules" : conditionText(name);
  return h("span", { class: "state", "data-state": name }, icon(name), text);
}

const TASK_STATES = {
  TASK_RUNNING: ["running", "steady"],
  TASK_STAGING: ["staging", "changing"],
  TASK_STARTING: ["starting", "changing"],
  TASK_KILLING: ["killing", "killing"],
  TASK_UNREACHABLE: ["unreachable", "unreachable"],
  TASK_UNKNOWN: ["unknown", "unconfirmed"],
  TASK_FAILED: ["failed", "backing_off"],
  TASK_ERROR: ["error", "backing_off"],
  TASK_LOST: ["lost", "backing_off"],
  TASK_DROPPED: ["dropped", "backing_off"],
  TASK_GONE: ["gone", "backing_off"],
  TASK_GONE_BY_OPERATOR: ["gone by operator", "backing_off"],
  TASK_KILLED: ["killed", "killing"],
  TASK_FINISHED: ["finished", "steady"],
};

/** The state of a task, live or ended. */
export function taskState(name) {
  const [word, shape] = TASK_STATES[name] ?? [name, "unconfirmed"];
  const colour = shape === "backing_off" ? "failed" : word === "killed" || word === "finished" ? "done" : word;
  return h("span", { class: "state", "data-state": colour, title: name }, icon(shape), word);
}

export function health(healthy) {
  if (healthy === null || healthy === undefined) return h("span", { class: "sub" }, "no check");
  return healthy
    ? h("span", { class: "state", "data-state": "healthy" }, icon("steady"), "healthy")
    : h("span", { class: "state", "data-state": "unhealthy" }, icon("unhealthy"), "unhealthy");
}

const AGENT_STATES = { active: "steady", disconnected: "unreachable", deactivated: "killing", draining: "changing", drained: "killing" };
const AGENT_COLOURS = { active: "running", disconnected: "unreachable", deactivated: "killing", draining: "waiting", drained: "killing" };

/** What the master says of an agent; null when it says nothing. */
export function agentState(name) {
  if (!name) return h("span", { class: "sub" }, "not told");
  return h("span", { class: "state", "data-state": AGENT_COLOURS[name] ?? "unknown" }, icon(AGENT_STATES[name] ?? "unconfirmed"), name);
}

/** Whether a task leads, as a module says. */
export function leader(leads) {
  if (leads === null || leads === undefined) return h("span", { class: "sub" }, "–");
  return leads ? h("span", { class: "badge" }, "leader") : h("span", { class: "sub" }, "no");
}

/** What the instances of a workload are, each counted once. */
export function shares(counts) {
  const unhealthy = Math.min(counts.unhealthy, counts.running);
  return [
    ["backing_off", counts.backing_off, "failing"],
    ["unreachable", counts.unreachable, "unreachable"],
    ["unhealthy", unhealthy, "unhealthy"],
    ["waiting", counts.waiting + counts.braked + (counts.admitting ?? 0), "waiting"],
    ["starting", counts.starting, "starting"],
    ["killing", counts.killing, "stopping"],
    ["running", counts.running - unhealthy, "running"],
  ].filter(([, amount]) => amount > 0);
}

/** Up to so many instances are drawn one by one. */
const CELLS_MAX = 24;

/** The beam: one cell an instance while they can be counted, shares of a bar when there are more, or
    when asked for one. */
export function beam(counts, asBar = false) {
  const parts = shares(counts);
  const total = parts.reduce((sum, [, amount]) => sum + amount, 0);
  const label = parts.map(([, amount, word]) => `${count(amount)} ${word}`).join(", ") || "no instances";
  const asCells = !asBar && total <= CELLS_MAX;
  const segments = parts.flatMap(([state, amount, word]) =>
    asCells
      ? Array.from({ length: amount }, () => h("span", { class: "segment", "data-state": state, title: word }))
      : [grow(h("span", { class: "segment", "data-state": state, title: `${count(amount)} ${word}` }), { grow: amount })],
  );
  const kind = asCells ? "beam cells" : "beam";
  return h("div", { class: total ? kind : "beam none", role: "img", "aria-label": label, "data-key": kind }, segments);
}

export function legend(counts) {
  const parts = shares(counts);
  return h(
    "ul",
    { class: "legend" },
    parts.map(([state, amount, word]) =>
      h("li", { "data-state": state }, h("span", { class: "swatch segment", "data-state": state }), h("b", {}, count(amount)), ` ${word}`),
    ),
  );
}

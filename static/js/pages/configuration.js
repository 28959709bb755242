// The configuration as the API shows it: secrets are masked there already. And the modules.

import { raw } from "../api.js";
import { provide } from "../actions.js";
import { h, icon } from "../dom.js";
import { count, plural } from "../format.js";
import { all } from "../modules.js";

export async function show() {
  const configuration = await (await raw("api/v1/framework/configuration")).json();
  return [
    h(
      "div",
      { class: "head" },
      h("h1", {}, "Configuration"),
      h(
        "span",
        { class: "bar-of-controls" },
        h("button", { type: "button", class: "small", "data-action": "unfold" }, "Open all"),
        h("button", { type: "button", class: "small", "data-action": "fold" }, "Close all"),
        h("a", { href: "api/v1/framework/configuration" }, "as JSON"),
      ),
    ),
    modules(),
    h("section", { class: "card tree", "aria-label": "Configuration" }, node(null, configuration, 0)),
  ];
}

function modules() {
  const list = all();
  if (!list.length) return null;
  return h(
    "section",
    { class: "card", "aria-label": "Modules" },
    h("h2", {}, "Modules"),
    h(
      "table",
      { class: "stacks" },
      h("thead", {}, h("tr", {}, ["Module", "State", "Hooks", "Adds", "Work"].map((text) => h("th", { scope: "col" }, text)))),
      h("tbody", {}, list.map(module)),
    ),
  );
}

const STATES = { running: ["running", "steady"], loading: ["starting", "changing"], stopped: ["failed", "backing_off"] };

function module({ name, state, error, last_failure: failure, hooks, menus, columns, routes, calls, failures, processor_ms: busy }) {
  const [colour, shape] = STATES[state] ?? ["killing", "killing"];
  const adds = [
    menus?.length && plural(menus.length, "page"),
    columns?.length && plural(columns.length, "column"),
    routes?.length && plural(routes.length, "route"),
  ];
  return h(
    "tr",
    { "data-key": name, "data-module": name },
    h("td", {}, h("strong", {}, name)),
    h("td", { class: "aside" }, h("span", { class: "state", "data-state": colour }, icon(shape), state), error || failure ? h("span", { class: "id" }, error ?? `last failure: ${failure}`) : null),
    h("td", { "data-label": "Hooks" }, (hooks ?? []).join(", ")),
    h("td", { class: "aside" }, adds.filter(Boolean).join(", ")),
    h("td", { "data-label": "Work" }, calls ? `${plural(calls, "call")}, ${plural(failures, "failure")}, ${count(busy)} ms of processor time` : null),
  );
}

function node(key, value, depth) {
  const label = key === null ? null : [h("span", { class: "key" }, key), ": "];
  if (value === null || typeof value !== "object") {
    return h("div", { class: "leaf", "data-key": key ?? "" }, label, h("span", { class: typeof value === "string" ? "text" : "" }, JSON.stringify(value)));
  }
  const entries = Object.entries(value);
  const size = Array.isArray(value) ? `[ ${plural(entries.length, "entry", "entries")} ]` : `{ ${plural(entries.length, "key")} }`;
  if (!entries.length) return h("div", { class: "leaf", "data-key": key ?? "" }, label, Array.isArray(value) ? "[]" : "{}");
  return h(
    "details",
    { open: depth < 1, "data-key": key ?? "" },
    h("summary", {}, label, h("span", { class: "count" }, size)),
    entries.map(([name, inner]) => node(name, inner, depth + 1)),
  );
}

/** Everything, or only the first level. */
function fold(open) {
  for (const details of document.querySelectorAll(".tree details details")) details.open = open;
  return false;
}
provide({ unfold: () => fold(true), fold: () => fold(false) });

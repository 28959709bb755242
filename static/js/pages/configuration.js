// The configuration as the API shows it: secrets are masked there already.

import { raw } from "../api.js";
import { h } from "../dom.js";
import { plural } from "../format.js";

export async function show() {
  const configuration = await (await raw("api/v1/framework/configuration")).json();
  return [
    h("div", { class: "head" }, h("h1", {}, "Configuration"), h("a", { href: "api/v1/framework/configuration" }, "as JSON")),
    h("section", { class: "card tree", "aria-label": "Configuration" }, node(null, configuration, 0)),
  ];
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

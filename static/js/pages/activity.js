// Deployments, and who did what.

import { get } from "../api.js";
import { h } from "../dom.js";
import { field, pager } from "../widgets.js";
import { isLatest, moving, timeline } from "./deployment.js";

/** The record holds so many entries. */
const AUDIT_MAX = 500;

export async function show({ parameters }) {
  const { q, offset } = parameters;
  const [deployments, audit] = await Promise.all([get("deployments", { limit: 20 }), get("audit", q ? { limit: AUDIT_MAX } : { offset, limit: 50 })]);
  const found = q ? audit.items.filter((entry) => Object.values(entry).join(" ").toLowerCase().includes(q.toLowerCase())) : audit.items;
  return [
    h("div", { class: "head" }, h("h1", {}, "Activity")),
    h("section", { "aria-label": "Deployments" }, h("h2", { class: "section-head" }, "Deployments"), deployments.items.length ? h("div", { class: "workloads" }, deployments.items.map((item) => moving(item, isLatest(item, deployments.items)))) : h("p", { class: "empty" }, "No deployment yet. A rolling restart is one, and so is a changed declaration.")),
    h(
      "section",
      { "aria-label": "What operators did" },
      h("div", { class: "bar-of-controls section-head" }, h("h2", {}, "What operators did"), audit.total > 10 || q ? field("search", "q", q, "Who, what, why") : null),
      found.length ? timeline(found) : h("p", { class: "empty" }, q ? "Nothing in the record matches." : "Nothing yet. Every change is recorded here with who, when and why."),
      q ? null : pager(audit, "activity", parameters),
    ),
  ];
}

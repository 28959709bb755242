// How many instances of each workload there should be.

import { get, part, trends } from "../api.js";
import { h } from "../dom.js";
import { count, megabytes, plural } from "../format.js";
import { sparkline } from "../sparkline.js";
import { beam, condition } from "../states.js";
import { refusal } from "../session.js";
import { field, pager, scale } from "../widgets.js";

const PAGE = 100;

/** The last minutes move on without events. */
export const EVERY = 10_000;

export async function show({ parameters }) {
  const { q } = parameters;
  const offset = Number(parameters.offset) || 0;
  const [list, trend] = await Promise.all([get("workloads", { q, offset, limit: PAGE }), trends()]);
  const refused = refusal("operate");
  const fixed = list.items.filter(({ allow_scaling }) => !allow_scaling).length;
  return [
    h("div", { class: "head" }, h("h1", {}, "Scaling"), h("span", { class: "sub" }, "A count holds until it is changed again, also over restarts of Gantry.")),
    refused ? h("p", { class: "banner" }, h("span", {}, refused)) : null,
    list.total > 8 || q ? h("div", { class: "bar-of-controls" }, field("search", "q", q, "Find a workload")) : null,
    h(
      "section",
      { "aria-label": "Horizontal scaling" },
      h("h2", { class: "section-head" }, "Horizontal scaling"),
      list.items.length
        ? h("div", { class: "workloads scaling" }, list.items.map((item) => row(item, trend)))
        : h("p", { class: "empty" }, q ? "No workload has this in its name." : "No workload is declared."),
      fixed ? h("p", { class: "sub foot" }, `${plural(fixed, "workload has", "workloads have")} a fixed count: TASK#_ALLOW_SCALING is false there.`) : null,
      pager(list, "scaling", parameters),
    ),
  ];
}

function row(item, trend) {
  const { demand, counts } = item;
  const each = `${count(demand.cpus)} cpus, ${megabytes(demand.mem).join(" ")} each`;
  return h(
    "article",
    { class: "workload", "data-key": item.name, "data-state": item.condition },
    h("div", { class: "name-line" }, h("a", { class: "name", href: `#/workloads/${part(item.name)}` }, item.name), condition(item.condition, item)),
    h("div", { class: "beam-cell" }, beam(counts), h("p", { class: "sub" }, each, item.declared === item.wanted ? null : `, declared ${count(item.declared)}`)),
    h("div", { class: "count" }, h("b", {}, count(counts.running)), h("span", { class: "sub" }, ` / ${count(item.wanted)}`)),
    h("div", { class: "spark-cell" }, sparkline(trend, item.name)),
    h("div", { class: "controls" }, scale(item)),
  );
}

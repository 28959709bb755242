// Why something is not as wanted: in words, as a funnel of offers, instance by instance.

import { part } from "./api.js";
import { grow, h } from "./dom.js";
import { count, plural } from "./format.js";
import { taskState } from "./states.js";
import { since, until } from "./times.js";

/** What one instance waits for. */
export function waitsFor({ waits_for: listed, for: what = listed, since: from, until: end, refused }) {
  if (what === "back_off") return ["next try ", until(end)];
  if (what === "reconciliation") return ["for the answer of Mesos about tasks that may run already since ", since(from)];
  if (what === "brake") return ["for the release of the brake since ", since(from)];
  if (what === "admission") {
    return refused
      ? [h("strong", {}, `held back by the module ${refused.module}`), `: ${refused.reason}, asked again `, until(refused.until)]
      : ["for the modules to admit it since ", since(from)];
  }
  return ["for an offer since ", since(from)];
}

/** The panel; null when there is nothing to explain. */
export function waiting(why) {
  if (!why.sentences.length && !why.instances.length) return null;
  return h(
    "section",
    { class: "card", "aria-label": "Why it waits", "data-panel": "why" },
    h("h2", {}, "Why"),
    h("ul", { class: "sentences", "data-state": why.condition }, why.sentences.map((text) => h("li", {}, text))),
    why.funnel && why.counts.waiting ? funnel(why.funnel) : null,
    why.instances.length ? instances(why) : null,
  );
}

const STAGES = {
  constraints: "satisfy the constraints",
  maintenance: "are not about to be maintained",
  colocation: "are on an allowed host",
  resources: "have the resources",
  ports: "have the ports",
  limits: "may start one more task",
};

/** How many offers of the last cycle were left after each test. */
function funnel({ at, offers, stages, nearest, launched }) {
  let stopped = offers === 0;
  const line = (label, left, extra) => {
    const isEnd = !stopped && left === 0;
    stopped ||= isEnd;
    return [
      h("span", { class: isEnd ? "stopped" : "" }, label),
      h("div", { class: "track" }, grow(h("div", { class: isEnd ? "fill stop" : "fill" }), { width: offers ? (100 * left) / offers : 0 })),
      h("span", { class: isEnd ? "left stopped" : "left" }, count(left), extra ? h("span", { class: "sub" }, ` −${count(extra)}`) : null),
    ];
  };
  return [
    h("h3", {}, "Offers of the last cycle, ", since(at, true)),
    h("div", { class: "funnel", role: "group", "aria-label": "Offers left after each test" }, line("offers at hand", offers, 0), stages.map(({ name, left, ruled_out }) => line(STAGES[name] ?? name, left, ruled_out))),
    h("p", { class: "nearest" }, nearest ? ["Nearest miss: ", h("strong", {}, nearest.hostname), ` lacks ${nearest.lacks}. `] : null, launched ? `${plural(launched, "instance")} launched in that cycle.` : null),
  ];
}

function instances({ workload, instances: list }) {
  return [
    h("h3", {}, plural(list.length, "waiting instance")),
    h(
      "table",
      { class: "stacks" },
      h("thead", { class: "unseen" }, h("tr", {}, ["Instance", "Waits", "Last task"].map((text) => h("th", { scope: "col" }, text)))),
      h("tbody", {}, list.map((one) =>
        h(
          "tr",
          { "data-key": one.name },
          h("td", { class: "nowrap" }, h("a", { href: `#/instances/${part(workload)}/${one.number}` }, one.name)),
          h("td", {}, waitsFor(one), one.failures ? h("span", { class: "id" }, plural(one.failures, "failure")) : null),
          h("td", { class: "whole" }, one.last ? last(one.last) : null),
        ),
      )),
    ),
  ];
}

function last({ id, state, ended_at, message, reason }) {
  return [taskState(state), " ", since(ended_at, true), h("span", { class: "id" }, message ?? reason ?? "", " ", h("a", { href: `#/tasks/${part(id)}?output=stderr` }, "its output"))];
}

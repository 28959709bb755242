// What everybody should know, whatever page they are on.

import { h, icon } from "./dom.js";
import { since } from "./times.js";

const sentence = (clause) => `${clause[0].toUpperCase()}${clause.slice(1)}.`;

const banner = (shape, bad, ...text) => h("p", { class: bad ? "banner bad" : "banner", "data-key": shape }, icon(shape), h("span", {}, text));

/** The banners of a page; `error` is why the server could not be asked. */
export function notices(status, error) {
  if (error) return banner("unreachable", true, sentence(error.message));
  if (!status) return null;
  const { leadership, brake, connection } = status;
  const { role, fault, store } = leadership;
  const lost = !store.connected && store.problem;
  return [
    role === "leader" ? null : standBy(leadership),
    fault && banner("unhealthy", true, sentence(fault), " This Gantry neither leads nor reads what is stored until this is mended."),
    lost && banner("unreachable", true, sentence(lost), " Nothing is started or stopped until it is back; tasks keep running."),
    brake && braked(brake),
    !lost && connection.problem && banner("unreachable", true, sentence(connection.problem), " What is shown is the last known state; tasks keep running."),
  ];
}

function standBy({ role, leader, as_of }) {
  const copy = as_of === null ? "" : [" What is shown was read ", since(as_of, true), "."];
  if (role === "starting") return banner("changing", false, h("strong", {}, "About to lead."), " What is stored is being read; changes wait.", copy);
  if (!leader) return banner("changing", false, h("strong", {}, "Stand-by; no leader is known at the moment."), copy);
  // Another process says its address of itself.
  const url = /^https?:\/\//.test(leader.url ?? "") ? `${leader.url}/${location.hash}` : null;
  const name = url ? h("a", { href: url, rel: "noreferrer" }, leader.host) : leader.host;
  return banner("changing", false, h("strong", {}, "Stand-by of ", name, "."), " Changes are handed to the leader.", copy);
}

function braked({ since: from, troubled, of }) {
  return banner(
    "waiting",
    true,
    h("strong", {}, `The brake is on: ${troubled} of ${of} tasks failed at once.`),
    " For ",
    since(from),
    " nothing is stopped or started again by itself. ",
    h("button", { type: "button", class: "small", "data-action": "brake" }, "Release the brake"),
  );
}

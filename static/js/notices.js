// What everybody should know, whatever page they are on.

import { h, icon } from "./dom.js";
import { all } from "./modules.js";
import { current } from "./session.js";
import { since } from "./times.js";
import { button } from "./widgets.js";

const sentence = (clause) => `${clause[0].toUpperCase()}${clause.slice(1)}.`;

const banner = (name, shape, bad, ...text) => h("p", { class: bad ? "banner bad" : "banner", "data-key": name, "data-banner": name }, icon(shape), h("span", {}, text));

/** The banners of a page; `error` is why the server could not be asked. */
export function notices(status, error) {
  if (error) return banner("away", "unreachable", true, sentence(error.message), " What is shown is the last known state.");
  if (!status) return null;
  const { leadership, brake, connection, deployments_at_work: moves } = status;
  const { role, fault, read_fault: unread, would_change: otherwise, store } = leadership;
  const lost = !store.connected && store.problem;
  return [
    role === "leader" ? null : standBy(leadership),
    fault && banner("fault", "unhealthy", true, sentence(fault), fault === unread ? " This Gantry neither leads nor reads what is stored until this is mended." : " This Gantry does not lead until this is mended."),
    unread && unread !== fault && banner("read-fault", "unhealthy", true, sentence(unread), " This Gantry does not read what is stored until this is mended."),
    otherwise && banner("otherwise", "unhealthy", false, sentence(otherwise)),
    lost && banner("store", "unreachable", true, sentence(lost), " Nothing is started or stopped until it is back; tasks keep running."),
    brake && braked(brake, moves),
    !lost && connection.problem && banner("master", "unreachable", true, sentence(connection.problem), " What is shown is the last known state; tasks keep running."),
    all().filter(({ state }) => state === "stopped").map(stopped),
    (status.warnings ?? []).filter((text) => !text.startsWith("open access")).map((text) => banner(text.split(":")[0], "unhealthy", false, sentence(text))),
    current().access === "open" ? banner("open", "unlocked", false, h("strong", {}, "Open access: no login configured."), " Everybody who reaches this address can change everything.") : null,
  ];
}

function stopped({ name, error }) {
  return banner(`module-${name}`, "backing_off", true, h("strong", {}, `The module ${name} is stopped`), error ? `: ${error}` : ".", " ", h("a", { href: "#/configuration" }, "All modules"));
}

function standBy({ role, leader, as_of }) {
  const copy = as_of === null ? "" : [" What is shown was read ", since(as_of, true), ". Which tasks are healthy and reachable, and what is offered, the leader knows alone."];
  if (role === "starting") return banner("stand-by", "changing", false, h("strong", {}, "About to lead."), " What is stored is being read; changes wait.", copy);
  if (!leader) return banner("stand-by", "changing", false, h("strong", {}, "Stand-by; no leader is known at the moment."), copy);
  // Another process says its address of itself.
  const url = /^https?:\/\//.test(leader.url ?? "") ? `${leader.url}/${location.hash}` : null;
  const name = url ? h("a", { href: url, rel: "noreferrer" }, leader.host) : leader.host;
  return banner("stand-by", "changing", false, h("strong", {}, "Stand-by of ", name, "."), " Changes are handed to the leader.", copy);
}

function braked({ since: from, reason }, moves) {
  return banner(
    "brake",
    "waiting",
    true,
    h("strong", {}, `The brake is on: ${reason}.`),
    " For ",
    since(from),
    " nothing is stopped or started again by itself",
    moves ? ", and deployments stand still. " : ". ",
    button({ action: "brake", level: "admin", class: "small" }, "Release the brake"),
  );
}

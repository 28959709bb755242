// The list of keys, and what this is.

import { raw } from "./api.js";
import { h, update } from "./dom.js";

let asked = false;

export function help() {
  document.getElementById("keyboard").showModal();
  if (!asked) about();
}

async function about() {
  asked = true;
  try {
    const { description, version, homepage, issues } = await (await raw("api/v1/framework/info")).json();
    // Only an address that a browser would open safely becomes a link.
    const link = (text, address) => (/^https?:\/\//.test(address ?? "") ? h("a", { href: address, rel: "noreferrer" }, text) : null);
    update(document.getElementById("about"), h("div", {}, h("p", { class: "sub" }, `Gantry ${version}. ${description} `, link("Home page", homepage), " ", link("Issues", issues))));
  } catch {
    asked = false;
  }
}

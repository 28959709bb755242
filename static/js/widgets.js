// Parts that several pages use.

import { h } from "./dom.js";
import { count } from "./format.js";

/** The address of a page with these parameters. */
export function address(page, parameters) {
  const given = Object.entries(parameters).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return `#/${page}${given.length ? `?${new URLSearchParams(given)}` : ""}`;
}

/** Less, a number, more, set. */
export function scale({ name, wanted, allow_scaling, removed }) {
  if (!allow_scaling || removed) return h("span", { class: "sub" }, removed ? "being removed" : "fixed count");
  return h(
    "span",
    { class: "scale", role: "group", "aria-label": `Instances of ${name}` },
    h("button", { type: "button", "data-action": "less", "aria-label": "One less" }, "−"),
    h("input", { type: "number", min: 0, step: 1, value: wanted, inputmode: "numeric", "aria-label": `Wanted instances of ${name}` }),
    h("button", { type: "button", "data-action": "more", "aria-label": "One more" }, "+"),
    h("button", { type: "button", "data-action": "scale", "data-workload": name, "data-wanted": wanted }, "Scale"),
  );
}

/** A filter that lives in the address: changing it changes the address, and that the page. */
export function field(type, name, value, label) {
  return h("input", { type, name, value: value ?? "", placeholder: `${label}  /`, "aria-label": label, "data-filter": name, autocomplete: "off", spellcheck: "false" });
}

export function choice(name, value, label, options) {
  return h(
    "select",
    { "data-filter": name, "aria-label": label },
    options.map(([key, text]) => h("option", { value: key, selected: key === (value ?? "") }, text)),
  );
}

export function pager({ total, offset, limit, items }, page, parameters) {
  if (total <= limit && offset === 0) return null;
  const to = (target, text) => {
    const possible = target >= 0 && target < total && target !== offset;
    return possible
      ? h("a", { href: address(page, { ...parameters, offset: target || "" }) }, text)
      : h("span", { class: "sub" }, text);
  };
  return h(
    "div",
    { class: "pager", role: "navigation", "aria-label": "Parts of the list" },
    to(Math.max(0, offset - limit), "← previous"),
    h("span", {}, `${count(total ? Math.min(offset + 1, total) : 0)}–${count(offset + items.length)} of ${count(total)}`),
    to(offset + limit, "next →"),
  );
}

let typing;
function filter(event) {
  const element = event.target;
  const name = element.dataset?.filter;
  if (!name) return;
  clearTimeout(typing);
  typing = setTimeout(
    () => {
      const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
      const parameters = Object.fromEntries(new URLSearchParams(query));
      delete parameters.offset;
      // Replaced and not pushed: every letter typed would be a step back.
      history.replaceState(null, "", address(path, { ...parameters, [name]: element.value }));
      document.dispatchEvent(new Event("refresh"));
    },
    event.type === "input" ? 250 : 0,
  );
}
document.addEventListener("input", (event) => event.target.nodeName === "INPUT" && filter(event));
document.addEventListener("change", (event) => event.target.nodeName === "SELECT" && filter(event));

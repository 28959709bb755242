// Parts that several pages use.

import { grow, h, icon } from "./dom.js";
import { count } from "./format.js";
import { refusal } from "./session.js";

/** The address of a page with these parameters. */
export function address(page, parameters) {
  const given = Object.entries(parameters).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return `#/${page}${given.length ? `?${new URLSearchParams(given)}` : ""}`;
}

/**
 * A button that does something. Who may not do it sees it disabled, with the reason; `why` is another
 * reason against it. What else is given becomes `data-…`.
 */
export function button({ action, level = "operate", class: classes, why, label, ...data }, ...content) {
  const reason = refusal(level) ?? why;
  const named = Object.fromEntries(Object.entries(data).map(([name, value]) => [`data-${name}`, value]));
  return h("button", { type: "button", class: classes, "data-action": action, disabled: Boolean(reason), title: reason ?? null, "aria-label": label, ...named }, content);
}

/** Copies a text that is shown nearby. */
export const copy = (text, what) => h("button", { type: "button", class: "quiet copy", "data-action": "copy", "data-text": text, "aria-label": `Copy ${what}`, title: `Copy ${what}` }, icon("copy"));

/** Less, a number, more, set. */
export function scale({ name, wanted, allow_scaling, removed }) {
  if (removed) return h("span", { class: "sub" }, "being removed");
  if (!allow_scaling) return h("span", { class: "sub", title: "Its declaration sets TASK#_ALLOW_SCALING to false" }, "fixed count");
  const reason = refusal("operate");
  return h(
    "span",
    { class: "scale", role: "group", "aria-label": `Instances of ${name}` },
    button({ action: "less", label: "One less" }, "−"),
    h("input", { type: "number", min: 0, step: 1, value: wanted, inputmode: "numeric", disabled: Boolean(reason), title: reason, "aria-label": `Wanted instances of ${name}` }),
    button({ action: "more", label: "One more" }, "+"),
    button({ action: "scale", workload: name, wanted }, "Scale"),
    h("span", { class: "by", "data-own": "by", "aria-live": "polite" }),
  );
}

/** A filter that lives in the address: changing it changes the address, and that the page. */
export function field(type, name, value, label) {
  return h("input", { type, name, value: value ?? "", placeholder: `${label}  /`, "aria-label": label, "data-filter": name, autocomplete: "off", spellcheck: "false" });
}

export function choice(name, value, label, options) {
  // What the address names and the list does not have is shown all the same.
  const known = options.some(([key]) => key === (value ?? ""));
  return h(
    "select",
    { "data-filter": name, "aria-label": label },
    (known ? options : [...options, [value, value]]).map(([key, text]) => h("option", { value: key, selected: key === (value ?? "") }, text)),
  );
}

/** A column's head that sorts: by it, the other way round, not at all. */
export function sortHead(text, key, page, parameters) {
  const { sort } = parameters;
  const next = sort === key ? `-${key}` : sort === `-${key}` ? "" : key;
  const order = sort === key ? "ascending" : sort === `-${key}` ? "descending" : "none";
  return h("th", { scope: "col", "aria-sort": order }, h("a", { href: address(page, { ...parameters, sort: next, offset: "" }) }, text));
}

export function pager({ total, offset, limit, items }, page, parameters) {
  if (total <= limit && offset === 0) return null;
  const to = (target, text) => {
    const possible = target >= 0 && target < total && target !== offset;
    return possible
      ? h("a", { href: address(page, { ...parameters, offset: target || "" }) }, text)
      : h("span", { class: "sub" }, text);
  };
  const last = Math.max(0, Math.floor((total - 1) / limit) * limit);
  return h(
    "div",
    { class: "pager", role: "navigation", "aria-label": "Parts of the list" },
    to(0, "« first"),
    to(Math.max(0, offset - limit), "‹ previous"),
    h("span", {}, `${count(total ? Math.min(offset + 1, total) : 0)}–${count(offset + items.length)} of ${count(total)}`),
    to(offset + limit, "next ›"),
    to(last, "last »"),
  );
}

/** How much of something is used, as a bar with words. */
export function meter(used, total, text, label) {
  const share = total > 0 ? Math.min(100, (100 * used) / total) : 0;
  return h(
    "div",
    { class: "meter", "data-high": share > 90 },
    h("div", { class: "track", role: "img", "aria-label": `${label}: ${text}` }, grow(h("div", { class: "fill" }), { width: share })),
    h("span", { class: "sub" }, text),
  );
}

export const fact = (label, value) => (value === null || value === undefined || value === "" || value === false ? null : [h("dt", {}, label), h("dd", {}, value)]);

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

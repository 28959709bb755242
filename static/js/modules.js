// What modules add: menus, columns, scripts, styles and pages of their own.

import { optional } from "./api.js";
import { h } from "./dom.js";

let modules = [];

export const all = () => modules;

/** Reads which modules there are, and brings in their files. */
export async function read() {
  const answer = await optional("modules");
  modules = Array.isArray(answer) ? answer : (answer?.items ?? []);
  for (const { name, scripts, styles } of modules) {
    for (const file of styles ?? []) load(h("link", { rel: "stylesheet", href: address(name, file) }));
    for (const file of scripts ?? []) load(h("script", { type: "module", src: address(name, file) }));
  }
}

const loaded = new Set();

/** Each file once, however often the modules are read. */
function load(element) {
  const file = element.getAttribute("href") ?? element.getAttribute("src");
  if (loaded.has(file)) return;
  loaded.add(file);
  if (element.nodeName === "SCRIPT") {
    // One that cannot be loaded keeps nobody waiting.
    scripts.push(new Promise((resolve) => (element.onload = element.onerror = resolve)));
  }
  document.head.append(element);
}

const scripts = [];

/** When the scripts of all modules have run. */
export const ready = () => Promise.all(scripts);

/** Where a file of a module is. */
export const address = (name, file) => `static-modules/${encodeURIComponent(name)}/${file.split("/").map(encodeURIComponent).join("/")}`;

export const menus = () =>
  modules.flatMap(({ name, menus: entries }) => (entries ?? []).map(({ title, page }) => ({ title, key: `${encodeURIComponent(name)}/${encodeURIComponent(page)}` })));

export const columns = () => modules.flatMap(({ name, columns: own }) => (own ?? []).map(({ key, title }) => ({ key: `${name}.${key}`, title })));

// A page of a module: HTML from its own directory, shown inside of this page. Its scripts are told.

import { raw } from "../api.js";
import { h, own } from "../dom.js";
import { address, all, ready } from "../modules.js";

let shown = null;

export async function show({ name, more }) {
  const module = all().find((one) => one.name === name);
  const page = more || module?.menus?.[0]?.page || "index";
  const title = module?.menus?.find((menu) => menu.page === page)?.title ?? name;
  const key = `${name}/${page}`;
  if (shown?.key !== key || !shown.element.isConnected) {
    const file = module?.pages?.[page] ?? (/\.html?$/.test(page) ? page : `${page}.html`);
    const text = await (await raw(address(name, file))).text();
    // Scripts in it do not run: those of a module are files, listed by it.
    const parsed = new DOMParser().parseFromString(text, "text/html");
    shown = { key, name, page, told: false, element: h("section", { class: "card module", "data-own": key, "data-key": key, "aria-label": title }, [...parsed.body.childNodes].map((node) => document.adoptNode(node))) };
  }
  return [h("div", { class: "head" }, h("h1", {}, title), h("span", { class: "sub" }, `module ${name}`)), own(shown.element)];
}

/** Tells the scripts of the module that their page is there. */
export async function after() {
  if (!shown || shown.told) return;
  shown.told = true;
  await ready();
  const detail = { module: shown.name, page: shown.page, element: shown.element };
  document.dispatchEvent(new CustomEvent("gantry:page", { detail }));
}

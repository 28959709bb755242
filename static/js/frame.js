// What is around every page: the menu, who is logged in.

import { h, icon, update } from "./dom.js";
import { current } from "./session.js";
import { menus } from "./modules.js";

const RAIL = "gantry-menu";
const narrow = matchMedia("(max-width: 56rem)");
const root = document.documentElement.dataset;
const button = document.getElementById("menu");
const shade = document.getElementById("shade");

/** Wide screens fold the menu to its icons, narrow ones show it over the page. */
export function menu() {
  if (narrow.matches) {
    root.drawer = root.drawer === "open" ? "" : "open";
    if (root.drawer) document.querySelector("nav a").focus();
  } else {
    root.rail = root.rail === "yes" ? "" : "yes";
    try {
      localStorage.setItem(RAIL, root.rail);
    } catch {
      // Without storage it is as wide as before at the next visit.
    }
  }
  tell();
  return false;
}

export function closeDrawer() {
  if (!root.drawer) return;
  root.drawer = "";
  tell();
}

function tell() {
  const open = narrow.matches ? root.drawer === "open" : root.rail !== "yes";
  button.setAttribute("aria-expanded", String(open));
  shade.hidden = !(narrow.matches && open);
}

export function startFrame() {
  try {
    root.rail = localStorage.getItem(RAIL) ?? "";
  } catch {
    // See above.
  }
  narrow.addEventListener("change", tell);
  document.addEventListener("keydown", (event) => event.key === "Escape" && root.drawer && (closeDrawer(), button.focus()));
  tell();
}

/** Marks where the reader is, and shows what depends on login and modules. */
export function showFrame(page) {
  const own = document.getElementById("module-menus");
  const entries = menus();
  own.hidden = !entries.length;
  update(own, h("div", {}, entries.map(({ title, key }) => h("a", { href: `#/module/${key}`, "data-page": `module/${key}`, "data-key": key, title }, icon("module"), h("span", {}, title)))));
  for (const link of document.querySelectorAll("nav a[data-page]")) {
    if (link.dataset.page === page) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  showSession();
}

function showSession() {
  const { access, user, level, providers } = current();
  // Who sends a password or a token with every request has no session that could be ended.
  const session = providers.includes(user?.via);
  const place = document.getElementById("session");
  place.hidden = access !== "login";
  if (place.hidden) return;
  const name = user?.name ?? user?.email ?? "not logged in";
  const content = user
    ? h(
        "details",
        { class: "menu", "data-menu": "session" },
        h("summary", {}, icon("person"), h("span", { class: "who" }, name), h("span", { class: "level" }, level ?? "no access")),
        h(
          "div",
          { class: "popup" },
          h("p", {}, h("strong", {}, name)),
          h("p", { class: "sub" }, [user.email, user.via && `via ${user.via}`].filter(Boolean).join(" · ")),
          session ? h("form", { method: "post", action: "logout" }, h("button", { type: "submit", id: "logout" }, "Log out")) : null,
          session ? h("button", { type: "button", class: "small", "data-action": "end-sessions", "data-whose": "mine" }, "Log out everywhere") : null,
          level === "admin" ? h("button", { type: "button", class: "small danger", "data-action": "end-sessions", "data-whose": "all" }, "Log everybody out") : null,
        ),
      )
    : h("a", { href: "login/" }, "Log in");
  update(place, h("div", {}, content));
}
document.addEventListener("click", ({ target }) => {
  for (const open of document.querySelectorAll("details.menu[open]")) if (!open.contains(target)) open.open = false;
});

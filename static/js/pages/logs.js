// The end of Gantry's own log.

import { raw } from "../api.js";
import { h } from "../dom.js";
import { choice } from "../widgets.js";

const LINES = "500";

let follow = true;
let wrap = false;

export async function show({ parameters }) {
  const lines = parameters.lines ?? LINES;
  const text = await (await raw("api/v1/logs", { lines, bytes: 1 << 20 })).text();
  return [
    h(
      "div",
      { class: "head" },
      h("h1", {}, "Logs"),
      h(
        "span",
        { class: "bar-of-controls" },
        choice("lines", lines, "How much", [["100", "100 lines"], [LINES, `${LINES} lines`], ["5000", "5,000 lines"]]),
        h("label", {}, h("input", { type: "checkbox", "data-log": "follow", checked: follow }), " follow"),
        h("label", {}, h("input", { type: "checkbox", "data-log": "wrap", checked: wrap }), " wrap"),
        h("a", { href: "api/v1/logs", download: "gantry.log" }, "download"),
      ),
    ),
    text ? h("pre", { class: wrap ? "log wrap" : "log", tabindex: 0, "aria-label": "Log" }, text) : h("p", { class: "empty" }, "Nothing has been logged yet."),
  ];
}

/** Keeps the end in sight while it is followed. */
export function after(shown) {
  const log = shown.querySelector(".log");
  if (log && follow) log.scrollTop = log.scrollHeight;
}

document.addEventListener("change", ({ target }) => {
  if (target.dataset?.log === "follow") follow = target.checked;
  if (target.dataset?.log === "wrap") wrap = target.checked;
  if (target.dataset?.log) document.dispatchEvent(new Event("refresh"));
});

// The log grows without events; it is read again while somebody looks.
setInterval(() => {
  if (location.hash.startsWith("#/logs") && follow && !document.hidden) document.dispatchEvent(new Event("refresh"));
}, 3_000);

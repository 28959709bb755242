// Keys. Nothing happens while somebody types, and nothing with Ctrl, Alt or Meta held.

import { help } from "./help.js";

/** `g`, then one of these. */
const GO = { o: "#/", s: "#/scaling", t: "#/tasks", d: "#/activity", a: "#/agents", c: "#/configuration", l: "#/logs" };

/** A second key counts within this time, in milliseconds. */
const TOGETHER = 1_500;

export function keyboard(pause) {
  let went = 0;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || document.querySelector("dialog[open]")) return;
    if (/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.nodeName) && event.target.type !== "checkbox") {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    const second = Date.now() - went < TOGETHER;
    went = 0;
    if (second && GO[event.key]) location.hash = GO[event.key];
    else if (event.key === "g") went = Date.now();
    else if (event.key === "p") pause();
    else if (event.key === "?") help();
    else if (event.key === "/") {
      const search = document.querySelector("#page input[type=search]");
      search?.focus();
      search?.select();
      if (!search) return;
    } else return;
    event.preventDefault();
  });
}

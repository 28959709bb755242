// Times that go on by themselves between two refreshes.

import { h } from "./dom.js";
import { absolute, duration, now } from "./format.js";

/** For how long something has been so; the moment itself on hover. */
export function since(millis, ago = false) {
  if (!millis) return h("span", { class: "sub" }, "–");
  return ticking({ "data-since": millis, "data-ago": ago, title: absolute(millis) });
}

/** How long until something happens. */
export function until(millis) {
  return ticking({ "data-until": millis, title: absolute(millis) });
}

function ticking(properties) {
  const element = h("time", { ...properties, class: "nowrap" });
  tick(element);
  return element;
}

function tick(element) {
  const { since, until, ago } = element.dataset;
  let text;
  if (until) {
    const left = Number(until) - now();
    text = left > 0 ? `in ${duration(left)}` : "any moment";
  } else {
    text = duration(now() - Number(since)) + (ago !== undefined ? " ago" : "");
  }
  if (element.textContent !== text) element.textContent = text;
}

setInterval(() => {
  if (!document.hidden) document.querySelectorAll("time[data-since], time[data-until]").forEach(tick);
}, 1000);

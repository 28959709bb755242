// The last minutes of a workload as a small picture: what was ready, and what was wanted.

import { h, s } from "./dom.js";
import { count, duration } from "./format.js";

const WIDTH = 120;
const HEIGHT = 28;

/** `trends` is the answer of `/api/v2/trends`, or null. */
export function sparkline(trends, name) {
  if (!trends) return null;
  const { ready, wanted } = trends.workloads[name] ?? {};
  if (!ready || ready.length < 2) return h("span", { class: "spark none" });
  const top = Math.max(1, ...ready, ...wanted);
  const x = (index) => (index / (ready.length - 1)) * WIDTH;
  const y = (value) => HEIGHT - 1.5 - (value / top) * (HEIGHT - 3);
  const line = (values) => values.map((value, index) => `${x(index).toFixed(1)},${y(value ?? 0).toFixed(1)}`).join(" ");
  const area = `0,${HEIGHT} ${line(ready)} ${WIDTH},${HEIGHT}`;
  const now = ready.at(-1);
  const label = `Ready in the last ${duration(trends.step_ms * (ready.length - 1))}: lowest ${count(Math.min(...ready))}, now ${count(now)} of ${count(wanted.at(-1))} wanted`;
  return h(
    "span",
    { class: "spark", title: label },
    s(
      "svg",
      { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": label },
      s("polygon", { class: "area", points: area }),
      s("polyline", { class: "wanted", points: line(wanted) }),
      s("polyline", { class: "ready", points: line(ready) }),
    ),
  );
}

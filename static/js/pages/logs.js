// The end of Gantry's own log.

import { raw } from "../api.js";
import { h } from "../dom.js";
import { viewer } from "../output.js";
import { choice } from "../widgets.js";

const LINES = "500";
/** Most that is read at once, in bytes. */
const BYTES = 1 << 20;

export async function show({ parameters }) {
  const lines = /^\d{1,5}$/.test(parameters.lines ?? "") ? parameters.lines : LINES;
  const source = {
    label: "Log",
    download: "api/v1/logs",
    file: "gantry.log",
    every: 3_000,
    async read() {
      return { text: await (await raw("api/v1/logs", { lines, bytes: BYTES })).text(), place: 0, fresh: true };
    },
  };
  return [
    h("div", { class: "head" }, h("h1", {}, "Logs"), choice("lines", lines, "How much", [["100", "100 lines"], [LINES, `${LINES} lines`], ["5000", "5,000 lines"]])),
    h("section", { "aria-label": "Log" }, viewer(`log ${lines}`, source)),
  ];
}

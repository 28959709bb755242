// A text that grows, followed: the output of a task, the log of Gantry. It keeps its own element, so
// that scrolling, selection and search survive every refresh of the page around it.

import { raw } from "./api.js";
import { toast } from "./confirm.js";
import { h, icon, own } from "./dom.js";
import { bytes, count } from "./format.js";

/** Most characters that are kept on the page; the oldest lines go first. */
const KEPT = 1_500_000;
/** How much is read at first, and at most at once, in bytes. */
const TAIL = 128 << 10;
const LIMIT = 256 << 10;
const EVERY = 1_000;
/** Most places of a search that are marked. */
const FOUND_MAX = 2_000;
const NARROW = matchMedia("(max-width: 46rem)").matches;
// Colours and other orders to a terminal.
const ESCAPES = /\u001b\[[0-9;?]*[A-Za-z]|\r(?=\n)/g;

const viewers = new Map();

/**
 * The viewer of this name, made at the first call. `source` has `read(place)`, which resolves to
 * `{ text, place, fresh, size, note, more }`, and may have `download`, an address, and `earlier`.
 */
export function viewer(name, source) {
  if (!viewers.has(name)) viewers.set(name, new Viewer(name, source));
  return own(viewers.get(name).element);
}

class Viewer {
  #source;
  #place = null;
  #follow = true;
  #busy = false;
  #found = [];
  #at = -1;
  #size = 0;

  constructor(name, source) {
    this.#source = source;
    const tool = (key, text, shape) => h("button", { type: "button", class: "small", "data-output": key }, shape ? icon(shape) : null, text);
    const option = (key, text, checked) => h("label", {}, h("input", { type: "checkbox", "data-output": key, checked }), text);
    this.log = h("pre", { class: NARROW ? "log wrap" : "log", tabindex: 0, role: "log", "aria-live": "off", "aria-label": source.label });
    this.state = h("span", { class: "sub", role: "status" });
    this.hits = h("span", { class: "sub hits", role: "status" });
    this.search = h("input", { type: "search", "data-output": "search", placeholder: "Search  /", "aria-label": `Search in ${source.label}`, autocomplete: "off", spellcheck: "false" });
    this.element = h(
      "div",
      { class: "output", "data-own": name, "data-key": name },
      h(
        "div",
        { class: "bar-of-controls" },
        this.search,
        tool("previous", "‹ previous"),
        tool("next", "next ›"),
        this.hits,
        h("span", { class: "spring" }),
        option("follow", "follow", true),
        option("wrap", "wrap", NARROW),
        source.earlier ? tool("earlier", "Earlier") : null,
        tool("end", "To the end"),
        source.download ? h("a", { href: source.download, download: source.file ?? "", "data-output": "download" }, "download") : null,
      ),
      this.log,
      this.state,
    );
    this.element.addEventListener("click", ({ target }) => this.#pressed(target.closest("[data-output]")?.dataset.output));
    this.element.addEventListener("change", ({ target }) => this.#chosen(target));
    this.search.addEventListener("input", () => this.#look(0));
    this.search.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      this.#step(event.shiftKey ? -1 : 1);
    });
    // Who scrolls up wants to read; who comes back to the end wants to follow.
    this.log.addEventListener("scroll", () => {
      const atEnd = this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < 24;
      if (atEnd !== this.#follow && !this.#busy) this.#setFollow(atEnd);
    });
    this.#read();
  }

  async #read() {
    if (!document.hidden && (this.#follow || this.#place === null)) {
      try {
        let got;
        do {
          got = await this.#source.read(this.#place, { tail: TAIL, limit: LIMIT });
          this.#take(got);
        } while (got.more && this.element.isConnected);
      } catch (error) {
        if (!("status" in error)) throw error;
        this.state.textContent = `${error.message}${error.remedy ? `. ${error.remedy}` : ""}`;
        if (this.#place === null) this.log.classList.add("nothing");
      }
    }
    setTimeout(() => {
      // Nobody looks any more: it is begun anew when somebody does.
      if (this.element.isConnected) this.#read();
      else viewers.delete(this.element.dataset.own);
    }, this.#source.every ?? EVERY);
  }

  #take({ text, place, fresh, size, note }) {
    const first = this.#place === null;
    this.#place = place;
    if (size !== undefined) this.#size = size;
    const clean = text.replace(ESCAPES, "");
    if (fresh) {
      if (this.log.textContent !== clean) this.log.textContent = clean;
    } else if (clean) this.log.append(clean);
    if (clean || fresh) this.#trim();
    this.log.classList.toggle("nothing", !this.log.textContent);
    this.#tell(note);
    if (first || (this.#follow && (clean || fresh))) this.#toEnd();
    if (clean && this.search.value) this.#look();
  }

  #tell(note) {
    const size = this.#size ? ` of ${bytes(this.#size)}` : "";
    const shown = this.log.textContent.length;
    this.state.textContent = note ?? (shown ? `${bytes(shown)}${size} shown${this.#follow ? ", following" : ", paused"}` : "Nothing has been written yet.");
  }

  /** Keeps what is shown within bounds, in whole lines. */
  #trim() {
    const { textContent } = this.log;
    if (textContent.length <= KEPT) return;
    const cut = textContent.indexOf("\n", textContent.length - KEPT) + 1;
    this.log.textContent = textContent.slice(cut);
  }

  #toEnd() {
    this.log.scrollTop = this.log.scrollHeight;
  }

  #setFollow(on) {
    this.#follow = on;
    this.element.querySelector("[data-output=follow]").checked = on;
    this.#tell();
  }

  #chosen({ dataset, checked }) {
    if (dataset.output === "wrap") this.log.classList.toggle("wrap", checked);
    if (dataset.output !== "follow") return;
    this.#setFollow(checked);
    if (checked) this.#toEnd();
  }

  async #pressed(what) {
    if (what === "next") this.#step(1);
    if (what === "previous") this.#step(-1);
    if (what === "end") {
      this.#setFollow(true);
      this.#toEnd();
    }
    if (what === "earlier") await this.#earlier();
  }

  async #earlier() {
    this.#setFollow(false);
    this.#busy = true;
    try {
      const before = await this.#source.earlier({ limit: LIMIT });
      if (!before) return toast("This is the beginning.");
      const height = this.log.scrollHeight;
      this.log.prepend(before.replace(ESCAPES, ""));
      this.log.normalize();
      // What was in sight stays in sight.
      this.log.scrollTop += this.log.scrollHeight - height;
      this.#look();
      this.#tell();
    } catch (error) {
      toast(error.message, true);
    } finally {
      this.#busy = false;
    }
  }

  /** Marks what is searched for; the text itself stays as it is. */
  #look(at) {
    const wanted = this.search.value.toLowerCase();
    this.#found = [];
    if (wanted) {
      this.log.normalize();
      const node = this.log.firstChild;
      const text = node?.data.toLowerCase() ?? "";
      for (let index = text.indexOf(wanted); index >= 0 && this.#found.length < FOUND_MAX; index = text.indexOf(wanted, index + wanted.length)) {
        const range = new Range();
        range.setStart(node, index);
        range.setEnd(node, index + wanted.length);
        this.#found.push(range);
      }
    }
    if (at !== undefined) this.#at = -1;
    this.#mark();
  }

  #step(by) {
    if (!this.#found.length) this.#look(0);
    if (!this.#found.length) return;
    // From the end backwards is what one reads in a log.
    this.#at = this.#at < 0 ? (by > 0 ? 0 : this.#found.length - 1) : (this.#at + by + this.#found.length) % this.#found.length;
    this.#setFollow(false);
    this.#busy = true;
    const { top } = this.#found[this.#at].getBoundingClientRect();
    const box = this.log.getBoundingClientRect();
    this.log.scrollTop += top - box.top - box.height / 2;
    this.#mark();
    requestAnimationFrame(() => (this.#busy = false));
  }

  #mark() {
    const all = this.#found.length;
    const many = all === FOUND_MAX ? `${count(all)}+` : count(all);
    this.hits.textContent = !this.search.value ? "" : all ? (this.#at >= 0 ? `${count(this.#at + 1)} of ${many}` : `${many} found`) : "not found";
    if (!("highlights" in CSS)) return;
    CSS.highlights.set("found", new Highlight(...this.#found));
    CSS.highlights.set("found-here", new Highlight(...(this.#at >= 0 && this.#found[this.#at] ? [this.#found[this.#at]] : [])));
  }
}

/** What a task writes, read from its agent. */
export function outputOf(id, stream, alive) {
  const path = `api/v2/tasks/${encodeURIComponent(id)}/output/${stream}`;
  const decoder = new TextDecoder();
  let begin = null;
  const read = async (parameters) => {
    const answer = await raw(path, parameters);
    return { offset: Number(answer.headers.get("x-gantry-offset") ?? 0), size: Number(answer.headers.get("x-gantry-size") ?? 0), data: new Uint8Array(await answer.arrayBuffer()) };
  };
  /** Drops the line that was cut at the beginning. */
  const whole = (data, offset) => {
    const cut = offset > 0 ? data.indexOf(10) + 1 : 0;
    return [data.subarray(cut), offset + cut];
  };
  return {
    label: stream,
    file: `${id}.${stream}`,
    download: `${path}?download=1`,
    every: alive ? EVERY : 10_000,
    async read(place, { tail, limit }) {
      if (place === null) {
        const { offset, size, data } = await read({ tail });
        const [lines, from] = whole(data, offset);
        begin = from;
        return { text: decoder.decode(lines, { stream: true }), place: offset + data.length, fresh: true, size };
      }
      const { offset, size, data } = await read({ offset: place, limit });
      // A file that has become shorter was begun anew.
      if (size < place) return this.read(null, { tail, limit });
      return { text: decoder.decode(data, { stream: true }), place: offset + data.length, fresh: false, size, more: offset + data.length < size && data.length > 0 };
    },
    async earlier({ limit }) {
      if (!begin) return null;
      const from = Math.max(0, begin - limit);
      const { offset, data } = await read({ offset: from, limit: begin - from });
      const [lines, start] = whole(data, offset);
      begin = start;
      return new TextDecoder().decode(lines);
    },
  };
}

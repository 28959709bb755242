// Keeping up with the server: by its events, and by asking every few seconds while there are none.

import { duration } from "./format.js";

/** Events in a burst lead to one refresh; refreshes are at least so far apart. */
const APART = 1_000;
const POLL = 5_000;
/** The server sends something every 15 s: after this time of silence what is shown may be old. */
const STALE = 20_000;
/** The same while it cannot be reached at all. */
const LOST = 3_000;
/** How long until events are tried again after the server refused them. */
const AGAIN = 30_000;

const EVENTS = ["task", "scaled", "workload_changed", "deployment", "connection", "unknown_task", "brake", "module", "audit", "lagged", "snapshot"];

const WORDS = { live: "live", connecting: "connecting", reconnecting: "reconnecting", polling: "every 5 s" };

export class Live {
  #refresh;
  #heard = Date.now();
  #last = 0;
  #timer = null;
  #state = "connecting";
  #source = null;
  #paused = null;
  #every = null;
  #element = document.getElementById("live");
  #text = document.getElementById("live-text");

  /** `refresh` reads everything again, and answers whether the server could be reached. */
  constructor(refresh) {
    this.#refresh = refresh;
    setInterval(() => this.#watch(), 1_000);
    document.addEventListener("visibilitychange", () => document.hidden || this.soon());
  }

  /** Refreshes in a moment, however often it is called. */
  soon() {
    if (this.#timer !== null || document.hidden || this.#paused) return;
    const wait = Math.max(0, this.#last + APART - Date.now());
    this.#timer = setTimeout(async () => {
      this.#last = Date.now();
      try {
        if (await this.#refresh()) this.#heard = Date.now();
        else if (this.#state === "live") this.#become("reconnecting");
      } finally {
        this.#timer = null;
        this.#last = Date.now();
      }
    }, wait);
  }

  /** Refreshes so often (in milliseconds) also when nothing is told: for what no event tells of. */
  atLeast(every) {
    this.#every = every ?? null;
  }

  /** Says whether the server tells events: a stand-by does not. */
  follow(tells) {
    if (!tells && this.#source === null) this.#become("polling");
    if (tells === (this.#source !== null)) return;
    if (tells) {
      this.#connect();
      return;
    }
    this.#source.close();
    this.#source = null;
    this.#become("polling");
  }

  /** Holds the page as it is, or goes on. */
  pause() {
    this.#paused = this.#paused ? null : Date.now();
    const button = document.getElementById("pause");
    button.setAttribute("aria-pressed", String(Boolean(this.#paused)));
    button.setAttribute("aria-label", this.#paused ? "Go on" : "Pause");
    button.querySelector("use").setAttribute("href", `static/icons.svg#${this.#paused ? "play" : "pause"}`);
    this.#watch();
    this.soon();
    return false;
  }

  get paused() {
    return Boolean(this.#paused);
  }

  #connect() {
    const source = new EventSource("api/v2/events");
    this.#source = source;
    source.onopen = () => this.#become("live");
    for (const name of EVENTS) source.addEventListener(name, () => this.#told(true));
    source.addEventListener("ping", () => this.#told(false));
    source.onerror = () => {
      const refused = source.readyState === EventSource.CLOSED;
      this.#become(refused ? "polling" : "reconnecting");
      if (refused) setTimeout(() => this.#source === source && this.#connect(), AGAIN);
    };
  }

  #told(changed) {
    this.#heard = Date.now();
    this.#become("live");
    if (changed) this.soon();
  }

  #watch() {
    const every = this.#state === "live" ? this.#every : POLL;
    if (every && Date.now() - this.#last > every) this.soon();
    this.#show();
  }

  #become(state) {
    this.#state = state;
    this.#show();
  }

  #show() {
    const silent = Date.now() - this.#heard;
    const stale = silent > (this.#state === "reconnecting" ? LOST : STALE);
    const state = this.#paused ? "paused" : stale ? "stale" : this.#state;
    const word = this.#paused ? `paused for ${duration(Date.now() - this.#paused)}` : stale ? `stale since ${duration(silent)}` : WORDS[state];
    this.#element.dataset.state = state;
    if (this.#text.textContent !== word) this.#text.textContent = word;
  }
}

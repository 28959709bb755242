// Keeping up with the server: by its events, and by asking every few seconds while there are none.

/** Events in a burst lead to one refresh; refreshes are at least so far apart. */
const APART = 1_000;
const POLL = 5_000;
/** The server sends something every 15 s: after this time of silence what is shown may be old. */
const STALE = 35_000;
/** How long until events are tried again after the server refused them. */
const AGAIN = 30_000;

const EVENTS = ["task", "scaled", "workload_changed", "deployment", "connection", "unknown_task", "brake", "audit", "lagged", "snapshot"];

export class Live {
  #refresh;
  #show;
  #heard = Date.now();
  #last = 0;
  #timer = null;
  #state = "connecting";
  #source = null;

  /** `refresh` reads everything again; `show(state)` tells the reader. */
  constructor(refresh, show) {
    this.#refresh = refresh;
    this.#show = show;
    setInterval(() => this.#watch(), 1_000);
    document.addEventListener("visibilitychange", () => document.hidden || this.soon());
  }

  /** Refreshes in a moment, however often it is called. */
  soon() {
    if (this.#timer !== null || document.hidden) return;
    const wait = Math.max(0, this.#last + APART - Date.now());
    this.#timer = setTimeout(async () => {
      this.#last = Date.now();
      try {
        if (await this.#refresh()) this.#heard = Date.now();
      } finally {
        this.#timer = null;
        this.#last = Date.now();
      }
    }, wait);
  }

  /** Says whether the server tells events: a stand-by does not. */
  follow(tells) {
    if (tells === (this.#source !== null)) return;
    if (tells) {
      this.#connect();
      return;
    }
    this.#source.close();
    this.#source = null;
    this.#become("polling");
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
    const silent = Date.now() - this.#heard;
    if (this.#state !== "live" && Date.now() - this.#last > POLL) this.soon();
    this.#show(silent > STALE ? "stale" : this.#state, silent);
  }

  #become(state) {
    this.#state = state;
    this.#show(state, 0);
  }
}

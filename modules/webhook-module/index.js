// Posts changes of tasks' states to a URL, in batches, in order, and again until they are taken:
// also across restarts and changes of the leader, because what is not yet sent is kept in the
// store. A receiver may therefore see a batch twice: each change has an `id` to tell by.
//
// Variables (set them for Gantry; `MODULE_FETCH_ALLOW` must contain the URL's host):
//
//   MODULE_WEBHOOK_URL     where to. Without it the module rests.
//   MODULE_WEBHOOK_TOKEN   sent as `Authorization: Bearer …`.
//   MODULE_WEBHOOK_STATES  states to tell of, with commas between.
//                          Default TASK_FAILED,TASK_LOST,TASK_ERROR,TASK_UNREACHABLE,TASK_GONE.
//   MODULE_WEBHOOK_EVERY   seconds between two batches. Default 5.
//
// Body: {"framework": "…", "changes": [{"id", "at", "task", "type", "instance", "state", "reason", "message"}]}
// API: GET /api/v1/webhook -> {"waiting", "sent", "dropped", "error"}

// A batch has to fit into one value of the state (16 KiB), and so does what waits.
const BATCH = 10;
const KEPT = 20 * BATCH;

export default (gantry) => {
  const { URL, TOKEN, STATES = "TASK_FAILED,TASK_LOST,TASK_ERROR,TASK_UNREACHABLE,TASK_GONE", EVERY = "5" } = gantry.env;
  if (!URL) {
    console.warn("MODULE_WEBHOOK_URL is not set: nothing to do");
    return;
  }
  const states = new Set(STATES.split(",").map((state) => state.trim()));
  const sums = { sent: 0, dropped: 0, ...gantry.state.get("sums") };
  let waiting = gantry.state.keys()
    .filter((key) => key.startsWith("batch-"))
    .sort()
    .flatMap((key) => gantry.state.get(key));
  let error = null;
  let failures = 0;
  let pause = 0;
  let changed = false;

  const cut = (text, length) => (text && text.length > length ? `${text.slice(0, length)}…` : (text ?? null));
  gantry.onStatus((event) => {
    if (!states.has(event.state)) return;
    const { id, at, task, type, instance, state } = event;
    waiting.push({ id, at, task, type, instance, state, reason: cut(event.reason, 100), message: cut(event.message, 300) });
    changed = true;
    if (waiting.length > KEPT) {
      sums.dropped += waiting.length - KEPT;
      waiting = waiting.slice(-KEPT);
    }
  });

  // What waits is kept as batches of a few changes each: only what has changed is written.
  let kept = new Map();
  const keep = async () => {
    if (!changed) return;
    changed = false;
    const now = new Map();
    for (let at = 0; at < waiting.length; at += BATCH) {
      now.set(`batch-${String(at / BATCH).padStart(2, "0")}`, JSON.stringify(waiting.slice(at, at + BATCH)));
    }
    for (const [key, json] of now) {
      if (kept.get(key) !== json) await gantry.state.set(key, JSON.parse(json));
    }
    for (const key of gantry.state.keys()) {
      if (key.startsWith("batch-") && !now.has(key)) await gantry.state.delete(key);
    }
    await gantry.state.set("sums", sums);
    kept = now;
  };

  gantry.every(1000 * Number(EVERY), async () => {
    await keep();
    if (waiting.length === 0 || pause-- > 0) return;
    const batch = waiting.slice(0, BATCH);
    try {
      const answer = await fetch(URL, {
        method: "POST",
        headers: TOKEN ? { authorization: `Bearer ${TOKEN}` } : {},
        json: { framework: gantry.framework.name, changes: batch },
        timeout: 5000,
      });
      if (!answer.ok) throw new Error(`the receiver answered ${answer.status}`);
      const taken = new Set(batch.map((change) => change.id));
      waiting = waiting.filter((change) => !taken.has(change.id));
      sums.sent += batch.length;
      changed = true;
      error = null;
      failures = 0;
      await keep();
    } catch (thrown) {
      // Each failure in a row doubles the rounds that are left out, up to about five minutes.
      error = thrown.message;
      failures = Math.min(failures + 1, 6);
      pause = 2 ** failures - 1;
      console.warn(`not sent, will be tried again: ${error}`);
    }
  });

  gantry.route("GET", "/webhook", () => ({
    json: { waiting: waiting.length, sent: sums.sent, dropped: sums.dropped, error },
  }));
};

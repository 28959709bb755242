// Waiting for something to be so.

/** How long anything may take on a machine that is busy with other things. */
export const WITHIN = 60_000;

export const pause = (millis) => new Promise((resolve) => setTimeout(resolve, millis));

/** What `look` gives, as soon as it gives something. An error that it throws is a no for now. */
export async function until(what, look, within = WITHIN) {
  const deadline = Date.now() + within;
  let last;
  for (;;) {
    try {
      const found = await look();
      if (found) return found;
      last = found;
    } catch (error) {
      last = error;
    }
    if (Date.now() > deadline) throw new Error(`not within ${within / 1000} s: ${what} (at last: ${last instanceof Error ? last.message : JSON.stringify(last)})`);
    await pause(25);
  }
}

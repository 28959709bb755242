// Being asked, and being told.

import assert from "node:assert/strict";

/**
 * Answers the question that is shown: `typed` is what has to be typed, and less than it may not do;
 * `changes` are the instances that the question says are created, stopped and replaced; `button` is
 * what is pressed.
 */
export async function answer(page, { shows, changes, typed, reason, button }) {
  const dialog = page.locator("dialog[open]");
  await dialog.waitFor();
  if (shows) assert.match(await dialog.innerText(), shows);
  for (const [kind, names] of Object.entries(changes ?? {})) {
    const list = dialog.locator(`[data-change=${kind}]`);
    await list.waitFor();
    const told = (await list.locator("li").allInnerTexts()).map((text) => text.replace(/^\W+/, ""));
    assert.deepEqual(told.sort(), names, kind);
    assert.equal(await dialog.locator("[data-change]").count(), Object.keys(changes).length, "and nothing else changes");
  }
  const go = dialog.getByRole("button", { name: button, exact: true });
  const field = dialog.locator("#confirm-typed");
  assert.equal(await field.isVisible(), Boolean(typed), "whether something has to be typed");
  if (typed) {
    assert.equal(await go.isDisabled(), true, "nothing is typed yet");
    await field.fill(typed.slice(0, -1));
    assert.equal(await go.isDisabled(), true, "not all is typed yet");
    await field.fill(typed);
  }
  if (reason) await dialog.locator("#confirm-reason").fill(reason);
  await go.click();
  await dialog.waitFor({ state: "hidden" });
}

/** What the page tells of what was done. */
export async function toast(page, text) {
  await page.locator("#toasts .toast", { hasText: text }).first().waitFor();
}

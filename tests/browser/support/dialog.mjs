// Being asked, and being told.

import assert from "node:assert/strict";

/**
 * Answers the question that is shown: `typed` is what has to be typed, and less than it may not do;
 * `button` is what is pressed.
 */
export async function answer(page, { shows, typed, reason, button }) {
  const dialog = page.locator("dialog[open]");
  await dialog.waitFor();
  if (shows) assert.match(await dialog.innerText(), shows);
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

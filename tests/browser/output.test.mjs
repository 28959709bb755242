// What tasks write, followed in the page: while they live, and after they have ended.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";

import { launch, withPage } from "./support/browser.mjs";
import { World, declared } from "./support/gantry.mjs";
import { until } from "./support/wait.mjs";

/** Writes a line a second to stdout, and one to stderr; with what a page must not take for markup. */
const TALK = `
echo "<b>not bold</b> & \\"quoted\\"" >&2
for i in 1 2 3 4 5 6 7 8 9 10; do echo "early $i"; done
i=0; while true; do i=$((i+1)); echo "tick $i of the clock"; sleep 0.5; done`;

const TASKS = declared([
  { NAME: "talker", CMD: TALK },
  // More than a page keeps at first: 4 MB of numbered lines.
  { NAME: "flood", CMD: "seq 1 600000; exec sleep 100000" },
  { NAME: "brief", CMD: 'echo "all is done"; sleep 1; echo "it went wrong" >&2; exit 7' },
]);

describe("the output of a task", () => {
  let world, browser;

  before(async () => {
    world = await World.start(TASKS);
    browser = await launch();
    await until("the talker", async () => (await world.tasks())["talker-1"]);
    await until("the flood", async () => (await world.tasks())["flood-1"]);
  });
  after(async () => {
    await browser?.close();
    await world?.end();
  });

  const log = (page) => page.locator(".output pre.log");
  const ticks = async (page) => Math.max(0, ...[...(await log(page).innerText()).matchAll(/tick (\d+)/g)].map(([, number]) => Number(number)));
  const atEnd = (page) => log(page).evaluate((element) => element.scrollHeight - element.scrollTop - element.clientHeight < 24);

  test("is followed while it grows, until somebody wants to read", async () => {
    const { id } = (await world.tasks())["talker-1"];
    await withPage(browser, world.base, {}, async (page, { go }) => {
      await go(`#/tasks/${id}`);
      await log(page).getByText("early 10").waitFor();
      const first = await ticks(page);
      await until("three more lines", async () => (await ticks(page)) >= first + 3);
      assert.ok(await until("the end in sight", () => atEnd(page)));
      const follow = page.locator("[data-output=follow]");
      await follow.uncheck();
      // What was being read may still come; from then on it keeps still, until somebody wants more.
      let paused = await ticks(page);
      await until("the last that was being read", async () => {
        await page.waitForTimeout(1_500);
        const before = paused;
        paused = await ticks(page);
        return paused === before;
      });
      await page.waitForTimeout(1_500);
      assert.equal(await ticks(page), paused);
      await follow.check();
      await until("what was written meanwhile", async () => (await ticks(page)) > paused + 2);
    });
  });

  test("is text, and nothing else", async () => {
    const { id } = (await world.tasks())["talker-1"];
    await withPage(browser, world.base, {}, async (page, { go }) => {
      await go(`#/tasks/${id}`);
      await page.locator("[data-stream=stderr]").click();
      await log(page).getByText('<b>not bold</b> & "quoted"').waitFor();
      assert.equal(await log(page).locator("b").count(), 0);
      await page.waitForURL(/output=stderr/);
    });
  });

  test("is searched, wrapped and taken home", async () => {
    const { id } = (await world.tasks())["flood-1"];
    await withPage(browser, world.base, { acceptDownloads: true }, async (page, { go }) => {
      await go(`#/tasks/${id}`);
      await log(page).getByText("600000").waitFor();
      assert.ok((await log(page).evaluate((element) => element.textContent.length)) < 1 << 20, "only the end is read");
      await page.locator("[data-output=search]").fill("599123");
      await page.getByText("1 found").waitFor();
      await page.locator("[data-output=search]").press("Enter");
      await page.getByText("1 of 1").waitFor();
      const before = await log(page).evaluate((element) => element.textContent.length);
      await page.locator("[data-output=earlier]").click();
      await until("an earlier part", async () => (await log(page).evaluate((element) => element.textContent.length)) > before + 100_000);
      await page.locator("[data-output=wrap]").check();
      assert.match(await log(page).getAttribute("class"), /wrap/);
      const [download] = await Promise.all([page.waitForEvent("download"), page.locator("[data-output=download]").click()]);
      assert.match(download.suggestedFilename(), /flood-1.*stdout/);
      const whole = readFileSync(await download.path(), "utf8");
      assert.ok(whole.startsWith("1\n2\n3\n") && whole.endsWith("\n600000\n"), "all of it");
    });
  });

  test("outlives the task, as long as its agent keeps it", async () => {
    const run = await until("an end", async () => {
      const { history } = await world.get("/api/v2/workloads/brief/instances/1");
      return history[0];
    });
    await withPage(browser, world.base, {}, async (page, { go }) => {
      await go("#/instances/brief/1");
      await page.getByRole("heading", { level: 1, name: "brief-1" }).waitFor();
      await page.getByText("exited with status 7").first().waitFor();
      await page.locator(`a[href="#/tasks/${encodeURIComponent(run.id)}?output=stderr"]`).click();
      await page.getByText("This task has ended").waitFor();
      await log(page).getByText("it went wrong").waitFor();
      await page.locator("[data-stream=stdout]").click();
      await log(page).getByText("all is done").waitFor();
    });
  });
});

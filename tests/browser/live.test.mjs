// The page follows what happens, says when it cannot, and is worked with the keyboard.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { PHONE, launch, none, tooWide, withPage } from "./support/browser.mjs";
import { answer } from "./support/dialog.mjs";
import { World, declared } from "./support/gantry.mjs";
import { Proxy } from "./support/proxy.mjs";
import { until } from "./support/wait.mjs";

const TASKS = declared([
  { NAME: "web", NUM_INSTANCES: 3, CMD: "exec sleep 100000" },
  { NAME: "worker", NUM_INSTANCES: 2, CMD: "exec sleep 100000" },
]);
const ALL = ["web-1", "web-2", "web-3", "worker-1", "worker-2"];

/** What the browser itself says of a server that is away. */
const AWAY = [/ERR_CONNECTION|ERR_INCOMPLETE|ERR_EMPTY_RESPONSE|status of 503/];

describe("a page that is open", () => {
  let world, browser;

  before(async () => {
    world = await World.start(TASKS);
    browser = await launch();
    await world.runs(...ALL);
  });
  after(async () => {
    await browser?.close();
    await world?.end();
  });

  const live = (page, state) => page.locator(`#live[data-state=${state}]`).waitFor();
  const rows = (page) => page.locator("table [data-action=restart]");

  test("follows what happens without being asked", async () => {
    await withPage(browser, world.base, {}, async (page, { go }) => {
      await go("#/tasks");
      await live(page, "live");
      await world.ask("PUT", "/api/v2/workloads/worker/scale", { instances: 3 });
      await page.getByRole("link", { name: "worker-3" }).waitFor();
      await world.ask("PUT", "/api/v2/workloads/worker/scale", { instances: 2 });
      await page.getByRole("link", { name: "worker-3" }).waitFor({ state: "detached" });
    });
  });

  test("says that Gantry is away, and that it is back", async () => {
    await withPage(browser, world.base, { allowed: AWAY }, async (page, { go }) => {
      await go("#/tasks");
      await live(page, "live");
      await world.gantry.stop("SIGKILL");
      await live(page, "reconnecting");
      await page.getByText("Gantry cannot be reached").waitFor();
      // What was known stays.
      assert.equal(await rows(page).count(), ALL.length);
      await world.serve();
      await live(page, "live");
      await page.getByText("Gantry cannot be reached").waitFor({ state: "hidden" });
      await world.runs(...ALL);
      await until("all tasks on the page", async () => (await rows(page).count()) === ALL.length);
    });
  });

  test("restarts Gantry itself, once its name is typed", async () => {
    await withPage(browser, world.base, { allowed: AWAY }, async (page, { go }) => {
      await go("#/tasks");
      await live(page, "live");
      const before = await world.tasks();
      await page.locator("[data-action=framework-restart]").click();
      await answer(page, { typed: "browser", reason: "a new certificate", button: "Restart the framework" });
      assert.deepEqual(await world.gantry.ended, { code: 0, signal: null });
      await page.locator("[data-banner=away]").waitFor();
      await world.serve();
      await live(page, "live");
      const ids = (tasks) => Object.values(tasks).map(({ id }) => id).sort();
      assert.deepEqual(ids(await world.runs(...ALL)), ids(before), "no task has noticed");
    });
  });

  test("can be held still", async () => {
    await withPage(browser, world.base, {}, async (page, { go }) => {
      await go("#/tasks");
      await live(page, "live");
      await page.keyboard.press("p");
      await live(page, "paused");
      await world.ask("PUT", "/api/v2/workloads/worker/scale", { instances: 3 });
      await world.runs(...ALL, "worker-3");
      await page.waitForTimeout(2_000);
      assert.equal(await rows(page).count(), ALL.length);
      await page.locator("[data-action=pause]").click();
      await page.getByRole("link", { name: "worker-3" }).waitFor();
      await world.ask("PUT", "/api/v2/workloads/worker/scale", { instances: 2 });
      await page.getByRole("link", { name: "worker-3" }).waitFor({ state: "detached" });
    });
  });

  test("keeps its filters in the address", async () => {
    await withPage(browser, world.base, {}, async (page, { go }) => {
      await go("#/tasks");
      await page.keyboard.press("/");
      await page.keyboard.type("worker");
      await until("two rows", async () => (await rows(page).count()) === 2);
      await page.waitForURL(/#\/tasks\?q=worker$/);
      // Whoever is sent the address sees the same.
      await page.reload();
      await until("two rows", async () => (await rows(page).count()) === 2);
      assert.equal(await page.locator("input[name=q]").inputValue(), "worker");
      await page.getByText("Clear filters").click();
      await until("all rows", async () => (await rows(page).count()) === ALL.length);
      await page.locator("[data-filter=workload]").selectOption("web");
      await page.waitForURL(/workload=web/);
      await until("three rows", async () => (await rows(page).count()) === 3);
      await page.locator("[data-filter=state]").selectOption("trouble");
      await page.getByText("No live task matches").waitFor();
    });
  });

  test("sorts by what is asked for, in the address too", async () => {
    await withPage(browser, world.base, {}, async (page, { go }) => {
      await go("#/tasks");
      const head = page.getByRole("columnheader", { name: "Uptime" });
      await head.getByRole("link").click();
      await page.waitForURL(/sort=running/);
      await page.locator("th[aria-sort=ascending]", { hasText: "Uptime" }).waitFor();
      await head.getByRole("link").click();
      await page.locator("th[aria-sort=descending]", { hasText: "Uptime" }).waitFor();
    });
  });

  test("remembers its colours", async () => {
    await withPage(browser, world.base, { scheme: "light" }, async (page, { go }) => {
      await go();
      const paper = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
      const light = await paper();
      const button = page.locator("#theme");
      await button.click();
      assert.equal(await paper(), light);
      await button.click();
      assert.notEqual(await paper(), light);
      await page.reload();
      await button.waitFor();
      assert.notEqual(await paper(), light);
      await button.click();
      assert.equal(await paper(), light, "as the system again");
    });
  });

  test("is worked without a mouse", async () => {
    await withPage(browser, world.base, {}, async (page, { go }) => {
      await go();
      await page.keyboard.press("Tab");
      assert.equal(await page.evaluate(() => document.activeElement.textContent), "Skip to the content");
      await page.keyboard.press("Enter");
      assert.equal(await page.evaluate(() => document.activeElement.id), "main");
      await go("#/tasks");
      const restarts = (await world.get("/api/v2/audit")).items.filter(({ action }) => /restart/.test(action)).length;
      await rows(page).first().focus();
      await page.keyboard.press("Enter");
      await page.locator("dialog[open]").waitFor();
      await page.keyboard.press("Escape");
      await page.locator("dialog[open]").waitFor({ state: "hidden" });
      assert.equal((await world.get("/api/v2/audit")).items.filter(({ action }) => /restart/.test(action)).length, restarts, "nothing was done");
    });
  });

  test("is gone through by keys", async () => {
    await withPage(browser, world.base, {}, async (page, { go }) => {
      await go();
      for (const [key, name] of [["t", "Tasks"], ["s", "Scaling"], ["d", "Activity"], ["a", "Agents"], ["c", "Configuration"], ["l", "Logs"], ["o", "Overview"]]) {
        // Both within a moment, which a busy machine may not give.
        await until(name, async () => {
          await page.keyboard.press("g");
          await page.keyboard.press(key);
          return page.getByRole("heading", { level: 1, name }).waitFor({ timeout: 5_000 }).then(() => true);
        });
      }
      await page.keyboard.press("?");
      await page.locator("#keyboard[open]").waitFor();
      await page.keyboard.press("g");
      await page.keyboard.press("t");
      await page.keyboard.press("Escape");
      await page.locator("#keyboard").waitFor({ state: "hidden" });
      await page.getByRole("heading", { level: 1, name: "Overview" }).waitFor();
      // Who types means letters.
      await go("#/tasks");
      await page.keyboard.press("/");
      await page.keyboard.type("gt?p");
      assert.equal(await page.locator("input[data-filter=q]").inputValue(), "gt?p");
      assert.equal(await page.locator("#keyboard").isVisible(), false);
    });
  });

  test("has its menu behind a button on a phone", async () => {
    await withPage(browser, world.base, { viewport: PHONE, isMobile: true, hasTouch: true }, async (page, { go }) => {
      await go();
      const entry = page.locator("nav a[data-page=tasks]");
      await page.locator("header [data-action=menu]").click();
      await entry.click();
      await page.getByRole("heading", { level: 1, name: "Tasks" }).waitFor();
      await until("the menu to be away", async () => !(await entry.isVisible()) || !(await entry.evaluate((element) => element.getBoundingClientRect().left >= 0)));
    });
  });

  test("works below the path of a proxy", async () => {
    const proxy = await Proxy.start(() => world.base, "/service/web/");
    try {
      await withPage(browser, proxy.base, {}, async (page, { go }) => {
        const outside = [];
        page.on("request", (request) => new URL(request.url()).pathname.startsWith("/service/web/") || outside.push(request.url()));
        for (const [path, text] of [["", "web"], ["#/tasks", "web-1"], ["#/workloads/web", "web-1"], ["#/activity", "Activity"], ["#/configuration", "frameworkName"], ["#/logs", "subscribed"]]) {
          await go(path);
          await page.locator("#page", { hasText: text }).waitFor();
          none(await tooWide(page), path);
        }
        await live(page, "live");
        await go("#/workloads/web");
        await page.getByLabel("Wanted instances of web").fill("2");
        await page.getByLabel("Wanted instances of web").press("Enter");
        await page.locator("#confirm-go").click();
        await world.runs("web-1", "web-2", "worker-1", "worker-2");
        await page.getByRole("link", { name: "web-3" }).waitFor({ state: "detached" });
        await world.ask("PUT", "/api/v2/workloads/web/scale", { instances: 3 });
        await page.getByRole("link", { name: "web-3" }).waitFor();
        assert.deepEqual(outside, []);
      });
    } finally {
      await proxy.end();
    }
  });
});

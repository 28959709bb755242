// Everything that can be done to tasks and workloads, done by a person and seen to be done.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { dirname } from "node:path";
import { after, before, describe, test } from "node:test";

import { launch, withPage } from "./support/browser.mjs";
import { answer, toast } from "./support/dialog.mjs";
import { PROGRAM, WEB, World, declared } from "./support/gantry.mjs";
import { until } from "./support/wait.mjs";

const TASKS = declared([
  { NAME: "web", NUM_INSTANCES: 2, ...WEB },
  { NAME: "worker", NUM_INSTANCES: 1, CMD: "exec sleep 100000" },
  { NAME: "fixed", NUM_INSTANCES: 1, CMD: "exec sleep 100000", ALLOW_SCALING: "false" },
]);

describe("actions", () => {
  let world, browser;

  before(async () => {
    world = await World.start(TASKS);
    browser = await launch();
    await world.runs("web-1", "web-2", "worker-1", "fixed-1");
  });
  after(async () => {
    await browser?.close();
    await world?.end();
  });

  const audit = async () => (await world.get("/api/v2/audit")).items;
  const ids = (tasks) => Object.values(tasks).map(({ id }) => id);
  const workload = (page, name) => page.locator("article.workload").filter({ has: page.getByRole("link", { name, exact: true }) });

  test("scaling up, with a reason for the record", async () => {
    await withPage(browser, world.base, {}, async (page, { go }) => {
      await go();
      const web = workload(page, "web");
      await web.getByRole("button", { name: "One more" }).click();
      await web.getByRole("button", { name: "Scale" }).click();
      await answer(page, { shows: /From 2 to 3/, changes: { creates: ["web-3"] }, reason: "a busy evening", button: "Scale to 3" });
      await toast(page, "2 → 3");
      await world.runs("web-1", "web-2", "web-3", "worker-1", "fixed-1");
      await web.locator(".count", { hasText: "3 / 3" }).waitFor();
      const [entry] = await audit();
      assert.equal(entry.reason, "a busy evening");
      assert.match(entry.action, /scale/);
    });
  });

  test("scaling down with the keyboard alone; no is no", async () => {
    await withPage(browser, world.base, {}, async (page, { go }) => {
      await go();
      const count = page.getByLabel("Wanted instances of web");
      await count.fill("1");
      await count.press("Enter");
      await answer(page, { shows: /From 3 to 1/, changes: { stops: ["web-2", "web-3"] }, button: "Cancel" });
      assert.equal((await world.get("/api/v2/workloads/web")).wanted, 3);
      await count.fill("2");
      await count.press("Enter");
      await page.locator("#confirm [data-change=stops]", { hasText: "web-3" }).waitFor();
      // Enter in the dialogue means what is written on its button.
      await page.locator("#confirm-reason").press("Enter");
      await toast(page, "3 → 2");
      await world.runs("web-1", "web-2", "worker-1", "fixed-1");
    });
  });

  test("the same can be done from a shell, with the lines that the question shows", async () => {
    const shell = (line) => execFileSync("sh", ["-c", line], { env: { PATH: `${dirname(PROGRAM)}:${process.env.PATH}`, GANTRY_URL: world.base }, encoding: "utf8" });
    await withPage(browser, world.base, {}, async (page, { go }) => {
      await go("#/scaling");
      for (const [line, instances, reason] of [["cli", 4, "it's louder"], ["curl", 2, 'quiet, "at last"']]) {
        await page.getByLabel("Wanted instances of web").fill(String(instances));
        await page.getByLabel("Wanted instances of web").press("Enter");
        await page.locator("#confirm-reason").fill(reason);
        await page.getByText("The same from a shell").click();
        const text = await page.locator(`#confirm-${line}`).innerText();
        await page.locator("#confirm-cancel").click();
        shell(text);
        const wanted = async () => (await world.get("/api/v2/workloads/web")).wanted;
        assert.equal(await wanted(), instances, text);
        assert.equal((await audit())[0].reason, reason);
        await until("the number on the page", async () => (await page.locator('[data-action=scale][data-workload="web"]').getAttribute("data-wanted")) === String(instances));
      }
    });
    await world.runs("web-1", "web-2", "worker-1", "fixed-1");
  });

  test("scaling to nothing has to be typed", async () => {
    await withPage(browser, world.base, {}, async (page, { go }) => {
      await go("#/workloads/worker");
      await page.getByLabel("Wanted instances of worker").fill("0");
      await page.getByRole("button", { name: "Scale", exact: true }).click();
      await answer(page, { typed: "worker", button: "Scale to 0" });
      await world.runs("web-1", "web-2", "fixed-1");
      await page.getByLabel("Wanted instances of worker").fill("1");
      await page.getByRole("button", { name: "Scale", exact: true }).click();
      await answer(page, { button: "Scale to 1" });
      await world.runs("web-1", "web-2", "worker-1", "fixed-1");
    });
  });

  test("what may not be scaled has no way to", async () => {
    await withPage(browser, world.base, {}, async (page, { go }) => {
      await go();
      const fixed = workload(page, "fixed");
      await fixed.waitFor();
      assert.equal(await fixed.getByRole("button", { name: "Scale" }).count(), 0);
    });
  });

  test("restarting a task replaces it and no other", async () => {
    const before = await world.tasks();
    await withPage(browser, world.base, {}, async (page, { go }) => {
      await go("#/tasks");
      await page.locator(`[data-action=restart][data-task="${before["web-1"].id}"]`).click();
      await answer(page, { shows: /web-1/, changes: { replaces: ["web-1"] }, button: "Restart" });
      await toast(page, "being restarted");
      const after = await until("another task in web-1", async () => {
        const tasks = await world.runs("web-1", "web-2", "worker-1", "fixed-1");
        return tasks["web-1"].id !== before["web-1"].id ? tasks : null;
      });
      assert.equal(after["web-2"].id, before["web-2"].id);
      // The page has followed.
      await page.locator(`[data-task="${after["web-1"].id}"]`).waitFor();
    });
  });

  test("a rolling restart replaces all of a workload, one after the other", async () => {
    const before = await world.tasks();
    await withPage(browser, world.base, {}, async (page, { go }) => {
      await go("#/workloads/web");
      await page.locator("[data-action=rolling][data-workload=web]").click();
      await answer(page, { typed: "web", changes: { replaces: ["web-1", "web-2"] }, reason: "new certificates", button: "Restart all, one by one" });
      await toast(page, "has begun");
      const after = await until("other tasks", async () => {
        const tasks = await world.runs("web-1", "web-2", "worker-1", "fixed-1");
        return tasks["web-1"].id !== before["web-1"].id && tasks["web-2"].id !== before["web-2"].id ? tasks : null;
      });
      assert.equal(after["worker-1"].id, before["worker-1"].id);
      await go("#/activity");
      await page.getByText("new certificates").waitFor();
      await until("the end of the deployment on the page", () => page.locator("#page article.workload").first().innerText().then((text) => /done/.test(text)));
    });
  });

  test("killing all of a workload needs its name", async () => {
    const before = await world.tasks();
    await withPage(browser, world.base, {}, async (page, { go }) => {
      await go("#/workloads/worker");
      await page.locator("[data-action=kill][data-workload=worker]").click();
      await answer(page, { typed: "worker", changes: { stops: ["worker-1"] }, button: "Kill them" });
      await toast(page, "being stopped");
      const after = await until("another worker", async () => {
        const tasks = await world.runs("web-1", "web-2", "worker-1", "fixed-1");
        return tasks["worker-1"].id !== before["worker-1"].id ? tasks : null;
      });
      assert.equal(after["web-1"].id, before["web-1"].id);
    });
  });

  test("killing everything needs more", async () => {
    const before = await world.tasks();
    await withPage(browser, world.base, {}, async (page, { go }) => {
      await go("#/tasks");
      await page.locator('[data-action=kill][data-workload=""]').click();
      await answer(page, { typed: "kill all", reason: "a bad day", button: "Kill them" });
      await toast(page, "4 tasks are being stopped");
      await until("other tasks everywhere", async () => {
        const tasks = await world.runs("web-1", "web-2", "worker-1", "fixed-1");
        return ids(tasks).every((id) => !ids(before).includes(id));
      });
      assert.equal((await audit())[0].reason, "a bad day");
    });
  });

  test("a refusal is told with its remedy", async () => {
    // The browser itself tells of the refusal too.
    await withPage(browser, world.base, { allowed: [/status of 4\d\d/] }, async (page, { go }) => {
      await go();
      await page.getByLabel("Wanted instances of web").fill("99999999");
      await page.getByLabel("Wanted instances of web").press("Enter");
      await page.locator("#confirm-go").click();
      await page.locator(".toast.bad").waitFor();
      assert.equal((await world.get("/api/v2/workloads/web")).wanted, 2);
    });
  });
});

// Ten thousand tasks, while hundreds of them come and go.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { launch, longestTask, none, tooWide, withPage } from "./support/browser.mjs";
import { World, declared } from "./support/gantry.mjs";
import { WITHIN, until } from "./support/wait.mjs";

const WORKLOADS = 20;
const EACH = 500;

/** Longest that the page may be deaf to a key, in milliseconds of processor time. */
const DEAF_MAX = 300;

describe("ten thousand tasks", () => {
  let world, browser;

  before(async () => {
    const tasks = Array.from({ length: WORKLOADS }, (_, index) => ({ NAME: `work-${index}`, NUM_INSTANCES: EACH, CMD: "sleep 100000", CPUS: 0.01, MEM: 1 }));
    world = await World.start(declared(tasks), { agents: 500, simulated: true });
    browser = await launch();
    await running(WORKLOADS * EACH);
  });
  after(async () => {
    await browser?.close();
    await world?.end();
  });

  const running = (wanted) => until(`${wanted} running tasks`, async () => (await world.get("/api/v2/overview")).totals.counts.running === wanted, 5 * WITHIN);

  test("stay at hand while they change", async (context) => {
    await withPage(browser, world.base, {}, async (page, { go }) => {
      await go();
      await page.getByText("10,000").first().waitFor();
      none(await tooWide(page), "overview");
      await go("#/tasks");
      const rows = page.locator("#page tbody [data-action=restart]");
      await rows.first().waitFor();
      const shown = await rows.count();
      assert.ok(shown >= 50 && shown <= 200, `${shown} rows: the server pages`);

      // 1,500 tasks are replaced while somebody looks for one of another workload.
      const deaf = await longestTask(browser, page, async () => {
        for (const index of [0, 1, 2]) await world.ask("POST", "/api/v2/kill", { workload: `work-${index}` });
        await page.locator("input[type=search]").pressSequentially("work-19-50", { delay: 60 });
        await until("what was looked for", async () => (await rows.count()) === 2);
        assert.equal(await page.locator("input[type=search]").inputValue(), "work-19-50", "no letter is lost");
        await running(WORKLOADS * EACH);
        await page.getByRole("link", { name: "work-19-500" }).waitFor();
      });
      context.diagnostic(`deaf for at most ${deaf} ms of processor time`);
      assert.ok(deaf < DEAF_MAX, `the page was deaf for ${deaf} ms of processor time`);
    });
  });

  test("are leafed through", async () => {
    await withPage(browser, world.base, {}, async (page, { go }) => {
      await go("#/tasks?workload=work-7");
      const first = () => page.locator("#page tbody [data-action=restart]").first().getAttribute("data-task");
      await page.locator("#page tbody [data-action=restart]").first().waitFor();
      const before = await first();
      await page.getByRole("link", { name: /next/ }).click();
      await page.waitForURL(/offset=100/);
      await until("the next part", async () => (await first()) !== before);
      await page.goBack();
      await until("the first part", async () => (await first()) === before);
    });
  });
});

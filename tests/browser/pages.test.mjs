// Every page as a person meets it: in light and dark, on a desk and on a phone.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { DESKTOP, PHONE, barriers, launch, none, screenshot, shown, tooWide, withPage } from "./support/browser.mjs";
import { WEB, World, declared } from "./support/gantry.mjs";
import { until } from "./support/wait.mjs";

/** Work in every condition: well, many, failing, and such that no agent has room for it. */
const TASKS = declared([
  { NAME: "web", NUM_INSTANCES: 3, ...WEB },
  { NAME: "worker", NUM_INSTANCES: 2, CMD: 'echo "begun"; exec sleep 100000' },
  { NAME: "broken", CMD: 'echo "it cannot work" >&2; exit 3' },
  { NAME: "huge", CMD: "exec sleep 100000", CPUS: 64 },
]);

describe("every page", () => {
  let world, browser, task, deployment;

  before(async () => {
    world = await World.start(TASKS);
    browser = await launch();
    const tasks = await until("all but what cannot run", async () => {
      const running = await world.tasks();
      return Object.keys(running).filter((name) => /^(web|worker)-/.test(name)).length === 5 ? running : null;
    });
    await until("a failure", async () => {
      const { items } = await world.get("/api/v2/workloads");
      return items.find(({ name }) => name === "broken").counts.backing_off > 0;
    });
    // What can be seen on the page of activity.
    await world.ask("PUT", "/api/v2/workloads/worker/scale", { instances: 3, reason: "more to do" });
    task = tasks["web-1"];
    await world.ask("POST", "/api/v2/rolling-restarts", { workload: "worker" });
    await until("the end of the rolling restart", async () => {
      [deployment] = (await world.get("/api/v2/deployments")).items;
      return deployment?.status === "done";
    });
  });
  after(async () => {
    await browser?.close();
    await world?.end();
  });

  /** Name, address, and what it has to show. */
  const pages = () => [
    ["overview", "", ["web", "worker", "broken", "huge", "Open access"]],
    ["tasks", "#/tasks", ["web-1", "web-2", "web-3", "worker-3", "running", "healthy"]],
    ["workload", "#/workloads/web", ["web-3", "healthy", "GET /health"]],
    ["workload-waiting", "#/workloads/huge", ["huge-1", "Nearest miss"]],
    ["workload-failing", "#/workloads/broken", ["broken-1", "failure"]],
    ["task", `#/tasks/${encodeURIComponent(task.id)}`, ["web-1", task.id, task.hostname, String(task.ports[0])]],
    ["instance", "#/instances/broken/1", ["broken-1", "failed"]],
    ["scaling", "#/scaling", ["web", "worker", "broken", "huge"]],
    ["activity", "#/activity", ["Rolling restart", "done", "more to do"]],
    ["deployment", `#/deployments/${deployment.id}`, ["worker", "done", "Before", "After", "worker-3"]],
    ["agents", "#/agents", ["agent-1.local", "agent-2.local", "web"]],
    ["agent", `#/agents/${encodeURIComponent(task.agent_id)}`, [task.hostname, "web-1", "CPUs"]],
    ["configuration", "#/configuration", ["frameworkName", "browser"]],
    ["logs", "#/logs", ["subscribed"]],
  ];

  for (const [device, viewport] of [["desktop", DESKTOP], ["phone", PHONE]]) {
    for (const scheme of ["light", "dark"]) {
      test(`${scheme}, ${device}`, async () => {
        await withPage(browser, world.base, { viewport, scheme, isMobile: device === "phone", hasTouch: device === "phone" }, async (page, { go }) => {
          const faults = [];
          for (const [name, path, texts] of pages()) {
            await go(path);
            for (const text of texts) await page.locator("body", { hasText: text }).waitFor();
            await screenshot(page, `${name}-${scheme}-${device}`);
            const found = [...(await tooWide(page)), ...(await barriers(page))];
            faults.push(...found.map((fault) => `${name}: ${fault}`));
          }
          none(faults, "not for everybody");
        });
      });
    }
  }

  test("what is not there is said, and the rest goes on", async () => {
    // The browser itself tells of an answer 404.
    await withPage(browser, world.base, { allowed: [/status of 404/] }, async (page, { go }) => {
      for (const path of ["#/workloads/none", "#/tasks/none", "#/workloads/%E0%A4%A"]) {
        await go(path);
        await page.getByRole("heading", { name: "Not here" }).waitFor();
      }
      await go("#/no-such-page");
      await page.getByRole("heading", { name: "Overview" }).waitFor();
      assert.equal(await page.locator("nav a[aria-current=page]").innerText(), "Overview");
    });
  });

  test("links lead where they say", async () => {
    await withPage(browser, world.base, {}, async (page, { go }) => {
      await go();
      for (const link of await page.locator("nav a").all()) {
        const title = await link.innerText();
        await link.click();
        await page.getByRole("heading", { level: 1, name: title }).waitFor();
        assert.equal(await page.locator("nav a[aria-current=page]").innerText(), title);
        assert.match(await page.title(), new RegExp(`^${title} · browser`));
      }
      await page.goBack();
      await shown(page);
    });
  });
});

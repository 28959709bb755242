// What modules add to the dashboard, and what it tells of those that are stopped.

import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";

import { PHONE, barriers, launch, none, screenshot, tooWide, withPage } from "./support/browser.mjs";
import { World, declared } from "./support/gantry.mjs";
import { until } from "./support/wait.mjs";

const MODULES = {
  "house-module": {
    "index.js": `
      export default (gantry) => {
        gantry.menu("House rules", "rules");
        gantry.page("rules", "rules.html");
        gantry.script("rules.js");
        gantry.style("rules.css");
        gantry.route("GET", "/rules/:kind", (req) => ({ json: { text: "quiet after " + (req.params.kind === "night" ? 22 : 20), who: req.caller.level } }));
        gantry.column({ key: "floor", title: "Floor", value: (task) => "floor " + task.number });
        gantry.leader((task) => task.type === "web" && task.number === 2);
        gantry.healthy((task) => (task.type === "web" ? task.number !== 3 : null));
        gantry.beforeRestart((change) => (change.instance === "web-1" ? { refuse: "web-1 is being repaired" } : undefined));
        gantry.beforeLaunch((launch) => (launch.type === "vetoed" ? { veto: "the cellar is flooded", retryAfter: 600 } : { env: { HOUSE: "warm" } }));
      };`,
    "rules.html": `<h2>Rules</h2><p>Tonight: <output>not known yet</output></p>`,
    "rules.css": `.module output { font-weight: 700; }`,
    "rules.js": `
      document.addEventListener("gantry:page", async ({ detail: { module, page, element } }) => {
        if (module !== "house" || page !== "rules") return;
        const answer = await fetch("api/v2/modules/house/rules/night");
        element.querySelector("output").textContent = (await answer.json()).text;
      });`,
  },
  "broken-module": { "index.js": `export default () => { throw new Error("the fuse is blown"); };` },
  "endless-module": { "index.js": `export default (gantry) => { gantry.onStatus(() => { for (;;); }); };` },
};

const TASKS = declared([
  { NAME: "web", NUM_INSTANCES: 3, CMD: 'echo "it is $HOUSE"; exec sleep 100000' },
  { NAME: "vetoed", CMD: "exec sleep 100000" },
]);

describe("modules", () => {
  let world, browser;

  before(async () => {
    world = await World.start(({ directory }) => {
      for (const [module, files] of Object.entries(MODULES)) {
        mkdirSync(join(directory, "modules", module), { recursive: true });
        for (const [file, text] of Object.entries(files)) writeFileSync(join(directory, "modules", module, file), text);
      }
      return TASKS;
    });
    browser = await launch();
    await until("three tasks", async () => Object.keys(await world.tasks()).length === 3);
    await until("the end of the endless one", async () => (await world.ask("GET", "/api/v2/modules")).text.match(/"stopped"/g)?.length === 2);
  });
  after(async () => {
    await browser?.close();
    await world?.end();
  });

  test("have a page, in the menu, with a script and a style", async () => {
    for (const [scheme, viewport] of [["light", undefined], ["dark", PHONE]]) {
      await withPage(browser, world.base, { scheme, ...(viewport && { viewport, isMobile: true }) }, async (page, { go }) => {
        await go();
        const entry = page.locator("nav a", { hasText: "House rules" });
        await entry.waitFor({ state: "attached" });
        if (viewport) await page.locator("header [data-action=menu]").click();
        await entry.click();
        await page.getByRole("heading", { level: 1, name: "House rules" }).waitFor();
        await page.getByText("quiet after 22").waitFor();
        assert.equal(await page.locator("#page output").evaluate((element) => getComputedStyle(element).fontWeight), "700");
        await screenshot(page, `module-${scheme}`);
        none([...(await tooWide(page)), ...(await barriers(page))], "the page of a module");
        // Also for whoever comes by its address.
        await page.reload();
        await page.getByText("quiet after 22").waitFor();
      });
    }
  });

  test("add columns to the list of tasks, who leads among them", async () => {
    await withPage(browser, world.base, {}, async (page, { go }) => {
      await go("#/tasks?workload=web");
      await page.getByRole("columnheader", { name: "Floor" }).waitFor();
      const row = (name) => page.locator("#page tbody tr").filter({ has: page.getByRole("link", { name, exact: true }) });
      await row("web-3").getByText("floor 3").waitFor();
      await row("web-3").getByText("unhealthy").waitFor();
      assert.match(await row("web-2").innerText(), /lead/);
      assert.doesNotMatch(await row("web-1").locator("[data-label=Leader]").innerText(), /leads|leader|yes/);
      await screenshot(page, "tasks-module");
    });
  });

  test("refuse what operators ask for, with a reason", async () => {
    const { id } = (await world.tasks())["web-1"];
    await withPage(browser, world.base, { allowed: [/status of 409/] }, async (page, { go }) => {
      await go("#/tasks");
      await page.locator(`[data-action=restart][data-task="${id}"]`).click();
      await page.locator("dialog[open]").waitFor();
      await page.locator("#confirm-go").click();
      await page.locator(".toast.bad", { hasText: "web-1 is being repaired" }).waitFor();
      assert.equal((await world.tasks())["web-1"].id, id);
    });
  });

  test("hold launches back, and the reason is why it waits", async () => {
    await withPage(browser, world.base, {}, async (page, { go }) => {
      await go("#/workloads/vetoed");
      await page.getByText("the cellar is flooded").first().waitFor();
      await screenshot(page, "workload-vetoed");
    });
  });

  test("give tasks their environment", async () => {
    const { id } = (await world.tasks())["web-2"];
    await withPage(browser, world.base, {}, async (page, { go }) => {
      await go(`#/tasks/${id}`);
      await page.locator("pre.log").getByText("it is warm").waitFor();
    });
  });

  test("that are stopped are told of on every page, and nothing else is hurt", async () => {
    await withPage(browser, world.base, {}, async (page, { go }) => {
      await go();
      await page.locator("[data-banner=module-broken]", { hasText: "the fuse is blown" }).waitFor();
      await page.locator("[data-banner=module-endless]").waitFor();
      await go("#/configuration");
      await page.locator("[data-module=house]", { hasText: "running" }).waitFor();
      await page.locator("[data-module=broken]", { hasText: "the fuse is blown" }).waitFor();
      await page.locator("[data-module=endless]", { hasText: "stopped" }).waitFor();
      await screenshot(page, "configuration-modules");
    });
  });
});

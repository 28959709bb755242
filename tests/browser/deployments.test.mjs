// A changed declaration on its way, and what an operator can do about it.

import assert from "node:assert/strict";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";

import { launch, withPage } from "./support/browser.mjs";
import { answer, toast } from "./support/dialog.mjs";
import { World, declared } from "./support/gantry.mjs";
import { until } from "./support/wait.mjs";

const INSTANCES = ["web-1", "web-2", "web-3"];

/** A service whose tasks are unhealthy while there is a file `fail`. */
const version = (world, number, settings = {}) => ({
  BRAKE_TASKS_MIN: "2",
  ...declared([
    {
      NAME: "web",
      NUM_INSTANCES: 3,
      CMD: `echo version ${number}; exec sleep 100000`,
      HEALTHCHECK_CMD: `test ! -e '${join(world.directory, "fail")}'`,
      HEALTHCHECK_DELAY: "0s",
      HEALTHCHECK_INTERVAL: "1s",
      HEALTHCHECK_GRACE: "0s",
      UPDATE_MONITOR: "0s",
      ...settings,
    },
  ]),
});

describe("deployments", () => {
  let world, browser;

  before(async () => {
    world = await World.start({ TASK_DEF_NUM: "0" });
    browser = await launch();
    await restart(version(world, 1));
    await world.runs(...INSTANCES);
  });
  after(async () => {
    await browser?.close();
    await world?.end();
  });

  async function restart(variables) {
    await world.gantry.stop();
    await world.serve(variables);
  }

  const latest = async () => (await world.get("/api/v2/deployments")).items[0];
  const card = (page) => page.locator("#page article.workload").first();
  const press = async (page, button) => {
    await card(page).getByRole("button", { name: button, exact: true }).click();
    await answer(page, { button });
  };
  const revisions = async () => Object.values(await world.runs(...INSTANCES)).map(({ revision }) => revision);

  /** Begins an update that moves nothing on by itself until it is told to. */
  async function slowly(number) {
    await restart(version(world, number, { UPDATE_MONITOR: "1h", UPDATE_DEADLINE: "2h" }));
    await until("the update", async () => (await latest())?.status === "running");
  }

  test("pause, resume and abort", async () => {
    await slowly(2);
    await withPage(browser, world.base, {}, async (page, { go }) => {
      await go("#/activity");
      await press(page, "Pause");
      await card(page).getByText("paused").waitFor();
      assert.equal((await latest()).status, "paused");
      await press(page, "Resume");
      await card(page).getByText("running").waitFor();
      assert.equal((await latest()).status, "running");
      await press(page, "Abort");
      await card(page).getByText("aborted").waitFor();
      assert.equal((await latest()).status, "aborted");
      await card(page).getByRole("button", { name: "Pause" }).waitFor({ state: "hidden" });
    });
  });

  test("roll back while it is under way", async () => {
    const before = await latest();
    await slowly(3);
    await withPage(browser, world.base, {}, async (page, { go }) => {
      await go("#/activity");
      await press(page, "Roll back");
      await until("the rollback", async () => ["rolling_back", "rolled_back"].includes((await latest()).status));
    });
    assert.notEqual((await latest()).id, before.id);
  });

  test("an update that goes through, and back again", async () => {
    await restart(version(world, 4));
    await until("the end of the update", async () => (await latest()).status === "done");
    const { to_revision: to, from_revision: from } = await latest();
    assert.deepEqual(new Set(await revisions()), new Set([to]));
    await withPage(browser, world.base, {}, async (page, { go }) => {
      await go("#/activity");
      await card(page).getByText("done").waitFor();
      await press(page, "Roll back");
      await card(page).getByText("rolled back").waitFor();
      assert.deepEqual(new Set(await revisions()), new Set([from]));
    });
  });

  test("the brake is told of on every page, and released by hand", async () => {
    const flag = join(world.directory, "fail");
    await withPage(browser, world.base, {}, async (page, { go }) => {
      await go();
      writeFileSync(flag, "");
      const banner = page.locator("#problem .banner", { hasText: "The brake is on" });
      await banner.waitFor();
      rmSync(flag);
      await go("#/tasks");
      await banner.getByRole("button").click();
      await answer(page, { shows: /started again/, reason: "the disk is back", button: "Release" });
      await toast(page, "released");
      await banner.waitFor({ state: "hidden" });
      await world.runs(...INSTANCES);
      await go("#/activity");
      await page.getByText("the disk is back").waitFor();
    });
  });
});

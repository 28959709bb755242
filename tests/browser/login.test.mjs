// Logging in at a real provider, in the shapes of GitLab and Google; and everybody who may not.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { PHONE, barriers, launch, none, open, screenshot, shown, tooWide, withPage } from "./support/browser.mjs";
import { answer } from "./support/dialog.mjs";
import { World, declared } from "./support/gantry.mjs";
import { IdentityProvider, signIn, unfinished } from "./support/provider.mjs";

const GITLAB_PEOPLE = {
  olga: { id: 11, name: "Olga Operator", email: "olga@example.com", email_verified: true, groups: ["developers/frontend"] },
  vera: { id: 12, name: "Vera Viewer", email: "vera@example.com", email_verified: true, groups: ["developers", "guests"] },
  adam: { id: 13, name: "Adam Admin", email: "adam@example.com", email_verified: true, groups: ["developers"] },
  // A name that is allowed in, in a group that is not.
  wendy: { id: 14, name: "Wendy", email: "wendy@example.com", email_verified: true, groups: ["developers-old", "other/developers"] },
  ursula: { id: 15, name: "Ursula", email: "ursula@example.com", email_verified: false, groups: ["developers"] },
};

const google = (name, others) => ({ name, email: `${name.toLowerCase()}@example.com`, email_verified: true, hd: "example.com", ...others });
const GOOGLE_PEOPLE = {
  g1: google("Greta"),
  g2: google("Walter", { email: "walter@elsewhere.com", hd: "elsewhere.com" }),
  g3: google("Paula", { hd: undefined }),
  g4: google("Uwe", { email_verified: false }),
  g5: google("Sub", { hd: "sub.example.com" }),
};

/** The levels are told by the server; what the page shows of them is only for convenience. */
const API_OPERATE = ["PUT", "/api/v2/workloads/web/scale", { instances: 2 }];

describe("login", () => {
  let world, browser, gitlab, gmail, hosts;

  before(async () => {
    world = await World.start(async ({ port }) => {
      const callback = (via) => `http://127.0.0.1:${port}/auth/${via}/callback`;
      gitlab = await IdentityProvider.start("gitlab", { callback: callback("gitlab"), people: GITLAB_PEOPLE });
      gmail = await IdentityProvider.start("google", { callback: callback("google"), people: GOOGLE_PEOPLE });
      hosts = [gitlab.issuer, gmail.issuer];
      return {
        ...declared([{ NAME: "web", NUM_INSTANCES: 2, CMD: "exec sleep 100000" }]),
        AUTH_COOKIE_ENCRYPTION_KEY: "a key of the tests that is long enough",
        AUTH_ADMINS: "gitlab:adam",
        AUTH_VIEWERS: "gitlab-group:guests",
        GITLAB_URL: gitlab.issuer,
        GITLAB_APP_ID: gitlab.client.id,
        GITLAB_APP_SECRET: gitlab.client.secret,
        GITLAB_CALLBACK_URL: callback("gitlab"),
        GITLAB_ALLOWED_GROUPS: "developers",
        GOOGLE_ISSUER: gmail.issuer,
        GOOGLE_CLIENT_ID: gmail.client.id,
        GOOGLE_CLIENT_SECRET: gmail.client.secret,
        GOOGLE_CALLBACK_URL: callback("google"),
        GOOGLE_ALLOWED_DOMAINS: "example.com",
      };
    });
    browser = await launch();
  });
  after(async () => {
    await browser?.close();
    await world?.end();
    await gitlab?.end();
    await gmail?.end();
  });

  /** What the browser itself says of answers 401 and 403 is meant to be so here. */
  const REFUSED = [/status of 40[13]/];
  const visit = (options, run) => withPage(browser, world.base, { hosts, allowed: REFUSED, ...options }, run);

  async function logIn(page, via, name, path = "") {
    await page.goto(`${world.base}/${path}`);
    await page.waitForURL(/\/login/);
    await page.getByRole("link", { name: new RegExp(via, "i") }).click();
    await signIn(page, name);
  }

  /** Asks as the page would, with its cookies. */
  const ask = (page, method, path, body) =>
    page.evaluate(
      async ([method, path, body]) => {
        const answer = await fetch(path, { method, headers: body && { "content-type": "application/json" }, body: body && JSON.stringify(body) });
        return { status: answer.status, text: await answer.text() };
      },
      [method, path, body],
    );
  const session = async (page) => JSON.parse((await ask(page, "GET", "/api/v2/session")).text);
  const cookies = async (page) => (await page.context().cookies()).filter(({ name }) => /gantry/.test(name));
  const sessionCookie = async (page) => (await cookies(page)).find(({ name }) => /session/.test(name));

  test("whoever has not logged in sees the ways to, and nothing else", async () => {
    for (const scheme of ["light", "dark"]) {
      await visit({ scheme, viewport: scheme === "dark" ? PHONE : undefined }, async (page) => {
        await page.goto(world.base);
        await page.waitForURL(/\/login/);
        await page.getByRole("link", { name: /GitLab/ }).waitFor();
        await page.getByRole("link", { name: /Google/ }).waitFor();
        await screenshot(page, `login-${scheme}`);
        none([...(await tooWide(page)), ...(await barriers(page))], "login");
        assert.equal((await session(page)).level, null);
      });
    }
    for (const path of ["/api/v1/tasks/launched", "/api/v2/overview", "/api/v2/events", "/api/v2/tasks", "/api/v1/no/such/path"]) {
      assert.equal((await world.ask("GET", path)).status, 401, path);
    }
    assert.equal((await world.ask(...API_OPERATE)).status, 401);
  });

  for (const [via, person, name, actor, instances] of [
    ["gitlab", "olga", "Olga Operator", /olga/, 3],
    ["google", "g1", "Greta", /greta@example\.com/, 2],
  ]) {
    test(`${via}: in, at work, and out`, async () => {
      await visit({}, async (page) => {
        await logIn(page, via, person, "#/tasks?workload=web");
        // To the page that was asked for.
        await page.waitForURL(/#\/tasks\?workload=web$/);
        await shown(page);
        await page.getByText(name).first().waitFor();
        const { user, level, access } = await session(page);
        assert.deepEqual([user.name, user.via, level, access], [name, via, "operate", "login"]);
        assert.equal((await ask(page, "PUT", "/api/v2/workloads/web/scale", { instances })).status, 200);
        const { items } = JSON.parse((await ask(page, "GET", "/api/v2/audit")).text);
        assert.match(items[0].actor, actor);

        const cookie = await sessionCookie(page);
        assert.deepEqual([cookie.httpOnly, cookie.sameSite], [true, "Lax"]);
        assert.doesNotMatch(cookie.value, new RegExp(`${person}|${name}`));

        await page.locator("#session summary").click();
        await page.getByRole("button", { name: "Log out", exact: true }).click();
        await page.waitForURL(/\/login/);
        assert.equal(await sessionCookie(page), undefined);
        assert.equal((await ask(page, "GET", "/api/v2/overview")).status, 401);
      });
    });
  }

  for (const [via, person, why] of [
    ["gitlab", "wendy", "of no group that may"],
    ["gitlab", "ursula", "with an e-mail address that is not verified"],
    ["google", "g2", "of another domain"],
    ["google", "g3", "of no domain"],
    ["google", "g4", "with an e-mail address that is not verified"],
    ["google", "g5", "of a domain below"],
  ]) {
    test(`${via}: somebody ${why} stays outside`, async () => {
      await visit({}, async (page) => {
        await logIn(page, via, person);
        await page.waitForURL(/\/login/);
        await page.getByRole("alert").waitFor();
        await refused(page);
      });
    });
  }

  /** Still nobody. */
  async function refused(page) {
    assert.equal(await sessionCookie(page), undefined);
    assert.equal((await session(page)).level, null);
    assert.equal((await ask(page, "GET", "/api/v2/overview")).status, 401);
  }

  test("who changes his mind at the provider is back where he was", async () => {
    await visit({}, async (page) => {
      await page.goto(`${world.base}/login`);
      await page.getByRole("link", { name: /GitLab/ }).click();
      await page.getByRole("button", { name: "Refuse" }).click();
      await page.waitForURL(/\/login/);
      await refused(page);
      await page.getByRole("link", { name: /GitLab/ }).click();
      await signIn(page, "olga");
      await shown(page);
    });
  });

  test("an answer of the provider counts once, and in the browser that asked", async () => {
    await visit({}, async (page, { context }) => {
      const answers = [];
      page.on("request", (request) => /\/callback\?/.test(request.url()) && answers.push(request.url()));
      await logIn(page, "gitlab", "olga");
      await shown(page);
      assert.equal(answers.length, 1);
      const [answer] = answers;
      // Once more, by somebody who has all cookies of that browser but the session.
      const kept = (await context.cookies()).filter(({ name }) => !/session/.test(name));
      await page.goto("about:blank");
      await context.clearCookies();
      await context.addCookies(kept);
      await page.goto(answer);
      await page.waitForURL(/\/login/);
      await refused(page);
      // By another browser, with a code that nobody has used.
      const fresh = await open(browser, world.base, { hosts, allowed: REFUSED });
      await fresh.page.goto(answer.replace(/code=[^&]+/, "code=another"));
      await fresh.page.waitForURL(/\/login/);
      await refused(fresh.page);
      await fresh.close();
    });
  });

  test("a login that somebody else began is not ended here", async () => {
    const answer = await unfinished(`${world.base}/auth/gitlab`, "olga");
    await visit({}, async (page) => {
      // With a login of its own under way.
      await page.goto(`${world.base}/login`);
      await page.getByRole("link", { name: /GitLab/ }).click();
      await page.getByLabel("Name").waitFor();
      await page.goto(answer);
      await page.waitForURL(/\/login/);
      await refused(page);
    });
  });

  test("a cookie that was tampered with is none", async () => {
    await visit({}, async (page, { context }) => {
      await logIn(page, "gitlab", "olga");
      await shown(page);
      const cookie = await sessionCookie(page);
      for (const at of [0, Math.floor(cookie.value.length / 2), cookie.value.length - 3]) {
        const other = cookie.value[at] === "A" ? "B" : "A";
        await context.addCookies([{ ...cookie, value: cookie.value.slice(0, at) + other + cookie.value.slice(at + 1) }]);
        // The page asks too, and goes to the login by itself.
        assert.equal((await context.request.get(`${world.base}/api/v2/overview`)).status(), 401, `position ${at}`);
      }
      await page.waitForURL(/\/login/);
      await context.addCookies([cookie]);
      assert.equal((await context.request.get(`${world.base}/api/v2/overview`)).status(), 200, "the right one still counts");
    });
  });

  test("each login makes another session", async () => {
    await visit({}, async (page, { context }) => {
      await logIn(page, "gitlab", "olga");
      await shown(page);
      const first = await sessionCookie(page);
      await page.goto(`${world.base}/auth/gitlab`);
      await page.waitForURL((url) => url.origin === world.base && !url.pathname.startsWith("/auth"));
      await shown(page);
      assert.notEqual((await sessionCookie(page)).value, first.value);
      assert.equal((await context.cookies()).filter(({ name }) => name === first.name).length, 1);
    });
  });

  test("a viewer sees everything and changes nothing", async () => {
    await visit({}, async (page) => {
      await logIn(page, "gitlab", "vera", "#/tasks");
      await shown(page);
      const restart = page.locator("[data-action=restart]").first();
      await restart.waitFor();
      assert.equal(await restart.isDisabled(), true);
      assert.equal((await session(page)).level, "view");
      const [{ id }] = JSON.parse((await ask(page, "GET", "/api/v2/tasks")).text).items;
      for (const request of [API_OPERATE, ["POST", `/api/v2/tasks/${id}/restart`, {}], ["POST", "/api/v2/kill", {}], ["POST", "/api/v2/rolling-restarts", {}], ["POST", `/api/v1/tasks/killAll?sure=yes`]]) {
        assert.equal((await ask(page, ...request)).status, 403, request.join(" "));
      }
    });
  });

  test("an operator does not kill everything, an admin may", async () => {
    await visit({}, async (page) => {
      await logIn(page, "gitlab", "olga");
      await shown(page);
      assert.equal((await ask(page, "POST", "/api/v2/kill", {})).status, 403);
      assert.equal((await ask(page, "POST", "/api/v2/sessions/end", { whose: "all" })).status, 403);
    });
    await visit({}, async (page) => {
      await logIn(page, "gitlab", "adam");
      await shown(page);
      assert.equal((await session(page)).level, "admin");
      assert.equal((await ask(page, "POST", "/api/v2/kill", {})).status, 202);
    });
  });

  test("logging out everywhere ends the sessions of other browsers", async () => {
    const other = await open(browser, world.base, { hosts, allowed: REFUSED });
    await logIn(other.page, "gitlab", "olga");
    await shown(other.page);
    const bystander = await open(browser, world.base, { hosts, allowed: REFUSED });
    await logIn(bystander.page, "google", "g1");
    await shown(bystander.page);
    await visit({}, async (page) => {
      await logIn(page, "gitlab", "olga");
      await shown(page);
      await page.locator("#session summary").click();
      await page.getByRole("button", { name: "Log out everywhere" }).click();
      await answer(page, { button: "Log out" });
      await page.waitForURL(/\/login/);
    });
    await other.page.waitForURL(/\/login/);
    assert.equal((await ask(bystander.page, "GET", "/api/v2/overview")).status, 200);
    await bystander.close();
    // And in again: the provider still knows who it is.
    await other.page.getByRole("link", { name: /GitLab/ }).click();
    await shown(other.page);
    await other.close();
  });
});

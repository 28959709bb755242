// Logging in over TLS: that of Gantry itself, and that of a proxy which shows it below a path. And
// sessions that end by themselves.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { launch, shown, withPage } from "./support/browser.mjs";
import { certificate } from "./support/certificate.mjs";
import { World, declared } from "./support/gantry.mjs";
import { IdentityProvider, signIn } from "./support/provider.mjs";
import { Proxy } from "./support/proxy.mjs";
import { until } from "./support/wait.mjs";

const PEOPLE = { olga: { id: 11, name: "Olga Operator", email: "olga@example.com", email_verified: true, groups: ["developers"] } };

/** Nobody vouches for the certificate of the tests; and answers 401 are meant to be so. */
const OPTIONS = { ignoreHTTPSErrors: true, allowed: [/status of 401/] };

/** How long sessions are kept here, in milliseconds: longer than a login takes on a busy machine. */
const LIMIT = 15_000;

describe("login over TLS", () => {
  let world, browser, gitlab, tls, proxy;

  /** What Gantry is told when the dashboard is at `base`. */
  async function login(base) {
    const callback = `${base}auth/gitlab/callback`;
    await gitlab?.end();
    gitlab = await IdentityProvider.start("gitlab", { callback, people: PEOPLE });
    return {
      ...declared([{ NAME: "web", CMD: "exec sleep 100000" }]),
      AUTH_COOKIE_ENCRYPTION_KEY: "a key of the tests that is long enough",
      GITLAB_URL: gitlab.issuer,
      GITLAB_APP_ID: gitlab.client.id,
      GITLAB_APP_SECRET: gitlab.client.secret,
      GITLAB_CALLBACK_URL: callback,
      GITLAB_ALLOWED_USERS: "olga",
    };
  }

  before(async () => {
    world = await World.start(async ({ directory, port }) => {
      tls = certificate(directory);
      return { ...(await login(`https://127.0.0.1:${port}/`)), TLS_CERT: tls.certFile, TLS_KEY: tls.keyFile };
    });
    browser = await launch();
  });
  after(async () => {
    await browser?.close();
    await proxy?.end();
    await world?.end();
    await gitlab?.end();
  });

  async function inAndOut(page, base, path) {
    await page.goto(`${base}#/tasks`);
    await page.waitForURL(`${base}login**`);
    await page.getByRole("link", { name: /GitLab/ }).click();
    await signIn(page, "olga");
    await page.waitForURL(`${base}#/tasks`);
    await shown(page);
    await page.getByRole("link", { name: "web-1" }).waitFor();
    const cookies = (await page.context().cookies()).filter(({ name }) => /gantry/.test(name));
    const session = cookies.find(({ name }) => /session/.test(name));
    assert.match(session.name, /^__Host-/);
    assert.deepEqual([session.secure, session.httpOnly, session.path], [true, true, path]);
    await page.locator("#session summary").click();
    await page.getByRole("button", { name: "Log out", exact: true }).click();
    await page.waitForURL(`${base}login**`);
  }

  test("of its own", async () => {
    const base = `https://127.0.0.1:${world.port}/`;
    await withPage(browser, base, { ...OPTIONS, hosts: [gitlab.issuer] }, (page) => inAndOut(page, base, "/"));
  });

  test("of a proxy that shows it below a path", async () => {
    await world.gantry.stop();
    proxy = await Proxy.start(() => `http://127.0.0.1:${world.port}`, "/service/web/", tls);
    await world.serve({ ...(await login(proxy.base)), TRUSTED_PROXIES: "127.0.0.1", URL_PREFIX: "/service/web" });
    await withPage(browser, proxy.base, { ...OPTIONS, hosts: [gitlab.issuer] }, (page) => inAndOut(page, proxy.base, "/"));
  });

  test("a session ends when nothing is asked for, and at the latest when its time is over", async () => {
    const base = `http://127.0.0.1:${world.port}/`;
    const variables = await login(base);
    for (const [limits, asks] of [[{ AUTH_SESSION_IDLE: `${LIMIT / 1_000}s` }, false], [{ AUTH_SESSION_IDLE: `${LIMIT / 1_000}s`, AUTH_SESSION_MAX: `${LIMIT / 1_000}s` }, true]]) {
      await world.gantry.stop();
      await world.serve({ ...variables, ...limits });
      await withPage(browser, base, { ...OPTIONS, hosts: [gitlab.issuer] }, async (page, { context }) => {
        await page.goto(base);
        await page.getByRole("link", { name: /GitLab/ }).click();
        const before = Date.now();
        await signIn(page, "olga");
        await shown(page);
        const overview = `${base}api/v2/overview`;
        // A page that asks goes on asking; one that sleeps does not.
        if (!asks) await page.goto("about:blank");
        const after = Date.now();
        const session = async () => (await context.cookies()).find((cookie) => /gantry.*session/.test(cookie.name));
        let kept = await session();
        const over = async () => (await fetch(overview, { headers: { cookie: `${kept.name}=${kept.value}` } })).status === 401;
        if (asks) {
          await until("the end of the session, whatever is asked", async () => {
            const answer = await context.request.get(overview);
            kept = (await session()) ?? kept;
            return answer.status() === 401;
          });
          // The browser, told in whole seconds, forgets a cookie that counts for a moment yet.
          await until("the end of the session, for whoever has kept the cookie", over, LIMIT / 2);
          assert.ok(Date.now() >= before + LIMIT, "not before its time");
        } else await page.waitForTimeout(after + LIMIT + 100 - Date.now());
        assert.ok(await over(), "for whoever has kept the cookie");
        await page.goto(base);
        await page.waitForURL(/\/login/);
      });
    }
  });
});

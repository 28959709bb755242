// A real Chromium, and pages that may not complain.

import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { join } from "node:path";

import { axe, chromium, given } from "./packages.mjs";
import { WITHIN } from "./wait.mjs";

const SCREENSHOTS = given("GANTRY_SCREENSHOTS");
mkdirSync(SCREENSHOTS, { recursive: true });

export const DESKTOP = { width: 1280, height: 900 };
export const PHONE = { width: 360, height: 740 };

/** Chromium must not ask anybody else anything. */
const ALONE = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

/** Fails with the whole list, one a line, unless it is empty. */
export function none(list, what) {
  assert.ok(list.length === 0, `${what}:\n  ${list.join("\n  ")}`);
}

/** The browser of one test file. */
export async function launch() {
  return chromium.launch({ executablePath: given("GANTRY_CHROMIUM"), args: ALONE });
}

/**
 * A page in a context of its own. Whatever it complains about is gathered: errors on its console,
 * refusals of its content security policy, exceptions, requests to other hosts than `base`'s.
 * `allowed` are complaints that the test provokes.
 */
export async function open(browser, base, { viewport = DESKTOP, scheme = "light", allowed = [], hosts = [], ...options } = {}) {
  const context = await browser.newContext({ viewport, colorScheme: scheme, reducedMotion: "reduce", ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(WITHIN);
  const origins = [base, ...hosts].map((address) => new URL(address).origin);
  const complaints = [];
  const complain = (text) => allowed.some((pattern) => pattern.test(text)) || complaints.push(text);
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && complain(`${message.text()} (${message.location().url})`));
  page.on("pageerror", (error) => complain(`exception: ${error.stack ?? error}`));
  page.on("request", (request) => /^https?:/.test(request.url()) && !origins.includes(new URL(request.url()).origin) && complain(`request to another host: ${request.url()}`));
  await context.addInitScript(() => {
    addEventListener("securitypolicyviolation", (event) => console.error(`security policy: ${event.violatedDirective} refuses ${event.blockedURI} at ${event.sourceFile}:${event.lineNumber}`));
  });
  const at = base.replace(/\/$/, "");
  return {
    page,
    context,
    allowed,
    /** Opens a page of the dashboard and waits until it shows itself. */
    async go(path = "") {
      // Another page of the dashboard takes the place of the one that is there.
      await page.evaluate(() => document.getElementById("page")?.removeAttribute("data-shown"));
      await page.goto(`${at}/${path}`);
      await shown(page);
    },
    /** The end of a test with this page: it has not complained. */
    async close() {
      await context.close();
      none(complaints, "the page complained");
    },
  };
}

/** Runs `test` with a page and closes it; a complaint of the page is a failure. */
export async function withPage(browser, base, options, test) {
  const opened = await open(browser, base, options);
  try {
    await test(opened.page, opened);
  } catch (error) {
    const picture = join(SCREENSHOTS, `failure-${process.pid}-${Date.now()}.png`);
    await opened.page.screenshot({ path: picture }).catch(() => {});
    const shows = await opened.page.innerText("body").catch(() => "nothing");
    const told = await opened.close().then(() => "", (complaint) => `\n${complaint.message}`);
    const all = new Error(`${error.message}${told}\n${picture}: the page at ${opened.page.url()} shows:\n${shows.slice(0, 1_500)}`);
    all.stack = `${all.message}\n${error.stack?.split("\n").filter((line) => /^ +at /.test(line)).join("\n")}`;
    throw all;
  }
  await opened.close();
}

/**
 * Does something, and gives the milliseconds of processor time that the longest task of a page took meanwhile: for so
 * long a key is not answered. Processor time, as a machine that is busy with other things says nothing about the page.
 */
export async function longestTask(browser, page, act) {
  await browser.startTracing(page, { categories: ["__metadata", "toplevel"] });
  let trace;
  try {
    await act();
  } finally {
    trace = JSON.parse(await browser.stopTracing());
  }
  const threadOf = ({ pid, tid }) => `${pid} ${tid}`;
  const pages = new Set(trace.traceEvents.filter(({ name, args }) => name === "thread_name" && args.name === "CrRendererMain").map(threadOf));
  const took = trace.traceEvents.filter((event) => event.tdur !== undefined && pages.has(threadOf(event))).map(({ tdur }) => tdur / 1_000);
  assert.ok(took.length > 0, "the browser told of no task of a page");
  return took.reduce((longest, one) => Math.max(longest, one));
}

/** Waits until the page shows its heading, that is: until it has been read. */
export async function shown(page) {
  await page.locator("#page[data-shown] h1").first().waitFor();
}

/** Does something with a window in which the whole page can be seen: nothing lies behind a bar that floats. */
async function whole(page, look) {
  const size = page.viewportSize();
  const height = await page.evaluate(() => document.documentElement.scrollHeight);
  await page.setViewportSize({ ...size, height: Math.max(size.height, height) });
  const found = await look();
  await page.setViewportSize(size);
  return found;
}

export async function screenshot(page, name) {
  await whole(page, () => page.screenshot({ path: join(SCREENSHOTS, `${name}.png`), animations: "disabled" }));
}

/** What sticks out at the side. */
export async function tooWide(page) {
  return page.evaluate(() => {
    const width = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth <= width) return [];
    const cuts = (element) => element && element !== document.body && (/auto|scroll|hidden|clip/.test(getComputedStyle(element).overflowX) || cuts(element.parentElement));
    const far = [...document.body.querySelectorAll("*")].filter((element) => element.getBoundingClientRect().right > width + 1 && !cuts(element.parentElement));
    return [`the page is ${document.documentElement.scrollWidth} wide where there is room for ${width}`, ...far.slice(0, 5).map((element) => `too wide: ${element.outerHTML.slice(0, 120)}`)];
  });
}

/** What breaks those rules of WCAG 2.2 AA that a program can judge. */
export async function barriers(page) {
  if (!(await page.evaluate(() => "axe" in window))) await page.evaluate(axe);
  const judge = async () => {
    const runOnly = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"];
    const { violations } = await window.axe.run(document, { runOnly, resultTypes: ["violations"] });
    const why = (node) => [...node.any, ...node.all, ...node.none].map(({ message }) => message).join("; ");
    return violations.flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.html.slice(0, 200)} (${why(node).slice(0, 200)})`));
  };
  return whole(page, () => page.evaluate(judge));
}

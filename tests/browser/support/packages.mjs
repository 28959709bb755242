// What npm installed: below target/, never beside these files, so that it has to be looked for.

import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const where = given("GANTRY_TEST_PACKAGES");
const require = createRequire(join(where, "here.cjs"));

/** A variable that `cargo xtask browser` sets. */
export function given(name) {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set: these tests are run by \`cargo xtask browser\``);
  return value;
}

export const { chromium } = require("playwright-core");
export const axe = require("axe-core").source;
/** The OpenID provider's library. It tells of old Nodes on the error stream, so that only who needs it loads it. */
export const provider = () => import(pathToFileURL(require.resolve("oidc-provider")));

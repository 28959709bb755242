// A real OpenID provider on loopback, in the shapes of GitLab and Google: their paths, their claims,
// their own APIs. It asks for proof keys (PKCE), and has a sign-in page of its own.

import { generateKeyPairSync, randomBytes } from "node:crypto";
import { createServer } from "node:http";

import { freePort } from "./gantry.mjs";
import { provider as library } from "./packages.mjs";

const SHAPES = {
  gitlab: {
    routes: { authorization: "/oauth/authorize", token: "/oauth/token", userinfo: "/oauth/userinfo", jwks: "/oauth/discovery/keys", revocation: "/oauth/revoke", introspection: "/oauth/introspect" },
    scopes: ["openid", "profile", "email", "api", "read_api", "read_user"],
    claims: { openid: ["sub", "sub_legacy"], profile: ["name", "nickname", "preferred_username", "profile", "picture", "groups", "groups_direct"], email: ["email", "email_verified"] },
  },
  google: {
    routes: { authorization: "/o/oauth2/v2/auth", token: "/token", userinfo: "/v1/userinfo", jwks: "/oauth2/v3/certs", revocation: "/revoke" },
    scopes: ["openid", "profile", "email"],
    claims: { openid: ["sub"], profile: ["name", "given_name", "family_name", "picture"], email: ["email", "email_verified", "hd"] },
  },
};

/**
 * Serves the shape for one client. `people` are its users by the name they sign in with, with what
 * is said of them: GitLab's `{ id, username, name, email, email_verified, groups }`, or Google's
 * claims. They may be changed at any time.
 */
export class IdentityProvider {
  static async start(shape, { callback, people }) {
    const self = new IdentityProvider();
    const { Provider } = await library();
    const port = await freePort();
    self.shape = shape;
    self.people = people;
    self.issuer = `http://127.0.0.1:${port}`;
    self.client = { id: `gantry-${shape}`, secret: randomBytes(16).toString("hex") };
    const { routes, scopes, claims } = SHAPES[shape];
    const key = generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey.export({ format: "jwk" });
    const provider = new Provider(self.issuer, {
      routes,
      scopes,
      claims,
      clients: [{ client_id: self.client.id, client_secret: self.client.secret, redirect_uris: [callback], response_types: ["code"], grant_types: ["authorization_code"] }],
      jwks: { keys: [{ ...key, kid: "one", use: "sig", alg: "RS256" }] },
      cookies: { keys: [randomBytes(16).toString("hex")], names: { session: `${shape}_session`, interaction: `${shape}_interaction`, resume: `${shape}_resume` } },
      pkce: { required: () => true },
      // Both put what they know into the token itself.
      conformIdTokenClaims: false,
      features: { devInteractions: { enabled: false } },
      interactions: { url: (_, { uid }) => `/sign-in/${uid}` },
      findAccount: (_, subject) => {
        const name = self.#named(subject);
        return name && { accountId: subject, claims: (use) => ({ sub: subject, ...self.#claims(name, use) }) };
      },
      // Nobody is asked a second time whether the application may know who they are.
      async loadExistingGrant(context) {
        const { client, session, params } = context.oidc;
        const grant = new provider.Grant({ clientId: client.clientId, accountId: session.accountId });
        grant.addOIDCScope(params.scope);
        await grant.save();
        return grant;
      },
      ttl: { AccessToken: 600, AuthorizationCode: 60, IdToken: 600, Interaction: 600, Session: 600, Grant: 600 },
    });
    provider.use(async (context, next) => {
      // Browsers ask for it by themselves.
      if (context.path === "/favicon.ico") return (context.status = 204);
      if (context.path.startsWith("/sign-in/")) return self.#signIn(provider, context);
      if (shape === "gitlab" && context.path.startsWith("/api/v4/")) return self.#api(provider, context);
      // A GitLab from before OpenID Connect.
      if (self.plain && context.path === "/.well-known/openid-configuration") return (context.status = 404);
      return next();
    });
    self.server = createServer(provider.callback());
    await new Promise((resolve, reject) => self.server.once("error", reject).listen(port, "127.0.0.1", resolve));
    return self;
  }

  /** By what the provider knows a person for ever: GitLab by a number. */
  #subject(name) {
    return this.shape === "gitlab" ? String(this.people[name]?.id ?? name) : name;
  }

  #named(subject) {
    return Object.keys(this.people).find((name) => this.#subject(name) === subject);
  }

  #claims(name, use) {
    const person = this.people[name];
    if (this.shape === "google") return person;
    const { id, username = name, groups = [], ...others } = person;
    const said = { sub_legacy: `legacy-${id}`, nickname: username, preferred_username: username, profile: `${this.issuer}/${username}`, groups_direct: groups, ...others };
    // The token says directly joined groups only.
    return use === "id_token" ? said : { ...said, groups };
  }

  async #signIn(provider, context) {
    if (context.method === "POST") {
      const chunks = [];
      for await (const chunk of context.req) chunks.push(chunk);
      const form = new URLSearchParams(Buffer.concat(chunks).toString());
      const result = form.has("refuse") ? { error: "access_denied", error_description: "no, thank you" } : { login: { accountId: this.#subject(form.get("name")) } };
      context.respond = false;
      return provider.interactionFinished(context.req, context.res, result, { mergeWithLastSubmission: false });
    }
    context.type = "html";
    context.body = `<!doctype html><title>Sign in</title><h1>${this.shape}</h1><form method="post">
      <label>Name <input name="name" autofocus></label><button>Sign in</button><button name="refuse" value="1">Refuse</button></form>`;
  }

  async #api(provider, context) {
    const token = await provider.AccessToken.find((context.get("authorization") || "").replace(/^Bearer /i, ""));
    const name = token && this.#named(token.accountId);
    const person = this.people[name];
    if (!person) {
      context.status = 401;
      context.body = { message: "401 Unauthorized" };
      return;
    }
    const { id, username = name, name: full, email, email_verified: verified, groups = [] } = person;
    if (context.path === "/api/v4/user") {
      context.body = { id, username, name: full, state: "active", email, confirmed_at: verified ? "2024-01-01T00:00:00.000Z" : null, web_url: `${this.issuer}/${username}` };
    } else if (context.path === "/api/v4/groups") {
      const page = Number(context.query.page ?? 1);
      context.body = page > 1 ? [] : groups.map((path, index) => ({ id: index + 1, name: path.split("/").at(-1), path: path.split("/").at(-1), full_path: path }));
    } else {
      context.status = 404;
      context.body = { message: "404 Not Found" };
    }
  }

  async end() {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }
}

/**
 * Logs in without a browser, and stops before the end: the address at which the answer of the
 * provider would be given to Gantry.
 */
export async function unfinished(begin, name) {
  const cookies = new Map();
  let [url, form] = [begin, undefined];
  for (let step = 0; step < 10; step++) {
    const answer = await fetch(url, {
      method: form ? "POST" : "GET",
      body: form,
      redirect: "manual",
      headers: { cookie: [...cookies].map((pair) => pair.join("=")).join("; ") },
    });
    for (const cookie of answer.headers.getSetCookie()) {
      const [, key, value] = cookie.match(/^([^=]+)=([^;]*)/);
      cookies.set(key, value);
    }
    form = answer.status === 200 ? new URLSearchParams({ name }) : undefined;
    if (form) continue;
    url = new URL(answer.headers.get("location"), url).href;
    if (/\/callback\?/.test(url)) return url;
  }
  throw new Error(`the login does not end: ${url}`);
}

/** Signs in on the provider's page. */
export async function signIn(page, name) {
  await page.getByLabel("Name").fill(name);
  await page.getByRole("button", { name: "Sign in" }).click();
}

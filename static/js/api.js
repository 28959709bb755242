// The way to the server. All addresses are relative, so that the page works below any path.

import { setClock } from "./format.js";

const WITHIN = 15_000;
const GOOD_FOR = 10_000;

/** What the server says when it does not do what was asked. */
export class ApiError extends Error {
  constructor(status, error) {
    super(error.message);
    this.status = status;
    this.code = error.code;
    this.remedy = error.remedy;
  }
}

/** To the login, which brings back to the page that is open. */
const toLogin = () => location.assign(`login/${location.hash}`);

async function call(method, path, body) {
  let response;
  try {
    response = await fetch(path, {
      method,
      headers: body === undefined ? { accept: "application/json" } : { accept: "application/json", "content-type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.timeout(WITHIN),
      cache: "no-store",
    });
  } catch (error) {
    const message = error.name === "TimeoutError" ? "Gantry does not answer in time" : "Gantry cannot be reached";
    throw new ApiError(0, { code: "unreachable", message });
  }
  const date = Date.parse(response.headers.get("date") ?? "");
  if (date) setClock(date);
  if (response.ok) return response;
  if (response.status === 401) toLogin();
  const answer = await response.json().catch(() => null);
  // A proxy between here and there answers for a Gantry that is away.
  const away = [502, 504].includes(response.status) && !answer?.error;
  if (away) throw new ApiError(0, { code: "unreachable", message: "Gantry cannot be reached" });
  throw new ApiError(response.status, answer?.error ?? { code: "unknown", message: `the answer is ${response.status} ${response.statusText}` });
}

const query = (parameters) => {
  const given = Object.entries(parameters ?? {}).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return given.length ? `?${new URLSearchParams(given)}` : "";
};

/** Reads from the full model. */
export const get = async (path, parameters) => (await call("GET", `api/v2/${path}${query(parameters)}`)).json();
/** The same for what need not be there: null when it is not. */
export const optional = (path, parameters) => get(path, parameters).catch(orNull);

const remembered = new Map();

/** Reads what changes seldom: an answer is good for some seconds. */
export function seldom(path, parameters) {
  const key = path + query(parameters);
  const known = remembered.get(key);
  if (known && Date.now() - known.at < GOOD_FOR) return known.answer;
  const answer = get(path, parameters);
  remembered.set(key, { at: Date.now(), answer });
  answer.catch(() => remembered.delete(key));
  return answer;
}

/** The last minutes of every workload; null when they are not to be had, which keeps no page away. */
export const trends = () => seldom("trends", { minutes: 15 }).catch(() => null);

/** Changes something. */
export const send = async (method, path, body) => (await call(method, `api/v2/${path}`, body)).json();
/** What a change would do. */
export const rehearse = async (method, path, body) => (await call(method, `api/v2/${path}?dry_run=true`, body)).json();
/** Asks outside the full model, or for what is not JSON. */
export const raw = (path, parameters, method = "GET") => call(method, `${path}${query(parameters)}`);

function orNull(error) {
  if (error.status === 404 || error.status === 405) return null;
  throw error;
}

export const part = encodeURIComponent;

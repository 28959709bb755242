// The way to the server. All addresses are relative, so that the page works below any path.

import { setClock } from "./format.js";

const WITHIN = 15_000;

/** What the server says when it does not do what was asked. */
export class ApiError extends Error {
  constructor(status, error) {
    super(error.message);
    this.status = status;
    this.code = error.code;
    this.remedy = error.remedy;
  }
}

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
  const answer = await response.json().catch(() => null);
  throw new ApiError(response.status, answer?.error ?? { code: "unknown", message: `the answer is ${response.status} ${response.statusText}` });
}

const query = (parameters) => {
  const given = Object.entries(parameters ?? {}).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return given.length ? `?${new URLSearchParams(given)}` : "";
};

/** Reads from the full model. */
export const get = async (path, parameters) => (await call("GET", `api/v2/${path}${query(parameters)}`)).json();
/** Changes something. */
export const send = async (method, path, body) => (await call(method, `api/v2/${path}`, body)).json();
/** Reads from outside the full model. */
export const raw = (path, parameters) => call("GET", `${path}${query(parameters)}`);

export const part = encodeURIComponent;

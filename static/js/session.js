// Who is asking, and what they may do. The server decides; this only tells beforehand.

import { optional } from "./api.js";

const LEVELS = ["view", "operate", "admin"];

/** Without the resource there is no login, and everybody may do everything. */
const OPEN = { access: "open", user: null, level: "admin", providers: [] };

let session = OPEN;

export const current = () => session;

export async function read() {
  session = (await optional("session")) ?? OPEN;
  return session;
}

export const may = (level) => LEVELS.indexOf(session.level ?? "view") >= LEVELS.indexOf(level);

/** Why a button cannot be pressed, or null when it can. */
export function refusal(level) {
  return may(level) ? null : `This needs the level “${level}”; yours is “${session.level ?? "none"}”.`;
}

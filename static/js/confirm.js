// Asking before something is done, and telling what became of it.

import { h, update } from "./dom.js";
import { count, plural } from "./format.js";
import { current } from "./session.js";

const find = (id) => document.getElementById(id);

/** A preview that comes within this time (in milliseconds) is there when the question is. */
const SOON = 500;

/** So many names of a kind are listed in a diff. */
const NAMES_MAX = 30;

/**
 * Asks. What costs much has to be typed: `phrase`. `preview` promises what would change; nothing can
 * be confirmed before it is known. `request` and `cli` are the same deed for a shell. Resolves to the
 * reason given (may be empty), or to null when the answer is no. Nothing dangerous is preselected.
 */
export async function confirm({ title, text, action, phrase, danger, preview, request, cli }) {
  const dialog = find("confirm");
  const go = find("confirm-go");
  const typed = find("confirm-typed");
  const reason = find("confirm-reason");
  find("confirm-title").textContent = title;
  find("confirm-text").textContent = text;
  find("confirm-typed-label").hidden = !phrase;
  find("confirm-phrase").textContent = phrase ?? "";
  find("confirm-lines").open = false;
  find("confirm-lines").hidden = !request;
  go.textContent = action;
  go.classList.toggle("danger", Boolean(danger));
  typed.value = reason.value = dialog.returnValue = "";
  // What is known at once is shown at once.
  await Promise.race([preview?.catch(() => null), new Promise((resolve) => setTimeout(resolve, preview ? SOON : 0))]);
  let known = !preview;
  const check = () => {
    go.disabled = !known || (Boolean(phrase) && typed.value !== phrase);
    if (!request) return;
    find("confirm-cli").textContent = cli ? cli + (reason.value ? ` --reason ${quoted(reason.value)}` : "") : "";
    find("confirm-cli").parentElement.hidden = !cli;
    find("confirm-curl").textContent = curl(request, reason.value);
  };
  check();
  typed.oninput = reason.oninput = check;
  showPreview(preview, () => {
    known = true;
    check();
  });
  // The default button of a form is its first; Enter must mean what is written on `go`.
  dialog.onkeydown = (event) => {
    if (event.key !== "Enter" || event.target.nodeName !== "INPUT") return;
    event.preventDefault();
    if (!go.disabled) dialog.close("go");
  };
  dialog.showModal();
  (phrase ? typed : reason).focus();
  return new Promise((resolve) => {
    dialog.onclose = () => {
      for (const id of ["confirm-cli", "confirm-curl"]) find(id).textContent = "";
      resolve(dialog.returnValue === "go" ? reason.value.trim() : null);
    };
  });
}

let asked = 0;

async function showPreview(preview, ready) {
  const place = find("confirm-diff");
  const mine = ++asked;
  const show = (...content) => mine === asked && update(place, h("div", {}, content));
  if (!preview) return show();
  show(h("p", { class: "sub" }, "What would change is being worked out…"));
  try {
    const plan = await preview;
    show(difference(plan));
  } catch (error) {
    // It may have changed by the time of the answer; the server refuses once more if not.
    show(h("p", { class: "banner bad" }, h("span", {}, error.message, error.remedy ? `. ${error.remedy}` : "")));
  }
  if (mine === asked) ready();
}

const KINDS = [
  ["creates", "+", "created", "created"],
  ["replaces", "↻", "replaced", "changed"],
  ["stops", "−", "stopped", "removed"],
];

/** What a dry run says, as lists of names with signs. */
export function difference(plan) {
  const lists = KINDS.filter(([key]) => plan[key]?.length).map(([key, sign, word, kind]) => {
    const names = plan[key];
    const rest = names.length - NAMES_MAX;
    return h(
      "div",
      { class: `change ${kind}`, "data-change": key },
      h("p", {}, h("strong", {}, `${sign} ${plural(names.length, "instance")} ${word}`)),
      h("ul", { class: "chips", tabindex: 0, "aria-label": word }, names.slice(0, NAMES_MAX).map((name) => h("li", {}, `${sign} ${name}`)), rest > 0 ? h("li", { class: "more" }, `and ${count(rest)} more`) : null),
    );
  });
  return [
    lists.length ? lists : h("p", { class: "sub" }, "Nothing would change."),
    lists.length && plan.at_once ? h("p", { class: "sub" }, `At most ${count(plan.at_once)} at once.`) : null,
    plan.notes?.length ? h("ul", { class: "notes" }, plan.notes.map((note) => h("li", {}, note))) : null,
  ];
}

const quoted = (text) => (/^[\w./:=@-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`);

/** The line that does the same from a shell. */
function curl({ method, path, body }, reason) {
  const address = new URL(path, document.baseURI).href;
  const all = reason ? { ...body, reason } : (body ?? {});
  const data = Object.keys(all).length ? ` -H 'content-type: application/json' -d ${quoted(JSON.stringify(all))}` : "";
  const token = current().access === "open" ? "" : ` -H "Authorization: Bearer $GANTRY_TOKEN"`;
  return `curl -X ${method}${token} ${quoted(address)}${data}`;
}

export { quoted };

/** A short notice that goes by itself. */
export function toast(text, bad = false) {
  const notice = h("div", { class: bad ? "toast bad" : "toast" }, text);
  const all = find("toasts");
  all.append(notice);
  while (all.children.length > 4) all.firstChild.remove();
  setTimeout(() => notice.remove(), bad ? 12_000 : 5_000);
}

// Asking before something is done, and telling what became of it.

import { h } from "./dom.js";

const find = (id) => document.getElementById(id);

/**
 * Asks. What costs much has to be typed: `phrase`. Resolves to the reason given (may be empty), or
 * to null when the answer is no. Nothing dangerous is preselected.
 */
export function confirm({ title, text, action, phrase, danger }) {
  const dialog = find("confirm");
  const go = find("confirm-go");
  const typed = find("confirm-typed");
  const reason = find("confirm-reason");
  find("confirm-title").textContent = title;
  find("confirm-text").textContent = text;
  find("confirm-typed-label").hidden = !phrase;
  find("confirm-phrase").textContent = phrase ?? "";
  go.textContent = action;
  go.classList.toggle("danger", Boolean(danger));
  typed.value = reason.value = dialog.returnValue = "";
  const check = () => (go.disabled = Boolean(phrase) && typed.value !== phrase);
  check();
  typed.oninput = check;
  // The default button of a form is its first; Enter must mean what is written on `go`.
  dialog.onkeydown = (event) => {
    if (event.key !== "Enter" || event.target.nodeName !== "INPUT") return;
    event.preventDefault();
    if (!go.disabled) dialog.close("go");
  };
  dialog.showModal();
  (phrase ? typed : dialog.querySelector("button")).focus();
  return new Promise((resolve) => {
    dialog.onclose = () => resolve(dialog.returnValue === "go" ? reason.value.trim() : null);
  });
}

/** A short notice that goes by itself. */
export function toast(text, bad = false) {
  const notice = h("div", { class: bad ? "toast bad" : "toast" }, text);
  const all = find("toasts");
  all.append(notice);
  while (all.children.length > 4) all.firstChild.remove();
  setTimeout(() => notice.remove(), bad ? 12_000 : 5_000);
}

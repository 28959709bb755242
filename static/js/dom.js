// Elements are built by hand and compared with what is shown: only what differs is touched, so that
// focus, selection, scrolling and what is being typed survive a refresh. Text is never parsed as HTML.

const SVG = "http://www.w3.org/2000/svg";

/** An element: `h("td", { class: "number" }, "7")`. Absent children and false properties are left out. */
export const h = (tag, properties, ...children) => fill(document.createElement(tag), properties, children);

/** The same for a drawing. */
export const s = (tag, properties, ...children) => fill(document.createElementNS(SVG, tag), properties, children);

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === false || value === null || value === undefined) continue;
    element.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : String(child));
  }
  return element;
}

let pictures = "static/icons.svg#";

/** Brings the pictures into the page, so that they are there also while the server is away. */
export async function bringPictures() {
  try {
    const answer = await fetch("static/icons.svg");
    const drawing = new DOMParser().parseFromString(await answer.text(), "image/svg+xml").documentElement;
    if (!answer.ok || drawing.localName !== "svg") return;
    for (const symbol of drawing.querySelectorAll("symbol")) symbol.id = `picture-${symbol.id}`;
    drawing.setAttribute("class", "pictures");
    drawing.setAttribute("aria-hidden", "true");
    document.body.append(document.adoptNode(drawing));
    pictures = "#picture-";
  } catch {
    // They are taken from the file one by one.
  }
}

/** A picture from `icons.svg`, for decoration only. */
export const icon = (name) => s("svg", { class: "icon", "aria-hidden": "true" }, s("use", { href: `${pictures}${name}` }));

/**
 * Makes `shown` have the children of `wanted`. Children with a `data-key` are matched by it; what is
 * inside of `data-own` belongs to whoever put it there and is left alone.
 */
export function update(shown, wanted) {
  const keyed = new Map();
  for (const child of shown.children) {
    if (child.dataset?.key) keyed.set(child.dataset.key, child);
  }
  let at = shown.firstChild;
  for (const child of [...wanted.childNodes]) {
    const key = child.dataset?.key;
    const same = key ? keyed.get(key) : at && !at.dataset?.key && alike(at, child) ? at : null;
    if (!same) {
      shown.insertBefore(child, at);
      continue;
    }
    if (same === at) at = at.nextSibling;
    else shown.insertBefore(same, at);
    if (alike(same, child)) patch(same, child);
    else same.replaceWith(child);
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

const owned = new Map();

/** What stands for an element with `data-own` in a refresh; `settle` puts the element in its place. */
export function own(element) {
  owned.set(element.dataset.own, element);
  return element.cloneNode(false);
}

export function settle(shown) {
  for (const place of shown.querySelectorAll("[data-own]")) {
    const element = owned.get(place.dataset.own);
    if (element && element !== place) place.replaceWith(element);
  }
  for (const [name, element] of owned) if (!element.isConnected) owned.delete(name);
}

function alike(one, other) {
  return one.nodeType === other.nodeType && one.nodeName === other.nodeName;
}

/** What the reader decides, or what only script may set: not carried over by a refresh. */
const KEPT = new Set(["open", "style"]);

function patch(shown, wanted) {
  if (shown.nodeType === Node.TEXT_NODE) {
    if (shown.data !== wanted.data) shown.data = wanted.data;
    return;
  }
  if (shown.hasAttribute("data-own") && shown.dataset.own === wanted.dataset?.own) return;
  // A choice that is being made is left alone.
  if (shown.nodeName === "SELECT" && shown === document.activeElement) return;
  for (const { name } of [...shown.attributes]) {
    if (!wanted.hasAttribute(name) && !KEPT.has(name)) shown.removeAttribute(name);
  }
  for (const { name, value } of wanted.attributes) {
    if (KEPT.has(name) || shown.getAttribute(name) === value) continue;
    shown.setAttribute(name, value);
    if (name === "value" && shown !== document.activeElement) shown.value = value;
  }
  if (shown.nodeName === "OPTION") shown.selected = wanted.hasAttribute("selected");
  if (wanted.grow !== undefined) grow(shown, wanted.grow);
  update(shown, wanted);
}

/** Gives an element its share of a beam, or its width in percent. The style is set by script, as
    the page's policy allows none in the markup. */
export function grow(element, share) {
  element.grow = share;
  if (share.grow !== undefined) element.style.flexGrow = share.grow;
  if (share.width !== undefined) element.style.width = `${share.width}%`;
  return element;
}

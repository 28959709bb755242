// Elements are built by hand and compared with what is shown: only what differs is touched, so that
// focus, selection, scrolling and what is being typed survive a refresh. Text is never parsed as HTML.

const SVG = "http://www.w3.org/2000/svg";

/** An element: `h("td", { class: "number" }, "7")`. Absent children and false properties are left out. */
export function h(tag, properties, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === false || value === null || value === undefined) continue;
    element.setAttribute(name, value === true ? "" : String(value));
  }
  append(element, children);
  return element;
}

function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : String(child));
  }
}

/** A picture from `icons.svg`, for decoration only. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `static/icons.svg#${name}`);
  svg.append(use);
  return svg;
}

/** Makes `shown` have the children of `wanted`. Children with a `data-key` are matched by it. */
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

function alike(one, other) {
  return one.nodeType === other.nodeType && one.nodeName === other.nodeName;
}

function patch(shown, wanted) {
  if (shown.nodeType === Node.TEXT_NODE) {
    if (shown.data !== wanted.data) shown.data = wanted.data;
    return;
  }
  // A choice that is being made is left alone.
  if (shown.nodeName === "SELECT" && shown === document.activeElement) return;
  for (const { name } of [...shown.attributes]) {
    // Whether something is folded out is the reader's choice.
    if (!wanted.hasAttribute(name) && !(name === "open" || name === "style")) shown.removeAttribute(name);
  }
  for (const { name, value } of wanted.attributes) {
    if (name === "open") continue;
    if (shown.getAttribute(name) !== value) {
      shown.setAttribute(name, value);
      if (name === "value" && shown !== document.activeElement) shown.value = value;
    }
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

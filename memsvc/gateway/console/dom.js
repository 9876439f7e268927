// Elements, made without HTML: every text becomes a text node.

const SVG = "http://www.w3.org/2000/svg";

/** Return an element. Attributes that are functions are listeners, `true` is an empty value, `false` and `null` are left out. */
export function el(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** Return an element of SVG. */
export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

/** Return a table with a caption and column headings; each row is a list of cells. */
export function table(caption, columns, rows) {
  const heads = columns.map((name) => el("th", { scope: "col" }, name));
  const lines = rows.map((cells) => el("tr", {}, ...cells.map((cell) => el("td", {}, cell))));
  const grid = el("table", {}, el("caption", {}, caption), el("thead", {}, el("tr", {}, ...heads)), el("tbody", {}, ...lines));
  // What scrolls must be reached by keyboard too.
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption }, grid);
}

/** Return a label with its control, made of the control's attributes. */
export function field(label, attributes, tag = "input") {
  return el("label", {}, el("span", {}, label), el(tag, attributes));
}

/** Say what happened, for those who do not see it too. */
export function say(text) {
  document.getElementById("alert").textContent = "";
  document.getElementById("status").textContent = text;
}

/** Say what went wrong; a view that was left says nothing. */
export function complain(error) {
  if (error.name === "AbortError") return;
  document.getElementById("status").textContent = "";
  document.getElementById("alert").textContent = error.message;
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value !== false && value !== null) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

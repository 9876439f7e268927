// A question that is asked before what cannot be taken back.

import { el } from "./dom.js";

/** Ask; resolves to whether it was confirmed. Escape and the first button, which has the focus, say no. */
export function confirmed(title, text, action) {
  const dialog = el(
    "dialog",
    { "aria-labelledby": "asked", "aria-describedby": "asked-more" },
    el("h2", { id: "asked" }, title),
    el("p", { id: "asked-more" }, text),
    el(
      "form",
      { method: "dialog", class: "row" },
      el("button", { value: "", autofocus: true }, "Cancel"),
      el("button", { value: "yes", class: "danger" }, action),
    ),
  );
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
  });
}

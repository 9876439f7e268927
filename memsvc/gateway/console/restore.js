// Bringing a tenant's past back, and deciding whether it stays.

import { post, requestId, tenantPath } from "./api.js";
import { confirmed } from "./dialog.js";
import { complain, el, say } from "./dom.js";

const QUESTIONS = {
  restore: [
    "What was written since is put aside until the restore is confirmed or undone. What was forgotten stays forgotten.",
    "Restore",
  ],
  "restore/confirm": ["What the tenant was before the restore is destroyed. Nothing brings it back.", "Keep it"],
  "restore/undo": ["The tenant is what it was before the restore. What was written since is destroyed.", "Undo"],
};

/** Return the buttons; `again` shows the view anew once something changed. */
export function restoring(past, signal, again) {
  const act = (call, title) => async (event) => {
    const opener = event.target;
    const of = past.seq;
    if (call === "restore" && of === null) {
      say("Move the slider to the moment to restore first");
      return;
    }
    if (!(await confirmed(call === "restore" ? `${title} to record ${of}?` : `${title}?`, ...QUESTIONS[call]))) {
      opener.focus();
      return;
    }
    try {
      const to = call === "restore" ? { to: { seq: of } } : {};
      await post(tenantPath(past.tenant, ...call.split("/")), { ...to, requestId: requestId() }, signal);
      past.seq = null;
      await again();
    } catch (error) {
      complain(error);
    }
  };
  const button = (call, title) => el("button", { type: "button", click: act(call, title) }, `${title}…`);
  if (!past.restorePending) return el("p", { class: "row" }, button("restore", "Restore this moment"));
  return el(
    "section",
    { class: "row notice", "aria-label": "Restore" },
    el("p", {}, "This tenant was restored; what it was before is kept until you decide."),
    button("restore/confirm", "Keep the restored state"),
    button("restore/undo", "Undo the restore"),
  );
}

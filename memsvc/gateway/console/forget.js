// Erasing an entry: asked for, begun, and followed until it is done.

import { get, post, requestId, tenantPath } from "./api.js";
import { confirmed } from "./dialog.js";
import { complain, el, say } from "./dom.js";

const POLL_MS = 300;

/** Resolves to whether the entry is hidden; how far the rest is shows in `place`. */
export async function forget(past, entry, place, signal) {
  const question =
    "Its text is erased with all its revisions, from the memory’s weights and from every moment of the past. Nothing brings it back.";
  if (!(await confirmed(`Forget “${entry.id}”?`, question, "Forget"))) return false;
  try {
    const asked = { ids: [entry.id], requestId: requestId() };
    const erasure = await post(tenantPath(past.tenant, "forget"), asked, signal);
    follow(past.tenant, erasure, place, signal).catch(complain);
    return true;
  } catch (error) {
    complain(error);
    return false;
  }
}

async function follow(tenant, erasure, place, signal) {
  const bar = el("progress", { "aria-label": "Erasure" });
  const heading = el("h2", { tabindex: "-1" }, "Erasure");
  const words = el("p", { role: "status" });
  place.replaceChildren(heading, bar, words);
  heading.focus();
  while (erasure.state !== "ERASURE_STATE_DONE") {
    const [folded, total] = [Number(erasure.foldedRecords), Number(erasure.totalRecords)];
    if (total) Object.assign(bar, { max: total, value: folded });
    words.textContent = `Hidden at once; the memory is folded afresh without it: ${folded} of ${total} records.`;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    erasure = await get(tenantPath(tenant, "erasures", erasure.operation), {}, signal);
  }
  Object.assign(bar, { max: 1, value: 1 });
  const pending = erasure.filesPending ? " The store’s own files may hold some of it until they are written anew." : "";
  const copies = erasure.copies.length ? ` Not reached: ${erasure.copies.join(", ")}.` : "";
  words.textContent = `Erased: ${erasure.entries} revisions, ${erasure.bytesDestroyed} bytes of text destroyed.${pending}${copies}`;
  say("The erasure is done");
}

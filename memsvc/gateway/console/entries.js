// A tenant's entries: listed in the order of their records, or those that a search finds.

import { get, post, tenantPath } from "./api.js";
import { complain, el, field, say, table } from "./dom.js";
import { forget } from "./forget.js";
import { Pager } from "./pager.js";
import { restoring } from "./restore.js";

const PAGE = 20;
const MOST_FOUND = 100;

export async function showEntries(place, past, signal, again) {
  const query = field("Search", { name: "query", type: "search" });
  const list = el("div");
  const progress = el("div");
  let show = listed;
  const pager = new Pager(async (token) => {
    const { entries, next, words } = await show(token);
    const draw = () => {
      list.replaceChildren(entries.length ? table(words, columns(), entries.map(row)) : el("p", {}, "There are none."));
      say(`${entries.length} ${words}`);
    };
    return { next, draw };
  });

  async function listed(pageToken) {
    const asked = { pageSize: PAGE, pageToken, "asOf.seq": past.seq };
    const { entries, nextPageToken } = await get(tenantPath(past.tenant, "entries"), asked, signal);
    return { entries, next: nextPageToken, words: `entries on this page, ${past.words}` };
  }

  /** A search whose hits are turned over page by page; a token says at which hit a page begins. */
  function searched(text) {
    const seq = past.seq;
    const answer = post(tenantPath(past.tenant, "recall"), { query: text, k: MOST_FOUND, ...(seq && { asOf: { seq } }) }, signal);
    return async (token) => {
      const { hits } = await answer;
      const from = Number(token);
      const next = from + PAGE < hits.length ? String(from + PAGE) : "";
      const entries = hits.slice(from, from + PAGE).map(({ entry }) => entry);
      return { entries, next, words: `entries on this page of the ${hits.length} best for “${text}”, ${past.words}` };
    };
  }

  async function refresh(event) {
    event?.preventDefault();
    const text = query.querySelector("input").value.trim();
    show = text ? searched(text) : listed;
    try {
      await pager.first();
    } catch (error) {
      complain(error);
    }
  }

  // What is of the past cannot be forgotten from there without saying that it goes from every moment: the dialog does.
  function row(entry) {
    const erase = async (event) => {
      const opener = event.target;
      if (await forget(past, entry, progress, signal)) await refresh();
      else opener.focus();
    };
    const button = el("button", { type: "button", class: "danger", "aria-label": `Forget ${entry.id}`, click: erase }, "Forget…");
    return [entry.id, el("span", { class: "text" }, entry.text), entry.session, entry.role, entry.time ?? "", entry.seq, button];
  }

  place.append(
    el("form", { submit: refresh, class: "row", role: "search" }, query, el("button", {}, "Search")),
    past.slider(refresh),
    restoring(past, signal, again),
    progress,
    list,
    pager.buttons,
  );
  await pager.first();
}

function columns() {
  return ["Id", "Text", "Session", "Role", "Time", "Record", "Action"];
}

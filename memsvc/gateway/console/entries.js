// A tenant's entries: listed in the order of their records, or those that a search finds.

import { get, post, tenantPath } from "./api.js";
import { complain, el, field, say, table } from "./dom.js";
import { Pager } from "./pager.js";

const PAGE = 20;
const MOST_FOUND = 100;

export async function showEntries(place, { tenant }, signal) {
  const query = field("Search", { name: "query", type: "search" });
  const list = el("div");
  let show = listed;
  const pager = new Pager(async (token) => {
    const { entries, next, words } = await show(token);
    list.replaceChildren(entries.length ? table(words, columns(), entries.map(row)) : el("p", {}, "There are none."));
    say(`${entries.length} ${words}`);
    return next;
  });

  async function listed(pageToken) {
    const { entries, nextPageToken } = await get(tenantPath(tenant, "entries"), { pageSize: PAGE, pageToken }, signal);
    return { entries, next: nextPageToken, words: "entries on this page" };
  }

  /** A search whose hits are turned over page by page; a token says at which hit a page begins. */
  function searched(text) {
    const answer = post(tenantPath(tenant, "recall"), { query: text, k: MOST_FOUND }, signal);
    return async (token) => {
      const { hits } = await answer;
      const from = Number(token);
      const next = from + PAGE < hits.length ? String(from + PAGE) : "";
      const entries = hits.slice(from, from + PAGE).map(({ entry }) => entry);
      return { entries, next, words: `entries on this page of the ${hits.length} best for “${text}”` };
    };
  }

  async function refresh(event) {
    event.preventDefault();
    const text = query.querySelector("input").value.trim();
    show = text ? searched(text) : listed;
    try {
      await pager.first();
    } catch (error) {
      complain(error);
    }
  }

  place.append(
    el("form", { submit: refresh, class: "row", role: "search" }, query, el("button", {}, "Search")),
    list,
    pager.buttons,
  );
  await pager.first();
}

function columns() {
  return ["Id", "Text", "Session", "Role", "Time", "Record"];
}

function row({ id, text, session, role, time, seq }) {
  return [id, el("span", { class: "text" }, text), session, role, time ?? "", seq];
}

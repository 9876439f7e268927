// A question, what it finds, and what cosine alone would have put first.

import { post, tenantPath } from "./api.js";
import { complain, el, field, say, table } from "./dom.js";
import { newest } from "./newest.js";

const SHOWN = 10;
const ASKED = 100;
const PARTS = ["surprise", "cosine", "lexical", "context"];

export async function showRecall(place, past, signal) {
  const query = field("Question", { name: "query", type: "search", required: true });
  const results = el("div", { class: "beside" });
  const answered = newest((asked) => post(tenantPath(past.tenant, "recall"), asked, signal));
  const ask = async (event) => {
    event?.preventDefault();
    const text = query.querySelector("input").value.trim();
    if (!text) return;
    const asked = { query: text, k: ASKED, ...(past.seq && { asOf: { seq: past.seq } }) };
    try {
      const answer = await answered(asked);
      if (answer === null) return;
      results.replaceChildren(...compared(answer.hits));
      say(`${Math.min(SHOWN, answer.hits.length)} hits, ${past.words}`);
    } catch (error) {
      complain(error);
    }
  };
  place.append(el("form", { submit: ask, class: "row", role: "search" }, query, el("button", {}, "Recall")), past.slider(ask), results);
}

/** Both rankings. Recall has no option for one signal alone, so the second sorts what it returned by the cosine part. */
function compared(hits) {
  const ranks = new Map(hits.map(({ entry }, i) => [entry.id, i + 1]));
  const alone = hits.toSorted((a, b) => b.parts.cosine - a.parts.cosine);
  const among = hits.length === 0
    ? "There are no hits to sort."
    : hits.every(({ parts }) => parts.cosine === 0)
    ? "Cosine tells none of these hits from another, or is switched off on this server: this order says nothing."
    : hits.length < ASKED
      ? `All ${hits.length} hits that there are, sorted by the cosine part of their scores: what a vector store with the same encoder would have ranked.`
      : `The best ${ASKED} hits, sorted by the cosine part of their scores. An entry that recall ranks lower than ${ASKED} is missing here, even if cosine alone had put it first.`;
  const full = hits.slice(0, SHOWN).map(({ entry, score, parts }, i) => [
    String(i + 1),
    words(entry),
    score.toFixed(2),
    ...PARTS.map((name) => parts[name].toFixed(2)),
  ]);
  const cosine = alone
    .slice(0, SHOWN)
    .map(({ entry, parts }, i) => [String(i + 1), words(entry), parts.cosine.toFixed(2), String(ranks.get(entry.id))]);
  return [
    el("section", { "aria-labelledby": "full" }, el("h2", { id: "full" }, "Recall"), el("p", {}, "A score is the sum of its parts."), table("Hits, best first", ["Rank", "Entry", "Score", ...PARTS], full)),
    el("section", { "aria-labelledby": "alone" }, el("h2", { id: "alone" }, "By cosine alone"), el("p", {}, among), table("The same hits by cosine", ["Rank", "Entry", "Cosine part", "Rank in recall"], cosine)),
  ];
}

function words({ id, text }) {
  return el("span", { class: "text" }, el("b", {}, id), " ", text);
}

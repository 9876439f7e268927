/** From messages to what a caller gets. */

import { FinishReason, type GenerateResponse } from "./gen/memsvc/v1/generate_pb.js";
import * as memory from "./gen/memsvc/v1/memory_pb.js";
import type * as types from "./gen/memsvc/v1/types_pb.js";
import { plain } from "./plain.js";
import type { Erasure, Hit, Recall, StoredEntry, Token } from "./types.js";

/** Return an entry as the server keeps it. */
export function entry(message: types.Entry): StoredEntry {
  const { id, text, session, role, time, metadataJson, learn, expireTime, seq, commitTime } = plain(message);
  return {
    id,
    text,
    ...(session && { session }),
    ...(role && { role }),
    time: time!,
    metadata: JSON.parse(metadataJson || "{}"),
    learn: learn ?? true,
    ...(expireTime && { expire: expireTime }),
    seq,
    commitTime: commitTime!,
  };
}

/** Return the answer to a recall. */
export function recall(message: { hits: memory.Hit[]; appliedSeq: bigint; context: string }): Recall {
  return { hits: message.hits.map(hit), appliedSeq: Number(message.appliedSeq), context: message.context };
}

/** Return the next of an answer. */
export function token({ event }: GenerateResponse): Token {
  if (event.case === "recalled") return { text: "", recalled: recall(event.value) };
  if (event.case !== "finished") return { text: event.value ?? "" }; // text, or what a newer server says
  const { reason, ...usage } = plain(event.value);
  return { text: "", usage: { ...usage, finish: reason === FinishReason.LENGTH ? "length" : "stop" } };
}

/** Return how far an erasure is. */
export function erasure(message: memory.Erasure): Erasure {
  const { state, ...rest } = plain(message);
  return { ...rest, done: state === memory.ErasureState.DONE };
}

function hit(message: memory.Hit): Hit {
  const found = entry(message.entry!);
  const { start, end } = message.passage ?? { start: 0, end: 0 };
  return {
    entry: found,
    score: message.score,
    parts: plain(message.parts!),
    span: { start: index(found.text, start), end: index(found.text, end) },
    before: message.before.map(entry),
    after: message.after.map(entry),
    also: message.also,
  };
}

/** Return where a code point lies in a string: the server counts those, JavaScript counts UTF-16 units. */
function index(text: string, codePoint: number): number {
  let at = 0;
  for (let passed = 0; passed < codePoint && at < text.length; passed++) at += text.codePointAt(at)! > 0xffff ? 2 : 1;
  return at;
}

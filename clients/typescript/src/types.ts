/** What callers give and get. Times are kept to the millisecond, as `Date` does. */

import type * as generate from "./gen/memsvc/v1/generate_pb.js";
import type * as memory from "./gen/memsvc/v1/memory_pb.js";
import type { Plain } from "./plain.js";

export type Metadata = Record<string, unknown>;

/** A piece of text to write. */
export interface Entry {
  text: string;
  /** Unique in the tenant; the client assigns one where it is left out, so that a retry writes nothing twice. */
  id?: string;
  /** What the text belongs to: a conversation, a document. Neighbours within it give each other context. */
  session?: string;
  /** Who speaks. */
  role?: string;
  /** When the event happened; when it was committed where it is left out. */
  time?: Date;
  /** A JSON object of at most 16 KiB. */
  metadata?: Metadata;
  /** Whether the text changes the memory's weights; true where it is left out. */
  learn?: boolean;
  /** When it is hidden by itself. */
  expire?: Date;
}

/** An entry as the server keeps it. */
export interface StoredEntry extends Entry {
  id: string;
  time: Date;
  metadata: Metadata;
  learn: boolean;
  /** The log record that holds it. */
  seq: number;
  /** When that record was committed, cut to the millisecond; `asOf: entry.seq` is exact. */
  commitTime: Date;
}

/** A moment in a tenant's past: after the record of that seq, or after the last one committed at or before that time. */
export type Moment = number | Date;

export interface CallOptions {
  /** Milliseconds for the call, all its tries together, in place of the client's. */
  timeoutMs?: number;
  /** Ends the call; it then throws the signal's reason. */
  signal?: AbortSignal;
}

/** Which entries; all conditions hold at once. */
export interface Filter {
  session?: string;
  role?: string;
  /** Only entries whose time is at or after this one. */
  after?: Date;
  /** Only entries whose time is before this one. */
  before?: Date;
  /** For example `{lang: "en", page: {$gte: 3}}`. */
  metadata?: Metadata;
}

/** What a write stream is fed with: entries, strings that are entries of that text, and arrays that are one batch each. */
export type Item = Entry | string | readonly (Entry | string)[];

export interface WriteOptions extends CallOptions {
  /** Until the batch is on disk, or until it is recallable too: surprise and gate share are then known. */
  wait?: "durable" | "applied";
}

export interface RecallOptions extends CallOptions, Filter {
  /** At most so many hits; 10 where it is left out. */
  k?: number;
  /** Entries before and after each hit in its session to return with it. */
  neighbours?: number;
  /** Wait until this record is applied; 0 waits for none. All that is committed where it is left out. */
  minSeq?: number;
  /** Also return a context for a prompt, of at most this many tokens. */
  maxTokens?: number;
  /** Ask the memory as it was then; not with `minSeq`. */
  asOf?: Moment;
}

export interface GetOptions extends CallOptions {
  /** The revision that it had then. */
  asOf?: Moment;
}

export interface ListOptions extends CallOptions, Filter {
  /** The entries that lived then. */
  asOf?: Moment;
  /** With those that left the index because there were too many; not with `asOf`. */
  includeEvicted?: boolean;
}

export interface ForgetOptions extends CallOptions, Filter {
  /** These entries, 10,000 at most; with a filter, those of them that match. */
  ids?: string | readonly string[];
  /** Until all is done, unless false; `getErasure` says how far it is. */
  wait?: boolean;
}

/** One turn of a conversation. */
export interface Message {
  role: "system" | "user" | "assistant";
  text: string;
}

export interface GenerateOptions extends CallOptions {
  /** At most so many tokens; 256 where it is left out. */
  maxTokens?: number;
  /** 0 takes the likeliest token every time, and is the default. */
  temperature?: number;
  /** Tokens are drawn from the likeliest that make up so much. */
  topP?: number;
  /** The answer ends before the first of these. */
  stop?: string | readonly string[];
  seed?: number;
  /** Whether the last message and the answer become entries, once the answer is complete. */
  remember?: boolean;
  /** The session of what is remembered. */
  session?: string;
  /** What to recall: the last message's subject, among all entries, unless it says otherwise. */
  recall?: Filter & { query?: string; k?: number; maxTokens?: number } | false;
  /** Wait until this record is applied, 0 waits for none. All that was committed when the call arrives where it is left out. */
  minSeq?: number;
}

/** What became of a batch, entry by entry. All of it is durable. */
export type Receipt = Plain<memory.WriteResponse>;

/** An entry was hidden. */
export type Deletion = Plain<memory.DeleteEntryResponse>;

/** How far an erasure is. Its entries are hidden from the start; the hashes are empty until they are known. */
export type Erasure = Omit<Plain<memory.Erasure>, "state"> & { done: boolean };

/** The weighted parts of a score, which is their sum. */
export type ScoreParts = Plain<memory.ScoreParts>;

/** One entry found. */
export interface Hit {
  entry: StoredEntry;
  score: number;
  parts: ScoreParts;
  /** The passage that matched best: `entry.text.slice(start, end)`. */
  span: { start: number; end: number };
  /** With `neighbours`: entries before it in its session, nearest last. */
  before: StoredEntry[];
  /** With `neighbours`: entries after it in its session, nearest first. */
  after: StoredEntry[];
  /** The ids of other entries that share its text, where the tenant merges duplicates. */
  also: string[];
}

/** The answer to a recall. */
export interface Recall {
  /** Best first. */
  hits: Hit[];
  /** The record up to which the answer knows everything. */
  appliedSeq: number;
  /** With `maxTokens`: the hits in time order, packed to the budget and fenced as data. */
  context: string;
}

/** What an answer came to; times are milliseconds, and `rememberedSeq` is 0 where nothing is remembered. */
export type Usage = Omit<Plain<generate.Finished>, "reason"> & { finish: "stop" | "length" };

/** The next of an answer: first what was recalled, then pieces of text, last what it came to. */
export interface Token {
  text: string;
  recalled?: Recall;
  usage?: Usage;
}

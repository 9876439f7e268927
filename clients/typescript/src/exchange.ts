/** The write stream's protocol, without I/O: what to say next, and what an answer means. */

import { create, toBinary } from "@bufbuild/protobuf";

import { errorOf } from "./errors.js";
import { type WriteStreamRequest, WriteStreamRequestSchema, type WriteStreamResponse } from "./gen/memsvc/v1/memory_pb.js";
import { type Entry as EntryMessage, EntrySchema } from "./gen/memsvc/v1/types_pb.js";
import { plain } from "./plain.js";
import { batchOf, entryOf, fitting } from "./requests.js";
import type { Entry, Item, Receipt } from "./types.js";
import { string } from "./values.js";

// Larger batches gain nothing: a server that is behind lets a whole batch wait for room.
const BATCH_ENTRIES = 64;
const BATCH_BYTES = 64 * 1024;
const MAX_IN_FLIGHT_BATCHES = 64;
const MAX_IN_FLIGHT_BYTES = 8 * 1024 * 1024;
const FLUSH = 1n;

interface Batch {
  request: WriteStreamRequest;
  size: number;
}

/**
 * One caller's stream of batches, over as many connections as it takes.
 *
 * Batches are sent in order and acknowledged in order. What a connection leaves unacknowledged is sent again on the next
 * one, under the same ids. The half-close comes after the answer to a flush, because it commits nothing.
 *
 * The first batch of a connection goes alone. The reason for which a server ends a call can be lost while messages are
 * on the way; on the next connection the batch that was refused is the first, and the reason comes through.
 */
export class Exchange {
  /** The flush that follows the last batch is answered. */
  done = false;
  /** Batches acknowledged so far. */
  acknowledged = 0;
  readonly #tenant: string;
  #open = false;
  #proven = false;
  #ended = false;
  #flushed = false;
  #window = 0;
  #items = 0;
  #gathering: EntryMessage[] = [];
  #gathered = 0;
  #unsent: Batch[] = [];
  #sent: Batch[] = [];
  #inFlight = 0;

  constructor(tenant: string) {
    this.#tenant = string("tenant", tenant);
  }

  /** Begin on a new connection; return its first message. */
  restart(): WriteStreamRequest {
    this.#unsent.unshift(...this.#sent);
    this.#sent = [];
    this.#inFlight = 0;
    this.#open = this.#proven = this.#flushed = false;
    return create(WriteStreamRequestSchema, { message: { case: "open", value: { tenant: this.#tenant } } });
  }

  /** Whether another item can be put to use now. */
  get hungry(): boolean {
    return this.#open && !this.#ended && !this.#unsent.length && this.#hasRoom(1);
  }

  /** Whether the server owes an answer. */
  get waits(): boolean {
    return !this.#open || this.#sent.length > 0 || this.#flushed;
  }

  /** Take an item of the caller's: an array is a batch of its own, entries are gathered into batches. */
  add(item: Item): void {
    if (Array.isArray(item)) {
      this.#closeBatch();
      this.#queue(batchOf(item));
      return;
    }
    const entry = create(EntrySchema, entryOf(item as Entry | string, `entries[${this.#items}]`));
    this.#items += 1;
    const size = toBinary(EntrySchema, entry).length;
    if (this.#gathered + size > BATCH_BYTES) this.#closeBatch();
    this.#gathering.push(entry);
    this.#gathered += size;
    if (this.#gathering.length === BATCH_ENTRIES) this.#closeBatch();
  }

  /** Take note that there are no more items. */
  end(): void {
    this.#closeBatch();
    this.#ended = true;
  }

  /** Yield the messages to send now. */
  *requests(): Generator<WriteStreamRequest, void, void> {
    while (this.#open && this.#unsent.length && this.#hasRoom(this.#unsent[0]!.size)) {
      const batch = this.#unsent.shift()!;
      this.#sent.push(batch);
      this.#inFlight += batch.size;
      yield batch.request;
    }
    if (this.#open && this.#ended && !this.#unsent.length && !this.#flushed) {
      this.#flushed = true;
      yield create(WriteStreamRequestSchema, { message: { case: "flush", value: { token: FLUSH } } });
    }
  }

  /** Take an answer; return the receipt if it acknowledges a batch. */
  receive({ window, message }: WriteStreamResponse): Receipt | undefined {
    this.#window = Number(window);
    if (message.case === "opened") {
      this.#open = true;
    } else if (message.case === "flushed" && this.#flushed && !this.#sent.length) {
      this.done = true;
    } else if (message.case === "ack" && this.#sent.length) {
      this.#inFlight -= this.#sent.shift()!.size;
      this.acknowledged += 1;
      this.#proven = true;
      return plain(message.value);
    } else if (message.case !== undefined) {
      throw errorOf("INTERNAL", `the server sent ${message.case} where none was due`);
    }
    return undefined;
  }

  /** Whether so many bytes more may be on the way. One batch always may: the server then lets it wait. */
  #hasRoom(size: number): boolean {
    if (!this.#sent.length || !this.#proven) return !this.#sent.length;
    const limit = Math.min(this.#window, MAX_IN_FLIGHT_BYTES);
    return this.#inFlight + size <= limit && this.#sent.length < MAX_IN_FLIGHT_BATCHES;
  }

  #closeBatch(): void {
    if (!this.#gathering.length) return;
    this.#queue(this.#gathering);
    this.#gathering = [];
    this.#gathered = 0;
  }

  #queue(entries: ReturnType<typeof batchOf>): void {
    const request = create(WriteStreamRequestSchema, { message: { case: "batch", value: { entries } } });
    this.#unsent.push({ request, size: fitting("entries", toBinary(WriteStreamRequestSchema, request).length) });
  }
}

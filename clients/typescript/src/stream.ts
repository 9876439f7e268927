/** The write stream: an exchange over gRPC calls, one call for each connection that it takes. */

import { setTimeout as sleep } from "node:timers/promises";

import type { Caller } from "./caller.js";
import { MemsvcError } from "./errors.js";
import { Exchange } from "./exchange.js";
import type { WriteStreamRequest, WriteStreamResponse } from "./gen/memsvc/v1/memory_pb.js";
import type { Trip } from "./trip.js";
import type { CallOptions, Item, Receipt } from "./types.js";

/** Milliseconds that a server has to end a stream in which everything is durable already. */
const GRACE_MS = 1_000;

/** A connection failed. Never thrown by the caller's own items, whatever they read from. */
class Broken extends Error {
  constructor(readonly failure: MemsvcError | undefined) {
    super();
  }
}

/** Yield a receipt for each batch, reconnecting where the stream breaks. Leaving the loop ends the call. */
export async function* writeStream(
  caller: Caller,
  tenant: string,
  items: Iterable<Item> | AsyncIterable<Item>,
  options: CallOptions,
): AsyncGenerator<Receipt, void, void> {
  const exchange = new Exchange(tenant);
  const trip = caller.trip(tenant, options);
  const source = new Source(items);
  try {
    for (let brokenBefore = false; ; ) {
      const { acknowledged } = exchange;
      try {
        return yield* overOne(caller, trip, exchange, source, options.signal);
      } catch (broken) {
        if (!(broken instanceof Broken)) throw broken;
        if (!brokenBefore || exchange.acknowledged > acknowledged) trip.renew();
        brokenBefore = true;
        await trip.pause(broken.failure, options.signal);
      }
    }
  } finally {
    source.leave();
  }
}

async function* overOne(
  caller: Caller,
  trip: Trip,
  exchange: Exchange,
  source: Source,
  signal: AbortSignal | undefined,
): AsyncGenerator<Receipt, void, void> {
  const link = new Link(caller, trip, signal);
  try {
    link.send(exchange.restart());
    while (!exchange.done) {
      for (const request of exchange.requests()) link.send(request);
      link.expect(exchange.waits);
      const next = await Promise.race(exchange.hungry ? [link.answer, source.item] : [link.answer]);
      if ("answer" in next) {
        link.taken();
        const receipt = exchange.receive(next.answer);
        if (receipt) yield receipt;
      } else {
        source.taken();
        if (next.item.done) exchange.end();
        else exchange.add(next.item.value);
      }
    }
    await link.finish();
  } finally {
    link.close();
  }
}

/** The caller's items, one of which may be waited for while a connection comes and goes. */
class Source {
  readonly #items: Iterator<Item> | AsyncIterator<Item>;
  #next: Promise<{ item: IteratorResult<Item> }> | undefined;

  constructor(items: Iterable<Item> | AsyncIterable<Item>) {
    const given = typeof items === "string" ? [items] : items;
    this.#items = Symbol.asyncIterator in given ? given[Symbol.asyncIterator]() : given[Symbol.iterator]();
  }

  get item(): Promise<{ item: IteratorResult<Item> }> {
    this.#next ??= heard(this.#read());
    return this.#next;
  }

  taken(): void {
    this.#next = undefined;
  }

  /** Let it end; who still waits for something there is not waited for. */
  leave(): void {
    heard(this.#end());
  }

  async #end(): Promise<void> {
    await this.#items.return?.();
  }

  async #read(): Promise<{ item: IteratorResult<Item> }> {
    return { item: await this.#items.next() };
  }
}

/** One call. */
class Link {
  readonly #trip: Trip;
  readonly #signal: AbortSignal | undefined;
  readonly #left = new AbortController();
  readonly #outbox = new Outbox();
  readonly #answers: AsyncGenerator<WriteStreamResponse, void, void>;
  #next: Promise<{ answer: WriteStreamResponse }> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #silent = false;

  constructor(caller: Caller, trip: Trip, signal: AbortSignal | undefined) {
    this.#trip = trip;
    this.#signal = signal;
    const either = signal ? AbortSignal.any([this.#left.signal, signal]) : this.#left.signal;
    this.#answers = caller.received(trip.begin(), (at, wire) => at.memory.writeStream(this.#outbox, wire), { signal: either });
  }

  /** The next answer; throws `Broken` when the call is over. */
  get answer(): Promise<{ answer: WriteStreamResponse }> {
    this.#next ??= heard(this.#read());
    return this.#next;
  }

  taken(): void {
    this.#next = undefined;
    this.expect(false);
  }

  send(request: WriteStreamRequest): void {
    this.#outbox.push(request);
  }

  /** Give the server the call's timeout for an answer, counted from when it began to owe one, or that it owes none. */
  expect(due: boolean): void {
    if (!due) {
      clearTimeout(this.#timer);
      this.#timer = undefined;
    } else {
      this.#timer ??= setTimeout(() => {
        this.#silent = true;
        this.#left.abort();
      }, this.#trip.timeoutMs);
    }
  }

  /** Half-close, and let the server end the call. */
  async finish(): Promise<void> {
    this.expect(false);
    this.#outbox.end();
    await Promise.race([this.answer.catch(() => undefined), sleep(GRACE_MS, undefined, { ref: false, signal: this.#left.signal })]);
  }

  close(): void {
    this.expect(false);
    this.#outbox.end();
    this.#left.abort();
    heard(this.#answers.return());
  }

  async #read(): Promise<{ answer: WriteStreamResponse }> {
    try {
      const next = await this.#answers.next();
      if (!next.done) return { answer: next.value };
    } catch (failure) {
      this.#signal?.throwIfAborted();
      if (this.#silent) throw this.#trip.silence();
      throw failure instanceof MemsvcError ? new Broken(failure) : failure;
    }
    throw new Broken(undefined);
  }
}

/** Messages on their way to the transport, which takes them as it can. */
class Outbox implements AsyncIterable<WriteStreamRequest> {
  readonly #waiting: WriteStreamRequest[] = [];
  #ended = false;
  #wake = (): void => undefined;

  push(request: WriteStreamRequest): void {
    this.#waiting.push(request);
    this.#wake();
  }

  end(): void {
    this.#ended = true;
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<WriteStreamRequest, void, void> {
    for (;;) {
      while (this.#waiting.length) yield this.#waiting.shift()!;
      if (this.#ended) return;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }
}

/** Return a promise whose failure ends no process, should nobody be there to hear it. */
function heard<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => undefined);
  return promise;
}

/** The calls of one client: whom each of their tries asks, and how long they may take. */

import type { CallOptions as WireOptions } from "@connectrpc/connect";

import { targetsOf } from "./addresses.js";
import { type Access, type Peer, Peers } from "./peers.js";
import { Routes } from "./routes.js";
import { toError } from "./status.js";
import { ATTEMPTS, Trip } from "./trip.js";
import type { CallOptions } from "./types.js";
import { milliseconds } from "./values.js";

const TIMEOUT_MS = 30_000;

/** Makes a call at a server. */
export type Send<Reply> = (at: Peer, wire: WireOptions) => Reply;

export interface Facts {
  /** Whether it is tried a single time: what makes a secret is. */
  once?: boolean;
  /** Milliseconds that it may take where its options do not say; those of the client where this does not either. */
  timeoutMs?: number;
}

export class Caller {
  readonly #routes: Routes;
  readonly #peers: Peers;
  readonly #timeoutMs: number;

  constructor(target: string | readonly string[], access: Access, timeoutMs = TIMEOUT_MS) {
    const targets = targetsOf(target);
    this.#peers = new Peers(access);
    for (const address of targets) this.#peers.check(address);
    this.#routes = new Routes(targets);
    this.#timeoutMs = milliseconds("timeoutMs", timeoutMs);
  }

  close(): void {
    this.#peers.close();
  }

  /** Return the server at an address; throws where the key must not go there, or the client is closed. */
  at(address: string): Peer {
    return this.#peers.at(address);
  }

  /** Return the milliseconds that a call may take. */
  timeoutOf(options: CallOptions): number {
    return options.timeoutMs === undefined ? this.#timeoutMs : milliseconds("timeoutMs", options.timeoutMs);
  }

  /** Return the tries of a call that starts now, about a tenant or none. */
  trip(tenant: string | undefined, options: CallOptions, facts: Facts = {}): Trip {
    const timeoutMs = this.timeoutOf({ timeoutMs: options.timeoutMs ?? facts.timeoutMs });
    return new Trip(this.#routes, tenant, timeoutMs, facts.once ? 1 : ATTEMPTS);
  }

  /** Make a call that answers once. */
  async call<Reply>(
    tenant: string | undefined,
    options: CallOptions,
    send: Send<Promise<Reply>>,
    facts: Facts = {},
  ): Promise<Reply> {
    const trip = this.trip(tenant, options, facts);
    for (;;) {
      const address = trip.begin();
      try {
        return await send(this.at(address), { timeoutMs: trip.remainingMs, signal: options.signal });
      } catch (failure) {
        await trip.pause(toError(failure, address), options.signal);
      }
    }
  }

  /** Yield page after page of a list; the timeout is for each. */
  async *pages<Request extends { pageToken: string }, Page extends { nextPageToken: string }>(
    tenant: string | undefined,
    options: CallOptions,
    request: Request,
    send: (at: Peer, request: Request, wire: WireOptions) => Promise<Page>,
  ): AsyncGenerator<Page, void, void> {
    do {
      const page = await this.call(tenant, options, (at, wire) => send(at, request, wire));
      yield page;
      request.pageToken = page.nextPageToken;
    } while (request.pageToken);
  }

  /** Yield what a server streams in one call. Leaving the loop ends the call. */
  async *received<Message>(
    address: string,
    send: Send<AsyncIterable<Message>>,
    { signal, timeoutMs }: CallOptions,
  ): AsyncGenerator<Message, void, void> {
    const left = new AbortController();
    const either = signal ? AbortSignal.any([left.signal, signal]) : left.signal;
    let messages: AsyncIterator<Message> | undefined;
    try {
      messages = send(this.at(address), { timeoutMs, signal: either })[Symbol.asyncIterator]();
      for (;;) {
        const next = await messages.next();
        if (next.done) return;
        yield next.value;
      }
    } catch (failure) {
      signal?.throwIfAborted();
      throw toError(failure, address);
    } finally {
      left.abort();
      // Only a step that fails ends the transport's timer, which would keep the process alive.
      await messages?.next().catch(() => undefined);
    }
  }
}

/** The client. */

import { setTimeout as sleep } from "node:timers/promises";

import type { CallOptions as WireOptions } from "@connectrpc/connect";

import { targetsOf } from "./addresses.js";
import { AlreadyExistsError, DeadlineExceededError, errorOf, MemsvcError, wrong } from "./errors.js";
import type { GenerateResponse } from "./gen/memsvc/v1/generate_pb.js";
import { type Access, type Peer, Peers } from "./peers.js";
import { plain } from "./plain.js";
import * as replies from "./replies.js";
import * as requests from "./requests.js";
import { Routes } from "./routes.js";
import { toError } from "./status.js";
import { Trip } from "./trip.js";
import type * as types from "./types.js";
import { boolean, milliseconds, string } from "./values.js";

export interface ClientOptions extends Access {
  /** Milliseconds that a call may take, all its tries together; 30,000 where it is left out. */
  timeoutMs?: number;
}

const TIMEOUT_MS = 30_000;
/** Milliseconds that a whole answer may take, unless a caller says otherwise. */
const ANSWER_MS = 600_000;
const FIRST_POLL_MS = 200;
const MOST_POLL_MS = 2_000;

/**
 * Writes text into tenants' memories and recalls it.
 *
 * Every call may be tried again within its timeout, and none takes effect twice: entries get their ids here, and what
 * changes anything else carries a request id. Every call throws a `MemsvcError`.
 */
export class MemoryClient {
  readonly #routes: Routes;
  readonly #peers: Peers;
  readonly #timeoutMs: number;

  /**
   * @param target the server's address, or several: an array, or between commas. The first that answers is asked, and
   *   who it says owns a tenant.
   */
  constructor(target: string | readonly string[], options: ClientOptions = {}) {
    const { timeoutMs, ...access } = options;
    const targets = targetsOf(target);
    this.#peers = new Peers(access);
    for (const address of targets) this.#peers.check(address);
    this.#routes = new Routes(targets);
    this.#timeoutMs = milliseconds("timeoutMs", timeoutMs ?? TIMEOUT_MS);
  }

  /** Close all connections, without which a process does not end. Calls under way fail. */
  close(): void {
    this.#peers.close();
  }

  /** Create a tenant. */
  async createTenant(tenant: string, options: types.CreateTenantOptions = {}): Promise<void> {
    const request = requests.createTenant(tenant, options);
    try {
      await this.#call(tenant, options, (at, wire) => at.tenants.createTenant(request, wire));
    } catch (error) {
      if (!(options.existOk && error instanceof AlreadyExistsError)) throw error;
    }
  }

  /** Delete a tenant with its log, memory and index. */
  async deleteTenant(tenant: string, options: types.CallOptions = {}): Promise<void> {
    const request = { tenant: string("tenant", tenant), requestId: requests.newId() };
    await this.#call(tenant, options, (at, wire) => at.tenants.deleteTenant(request, wire));
  }

  /** Return a tenant's live figures. */
  async stats(tenant: string, options: types.StatsOptions = {}): Promise<types.TenantStats> {
    const paths = requests.statsPaths(boolean("live", options.live ?? false));
    const request = { tenant: string("tenant", tenant), readMask: { paths } };
    const found = await this.#call(tenant, options, (at, wire) => at.tenants.getTenant(request, wire));
    return plain(found.stats!);
  }

  /** Write a batch of at most 1,000 entries and 4 MiB: all of them or none. A string is an entry of that text. */
  async write(
    tenant: string,
    entries: types.Entry | string | readonly (types.Entry | string)[],
    options: types.WriteOptions = {},
  ): Promise<types.Receipt> {
    const request = requests.write(tenant, entries, options);
    return plain(await this.#call(tenant, options, (at, wire) => at.memory.write(request, wire)));
  }

  /** Return the entries that a query asks for, best first. */
  async recall(tenant: string, query: string, options: types.RecallOptions = {}): Promise<types.Recall> {
    const request = requests.recall(tenant, query, options);
    return replies.recall(await this.#call(tenant, options, (at, wire) => at.memory.recall(request, wire)));
  }

  /** Return one entry. */
  async getEntry(tenant: string, id: string, options: types.GetOptions = {}): Promise<types.StoredEntry> {
    const request = { tenant: string("tenant", tenant), id: string("id", id), asOf: requests.momentOf(options.asOf) };
    return replies.entry(await this.#call(tenant, options, (at, wire) => at.memory.getEntry(request, wire)));
  }

  /** Yield the entries that match, in seq order. `timeoutMs` is for each page. */
  async *listEntries(tenant: string, options: types.ListOptions = {}): AsyncGenerator<types.StoredEntry, void, void> {
    const request = requests.listEntries(tenant, options);
    do {
      const page = await this.#call(tenant, options, (at, wire) => at.memory.listEntries(request, wire));
      yield* page.entries.map(replies.entry);
      request.pageToken = page.nextPageToken;
    } while (request.pageToken);
  }

  /** Replace an entry by a new revision under the same id, and return the record that holds it. */
  async updateEntry(tenant: string, entry: types.Entry & { id: string }, options: types.CallOptions = {}): Promise<number> {
    if (!entry.id) throw wrong("entry.id", "must name the entry to update");
    const request = {
      tenant: string("tenant", tenant),
      entry: requests.entryOf(entry, "entry"),
      requestId: requests.newId(),
    };
    return Number((await this.#call(tenant, options, (at, wire) => at.memory.updateEntry(request, wire))).seq);
  }

  /** Hide an entry at once. The memory keeps what it learnt of it: `forget` erases. */
  async deleteEntry(tenant: string, id: string, options: types.CallOptions = {}): Promise<types.Deletion> {
    const request = { tenant: string("tenant", tenant), id: string("id", id), requestId: requests.newId() };
    return plain(await this.#call(tenant, options, (at, wire) => at.memory.deleteEntry(request, wire)));
  }

  /** Say of entries that they were useful, or not; return the record that holds it. */
  async feedback(
    tenant: string,
    ids: string | readonly string[],
    useful = true,
    options: types.CallOptions = {},
  ): Promise<number> {
    const request = {
      tenant: string("tenant", tenant),
      ids: requests.idsOf(ids, "name the entries"),
      useful: boolean("useful", useful),
      requestId: requests.newId(),
    };
    return Number((await this.#call(tenant, options, (at, wire) => at.memory.feedback(request, wire))).seq);
  }

  /**
   * Erase entries with all their revisions, as if they had never been written.
   *
   * They are hidden at once; the call waits until the memory is folded afresh and every copy of their text destroyed.
   * An erasure that is not done in time goes on: the error names it in `metadata.operation`, for `getErasure`.
   */
  async forget(tenant: string, options: types.ForgetOptions = {}): Promise<types.Erasure> {
    const request = requests.forget(tenant, options);
    const deadline = performance.now() + this.#timeout(options);
    let erasure = replies.erasure(await this.#call(tenant, options, (at, wire) => at.memory.forget(request, wire)));
    const { operation } = erasure;
    for (let poll = FIRST_POLL_MS; options.wait !== false && !erasure.done; poll = Math.min(2 * poll, MOST_POLL_MS)) {
      const left = deadline - performance.now();
      if (left <= 0) throw late(operation);
      await sleep(Math.min(poll, left), undefined, { signal: options.signal }).catch(() => options.signal?.throwIfAborted());
      const timeoutMs = Math.max(1, deadline - performance.now());
      erasure = await this.getErasure(operation, tenant, { ...options, timeoutMs }).catch((error: unknown) => {
        if (error instanceof DeadlineExceededError) throw late(operation);
        if (error instanceof MemsvcError) error.metadata["operation"] = operation;
        throw error;
      });
    }
    return erasure;
  }

  /** Return how far an erasure of a tenant is. */
  async getErasure(operation: string, tenant: string, options: types.CallOptions = {}): Promise<types.Erasure> {
    const request = { operation: string("operation", operation), tenant: string("tenant", tenant) };
    return replies.erasure(await this.#call(tenant, options, (at, wire) => at.memory.getErasure(request, wire)));
  }

  /**
   * Answer from a tenant's memory: yields what was recalled, then the answer piece by piece, last its usage.
   *
   * A call is tried again until its first event came, and never after. Leaving the loop ends it, and the model's work.
   */
  async *generate(
    tenant: string,
    prompt: string | readonly types.Message[],
    options: types.GenerateOptions = {},
  ): AsyncGenerator<types.Token, void, void> {
    const request = requests.generate(tenant, prompt, options);
    const trip = new Trip(this.#routes, tenant, this.#timeout(options, ANSWER_MS));
    for (let begun = false; ; ) {
      const address = trip.begin();
      const left = new AbortController();
      let messages: AsyncIterator<GenerateResponse> | undefined;
      const signal = options.signal ? AbortSignal.any([left.signal, options.signal]) : left.signal;
      try {
        const stream = this.#peers.at(address).generate.generate(request, { timeoutMs: trip.remainingMs, signal });
        messages = stream[Symbol.asyncIterator]();
        for (let next = await messages.next(); !next.done; next = await messages.next()) {
          begun = true;
          yield replies.token(next.value);
        }
        return;
      } catch (failure) {
        const error = toError(failure, address);
        options.signal?.throwIfAborted();
        if (begun) throw error;
        await trip.pause(error, options.signal);
      } finally {
        left.abort();
        // Only a step that fails ends the transport's timer, which would keep the process alive.
        await messages?.next().catch(() => undefined);
      }
    }
  }

  #timeout(options: types.CallOptions, otherwise = this.#timeoutMs): number {
    return milliseconds("timeoutMs", options.timeoutMs ?? otherwise);
  }

  async #call<Reply>(
    tenant: string,
    options: types.CallOptions,
    send: (at: Peer, wire: WireOptions) => Promise<Reply>,
  ): Promise<Reply> {
    const trip = new Trip(this.#routes, tenant, this.#timeout(options));
    for (;;) {
      const address = trip.begin();
      try {
        return await send(this.#peers.at(address), { timeoutMs: trip.remainingMs, signal: options.signal });
      } catch (failure) {
        await trip.pause(toError(failure, address), options.signal);
      }
    }
  }
}

function late(operation: string): MemsvcError {
  const message = `the erasure ${operation} is not done in time; it goes on, and getErasure says how far`;
  return errorOf("DEADLINE_EXCEEDED", message, { metadata: { operation } });
}

/** The client. */

import { Caller } from "./caller.js";
import * as erasures from "./erasure.js";
import { AlreadyExistsError, wrong } from "./errors.js";
import { generate } from "./generate.js";
import type { CreateKeyOptions, Grants, Key, NewKey } from "./key-types.js";
import * as keys from "./keys.js";
import type { Access } from "./peers.js";
import { plain } from "./plain.js";
import * as replies from "./replies.js";
import * as requests from "./requests.js";
import { writeStream } from "./stream.js";
import type * as tenantTypes from "./tenant-types.js";
import * as tenants from "./tenants.js";
import * as transfer from "./transfer.js";
import type * as types from "./types.js";
import { boolean, string } from "./values.js";
import { watch } from "./watch.js";

export interface ClientOptions extends Access {
  /** Milliseconds that a call may take, all its tries together; 30,000 where it is left out. */
  timeoutMs?: number;
}

/**
 * Writes text into tenants' memories and recalls it.
 *
 * Every call may be tried again within its timeout, and none takes effect twice: entries get their ids here, and what
 * changes anything else carries a request id; what makes a secret is asked for once. Every call throws a `MemsvcError`.
 */
export class MemoryClient {
  readonly #caller: Caller;

  /**
   * @param target the server's address, or several: an array, or between commas. The first that answers is asked, and
   *   who it says owns a tenant.
   */
  constructor(target: string | readonly string[], options: ClientOptions = {}) {
    const { timeoutMs, ...access } = options;
    this.#caller = new Caller(target, access, timeoutMs);
  }

  /** Close all connections, without which a process does not end. Calls under way fail. */
  close(): void {
    this.#caller.close();
  }

  // --- entries --------------------------------------------------------------------------------------------------------

  /** Write a batch of at most 1,000 entries and 4 MiB: all of them or none. A string is an entry of that text. */
  async write(
    tenant: string,
    entries: types.Entry | string | readonly (types.Entry | string)[],
    options: types.WriteOptions = {},
  ): Promise<types.Receipt> {
    const request = requests.write(tenant, entries, options);
    return plain(await this.#caller.call(tenant, options, (at, wire) => at.memory.write(request, wire)));
  }

  /**
   * Write many batches over one stream; yields a receipt for each batch, in order, as it becomes durable.
   *
   * Entries are gathered into batches of 64; an array among them is a batch of its own. They are taken from the iterable
   * a bounded way ahead of the receipts. A stream that breaks is resumed. Leaving the loop ends it; what has no receipt
   * then may or may not be written. `timeoutMs` is how long the server may leave a batch without an answer.
   */
  writeStream(
    tenant: string,
    items: Iterable<types.Item> | AsyncIterable<types.Item>,
    options: types.CallOptions = {},
  ): AsyncGenerator<types.Receipt, void, void> {
    return writeStream(this.#caller, tenant, items, options);
  }

  /** Return the entries that a query asks for, best first. */
  async recall(tenant: string, query: string, options: types.RecallOptions = {}): Promise<types.Recall> {
    const request = requests.recall(tenant, query, options);
    return replies.recall(await this.#caller.call(tenant, options, (at, wire) => at.memory.recall(request, wire)));
  }

  /**
   * Answer from a tenant's memory: yields what was recalled, then the answer piece by piece, last its usage.
   *
   * A call is tried again until its first event came, and never after. Leaving the loop ends it, and the model's work.
   */
  generate(
    tenant: string,
    prompt: string | readonly types.Message[],
    options: types.GenerateOptions = {},
  ): AsyncGenerator<types.Token, void, void> {
    return generate(this.#caller, tenant, prompt, options);
  }

  /** Return one entry. */
  async getEntry(tenant: string, id: string, options: types.GetOptions = {}): Promise<types.StoredEntry> {
    const request = { tenant: string("tenant", tenant), id: string("id", id), asOf: requests.momentOf(options.asOf) };
    return replies.entry(await this.#caller.call(tenant, options, (at, wire) => at.memory.getEntry(request, wire)));
  }

  /** Yield the entries that match, in seq order. `timeoutMs` is for each page. */
  async *listEntries(tenant: string, options: types.ListOptions = {}): AsyncGenerator<types.StoredEntry, void, void> {
    const first = requests.listEntries(tenant, options);
    const pages = this.#caller.pages(tenant, options, first, (at, each, wire) => at.memory.listEntries(each, wire));
    for await (const page of pages) yield* page.entries.map(replies.entry);
  }

  /** Replace an entry by a new revision under the same id, and return the record that holds it. */
  async updateEntry(tenant: string, entry: types.Entry & { id: string }, options: types.CallOptions = {}): Promise<number> {
    if (!entry.id) throw wrong("entry.id", "must name the entry to update");
    const request = { ...requests.about(tenant), entry: requests.entryOf(entry, "entry") };
    return Number((await this.#caller.call(tenant, options, (at, wire) => at.memory.updateEntry(request, wire))).seq);
  }

  /** Hide an entry at once. The memory keeps what it learnt of it: `forget` erases. */
  async deleteEntry(tenant: string, id: string, options: types.CallOptions = {}): Promise<types.Deletion> {
    const request = { ...requests.about(tenant), id: string("id", id) };
    return plain(await this.#caller.call(tenant, options, (at, wire) => at.memory.deleteEntry(request, wire)));
  }

  /** Say of entries that they were useful, or not; return the record that holds it. */
  async feedback(
    tenant: string,
    ids: string | readonly string[],
    useful = true,
    options: types.CallOptions = {},
  ): Promise<number> {
    const named = { ids: requests.idsOf(ids, "name the entries"), useful: boolean("useful", useful) };
    const request = { ...requests.about(tenant), ...named };
    return Number((await this.#caller.call(tenant, options, (at, wire) => at.memory.feedback(request, wire))).seq);
  }

  /**
   * Erase entries with all their revisions, as if they had never been written.
   *
   * They are hidden at once; the call waits until the memory is folded afresh and every copy of their text destroyed.
   * An erasure that is not done in time goes on: the error names it in `metadata.operation`, for `getErasure`.
   */
  async forget(tenant: string, options: types.ForgetOptions = {}): Promise<types.Erasure> {
    return erasures.forget(this.#caller, tenant, options);
  }

  /** Return how far an erasure is. A credential that does not reach all tenants has to say of which one it is. */
  async getErasure(operation: string, tenant?: string, options: types.CallOptions = {}): Promise<types.Erasure> {
    return erasures.getErasure(this.#caller, operation, tenant, options);
  }

  // --- tenants --------------------------------------------------------------------------------------------------------

  /** Create a tenant. */
  async createTenant(tenant: string, options: tenantTypes.CreateTenantOptions = {}): Promise<void> {
    const request = requests.createTenant(tenant, options);
    try {
      await this.#caller.call(tenant, options, (at, wire) => at.tenants.createTenant(request, wire));
    } catch (error) {
      if (!(options.existOk && error instanceof AlreadyExistsError)) throw error;
    }
  }

  /** Change how a tenant's memory learns from now on, and what it keeps; `layers` cannot be changed. */
  async updateTenant(tenant: string, options: tenantTypes.UpdateTenantOptions): Promise<tenantTypes.Tenant> {
    const request = requests.updateTenant(tenant, options);
    return tenants.tenant(await this.#caller.call(tenant, options, (at, wire) => at.tenants.updateTenant(request, wire)));
  }

  /** Yield all tenants in the byte order of their ids. `timeoutMs` is for each page. */
  async *listTenants(options: types.CallOptions = {}): AsyncGenerator<tenantTypes.Tenant, void, void> {
    const first = requests.listTenants();
    const pages = this.#caller.pages(undefined, options, first, (at, each, wire) => at.tenants.listTenants(each, wire));
    for await (const page of pages) yield* page.tenants.map(tenants.tenant);
  }

  /** Delete a tenant with its log, memory and index. */
  async deleteTenant(tenant: string, options: types.CallOptions = {}): Promise<void> {
    const request = requests.about(tenant);
    await this.#caller.call(tenant, options, (at, wire) => at.tenants.deleteTenant(request, wire));
  }

  /** Return a tenant's figures, once all that is committed when the call arrives is applied. */
  async stats(tenant: string, options: tenantTypes.StatsOptions = {}): Promise<tenantTypes.TenantStats> {
    return this.#stats(tenant, requests.statsPaths(boolean("live", options.live ?? false)), options);
  }

  /** Return the last record of a tenant's log, without bringing the tenant into memory. */
  async headSeq(tenant: string, options: types.CallOptions = {}): Promise<number> {
    return (await this.#stats(tenant, ["stats.head_seq"], options)).headSeq;
  }

  /** Return the hash of a tenant's state, that of `stats`. */
  async stateHash(tenant: string, options: types.CallOptions = {}): Promise<string> {
    return (await this.stats(tenant, options)).stateHash;
  }

  /** Restart the memory's learning by hand, as a drift does by itself; return the record of the restart. */
  async hotRestart(tenant: string, options: types.CallOptions = {}): Promise<number> {
    const request = requests.about(tenant);
    return Number((await this.#caller.call(tenant, options, (at, wire) => at.tenants.hotRestart(request, wire))).seq);
  }

  /** Fold the tenant's log afresh, beside the live memory, and compare the hashes. It takes as long as the log is. */
  async verify(tenant: string, options: types.CallOptions = {}): Promise<tenantTypes.Verification> {
    const request = { tenant: string("tenant", tenant) };
    return plain(await this.#caller.call(tenant, options, (at, wire) => at.tenants.verifyTenant(request, wire)));
  }

  /**
   * Yield what happens to a tenant's memory, without end; first the past events that the server still knows.
   *
   * A stream that breaks is resumed, and no event is yielded twice. Leaving the loop ends it. `timeoutMs` is how long the
   * server may be away.
   */
  watch(tenant: string, options: tenantTypes.WatchOptions = {}): AsyncGenerator<tenantTypes.Event, void, void> {
    return watch(this.#caller, tenant, options);
  }

  /**
   * Bring a tenant's past back, and return the tenant that it is now. It takes as long as the log is.
   *
   * In its own place, what it was until now is kept until `confirmRestore` or `undoRestore`, and nothing can be forgotten
   * meanwhile. What was forgotten before stays forgotten.
   */
  async restore(tenant: string, to: types.Moment, options: tenantTypes.RestoreOptions = {}): Promise<tenantTypes.Tenant> {
    const request = requests.restore(tenant, to, options);
    return tenants.tenant(await this.#caller.call(tenant, options, (at, wire) => at.tenants.restoreTenant(request, wire)));
  }

  /** Destroy what a tenant was before it was restored in its own place. */
  async confirmRestore(tenant: string, options: types.CallOptions = {}): Promise<void> {
    const request = requests.about(tenant);
    await this.#caller.call(tenant, options, (at, wire) => at.tenants.confirmRestore(request, wire));
  }

  /** Put a restored tenant back to what it was before, and return it. What was written since is destroyed. */
  async undoRestore(tenant: string, options: types.CallOptions = {}): Promise<tenantTypes.Tenant> {
    const request = requests.about(tenant);
    return tenants.tenant(await this.#caller.call(tenant, options, (at, wire) => at.tenants.undoRestore(request, wire)));
  }

  /**
   * Write a tenant to one file, and return its size in bytes. Also throws what `node:fs` does.
   *
   * The file is there when it is whole, and only its owner may read it; on an error nothing is left. A stream that breaks
   * begins anew.
   */
  async exportTenant(tenant: string, path: string, options: tenantTypes.ExportOptions = {}): Promise<number> {
    return transfer.exportTenant(this.#caller, tenant, path, options);
  }

  /**
   * Make a tenant of an exported file. It takes as long as the file, and with `rebuild` the log, is. Also throws what
   * `node:fs` does.
   *
   * A call that breaks begins anew. After an error without an answer (`UnavailableError`, `DeadlineExceededError`) the
   * tenant may be there.
   */
  async importTenant(path: string, options: tenantTypes.ImportOptions = {}): Promise<tenantTypes.Imported> {
    return transfer.importTenant(this.#caller, path, options);
  }

  // --- keys -----------------------------------------------------------------------------------------------------------

  /** Make an API key. It is asked for once: after an error without an answer there may be a key that nobody has. */
  async createKey(name: string, grants: Grants, options: CreateKeyOptions = {}): Promise<NewKey> {
    const request = keys.createKey(name, grants, options);
    const once = { once: true };
    return keys.newKey(await this.#caller.call(undefined, options, (at, wire) => at.auth.createKey(request, wire), once));
  }

  /** Yield the keys that the caller may administer, by their ids; ended ones for 30 days. `timeoutMs` is for each page. */
  async *listKeys(options: types.CallOptions = {}): AsyncGenerator<Key, void, void> {
    const first = requests.listKeys();
    const pages = this.#caller.pages(undefined, options, first, (at, each, wire) => at.auth.listKeys(each, wire));
    for await (const page of pages) yield* page.keys.map(keys.key);
  }

  /** Give a key another secret; older ones stay valid for `overlapMs`, 0 ends them at once. Asked for once, as `createKey`. */
  async rotateKey(id: string, overlapMs: number, options: types.CallOptions = {}): Promise<NewKey> {
    const request = keys.rotateKey(id, overlapMs);
    const once = { once: true };
    return keys.newKey(await this.#caller.call(undefined, options, (at, wire) => at.auth.rotateKey(request, wire), once));
  }

  /** Make a key worthless, in every process within two seconds, and return it. */
  async revokeKey(id: string, options: types.CallOptions = {}): Promise<Key> {
    const request = { id: string("id", id) };
    return keys.key(await this.#caller.call(undefined, options, (at, wire) => at.auth.revokeKey(request, wire)));
  }

  async #stats(tenant: string, paths: string[], options: types.CallOptions): Promise<tenantTypes.TenantStats> {
    const request = { tenant: string("tenant", tenant), readMask: { paths } };
    const found = await this.#caller.call(tenant, options, (at, wire) => at.tenants.getTenant(request, wire));
    return plain(found.stats!);
  }
}

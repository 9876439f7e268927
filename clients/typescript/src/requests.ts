/** From a caller's arguments to messages. */

import { randomUUID } from "node:crypto";

import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";

import { wrong } from "./errors.js";
import { ListKeysRequestSchema } from "./gen/memsvc/v1/auth_pb.js";
import { GenerateRequestSchema, Role } from "./gen/memsvc/v1/generate_pb.js";
import {
  ForgetRequestSchema,
  ListEntriesRequestSchema,
  RecallRequestSchema,
  WriteRequestSchema,
  WriteWait,
} from "./gen/memsvc/v1/memory_pb.js";
import {
  CreateTenantRequestSchema,
  type ImportTenantRequestSchema,
  ListTenantsRequestSchema,
  RestoreTenantRequestSchema,
  UpdateTenantRequestSchema,
} from "./gen/memsvc/v1/tenants_pb.js";
import { type AsOfSchema, type EntrySchema, type FilterSchema, TenantStatsSchema } from "./gen/memsvc/v1/types_pb.js";
import { memoryOf, pathsOf, policiesOf } from "./settings.js";
import type { CreateTenantOptions, ImportOptions, RestoreOptions, UpdateTenantOptions } from "./tenant-types.js";
import type {
  Entry,
  Filter,
  ForgetOptions,
  GenerateOptions,
  ListOptions,
  Message,
  Moment,
  RecallOptions,
  WriteOptions,
} from "./types.js";
import { boolean, choice, given, int32, int64, json, number, string, timestamp } from "./values.js";

const PAGE_SIZE = 1_000;
/** Bytes of a message; the limit of the contract. */
const MOST_BYTES = 4 * 1024 * 1024;
const WAITS = { durable: WriteWait.DURABLE, applied: WriteWait.APPLIED };
const ROLES = { user: Role.USER, assistant: Role.ASSISTANT, system: Role.SYSTEM };

/** Return an id that makes a retry safe. */
export const newId = randomUUID;

/** Return the message of one entry, with an id. */
export function entryOf(value: Entry | string, path: string): MessageInitShape<typeof EntrySchema> {
  const entry = typeof value === "string" ? { text: value } : value;
  if (entry === null || typeof entry !== "object") throw wrong(path, "must be an entry or a string");
  if (entry.id === "") throw wrong(`${path}.id`, "must not be empty; leave it out to have one assigned");
  return {
    id: given(string, `${path}.id`, entry.id) ?? newId(),
    text: string(`${path}.text`, entry.text),
    session: given(string, `${path}.session`, entry.session),
    role: given(string, `${path}.role`, entry.role),
    time: given(timestamp, `${path}.time`, entry.time),
    metadataJson: given(json, `${path}.metadata`, entry.metadata),
    // Absent means true, so that an entry is the same bytes as from a client that does not know of it.
    learn: given(boolean, `${path}.learn`, entry.learn) === false ? false : undefined,
    expireTime: given(timestamp, `${path}.expire`, entry.expire),
  };
}

export function write(tenant: string, entries: Entry | string | readonly (Entry | string)[], options: WriteOptions) {
  const request = create(WriteRequestSchema, {
    tenant: string("tenant", tenant),
    entries: batchOf(Array.isArray(entries) ? entries : [entries as Entry | string]),
    wait: choice("wait", options.wait ?? "durable", WAITS),
  });
  fitting("entries", toBinary(WriteRequestSchema, request).length);
  return request;
}

/** Return the messages of the entries of one record, each with an id. */
export function batchOf(entries: readonly (Entry | string)[]): MessageInitShape<typeof EntrySchema>[] {
  if (!entries.length) throw wrong("entries", "needs at least one entry");
  return entries.map((entry, i) => entryOf(entry, `entries[${i}]`));
}

/** Return a size in bytes if one message can hold it. */
export function fitting(field: string, size: number): number {
  if (size > MOST_BYTES) throw wrong(field, `takes ${size} bytes of at most ${MOST_BYTES}`);
  return size;
}

export function recall(tenant: string, query: string, options: RecallOptions) {
  return create(RecallRequestSchema, {
    tenant: string("tenant", tenant),
    query: string("query", query),
    k: int32("k", options.k ?? 10, 1),
    filter: filterOf(options),
    minSeq: given(int64, "minSeq", options.minSeq),
    neighbours: given(int32, "neighbours", options.neighbours),
    maxTokens: options.maxTokens === undefined ? 0 : int32("maxTokens", options.maxTokens, 1),
    asOf: momentOf(options.asOf),
  });
}

export function listEntries(tenant: string, options: ListOptions) {
  return create(ListEntriesRequestSchema, {
    tenant: string("tenant", tenant),
    filter: filterOf(options),
    pageSize: PAGE_SIZE,
    asOf: momentOf(options.asOf),
    includeEvicted: given(boolean, "includeEvicted", options.includeEvicted),
  });
}

export function forget(tenant: string, options: ForgetOptions) {
  const ids = options.ids === undefined ? [] : idsOf(options.ids, "leave it out to select by the filter alone");
  const filter = filterOf(options);
  if (!ids.length && !filter) throw wrong("ids", "give ids or a filter; deleteTenant is what forgets everything");
  return create(ForgetRequestSchema, { tenant: string("tenant", tenant), ids, filter, requestId: newId() });
}

export function generate(tenant: string, prompt: string | readonly Message[], options: GenerateOptions) {
  const messages = typeof prompt === "string" ? [{ role: "user" as const, text: prompt }] : prompt;
  const recalls = options.recall || {};
  const stop = typeof options.stop === "string" ? [options.stop] : (options.stop ?? []);
  return create(GenerateRequestSchema, {
    tenant: string("tenant", tenant),
    messages: messages.map(({ role, text }, i) => ({
      role: choice(`prompt[${i}].role`, role, ROLES),
      text: string(`prompt[${i}].text`, text),
    })),
    maxTokens: int32("maxTokens", options.maxTokens ?? 256, 1),
    temperature: given(number, "temperature", options.temperature),
    topP: given(number, "topP", options.topP),
    stop: stop.map((each, i) => string(`stop[${i}]`, each)),
    seed: options.seed === undefined ? undefined : int64("seed", options.seed, Number.MIN_SAFE_INTEGER),
    remember: given(boolean, "remember", options.remember),
    session: given(string, "session", options.session),
    recall: {
      off: options.recall === false,
      query: given(string, "recall.query", recalls.query),
      k: recalls.k === undefined ? 0 : int32("recall.k", recalls.k, 1),
      maxTokens: recalls.maxTokens === undefined ? 0 : int32("recall.maxTokens", recalls.maxTokens, 1),
      filter: filterOf(recalls),
    },
    minSeq: given(int64, "minSeq", options.minSeq),
  });
}

export function createTenant(tenant: string, options: CreateTenantOptions) {
  return create(CreateTenantRequestSchema, {
    tenant: {
      tenant: string("tenant", tenant),
      contextMemory: given(string, "contextMemory", options.contextMemory),
      memory: { ...memoryOf(options), preset: given(string, "preset", options.preset) },
      policies: policiesOf(options),
    },
    requestId: newId(),
  });
}

export function updateTenant(tenant: string, options: UpdateTenantOptions) {
  const paths = pathsOf(options);
  if (!paths.length) throw wrong("settings", "give at least one to change");
  return create(UpdateTenantRequestSchema, {
    tenant: { tenant: string("tenant", tenant), memory: memoryOf(options), policies: policiesOf(options) },
    updateMask: { paths },
    requestId: newId(),
  });
}

export function restore(tenant: string, to: Moment, options: RestoreOptions) {
  return create(RestoreTenantRequestSchema, {
    tenant: string("tenant", tenant),
    to: momentOf(to, "to"),
    asTenant: otherTenant(options.asTenant, "leave it out to restore the tenant in its own place"),
    requestId: newId(),
  });
}

/** Return the first message of a file, without bytes. */
export function importTenant(options: ImportOptions): MessageInitShape<typeof ImportTenantRequestSchema> {
  return {
    asTenant: otherTenant(options.asTenant, "leave it out to import the tenant under its own id"),
    rebuild: given(boolean, "rebuild", options.rebuild),
    requestId: newId(),
  };
}

/** Return the request that changes a tenant and says no more than which one. */
export function about(tenant: string): { tenant: string; requestId: string } {
  return { tenant: string("tenant", tenant), requestId: newId() };
}

export function listTenants() {
  return create(ListTenantsRequestSchema, { pageSize: PAGE_SIZE });
}

export function listKeys() {
  return create(ListKeysRequestSchema, { pageSize: PAGE_SIZE });
}

export function getErasure(operation: string, tenant: string | undefined) {
  return { operation: string("operation", operation), tenant: given(string, "tenant", tenant) };
}

/** Return which figures to ask for; `live` ones have no hash, for which the server would wait. */
export function statsPaths(live: boolean): string[] {
  if (!live) return ["stats"];
  return TenantStatsSchema.fields.map((field) => field.name).filter((name) => name !== "state_hash").map((name) => `stats.${name}`);
}

/** Return ids that a message can carry: one at least, because to forget without any would select by the filter. */
export function idsOf(values: string | readonly string[], otherwise: string): string[] {
  const ids = typeof values === "string" ? [values] : [...values];
  if (!ids.length) throw wrong("ids", `needs at least one id; ${otherwise}`);
  return ids.map((id, i) => string(`ids[${i}]`, id));
}

export function momentOf(
  value: Moment | undefined,
  field = "asOf",
): MessageInitShape<typeof AsOfSchema> | undefined {
  if (value === undefined) return undefined;
  return {
    moment:
      value instanceof Date
        ? { case: "time", value: timestamp(field, value) }
        : { case: "seq", value: int64(field, value) },
  };
}

/** Return the id of a tenant to make; an empty one would be taken for none. */
function otherTenant(value: string | undefined, otherwise: string): string | undefined {
  if (value === "") throw wrong("asTenant", `must not be empty; ${otherwise}`);
  return given(string, "asTenant", value);
}

/** Return the filter, undefined when it has no condition. */
function filterOf(filter: Filter): MessageInitShape<typeof FilterSchema> | undefined {
  const { session, role, after, before, metadata } = filter;
  if ([session, role, after, before, metadata].every((condition) => condition === undefined)) return undefined;
  return {
    session: given(string, "session", session),
    role: given(string, "role", role),
    after: given(timestamp, "after", after),
    before: given(timestamp, "before", before),
    metadataJson: given(json, "metadata", metadata),
  };
}

/** What callers give and get of tenants. */

import type { TenantStats as StatsMessage } from "./gen/memsvc/v1/types_pb.js";
import type { VerifyTenantResponse } from "./gen/memsvc/v1/tenants_pb.js";
import type { Plain } from "./plain.js";
import type { CallOptions } from "./types.js";

/** Settings of a tenant; what is left out is the server's default. */
export interface TenantSettings {
  layers?: number;
  theta?: number;
  eta?: number;
  /** Tokens written until half of what was learnt is forgotten; 0 means never. */
  halfLife?: number;
  gate?: "off" | "fixed" | "quantile";
  gateValue?: number;
  drift?: boolean;
  driftSigma?: number;
  driftWindows?: number;
  restartTokens?: number;
  /** Tokens of prompt and answer that a Hugging Face backbone attends to. */
  window?: number;
  /** Entries that recall chooses from. */
  maxEntries?: number;
  /** Milliseconds that an entry lives; 0 is for ever. */
  ttlMs?: number;
  snapshots?: "none" | "log_spaced" | "all";
  duplicates?: "keep" | "merge";
}

export interface CreateTenantOptions extends CallOptions, TenantSettings {
  /** Succeed if there is one of this id, and leave that one as it is. */
  existOk?: boolean;
  /** A set of defaults: `default`, `long-doc`, `genomics` or `dialogue`. */
  preset?: string;
  /** The model that its text streams into as well, by its name at the server. */
  contextMemory?: string;
}

export interface StatsOptions extends CallOptions {
  /** Do not wait for what is committed to be applied: without the state's hash. */
  live?: boolean;
}

/** A tenant: one log, one Titans memory, one index. */
export interface Tenant {
  /** Its id. */
  tenant: string;
  /** Assigned by the server; a tenant deleted and created again has another one. */
  uid: string;
  createTime: Date;
  settings: TenantSettings;
  /** The model that its text streams into as well, `<name>@<hash>`. */
  contextMemory?: string;
}

export interface UpdateTenantOptions extends CallOptions, TenantSettings {}

/** Live figures of one tenant. */
export type TenantStats = Plain<StatsMessage>;

export interface WatchOptions extends CallOptions {
  /** Only events of records after this one; all that the server still knows where it is left out. */
  fromSeq?: number;
}

/** Something that happened to a tenant's memory. */
export interface Event {
  /** The log record at which it happened. */
  seq: number;
  /** `drift`, `restart`, `forgotten`, … ; newer servers may send others. */
  kind: string;
  /** Its figures, by name. */
  figures: Record<string, number>;
}

/** What folding a tenant's log afresh found. */
export type Verification = Plain<VerifyTenantResponse>;

export interface RestoreOptions extends CallOptions {
  /** The id of a new tenant to make of the past; the one it is of stays as it is. In its own place where it is left out. */
  asTenant?: string;
}

/** Called with the bytes that are done, and about how many there are. */
export type Progress = (done: number, total: number) => void;

export interface ExportOptions extends CallOptions {
  /** Replace a file that is there. */
  overwrite?: boolean;
  progress?: Progress;
}

export interface ImportOptions extends CallOptions {
  /** The id of the tenant to make; that of the one exported where it is left out. */
  asTenant?: string;
  /** Fold the log afresh instead of adopting the snapshot in the file. */
  rebuild?: boolean;
  progress?: Progress;
}

/** A tenant was made of a file. */
export interface Imported {
  tenant: Tenant;
  /** Its log's head. */
  headSeq: number;
  /** Whether the file's snapshot was made under other numerics and adopted as it is. */
  adopted: boolean;
}

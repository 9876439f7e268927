/** What callers give and get of API keys. */

import type { CallOptions } from "./types.js";

/** What may be done; none implies another. */
export type Right = "read" | "write" | "admin";

/**
 * How far a key reaches: rights by pattern of tenants' ids. A pattern is an id, `team/*` for all whose id begins with
 * `team/`, or `*` for all.
 */
export type Grants = Record<string, Right | readonly Right[]>;

export interface CreateKeyOptions extends CallOptions {
  /** When it expires; never where it is left out. */
  expire?: Date;
}

/** An API key, without its secret. */
export interface Key {
  /** Assigned by the server; the second part of the key itself. */
  id: string;
  name: string;
  grants: Record<string, Right[]>;
  createTime: Date;
  expireTime?: Date;
  revokeTime?: Date;
  /** When it got its newest secret. */
  rotateTime?: Date;
}

/** A key that was made, or has another secret. Nobody can show the secret again. */
export interface NewKey {
  key: Key;
  /** The whole key: what a client is given as its credential. */
  secret: string;
}

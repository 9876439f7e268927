/** API keys, from a caller's arguments to messages and back. */

import { create } from "@bufbuild/protobuf";

import { wrong } from "./errors.js";
import {
  CreateKeyRequestSchema,
  type Key as KeyMessage,
  Right as RightMessage,
  RotateKeyRequestSchema,
} from "./gen/memsvc/v1/auth_pb.js";
import type { CreateKeyOptions, Grants, Key, NewKey, Right } from "./key-types.js";
import { plain } from "./plain.js";
import { choice, duration, given, string, timestamp } from "./values.js";

const RIGHTS = { read: RightMessage.READ, write: RightMessage.WRITE, admin: RightMessage.ADMIN };
const NAMES = new Map(Object.entries(RIGHTS).map(([name, right]) => [right, name as Right]));

export function createKey(name: string, grants: Grants, options: CreateKeyOptions) {
  const pairs = Object.entries(grants);
  if (!pairs.length) throw wrong("grants", 'must say which rights on which tenants, for example { "team/*": ["read"] }');
  return create(CreateKeyRequestSchema, {
    name: string("name", name),
    grants: pairs.map(([tenant, rights]) => ({ tenant: string("grants", tenant), rights: rightsOf(tenant, rights) })),
    expireTime: given(timestamp, "expire", options.expire),
  });
}

export function rotateKey(id: string, overlapMs: number) {
  return create(RotateKeyRequestSchema, { id: string("id", id), overlap: duration("overlapMs", overlapMs) });
}

/** Return a key. */
export function key(message: KeyMessage): Key {
  const { grants, createTime, ...rest } = plain(message);
  const rightsBy = message.grants.map(({ tenant, rights }) => [tenant, rights.flatMap((right) => NAMES.get(right) ?? [])]);
  return { ...rest, createTime: createTime!, grants: Object.fromEntries(rightsBy) };
}

/** Return a key with its secret. */
export function newKey(message: { key?: KeyMessage; secret: string }): NewKey {
  return { key: key(message.key!), secret: message.secret };
}

function rightsOf(tenant: string, rights: Right | readonly Right[]): RightMessage[] {
  const names = typeof rights === "string" ? [rights] : rights;
  if (!names.length) throw wrong("grants", `the rights on ${tenant} must be some of read, write and admin`);
  return names.map((name) => choice("grants", name, RIGHTS));
}

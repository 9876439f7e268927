/** What tests against real servers share: their addresses are in the environment. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after } from "node:test";

import { MemoryClient } from "../src/index.js";

export function environment(name: string): string {
  const value = process.env[name];
  assert.ok(value, `${name} is not set; run these tests by tests/typescript`);
  return value;
}

export const client = new MemoryClient(environment("MEMSVC_TARGET"));
after(() => client.close());

/** What a client of the server that asks for TLS and a key needs. */
export function credentials(): { tls: { ca: Buffer }; apiKey: string } {
  return { tls: { ca: readFileSync(environment("MEMSVC_CA")) }, apiKey: environment("MEMSVC_KEY") };
}

/** A tenant of one's own. */
let made = 0;
export async function tenant(): Promise<string> {
  const id = `ada@example.org/${process.pid}.${made++} 🦜`;
  await client.createTenant(id);
  return id;
}

export async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}

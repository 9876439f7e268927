/** Tenants, their past, their files, and keys, against a real server. */

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";

import {
  AlreadyExistsError,
  type Event,
  FailedPreconditionError,
  InvalidArgumentError,
  MemoryClient,
  NotFoundError,
  OutOfRangeError,
  PermissionDeniedError,
  UnauthenticatedError,
} from "../src/index.js";
import { all, client, credentials, environment, tenant } from "./served.js";

async function directory(t: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "memsvc-"));
  t.after(() => rm(path, { recursive: true }));
  return path;
}

async function ids(of: string): Promise<string[]> {
  return (await all(client.listEntries(of))).map((entry) => entry.id);
}

test("tenants are made once, have settings, and end", async () => {
  const id = await tenant();
  await assert.rejects(client.createTenant(id), AlreadyExistsError);
  await client.createTenant(id, { existOk: true });
  await assert.rejects(client.createTenant("wrong", { layers: 99 }), InvalidArgumentError);
  await client.createTenant(`${id}+`, { preset: "dialogue", halfLife: 5_000, gate: "off", window: 2_048, ttlMs: 1_500, duplicates: "merge" });
  const listed = await all(client.listTenants());
  assert.deepEqual(listed.map((each) => each.tenant), listed.map((each) => each.tenant).sort());
  const { settings, createTime, uid } = listed.find((each) => each.tenant === `${id}+`)!;
  const { layers, halfLife, gate, window, ttlMs, duplicates } = settings;
  assert.deepEqual([layers, halfLife, gate, window, ttlMs, duplicates], [6, 5_000, "off", 2_048, 1_500, "merge"]);
  assert.ok(uid && createTime.getTime() <= Date.now() + 600_000);
  await client.deleteTenant(id);
  await assert.rejects(client.stats(id), NotFoundError);
});

test("settings change, those that are given alone", async () => {
  const id = await tenant();
  const before = (await all(client.listTenants())).find((each) => each.tenant === id)!;
  const { settings } = await client.updateTenant(id, { halfLife: 9, maxEntries: 10, ttlMs: 86_400_000, drift: false });
  assert.deepEqual(settings, { ...before.settings, halfLife: 9, maxEntries: 10, ttlMs: 86_400_000, drift: false });
  await assert.rejects(client.updateTenant(id, {}), { field: "settings" });
  await assert.rejects(client.updateTenant(id, { layers: 3 }), InvalidArgumentError);
});

test("stats are numbers and strings, and a memory is what its log makes", async () => {
  const id = await tenant();
  await client.write(id, "gattaca");
  const stats = await client.stats(id);
  assert.deepEqual([stats.entries, stats.headSeq, stats.restorePending], [1, stats.appliedSeq, false]);
  assert.match(stats.stateHash, /^[0-9a-f]{64}$/);
  assert.equal((await client.stats(id, { live: true })).stateHash, "");
  JSON.stringify(stats);
  assert.equal(await client.headSeq(id), stats.headSeq);
  assert.equal(await client.stateHash(id), stats.stateHash);
  const hash = stats.stateHash;
  assert.deepEqual(await client.verify(id), { seq: stats.headSeq, stateHash: hash, foldedHash: hash, equal: true });
});

test("events are seen arriving, once each", async () => {
  const id = await tenant();
  const first = await client.hotRestart(id);
  const seen: Event[] = [];
  for await (const event of client.watch(id)) {
    if (event.kind === "restart") seen.push(event);
    if (seen.length === 1) await client.hotRestart(id);
    if (seen.length === 2) break;
  }
  assert.equal(seen[0]!.seq, first);
  for await (const event of client.watch(id, { fromSeq: first })) {
    assert.deepEqual(event, seen[1]);
    break;
  }
  await assert.rejects(all(client.watch("nobody")), NotFoundError);
});

test("a stream of entries is written in order, each once, whatever it is fed from", async () => {
  const id = await tenant();
  async function* items() {
    for (let i = 0; i < 150; i++) yield `entry ${i}`;
    yield [{ id: "a", text: "a batch" }, "of its own"];
  }
  const receipts = await all(client.writeStream(id, items()));
  assert.deepEqual(receipts.map((receipt) => receipt.results.length), [64, 64, 22, 2]);
  assert.deepEqual((await all(client.listEntries(id))).map((entry) => entry.seq), receipts.flatMap(({ results }) => results.map((each) => each.seq)));
  const [again] = await all(client.writeStream(id, [{ id: "a", text: "a batch" }]));
  assert.equal(again!.results[0]!.skipped, true);
  await assert.rejects(all(client.writeStream(id, ["fine", [{ id: "a", text: "another" }], "never"])), AlreadyExistsError);
  // What was sent behind the batch that is refused may or may not be written, as it was not acknowledged.
  const texts = (await all(client.listEntries(id))).map((entry) => entry.text);
  assert.deepEqual([texts.length - texts.filter((text) => text === "never").length, texts.at(152)], [153, "fine"]);
  assert.equal(texts.includes("another"), false);
  assert.deepEqual(await all(client.writeStream(id, [])), []);
  await assert.rejects(all(client.writeStream(id, ["fine", { text: "\ud800" }])), { field: "entries[1].text" });
  await assert.rejects(all(client.writeStream("nobody", ["x"])), NotFoundError);
});

test("a past comes back, in place or as another tenant, and in place it is kept or undone", async () => {
  const id = await tenant();
  const { seq } = await client.write(id, { id: "a", text: "gattaca" });
  await client.write(id, { id: "b", text: "tacagat" });
  await assert.rejects(client.restore(id, 99), OutOfRangeError);
  const other = await client.restore(id, seq, { asTenant: `${id} then` });
  assert.equal(other.tenant, `${id} then`);
  assert.deepEqual([await ids(id), await ids(other.tenant)], [["a", "b"], ["a"]]);
  await client.restore(id, seq);
  assert.deepEqual([await ids(id), (await client.stats(id)).restorePending], [["a"], true]);
  assert.equal((await client.undoRestore(id)).tenant, id);
  assert.deepEqual(await ids(id), ["a", "b"]);
  await client.restore(id, seq);
  await client.confirmRestore(id);
  assert.deepEqual([await ids(id), (await client.stats(id)).restorePending], [["a"], false]);
  await assert.rejects(client.undoRestore(id), FailedPreconditionError);
  await assert.rejects(client.restore(id, seq, { asTenant: "" }), { field: "asTenant" });
});

test("a tenant goes into a file and comes out of it", async (t) => {
  const [id, path] = [await tenant(), join(await directory(t), "tenant.memsvc")];
  await client.write(id, Array.from({ length: 20 }, (_, i) => ({ id: `${i}`, text: randomBytes(24_000).toString("hex"), learn: false })));
  const steps: [number, number][] = [];
  const size = await client.exportTenant(id, path, { progress: (done, total) => steps.push([done, total]) });
  assert.equal((await stat(path)).size, size);
  assert.equal((await stat(path)).mode & 0o777, 0o600);
  assert.ok(steps.length > 1 && steps.every(([done, total]) => done <= total));
  assert.equal(steps.at(-1)![0], size);
  await assert.rejects(client.exportTenant(id, path), { code: "EEXIST" });
  assert.equal(await client.exportTenant(id, path, { overwrite: true }), size);

  await assert.rejects(client.importTenant(path), AlreadyExistsError);
  const sent: number[] = [];
  const made = await client.importTenant(path, { asTenant: `${id} again`, progress: (done) => sent.push(done) });
  assert.deepEqual([made.tenant.tenant, made.headSeq], [`${id} again`, await client.headSeq(id)]);
  assert.equal(sent.at(-1), size);
  assert.deepEqual(await ids(`${id} again`), await ids(id));
  await client.importTenant(path, { asTenant: `${id} rebuilt`, rebuild: true });
  assert.equal(await client.stateHash(`${id} rebuilt`), await client.stateHash(id));
});

test("a file that is damaged, cut short or not there makes no tenant", async (t) => {
  const [id, folder] = [await tenant(), await directory(t)];
  await client.write(id, "gattaca");
  const path = join(folder, "tenant.memsvc");
  await client.exportTenant(id, path);
  const whole = await readFile(path);
  const damaged = Buffer.from(whole);
  damaged[Math.floor(whole.length / 2)]! ^= 1;
  for (const [i, content] of [damaged, whole.subarray(0, whole.length - 9), Buffer.alloc(0), randomBytes(3 << 20)].entries()) {
    const wrong = join(folder, `${i}`);
    await writeFile(wrong, content);
    await assert.rejects(client.importTenant(wrong, { asTenant: `${id} wrong` }), InvalidArgumentError);
  }
  await assert.rejects(client.importTenant(join(folder, "none")), { code: "ENOENT" });
  await assert.rejects(client.stats(`${id} wrong`), NotFoundError);
  await assert.rejects(client.exportTenant("nobody", join(folder, "nobody")), NotFoundError);
  await assert.rejects(client.exportTenant(id, join(folder, "none", "file")), { code: "ENOENT" });
  await assert.rejects(client.exportTenant(id, folder), { code: "EISDIR" });
  const enough = new Error("enough");
  await assert.rejects(client.exportTenant(id, join(folder, "left"), { progress: () => { throw enough; } }), enough);
  await assert.rejects(client.importTenant(path, { asTenant: `${id} left`, progress: () => { throw enough; } }), enough);
  assert.deepEqual((await readdir(folder)).sort(), ["0", "1", "2", "3", "tenant.memsvc"]);
  await assert.rejects(client.stats(`${id} left`), NotFoundError);
});

test("keys are made, listed, rotated and revoked", async (t) => {
  await assert.rejects(all(client.listKeys()), { reason: "AUTH_OFF" });
  const target = environment("MEMSVC_SECURE_TARGET");
  const { tls, apiKey } = credentials();
  const secure = new MemoryClient(target, { tls, apiKey });
  t.after(() => secure.close());
  await secure.createTenant("mine/keys");
  const expire = new Date("2126-01-01T00:00:00Z");
  const { key, secret } = await secure.createKey("reader", { "mine/keys": "read" }, { expire });
  assert.deepEqual([key.name, key.grants, key.expireTime, key.revokeTime], ["reader", { "mine/keys": ["read"] }, expire, undefined]);
  const as = async (apiKey: string, call: (client: MemoryClient) => Promise<unknown>) => {
    const other = new MemoryClient(target, { tls, apiKey });
    await call(other).finally(() => other.close());
  };
  await as(secret, (reader) => reader.stats("mine/keys"));
  await assert.rejects(as(secret, (reader) => reader.write("mine/keys", "x")), PermissionDeniedError);
  const rotated = await secure.rotateKey(key.id, 0);
  await as(rotated.secret, (reader) => reader.stats("mine/keys"));
  assert.ok(rotated.key.rotateTime);
  assert.deepEqual((await all(secure.listKeys())).find((each) => each.id === key.id), rotated.key);
  assert.ok((await secure.revokeKey(key.id)).revokeTime);
  await assert.rejects(as(rotated.secret, (reader) => reader.stats("mine/keys")), UnauthenticatedError);
  await assert.rejects(secure.createKey("more", { "*": ["read"] }), PermissionDeniedError);
  await assert.rejects(secure.createKey("none", {}), { field: "grants" });
  await assert.rejects(secure.createKey("none", { "mine/*": [] }), { field: "grants" });
  await assert.rejects(secure.createKey("none", { "mine/*": ["all" as "read"] }), { field: "grants" });
});

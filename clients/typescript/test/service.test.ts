/** Entries and answers, against a real server. */

import assert from "node:assert/strict";
import { before, test } from "node:test";

import {
  AlreadyExistsError,
  FailedPreconditionError,
  InvalidArgumentError,
  MemoryClient,
  NotFoundError,
  OutOfRangeError,
  PermissionDeniedError,
  type StoredEntry,
  type Token,
  UnauthenticatedError,
  UnavailableError,
} from "../src/index.js";
import { all, client, credentials, environment, tenant } from "./served.js";

before(async () => client.createTenant("warm"));

test("what is written is read as it was given", async () => {
  const id = await tenant();
  const time = new Date("2026-03-01T12:00:00.123Z");
  const expire = new Date("2126-03-01T12:00:00Z");
  const given = { id: "é/🦜", text: "gattaca 🦜", session: "s", role: "user", time, expire, metadata: { page: 3, deep: [null, "é"] }, learn: false };
  const receipt = await client.write(id, [given, "catgat"], { wait: "applied" });
  assert.equal(receipt.results.length, 2);
  assert.equal(receipt.results[0]!.id, given.id);
  assert.equal(typeof receipt.results[1]!.surprise, "number");
  const { seq, commitTime, ...read } = await client.getEntry(id, given.id);
  assert.deepEqual(read, given);
  assert.equal(seq, receipt.seq);
  assert.ok(Math.abs(commitTime.getTime() - Date.now()) < 600_000);
  const again = await client.write(id, given);
  assert.equal(again.results[0]!.skipped, true);
  await assert.rejects(client.write(id, { ...given, text: "tacgta" }), AlreadyExistsError);
  await assert.rejects(client.getEntry(id, "nothing"), NotFoundError);
});

test("recall finds, filters, says why, and packs a context", async () => {
  const id = await tenant();
  const text = `${"🦜 ".repeat(3)}the key is under the mat`;
  await client.write(id, [
    { text: "acgtacgt", session: "a", metadata: { page: 1 } },
    { text, session: "b", metadata: { page: 7 }, id: "key" },
    { text: "ttttgggg", session: "b" },
  ]);
  const { hits, appliedSeq, context } = await client.recall(id, text, { k: 1, neighbours: 1, maxTokens: 200 });
  const [hit] = hits;
  assert.ok(hit);
  assert.deepEqual([hits.length, hit.entry.id, hit.entry.text], [1, "key", text]);
  const { surprise, cosine, lexical, context: lent } = hit.parts;
  assert.ok(Math.abs(surprise + cosine + lexical + lent - hit.score) < 1e-9);
  assert.equal(text.slice(hit.span.start, hit.span.end), text);
  assert.deepEqual(hit.after.map((entry) => entry.text), ["ttttgggg"]);
  assert.ok(context.includes("under the mat"));
  assert.equal(appliedSeq, (await client.stats(id)).headSeq);
  const filtered = await client.recall(id, text, { metadata: { page: { $lt: 3 } } });
  assert.deepEqual(filtered.hits.map((each) => each.entry.session), ["a"]);
  assert.equal((await client.recall(id, text, { after: new Date("2100-01-01") })).hits.length, 0);
  assert.equal((await client.recall(id, text, { asOf: 1 })).hits.length, 0);
  await assert.rejects(client.recall(id, text, { asOf: 99 }), OutOfRangeError);
});

test("entries are listed over pages, in order", async () => {
  const id = await tenant();
  const texts = Array.from({ length: 1_100 }, (_, i) => `entry ${i}`);
  await client.write(id, texts.slice(0, 600).map((text) => ({ text, learn: false })));
  await client.write(id, texts.slice(600).map((text) => ({ text, learn: false, role: "user" })));
  assert.deepEqual((await all(client.listEntries(id))).map((entry) => entry.text), texts);
  assert.equal((await all(client.listEntries(id, { role: "user" }))).length, 500);
  for await (const entry of client.listEntries(id)) {
    assert.equal(entry.text, texts[0]);
    break;
  }
});

test("entries change, count, and go", async () => {
  const id = await tenant();
  const { seq } = await client.write(id, { id: "a", text: "gattaca" });
  assert.ok((await client.updateEntry(id, { id: "a", text: "tacagat" })) > seq);
  assert.equal((await client.getEntry(id, "a")).text, "tacagat");
  assert.equal((await client.getEntry(id, "a", { asOf: seq })).text, "gattaca");
  assert.ok((await client.feedback(id, "a")) > seq);
  assert.ok((await client.feedback(id, ["a"], false)) > seq);
  const deletion = await client.deleteEntry(id, "a");
  assert.equal(deletion.textKept, true);
  await assert.rejects(client.getEntry(id, "a"), NotFoundError);
});

test("to forget waits until the memory is as if it had never read the text", async () => {
  const [id, twin] = [await tenant(), await tenant()];
  const kept = { id: "kept", text: "acgtacgtacgt", time: new Date(0) };
  await client.write(id, kept);
  await client.write(id, { id: "gone", text: "gattacagattaca", session: "s" });
  await client.write(twin, kept);
  const erasure = await client.forget(id, { ids: "gone" });
  assert.deepEqual([erasure.done, erasure.entries], [true, 1]);
  assert.ok(erasure.bytesDestroyed > 0);
  assert.notEqual(erasure.stateHashBefore, erasure.stateHashAfter);
  assert.equal((await client.stats(id)).stateHash, erasure.stateHashAfter);
  assert.equal((await client.getErasure(erasure.operation, id)).done, true);
  assert.deepEqual((await all(client.listEntries(id))).map((entry: StoredEntry) => entry.id), ["kept"]);
  await assert.rejects(client.forget(id), { field: "ids" });
  await assert.rejects(client.forget(id, { ids: [] }), { field: "ids" });
});

test("an answer comes as what was recalled, pieces, and usage", async () => {
  const id = await tenant();
  await client.write(id, { id: "door", text: "the door is blue" });
  const tokens: Token[] = await all(client.generate(id, "the door is which colour?", { remember: true, session: "chat" }));
  assert.deepEqual(tokens[0]!.recalled?.hits.map((hit) => hit.entry.id), ["door"]);
  assert.equal(tokens.map((token) => token.text).join(""), "It is blue.");
  const { usage } = tokens.at(-1)!;
  assert.deepEqual([usage?.finish, typeof usage?.totalTime], ["stop", "number"]);
  const said = await all(client.listEntries(id, { session: "chat" }));
  assert.deepEqual(said.map((entry) => [entry.role, entry.text]), [["user", "the door is which colour?"], ["assistant", "It is blue."]]);
  assert.equal(said[0]!.seq, usage?.rememberedSeq);
  const bare = await all(client.generate(id, [{ role: "user", text: "and now?" }], { recall: false }));
  assert.deepEqual(bare[0]!.recalled?.hits, []);
  const head = (await client.stats(id, { live: true })).headSeq;
  await all(client.generate(id, "and now?", { minSeq: head }));
  await assert.rejects(all(client.generate(id, "and now?", { minSeq: head + 1 })), OutOfRangeError);
});

test("what is wrong is named, here and by the server", async () => {
  const id = await tenant();
  const refused = async (call: Promise<unknown>, field: string) =>
    assert.rejects(call, (error) => error instanceof InvalidArgumentError && error.field === field);
  await refused(client.write(id, []), "entries");
  await refused(client.write(id, ["a", { text: "\ud800" }]), "entries[1].text");
  await refused(client.write(id, { text: "a", id: "" }), "entries[0].id");
  await refused(client.write(id, { text: "a", time: new Date(NaN) }), "entries[0].time");
  await refused(client.write(id, { text: "a", metadata: { x: NaN } }), "entries[0].metadata");
  await refused(client.write(id, { text: "a", metadata: { x: 1n } }), "entries[0].metadata");
  await refused(client.write(id, ["a", ""]), "entries[1].text");
  await refused(client.recall(id, "q", { k: 1.5 }), "k");
  await refused(client.recall(id, ""), "query");
  await refused(client.recall(id, "q", { timeoutMs: 0 }), "timeoutMs");
  await refused(client.updateEntry(id, { id: "", text: "a" }), "entry.id");
  assert.deepEqual(await all(client.listEntries(id)), []);
  for (const target of ["", "nowhere", "host:0", "http://host:1", []]) {
    assert.throws(() => new MemoryClient(target), { field: "target" });
  }
});

test("over TLS, with a key", async () => {
  const target = environment("MEMSVC_SECURE_TARGET");
  const { tls, apiKey } = credentials();
  const secure = new MemoryClient(target, { tls, apiKey: async () => apiKey });
  await secure.createTenant("mine/a", { existOk: true });
  await secure.write("mine/a", "gattaca");
  await assert.rejects(secure.write("yours", "gattaca"), PermissionDeniedError);
  secure.close();
  await assert.rejects(secure.stats("mine/a"), { reason: "CLOSED" });
  for (const [options, kind] of [
    [{ tls }, UnauthenticatedError],
    [{ tls, apiKey: "msk_wrong" }, UnauthenticatedError],
    [{ tls: true, apiKey }, UnavailableError],
  ] as const) {
    const other = new MemoryClient(target, { ...options, timeoutMs: 2_000 });
    await assert.rejects(other.stats("mine/a"), kind);
    other.close();
  }
  const untrusting = new MemoryClient(target, { tls: true, timeoutMs: 1_000 });
  await assert.rejects(untrusting.stats("mine/a"), { reason: "HANDSHAKE_FAILED" });
  untrusting.close();
  const plaintext = new MemoryClient(target, { timeoutMs: 1_000 });
  await assert.rejects(plaintext.stats("mine/a"), UnavailableError);
  plaintext.close();
});

test("a server without a model says so", async () => {
  const secure = new MemoryClient(environment("MEMSVC_SECURE_TARGET"), credentials());
  await secure.createTenant("mine/b", { existOk: true });
  await assert.rejects(all(secure.generate("mine/b", "which?")), (error) => {
    return error instanceof FailedPreconditionError && error.reason === "NO_BACKBONE";
  });
  secure.close();
});

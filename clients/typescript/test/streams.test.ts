/** Streams that break, servers that fall silent, and callers who leave, with a server that does as it is told. */

import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";

import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";

import { AuthService } from "../src/gen/memsvc/v1/auth_pb.js";
import { MemoryService, WriteStreamResponseSchema } from "../src/gen/memsvc/v1/memory_pb.js";
import { TenantService } from "../src/gen/memsvc/v1/tenants_pb.js";
import { AlreadyExistsError, DeadlineExceededError, MemsvcError, type Receipt, UnavailableError } from "../src/index.js";
import { PINGS } from "../src/peers.js";
import { connect, fake, mute, refusal, relay } from "./fake.js";

const said = (message: MessageInitShape<typeof WriteStreamResponseSchema>["message"]) =>
  create(WriteStreamResponseSchema, { window: 1n << 20n, message });

/** Ids of the batches that each connection carried, and what is done after each. */
function writing(t: TestContext, after: (connection: number, batch: number) => unknown) {
  const carried: string[][] = [];
  let seq = 0n;
  const address = fake(t, (router) =>
    router.rpc(MemoryService.method.writeStream, async function* (requests) {
      const batches: string[] = [];
      const connection = carried.push(batches);
      for await (const { message } of requests) {
        if (message.case === "open") yield said({ case: "opened", value: {} });
        if (message.case === "flush") yield said({ case: "flushed", value: { token: message.value.token } });
        if (message.case !== "batch") continue;
        const ids = message.value.entries.map((entry) => entry.id);
        batches.push(ids.join());
        await after(connection, batches.length);
        seq += 1n;
        const results = ids.map((id) => ({ id, seq }));
        yield said({ case: "ack", value: { seq, results } });
      }
    }),
  );
  return { address, carried };
}

const BATCHES = ["a", "b", "c"].map((id) => [{ id, text: id }]);

async function written(receipts: AsyncIterable<Receipt>): Promise<string[]> {
  const ids: string[] = [];
  for await (const { results } of receipts) ids.push(...results.map(({ id }) => id));
  return ids;
}

test("a write stream that breaks is resumed with what has no receipt", async (t) => {
  const { address, carried } = writing(t, (connection, batch) => {
    if (connection === 1 && batch === 2) throw refusal(Code.Unavailable, "DRAINING");
  });
  assert.deepEqual(await written(connect(t, await address).writeStream("ada", BATCHES)), ["a", "b", "c"]);
  assert.deepEqual(carried.map((batches) => [batches[0], batches.at(-1)]), [["a", "b"], ["b", "c"]]);
});

test("a write stream that is refused says why, and is not tried again", async (t) => {
  const { address, carried } = writing(t, (_, batch) => {
    if (batch === 2) throw refusal(Code.AlreadyExists, "ENTRY_EXISTS");
  });
  const ids: string[] = [];
  const refused = async () => {
    for await (const { results } of connect(t, await address).writeStream("ada", BATCHES)) ids.push(results[0]!.id);
  };
  await assert.rejects(refused(), (error) => error instanceof AlreadyExistsError && error.reason === "ENTRY_EXISTS");
  assert.deepEqual([ids, carried.length], [["a"], 1]);
});

test("a server that falls silent is given up after the timeout", { timeout: 20_000 }, async (t) => {
  const { address } = writing(t, (_, batch) => batch === 2 && new Promise(() => undefined));
  const stream = connect(t, await address).writeStream("ada", BATCHES, { timeoutMs: 300 });
  assert.equal((await stream.next()).value?.results[0]?.id, "a");
  await assert.rejects(stream.next(), DeadlineExceededError);
});

test("receipts come while the items wait, and who leaves ends stream and items", { timeout: 20_000 }, async (t) => {
  const { address } = writing(t, () => undefined);
  let ended!: () => void;
  const end = new Promise<void>((resolve) => (ended = resolve));
  async function* items() {
    try {
      yield BATCHES[0]!;
      await new Promise((resolve) => setTimeout(resolve, 100));
      yield BATCHES[1]!;
    } finally {
      ended();
    }
  }
  for await (const { results } of connect(t, await address).writeStream("ada", items())) {
    assert.equal(results[0]!.id, "a");
    break;
  }
  await end;
});

test("a signal ends a write stream and a watch, with its reason", { timeout: 20_000 }, async (t) => {
  const { address } = writing(t, () => new Promise(() => undefined));
  const reason = new Error("enough");
  const leaving = () => {
    const controller = new AbortController();
    setTimeout(() => controller.abort(reason), 50);
    return { signal: controller.signal };
  };
  await assert.rejects(written(connect(t, await address).writeStream("ada", BATCHES, leaving())), reason);
  const silent = await fake(t, (router) => router.rpc(TenantService.method.watchTenant, () => hang()));
  await assert.rejects(connect(t, silent).watch("ada", leaving()).next(), reason);
});

test("what the items throw is thrown as it is", async (t) => {
  const { address } = writing(t, () => undefined);
  const broken = new Error("the disk is gone");
  function* items() {
    yield "a";
    throw broken;
  }
  await assert.rejects(written(connect(t, await address).writeStream("ada", items())), broken);
});

test("a watch that breaks goes on, and repeats nothing", async (t) => {
  const event = (seq: bigint, x: number) => ({ seq, kind: "drift", figures: { x } });
  const asked: (bigint | undefined)[] = [];
  const address = await fake(t, (router) =>
    router.rpc(TenantService.method.watchTenant, async function* ({ fromSeq }) {
      asked.push(fromSeq);
      if (asked.length === 1) {
        yield event(4n, 1);
        yield event(7n, 1);
        yield event(7n, 2);
        throw refusal(Code.Unavailable, "DRAINING");
      }
      if (asked.length === 2) return; // as if that were all
      for (const x of [1, 2, 3]) yield event(7n, x);
      throw refusal(Code.NotFound, "TENANT_NOT_FOUND");
    }),
  );
  const seen: unknown[] = [];
  const watched = async () => {
    for await (const { seq, figures } of connect(t, address).watch("ada", { fromSeq: 2 })) seen.push([seq, figures["x"]]);
  };
  await assert.rejects(watched(), { reason: "TENANT_NOT_FOUND" });
  assert.deepEqual(seen, [[4, 1], [7, 1], [7, 2], [7, 3]]);
  assert.deepEqual(asked, [2n, 6n, 6n]);
});

test("after a restore records are counted from the one it names", async (t) => {
  const event = (seq: bigint, kind: string) => ({ seq, kind });
  const streams = [
    [event(4n, "restart"), event(6n, "drift"), event(3n, "restored")],
    [event(4n, "restart")], // its number was told before, and it is no repetition
    [],
  ];
  const asked: (bigint | undefined)[] = [];
  const address = await fake(t, (router) =>
    router.rpc(TenantService.method.watchTenant, async function* ({ fromSeq }) {
      yield* streams[asked.push(fromSeq) - 1]!;
      throw asked.length < streams.length ? refusal(Code.Unavailable, "DRAINING") : refusal(Code.NotFound, "TENANT_NOT_FOUND");
    }),
  );
  const seen: unknown[] = [];
  const watched = async () => {
    for await (const { seq, kind } of connect(t, address).watch("ada")) seen.push([seq, kind]);
  };
  await assert.rejects(watched(), { reason: "TENANT_NOT_FOUND" });
  assert.deepEqual(seen, [[4, "restart"], [6, "drift"], [3, "restored"], [4, "restart"]]);
  assert.deepEqual(asked, [undefined, 3n, 3n]);
});

test("a connection that falls silent is left for a new one, though the call has no deadline", { timeout: 20_000 }, async (t) => {
  const usual = { ...PINGS };
  Object.assign(PINGS, { pingIntervalMs: 100, pingTimeoutMs: 100 });
  t.after(() => Object.assign(PINGS, usual));
  const address = await fake(t, (router) =>
    router.rpc(TenantService.method.watchTenant, async function* ({ fromSeq }) {
      yield { seq: fromSeq === undefined ? 4n : 5n, kind: "drift" };
      yield* hang();
    }),
  );
  const { target, silence } = await relay(t, address);
  const events = connect(t, target).watch("ada");
  assert.equal((await events.next()).value?.seq, 4);
  silence();
  assert.equal((await events.next()).value?.seq, 5);
  await events.return();
});

test("a server that accepts connections and says nothing is left, by a watch too", { timeout: 20_000 }, async (t) => {
  const usual = { ...PINGS };
  Object.assign(PINGS, { connectTimeoutMs: 50 });
  t.after(() => Object.assign(PINGS, usual));
  const { target, accepted } = await mute(t);
  const client = connect(t, target, { tls: true, timeoutMs: 10_000 });
  const left = (error: unknown) => error instanceof UnavailableError && error.reason === "UNREACHABLE";
  await assert.rejects(client.watch("ada").next(), left);
  assert.ok(accepted() > 1, "it is tried again");
  await assert.rejects(client.write("ada", "a text"), left);
});

test("a watch gives up a server that stays away", { timeout: 20_000 }, async (t) => {
  const away = await fake(t, (router) =>
    router.rpc(TenantService.method.watchTenant, () => {
      throw refusal(Code.Unavailable, "DRAINING");
    }),
  );
  await assert.rejects(connect(t, away).watch("ada", { timeoutMs: 500 }).next(), UnavailableError);
});

test("a file whose export breaks begins anew, and one that fails leaves nothing", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "memsvc-"));
  t.after(() => rm(folder, { recursive: true }));
  let asked = 0;
  const address = await fake(t, (router) =>
    router.rpc(TenantService.method.exportTenant, async function* ({ tenant }) {
      asked += 1;
      yield { data: Buffer.from("whole"), totalBytes: 10n };
      if (tenant === "lost") throw refusal(Code.DataLoss, "CHECKSUM");
      if (asked === 1) throw refusal(Code.Unavailable, "DRAINING");
      yield { data: Buffer.from(" file") };
    }),
  );
  const client = connect(t, address);
  assert.equal(await client.exportTenant("ada", join(folder, "file")), 10);
  assert.equal(await readFile(join(folder, "file"), "utf8"), "whole file");
  await assert.rejects(client.exportTenant("lost", join(folder, "lost")), { reason: "CHECKSUM" });
  assert.deepEqual(await readdir(folder), ["file"]);
});

test("an import that breaks begins anew with the same request, and a refusal comes through at once", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "memsvc-"));
  t.after(() => rm(folder, { recursive: true }));
  const path = join(folder, "file");
  await writeFile(path, Buffer.alloc(8 << 20, "x"));
  const asked: { requestId: string; asTenant: string; rebuild: boolean; bytes: number }[] = [];
  const address = await fake(t, (router) =>
    router.rpc(TenantService.method.importTenant, async (parts) => {
      const seen = { requestId: "", asTenant: "", rebuild: false, bytes: 0 };
      asked.push(seen);
      for await (const { data, ...first } of parts) {
        if (!seen.bytes) Object.assign(seen, { requestId: first.requestId, asTenant: first.asTenant, rebuild: first.rebuild });
        seen.bytes += data.length;
        if (seen.asTenant === "full") throw refusal(Code.ResourceExhausted, "QUOTA_EXCEEDED");
        if (asked.length === 1) throw refusal(Code.Unavailable, "DRAINING");
      }
      return { tenant: { tenant: seen.asTenant, createTime: {} }, headSeq: 7n, adopted: true };
    }),
  );
  const client = connect(t, address);
  const made = await client.importTenant(path, { asTenant: "ada", rebuild: true });
  assert.deepEqual([made.tenant.tenant, made.headSeq, made.adopted], ["ada", 7, true]);
  assert.equal(asked[0]!.requestId, asked[1]!.requestId);
  assert.deepEqual(asked.slice(1), [{ requestId: asked[0]!.requestId, asTenant: "ada", rebuild: true, bytes: 8 << 20 }]);
  await assert.rejects(client.importTenant(path, { asTenant: "full" }), (error) => {
    return error instanceof MemsvcError && error.reason === "QUOTA_EXCEEDED";
  });
});

test("what makes a secret is asked for once", async (t) => {
  let asked = 0;
  const address = await fake(t, (router) => {
    router.rpc(AuthService.method.createKey, () => {
      asked += 1;
      throw refusal(Code.Unavailable, "DRAINING", { retryMs: 1 });
    });
  });
  await assert.rejects(connect(t, address).createKey("reader", { "*": "read" }), { reason: "DRAINING" });
  assert.equal(asked, 1);
});

async function* hang(): AsyncGenerator<never> {
  await new Promise(() => undefined);
}

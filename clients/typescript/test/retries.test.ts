import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { inspect } from "node:util";

import { Code } from "@connectrpc/connect";

import { GenerateService } from "../src/gen/memsvc/v1/generate_pb.js";
import { MemoryService, type WriteRequest } from "../src/gen/memsvc/v1/memory_pb.js";
import {
  DeadlineExceededError,
  InvalidArgumentError,
  MemoryClient,
  ResourceExhaustedError,
  UnavailableError,
} from "../src/index.js";
import { connect, fake, refusal, serve } from "./fake.js";

/** A server whose writes fail in this order, then succeed; with what it was asked. */
async function failing(t: TestContext, ...failures: Error[]): Promise<{ address: string; asked: WriteRequest[] }> {
  const asked: WriteRequest[] = [];
  const address = await fake(t, (router) =>
    router.rpc(MemoryService.method.write, (request) => {
      asked.push(request);
      const failure = failures.shift();
      if (failure) throw failure;
      return { seq: 7n, results: [{ id: request.entries[0]!.id, seq: 7n }] };
    }),
  );
  return { address, asked };
}

test("a write that is tried again has the same id", async (t) => {
  const { address, asked } = await failing(t, refusal(Code.Unavailable, "DRAINING"));
  const receipt = await connect(t, address).write("ada", "a text");
  assert.equal(asked.length, 2);
  assert.ok(asked[0]!.entries[0]!.id);
  assert.equal(asked[0]!.entries[0]!.id, asked[1]!.entries[0]!.id);
  assert.deepEqual([receipt.seq, receipt.results[0]!.id], [7, asked[0]!.entries[0]!.id]);
});

test("a delay that the server names is waited for, and one beyond the timeout is not", async (t) => {
  const named = refusal(Code.ResourceExhausted, "QUOTA_EXCEEDED", { metadata: { quota: "writes" }, retryMs: 60 });
  const { address } = await failing(t, named);
  const begun = performance.now();
  await connect(t, address).write("ada", "a text");
  assert.ok(performance.now() - begun >= 60);

  const late = await failing(t, refusal(Code.ResourceExhausted, "QUOTA_EXCEEDED", { metadata: { quota: "writes" }, retryMs: 900 }));
  await assert.rejects(connect(t, late.address, { timeoutMs: 800 }).write("ada", "a text"), (error) => {
    assert.ok(error instanceof ResourceExhaustedError);
    assert.deepEqual([error.reason, error.metadata, error.retryAfterMs], ["QUOTA_EXCEEDED", { quota: "writes" }, 900]);
    return true;
  });
  assert.equal(late.asked.length, 1);
});

test("a limit that time does not lift is final, and so is any other refusal", async (t) => {
  for (const code of [Code.ResourceExhausted, Code.Internal, Code.NotFound]) {
    const { address, asked } = await failing(t, refusal(code, "NO"));
    await assert.rejects(connect(t, address).write("ada", "a text"), { reason: "NO" });
    assert.equal(asked.length, 1);
  }
});

test("the owner of a tenant is followed, and kept in mind", async (t) => {
  const owner = await failing(t);
  const notOwner = () => refusal(Code.Unavailable, "NOT_OWNER", { metadata: { owner: owner.address } });
  const other = await failing(t, notOwner(), notOwner());
  const client = connect(t, other.address);
  await client.write("ada", "one");
  await client.write("ada", "two");
  assert.deepEqual([other.asked.length, owner.asked.length], [1, 2]);
  await client.write("bob", "three");
  assert.deepEqual([other.asked.length, owner.asked.length], [2, 3]);
});

test("servers that name each other are asked no more than the timeout lasts", async (t) => {
  const addresses: string[] = [];
  let asked = 0;
  for (const i of [0, 1]) {
    addresses[i] = await fake(t, (router) =>
      router.rpc(MemoryService.method.write, () => {
        asked += 1;
        throw refusal(Code.Unavailable, "NOT_OWNER", { metadata: { owner: addresses[1 - i]! } });
      }),
    );
  }
  await assert.rejects(
    connect(t, addresses[0]!, { timeoutMs: 1_000 }).write("ada", "a text"),
    (error) => error instanceof UnavailableError || error instanceof DeadlineExceededError,
  );
  assert.ok(asked >= 3 && asked < 30, `asked ${asked} times`);
});

test("where one server is gone the next is asked", async (t) => {
  const gone = await serve(() => undefined);
  await gone.close();
  const { address, asked } = await failing(t);
  await connect(t, [gone.address, address]).write("ada", "a text");
  assert.equal(asked.length, 1);
  await assert.rejects(connect(t, gone.address, { timeoutMs: 300 }).write("ada", "a text"), (error) => {
    assert.ok(error instanceof UnavailableError);
    return error.reason === "UNREACHABLE" && error.message.includes(gone.address);
  });
});

test("a call that is not answered ends at its timeout, or at its signal", async (t) => {
  const address = await fake(t, (router) => router.rpc(MemoryService.method.write, () => new Promise<never>(() => {})));
  const client = connect(t, address);
  await assert.rejects(client.write("ada", "a text", { timeoutMs: 200 }), DeadlineExceededError);
  const reason = new Error("enough");
  await assert.rejects(client.write("ada", "a text", { signal: AbortSignal.abort(reason) }), reason);
  const leaving = new AbortController();
  setTimeout(() => leaving.abort(reason), 50);
  await assert.rejects(client.write("ada", "a text", { signal: leaving.signal }), reason);
});

test("an answer is tried again until it began, and never after", async (t) => {
  let asked = 0;
  const address = await fake(t, (router) =>
    router.rpc(GenerateService.method.generate, async function* () {
      asked += 1;
      if (asked === 1) throw refusal(Code.Unavailable, "DRAINING");
      yield { event: { case: "text" as const, value: "It is" } };
      throw refusal(Code.Unavailable, "BACKBONE_FAILED");
    }),
  );
  const pieces: string[] = [];
  await assert.rejects(
    async () => {
      for await (const token of connect(t, address).generate("ada", "which?")) pieces.push(token.text);
    },
    { reason: "BACKBONE_FAILED" },
  );
  assert.deepEqual([pieces, asked], [["It is"], 2]);
});

test("who leaves an answer ends it at the server", { timeout: 20_000 }, async (t) => {
  let over!: () => void;
  const left = new Promise<void>((resolve) => (over = resolve));
  const address = await fake(t, (router) =>
    router.rpc(GenerateService.method.generate, async function* (_, context) {
      context.signal.addEventListener("abort", over);
      yield { event: { case: "text" as const, value: "a" } };
      await left;
    }),
  );
  for await (const token of connect(t, address).generate("ada", "which?")) {
    assert.equal(token.text, "a");
    break;
  }
  await left;
});

test("a key goes to loopback or over TLS, nowhere else, and shows nowhere", async (t) => {
  const apiKey = "msk_a_secret";
  assert.throws(() => new MemoryClient("10.0.0.7:50051", { apiKey }), { field: "apiKey" });
  new MemoryClient("10.0.0.7:50051", { apiKey, tls: true }).close();
  const { address, asked } = await failing(
    t,
    refusal(Code.Unavailable, "NOT_OWNER", { metadata: { owner: "10.0.0.7:50051" } }),
  );
  const client = connect(t, address, { apiKey });
  await assert.rejects(client.write("ada", "a text"), (error) => error instanceof InvalidArgumentError && error.field === "apiKey");
  assert.equal(asked.length, 1);
  assert.ok(!inspect(client, { depth: 9, showHidden: true }).includes("secret"));
});

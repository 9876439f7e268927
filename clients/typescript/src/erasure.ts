/** An erasure that is waited for. */

import { setTimeout as sleep } from "node:timers/promises";

import type { Caller } from "./caller.js";
import { DeadlineExceededError, errorOf, MemsvcError } from "./errors.js";
import * as replies from "./replies.js";
import * as requests from "./requests.js";
import type { CallOptions, Erasure, ForgetOptions } from "./types.js";

const FIRST_POLL_MS = 200;
const MOST_POLL_MS = 2_000;

/** Erase entries, and wait until it is done. An error while it is waited for names it in `metadata.operation`. */
export async function forget(caller: Caller, tenant: string, options: ForgetOptions): Promise<Erasure> {
  const request = requests.forget(tenant, options);
  const deadline = performance.now() + caller.timeoutOf(options);
  let erasure = replies.erasure(await caller.call(tenant, options, (at, wire) => at.memory.forget(request, wire)));
  const { operation } = erasure;
  for (let poll = FIRST_POLL_MS; options.wait !== false && !erasure.done; poll = Math.min(2 * poll, MOST_POLL_MS)) {
    const left = deadline - performance.now();
    if (left <= 0) throw late(operation);
    await sleep(Math.min(poll, left), undefined, { signal: options.signal }).catch(() => options.signal?.throwIfAborted());
    const timeoutMs = Math.max(1, deadline - performance.now());
    erasure = await getErasure(caller, operation, tenant, { ...options, timeoutMs }).catch((error: unknown) => {
      if (error instanceof DeadlineExceededError) throw late(operation);
      if (error instanceof MemsvcError) error.metadata["operation"] = operation;
      throw error;
    });
  }
  return erasure;
}

/** Return how far an erasure is. */
export async function getErasure(
  caller: Caller,
  operation: string,
  tenant: string | undefined,
  options: CallOptions,
): Promise<Erasure> {
  const request = requests.getErasure(operation, tenant);
  return replies.erasure(await caller.call(tenant, options, (at, wire) => at.memory.getErasure(request, wire)));
}

function late(operation: string): MemsvcError {
  const message = `the erasure ${operation} is not done in time; it goes on, and getErasure says how far`;
  return errorOf("DEADLINE_EXCEEDED", message, { metadata: { operation } });
}

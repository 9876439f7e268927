/** An answer from a tenant's memory: tried again until its first event came, and never after. */

import type { Caller } from "./caller.js";
import { MemsvcError } from "./errors.js";
import * as replies from "./replies.js";
import * as requests from "./requests.js";
import type { GenerateOptions, Message, Token } from "./types.js";

/** Milliseconds that a whole answer may take, unless a caller says otherwise. */
const ANSWER_MS = 600_000;

/** Yield the answer's events. Leaving the loop ends the call, and with it the model's work. */
export async function* generate(
  caller: Caller,
  tenant: string,
  prompt: string | readonly Message[],
  options: GenerateOptions,
): AsyncGenerator<Token, void, void> {
  const request = requests.generate(tenant, prompt, options);
  const trip = caller.trip(tenant, options, { timeoutMs: ANSWER_MS });
  const { signal } = options;
  for (let begun = false; ; ) {
    const address = trip.begin();
    const wire = { timeoutMs: trip.remainingMs, signal };
    try {
      for await (const message of caller.received(address, (at, each) => at.generate.generate(request, each), wire)) {
        begun = true;
        yield replies.token(message);
      }
      return;
    } catch (error) {
      if (begun || !(error instanceof MemsvcError)) throw error;
      await trip.pause(error, signal);
    }
  }
}

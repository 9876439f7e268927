/** The tries of one call: which server each of them asks, and when. */

import { setTimeout as sleep } from "node:timers/promises";

import { isHostAndPort } from "./addresses.js";
import { DeadlineExceededError, errorOf, type MemsvcError, ResourceExhaustedError, UnavailableError } from "./errors.js";
import type { Routes } from "./routes.js";

/** Tries in all where the server names no delay. */
export const ATTEMPTS = 6;
const FIRST_BACKOFF_MS = 100;
const MOST_BACKOFF_MS = 2_000;
/** Owners that are followed without a pause. */
const MOST_HOPS = 4;

/**
 * One call's way, from now on. A server that does not own the tenant says which one does, and that is asked at once; so
 * is the next address when one cannot be reached. Whoever was asked already is asked again only after a pause.
 */
export class Trip {
  readonly timeoutMs: number;
  readonly #routes: Routes;
  readonly #tenant: string | undefined;
  readonly #attempts: number;
  #deadline = 0;
  #address = "";
  #owner: string | undefined;
  #asked = new Set<string>();
  #hops = 0;
  #failures = 0;
  #disowned = false;

  constructor(routes: Routes, tenant: string | undefined, timeoutMs: number, attempts: number) {
    this.#routes = routes;
    this.#tenant = tenant;
    this.timeoutMs = timeoutMs;
    this.#attempts = attempts;
    this.renew();
  }

  /** Put an end to the troubles so far: tries and time count from now on. */
  renew(): void {
    this.#deadline = performance.now() + this.timeoutMs;
    this.#failures = 0;
    this.#goOn();
    if (this.#address) this.#asked.add(this.#address);
  }

  /** Milliseconds left for the call, always above 0, as a timeout has to be. */
  get remainingMs(): number {
    return Math.max(1, Math.ceil(this.#deadline - performance.now()));
  }

  /** Begin a try; return the address that it goes to. */
  begin(): string {
    this.#address = this.#owner ?? this.#routes.of(this.#tenant);
    this.#owner = undefined;
    this.#asked.add(this.#address);
    return this.#address;
  }

  /**
   * Wait until the next try; throw the error when it is final, or the signal's reason when the caller leaves.
   *
   * @param failure how the last one failed; undefined for a stream that ended before it was over, and nobody knows why.
   */
  async pause(failure: MemsvcError | undefined, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    const error = failure ?? this.#ended();
    if (this.#follows(error)) return;
    if (error instanceof UnavailableError || error instanceof DeadlineExceededError) {
      this.#routes.leave(this.#tenant, this.#address);
    }
    const away = error.reason === "UNREACHABLE" || error.reason === "HANDSHAKE_FAILED";
    if (away && this.#attempts > 1 && !this.#asked.has(this.#routes.of(this.#tenant))) return;
    const delay = this.#delayMs(error);
    if (delay === undefined || delay >= this.#deadline - performance.now()) throw error;
    for (const address of this.#asked) this.#routes.leave(this.#tenant, address);
    this.#goOn();
    await sleep(delay, undefined, { signal }).catch(() => signal?.throwIfAborted());
  }

  /** Return the error for a stream in which the server says nothing. */
  silence(): MemsvcError {
    this.#routes.leave(this.#tenant, this.#address);
    const message = `${this.#address} left a stream without an answer for ${this.timeoutMs} ms`;
    return errorOf("DEADLINE_EXCEEDED", message);
  }

  #ended(): MemsvcError {
    const message = `${this.#address} ended the stream before it was over`;
    return errorOf("UNAVAILABLE", message, { reason: "STREAM_ENDED" });
  }

  #goOn(): void {
    this.#asked = new Set();
    this.#hops = 0;
    this.#disowned = false;
  }

  /** Take the owner that an error names for the next try, if that one was not asked yet. */
  #follows(error: MemsvcError): boolean {
    if (error.reason !== "NOT_OWNER") return false;
    this.#disowned = true;
    const owner = error.metadata["owner"] ?? "";
    if (!isHostAndPort(owner) || this.#asked.has(owner) || this.#hops === MOST_HOPS) return false;
    this.#routes.learn(this.#tenant, owner);
    this.#owner = owner;
    this.#hops += 1;
    return true;
  }

  /** Return the wait before the next try, undefined when the error is final. */
  #delayMs(error: MemsvcError): number | undefined {
    const unavailable = error instanceof UnavailableError;
    if (this.#attempts === 1) return undefined;
    if (!unavailable && !(error instanceof ResourceExhaustedError)) return undefined;
    this.#failures += 1;
    if (error.retryAfterMs !== undefined) return error.retryAfterMs + Math.random() * FIRST_BACKOFF_MS;
    // While servers answer that the tenant is another one's, it changes hands: that passes.
    if (!unavailable || (this.#failures >= this.#attempts && !this.#disowned)) return undefined;
    const backoff = Math.min(MOST_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** Math.min(this.#failures - 1, 30));
    return backoff * (0.5 + Math.random() / 2);
  }
}

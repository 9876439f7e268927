/** A watch: a tenant's events, one call for each connection that it takes. */

import { create } from "@bufbuild/protobuf";

import type { Caller } from "./caller.js";
import { MemsvcError } from "./errors.js";
import { type WatchTenantRequest, WatchTenantRequestSchema } from "./gen/memsvc/v1/tenants_pb.js";
import type { Event as EventMessage } from "./gen/memsvc/v1/types_pb.js";
import type { Event, WatchOptions } from "./tenant-types.js";
import type { Trip } from "./trip.js";
import { given, int64, string } from "./values.js";

/** The kind of event that says that a tenant was put to a record, which may be one behind those told already. */
const RESTORED = "restored";

/** Yield events without end, reconnecting where the stream breaks. Leaving the loop ends the call. */
export async function* watch(caller: Caller, tenant: string, options: WatchOptions): AsyncGenerator<Event, void, void> {
  const { signal } = options;
  const watching = new Watching(tenant, options, caller.trip(tenant, options));
  for (;;) {
    const { address, request } = watching.restart();
    let failure: MemsvcError | undefined;
    try {
      for await (const message of caller.received(address, (at, wire) => at.tenants.watchTenant(request, wire), { signal })) {
        const event = watching.receive(message);
        if (event) yield event;
      }
    } catch (error) {
      if (!(error instanceof MemsvcError)) throw error;
      failure = error;
    }
    await watching.pause(failure, signal);
  }
}

/**
 * Where to go on after a broken stream, and which events were handed out already.
 *
 * A record may have several events, and a stream may break between two of them. The next one therefore begins before the
 * last record seen, and what it repeats of that record is left out.
 */
class Watching {
  readonly #request: WatchTenantRequest;
  readonly #trip: Trip;
  #broken = false;
  #began = 0;
  #news = false;
  #seq = 0n;
  #seen: string[] = [];
  #repeats: string[] = [];

  constructor(tenant: string, options: WatchOptions, trip: Trip) {
    const fromSeq = given(int64, "fromSeq", options.fromSeq);
    this.#request = create(WatchTenantRequestSchema, { tenant: string("tenant", tenant), fromSeq });
    this.#trip = trip;
  }

  /** Begin on a new connection. */
  restart(): { address: string; request: WatchTenantRequest } {
    this.#began = performance.now();
    this.#news = false;
    this.#repeats = [...this.#seen];
    if (this.#seq) this.#request.fromSeq = this.#seq - 1n;
    return { address: this.#trip.begin(), request: this.#request };
  }

  /** Take a message; return its event unless it was handed out already. */
  receive({ seq, kind, figures }: EventMessage): Event | undefined {
    const key = JSON.stringify([kind, Object.entries(figures).sort()]);
    if (kind === RESTORED) {
      // The log may be shorter now, and what follows that record is new.
      this.#request.fromSeq = seq;
      this.#seq = 0n;
      this.#seen = [];
    } else if (seq > this.#seq) {
      this.#seq = seq;
      this.#seen = [];
      this.#repeats = [];
    } else if (seq === this.#seq && this.#repeats.includes(key)) {
      this.#repeats.splice(this.#repeats.indexOf(key), 1);
      return undefined;
    }
    if (seq === this.#seq) this.#seen.push(key);
    this.#news = true;
    return { seq: Number(seq), kind, figures: { ...figures } };
  }

  /** Wait until the next connection. One that held for the timeout, or brought news, ends the troubles before it. */
  async pause(failure: MemsvcError | undefined, signal: AbortSignal | undefined): Promise<void> {
    if (!this.#broken || this.#news || performance.now() - this.#began >= this.#trip.timeoutMs) this.#trip.renew();
    this.#broken = true;
    await this.#trip.pause(failure, signal);
  }
}

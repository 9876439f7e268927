/** Transfers of whole tenants, to files and from them. */

import { type FileHandle, open } from "node:fs/promises";

import { create, type MessageInitShape } from "@bufbuild/protobuf";

import type { Caller } from "./caller.js";
import { MemsvcError } from "./errors.js";
import { local, NewFile } from "./files.js";
import { ExportTenantRequestSchema, type ImportTenantRequestSchema } from "./gen/memsvc/v1/tenants_pb.js";
import * as requests from "./requests.js";
import { toError } from "./status.js";
import type { ExportOptions, Imported, ImportOptions } from "./tenant-types.js";
import { imported } from "./tenants.js";
import type { Trip } from "./trip.js";
import { boolean, string } from "./values.js";

/** Bytes of a file that one message carries. */
const PART_BYTES = 256 * 1024;

type Part = MessageInitShape<typeof ImportTenantRequestSchema>;

/** Write a tenant to a file, from its beginning where the stream breaks; return its bytes. */
export async function exportTenant(caller: Caller, tenant: string, path: string, options: ExportOptions): Promise<number> {
  const request = create(ExportTenantRequestSchema, { tenant: string("tenant", tenant) });
  const trip = caller.trip(tenant, options);
  const file = await NewFile.create(path, boolean("overwrite", options.overwrite ?? false));
  try {
    for (;;) {
      try {
        await download(caller, trip, request, file, options);
        break;
      } catch (error) {
        if (!(error instanceof MemsvcError)) throw error;
        await trip.pause(error, options.signal);
        await file.restart();
      }
    }
    await file.commit();
  } finally {
    await file.close();
  }
  return file.size;
}

async function download(
  caller: Caller,
  trip: Trip,
  request: MessageInitShape<typeof ExportTenantRequestSchema>,
  file: NewFile,
  { signal, progress }: ExportOptions,
): Promise<void> {
  const address = trip.begin();
  const wire = { timeoutMs: trip.remainingMs, signal };
  let total = 0;
  for await (const part of caller.received(address, (at, each) => at.tenants.exportTenant(request, each), wire)) {
    total ||= Number(part.totalBytes);
    await file.write(part.data);
    progress?.(file.size, Math.max(file.size, total));
  }
}

/** Make a tenant of a file, which is sent from its beginning where the call breaks. */
export async function importTenant(caller: Caller, path: string, options: ImportOptions): Promise<Imported> {
  const first = requests.importTenant(options);
  const trip = caller.trip(options.asTenant, options);
  const file = await open(local(path), "r");
  try {
    for (;;) {
      const address = trip.begin();
      const upload = new Upload(file, first, options);
      try {
        const wire = { timeoutMs: trip.remainingMs, signal: options.signal };
        return imported(await caller.at(address).tenants.importTenant(upload.parts(), wire));
      } catch (failure) {
        upload.check();
        await trip.pause(toError(failure, address), options.signal);
      }
    }
  } finally {
    await file.close();
  }
}

/** One sending of a file. */
class Upload {
  readonly #file: FileHandle;
  readonly #first: Part;
  readonly #progress: ImportOptions["progress"];
  #trouble: { error: unknown } | undefined;

  constructor(file: FileHandle, first: Part, { progress }: ImportOptions) {
    this.#file = file;
    this.#first = first;
    this.#progress = progress;
  }

  /** Yield the messages; an empty file in one, for the server to refuse. What reading throws ends the call. */
  async *parts(): AsyncGenerator<Part, void, void> {
    const { size } = await this.#noted(this.#file.stat());
    for (let sent = 0; ; ) {
      const data = await this.#noted(this.#read(sent));
      if (!data.length && sent) return;
      yield sent ? { data } : { ...this.#first, data };
      if (!data.length) return;
      sent += data.length;
      await this.#noted(this.#tell(sent, size));
    }
  }

  /** Throw what reading has thrown: the call's failure tells nothing of it. */
  check(): void {
    if (this.#trouble) throw this.#trouble.error;
  }

  async #read(from: number): Promise<Uint8Array> {
    const { bytesRead, buffer } = await this.#file.read(Buffer.alloc(PART_BYTES), 0, PART_BYTES, from);
    return buffer.subarray(0, bytesRead);
  }

  async #tell(sent: number, size: number): Promise<void> {
    this.#progress?.(sent, Math.max(sent, size));
  }

  /** Return what work on this side comes to. The transport throws the call's own failures in here too. */
  async #noted<T>(work: Promise<T>): Promise<T> {
    try {
      return await work;
    } catch (error) {
      this.#trouble = { error };
      throw error;
    }
  }
}

/** The files of exports. One that is written is whole, or not there. */

import { randomUUID } from "node:crypto";
import { type FileHandle, lstat, open, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";

import { wrong } from "./errors.js";

/**
 * A file in the making. It grows beside its place under another name, and `commit` puts it there.
 *
 * Only its owner may read it, because a tenant's texts are in it.
 */
export class NewFile {
  /** Bytes written so far. */
  size = 0;
  readonly #path: string;
  readonly #temporary: string;
  readonly #overwrite: boolean;
  #file!: FileHandle;

  private constructor(path: string, overwrite: boolean) {
    this.#path = local(path);
    this.#temporary = join(dirname(path), `.memsvc-${randomUUID()}.part`);
    this.#overwrite = overwrite;
  }

  /** Begin one; throws what `node:fs` does, and with the code `EEXIST` where there is a file already. */
  static async create(path: string, overwrite: boolean): Promise<NewFile> {
    const made = new NewFile(path, overwrite);
    await made.#check();
    made.#file = await open(made.#temporary, "wx", 0o600);
    return made;
  }

  async write(data: Uint8Array): Promise<void> {
    await this.#file.writeFile(data); // from where the last one ended
    this.size += data.length;
  }

  /** Begin anew. */
  async restart(): Promise<void> {
    await this.#file.close();
    this.#file = await open(this.#temporary, "w", 0o600);
    this.size = 0;
  }

  /** Put the file in its place, safe from a crash. */
  async commit(): Promise<void> {
    await this.#file.sync();
    await this.#check();
    await rename(this.#temporary, this.#path);
    if (process.platform === "win32") return; // there a folder cannot be synchronised, and need not
    const folder = await open(dirname(this.#path), "r");
    await folder.sync().finally(() => folder.close());
  }

  /** Close it; what is not committed is gone. */
  async close(): Promise<void> {
    await this.#file.close();
    await rm(this.#temporary, { force: true });
  }

  async #check(): Promise<void> {
    const found = await lstat(this.#path).catch(() => undefined);
    if (found?.isDirectory()) throw failing("EISDIR", `${this.#path} is a directory`);
    if (found && !this.#overwrite) throw failing("EEXIST", `${this.#path} is there already`);
  }
}

/** Return a path of this machine. */
export function local(path: string): string {
  if (typeof path !== "string" || !path) throw wrong("path", "must name a file");
  return path;
}

function failing(code: string, message: string): Error {
  return Object.assign(new Error(`${code}: ${message}`), { code });
}

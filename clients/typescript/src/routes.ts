/** Which server a client asks: what its caller configured, and what servers told it since. No I/O. */

/** Tenants whose owner is kept in mind. */
const MOST_TENANTS = 10_000;

export class Routes {
  readonly #targets: readonly string[];
  readonly #owners = new Map<string, string>();
  #current = 0;

  constructor(targets: readonly string[]) {
    this.#targets = targets;
  }

  /** Return the address to ask for a tenant, or for what is no tenant's. */
  of(tenant: string | undefined): string {
    return (tenant === undefined ? undefined : this.#owners.get(tenant)) ?? this.#targets[this.#current]!;
  }

  /** Take note of who owns a tenant, the latest word counting. */
  learn(tenant: string | undefined, owner: string): void {
    if (tenant === undefined) return;
    this.#owners.delete(tenant);
    this.#owners.set(tenant, owner);
    if (this.#owners.size > MOST_TENANTS) this.#owners.delete(this.#owners.keys().next().value!);
  }

  /** Ask another server next: this one did not serve a call. */
  leave(tenant: string | undefined, address: string): void {
    if (tenant !== undefined && this.#owners.get(tenant) === address) this.#owners.delete(tenant);
    if (this.#targets[this.#current] === address) this.#current = (this.#current + 1) % this.#targets.length;
  }
}

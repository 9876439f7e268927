/** Addresses of servers: those that a caller names, and those that servers name of each other. */

import { isIPv4 } from "node:net";

import { wrong } from "./errors.js";

const HOST_PORT = /^([A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?|\[[0-9A-Fa-f:.]{2,45}\]):([1-9][0-9]{0,4})$/;

/** Return the addresses that a caller names, each once: one, several between commas, or an array of them. */
export function targetsOf(value: string | readonly string[]): string[] {
  const given = typeof value === "string" ? value.split(",") : value;
  const targets = Array.isArray(given) ? given.map((each) => String(each).trim()) : [];
  if (!targets.length || !targets.every(isHostAndPort)) {
    throw wrong("target", 'must be one or more of HOST:PORT, for example "127.0.0.1:50051"');
  }
  return [...new Set(targets)];
}

/** Whether this is a host and a port and nothing else. */
export function isHostAndPort(address: string): boolean {
  const found = HOST_PORT.exec(address);
  return found !== null && Number(found[2]) < 2 ** 16;
}

/** Whether this is a port of this machine alone; false where that cannot be told. */
export function isLoopback(address: string): boolean {
  const host = HOST_PORT.exec(address)?.[1] ?? "";
  return host === "localhost" || host === "[::1]" || (isIPv4(host) && host.startsWith("127."));
}

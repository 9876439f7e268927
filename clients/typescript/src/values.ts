/** From one value of a caller's to what a message can carry. What it cannot is refused, naming the field; limits are the server's. */

import { type Duration, durationFromMs, type Timestamp, timestampFromDate } from "@bufbuild/protobuf/wkt";

import { wrong } from "./errors.js";

const MAX_INT32 = 2 ** 31 - 1;
const FIRST_DATE = Date.parse("0001-01-01T00:00:00Z");
const LAST_DATE = Date.parse("9999-12-31T23:59:59.999Z");

export function string(field: string, value: string): string {
  if (typeof value !== "string") throw wrong(field, `must be a string, not ${typeof value}`);
  if (!value.isWellFormed()) throw wrong(field, "has a lone surrogate");
  return value;
}

export function int32(field: string, value: number, low = 0): number {
  return whole(field, value, low, MAX_INT32);
}

export function int64(field: string, value: number, low = 0): bigint {
  return BigInt(whole(field, value, low, Number.MAX_SAFE_INTEGER));
}

export function number(field: string, value: number): number {
  if (typeof value !== "number") throw wrong(field, `must be a number, not ${typeof value}`);
  return value;
}

export function boolean(field: string, value: boolean): boolean {
  if (typeof value !== "boolean") throw wrong(field, `must be true or false, not ${typeof value}`);
  return value;
}

export function timestamp(field: string, value: Date): Timestamp {
  if (!(value instanceof Date)) throw wrong(field, `must be a Date, not ${typeof value}`);
  const time = value.getTime();
  if (!(time >= FIRST_DATE && time <= LAST_DATE)) throw wrong(field, "must be in the years 1 to 9999");
  return timestampFromDate(value);
}

/** Return a length of time that is given in milliseconds, 0 or more. */
export function duration(field: string, value: number): Duration {
  return durationFromMs(whole(field, value, 0, Number.MAX_SAFE_INTEGER));
}

export function milliseconds(field: string, value: number): number {
  if (typeof value !== "number" || !(value > 0 && value <= MAX_INT32)) {
    throw wrong(field, "must be a number of milliseconds above 0, and not above 2,147,483,647");
  }
  return value;
}

export function choice<T>(field: string, value: string, choices: Record<string, T>): T {
  const found = Object.hasOwn(choices, value) ? choices[value] : undefined;
  if (found === undefined) throw wrong(field, `must be one of ${Object.keys(choices).join(", ")}`);
  return found;
}

/** Return an object as JSON, the empty one as an empty string. */
export function json(field: string, value: Record<string, unknown>): string {
  if (value === null || typeof value !== "object" || Array.isArray(value)) throw wrong(field, "must be an object");
  try {
    const text = JSON.stringify(value, finite);
    return text === "{}" ? "" : string(field, text);
  } catch (error) {
    throw wrong(field, `cannot be written as JSON: ${error instanceof Error ? error.message : error}`);
  }
}

/** What JSON would write as null is refused. */
function finite(_: string, value: unknown): unknown {
  if (typeof value === "number" && !Number.isFinite(value)) throw new Error("a number is not finite");
  return value;
}

/** Return a converter's result, undefined for what is left out. */
export function given<T, R>(convert: (field: string, value: T) => R, field: string, value: T | undefined): R | undefined {
  return value === undefined ? undefined : convert(field, value);
}

function whole(field: string, value: number, low: number, high: number): number {
  if (!Number.isSafeInteger(value) || value < low || value > high) {
    throw wrong(field, `must be a whole number from ${low} to ${high}`);
  }
  return value;
}

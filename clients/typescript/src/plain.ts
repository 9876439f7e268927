/** From generated messages to plain objects: counts as numbers, times as Dates, lengths of time as milliseconds. */

import { isMessage } from "@bufbuild/protobuf";
import { type Duration, durationMs, DurationSchema, type Timestamp, timestampDate, TimestampSchema } from "@bufbuild/protobuf/wkt";

export type Plain<T> = T extends bigint
  ? number
  : T extends Timestamp
    ? Date
    : T extends Duration
      ? number
      : T extends readonly (infer Item)[]
        ? Plain<Item>[]
        : T extends object
          ? { [K in keyof T as K extends `$${string}` ? never : K]: Plain<T[K]> }
          : T;

/** Return a message's plain object. */
export function plain<T>(value: T): Plain<T> {
  return convert(value) as Plain<T>;
}

function convert(value: unknown): unknown {
  if (typeof value === "bigint") return Number(value); // a log that long would have taken millennia
  if (isMessage(value, TimestampSchema)) return timestampDate(value);
  if (isMessage(value, DurationSchema)) return durationMs(value);
  if (Array.isArray(value)) return value.map(convert);
  if (value === null || typeof value !== "object") return value;
  const fields = Object.entries(value).filter(([name]) => !name.startsWith("$"));
  return Object.fromEntries(fields.map(([name, field]) => [name, convert(field)]));
}

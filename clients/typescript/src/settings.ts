/** The settings of a tenant, from options to a message and back. */

import type { MessageInitShape } from "@bufbuild/protobuf";

import {
  DuplicatePolicy,
  GatePolicy,
  type MemoryConfig,
  MemoryConfigSchema,
  type Policies,
  PoliciesSchema,
  SnapshotRetention,
} from "./gen/memsvc/v1/types_pb.js";
import { plain } from "./plain.js";
import type { TenantSettings } from "./tenant-types.js";
import { boolean, choice, duration, given, int32, int64, number } from "./values.js";

const GATES = { off: GatePolicy.OFF, fixed: GatePolicy.FIXED, quantile: GatePolicy.QUANTILE };
const SNAPSHOTS = {
  none: SnapshotRetention.NONE,
  log_spaced: SnapshotRetention.LOG_SPACED,
  all: SnapshotRetention.ALL,
};
const DUPLICATES = { keep: DuplicatePolicy.KEEP, merge: DuplicatePolicy.MERGE };

/** Return how a memory learns. */
export function memoryOf(options: TenantSettings): MessageInitShape<typeof MemoryConfigSchema> {
  return {
    layers: given(int32, "layers", options.layers),
    theta: given(number, "theta", options.theta),
    eta: given(number, "eta", options.eta),
    halfLife: given(number, "halfLife", options.halfLife),
    gate: options.gate && choice("gate", options.gate, GATES),
    gateValue: given(number, "gateValue", options.gateValue),
    drift: given(boolean, "drift", options.drift),
    driftSigma: given(number, "driftSigma", options.driftSigma),
    driftWindows: given(int32, "driftWindows", options.driftWindows),
    restartTokens: given(int64, "restartTokens", options.restartTokens),
    window: given(int32, "window", options.window),
  };
}

/** Return what is kept, and for how long. */
export function policiesOf(options: TenantSettings): MessageInitShape<typeof PoliciesSchema> {
  return {
    maxEntries: given(int64, "maxEntries", options.maxEntries),
    ttl: given(duration, "ttlMs", options.ttlMs),
    snapshots: options.snapshots && choice("snapshots", options.snapshots, SNAPSHOTS),
    duplicates: options.duplicates && choice("duplicates", options.duplicates, DUPLICATES),
  };
}

/** Return the paths of the settings that are given, as a mask has them. */
export function pathsOf(options: TenantSettings): string[] {
  const memory: Record<string, unknown> = memoryOf(options);
  const policies: Record<string, unknown> = policiesOf(options);
  return [
    ...MemoryConfigSchema.fields.filter((field) => memory[field.localName] !== undefined).map((field) => `memory.${field.name}`),
    ...PoliciesSchema.fields.filter((field) => policies[field.localName] !== undefined).map((field) => `policies.${field.name}`),
  ];
}

/** Return how a memory learns, as far as a message says. */
export function memorySettings(message: MemoryConfig | undefined): TenantSettings {
  if (!message) return {};
  const { preset: _, gate, ...rest } = plain(message);
  return { ...rest, gate: nameOf(GATES, gate) };
}

/** Return what is kept, and for how long, as far as a message says. */
export function policySettings(message: Policies | undefined): TenantSettings {
  if (!message) return {};
  const { ttl, snapshots, duplicates, ...rest } = plain(message);
  return { ...rest, ttlMs: ttl, snapshots: nameOf(SNAPSHOTS, snapshots), duplicates: nameOf(DUPLICATES, duplicates) };
}

function nameOf<Name extends string, Value>(names: Record<Name, Value>, value: Value | undefined): Name | undefined {
  return (Object.keys(names) as Name[]).find((name) => names[name] === value);
}

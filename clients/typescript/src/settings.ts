/** The settings of a tenant, from options to a message. */

import type { MessageInitShape } from "@bufbuild/protobuf";

import {
  DuplicatePolicy,
  GatePolicy,
  type MemoryConfigSchema,
  type PoliciesSchema,
  SnapshotRetention,
} from "./gen/memsvc/v1/types_pb.js";
import type { CreateTenantOptions } from "./types.js";
import { boolean, choice, given, int32, int64, number, string } from "./values.js";

const GATES = { off: GatePolicy.OFF, fixed: GatePolicy.FIXED, quantile: GatePolicy.QUANTILE };
const SNAPSHOTS = {
  none: SnapshotRetention.NONE,
  log_spaced: SnapshotRetention.LOG_SPACED,
  all: SnapshotRetention.ALL,
};
const DUPLICATES = { keep: DuplicatePolicy.KEEP, merge: DuplicatePolicy.MERGE };

/** Return how a memory learns. */
export function memoryOf(options: CreateTenantOptions): MessageInitShape<typeof MemoryConfigSchema> {
  return {
    preset: given(string, "preset", options.preset),
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
  };
}

/** Return what is kept, and for how long. */
export function policiesOf(options: CreateTenantOptions): MessageInitShape<typeof PoliciesSchema> {
  return {
    maxEntries: given(int64, "maxEntries", options.maxEntries),
    ttl: given(ttl, "ttlMs", options.ttlMs),
    snapshots: options.snapshots && choice("snapshots", options.snapshots, SNAPSHOTS),
    duplicates: options.duplicates && choice("duplicates", options.duplicates, DUPLICATES),
  };
}

function ttl(field: string, value: number): { seconds: bigint; nanos: number } {
  const whole = int64(field, value);
  return { seconds: whole / 1000n, nanos: Number(whole % 1000n) * 1_000_000 };
}

/** From a failed gRPC call to the client's errors. */

import { durationMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";

import { errorOf, MemsvcError } from "./errors.js";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "./gen/google/rpc/error_details_pb.js";

/** Return what a failed call to `address` means, with all that the server says of it. */
export function toError(failure: unknown, address: string): MemsvcError {
  if (failure instanceof MemsvcError) return failure;
  const error = ConnectError.from(failure);
  const info = error.findDetails(ErrorInfoSchema)[0];
  const facts = {
    reason: info?.reason,
    metadata: info?.metadata,
    field: error.findDetails(BadRequestSchema)[0]?.fieldViolations[0]?.field,
    retryAfterMs: retryAfterMs(error),
    cause: failure,
  };
  const code = nameOf(error.code);
  if (!info && code === "DEADLINE_EXCEEDED") return errorOf(code, `${address} did not answer in time`, facts);
  const trouble = info ? undefined : connectionTrouble(error);
  if (trouble) {
    return errorOf("UNAVAILABLE", `the connection to ${address} failed: ${error.rawMessage}`, { ...facts, reason: trouble });
  }
  return errorOf(code, error.rawMessage || code, facts);
}

/** Return a code's name in gRPC, such as `NOT_FOUND`. */
function nameOf(code: Code): string {
  if (code === Code.Canceled) return "CANCELLED";
  return Code[code].replace(/(?<=[a-z])(?=[A-Z])/g, "_").toUpperCase();
}

/** Return why no call came through; undefined where a server answered. */
function connectionTrouble(error: ConnectError): "UNREACHABLE" | "HANDSHAKE_FAILED" | undefined {
  for (let cause = error.cause; cause instanceof Error; cause = cause.cause) {
    if ("code" in cause && typeof cause.code === "string") {
      return /CERT|SSL|TLS|SIGNATURE/.test(cause.code) ? "HANDSHAKE_FAILED" : "UNREACHABLE";
    }
  }
  // A stream that is reset, or cut off by a server that stops: nobody here cancelled it.
  return [Code.Unavailable, Code.Canceled, Code.Aborted].includes(error.code) ? "UNREACHABLE" : undefined;
}

/** Return the longer of both ways to ask for a delay. */
function retryAfterMs(error: ConnectError): number | undefined {
  const delays = error.findDetails(RetryInfoSchema).map((info) => (info.retryDelay ? durationMs(info.retryDelay) : 0));
  const pushback = error.metadata.get("grpc-retry-pushback-ms");
  // What cannot be read forbids a retry, as a negative delay does.
  if (pushback !== null) delays.push(/^\d+$/.test(pushback) ? Number(pushback) : Infinity);
  return delays.length ? Math.max(...delays) : undefined;
}

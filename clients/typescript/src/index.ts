/** The TypeScript client of memsvc. */

export { type ClientOptions, MemoryClient } from "./client.js";
export type { Access, TLS } from "./peers.js";
export type * from "./key-types.js";
export type * from "./tenant-types.js";
export type * from "./types.js";
export {
  AlreadyExistsError,
  DataLossError,
  DeadlineExceededError,
  FailedPreconditionError,
  InvalidArgumentError,
  MemsvcError,
  NotFoundError,
  OutOfRangeError,
  PermissionDeniedError,
  ResourceExhaustedError,
  UnauthenticatedError,
  UnavailableError,
} from "./errors.js";

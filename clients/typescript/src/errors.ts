/** What the client throws, in one tree. */

export interface ErrorFacts {
  /** The gRPC status code, for example `NOT_FOUND`. */
  code?: string;
  /** UPPER_SNAKE_CASE, stable, for programs; the code where the server gave none. */
  reason?: string;
  /** Further facts for programs. */
  metadata?: Record<string, string>;
  /** Path of the field that is wrong, for example `entries[3].id`. */
  field?: string;
  /** Milliseconds after which the server asks to be tried again; infinite when it asks not to be. */
  retryAfterMs?: number;
  cause?: unknown;
}

/** Base of everything the client throws on purpose, and the class of every code that has none below. */
export class MemsvcError extends Error {
  readonly code: string;
  readonly reason: string;
  readonly metadata: Record<string, string>;
  readonly field: string | undefined;
  readonly retryAfterMs: number | undefined;

  constructor(message: string, facts: ErrorFacts = {}) {
    super(message, facts.cause === undefined ? undefined : { cause: facts.cause });
    this.name = new.target.name;
    this.code = facts.code ?? "UNKNOWN";
    this.reason = facts.reason || this.code;
    this.metadata = facts.metadata ?? {};
    this.field = facts.field;
    this.retryAfterMs = facts.retryAfterMs;
  }
}

/** The request is wrong, found here or by the server; `field` names what is. */
export class InvalidArgumentError extends MemsvcError {}

/** No such tenant or entry. */
export class NotFoundError extends MemsvcError {}

/** The tenant, or an entry's id with other content, exists. */
export class AlreadyExistsError extends MemsvcError {}

/** The tenant or the deployment is not in the state that the request needs. */
export class FailedPreconditionError extends MemsvcError {}

/** A sequence number beyond the log's head. */
export class OutOfRangeError extends MemsvcError {}

/** There is no credential, or it is not valid. */
export class UnauthenticatedError extends MemsvcError {}

/** The credential does not reach so far. It is the same whether what was asked about exists or not. */
export class PermissionDeniedError extends MemsvcError {}

/** A limit or a quota is reached. Where `retryAfterMs` is undefined no time lifts it. */
export class ResourceExhaustedError extends MemsvcError {}

/** No answer within the timeout. A write may have happened: write it again under the same ids. */
export class DeadlineExceededError extends MemsvcError {}

/** The server cannot be reached (`UNREACHABLE`, `HANDSHAKE_FAILED`), does not own the tenant (`NOT_OWNER`) or cannot serve now. */
export class UnavailableError extends MemsvcError {}

/** The server's data failed a checksum and nothing older verifies. */
export class DataLossError extends MemsvcError {}

const CLASSES: Record<string, typeof MemsvcError> = {
  INVALID_ARGUMENT: InvalidArgumentError,
  NOT_FOUND: NotFoundError,
  ALREADY_EXISTS: AlreadyExistsError,
  FAILED_PRECONDITION: FailedPreconditionError,
  OUT_OF_RANGE: OutOfRangeError,
  UNAUTHENTICATED: UnauthenticatedError,
  PERMISSION_DENIED: PermissionDeniedError,
  RESOURCE_EXHAUSTED: ResourceExhaustedError,
  DEADLINE_EXCEEDED: DeadlineExceededError,
  UNAVAILABLE: UnavailableError,
  DATA_LOSS: DataLossError,
};

/** Return the error of a code's class. */
export function errorOf(code: string, message: string, facts: ErrorFacts = {}): MemsvcError {
  return new (CLASSES[code] ?? MemsvcError)(message, { ...facts, code });
}

/** Return the error that names a field of the caller's. */
export function wrong(field: string, message: string): MemsvcError {
  return errorOf("INVALID_ARGUMENT", `${field}: ${message}`, { field });
}

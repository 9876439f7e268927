"""The one tree of errors that memsvc raises on purpose.

    MemsvcError
    ├── InvalidArgumentError      the request is wrong; names the field
    ├── NotFoundError             no such tenant or entry
    ├── AlreadyExistsError        the tenant or the entry exists with other content
    ├── FailedPreconditionError   not in this state of the tenant or the deployment
    ├── OutOfRangeError           past the end of the log
    ├── UnauthenticatedError      no credential, or one that is not valid
    ├── PermissionDeniedError     the credential does not reach so far; says nothing of what is there
    ├── ResourceExhaustedError    a limit or a quota; says when to try again
    ├── DeadlineExceededError     the wait outlived the caller's deadline
    ├── UnavailableError          the store or this process cannot serve now
    └── DataLossError             a checksum failed and nothing older verifies

`memsvc.server.errors` maps them to gRPC codes, in one table.
"""

from collections.abc import Mapping


class MemsvcError(Exception):
    """Base of all errors raised on purpose.

    Attributes:
        reason: UPPER_SNAKE_CASE, stable, for programs.
        metadata: further facts for programs; never text of a tenant.
    """

    default_reason = "INTERNAL"

    def __init__(self, message: str, *, reason: str | None = None, metadata: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.reason = reason or self.default_reason
        self.metadata = dict(metadata or {})


class InvalidArgumentError(MemsvcError):
    """The request is wrong. `field` is its path in the request, for example `entries[3].id`."""

    default_reason = "INVALID_ARGUMENT"

    def __init__(self, field: str, message: str, *, reason: str | None = None) -> None:
        super().__init__(f"{field}: {message}", reason=reason, metadata={"field": field})
        self.field = field
        self.description = message


class NotFoundError(MemsvcError):
    """No such tenant or entry."""

    default_reason = "NOT_FOUND"


class AlreadyExistsError(MemsvcError):
    """The tenant or the entry exists, with other content."""

    default_reason = "ALREADY_EXISTS"


class FailedPreconditionError(MemsvcError):
    """The tenant or the deployment is not in the state that the request needs."""

    default_reason = "FAILED_PRECONDITION"


class OutOfRangeError(MemsvcError):
    """A sequence number beyond the log's head."""

    default_reason = "OUT_OF_RANGE"


class UnauthenticatedError(MemsvcError):
    """There is no credential, or it is not valid."""

    default_reason = "UNAUTHENTICATED"


class PermissionDeniedError(MemsvcError):
    """The credential does not reach so far. It is the same whether what was asked about exists or not."""

    default_reason = "PERMISSION_DENIED"


class ResourceExhaustedError(MemsvcError):
    """A queue or a quota is full. `retry_after` is in seconds; None where no time lifts it."""

    default_reason = "RESOURCE_EXHAUSTED"

    def __init__(
        self,
        message: str,
        *,
        retry_after: float | None,
        reason: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, reason=reason, metadata=metadata)
        self.retry_after = retry_after


class DeadlineExceededError(MemsvcError):
    """A wait outlived the caller's deadline."""

    default_reason = "DEADLINE_EXCEEDED"


class UnavailableError(MemsvcError):
    """The store or this process cannot serve now."""

    default_reason = "UNAVAILABLE"


class DataLossError(MemsvcError):
    """A checksum failed and no older generation verifies."""

    default_reason = "DATA_LOSS"

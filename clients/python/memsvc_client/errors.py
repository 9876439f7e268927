"""What the client raises, in one tree.

MemsvcError                   base, and the class of every gRPC code that has none below
├── InvalidArgumentError      the request is wrong, found here or by the server; `field` names it. Also a ValueError
├── NotFoundError             no such tenant or entry
├── AlreadyExistsError        the tenant, or an entry's id with other content, exists
├── FailedPreconditionError   not in this state of the tenant or the deployment
├── OutOfRangeError           a sequence number beyond the log's head
├── UnauthenticatedError      no credential, or one that is not valid; `reason` says which
├── PermissionDeniedError     the credential does not reach so far
├── ResourceExhaustedError    a limit or a quota; `retry_after` says when there may be room
├── DeadlineExceededError     no answer within the timeout
├── UnavailableError          the server cannot be reached or cannot serve now
└── DataLossError             the server's data failed a checksum
"""

from collections.abc import Mapping
from typing import ClassVar

from grpc import StatusCode


class MemsvcError(Exception):
    """Base of everything the client raises on purpose.

    Attributes:
        code: the gRPC status code.
        reason: UPPER_SNAKE_CASE, stable, for programs; the code's name where the server gave none.
        metadata: further facts for programs.
        field: path of the field that is wrong, for example `entries[3].id`; None when no field is.
        retry_after: seconds after which the server asks to be tried again; infinite when it asks not to be; None when
            it says nothing.
    """

    default_code: ClassVar[StatusCode] = StatusCode.UNKNOWN

    def __init__(
        self,
        message: str,
        *,
        code: StatusCode | None = None,
        reason: str | None = None,
        metadata: Mapping[str, str] | None = None,
        field: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code or self.default_code
        self.reason = reason or self.code.name
        self.metadata = dict(metadata or {})
        self.field = field
        self.retry_after = retry_after


class InvalidArgumentError(MemsvcError, ValueError):
    """The request is wrong."""

    default_code = StatusCode.INVALID_ARGUMENT


class NotFoundError(MemsvcError):
    """No such tenant or entry."""

    default_code = StatusCode.NOT_FOUND


class AlreadyExistsError(MemsvcError):
    """The tenant, or an entry's id with other content, exists."""

    default_code = StatusCode.ALREADY_EXISTS


class FailedPreconditionError(MemsvcError):
    """The tenant or the deployment is not in the state that the request needs."""

    default_code = StatusCode.FAILED_PRECONDITION


class OutOfRangeError(MemsvcError):
    """A sequence number beyond the log's head."""

    default_code = StatusCode.OUT_OF_RANGE


class UnauthenticatedError(MemsvcError):
    """There is no credential, or it is not valid."""

    default_code = StatusCode.UNAUTHENTICATED


class PermissionDeniedError(MemsvcError):
    """The credential does not reach so far. It is the same whether what was asked about exists or not."""

    default_code = StatusCode.PERMISSION_DENIED


class ResourceExhaustedError(MemsvcError):
    """A limit or a quota is reached.

    With the reason QUOTA_EXCEEDED `metadata` has the `quota`, its `limit`, and whose it is as `scope`: `tenant` or
    `principal`. Where `retry_after` is None no time lifts it.
    """

    default_code = StatusCode.RESOURCE_EXHAUSTED


class DeadlineExceededError(MemsvcError):
    """No answer within the timeout. A write may have happened: write it again under the same ids."""

    default_code = StatusCode.DEADLINE_EXCEEDED


class UnavailableError(MemsvcError):
    """The server cannot be reached (reason UNREACHABLE), does not own the tenant (NOT_OWNER) or cannot serve now.

    Reason HANDSHAKE_FAILED: it answers, but one of both wants TLS or a certificate that the other has not.
    """

    default_code = StatusCode.UNAVAILABLE


class DataLossError(MemsvcError):
    """The server's data failed a checksum and nothing older verifies."""

    default_code = StatusCode.DATA_LOSS

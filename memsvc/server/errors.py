"""One table from the tree of errors to gRPC codes, and the status that carries their details."""

import math
from collections.abc import Sequence

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from memsvc import errors

CODES: dict[type[errors.MemsvcError], grpc.StatusCode] = {
    errors.InvalidArgumentError: grpc.StatusCode.INVALID_ARGUMENT,
    errors.NotFoundError: grpc.StatusCode.NOT_FOUND,
    errors.AlreadyExistsError: grpc.StatusCode.ALREADY_EXISTS,
    errors.FailedPreconditionError: grpc.StatusCode.FAILED_PRECONDITION,
    errors.OutOfRangeError: grpc.StatusCode.OUT_OF_RANGE,
    errors.UnauthenticatedError: grpc.StatusCode.UNAUTHENTICATED,
    errors.PermissionDeniedError: grpc.StatusCode.PERMISSION_DENIED,
    errors.ResourceExhaustedError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.DeadlineExceededError: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.UnavailableError: grpc.StatusCode.UNAVAILABLE,
    errors.DataLossError: grpc.StatusCode.DATA_LOSS,
}
DOMAIN = "memsvc"


def code(error: errors.MemsvcError) -> grpc.StatusCode:
    """Return the gRPC code of an error."""
    return next((CODES[kind] for kind in type(error).__mro__ if kind in CODES), grpc.StatusCode.INTERNAL)


def status(error: errors.MemsvcError) -> status_pb2.Status:
    """Return the error as google.rpc.Status, with ErrorInfo and, where they apply, BadRequest and RetryInfo."""
    details: list[Message] = [
        error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=error.metadata),
    ]
    if isinstance(error, errors.InvalidArgumentError):
        violation = error_details_pb2.BadRequest.FieldViolation(field=error.field, description=error.description)
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if (milliseconds := _retry_ms(error)) is not None:
        delay = Duration()
        delay.FromMilliseconds(milliseconds)
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    packed = []
    for detail in details:
        packed.append(Any())
        packed[-1].Pack(detail)
    return status_pb2.Status(code=code(error).value[0], message=str(error), details=packed)


def _retry_ms(error: errors.MemsvcError) -> int | None:
    """Return the delay that an error names, never a shorter one: who comes too early is refused again."""
    seconds = error.retry_after if isinstance(error, errors.ResourceExhaustedError) else None
    return None if seconds is None else math.ceil(seconds * 1000)


async def abort(
    context: "grpc.aio.ServicerContext[object, object]",
    error: errors.MemsvcError,
    trailers: Sequence[tuple[str, str]] = (),
) -> None:
    """End the call with the error: code, message, details and trailers in one go (a later abort drops earlier ones).

    The handler is to return after it. gRPC keeps the exception with the call, and raises it again then. Were it left to
    pass through our frames, these would hold on to the call, the request, and what was found, in a cycle that waits for
    the collector: many refused calls keep that one busy for a tenth of a second at a time.
    """
    trailing: list[tuple[str, str | bytes]] = [
        *trailers,
        ("grpc-status-details-bin", status(error).SerializeToString()),
    ]
    if (milliseconds := _retry_ms(error)) is not None:
        trailing.append(("grpc-retry-pushback-ms", str(milliseconds)))
    try:
        await context.abort(code(error), str(error), tuple(trailing))
    except grpc.aio.AbortError as aborted:
        aborted.__traceback__ = aborted.__context__ = None

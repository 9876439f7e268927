"""From a failed gRPC call to the client's errors.

One way for both twins: `grpc_status.rpc_status` reads the status of blocking calls only.
"""

import math
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TypeVar, cast

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2 as details
from google.rpc import status_pb2

from memsvc_client import errors

_Detail = TypeVar("_Detail", bound=Message)

_CLASSES: Mapping[grpc.StatusCode, type[errors.MemsvcError]] = MappingProxyType(
    {
        kind.default_code: kind
        for kind in (
            errors.InvalidArgumentError,
            errors.NotFoundError,
            errors.AlreadyExistsError,
            errors.FailedPreconditionError,
            errors.OutOfRangeError,
            errors.ResourceExhaustedError,
            errors.DeadlineExceededError,
            errors.UnavailableError,
            errors.DataLossError,
        )
    }
)

_CUT_OFF = "CANCELLED"
"""gRPC's words for a call that the other side ended without a status. For what ends on this side it has others."""
_HANDSHAKES: Mapping[str, str] = MappingProxyType(
    {
        "certificate has expired": "shows a certificate that has expired",
        "Hostname Verification Check failed": "shows a certificate that is for another host",
        "CERTIFICATE_VERIFY_FAILED": "shows a certificate of an authority that is not trusted here; name it as tls.ca",
        "WRONG_VERSION_NUMBER": "does not speak TLS",
        # So does one that is just going down; then the next try says more.
        "Socket closed": "hangs up on whoever connects; it may ask for TLS, or for a certificate of the client's",
    }
)
"""What gRPC says when somebody answers and no connection comes about, and what that means."""


def to_error(failure: grpc.RpcError, target: str) -> errors.MemsvcError:
    """Return what a failed call to `target` means, with all that the server says of it."""
    code, message = failure.code(), failure.details() or ""
    # Pairs in both twins, of two types.
    trailers = dict(cast("Iterable[tuple[str, str | bytes]]", failure.trailing_metadata() or ()))
    status = _status(trailers.get("grpc-status-details-bin"))
    info = _find(status, details.ErrorInfo)
    violations = _find(status, details.BadRequest).field_violations
    reason = info.reason
    if code is grpc.StatusCode.CANCELLED and message == _CUT_OFF and not reason:
        # A server that stops cuts off what it has not begun (grpc/grpc#41785): nobody cancelled anything.
        code = grpc.StatusCode.UNAVAILABLE
    if code is grpc.StatusCode.UNAVAILABLE and not reason:
        # gRPC's own words: no server of ours wrote this status.
        reason, message = _unreachable(message, target)
    elif code is grpc.StatusCode.DEADLINE_EXCEEDED and not reason:
        message = f"{target} did not answer in time"
    return _CLASSES.get(code, errors.MemsvcError)(
        message or code.name,
        code=code,
        reason=reason,
        metadata=info.metadata,
        field=violations[0].field if violations else None,
        retry_after=_retry_after(status, trailers.get("grpc-retry-pushback-ms")),
    )


def _unreachable(message: str, target: str) -> tuple[str, str]:
    """Return reason and message for a process that no call came through to."""
    if not message.startswith("failed to connect"):
        return "UNREACHABLE", f"the connection to {target} failed: {message}"
    for words, meaning in _HANDSHAKES.items():
        if words in message:
            return "HANDSHAKE_FAILED", f"{target} {meaning}"
    return "UNREACHABLE", f"no memsvc server answers at {target}; start one with `memsvc serve`"


def _status(trailer: str | bytes | None) -> status_pb2.Status:
    try:
        return status_pb2.Status.FromString(trailer if isinstance(trailer, bytes) else b"")
    except DecodeError:  # not worth hiding the failure itself
        return status_pb2.Status()


def _find(status: status_pb2.Status, kind: type[_Detail]) -> _Detail:
    """Return the detail of this kind, empty when there is none."""
    found = kind()
    for detail in status.details:
        if detail.Is(kind.DESCRIPTOR):
            try:
                detail.Unpack(found)
            except DecodeError:
                return kind()
    return found


def _retry_after(status: status_pb2.Status, pushback: str | bytes | None) -> float | None:
    """Return the longer of both ways to ask for a delay, in seconds."""
    asked = [detail for detail in status.details if detail.Is(details.RetryInfo.DESCRIPTOR)]
    delays = [_find(status, details.RetryInfo).retry_delay.ToTimedelta().total_seconds()] if asked else []
    if pushback is not None:
        try:
            milliseconds = int(pushback)
        except ValueError:
            milliseconds = -1  # gRPC: what cannot be read forbids a retry, as a negative delay does
        delays.append(milliseconds / 1e3 if milliseconds >= 0 else math.inf)
    return max(delays, default=None)

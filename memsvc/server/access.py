"""One call from its beginning to its end: what is counted of it, logged of it in one line, and traced.

The ids of a call (of the request, its tenant, its trace) are in every line that is logged on the way. Text never is.
"""

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self, TypeAlias

import grpc
import structlog

from memsvc import names
from memsvc.errors import MemsvcError, UnauthenticatedError
from memsvc.observability.telemetry import Metadata, Telemetry
from memsvc.server.errors import code

log = structlog.get_logger("memsvc.rpc")

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

REQUEST_ID = "x-request-id"
"""Metadata with which a caller may name its call, and the server does where it refuses one."""
_PACKAGE = "/memsvc.v1."


class Call:
    """A call under way; a context manager around what serves it.

    Args:
        telemetry: hears of it.
        method: its full name.
        context: gRPC's.
    """

    __slots__ = ("_began", "_context", "_ended", "_span", "_telemetry", "id", "method", "tenant")

    def __init__(self, telemetry: Telemetry, method: str, context: Context) -> None:
        self._telemetry, self._context = telemetry, context
        self.method = method.removeprefix(_PACKAGE)
        self.id = ""
        self.tenant = ""
        self._ended = False

    def __enter__(self) -> Self:
        self._began = time.perf_counter()
        metadata: Metadata = self._context.invocation_metadata() or ()  # type: ignore[assignment]  # pairs
        self.id = names.call_id(_given_id(metadata))
        self._span = self._telemetry.call_began(self.method, metadata)
        trace = {} if self._span is None else {"trace_id": self._span.trace_id}
        structlog.contextvars.bind_contextvars(request_id=self.id, method=self.method, **trace)
        return self

    def about(self, message: object) -> None:
        """Take note of whom a request is about; the first message of a stream says it."""
        if not self.tenant and (tenant := _tenant_of(message)):
            self.tenant = tenant
            structlog.contextvars.bind_contextvars(tenant=tenant)

    def failed(self, error: Exception) -> None:
        """It failed, and ends here: what is told of it is told before its caller hears."""
        if isinstance(error, MemsvcError):
            self._end(code(error).name, error.reason, error)
        else:
            self._end("INTERNAL", "INTERNAL", error)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._end("OK")
        elif isinstance(error, grpc.aio.AbortError):
            self._end(self._status())
        else:
            self._end("CANCELLED")  # by its caller, or at a shutdown

    def _status(self) -> str:
        value = self._context.code()
        return next((each.name for each in grpc.StatusCode if value in {each, each.value[0]}), "UNKNOWN")

    def _end(self, status: str, reason: str = "", error: Exception | None = None) -> None:
        if self._ended:
            return
        self._ended = True
        seconds = time.perf_counter() - self._began
        ids = {"request_id": self.id, **({"tenant": self.tenant} if self.tenant else {})}
        self._telemetry.call_ended(self._span, self.method, status, seconds, reason=reason, ids=ids)
        ms = round(seconds * 1e3, 2)
        if not reason:
            log.debug("call", code=status, ms=ms)
        elif isinstance(error, UnauthenticatedError):
            # The audit log has these, and not more than so many a second: whoever it is could fill the disk.
            log.debug("call", code=status, reason=reason, ms=ms)
        elif isinstance(error, MemsvcError):
            log.info("call", code=status, reason=reason, ms=ms)
        else:
            log.error("call", code=status, reason=reason, ms=ms, exc_info=error)


def _given_id(metadata: Metadata) -> str:
    """Return what the caller calls its call; empty for nothing."""
    return next((value for key, value in metadata if key == REQUEST_ID and isinstance(value, str)), "")


def _tenant_of(message: object) -> str:
    """Return the id of the tenant that a message is about, as far as it is one."""
    for path in _PATHS.get(type(message).__name__, ("tenant",)):
        found: Any = message
        for name in path.split("."):
            found = getattr(found, name, "")
        if isinstance(found, str) and names.is_name(found):
            return found
    return ""


_PATHS: dict[str, Sequence[str]] = {
    "CreateTenantRequest": ("tenant.tenant",),
    "UpdateTenantRequest": ("tenant.tenant",),
    "WriteStreamRequest": ("open.tenant",),
    "ImportTenantRequest": ("as_tenant",),
}
"""Where it is, in messages that do not have it as `tenant`."""

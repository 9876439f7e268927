"""Every call is counted before anything is done for it.

What passes a quota waits a moment, and is refused if that does not help; a stream waits as long as it takes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc

from memsvc import limits, names
from memsvc.server import quotas
from memsvc.server.handlers import Context, Handler, Many, Once, wrapped
from memsvc.server.principal import counted
from memsvc.server.quotas import Quotas, Scope
from memsvc.v1 import generate_pb2, memory_pb2

_PATHS = {
    "CreateTenantRequest": ("tenant", "tenant"),
    "UpdateTenantRequest": ("tenant", "tenant"),
    "WriteStreamRequest": ("open", "tenant"),
    "ImportTenantRequest": ("as_tenant",),
}
"""Where messages name their tenant that do not have it in a field `tenant`."""


HOLD_S = 1.0
"""How long a call that passes a quota waits. A server that refuses at once is asked again at once by whoever means
harm, and is busy refusing."""
HELD_BYTES = 64 << 20
"""What requests that wait may take of the memory; further ones are refused at once."""


class QuotaInterceptor(grpc.aio.ServerInterceptor):
    """Stands behind whatever says who calls: it counts for that principal.

    Args:
        counter: is told.
    """

    def __init__(self, counter: Quotas) -> None:
        self._quotas = counter
        self._held = 0
        """Bytes of requests that wait."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """Return the method's handler behind the quotas; health and reflection have none."""
        handler = await continuation(handler_call_details)
        if handler is None or not handler_call_details.method.startswith("/memsvc."):
            return handler
        return wrapped(handler, self._once, self._many)

    def _once(self, behaviour: Once) -> Once:
        async def call(request: Any, context: Context) -> Any:
            return await behaviour(await self._admitted(request, context), context)

        return call

    def _many(self, behaviour: Many) -> Many:
        async def call(request: Any, context: Context) -> AsyncIterator[Any]:
            request = await self._admitted(request, context)
            if not isinstance(request, AsyncIterator):
                self._open_stream(Scope.PRINCIPAL, counted(), context)
                self._open_stream(Scope.TENANT, _tenant_of(request), context)
            async for response in behaviour(request, context):
                yield response

        return call

    async def _admitted(self, request: Any, context: Context) -> Any:
        """Return a request, or an iterator of them, once it is counted."""
        if isinstance(request, AsyncIterator):
            self._open_stream(Scope.PRINCIPAL, counted(), context)
            return self._each_admitted(request, context)
        tenant, size = _tenant_of(request), request.ByteSize()
        use = quotas.request(size, _entries_asked(request), writes=_writes(request))
        if wait := self._quotas.wait(tenant, counted(), use):
            await self._hold(min(wait, HOLD_S), size, context)
            self._quotas.admit(tenant, counted(), use)
        return request

    async def _hold(self, seconds: float, size: int, context: Context) -> None:
        """Let a call wait that is to be refused, as far as there is room: who asks again at once gains nothing."""
        remaining = context.time_remaining()
        if self._held + size > HELD_BYTES or (remaining is not None and remaining < 2 * seconds):
            return
        self._held += size
        try:
            await asyncio.sleep(seconds)
        finally:
            self._held -= size

    async def _each_admitted(self, requests: AsyncIterator[Any], context: Context) -> AsyncIterator[Any]:
        principal, tenant, first = counted(), "", True
        async for request in requests:
            if first:
                tenant, first = _tenant_of(request), False
                self._open_stream(Scope.TENANT, tenant, context)
            use = quotas.request(request.ByteSize(), writes=_writes(request))
            while wait := self._quotas.wait(tenant, principal, use):  # noqa: ASYNC110  # others may be faster
                await asyncio.sleep(wait)
            yield request

    def _open_stream(self, scope: Scope, name: str, context: Context) -> None:
        if name:
            self._quotas.open_stream(scope, name)

            # Whatever ends the call, and whoever holds on to its generators: gRPC tells when it is over.
            def over(_: Context) -> None:
                self._quotas.close_stream(scope, name)

            context.add_done_callback(over)  # type: ignore[arg-type]  # the stubs' type of a callback is no protocol


def _tenant_of(message: Any) -> str:
    """Return the id of the tenant that a message is about, as far as it is one: what is none is not kept in mind."""
    for name in _PATHS.get(type(message).__name__, ("tenant",)):
        message = getattr(message, name, "")
    return message if isinstance(message, str) and names.is_name(message) else ""


def _entries_asked(message: Any) -> int:
    """Return how many entries the answer to a message may have, as far as any answer may."""
    match message:
        case memory_pb2.RecallRequest():
            hits = min(max(message.k, 1), limits.MAX_K)
            return hits * (1 + 2 * min(max(message.neighbours, 0), limits.MAX_NEIGHBOURS))
        case memory_pb2.ListEntriesRequest():
            return min(max(message.page_size, 1), limits.MAX_PAGE_SIZE)
        case _:
            return 0


def _writes(message: Any) -> bool:
    """Whether a message has text, or brings about text, that the tenant is to learn now."""
    match message:
        case memory_pb2.WriteRequest() | memory_pb2.WriteStreamRequest() | memory_pb2.UpdateEntryRequest():
            return True
        case generate_pb2.GenerateRequest():
            return message.remember
        case _:
            return False

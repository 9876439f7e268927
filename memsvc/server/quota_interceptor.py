"""Every call is counted before anything is done for it. What passes a quota is refused; a stream that does waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc

from memsvc.server.handlers import Context, Handler, Many, Once, wrapped
from memsvc.server.principal import counted
from memsvc.server.quotas import Quotas, Scope

_PATHS = {
    "CreateTenantRequest": ("tenant", "tenant"),
    "UpdateTenantRequest": ("tenant", "tenant"),
    "WriteStreamRequest": ("open", "tenant"),
    "ImportTenantRequest": ("as_tenant",),
}
"""Where messages name their tenant that do not have it in a field `tenant`."""


class QuotaInterceptor(grpc.aio.ServerInterceptor):
    """Stands behind whatever says who calls: it counts for that principal.

    Args:
        quotas: are told.
    """

    def __init__(self, quotas: Quotas) -> None:
        self._quotas = quotas

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
            return await behaviour(self._admitted(request, context), context)

        return call

    def _many(self, behaviour: Many) -> Many:
        async def call(request: Any, context: Context) -> AsyncIterator[Any]:
            request = self._admitted(request, context)
            if not isinstance(request, AsyncIterator):
                self._open_stream(Scope.PRINCIPAL, counted(), context)
                self._open_stream(Scope.TENANT, _tenant_of(request), context)
            async for response in behaviour(request, context):
                yield response

        return call

    def _admitted(self, request: Any, context: Context) -> Any:
        """Return a request, or an iterator of them, once it is counted."""
        if isinstance(request, AsyncIterator):
            self._open_stream(Scope.PRINCIPAL, counted(), context)
            return self._each_admitted(request, context)
        self._quotas.admit(_tenant_of(request), counted(), request.ByteSize())
        return request

    async def _each_admitted(self, requests: AsyncIterator[Any], context: Context) -> AsyncIterator[Any]:
        principal, tenant, first = counted(), "", True
        async for request in requests:
            if first:
                tenant, first = _tenant_of(request), False
                self._open_stream(Scope.TENANT, tenant, context)
            size = request.ByteSize()
            while wait := self._quotas.wait(tenant, principal, size):  # noqa: ASYNC110  # others may be faster
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
    """Return the id of the tenant that a message is about, whatever it is; empty where it is about none."""
    for name in _PATHS.get(type(message).__name__, ("tenant",)):
        message = getattr(message, name, "")
    return message if isinstance(message, str) else ""

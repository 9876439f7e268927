"""What surrounds every call: one place that turns errors into statuses, and refuses while not ready."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from memsvc.errors import DeadlineExceededError, InvalidArgumentError, MemsvcError, UnavailableError
from memsvc.observability.telemetry import Telemetry
from memsvc.server.access import REQUEST_ID, Call
from memsvc.server.errors import abort
from memsvc.server.handlers import Context, Handler, Many, Once, wrapped


class _Undecodable:
    """Stands for a request whose bytes are no message of its type."""


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Wraps unary and streaming methods alike; those of health and reflection are served while memsvc's are not.

    Args:
        telemetry: hears of every call.
    """

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self.ready = False
        """Whether memsvc's calls are served; until then they are UNAVAILABLE."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """Return the method's handler, wrapped."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None:
            return None
        return wrapped(handler, partial(self._once, method), partial(self._many, method), _lenient)

    def _once(self, method: str, behaviour: Once) -> Once:
        async def call(request: Any, context: Context) -> Any:
            with Call(self._telemetry, method, context) as followed:
                try:
                    self._check_ready(method)
                    return await behaviour(_decoded(request, followed), context)
                except Exception as error:
                    await _fail(followed, context, error)

        return call

    def _many(self, method: str, behaviour: Many) -> Many:
        async def call(request: Any, context: Context) -> AsyncIterator[Any]:
            with Call(self._telemetry, method, context) as followed:
                try:
                    self._check_ready(method)
                    responses = behaviour(_decoded(request, followed), context)
                    if isinstance(responses, Awaitable):  # the health service writes its responses itself
                        await responses
                        return
                    async for response in responses:
                        yield response
                except Exception as error:
                    await _fail(followed, context, error)

        return call

    def _check_ready(self, method: str) -> None:
        if not self.ready and method.startswith("/memsvc."):
            raise UnavailableError("the server is starting or shutting down", reason="NOT_READY")


def _is_over(error: Exception) -> bool:
    """Whether nobody hears a status any more: the caller left, or the server ended. The errors are gRPC's own."""
    return type(error).__name__ in {"ExecuteBatchError", "_ServerStoppedError"}


async def _fail(followed: Call, context: Context, error: Exception) -> None:
    if isinstance(error, grpc.aio.AbortError) or _is_over(error):
        raise error
    if isinstance(error, NotImplementedError):  # a method of the health service that its library lacks
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "the method is not implemented")
    followed.failed(error)
    if not isinstance(error, MemsvcError):
        error = MemsvcError("an internal error; the server's log has the details")
    await abort(context, error, ((REQUEST_ID, followed.id),))


def _lenient(deserialize: Any) -> Callable[[bytes], Any]:
    # By default gRPC answers bytes that do not parse with INTERNAL, as if the fault were ours.
    def parse(data: bytes) -> Any:
        try:
            return deserialize(data)
        except DecodeError:
            return _Undecodable()

    return parse


def _decoded(request: Any, followed: Call) -> Any:
    """Return a request, or an iterator of them, that is what it should be."""
    if isinstance(request, AsyncIterator):
        return _each_decoded(request, followed)
    followed.about(request)
    if isinstance(request, _Undecodable):
        raise InvalidArgumentError("request", "not a message of this type; every string must be UTF-8")
    return request


async def _each_decoded(requests: AsyncIterator[Any], followed: Call) -> AsyncIterator[Any]:
    async for request in requests:
        yield _decoded(request, followed)


async def deadline(context: Context) -> asyncio.Timeout:
    """Return a timeout that ends a little before the caller's own, so that the caller still hears why."""
    remaining = context.time_remaining()
    return asyncio.timeout(None if remaining is None else max(0.0, remaining - min(0.05, remaining / 10)))


def not_applied(applied_seq: int | None) -> DeadlineExceededError:
    """Return what a caller hears whose deadline passed before a tenant's view knew the record that it waited for."""
    return DeadlineExceededError(
        "the deadline passed before the tenant's view reached min_seq",
        metadata={} if applied_seq is None else {"applied_seq": str(applied_seq)},
    )

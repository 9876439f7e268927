"""What surrounds every call: one place that turns errors into statuses, refuses while not ready, and logs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias

import grpc
import structlog
from google.protobuf.message import DecodeError

from memsvc.errors import InvalidArgumentError, MemsvcError, UnavailableError
from memsvc.server.errors import abort, code

log = structlog.get_logger("memsvc.rpc")

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


class _Undecodable:
    """Stands for a request whose bytes are no message of its type."""


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Wraps unary and streaming methods alike; those of health and reflection are served while memsvc's are not."""

    def __init__(self) -> None:
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
        if handler.response_streaming and not handler.request_streaming:
            return grpc.unary_stream_rpc_method_handler(
                self._feed(method, handler.unary_stream),
                request_deserializer=_lenient(handler.request_deserializer),
                response_serializer=handler.response_serializer,
            )
        if handler.request_streaming and not handler.response_streaming:
            return grpc.stream_unary_rpc_method_handler(
                self._unary(method, handler.stream_unary),
                request_deserializer=_lenient(handler.request_deserializer),
                response_serializer=handler.response_serializer,
            )
        if handler.request_streaming:
            return grpc.stream_stream_rpc_method_handler(
                self._stream(method, handler.stream_stream),
                request_deserializer=_lenient(handler.request_deserializer),
                response_serializer=handler.response_serializer,
            )
        return grpc.unary_unary_rpc_method_handler(
            self._unary(method, handler.unary_unary),
            request_deserializer=_lenient(handler.request_deserializer),
            response_serializer=handler.response_serializer,
        )

    def _unary(self, method: str, behaviour: Any) -> Callable[[Any, Context], Awaitable[Any]]:
        async def call(request: Any, context: Context) -> Any:
            start = time.perf_counter()
            try:
                self._check_ready(method)
                if isinstance(request, AsyncIterator):
                    return await behaviour(_decoded(request), context)
                _check_decoded(request)
                return await behaviour(request, context)
            except Exception as error:
                await _fail(method, context, error)
            finally:
                log.debug("call", method=method, ms=round((time.perf_counter() - start) * 1e3, 2))

        return call

    def _stream(self, method: str, behaviour: Any) -> Callable[[Any, Context], AsyncIterator[Any]]:
        async def call(requests: Any, context: Context) -> AsyncIterator[Any]:
            try:
                self._check_ready(method)
                async for response in behaviour(_decoded(requests), context):
                    yield response
            except Exception as error:
                await _fail(method, context, error)

        return call

    def _feed(self, method: str, behaviour: Any) -> Callable[[Any, Context], AsyncIterator[Any]]:
        async def call(request: Any, context: Context) -> AsyncIterator[Any]:
            try:
                self._check_ready(method)
                _check_decoded(request)
                responses = behaviour(request, context)
                if isinstance(responses, Awaitable):  # the health service writes its responses itself
                    await responses
                    return
                async for response in responses:
                    yield response
            except Exception as error:
                await _fail(method, context, error)

        return call

    def _check_ready(self, method: str) -> None:
        if not self.ready and method.startswith("/memsvc."):
            raise UnavailableError("the server is starting or shutting down", reason="NOT_READY")


async def _fail(method: str, context: Context, error: Exception) -> None:
    if isinstance(error, grpc.aio.AbortError):
        raise error
    if isinstance(error, MemsvcError):
        log.info("refused", method=method, code=code(error).name, reason=error.reason)
        await abort(context, error)
    if isinstance(error, NotImplementedError):  # a method of the health service that its library lacks
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "the method is not implemented")
    log.error("failed", method=method, exc_info=error)
    await abort(context, MemsvcError("an internal error; the server's log has the details"))


def _lenient(deserialize: Any) -> Callable[[bytes], Any]:
    # By default gRPC answers bytes that do not parse with INTERNAL, as if the fault were ours.
    def parse(data: bytes) -> Any:
        try:
            return deserialize(data)
        except DecodeError:
            return _Undecodable()

    return parse


def _check_decoded(request: Any) -> None:
    if isinstance(request, _Undecodable):
        raise InvalidArgumentError("request", "not a message of this type; every string must be UTF-8")


async def _decoded(requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for request in requests:
        _check_decoded(request)
        yield request


async def deadline(context: Context) -> asyncio.Timeout:
    """Return a timeout that ends a little before the caller's own, so that the caller still hears why."""
    remaining = context.time_remaining()
    return asyncio.timeout(None if remaining is None else max(0.0, remaining - min(0.05, remaining / 10)))

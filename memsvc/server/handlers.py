"""Wrapping what gRPC calls, whatever its shape: what answers once, and what answers with a stream."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias

import grpc

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Once: TypeAlias = Callable[[Any, Context], Awaitable[Any]]
"""From a request, or an iterator of them, to the answer."""
Many: TypeAlias = Callable[[Any, Context], AsyncIterator[Any]]
"""From a request, or an iterator of them, to the answers."""


def wrapped(
    handler: Handler,
    once: Callable[[Once], Once],
    many: Callable[[Many], Many],
    deserializer: Callable[[Any], Any] = lambda deserialize: deserialize,
) -> Handler:
    """Return a handler of the same shape around another.

    Args:
        handler: the one inside.
        once: wraps what answers once.
        many: wraps what answers with a stream.
        deserializer: wraps what reads a request's bytes.
    """
    inside: Any = handler  # its types are those of the blocking server
    reads, writes = deserializer(inside.request_deserializer), inside.response_serializer
    match handler.request_streaming, handler.response_streaming:
        case False, False:
            return grpc.unary_unary_rpc_method_handler(once(inside.unary_unary), reads, writes)
        case True, False:
            return grpc.stream_unary_rpc_method_handler(once(inside.stream_unary), reads, writes)
        case False, True:
            return grpc.unary_stream_rpc_method_handler(many(inside.unary_stream), reads, writes)
        case _:
            return grpc.stream_stream_rpc_method_handler(many(inside.stream_stream), reads, writes)

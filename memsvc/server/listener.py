"""gRPC's server, less what lets any caller end it.

A call whose path is not UTF-8 breaks the loop in which gRPC's asyncio server takes calls in (grpcio 1.85): it listens
no more, or the process dies of a segmentation fault, whoever sent that, known or not. Every method here is registered
with gRPC's core, which compares paths as bytes. What is left over is no method of ours: it is answered with
UNIMPLEMENTED, and its path is not looked at. This reaches into gRPC's own parts, so a test sends such a call to every
version that is taken.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import grpc
from grpc._cython import cygrpc
from grpc.aio import _server


def server(interceptors: Sequence[grpc.aio.ServerInterceptor], options: Sequence[tuple[str, Any]]) -> grpc.aio.Server:
    """Return a server that is not started; handlers must be registered, as generated code does."""
    return cast("grpc.aio.Server", _Server(interceptors, options))


class _Core(cygrpc.AioServer):  # type: ignore[misc]  # gRPC's core has no types
    """The part of gRPC's server that takes calls in."""

    def _make_request_call_future(self, method: bytes | None) -> "asyncio.Task[Any]":
        if method is None:
            return asyncio.create_task(self._refuse())
        task: asyncio.Task[Any] = super()._make_request_call_future(method)
        return task

    async def _refuse(self) -> None:
        """Answer what is no method of ours, until the server ends."""
        loop, under_way, nothing = asyncio.get_running_loop(), set[asyncio.Task[None]](), cygrpc._MethodResolver([], {})
        while True:
            call = await self._request_call()
            answer = cygrpc._handle_rpc("", nothing, (), call, loop, False)
            task = asyncio.create_task(cygrpc._schedule_rpc_coro(answer, call, loop, ""))
            under_way.add(task)
            task.add_done_callback(under_way.discard)


class _Server(_server.Server):
    """gRPC's server around that part."""

    def __init__(self, interceptors: Sequence[grpc.aio.ServerInterceptor], options: Sequence[tuple[str, Any]]) -> None:
        self._loop = cygrpc.get_working_loop()
        self._server = _Core(self._loop, None, (), tuple(interceptors), tuple(options), None)

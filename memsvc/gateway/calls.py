"""The calls themselves: over one channel to the service in this process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from memsvc_client._channel import open_aio_channel
from starlette.types import Receive

from memsvc.gateway.forwarded import Forwarded
from memsvc.gateway.routes import Route
from memsvc.tasks import end

HEALTH_S = 5.0


class Calls:
    """Of one event loop.

    Args:
        target: where the service listens, in gRPC's words.
    """

    def __init__(self, target: str) -> None:
        self._channel = open_aio_channel(target, None)
        self._health: Any = health_pb2_grpc.HealthStub(self._channel)
        self._method = cache(self._opened)

    async def close(self) -> None:
        """End it. Calls under way fail."""
        await self._channel.close()

    def begin(self, route: Route, message: Message, forwarded: Forwarded) -> Any:
        """Begin a call; returns gRPC's own, that answers once or with a stream."""
        return self._method(route)(message, timeout=forwarded.timeout, metadata=forwarded.metadata)

    async def health(self, service: str) -> health_pb2.HealthCheckResponse:
        """Return whether a service serves, or the whole process where it is empty."""
        answer: health_pb2.HealthCheckResponse = await self._health.Check(
            health_pb2.HealthCheckRequest(service=service), timeout=HEALTH_S
        )
        return answer

    def _opened(self, route: Route) -> Any:
        make = self._channel.unary_stream if route.streams else self._channel.unary_unary
        return make(
            route.rpc,
            request_serializer=GetMessageClass(route.asks).SerializeToString,
            response_deserializer=GetMessageClass(route.answers).FromString,
        )


@asynccontextmanager
async def ending_with(receive: Receive, call: Any) -> AsyncIterator["asyncio.Task[None]"]:
    """Hold a call that ends when the HTTP caller leaves; gives the task that is done then."""

    async def wait() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        call.cancel()

    leaving = asyncio.create_task(wait())
    try:
        yield leaving
    finally:
        call.cancel()
        await end(leaving)

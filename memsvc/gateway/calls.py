"""The calls themselves: of the service in this process, and of those that own what this one does not."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Self, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from memsvc_client import RetryPolicy
from memsvc_client._channel import open_aio_channel
from memsvc_client._routes import Routes
from memsvc_client._status import to_error
from memsvc_client._trip import Trip
from starlette.types import Receive

from memsvc.gateway.forwarded import DEFAULT_S, Forwarded
from memsvc.gateway.owners import Owners
from memsvc.gateway.routes import Route
from memsvc.tasks import end

HEALTH_S = 5.0

_T = TypeVar("_T")


class Calls:
    """Of one event loop.

    Args:
        target: where the service of this process listens, in gRPC's words.
        owners: reaches the other processes.
    """

    def __init__(self, target: str, owners: Owners) -> None:
        self.target, self.owners = target, owners
        self.inside = open_aio_channel(target, None)
        self._health: Any = health_pb2_grpc.HealthStub(self.inside)

    async def close(self) -> None:
        """End it. Calls under way fail."""
        await self.inside.close()
        await self.owners.close()

    def begin(self, route: Route, message: Message, forwarded: Forwarded) -> "Call":
        """Return a call, which is made within `async with`."""
        return Call(self, route, message, forwarded)

    async def health(self, service: str) -> health_pb2.HealthCheckResponse:
        """Return whether a service serves, or the whole process where it is empty."""
        answer: health_pb2.HealthCheckResponse = await self._health.Check(
            health_pb2.HealthCheckRequest(service=service), timeout=HEALTH_S
        )
        return answer


class Call:
    """One call, wherever its tenant is.

    This process is asked first. It says whose a tenant is that is not its own, and that process is asked, with the same
    credential and what is left of the deadline. While nobody has the tenant it changes hands, which is waited for. A
    call that failed otherwise may have had its effect, and its caller has to say whether it is made again.
    """

    def __init__(self, calls: Calls, route: Route, message: Message, forwarded: Forwarded) -> None:
        self._calls, self._route, self._message, self._forwarded = calls, route, message, forwarded
        seconds = DEFAULT_S if forwarded.timeout is None else forwarded.timeout
        self._trip = Trip(Routes((calls.target,)), RetryPolicy(), None, seconds)
        self._held = AsyncExitStack()
        self._call: Any = None
        self._named = ""
        self._begun = self._left = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.cancel()
        await self._held.aclose()

    def cancel(self) -> None:
        """End it: nobody hears an answer."""
        self._left = True
        if self._call is not None:
            self._call.cancel()

    async def answer(self) -> Message:
        """Return the one answer.

        Raises:
            MemsvcError: the call failed.
        """
        return await self._step(_answered)

    async def read(self) -> Any:
        """Return the next message of a stream, `grpc.aio.EOF` after the last.

        Raises:
            MemsvcError: the call failed.
        """
        message = await self._step(_read)
        self._begun = True
        return message

    async def _step(self, step: Callable[[Any], Awaitable[_T]]) -> _T:
        while True:
            if self._call is None:
                self._call = await self._make()
            try:
                return await step(self._call)
            except grpc.RpcError as failure:
                await self._follow(failure)

    async def _make(self) -> Any:
        if self._left:
            raise asyncio.CancelledError
        address = self._trip.begin()
        if address == self._calls.target:
            channel, self._named = self._calls.inside, "the service"
        else:
            peer = await self._held.enter_async_context(self._calls.owners.at(address))
            channel, self._named = peer.channel, address
        make: Any = channel.unary_stream if self._route.streams else channel.unary_unary
        method = make(
            self._route.rpc,
            request_serializer=GetMessageClass(self._route.asks).SerializeToString,
            response_deserializer=GetMessageClass(self._route.answers).FromString,
        )
        seconds = None if self._forwarded.timeout is None else self._trip.remaining
        return method(self._message, timeout=seconds, metadata=self._forwarded.metadata)

    async def _follow(self, failure: grpc.RpcError) -> None:
        """Go where a failure says that the tenant is, or wait until somebody has it.

        Raises:
            MemsvcError: it says something else, or that one cannot be reached from here, or the deadline is near.
        """
        error = to_error(failure, self._named)
        owner = error.metadata.get("owner", "")
        if error.reason != "NOT_OWNER" or self._begun or (owner and not self._calls.owners.reaches(owner)):
            raise error from failure
        delay, self._call = self._trip.pause(failure), None
        await self._held.aclose()
        await asyncio.sleep(delay)


async def _answered(call: Any) -> Message:
    answer: Message = await call
    return answer


async def _read(call: Any) -> Any:
    return await call.read()


@asynccontextmanager
async def ending_with(receive: Receive, call: Call) -> AsyncIterator["asyncio.Task[None]"]:
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

"""The asyncio write stream: the twin of `_stream`."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Coroutine, Iterable, Iterator
from contextlib import aclosing, contextmanager, suppress
from typing import Any, Self

import grpc
import grpc.aio

from memsvc.v1.memory_pb2 import WriteStreamRequest, WriteStreamResponse
from memsvc_client._core import GRACE, StreamBroken
from memsvc_client._exchange import Exchange
from memsvc_client._peers import AioPeer, AioPeers
from memsvc_client._trip import Trip
from memsvc_client.types import Item, Receipt


async def write_stream(
    peers: AioPeers, trip: Trip, exchange: Exchange, items: Iterable[Item] | AsyncIterable[Item]
) -> AsyncGenerator[Receipt, None]:
    """Yield a receipt for each batch, reconnecting where the stream breaks. Closing the generator cancels the call."""
    broken_before = False
    async with aclosing(_each(items)) as source:
        while True:
            acknowledged = exchange.acknowledged
            try:
                async with peers.at(trip.begin()) as peer, _Link(peer, trip) as link:
                    await link.send(exchange.restart())
                    while not exchange.done:
                        for request in exchange.requests():
                            await link.send(request)
                        if exchange.hungry and not link.has_answer:
                            await _feed(exchange, source)
                        elif receipt := exchange.receive(await link.receive()):
                            yield receipt
                    await link.finish()
                    return
            except StreamBroken as broken:
                if not broken_before or exchange.acknowledged > acknowledged:
                    trip.renew()
                broken_before = True
                delay = trip.pause(broken.failure)
            await asyncio.sleep(delay)


async def _each(items: Iterable[Item] | AsyncIterable[Item]) -> AsyncGenerator[Item, None]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item


async def _feed(exchange: Exchange, source: AsyncIterator[Item]) -> None:
    try:
        item = await anext(source)
    except StopAsyncIteration:
        exchange.end()
    else:
        exchange.add(item)


class _Link:
    """One call. A task collects the answers: cancelling a read, as a timeout does, would cancel the call."""

    def __init__(self, peer: AioPeer, trip: Trip) -> None:
        self._trip = trip
        self._inbox: asyncio.Queue[WriteStreamResponse | StreamBroken] = asyncio.Queue()
        self._refused = False
        self._call = peer.memory.WriteStream()
        self._reader = asyncio.create_task(self._read())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._call.cancel()
        self._reader.cancel()
        await asyncio.wait([self._reader])

    @property
    def has_answer(self) -> bool:
        """Whether `receive` returns at once."""
        return not self._inbox.empty()

    async def send(self, request: WriteStreamRequest) -> None:
        """Send a message. A call that is over does not take it; `receive` then says why it is over.

        Raises:
            DeadlineExceededError: the server does not take it in time.
        """
        try:
            async with asyncio.timeout(self._trip.timeout):
                await is_taken(self._write(request), self._reader)
        except TimeoutError:
            raise self._trip.silence() from None

    async def _write(self, request: WriteStreamRequest) -> None:
        try:
            await self._call.write(request)
        except (grpc.RpcError, asyncio.InvalidStateError):
            self._refused = True  # before the reader asks, which hears of the same in a moment

    async def receive(self) -> WriteStreamResponse:
        """Return the next answer.

        Raises:
            StreamBroken: the call is over.
            DeadlineExceededError: there is none in time.
        """
        try:
            async with asyncio.timeout(self._trip.timeout):
                answer = await self._inbox.get()
        except TimeoutError:
            raise self._trip.silence() from None
        if isinstance(answer, StreamBroken):
            raise answer
        return answer

    async def finish(self) -> None:
        """Half-close, and let the server end the call."""
        with suppress(Exception):  # gRPC's own, of no public class, where the server was faster
            await self._call.done_writing()
        await asyncio.wait([self._reader], timeout=GRACE)

    async def _read(self) -> None:
        try:
            while isinstance(response := await self._call.read(), WriteStreamResponse):
                self._inbox.put_nowait(response)
        except grpc.RpcError as failure:
            # A refused message puts an INTERNAL error of gRPC's own in the place of the server's status.
            lost = self._refused and failure.code() is grpc.StatusCode.INTERNAL
            self._inbox.put_nowait(StreamBroken(None if lost else failure))
        except asyncio.CancelledError:  # also what gRPC raises here when the client is closed
            self._inbox.put_nowait(StreamBroken(cancelled()))
            raise
        else:
            self._inbox.put_nowait(StreamBroken(None))


async def is_taken(writing: Coroutine[Any, Any, None], over: asyncio.Future[None]) -> bool:
    """Write a message; return whether its call took it.

    One that ended before it began, as when its client is closed, would let it wait without end.

    Args:
        writing: gRPC's.
        over: done when the call is over.
    """
    task = asyncio.ensure_future(writing)
    try:
        await asyncio.wait({task, over}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        task.cancel()
    if not task.done() or task.cancelled() or isinstance(task.exception(), grpc.RpcError | asyncio.InvalidStateError):
        return False
    task.result()
    return True


def cancelled() -> grpc.RpcError:
    """Return the failure of a call whose client was closed."""
    empty = grpc.aio.Metadata()
    return grpc.aio.AioRpcError(grpc.StatusCode.CANCELLED, empty, empty, details="the client is closed")


@contextmanager
def failing_when_closed() -> Iterator[None]:
    """Let a call fail when its client is closed, in place of the cancellation that gRPC makes of it.

    Raises:
        grpc.RpcError: the client was closed.
        asyncio.CancelledError: the task was cancelled.
    """
    try:
        yield
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise cancelled() from None

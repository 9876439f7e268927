"""The processes that a client talks to: a channel to each, opened when it is first needed."""

from __future__ import annotations  # gRPC's classes take type arguments in their stubs only

from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

import grpc
import grpc.aio

from memsvc.v1.auth_pb2_grpc import AuthServiceStub
from memsvc.v1.generate_pb2_grpc import GenerateServiceStub
from memsvc.v1.memory_pb2_grpc import MemoryServiceStub
from memsvc.v1.tenants_pb2_grpc import TenantServiceStub
from memsvc_client._access import Access
from memsvc_client._channel import open_aio_channel, open_channel
from memsvc_client._tracing import Tracer
from memsvc_client.errors import MemsvcError

if TYPE_CHECKING:
    from memsvc.v1.auth_pb2_grpc import AuthServiceAsyncStub
    from memsvc.v1.generate_pb2_grpc import GenerateServiceAsyncStub
    from memsvc.v1.memory_pb2_grpc import MemoryServiceAsyncStub
    from memsvc.v1.tenants_pb2_grpc import TenantServiceAsyncStub

MOST_OPEN = 64
"""Channels that stay open; more only while they are all in use."""

_Peer = TypeVar("_Peer")
_Stub = TypeVar("_Stub")


class Peer(NamedTuple):
    """A process, as the blocking client reaches it."""

    channel: grpc.Channel
    memory: MemoryServiceStub
    tenants: TenantServiceStub
    auth: AuthServiceStub
    generate: GenerateServiceStub


class AioPeer(NamedTuple):
    """A process, as the asyncio client reaches it."""

    channel: grpc.aio.Channel
    memory: MemoryServiceAsyncStub
    tenants: TenantServiceAsyncStub
    auth: AuthServiceAsyncStub
    generate: GenerateServiceAsyncStub


class Peers:
    """The blocking client's. Threads may share it."""

    def __init__(self, access: Access, tracer: Tracer | None = None) -> None:
        self._pool = _Pool(lambda address: _open(address, access, tracer))

    @contextmanager
    def at(self, address: str) -> Iterator[Peer]:
        """Hold the process at an address.

        Raises:
            MemsvcError: the client is closed, or its key must not go there.
        """
        peer = self._pool.take(address)
        try:
            yield peer
        except ValueError as error:
            # What gRPC says where the client was closed after this was taken, and before the call.
            if str(error).startswith("Cannot invoke RPC"):
                self._pool.check()
            raise
        finally:
            for spare in self._pool.give_back(address):
                spare.channel.close()

    def close(self) -> None:
        """Close all channels. Calls under way fail."""
        for peer in self._pool.close():
            peer.channel.close()

    def leave(self, reason: str) -> None:
        """Serve no call any more, for a reason, and touch no channel: they are a parent process's."""
        self._pool.leave(reason)


class AioPeers:
    """The asyncio client's, of one event loop."""

    def __init__(self, access: Access, tracer: Tracer | None = None) -> None:
        self._pool = _Pool(lambda address: _open_aio(address, access, tracer))

    @asynccontextmanager
    async def at(self, address: str) -> AsyncIterator[AioPeer]:
        """Hold the process at an address.

        Raises:
            MemsvcError: the client is closed, or its key must not go there.
        """
        peer = self._pool.take(address)
        try:
            yield peer
        finally:
            for spare in self._pool.give_back(address):
                await spare.channel.close()

    async def close(self) -> None:
        """Close all channels. Calls under way fail."""
        for peer in self._pool.close():
            await peer.channel.close()

    def leave(self, reason: str) -> None:
        """Serve no call any more, as `Peers.leave` does."""
        self._pool.leave(reason)


def _open(address: str, access: Access, tracer: Tracer | None) -> Peer:
    access.check([address])
    channel = open_channel(address, access.credentials)
    keyed = access.over(channel)
    return Peer(
        channel,
        _traced(MemoryServiceStub(keyed), tracer),
        _traced(TenantServiceStub(keyed), tracer),
        _traced(AuthServiceStub(keyed), tracer),
        _traced(GenerateServiceStub(keyed), tracer),
    )


def _open_aio(address: str, access: Access, tracer: Tracer | None) -> AioPeer:
    access.check([address])
    channel = open_aio_channel(address, access.credentials)
    keyed = access.over(channel)
    return AioPeer(
        channel,
        _traced(MemoryServiceStub(keyed), tracer),
        _traced(TenantServiceStub(keyed), tracer),
        _traced(AuthServiceStub(keyed), tracer),
        _traced(GenerateServiceStub(keyed), tracer),
    )


def _traced(stub: _Stub, tracer: Tracer | None) -> _Stub:
    return stub if tracer is None else tracer.around(stub)


@dataclass(slots=True)
class _Held(Generic[_Peer]):
    peer: _Peer
    users: int = 0


class _Pool(Generic[_Peer]):
    """What is open, by address, the least lately used first. It closes nothing itself."""

    def __init__(self, open: Callable[[str], _Peer]) -> None:
        self._open = open
        self._held: OrderedDict[str, _Held[_Peer]] = OrderedDict()
        self._left: OrderedDict[str, _Held[_Peer]] | None = None
        self._closed = ""
        self._lock = Lock()

    def take(self, address: str) -> _Peer:
        """Return what is open to an address, which stays open until it is given back."""
        with self._lock:
            self.check()
            if address not in self._held:
                self._held[address] = _Held(self._open(address))
            self._held.move_to_end(address)
            held = self._held[address]
            held.users += 1
            return held.peer

    def check(self) -> None:
        """See that there is still something to take.

        Raises:
            MemsvcError: there is not.
        """
        if self._closed:
            raise MemsvcError(self._closed, code=grpc.StatusCode.CANCELLED)

    def give_back(self, address: str) -> list[_Peer]:
        """Return what is to be closed now."""
        with self._lock:
            if address in self._held:  # unless the client was closed meanwhile
                self._held[address].users -= 1
            if len(self._held) <= MOST_OPEN:
                return []
            idle = [each for each, held in self._held.items() if not held.users]
            return [self._held.pop(each).peer for each in idle[: len(self._held) - MOST_OPEN]]

    def close(self) -> list[_Peer]:
        """Return what is to be closed; there is nothing to take any more."""
        with self._lock:
            self._closed = self._closed or "the client is closed"
            peers = [held.peer for held in self._held.values()]
            self._held.clear()
            return peers

    def leave(self, reason: str) -> None:
        """Have nothing to take any more, nor to close. In a forked process: who holds the lock may not be there."""
        self._lock = Lock()
        self._closed = reason
        self._left, self._held = self._held, OrderedDict()  # what is let go of would be closed

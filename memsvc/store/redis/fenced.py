"""Writes that Redis takes from a shard's owner alone, of more bytes than go through a script.

A transaction watches the shard's epoch: should another process become the owner before Redis executes it, none of it is
done. So an owner that was deposed while it wrote leaves nothing behind what its successor erased.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, TypeAlias

from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError, ResponseError  # Redis's own

from memsvc.store.redis.fence import FencedError
from memsvc.store.redis.url import Connection

Command: TypeAlias = tuple[str | bytes | int, ...]


class Fence(NamedTuple):
    """Of which owner a write is."""

    key: str
    """Where the shard's epoch is."""
    epoch: int


async def write(connection: Connection, fence: Fence, commands: Sequence[Command]) -> None:
    """Do these commands, whole, if the shard's owner is who it was. Their keys lie in the shard's slot.

    Raises:
        FencedError: another process owns the shard; nothing was done.
        RedisError: Redis refused, or did not answer: then it may have been done.
    """
    async with _wire(connection, fence.key) as wire:
        await _send(wire, [("WATCH", fence.key), ("GET", fence.key)])
        await wire.read_response()
        if await wire.read_response() != b"%d" % fence.epoch:
            raise FencedError
        if not wire.is_connected:  # it would connect anew by itself, and watch nothing
            raise ConnectionError("the connection was closed")
        await _send(wire, [("MULTI",), *commands, ("EXEC",)])
        for _ in range(1 + len(commands)):
            await wire.read_response()
        answers = await wire.read_response()
        if answers is None:
            raise FencedError
        for answer in answers:
            if isinstance(answer, ResponseError):
                raise answer


async def _send(wire: Any, commands: Sequence[Command]) -> None:
    await wire.send_packed_command(wire.pack_commands(commands))


@asynccontextmanager
async def _wire(connection: Connection, key: str) -> AsyncIterator[AbstractConnection]:
    """Borrow a connection to the server of a key. If anything fails it is closed: with it goes what it watched.

    A client's own transactions would do, but in a cluster each command of theirs starts a thread with a loop.
    """
    if isinstance(connection, Redis):
        pool: Any = connection.connection_pool
        wire = await pool.get_connection()
        try:
            async with _closed_on_failure(wire):
                yield wire
        finally:
            await pool.release(wire)
    else:
        await connection.initialize()
        node = connection.get_node_from_key(key)
        if node is None:
            raise ConnectionError("no server of the cluster has the slot")
        wire = node.acquire_connection()
        try:
            async with _closed_on_failure(wire):
                yield wire
        finally:
            node.release(wire)


@asynccontextmanager
async def _closed_on_failure(wire: AbstractConnection) -> AsyncIterator[None]:
    try:
        yield
    except BaseException:
        await wire.disconnect(nowait=True)
        raise

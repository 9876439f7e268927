"""A shard's committer where replies are lost, Redis refuses, and reads and commits overtake one another."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from memsvc.errors import MemsvcError, UnavailableError
from memsvc.store.clock import wall_clock_us
from memsvc.store.redis.committer import Committer, Place
from memsvc.store.redis.keys import Keys
from memsvc.store.redis.transaction import Transaction
from memsvc.store.redis.url import Connection, connect, parse
from tests.store.redis.proxy import Proxy

KEYS = Keys().shard(3)
EPOCH = 5


class Shard:
    """A shard that is owned; what its committer writes and what it reads go through a proxy each."""

    def __init__(self, redis: Connection, writes: Proxy, reads: Proxy) -> None:
        self.redis, self.writes, self.reads = redis, writes, reads
        self.is_held = True
        self.losses = 0
        connections = connect(parse(writes.url), "log"), connect(parse(reads.url), "reads")
        self._connections = connections
        self.committer = Committer(
            Place(*connections, KEYS, EPOCH, wall_clock_us), is_held=lambda: self.is_held, lost=self._count
        )

    def _count(self) -> None:
        self.losses += 1

    async def close(self) -> None:
        await self.committer.close()
        for connection in self._connections:
            await connection.aclose()


@pytest.fixture
async def shard(server, connection) -> AsyncIterator[Shard]:
    await connection.set(KEYS.epoch, EPOCH)
    await connection.set(KEYS.commit, f"{EPOCH}-0")
    async with Proxy(server.port) as writes, Proxy(server.port) as reads:
        shard = Shard(connection, writes, reads)
        await shard.committer.run(put("warm", b"up"))  # the script is loaded, all connections are made
        await shard.committer.run(get("cold"))
        yield shard
        await shard.close()


def put(key: str, value: bytes) -> Callable[[Transaction], None]:
    return lambda tx: tx.set(key, value)


def get(key: str) -> Callable[[Transaction], bytes | None]:
    return lambda tx: tx.get(key)


async def test_a_commit_whose_reply_was_lost_never_answers_for_the_next_one(shard) -> None:
    """The reply is lost, and Redis refuses to tell what became of it."""

    async def lose() -> None:
        shard.writes.before(b"EVALSHA", refuse)

    async def refuse() -> None:
        shard.writes.lose = None
        await shard.redis.execute_command("ACL", "SETUSER", "default", "-evalsha")

    shard.writes.lose = b"EVALSHA"
    shard.writes.before(b"EVALSHA", lose)
    with pytest.raises(UnavailableError) as caught:
        await shard.committer.run(put("first", b"1"))
    assert caught.value.reason == "STORE_UNKNOWN"
    assert await shard.redis.get("first") == b"1"
    await shard.redis.execute_command("ACL", "SETUSER", "default", "+evalsha")
    with pytest.raises(UnavailableError):  # nobody knows what the next one would rest on
        await shard.committer.run(put("second", b"2"))
    assert await shard.redis.get("second") is None
    assert shard.losses == 1


async def test_a_commit_that_may_have_been_made_before_the_shard_changed_hands_says_so(shard) -> None:
    async def lose() -> None:
        shard.writes.before(b"EVALSHA", depose)

    async def depose() -> None:
        shard.writes.lose = None
        await shard.redis.incr(KEYS.epoch)

    shard.writes.lose = b"EVALSHA"
    shard.writes.before(b"EVALSHA", lose)
    with pytest.raises(UnavailableError) as caught:
        await shard.committer.run(put("first", b"1"))
    assert await shard.redis.get("first") == b"1"
    assert caught.value.reason == "STORE_UNKNOWN"

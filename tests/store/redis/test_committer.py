"""A shard's committer where replies are lost, Redis refuses, and reads and commits overtake one another."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import pytest
from redis.exceptions import ConnectionError, RedisClusterException  # Redis's own

from memsvc.errors import MemsvcError, UnavailableError
from memsvc.store.clock import wall_clock_us
from memsvc.store.redis import committer
from memsvc.store.redis.committer import Committer, Place
from memsvc.store.redis.keys import Keys
from memsvc.store.redis.transaction import Transaction
from memsvc.store.redis.url import Connection, connect, parse
from memsvc.store.redis.wire import Wire
from tests.store.redis.proxy import Proxy

KEYS = Keys().shard(3)
EPOCH = 5


class Shard:
    """A shard that is owned; what its committer writes and what it reads go through a proxy each."""

    def __init__(self, redis: Connection, writes: Proxy, reads: Proxy) -> None:
        self.redis, self.writes, self.reads = redis, writes, reads
        self.is_held = True
        self.losses = 0
        connections = Wire(connect(parse(writes.url), "log")), connect(parse(reads.url), "reads")
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


async def test_what_was_read_late_does_not_hide_what_was_written_meanwhile(shard) -> None:
    """One operation waits for a cell that another writes without a look at it, as a deletion does with a name."""
    await shard.redis.set("name", b"taken")
    reads = asyncio.create_task(shard.committer.run(get("name")))
    deletes = asyncio.create_task(shard.committer.run(lambda tx: tx.delete("name")))
    await asyncio.gather(reads, deletes)
    assert await shard.redis.get("name") is None
    assert await shard.committer.run(get("name")) is None


async def test_who_waits_for_a_read_when_the_shard_is_given_up_hears_so(shard) -> None:
    """The last commit comes through while the next group is being read for."""
    flying, reading, go_on = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def hold_read() -> None:
        reading.set()
        await go_on.wait()

    async def hold_write() -> None:
        flying.set()
        await reading.wait()

    shard.reads.before(b"far away", hold_read)
    shard.writes.before(b"EVALSHA", hold_write)
    first = asyncio.create_task(shard.committer.run(put("first", b"1")))
    await asyncio.sleep(0)
    closing = asyncio.create_task(shard.committer.close())
    await flying.wait()
    late = asyncio.create_task(shard.committer.run(get("far away")))
    await first
    go_on.set()
    async with asyncio.timeout(10):
        await closing
        with suppress(MemsvcError):
            await late


@pytest.mark.parametrize("error", [RedisClusterException("no node is reachable"), ConnectionError("reset")])
async def test_a_cluster_that_is_lost_for_a_moment_loses_no_one(shard, monkeypatch, error) -> None:
    real, failures = Wire.call, iter([error])

    async def call(*args: object) -> object:
        if (failure := next(failures, None)) is not None:
            raise failure
        return await real(*args)

    monkeypatch.setattr(Wire, "call", call)
    async with asyncio.timeout(10):
        await shard.committer.run(put("key", b"value"))
    assert await shard.redis.get("key") == b"value"


async def test_no_group_grows_without_bound_while_another_is_on_its_way(shard, monkeypatch) -> None:
    monkeypatch.setattr(committer, "GROUP_BYTES", 1000)
    sizes: list[int] = []
    real, held = shard.committer._send, asyncio.Event()

    async def send(group: committer._Group) -> None:
        sizes.append(sum(map(len, group.commit.changed.values())))
        await held.wait()
        await real(group)

    monkeypatch.setattr(shard.committer, "_send", send)
    value = bytes(250)
    written = []
    for number in range(20):
        written.append(asyncio.create_task(shard.committer.run(put(f"big {number}", value), size=len(value))))
        for _ in range(10):  # each comes by itself
            await asyncio.sleep(0)
    held.set()
    await asyncio.gather(*written)
    assert sum(sizes) == 20 * len(value)
    assert max(sizes) == 1000


class DefectError(Exception):
    """What nobody expects."""


@pytest.mark.parametrize("where", ["_read", "_apply", "_launch"])
async def test_a_defect_of_the_committer_keeps_no_one_waiting(shard, monkeypatch, caplog, where) -> None:
    def fail(*_: object) -> None:
        raise DefectError

    monkeypatch.setattr(shard.committer, where, fail)
    async with asyncio.timeout(10):
        callers = [shard.committer.run(get("not read yet")), shard.committer.run(put("key", b"value"))]
        errors = await asyncio.gather(*callers, return_exceptions=True)
    assert {error.reason for error in errors} == {"STORE_UNAVAILABLE"}
    with pytest.raises(UnavailableError):  # who comes later hears it too
        await shard.committer.run(put("key", b"value"))
    assert shard.losses == 1
    assert "DefectError" in caplog.text
    assert await shard.redis.get("key") is None


async def test_a_defect_beside_a_commit_on_its_way_leaves_that_alone(shard, monkeypatch) -> None:
    flying, go_on = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        flying.set()
        await go_on.wait()

    def fail(*_: object) -> None:
        raise DefectError

    shard.writes.before(b"EVALSHA", hold)
    first = asyncio.create_task(shard.committer.run(put("first", b"1")))
    await flying.wait()
    monkeypatch.setattr(shard.committer, "_apply", fail)
    async with asyncio.timeout(10):
        with pytest.raises(UnavailableError):
            await shard.committer.run(put("second", b"2"))
        go_on.set()
        await first
    assert await shard.redis.get("first") == b"1"


def write_some(tx: Transaction) -> None:
    tx.set("first", b"1")
    tx.hset("second", "field", b"2")
    tx.zadd("third", 3, "member")


WRITTEN = ("first", "second", "third")


@pytest.mark.parametrize("command", ["set", "hset", "zadd"])
async def test_a_commit_with_a_command_that_is_refused_by_now_is_not_made_at_all(shard, command) -> None:
    await shard.redis.execute_command("ACL", "SETUSER", "default", f"-{command}")
    with pytest.raises(UnavailableError, match=command.upper()) as caught:
        await shard.committer.run(write_some)
    assert caught.value.reason == "STORE_UNAVAILABLE"
    assert await shard.redis.exists(*WRITTEN) == 0
    await shard.redis.execute_command("ACL", "SETUSER", "default", f"+{command}")
    await shard.committer.run(write_some)
    assert await shard.redis.exists(*WRITTEN) == 3
    assert shard.losses == 0


@pytest.mark.parametrize("full", [True, False])
async def test_a_redis_that_cannot_write_has_written_nothing(shard, full) -> None:
    if full:
        await shard.redis.config_set("maxmemory", "1")
    else:
        await shard.redis.config_set("min-replicas-to-write", "1")
    with pytest.raises(UnavailableError) as caught:
        await shard.committer.run(write_some)
    assert caught.value.reason == "STORE_FULL" if full else "STORE_UNAVAILABLE"
    assert await shard.redis.exists(*WRITTEN) == 0
    await shard.redis.config_set("maxmemory", "0")
    await shard.redis.config_set("min-replicas-to-write", "0")
    await shard.committer.run(write_some)
    assert shard.losses == 0


async def test_a_commit_that_breaks_off_in_the_middle_says_so_and_ends_the_committer(shard, caplog) -> None:
    """Something else wrote to a key of the store."""
    await shard.redis.set("second", b"no hash")
    with pytest.raises(UnavailableError) as caught:
        await shard.committer.run(write_some)
    assert caught.value.reason == "STORE_UNKNOWN"
    assert "WRONGTYPE" in caplog.text
    assert await shard.redis.exists("first")
    with pytest.raises(UnavailableError):
        await shard.committer.run(write_some)
    assert shard.losses == 1


async def test_the_mark_of_a_commit_that_is_refused_leaves_nothing_either(shard) -> None:
    await shard.redis.execute_command("ACL", "SETUSER", "default", "-set")
    with pytest.raises(UnavailableError, match="SET"):
        await shard.committer.run(lambda tx: tx.zadd("third", 3, "member"))
    assert await shard.redis.exists("third") == 0
    await shard.redis.execute_command("ACL", "SETUSER", "default", "+set")

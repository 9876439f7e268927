"""Shards that are lost, or cannot be taken: nothing of them stays behind, and they are served again at once."""

import asyncio

import pytest
from redis.exceptions import ConnectionError  # Redis's own

from memsvc.errors import UnavailableError
from memsvc.store.redis.committer import Committer
from memsvc.store.redis.destruction import Destruction
from memsvc.store.redis.keys import Keys
from memsvc.store.redis.lease import Lease
from memsvc.store.redis.ownership import Ownership
from memsvc.store.redis.store import RedisOptions, RedisStore
from memsvc.store.redis.url import parse
from memsvc.store.types import ShardEvent
from tests.conformance.stores import payload, write

LEASE_S = 600.0
"""No test waits until one runs out by itself."""


@pytest.fixture
def committers(monkeypatch) -> list[Committer]:
    """All that are begun."""
    begun: list[Committer] = []
    begin = Committer.__init__

    def remember(self: Committer, *args: object, **named: object) -> None:
        begin(self, *args, **named)
        begun.append(self)

    monkeypatch.setattr(Committer, "__init__", remember)
    return begun


async def open_store(server) -> RedisStore:
    return await RedisStore.open(parse(server.url), RedisOptions(address="here:1", shards=2, lease_s=LEASE_S))


async def taken_afresh(store: RedisStore, shard: int) -> None:
    """Wait until a shard was lost and taken."""
    seen = []
    async with asyncio.timeout(30):
        while seen[-2:] != [(shard, ShardEvent.LOST), (shard, ShardEvent.TAKEN)]:
            change = await store.next_change()
            seen.append((change.shard, change.event))


async def test_a_shard_that_was_lost_is_served_again_at_once(server, connection, committers) -> None:
    store = await open_store(server)
    tenant = await store.create_tenant("tenant", b"", b"", "")
    shard = store.shard_of(tenant.uid)
    await connection.set(Keys().shard(shard).commit, "something else")
    with pytest.raises(Exception, match="not as it was left"):
        await write(store, tenant.uid, payload("a"))
    await taken_afresh(store, shard)
    await write(store, tenant.uid, payload("b"))
    assert len(committers) == 3
    assert sum(not committer._task.done() for committer in committers) == 2
    await store.close()
    assert all(committer._task.done() for committer in committers)


async def test_a_shard_whose_past_cannot_be_finished_is_tried_again(server, committers, monkeypatch) -> None:
    recover, failures = Destruction.recover, [UnavailableError("Redis is full")]

    async def fail_once(self: Destruction, lease: Lease) -> None:
        if lease.shard == 1 and failures:
            raise failures.pop()
        await recover(self, lease)

    monkeypatch.setattr(Destruction, "recover", fail_once)
    with pytest.raises(UnavailableError, match="full"):
        await open_store(server)
    assert all(committer._task.done() for committer in committers)
    store = await open_store(server)
    assert len(store._deployment.ownership.held()) == 2
    await store.close()


async def test_what_cannot_be_purged_at_a_takeover_is_left_to_the_next_owner(
    server, connection, monkeypatch, caplog
) -> None:
    store = await open_store(server)
    tenant = await store.create_tenant("tenant", b"", b"", "")
    shard = Keys().shard(store.shard_of(tenant.uid))

    async def fail(*_: object) -> None:
        raise UnavailableError("Redis is away")

    with monkeypatch.context() as broken:
        broken.setattr(Destruction, "_unlink", fail)
        with pytest.raises(UnavailableError):
            await store.delete_tenant(tenant.uid, "")
        await store.close()
        await (await open_store(server)).close()
    assert "its next owner goes on" in caplog.text
    await (await open_store(server)).close()
    assert await connection.smembers(shard.condemned) == set()


async def test_a_shard_whose_commit_broke_off_is_taken_afresh(server, connection) -> None:
    store = await open_store(server)
    tenant = await store.create_tenant("tenant", b"", b"", "")
    shard = store.shard_of(tenant.uid)
    bucket = Keys().shard(shard).tenant(tenant.uid).bucket(1)
    await connection.set(bucket, "of something else")
    with pytest.raises(UnavailableError) as caught:
        await write(store, tenant.uid, payload("a"))
    assert caught.value.reason == "STORE_UNKNOWN"
    await connection.delete(bucket)
    await taken_afresh(store, shard)
    await write(store, tenant.uid, payload("b"))
    await store.close()


async def test_a_shard_that_cannot_be_released_keeps_no_other(server, connection, monkeypatch, caplog) -> None:
    release = Lease.release

    async def fail_for_one(self: Lease) -> None:
        if self.shard == 0:
            await self.committer.close()
            await self._log.aclose()
            raise ZeroDivisionError
        await release(self)

    store = await open_store(server)
    with monkeypatch.context() as broken:
        broken.setattr(Lease, "release", fail_for_one)
        await store.close()
    assert "the lease of shard 0 runs out by itself" in caplog.text
    assert [await connection.exists(Keys().shard(shard).lease) for shard in range(2)] == [1, 0]


async def test_a_shard_that_cannot_be_renewed_keeps_the_process_from_nothing_else(
    server, connection, monkeypatch, caplog
) -> None:
    renew, beats = Lease.renew, Ownership._beat
    failed, beaten = asyncio.Event(), asyncio.Event()

    async def fail_for_one(self: Lease) -> None:
        if self.shard == 0:
            failed.set()
            raise ConnectionError("its node is away")
        await renew(self)

    async def tell(self: Ownership, lasting_ms: int) -> int:
        if failed.is_set():
            beaten.set()
        return await beats(self, lasting_ms)

    monkeypatch.setattr("memsvc.store.redis.lease.RENEW", 0.0)
    monkeypatch.setattr(Lease, "renew", fail_for_one)
    monkeypatch.setattr(Ownership, "_beat", tell)
    store = await open_store(server)
    async with asyncio.timeout(30):
        await beaten.wait()
        while "its node is away" not in caplog.text:  # noqa: ASYNC110  # it is seen by asking
            await asyncio.sleep(0.02)
    await store.close()

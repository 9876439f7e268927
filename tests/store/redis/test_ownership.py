"""Who owns a shard, and what a process that does not any more can still do: nothing."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator

import pytest
from memsvc_bench.proxy import FaultProxy, Kind, NetworkFault

from memsvc.errors import UnavailableError
from memsvc.store.redis.fence import NotOwnerError
from memsvc.store.redis.store import RedisStore
from memsvc.store.types import RecordKind, Snapshot
from tests.conformance.stores import payload, write
from tests.redis_server import LOOPBACK, RedisServer
from tests.store.redis.owners import LEASE_S, SHARDS, Owner, owner, until

ALL = set(range(SHARDS))
LONG_S = 60.0
"""A lease that no test waits for."""
PASS, RESET, BLACK_HOLE = (NetworkFault(kind=kind) for kind in (Kind.PASS, Kind.RESET, Kind.BLACK_HOLE))


@pytest.fixture
async def proxy(server) -> AsyncIterator[FaultProxy]:
    """Between a store and its Redis; as an attribute, the URL of this way."""
    proxy = FaultProxy(LOOPBACK, server.port)
    proxy.url = f"redis://{LOOPBACK}:{await proxy.start()}"
    yield proxy
    await proxy.close()


async def bodies(store: RedisStore, uid: str) -> list[bytes]:
    """Return what the records of a log hold, the first left out."""
    return [record.body for record in (await store.read(uid, 1, 1 << 20))]


async def ids(store: RedisStore, uid: str) -> list[str]:
    """Return the ids in a log, in order."""
    return [entry.payload.id for record in await store.read(uid, 0, 1 << 20) for entry in record.entries]


async def again(owned: Owner, uid: str, body: bytes) -> None:
    """Append until the store takes it: the shard is taken by itself."""
    while True:
        try:
            await owned.store.append(uid, RecordKind.NUMERICS, body)
            return
        except UnavailableError:
            await asyncio.sleep(0.05)


async def refers(store: RedisStore, uid: str, to: str) -> None:
    """Check that a store refuses a tenant, and comes to say who has it."""
    while True:
        with pytest.raises(NotOwnerError) as caught:
            await store.append(uid, RecordKind.NUMERICS, b"")
        if caught.value.metadata:  # it looks a few times a second
            assert caught.value.metadata == {"owner": to}
            return
        await asyncio.sleep(0.02)


# --- sharing ----------------------------------------------------------------------------------------------------------


async def test_who_comes_gets_a_fair_share_and_who_leaves_gives_it_back(server) -> None:
    async with owner(server.url, "one:1") as one:
        await until(lambda: one.owned == ALL)
        rows = [await one.store.create_tenant(f"t{i}", b"", b"", "") for i in range(8)]
        async with owner(server.url, "two:2") as two:
            await until(lambda: len(one.owned) == len(two.owned) == SHARDS // 2)
            assert one.owned | two.owned == ALL
            for row in rows:
                has, lacks = (one, two) if one.store.shard_of(row.uid) in one.owned else (two, one)
                assert (await has.store.get_tenant(row.tenant)) == row
                await refers(lacks.store, row.uid, "two:2" if has is two else "one:1")
            assert await two.store.list_tenants("", 100) == rows, "whoever owns them"
        await until(lambda: one.owned == ALL)
        for row in rows:
            await again(one, row.uid, b"after")
            assert await bodies(one.store, row.uid) == [b"after"]


async def test_who_is_about_to_end_takes_nothing_and_leaves_room_for_the_others(server) -> None:
    async with owner(server.url, "one:1", lease_s=LONG_S) as one, owner(server.url, "two:2", lease_s=LONG_S) as two:
        await until(lambda: len(one.owned) == len(two.owned) == SHARDS // 2)
        one.store.retire()
        for shard in sorted(one.owned):
            one.owned.discard(shard)
            await one.store.release(shard)
        await until(lambda: two.owned == ALL)
        assert one.owned == set()


async def test_what_is_not_handed_over_stays(server) -> None:
    async with owner(server.url, "one:1", gives=False) as one, owner(server.url, "two:2") as two:
        await asyncio.sleep(2 * LEASE_S)
        assert (one.owned, two.owned) == (ALL, set())


async def test_a_process_that_is_gone_without_a_word_is_succeeded_when_its_lease_is_over(server, proxy) -> None:
    async with owner(proxy.url, "one:1", shards=1) as one:
        row = await one.store.create_tenant("t", b"", b"", "")
        await write(one.store, row.uid, payload("kept"))
        proxy.set(RESET)  # its farewell does not arrive either
    async with owner(server.url, "two:2") as two:
        assert two.owned == set()
        await again(two, row.uid, b"after")
        assert await ids(two.store, row.uid) == ["kept"]


async def test_a_process_that_is_started_anew_does_not_wait_for_its_own_lease(server, proxy) -> None:
    async with owner(proxy.url, "one:1", shards=1, lease_s=LONG_S) as one:
        row = await one.store.create_tenant("t", b"", b"", "")
        proxy.set(RESET)
    async with owner(server.url, "one:1", lease_s=LONG_S) as one:
        await write(one.store, row.uid, payload("at once"))


# --- who is too late --------------------------------------------------------------------------------------------------


async def test_a_commit_that_a_pause_delayed_past_its_lease_is_refused(server, proxy, monkeypatch) -> None:
    """The first owner believes in its lease whatever the clock says; its commit arrives when another is the owner."""
    async with owner(proxy.url, "one:1", shards=1) as one, owner(server.url, "two:2") as two:
        row = await one.store.create_tenant("t", b"", b"", "")
        await one.store.append(row.uid, RecordKind.NUMERICS, b"in time")
        monkeypatch.setattr("memsvc.store.redis.lease.CERTAIN", 1000)
        proxy.set(BLACK_HOLE)
        stale = asyncio.create_task(one.store.append(row.uid, RecordKind.NUMERICS, b"too late"))
        await again(two, row.uid, b"the new owner's")
        proxy.set(PASS)
        with pytest.raises(UnavailableError):
            await stale
        await until(lambda: not one.owned)
        await refers(one.store, row.uid, "two:2")
        assert await bodies(two.store, row.uid) == [b"in time", b"the new owner's"]


async def test_who_was_deposed_without_noticing_can_write_nothing(server) -> None:
    async with owner(server.url, "one:1", lease_s=LONG_S) as old:
        row = await old.store.create_tenant("t", b"", b"", "")
        await write(old.store, row.uid, payload("a"))
        await old.store.save(row.uid, Snapshot(seq=2, meta=b"old", blobs={"w": b"old"}))
        async with owner(server.url, "one:1", lease_s=LONG_S) as new:
            with pytest.raises(NotOwnerError):
                await old.store.save(row.uid, Snapshot(seq=3, meta=b"stale", blobs={"w": b"old", "x": b"stale"}))
            with pytest.raises(NotOwnerError):
                await write(old.store, row.uid, payload("b"))
            with pytest.raises(UnavailableError):
                await old.store.forget(row.uid, ["a"], "")
            assert await ids(new.store, row.uid) == ["a"]
            assert (await new.store.load(row.uid)).snapshot == Snapshot(seq=2, meta=b"old", blobs={"w": b"old"})
            assert await new.store.unfinished_erasures() == []


# --- when Redis does not answer ---------------------------------------------------------------------------------------


async def test_a_commit_whose_reply_is_lost_is_made_once(proxy) -> None:
    async with owner(proxy.url, "one:1", lease_s=LONG_S) as one:
        row = await one.store.create_tenant("t", b"", b"", "")
        proxy.set(NetworkFault(kind=Kind.DROP_REPLY, containing="data of lost", times=3))
        appended = await write(one.store, row.uid, payload("a", "lost"))
        assert proxy.counts[Kind.DROP_REPLY] == 3
        assert (appended.seqs, appended.skipped) == ((2,), (False,))
        await write(one.store, row.uid, payload("b"))
        assert await ids(one.store, row.uid) == ["a", "b"]


async def test_and_so_it_is_when_redis_dies_meanwhile(server, proxy) -> None:
    async with owner(proxy.url, "one:1", lease_s=LONG_S) as one:
        row = await one.store.create_tenant("t", b"", b"", "")
        proxy.set(NetworkFault(kind=Kind.DROP_REPLY, containing="data of lost", hang=True))
        writing = asyncio.create_task(write(one.store, row.uid, payload("a", "lost")))
        await until(lambda: proxy.counts[Kind.DROP_REPLY] > 0)
        server.kill()
        await asyncio.to_thread(server.start)
        proxy.set(PASS)
        assert (await writing).skipped == (False,)
        assert await ids(one.store, row.uid) == ["a"]


async def test_a_commit_whose_repetition_is_refused_is_unknown_and_its_name_is_no_other_s(server, proxy) -> None:
    """What is not to be known may have been done; and what comes next is not taken for it."""
    async with owner(proxy.url, "one:1", shards=1) as one:
        row = await one.store.create_tenant("t", b"", b"", "")
        proxy.set(NetworkFault(kind=Kind.DROP_REPLY, containing="data of lost", hang=True))
        writing = asyncio.create_task(write(one.store, row.uid, payload("a", "lost")))
        await until(lambda: proxy.counts[Kind.DROP_REPLY] > 0)
        server.command("ACL", "SETUSER", "default", "-evalsha")
        proxy.set(PASS)
        with pytest.raises(UnavailableError) as caught:
            await writing
        assert caught.value.reason == "STORE_UNKNOWN"
        server.command("ACL", "SETUSER", "default", "+evalsha")
        await again(one, row.uid, b"next")
        assert await bodies(one.store, row.uid) == [b"", b"next"]
        assert (await write(one.store, row.uid, payload("a", "lost"))).skipped == (True,)
        assert await ids(one.store, row.uid) == ["a"]


async def test_a_redis_out_of_reach_for_longer_than_the_lease_is_said_and_got_over(proxy) -> None:
    async with owner(proxy.url, "one:1", shards=1) as one:
        row = await one.store.create_tenant("t", b"", b"", "")
        proxy.set(BLACK_HOLE)
        with pytest.raises(UnavailableError) as caught:
            await one.store.append(row.uid, RecordKind.NUMERICS, b"lost")
        assert caught.value.reason in {"STORE_UNKNOWN", "NOT_OWNER"}
        with pytest.raises(UnavailableError):
            await one.store.append(row.uid, RecordKind.NUMERICS, b"never")
        proxy.set(PASS)
        await again(one, row.uid, b"next")
        found = await bodies(one.store, row.uid)
        assert found in ([b"next"], [b"lost", b"next"]), "what was unknown is there once, or not at all"


async def test_a_store_closes_without_redis(server) -> None:
    async with owner(server.url, "one:1") as one:
        await until(lambda: one.owned == ALL)
        server.pause()
    server.resume()


# --- when Redis refuses -----------------------------------------------------------------------------------------------


async def test_a_redis_that_is_full_takes_nothing_and_is_read_all_the_same(server) -> None:
    async with owner(server.url, "one:1", shards=1) as one:
        row = await one.store.create_tenant("t", b"", b"", "")
        await write(one.store, row.uid, payload("a"))
        server.command("CONFIG", "SET", "maxmemory", 1)
        for _ in range(2):
            with pytest.raises(UnavailableError, match="full") as caught:
                await write(one.store, row.uid, payload("b"))
            assert caught.value.reason == "STORE_FULL"
            await asyncio.sleep(LEASE_S)
            assert await ids(one.store, row.uid) == ["a"]
        server.command("CONFIG", "SET", "maxmemory", 0)
        assert (await write(one.store, row.uid, payload("b"))).seqs == (3,)
        assert await ids(one.store, row.uid) == ["a", "b"]


@pytest.fixture
def no_dumps(tmp_path) -> Iterator[RedisServer]:
    """A server that cannot write its dump, and stops writes for it: MISCONF."""
    with RedisServer(tmp_path / "redis", save="3600 1000000") as server:
        (tmp_path / "redis" / "dump.rdb" / "x").mkdir(parents=True)
        yield server


async def test_a_redis_whose_disk_fails_takes_nothing_until_it_works(no_dumps) -> None:
    async with owner(no_dumps.url, "one:1", shards=1) as one:
        row = await one.store.create_tenant("t", b"", b"", "")
        no_dumps.command("BGSAVE")
        await until(lambda: no_dumps.command("SET", "x", 1).startswith(b"-MISCONF"))
        with pytest.raises(UnavailableError, match="MISCONF"):
            await write(one.store, row.uid, payload("a"))
        shutil.rmtree(no_dumps.directory / "dump.rdb")
        no_dumps.command("BGSAVE")
        await again(one, row.uid, b"next")
        assert await bodies(one.store, row.uid) == [b"next"]

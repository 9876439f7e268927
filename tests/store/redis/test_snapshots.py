"""Snapshots in Redis beyond what every store promises: fences, crashes, damage, and that nothing is left behind."""

import asyncio
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.exceptions import ConnectionError, RedisError, ResponseError

from memsvc.errors import DataLossError, FailedPreconditionError
from memsvc.store.redis.chunks import CHUNK_BYTES, GROUP_KEYS, Place, grouped
from memsvc.store.redis.fence import FencedError
from memsvc.store.redis.fenced import Fence, write
from memsvc.store.redis.keys import Keys
from memsvc.store.redis.scripts import script
from memsvc.store.redis.snapshots import TenantSnapshots
from memsvc.store.redis.url import Connection, connect, parse
from memsvc.store.retention import kept
from memsvc.store.types import LoadedSnapshot, Retention, Snapshot
from tests.redis_server import RedisCluster, RedisServer
from tests.store.redis.proxy import Proxy

UID = "0003f00d"
SHARD = Keys().shard(3)
KEYS = SHARD.tenant(UID)
EPOCH = 5


def snapshot(seq: int, **blobs: bytes | None) -> Snapshot:
    return Snapshot(seq=seq, meta=b"meta %d" % seq, blobs=blobs)


def owned(connection: Connection, epoch: int = EPOCH) -> TenantSnapshots:
    """The tenant's snapshots, to the owner of that epoch."""
    return TenantSnapshots(connection, KEYS, UID, Fence(SHARD.epoch, epoch))


@pytest.fixture
def server(request, tmp_path):
    """One server, unless a test asks for a cluster as well."""
    with getattr(request, "param", RedisServer)(tmp_path / "redis") as server:
        yield server


in_a_cluster_too = pytest.mark.parametrize("server", [RedisServer, RedisCluster], indirect=True)


@pytest.fixture
async def snapshots(connection) -> TenantSnapshots:
    await connection.set(SHARD.epoch, EPOCH)
    return owned(connection)


async def chunk_keys(connection: Connection) -> set[str]:
    return {key.decode() async for key in connection.scan_iter(f"{KEYS.base}:c:*")}


async def assert_nothing_is_left_behind(connection: Connection) -> None:
    """Every chunk is named by a blob, every blob by a snapshot, and what is named is there."""
    named: set[str] = set()
    for seq in await owned(connection).seqs():
        loaded = await owned(connection).load(seq + 1)
        assert loaded.snapshot.seq == seq
        assert not loaded.corrupt
        named.update(loaded.snapshot.blobs)
    rows = {name.decode(): Place.decode(data) for name, data in (await connection.hgetall(KEYS.blobs)).items()}
    assert rows.keys() == named
    tokens = {token.decode(): int(chunks) for token, chunks in (await connection.hgetall(KEYS.tokens)).items()}
    assert tokens == {place.token: place.chunks for place in rows.values()}
    assert await chunk_keys(connection) == {
        KEYS.chunk(place.token, index) for place in rows.values() for index in range(place.chunks)
    }


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 5 * CHUNK_BYTES + 77])
async def test_bytes_come_back_whole_in_chunks_of_a_mebibyte(snapshots, connection, size) -> None:
    saved = snapshot(7, weights=random.Random(size).randbytes(size), empty=b"", small=b"s")
    await snapshots.save(saved)
    assert await snapshots.load() == LoadedSnapshot(snapshot=saved)
    assert max([await connection.strlen(key) for key in await chunk_keys(connection)]) <= 1 << 20
    await assert_nothing_is_left_behind(connection)
    assert size <= await snapshots.size() <= size + 5000 + size // 1000


@in_a_cluster_too
async def test_many_blobs_come_back_in_their_order(snapshots, connection) -> None:
    blobs = {f"segment-{n}": b"%d" % n * 500 for n in range(3 * GROUP_KEYS)}
    await snapshots.save(snapshot(1, **blobs))
    await snapshots.save(snapshot(2, **dict.fromkeys(blobs)))
    loaded = (await snapshots.load()).snapshot
    assert list(loaded.blobs.items()) == list(blobs.items())
    await snapshots.drop_from(0)
    assert await connection.keys(f"{KEYS.base}:*") == []


@given(st.lists(st.integers(0, 50)), st.integers(1, 100))
def test_groups_are_bounded_and_lose_nothing(sizes, limit) -> None:
    groups = list(grouped(sizes, int, limit))
    assert [size for group in groups for size in group] == sizes
    assert all(group and (len(group) == 1 or sum(group) <= limit) for group in groups)


async def test_a_blob_must_be_what_is_held_and_be_held(snapshots, connection) -> None:
    await snapshots.save(snapshot(1, a=b"one"))
    with pytest.raises(FailedPreconditionError) as caught:
        await snapshots.save(snapshot(2, a=b"two", b=b"new"))
    assert caught.value.reason == "BLOB_CHANGED"
    with pytest.raises(FailedPreconditionError) as caught:
        await snapshots.save(snapshot(2, a=b"one", b=b"new", c=None))
    assert caught.value.reason == "BLOB_MISSING"
    await assert_nothing_is_left_behind(connection)


async def test_a_snapshot_older_than_what_is_kept_changes_nothing(snapshots, connection) -> None:
    for seq in (5, 9):
        await snapshots.save(snapshot(seq, a=b"a"))
    await snapshots.save(snapshot(2, b=b"b"))
    assert await snapshots.seqs() == [9, 5]
    await assert_nothing_is_left_behind(connection)


@in_a_cluster_too
@pytest.mark.parametrize("seed", range(3))
async def test_whatever_is_saved_and_dropped_nothing_else_is_there(snapshots, connection, seed) -> None:
    rng = random.Random(seed)
    model: dict[int, dict[str, bytes]] = {}
    for step in range(1, 25):
        if rng.random() < 0.2:
            first = rng.randrange(step + 1)
            await snapshots.drop_from(first)
            model = {seq: blobs for seq, blobs in model.items() if seq < first}
        else:
            seq = step if rng.random() < 0.8 else rng.choice([step, *model])
            shared = {f"shared{n}": b"%d" % n * 1000 for n in range(rng.randrange(4))}
            saved = snapshot(seq, **shared, **{f"own{seq}-{step}": rng.randbytes(rng.choice([10, CHUNK_BYTES + 10]))})
            keep = rng.choice(list(Retention))
            await snapshots.save(saved, keep)
            model[seq] = dict(saved.blobs)
            model = {seq: model[seq] for seq in kept(model, keep)}
        assert await snapshots.seqs() == sorted(model, reverse=True)
        assert (await snapshots.count())[0] == len(model)
        await assert_nothing_is_left_behind(connection)
    for seq, blobs in model.items():
        assert (await snapshots.load(seq + 1)).snapshot == snapshot(seq, **blobs)


# --- another owner ----------------------------------------------------------------------------------------------------


@in_a_cluster_too
async def test_a_deposed_owner_changes_nothing(snapshots, connection) -> None:
    await snapshots.save(snapshot(1, a=b"a"))
    await connection.incr(SHARD.epoch)
    before = await chunk_keys(connection)
    for late in (
        snapshots.save(snapshot(2, b=b"b")),
        snapshots.save(snapshot(2, a=None)),
        snapshots.save(snapshot(2)),
        snapshots.drop_from(0),
        snapshots.drop_damaged(),
    ):
        with pytest.raises(FencedError) as caught:
            await late
        assert caught.value.reason == "NOT_OWNER"
    assert await chunk_keys(connection) == before
    assert (await owned(connection, EPOCH + 1).load()).snapshot == snapshot(1, a=b"a")
    await assert_nothing_is_left_behind(connection)


async def test_an_owner_deposed_between_its_look_and_its_write_writes_nothing(snapshots, connection, server) -> None:
    async with Proxy(server.port) as proxy:
        slow = connect(parse(proxy.url), "bulk")
        for command in (b"MULTI", b"EVALSHA"):
            proxy.before(command, lambda: connection.incr(SHARD.epoch))
            epoch = int(await connection.get(SHARD.epoch))
            with pytest.raises(FencedError):
                await owned(slow, epoch).save(snapshot(1, **({} if command == b"EVALSHA" else {"a": b"a"})))
            assert await connection.keys(f"{KEYS.base}:*") == []
        await slow.aclose()


async def until_chunks(connection: Connection, number: int) -> None:
    async with asyncio.timeout(60):
        while len(await chunk_keys(connection)) < number:
            pass


@in_a_cluster_too
async def test_an_owner_deposed_while_it_writes_leaves_nothing_after_an_erasure(snapshots, connection) -> None:
    saving = asyncio.create_task(snapshots.save(snapshot(1, weights=bytes(30 * CHUNK_BYTES))))
    await until_chunks(connection, 2)
    await connection.incr(SHARD.epoch)
    await owned(connection, EPOCH + 1).drop_from(0)
    with pytest.raises(FencedError):
        await saving
    assert await connection.keys(f"{KEYS.base}:*") == []


async def test_a_fenced_write_is_whole_or_not_at_all(snapshots, connection) -> None:
    fence = Fence(SHARD.epoch, EPOCH)
    with pytest.raises(ResponseError):  # refused when it is queued
        await write(connection, fence, [("SET", KEYS.chunk("t", 0), b"x"), ("SET", KEYS.chunk("t", 1))])
    assert await chunk_keys(connection) == set()
    await connection.set(KEYS.copies, b"no hash")
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await write(connection, fence, [("HSET", KEYS.copies, "a", "b")])
    await write(connection, fence, [("SET", KEYS.chunk("t", 0), b"x")])
    assert await connection.get(KEYS.chunk("t", 0)) == b"x", "the connection is of use again"


# --- crashes ----------------------------------------------------------------------------------------------------------


@in_a_cluster_too
async def test_what_a_cancelled_save_wrote_is_swept(snapshots, connection) -> None:
    await snapshots.save(snapshot(1, a=b"a"))
    saving = asyncio.create_task(snapshots.save(snapshot(2, weights=bytes(30 * CHUNK_BYTES))))
    await until_chunks(connection, 3)
    while not saving.done():  # one cancellation may be lost: see memsvc.tasks
        saving.cancel()
        await asyncio.sleep(0)
    assert saving.cancelled()
    assert len(await chunk_keys(connection)) >= 3
    assert await snapshots.load() == LoadedSnapshot(snapshot=snapshot(1, a=b"a"))
    await snapshots.save(snapshot(3, a=None, b=b"b"))
    await assert_nothing_is_left_behind(connection)


async def test_what_a_crash_of_the_server_cut_short_is_swept(snapshots, connection, server) -> None:
    await snapshots.save(snapshot(1, a=b"a"))
    saving = asyncio.create_task(snapshots.save(snapshot(2, weights=bytes(60 * CHUNK_BYTES))))
    await until_chunks(connection, 3)
    server.kill()
    with pytest.raises((RedisError, OSError)):
        await saving
    server.start()
    again = connect(parse(server.url), "bulk")
    assert await owned(again).load() == LoadedSnapshot(snapshot=snapshot(1, a=b"a"))
    assert len(await chunk_keys(again)) >= 3, "else this shows nothing"
    await owned(again).drop_from(1)
    assert await again.keys(f"{KEYS.base}:*") == []
    await again.aclose()


@pytest.mark.parametrize("lost", [b"WATCH", b"HSET", b"EXEC", b"EVALSHA", b"UNLINK"])
async def test_a_save_whose_answer_is_lost_can_be_repeated(tmp_path, lost) -> None:
    with RedisServer(tmp_path / "redis") as server:
        async with Proxy(server.port) as proxy:
            connection = connect(parse(proxy.url), "bulk")
            await connection.set(SHARD.epoch, EPOCH)
            snapshots = owned(connection)
            for seq in (1, 2):
                await snapshots.save(snapshot(seq, **{f"own{seq}": b"x"}))
            proxy.lose = lost
            with pytest.raises(ConnectionError):
                await snapshots.save(snapshot(3, own3=b"x"))
            assert proxy.lost == 1, "nothing is sent again by itself"
            proxy.lose = None
            assert (await snapshots.load()).snapshot.seq in {2, 3}
            await snapshots.save(snapshot(3, own3=b"x"))
            assert await snapshots.seqs() == [3, 2]
            await assert_nothing_is_left_behind(connection)
            await connection.aclose()


@in_a_cluster_too
async def test_the_script_is_loaded_again_when_the_server_forgot_it(snapshots, connection) -> None:
    await snapshots.save(snapshot(1, a=b"a"))
    await connection.script_flush()
    await snapshots.save(snapshot(2, a=None))
    assert await snapshots.seqs() == [2, 1]


@pytest.mark.parametrize("arguments", [[EPOCH, 1, 0, 0, 0], [EPOCH, 0, 0, 0, 1], [EPOCH, 1, 0, 0, 0, 7, "m", "more"]])
async def test_the_script_writes_nothing_that_is_not_whole(snapshots, connection, arguments) -> None:
    with pytest.raises(ResponseError, match="not as many"):
        await script(connection, "swap")([SHARD.epoch, KEYS.snapshots, KEYS.blobs], arguments)
    await connection.set(KEYS.blobs, b"no hash")
    with pytest.raises(ResponseError, match="no hash"):
        await script(connection, "swap")([SHARD.epoch, KEYS.snapshots, KEYS.blobs], [EPOCH, 1, 0, 0, 0, 7, "m"])
    assert not await connection.exists(KEYS.snapshots)


# --- damage -----------------------------------------------------------------------------------------------------------


async def flip(connection: Connection, key: str) -> None:
    data = bytearray(await connection.get(key))
    data[len(data) // 2] ^= 1
    await connection.set(key, bytes(data))


async def damage_chunk(connection: Connection, place: Place) -> None:
    await flip(connection, KEYS.chunk(place.token, 1))


async def lose_chunk(connection: Connection, place: Place) -> None:
    await connection.delete(KEYS.chunk(place.token, 1))


async def exchange_chunks(connection: Connection, place: Place) -> None:
    first, second = (KEYS.chunk(place.token, index) for index in range(2))
    data = await connection.get(first)
    assert data != await connection.get(second)
    await connection.set(first, await connection.get(second))
    await connection.set(second, data)


async def lose_blob(connection: Connection, place: Place) -> None:
    await connection.hdel(KEYS.blobs, "own2")


async def damage_place(connection: Connection, place: Place) -> None:
    await connection.hset(KEYS.blobs, "own2", place.encode()[:-1])


async def damage_manifest(connection: Connection, place: Place) -> None:
    data = await connection.hget(KEYS.snapshots, "2")
    await connection.hset(KEYS.snapshots, "2", data[:-1] + bytes([data[-1] ^ 1]))


async def take_a_manifest_for_another(connection: Connection, place: Place) -> None:
    await connection.hset(KEYS.snapshots, "2", await connection.hget(KEYS.snapshots, "1"))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (damage_chunk, "a chunk of blob own2: its checksum is wrong"),
        (lose_chunk, "a chunk of blob own2 is missing"),
        (exchange_chunks, "the checksum of blob own2 is wrong"),
        (lose_blob, "blob own2 is missing"),
        (damage_place, "blob own2 is missing"),
        (damage_manifest, "its manifest: its checksum is wrong"),
        (take_a_manifest_for_another, "its manifest is another snapshot's"),
    ],
)
async def test_damage_is_told_and_the_older_snapshot_serves(snapshots, connection, damage, said) -> None:
    older, newer = (
        snapshot(1, shared=b"s", own1=b"1"),
        snapshot(2, shared=b"s", own2=b"1" * CHUNK_BYTES + b"2" * CHUNK_BYTES),
    )
    for each in (older, newer):
        await snapshots.save(each)
    await damage(connection, Place.decode(await connection.hget(KEYS.blobs, "own2")))
    assert await snapshots.load() == LoadedSnapshot(snapshot=older, corrupt=(f"the snapshot at seq 2: {said}",))
    await snapshots.drop_damaged()
    assert await snapshots.load() == LoadedSnapshot(snapshot=older)
    await assert_nothing_is_left_behind(connection)
    with pytest.raises(FailedPreconditionError):
        await snapshots.save(snapshot(2, shared=None, own2=None))
    await snapshots.save(newer)
    assert await snapshots.load() == LoadedSnapshot(snapshot=newer)
    await assert_nothing_is_left_behind(connection)


async def test_where_no_generation_verifies_there_is_none(snapshots, connection) -> None:
    await snapshots.save(snapshot(1, shared=b"s"))
    await snapshots.save(snapshot(2, shared=None))
    (key,) = await chunk_keys(connection)
    await flip(connection, key)
    loaded = await snapshots.load()
    assert loaded.snapshot is None
    assert [told.partition(":")[0] for told in loaded.corrupt] == ["the snapshot at seq 2", "the snapshot at seq 1"]
    await snapshots.drop_damaged()
    assert await connection.keys(f"{KEYS.base}:*") == []


async def test_a_load_beside_saves_takes_no_drop_for_damage(snapshots, connection, server) -> None:
    async def saves() -> None:
        for seq in (2, 3):
            await snapshots.save(snapshot(seq, **{f"own{seq}": b"x"}))

    await snapshots.save(snapshot(1, own1=b"1"))
    async with Proxy(server.port) as proxy:
        slow = connect(parse(proxy.url), "bulk")
        for command in (b"HGET", b"HMGET", b"MGET"):
            proxy.before(command, saves)
            assert await owned(slow).load() == LoadedSnapshot(snapshot=snapshot(3, own3=b"x"))
            await snapshots.drop_from(0)
            await snapshots.save(snapshot(1, own1=b"1"))
        await slow.aclose()


def test_a_place_of_another_format_is_refused() -> None:
    with pytest.raises(DataLossError):
        Place.decode(b"\x02" + Place.new(b"data").encode()[1:])

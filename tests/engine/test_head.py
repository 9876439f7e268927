"""What is said of a tenant is said of its whole log, however little of it is folded when the question comes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from memsvc.engine.config import EngineConfig
from memsvc.engine.engine import Engine
from memsvc.engine.past import Moment
from memsvc.errors import UnavailableError
from memsvc.store.redis.store import RedisOptions, RedisStore
from memsvc.store.redis.url import parse
from tests.engine.conftest import create, running, state, turns
from tests.redis_server import RedisServer
from tests.store.redis.owners import until

PATIENCE_S = 60


async def test_a_hash_waits_for_the_log_and_live_figures_do_not(tmp_path, monkeypatch) -> None:
    async with running(tmp_path / "data", snapshot_min_tokens=1 << 30) as engine:
        await create(engine, chunk=16)
        await engine.write("t", turns(200), applied=True)
        expected = await state(engine)
    async with running(tmp_path / "data", snapshot_min_tokens=1 << 30) as engine:
        readable, read = asyncio.Event(), engine.store.read

        async def late(*args):
            await readable.wait()
            return await read(*args)

        monkeypatch.setattr(engine.store, "read", late)
        live = await engine.reads.stats("t", state_hash=False)
        assert live.applied_seq < live.head_seq, "there is no snapshot, and nothing of the log was folded"
        assert live.state_hash == ""
        readable.set()
        hashed = await engine.reads.stats("t", state_hash=True)
        assert hashed.applied_seq == hashed.head_seq
        assert hashed.state_hash == expected


@asynccontextmanager
async def owner(server: RedisServer) -> AsyncIterator[RedisStore]:
    """A process of the one address that there is, which therefore waits for nobody's lease."""
    store = await RedisStore.open(parse(server.url), RedisOptions(address="here:1", shards=1, lease_s=1.5))
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture
async def deposed(tmp_path: Path) -> AsyncIterator[Engine]:
    """An engine with twenty entries of tenant `t`, which another process owned meanwhile, without its knowing.

    That one wrote ten more and forgot the first.
    """
    with RedisServer(tmp_path / "redis") as server:
        async with owner(server) as store:
            engine = Engine(store, EngineConfig(encoder="kmer", threads=1, snapshot_min_tokens=1, snapshot_idle_s=1e9))
            await engine.start()
            await create(engine, chunk=16)
            await engine.write("t", turns(20), applied=True)
            uid, term = (await engine.get_tenant("t")).uid, store.term((await engine.get_tenant("t")).uid)
            await engine.reads.recall("t", "thing", k=1, as_of=Moment(seq=2))
            await engine.shards.stop()
            async with owner(server) as other, serving(other) as there:
                await there.write("t", turns(10, start=20), applied=True)
                await there.changes.forget("t", ["e0"], None, "")
                async with asyncio.timeout(PATIENCE_S):
                    while await other.unfinished_erasures():  # noqa: ASYNC110  # it is seen by asking
                        await asyncio.sleep(0.05)
            await until(lambda: has_another_term(store, uid, term))
            try:
                yield engine
            finally:
                await engine.close()


@asynccontextmanager
async def serving(store: RedisStore) -> AsyncIterator[Engine]:
    engine = Engine(store, EngineConfig(encoder="kmer", threads=1))
    await engine.start()
    try:
        yield engine
    finally:
        await engine.close()


def has_another_term(store: RedisStore, uid: str, term: int) -> bool:
    try:
        return store.term(uid) != term
    except UnavailableError:
        return False


async def test_what_another_owner_did_meanwhile_is_known_at_once(deposed: Engine) -> None:
    found = await deposed.reads.recall("t", "thing met thing at noon", k=50)
    assert {hit.entry.payload.id for hit in found.hits} == {f"e{i}" for i in range(1, 30)}
    verified = await deposed.changes.verify("t")
    assert await state(deposed) == verified.state_hash == verified.folded_hash


async def test_a_view_from_before_is_not_saved(deposed: Engine) -> None:
    opened = deposed.find("t")
    saved = await deposed.store.kept(opened.uid)
    await deposed.keeper.snapshot(opened)
    assert await deposed.store.kept(opened.uid) == saved, "it still has what was forgotten since"
    async with deposed.using("t") as fresh:
        await fresh.wait_applied(fresh.head_seq)
        await deposed.keeper.snapshot(fresh)
    assert await deposed.store.kept(opened.uid) != saved


async def test_a_past_from_before_is_folded_anew(deposed: Engine) -> None:
    """Of nineteen entries that lived then and were not forgotten since: the scores count no twentieth."""
    then = await deposed.reads.recall("t", "thing met thing at noon", k=50, as_of=Moment(seq=2))
    assert {hit.entry.payload.id for hit in then.hits} == {f"e{i}" for i in range(1, 20)}
    await deposed.past.close()
    assert (await deposed.reads.recall("t", "thing met thing at noon", k=50, as_of=Moment(seq=2))).hits == then.hits

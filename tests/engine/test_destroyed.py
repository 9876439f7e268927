"""What is written with `learn` false and replaced, deleted or expired is in no file a while after."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import msgpack
import numpy as np
import pytest
from redis import Redis

from memsvc.engine.config import EngineConfig
from memsvc.engine.engine import Engine
from memsvc.engine.opened import OpenTenant
from memsvc.errors import UnavailableError
from memsvc.recall.index import Index
from memsvc.store.redis.store import RedisOptions, RedisStore
from memsvc.store.redis.url import parse
from memsvc.store.sqlite import SqliteStore
from memsvc.store.types import Erasure, Payload, Retention, Snapshot
from memsvc.tenant.policies import Policies
from tests.engine.conftest import create, payload, running, state, turns
from tests.engine.test_erasure import erased
from tests.redis_server import RedisServer

WORDS = (b"zanzibar", b"quagga", b"okapi", b"numbat")
SECOND_US = 1_000_000


def secret(id: str = "secret", **fields) -> Payload:
    """Its text, metadata, session and role have a word each that is nowhere else."""
    given = {"session": "okapi", "role": "numbat", "metadata_json": '{"animal": "quagga"}', "learn": False, **fields}
    return payload(id, "the train to zanzibar", **given)


@pytest.fixture(autouse=True)
def soon(monkeypatch) -> None:
    monkeypatch.setattr("memsvc.engine.keeper.SCRUB_S", 0.5)
    monkeypatch.setattr("memsvc.store.sqlite.emptier.EMPTY_S", 0.1)


def kept(folder: Path) -> dict[bytes, list[str]]:
    """The words, each with the files that have it."""
    files = {file.name: file.read_bytes() for file in folder.iterdir()}
    return {word: found for word in WORDS if (found := [name for name in files if word in files[name]])}


async def until_gone(folder: Path) -> None:
    for _ in range(100):
        if not kept(folder):
            return
        await asyncio.sleep(0.1)
    assert kept(folder) == {}


@asynccontextmanager
async def saved(folder: Path, *written: Payload, **policies) -> AsyncIterator[Engine]:
    """A tenant with two snapshots that have what was written, and more text before and after it."""
    async with running(folder, snapshot_min_tokens=1, snapshot_idle_s=1000.0) as engine:
        await create(engine, policies=Policies(**policies))
        await engine.write("t", turns(20), applied=True)
        for start in (20, 40):
            await engine.write("t", [*written, *turns(20, start)], applied=True)
            await save_snapshot(engine)
        assert set(kept(folder)) == set(WORDS)
        yield engine


async def save_snapshot(engine: Engine) -> None:
    async with engine.using("t") as opened:
        await engine.keeper.snapshot(opened)


async def deleted(engine: Engine) -> None:
    await engine.changes.delete_entry("t", "secret", "")


async def replaced(engine: Engine) -> None:
    await engine.changes.update_entry("t", payload("secret", "another one", learn=False), "")


async def expired(engine: Engine) -> None:
    """The tenant is not open."""
    await engine.shut("t")


@pytest.mark.parametrize("ends", [deleted, replaced, expired])
@pytest.mark.parametrize("snapshots", ["none", "all"])
async def test_it_leaves_every_file_by_itself(tmp_path, ends, snapshots) -> None:
    due = {"expire_us": time.time_ns() // 1000 + 3 * SECOND_US} if ends is expired else {}
    async with saved(tmp_path / "d", secret(**due), snapshots=snapshots) as engine:
        await ends(engine)
        await until_gone(tmp_path / "d")
        verified = await engine.changes.verify("t")
        assert verified.state_hash == verified.folded_hash
        before = await state(engine)
    assert kept(tmp_path / "d") == {}
    async with running(tmp_path / "d") as engine:
        assert await state(engine) == before
        async with engine.using("t") as opened:
            assert (opened.warnings, opened.snapshot_seq > 0) == ([], True)
        found = await engine.reads.recall("t", "the train to zanzibar", k=100)
        assert len(found.hits) == 60 + (ends is replaced)


async def test_a_text_leaves_with_the_last_that_shares_it(tmp_path) -> None:
    shares = secret("other", role="another", session="s", metadata_json='{"other": 1}')
    async with saved(tmp_path / "d", secret(), shares, duplicates="merge") as engine:
        await deleted(engine)
        for _ in range(100):
            if set(kept(tmp_path / "d")) == {WORDS[0]}:
                break
            await asyncio.sleep(0.1)
        assert set(kept(tmp_path / "d")) == {WORDS[0]}, "what was its own has left, and the other one has the text"
    async with running(tmp_path / "d", snapshot_idle_s=1000.0) as engine:
        found = await engine.reads.recall("t", "the train to zanzibar", k=1)
        assert [hit.entry.payload.id for hit in found.hits] == ["other"]
        await engine.changes.delete_entry("t", "other", "")
        await until_gone(tmp_path / "d")
        verified = await engine.changes.verify("t")
        assert verified.state_hash == verified.folded_hash


@pytest.mark.parametrize("way", ["delete", "expire"])
async def test_what_a_crash_left_leaves_after_the_next_start(tmp_path, way) -> None:
    """Of a tenant that nobody asks for: the log knows that it is destroyed, and the snapshots do not."""
    due = {"expire_us": time.time_ns() // 1000 + 2 * SECOND_US} if way == "expire" else {}
    async with saved(tmp_path / "d", secret(**due)) as engine:
        uid = (await engine.get_tenant("t")).uid
    store = SqliteStore.open(tmp_path / "d")
    if way == "delete":
        await store.delete(uid, "secret", "")
    else:
        await asyncio.sleep(2.0)
        assert await store.expire(10)
    await store.close()
    assert kept(tmp_path / "d"), "in snapshots"
    async with running(tmp_path / "d"):
        await until_gone(tmp_path / "d")


async def test_what_learns_stays_and_nothing_is_saved_for_it(tmp_path) -> None:
    async with saved(tmp_path / "d", secret(learn=True)) as engine:
        await deleted(engine)
        async with engine.using("t") as opened:
            await opened.wait_applied(opened.head_seq)
            before = opened.segments.names
            assert not opened.saves_lost
            await engine.write("t", turns(1, 70), applied=True)
            await engine.keeper.snapshot(opened)
            assert opened.segments.names[:-1] == before
    assert set(kept(tmp_path / "d")) == set(WORDS), "it is there to be folded again"


async def test_a_store_that_cannot_save_is_asked_again(tmp_path, monkeypatch) -> None:
    async with saved(tmp_path / "d", secret()) as engine:
        save, failed = engine.store.save, []

        async def fail_once(*args, **kwargs) -> None:
            if not failed:
                failed.append(kwargs)
                raise UnavailableError("a full disk")
            await save(*args, **kwargs)

        monkeypatch.setattr(engine.store, "save", fail_once)
        await deleted(engine)
        await until_gone(tmp_path / "d")
        assert failed


async def test_snapshots_of_an_earlier_version_lose_it_once_they_are_opened(tmp_path, monkeypatch) -> None:
    """It kept what was destroyed in them, and saved them after."""
    with monkeypatch.context() as earlier:
        earlier.setattr(Index, "losses", lambda index: np.zeros(len(index), np.uint8))
        async with saved(tmp_path / "d", secret()) as engine:
            save = engine.store.save

            async def save_unmarked(uid: str, snapshot: Snapshot, keep: Retention, *, drop_from: int | None) -> None:
                meta = msgpack.unpackb(snapshot.meta)
                del meta["without_lost"]
                await save(uid, replace(snapshot, meta=msgpack.packb(meta)), keep)

            earlier.setattr(engine.store, "save", save_unmarked)
            await deleted(engine)
            await engine.write("t", turns(1, 70), applied=True)
            await save_snapshot(engine)
            before = await state(engine)
    assert kept(tmp_path / "d")
    async with running(tmp_path / "d", snapshot_idle_s=1000.0) as engine:
        assert await state(engine) == before
        await until_gone(tmp_path / "d")
        assert await state(engine) == before


@pytest.mark.parametrize("first", ["living", "past"])
async def test_a_snapshot_of_the_past_that_is_made_again_is_without_it(tmp_path, monkeypatch, first) -> None:
    """It is destroyed once the fold that makes the snapshot has read it; either that is saved first, or what lives."""
    async with saved(tmp_path / "d", secret(), snapshots="all") as engine, engine.using("t") as opened:
        unfinished, snapshot, late = engine.store.unfinished_erasures, engine.keeper.snapshot, []

        async def delete_late() -> None:
            if not late:
                late.append(True)
                await deleted(engine)
                await opened.wait_applied(opened.head_seq)

        async def delete_then_look() -> list[Erasure]:
            if first == "living" and engine.eraser._renewer._folding.locked():
                await delete_late()
                await asyncio.sleep(3.0)
                assert not opened.saves_lost
            return await unfinished()

        async def delete_then_save(view: OpenTenant, **options) -> None:
            if first == "past" and view is not opened:
                await delete_late()
                await asyncio.sleep(3.0)  # of the rounds in which it would be saved
            await snapshot(view, **options)

        monkeypatch.setattr(engine.store, "unfinished_erasures", delete_then_look)
        monkeypatch.setattr(engine.keeper, "snapshot", delete_then_save)
        forgetting = await engine.changes.forget("t", ["e3"], None, "f")
        await erased(engine, forgetting.erasure.operation)
        await asyncio.gather(*engine.eraser._under_way.values())
        assert late
        await until_gone(tmp_path / "d")
        assert (await engine.store.load(opened.uid)).snapshot.seq == opened.snapshot_seq


async def test_it_leaves_every_key_of_redis(tmp_path) -> None:
    with RedisServer(tmp_path / "redis", rdbcompression="no") as server:
        store = await RedisStore.open(parse(server.url), RedisOptions(shards=1))
        engine = Engine(store, EngineConfig(encoder="kmer", threads=1, snapshot_min_tokens=1, snapshot_idle_s=1000.0))
        await engine.start()
        await create(engine)
        for start in (0, 20):
            await engine.write("t", [secret(), *turns(20, start)], applied=True)
            await save_snapshot(engine)

        def found() -> set[bytes]:
            with Redis.from_url(server.url) as client:
                values = b"".join(client.dump(key) for key in client.scan_iter())
            return {word for word in WORDS if word in values}

        assert found() == set(WORDS)
        await deleted(engine)
        for _ in range(100):
            if not found():
                break
            await asyncio.sleep(0.1)
        assert found() == set()
        await engine.close()
        await store.close()

"""A tenant that is opened again while something of it is still under way: neither is left behind by the other."""

import asyncio
import time

import pytest

from memsvc.engine.config import EngineConfig
from memsvc.engine.engine import Engine
from memsvc.engine.lane import Lane
from memsvc.errors import UnavailableError
from memsvc.store.sqlite import SqliteStore
from tests.engine.conftest import create, payload, running, state, turns
from tests.engine.test_leaving import BUSY_S, left, sound, until


class Held:
    """An operation of the store that does not begin until it may."""

    def __init__(self, monkeypatch, store, name: str) -> None:
        self.asked, self.go = 0, asyncio.Event()
        operation = getattr(store, name)

        async def slow(*args, **options):
            self.asked += 1
            await self.go.wait()
            return await operation(*args, **options)

        monkeypatch.setattr(store, name, slow)


def fail(engine: Engine, tenant: str = "t") -> None:
    """The tenant's view fails."""
    opened = engine.find(tenant)
    assert opened is not None
    engine.thread.call(lambda: engine.thread.ingest.fail([opened._lane], RuntimeError("fault")))


async def test_what_is_committed_after_a_view_failed_is_known_to_the_next(engine: Engine, monkeypatch) -> None:
    await create(engine)
    await engine.write("t", turns(3), applied=True)
    with monkeypatch.context() as patch:
        late = Held(patch, engine.store, "append")
        writing = asyncio.create_task(engine.write("t", [payload("late", "a late thing")]))
        await until(lambda: late.asked == 1)
        before = engine.find("t")
        fail(engine)
        await until(lambda: before.failure is not None)
        await state(engine)
        assert engine.find("t") is not before
        late.go.set()
        written = await writing
    found = await engine.reads.recall("t", "a late thing", k=1)
    assert found.applied_seq == written.seq
    assert found.hits[0].entry.payload.id == "late"
    async with engine.using("t") as opened:
        assert (opened.pending_bytes, opened.admitted_bytes) == (0, 0)


async def test_settings_that_are_committed_after_a_view_failed_are_known_to_the_next(engine, monkeypatch) -> None:
    await create(engine)
    await engine.write("t", turns(3), applied=True)
    with monkeypatch.context() as patch:
        late = Held(patch, engine.store, "append")
        changing = asyncio.create_task(engine.changes.update_tenant("t", {}, "ttl", {"ttl_us": 10**9}))
        await until(lambda: late.asked == 1)
        before = engine.find("t")
        fail(engine)
        await until(lambda: before.failure is not None)
        await state(engine)
        late.go.set()
        with pytest.raises(UnavailableError):
            await changing
    await engine.changes.update_tenant("t", {}, "max", {"max_entries": 10})
    row = await engine.get_tenant("t")
    assert engine.find("t").row.config == row.config
    assert (engine.find("t").policies.ttl_us, engine.find("t").policies.max_entries) == (10**9, 10)


async def test_settings_of_two_of_whom_one_left_are_both_kept(engine, monkeypatch) -> None:
    await create(engine)
    with monkeypatch.context() as patch:
        late = Held(patch, engine.store, "append")
        await left(engine.changes.update_tenant("t", {}, "ttl", {"ttl_us": 10**9}))
        second = asyncio.create_task(engine.changes.update_tenant("t", {}, "max", {"max_entries": 10}))
        await asyncio.sleep(0.05)
        late.go.set()
        await second
    policies = engine.find("t").policies
    assert (policies.ttl_us, policies.max_entries) == (10**9, 10)


async def test_a_view_whose_place_another_takes_is_not_left_without_one(engine, monkeypatch) -> None:
    await create(engine)
    await engine.write("t", turns(3), applied=True)
    expected = await state(engine)
    await engine.shut("t")
    load, held, go = engine.store.load, asyncio.Event(), asyncio.Event()

    async def first_late(*args):
        found = await load(*args)
        if not held.is_set():
            held.set()
            await go.wait()
        return found

    monkeypatch.setattr(engine.store, "load", first_late)
    engine.prefetch("t")
    await held.wait()
    closing = asyncio.create_task(engine.shut("t"))
    await asyncio.sleep(0)
    assert await state(engine) == expected
    go.set()
    await closing
    await until(lambda: engine.find("t") is None or engine.find("t").failure is not None)
    await engine.write("t", turns(1, 9), applied=True)
    assert await sound(engine)


async def test_a_tenant_that_is_being_opened_does_not_outlast_the_engine(tmp_path) -> None:
    async with running(tmp_path / "d") as engine:
        await create(engine)
    store = SqliteStore.open(tmp_path / "d")
    engine = Engine(store, EngineConfig(encoder="kmer", threads=1, slots=4))
    await engine.start()
    attach, attached = engine.thread.attach, asyncio.Event()

    def asked(lane: Lane) -> asyncio.Future[None]:
        attached.set()
        return attach(lane)

    engine.thread.attach = asked
    engine.thread.call(lambda: time.sleep(BUSY_S))
    opening = engine._opening("t")
    await attached.wait()
    await engine.close()
    await store.close()
    opening.cancel()  # as asyncio.run does at its end, which waits for what it cancels
    _, going = await asyncio.wait([opening], timeout=10)
    assert not going


async def test_who_watches_and_leaves_leaves_nothing(engine) -> None:
    await create(engine)
    async with engine.using("t") as opened:
        for _ in range(10):
            waiting = asyncio.create_task(opened.wait_change(opened.applied_seq))
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting])
        assert not opened._changes

"""A caller who leaves before the answer, and a log that cannot be read for a moment: neither leaves anything behind."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from memsvc.engine import opened
from memsvc.engine.engine import Engine
from memsvc.engine.past import Moment
from memsvc.errors import UnavailableError
from tests.engine.conftest import create, payload, running, state, turns
from tests.engine.test_erasure import erased
from tests.engine.test_residency import WEIGHTS

BUSY_S = 0.3


@asynccontextmanager
async def busy(engine: Engine) -> AsyncIterator[None]:
    """The engine's thread does something else meanwhile."""
    until = engine.thread.call(lambda: time.sleep(BUSY_S))
    await asyncio.sleep(0.05)
    yield
    await until


async def left(call: Coroutine[Any, Any, object]) -> None:
    """Leave a call before it is answered."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(BUSY_S / 3):
            await call


async def until(holds: Callable[[], bool]) -> None:
    for _ in range(1000):
        if holds():
            return
        await asyncio.sleep(0.01)
    pytest.fail("it does not come")


def attached(engine: Engine) -> set[str]:
    """What the engine's thread has views of."""
    return set(engine.thread.ingest._lanes)


async def sound(engine: Engine, tenant: str = "t") -> bool:
    """Whether a tenant's state is what its log folds to."""
    verified = await engine.changes.verify(tenant)
    return verified.state_hash == verified.folded_hash


async def test_who_was_to_leave_for_a_write_that_was_given_up_comes_back_as_it_was(tmp_path) -> None:
    async with running(tmp_path / "d", slots=2, memory_bytes=3 * WEIGHTS, snapshot_min_tokens=10**9) as engine:
        await create(engine, "a", chunk=16)
        await create(engine, "b", chunk=16)
        await engine.reads.stats("b", state_hash=False)
        await engine.write("a", turns(20), applied=True)
        expected = await state(engine, "a")
        async with busy(engine):
            await left(engine.write("b", turns(3)))
        assert engine.find("a") is None, "it is to leave"
        assert await state(engine, "a") == expected
        assert await sound(engine, "a")


async def test_past_views_leave_though_whoever_forgets_does_not_wait(tmp_path) -> None:
    async with running(tmp_path / "d", snapshot_min_tokens=10**9) as engine:
        await create(engine, chunk=16)
        for i in range(3):
            await engine.write("t", turns(5, 5 * i), applied=True)
            await engine.reads.recall("t", "thing", k=1, as_of=Moment(seq=2 + i))
        assert len(attached(engine)) == 4
        async with busy(engine):
            await left(engine.changes.forget("t", ["e0"], None, "forget"))
        for erasure in await engine.store.unfinished_erasures():
            await erased(engine, erasure.operation)
        await until(lambda: len(attached(engine)) == 1)
        assert await sound(engine)


async def test_a_log_that_cannot_be_read_once_is_folded_afresh(tmp_path, monkeypatch) -> None:
    async with running(tmp_path / "d", snapshot_min_tokens=10**9) as engine:
        await create(engine, chunk=16)
        for i in range(3):
            await engine.write("t", turns(20, 20 * i), applied=True)
        expected = await state(engine)
    monkeypatch.setattr(opened, "PAGE_BYTES", 1000)  # of one record
    async with running(tmp_path / "d", snapshot_min_tokens=10**9) as engine:
        read, pages = engine.store.read, 0

        async def once_not(*args):
            nonlocal pages
            pages += 1
            if pages == 3:  # two are folded
                raise UnavailableError("not now")
            return await read(*args)

        monkeypatch.setattr(engine.store, "read", once_not)
        with pytest.raises(UnavailableError):
            await state(engine)
        assert await state(engine) == expected
        assert await sound(engine)


async def test_what_is_asked_twice_at_once_is_counted_once(engine: Engine) -> None:
    await create(engine)
    await engine.write("t", turns(5), applied=True)
    change = engine.changes
    for twice in (
        lambda: change.update_entry("t", payload("e1", "another text"), "update"),
        lambda: change.feedback("t", ["e2"], "feedback", useful=True),
        lambda: change.delete_entry("t", "e3", "delete"),
    ):
        first, second = await asyncio.gather(twice(), twice())
        assert first == second
    await state(engine)
    async with engine.using("t") as tenant:
        assert (tenant.pending_bytes, tenant.admitted_bytes, await tenant.held_entries()) == (0, 0, 4)
        assert not tenant._ways
    assert engine.admission.queued == 0
    assert tenant.idle


@pytest.mark.parametrize("change", ["write", "delete"])
async def test_a_tenant_stays_while_its_log_is_written(engine: Engine, monkeypatch, change) -> None:
    await create(engine)
    await engine.write("t", turns(5), applied=True)
    go, held = asyncio.Event(), "append" if change == "write" else "delete"
    operation = getattr(engine.store, held)

    async def slow(*args, **options):
        await go.wait()
        return await operation(*args, **options)

    monkeypatch.setattr(engine.store, held, slow)
    late = engine.write("t", turns(1, 9)) if change == "write" else engine.changes.delete_entry("t", "e0", "late")
    await left(late)
    tenant = engine.find("t")
    assert tenant is not None
    assert not await engine.keeper.unload(tenant)
    go.set()
    await until(lambda: tenant.idle)
    assert tenant.head_seq == await engine.store.head(tenant.uid) == 3
    assert await sound(engine)

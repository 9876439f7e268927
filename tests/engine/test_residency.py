"""What is in memory stays within its limit, and whoever left comes back as they were."""

import asyncio
import os
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from memsvc.engine import machine
from memsvc.engine.engine import Engine
from memsvc.engine.past import Moment
from memsvc.engine.results import Stats
from memsvc.errors import NotFoundError, ResourceExhaustedError
from tests.engine.conftest import create, payload, running, state, turns

WEIGHTS = 2 * 2 * 384 * 384 * 4
TENANTS, SLOTS = 12, 2
LIMIT = 5 * WEIGHTS
"""Enough for three tenants: a part is spare, and weights that move are there twice."""


async def filled(engine: Engine) -> list[str]:
    """Tenants with weights; returns their states."""
    for i in range(TENANTS):
        await create(engine, f"t{i}", chunk=16)
        await engine.write(f"t{i}", turns(10, 10 * i), applied=True)
    return [await state(engine, f"t{i}") for i in range(TENANTS)]


def small(tmp_path: Path, **changes):
    return running(tmp_path / "d", slots=SLOTS, memory_bytes=LIMIT, snapshot_min_tokens=1, **changes)


async def test_many_tenants_fit_in_little_memory_and_all_are_as_they_were(tmp_path) -> None:
    async with running(tmp_path / "alone") as engine:
        expected = await filled(engine)
    most = 0
    async with small(tmp_path) as engine:

        async def watch() -> None:
            nonlocal most
            while True:
                most = max(most, engine.residency.used)
                await asyncio.sleep(0)

        watching = asyncio.create_task(watch())
        assert await filled(engine) == expected
        for _ in range(2):
            for i in range(TENANTS):
                found = await engine.reads.recall(f"t{i}", "thing met thing", k=20)
                assert {hit.entry.payload.id for hit in found.hits} == {f"e{j}" for j in range(10 * i, 10 * i + 10)}
        assert [await state(engine, f"t{i}") for i in range(TENANTS)] == expected
        watching.cancel()
        where = await engine.residency.whereabouts()
    assert WEIGHTS < most <= LIMIT
    assert where.hot <= SLOTS
    assert where.hot + where.warm < TENANTS
    assert where.hot + where.warm + where.cold == TENANTS
    assert where.used_bytes <= where.limit_bytes == LIMIT
    assert where.unloads >= 2 * TENANTS


async def test_a_tenant_says_where_it_was_and_what_it_takes(tmp_path) -> None:
    async with running(tmp_path / "data", slots=1, snapshot_min_tokens=1) as engine:
        for tenant in ("a", "b"):
            await create(engine, tenant, chunk=16)
            await engine.write(tenant, turns(20), applied=True)

        async def asked(tenant: str) -> Stats:
            found = await engine.reads.stats(tenant, state_hash=False)
            opened = engine.find(tenant)
            assert found.memory_bytes == engine.thread.runner.bytes_of(opened.key) > found.config.weights_bytes
            assert found.stored_bytes == await engine.store.size(opened.uid) > sum(len(e.data) for e in turns(20))
            return found

        assert (await asked("b")).residency == "hot", "it learnt last, and there is one slot"
        assert (await asked("a")).residency == "warm"
        assert (await asked("a")).residency == "hot", "its weights were looked at"
        before = await asked("a")
        await engine.keeper.unload(engine.find("a"))
        after = await asked("a")
        assert after.residency == "cold"
        assert after.stored_bytes > before.stored_bytes, "by its snapshot"


async def test_all_at_once_wait_for_each_other_or_are_told_to_come_again(tmp_path) -> None:
    async with small(tmp_path) as engine:
        expected = await filled(engine)

        async def ask(i: int) -> str:
            while True:
                try:
                    return await state(engine, f"t{i}")
                except ResourceExhaustedError as error:
                    refusals.append(error)
                    await asyncio.sleep(0.01)

        refusals: list[ResourceExhaustedError] = []
        assert await asyncio.gather(*(ask(i % TENANTS) for i in range(4 * TENANTS))) == expected * 4
        assert all(refusal.reason == "MEMORY_FULL" and refusal.retry_after > 0 for refusal in refusals)


async def test_no_room_is_made_at_the_cost_of_whoever_is_in_use(tmp_path) -> None:
    async with small(tmp_path) as engine:
        await filled(engine)
        async with AsyncExitStack() as used:
            held = [await used.enter_async_context(engine.using(f"t{i}")) for i in range(3)]

            async def hold_all() -> None:
                for i in range(3, TENANTS):
                    await used.enter_async_context(engine.using(f"t{i}"))

            with pytest.raises(ResourceExhaustedError, match="memory is full"):
                await hold_all()
            assert all(tenant.failure is None for tenant in held)
        await state(engine, f"t{TENANTS - 1}")


async def test_a_tenant_larger_than_the_memory_is_served_alone(tmp_path) -> None:
    async with running(tmp_path / "d", memory_bytes=1000, snapshot_min_tokens=1) as engine:
        for tenant in ("a", "b"):
            await create(engine, tenant, chunk=16)
            await engine.write(tenant, turns(10), applied=True)
        for tenant in ("a", "b", "a"):
            assert (await engine.reads.recall(tenant, "thing", k=1)).hits
            assert len(engine.opened()) == 1


async def test_tenants_that_grow_push_the_others_out(tmp_path) -> None:
    async with running(tmp_path / "d", slots=SLOTS, memory_bytes=LIMIT) as engine:
        for i in range(TENANTS):
            await create(engine, f"t{i}", chunk=16)
            await engine.write(f"t{i}", [payload("0", "few")], applied=True)
        assert len(engine.opened()) == TENANTS
        for i in range(TENANTS):
            await engine.write(f"t{i}", turns(10), applied=True)
            assert engine.residency.used <= LIMIT
        assert len(engine.opened()) < TENANTS


async def test_a_first_write_is_refused_where_all_are_in_use_and_a_streams_waits(tmp_path) -> None:
    async with small(tmp_path) as engine:
        await filled(engine)
        await create(engine, "new", chunk=16)
        await state(engine, "new")
        async with AsyncExitStack() as used:
            for i in range(3):
                await used.enter_async_context(engine.using(f"t{i}"))
            with pytest.raises(ResourceExhaustedError, match="memory is full"):
                await engine.write("new", turns(10))
            waiting = asyncio.create_task(engine.write_waiting("new", turns(10)))
            await asyncio.sleep(0.1)
            assert not waiting.done()
        written = await (await asyncio.wait_for(waiting, 30))
        await engine.write("new", turns(1, 10), applied=True)
        assert written.seq == 2
        assert engine.residency.used <= LIMIT


async def test_a_second_fold_has_room_made_for_it(tmp_path) -> None:
    async with small(tmp_path) as engine:
        await filled(engine)
        most = 0

        async def watch() -> None:
            nonlocal most
            while True:
                most = max(most, engine.residency.used)
                await asyncio.sleep(0)

        watching = asyncio.create_task(watch())
        for i in range(3):
            verified = await engine.changes.verify(f"t{i}")
            assert verified.state_hash == verified.folded_hash
            hits = (await engine.reads.recall(f"t{i}", "thing", k=1, as_of=Moment(seq=2))).hits
            assert len(hits) == 1
        watching.cancel()
    assert WEIGHTS < most <= LIMIT


async def test_a_tenant_is_opened_while_the_query_is_encoded(tmp_path, monkeypatch) -> None:
    async with running(tmp_path / "d") as engine:
        await create(engine)
        await engine.write("t", turns(3), applied=True)
    async with running(tmp_path / "d") as engine:
        encoded, load, encode = asyncio.Event(), engine.store.load, engine.thread.runner.encoder.encode_alone
        loop = asyncio.get_running_loop()

        async def late(*args):
            await encoded.wait()
            return await load(*args)

        def note(passage):
            loop.call_soon_threadsafe(encoded.set)
            return encode(passage)

        monkeypatch.setattr(engine.store, "load", late)
        monkeypatch.setattr(engine.thread.runner.encoder, "encode_alone", note)
        found = await asyncio.wait_for(engine.reads.recall("t", "thing", k=3), 30)
        assert len(found.hits) == 3


async def test_prefetch_opens_and_says_nothing_of_what_is_not_there(tmp_path) -> None:
    async with running(tmp_path / "d") as engine:
        await create(engine)
        engine.prefetch("t")
        engine.prefetch("nobody")
        for _ in range(200):
            if engine.find("t") is not None:
                break
            await asyncio.sleep(0.01)
        assert engine.find("t") is not None
        with pytest.raises(NotFoundError):
            await state(engine, "nobody")


def test_the_machines_memory_is_that_of_the_container(tmp_path, monkeypatch) -> None:
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(machine, "CGROUP_LIMITS", (tmp_path / "none", limit))
    for text, expected in [("max\n", physical), (f"{1 << 20}\n", 1 << 20), (str(1 << 62), physical)]:
        limit.write_text(text)
        assert machine.memory_bytes() == expected

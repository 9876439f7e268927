"""What one tenant does keeps no other waiting, and what waits for a tenant that goes hears so."""

import asyncio
import itertools
import time

import pytest

from memsvc.engine import opened
from memsvc.engine.thread import UNIT_READ_S
from memsvc.errors import MemsvcError, NotFoundError
from memsvc.memory.config import MemoryConfig
from tests.engine.conftest import create, payload, running, turns

LONG = "acgt" * 16_000
"""Tens of thousands of tokens: hundreds of chunks."""


@pytest.mark.parametrize("layers", [2, 3], ids=["of one shape", "of another shape"])
async def test_few_words_do_not_wait_for_anothers_many(tmp_path, layers) -> None:
    async with running(tmp_path / "data") as engine:
        await create(engine, "many")
        await create(engine, "few", layers=layers)
        await engine.write("many", [payload("m", LONG)])
        async with engine.using("many") as many:
            for i in range(3):
                await engine.write("few", [payload(f"f{i}", f"a few words, {i}")], applied=True)
            assert many.applied_seq < many.head_seq


async def test_few_words_do_not_wait_until_anothers_many_are_encoded(tmp_path) -> None:
    async with running(tmp_path / "data") as engine:
        for tenant in ("many", "few"):
            await create(engine, tenant)
            await engine.write(tenant, [payload("first", "so that it is open")], applied=True)
        engine.thread._rate = 1000.0  # as with an encoder that takes a minute for so much
        await engine.write("many", [payload("m", LONG)])
        lots = engine.thread.ingest._lots
        while not await engine.thread.call(lambda: len(lots)):
            pass
        await engine.write("few", [payload("f", "a few words")], applied=True)
        assert await engine.thread.call(lambda: sum(len(lot.batches) for lot in lots))


async def test_long_questions_take_turns_with_what_is_to_be_applied(tmp_path) -> None:
    async with running(tmp_path / "data") as engine:
        await create(engine)
        await engine.write("t", [payload("first", "so that it is open")], applied=True)
        answered = itertools.count()
        long = [engine.thread.call(lambda: (time.sleep(2 * UNIT_READ_S), next(answered)), read=True) for _ in range(50)]
        written = await engine.write("t", [payload("a", "a few words")])
        async with engine.using("t") as opened_tenant:
            await opened_tenant.wait_applied(written.seq)
        assert next(answered) < len(long)
        await asyncio.gather(*long)


async def test_whoever_waits_for_a_record_of_a_tenant_that_is_deleted_hears_so(tmp_path) -> None:
    async with running(tmp_path / "data") as engine:
        await create(engine, "t", chunk=8)
        await engine.write("t", [payload("m", LONG)])
        ingest, uid = engine.thread.ingest, (await engine.get_tenant("t")).uid
        while not await engine.thread.call(lambda: uid in ingest._steps):
            pass
        asking = [asyncio.create_task(engine.reads.stats("t", state_hash=False)) for _ in range(3)]
        while await engine.thread.call(lambda: len(ingest.lane(uid).at_boundary)) < len(asking):
            pass
        await engine.delete_tenant("t", "")
        done, pending = await asyncio.wait(asking, timeout=60)
        assert not pending
        assert all(isinstance(task.exception(), MemsvcError) for task in done)


async def test_who_comes_while_a_tenant_is_deleted_does_not_keep_it(tmp_path, monkeypatch) -> None:
    async with running(tmp_path / "data") as engine:
        await create(engine, "t")
        await engine.write("t", [payload("old", "a secret of the old one")], applied=True)
        delete = engine.store.delete_tenant

        async def slowly(uid: str, request_id: str) -> None:
            await engine.reads.get_entry("t", "old")
            await delete(uid, request_id)

        monkeypatch.setattr(engine.store, "delete_tenant", slowly)
        await engine.delete_tenant("t", "")
        assert engine.find("t") is None
        await engine.create_tenant("t", MemoryConfig(), "again")
        assert not (await engine.reads.recall("t", "a secret", k=5)).hits


async def test_an_end_does_not_wait_for_a_long_record(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("memsvc.engine.engine.CLOSE_S", 0.1)
    async with running(tmp_path / "data", snapshot_min_tokens=1) as engine:
        await create(engine, "t", chunk=8)
        await engine.write("t", [payload("m", LONG)])
        async with engine.using("t") as opened:
            assert opened.applied_seq < opened.head_seq
    async with running(tmp_path / "data") as engine:
        assert (await engine.reads.get_entry("t", "m")).payload.id == "m"


async def test_an_export_of_a_tenant_that_is_deleted_meanwhile_ends(tmp_path) -> None:
    async with running(tmp_path / "data") as engine:
        await create(engine, "t")
        await engine.write("t", [payload("m", "a few words")], applied=True)
        parts = engine.copies.export("t")
        await anext(parts)
        await engine.delete_tenant("t", "")

        async def rest() -> list[bytes]:
            return [part async for part in parts]

        with pytest.raises(NotFoundError, match="deleted"):
            await asyncio.wait_for(rest(), 30)


async def test_a_verification_of_a_tenant_that_is_deleted_meanwhile_ends(tmp_path, monkeypatch) -> None:
    async with running(tmp_path / "data") as engine:
        await create(engine, "t")
        await engine.write("t", [payload("m", "a few words")], applied=True)
        read = engine.store.read

        async def gone(*arguments):
            await engine.delete_tenant("t", "")
            monkeypatch.setattr(engine.store, "read", read)
            return await read(*arguments)

        monkeypatch.setattr(engine.store, "read", gone)
        with pytest.raises(MemsvcError):
            await asyncio.wait_for(engine.changes.verify("t"), 30)


async def test_what_is_folded_a_second_time_ends_though_others_never_stop_writing(tmp_path) -> None:
    async with running(tmp_path / "data") as engine:
        for tenant in ("t", "busy"):
            await create(engine, tenant)
        await engine.write("t", turns(200), applied=True)

        async def write() -> None:
            for start in itertools.count(0, 50):
                await (await engine.write_waiting("busy", turns(50, start)))

        async def starved() -> None:
            """Return if the other's work comes to an end meanwhile: then this test is of no worth."""
            while engine.admission.queued:  # noqa: ASYNC110  nobody tells
                await asyncio.sleep(0.005)

        writing = asyncio.create_task(write())
        async with asyncio.timeout(60):
            while engine.admission.queued < engine.config.tenant_queue_bytes // 2:  # noqa: ASYNC110  nobody tells
                await asyncio.sleep(0.005)
            idle = asyncio.create_task(starved())
            verified = await engine.changes.verify("t")
            assert not idle.done()
        assert verified.state_hash == verified.folded_hash
        idle.cancel()
        writing.cancel()


async def test_a_tenant_whose_writers_never_stop_forgets_all_the_same(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(opened, "SETTLE_AFTER_S", 0.1)
    async with running(tmp_path / "data", tenant_queue_bytes=20_000) as engine:
        await create(engine)
        await engine.write("t", turns(20), applied=True)
        written = itertools.count(1000, 10)

        async def write() -> None:
            for start in written:
                await (await engine.write_waiting("t", turns(10, start)))

        writing = [asyncio.create_task(write()) for _ in range(4)]
        async with asyncio.timeout(100):
            erased = await engine.changes.forget("t", ["e3"], None, "r")
            while not (await engine.changes.erasure(erased.erasure.operation)).erasure.done:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            head = engine.find("t").head_seq
            while engine.find("t").head_seq < head + 10:  # noqa: ASYNC110  they write on
                await asyncio.sleep(0.02)
        for task in writing:
            task.cancel()

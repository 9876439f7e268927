"""What a caller of the engine relies on."""

import asyncio
import gc
import sqlite3
import weakref

import pytest

from memsvc.engine.engine import Engine
from memsvc.errors import (
    AlreadyExistsError,
    MemsvcError,
    NotFoundError,
    OutOfRangeError,
    ResourceExhaustedError,
    UnavailableError,
)
from memsvc.recall.filter import Filter
from memsvc.store.sqlite import SqliteStore
from tests.engine.conftest import create, payload, running, state, turns


async def test_one_reads_ones_writes(engine: Engine) -> None:
    await create(engine)
    for i in range(20):
        written = await engine.write("t", [payload(f"n{i}", f"the parcel {i} arrived with code xq{i}z")])
        found = await engine.reads.recall("t", f"code xq{i}z", k=1)
        assert found.hits[0].entry.payload.id == f"n{i}"
        assert found.applied_seq >= written.seq


async def test_a_known_entry_is_skipped_and_a_conflict_refuses_all(engine: Engine) -> None:
    await create(engine)
    first = await engine.write("t", [payload("a", "one"), payload("b", "two")])
    again = await engine.write("t", [payload("b", "two"), payload("c", "three")])
    assert again.seqs == (first.seq, again.seq)
    assert again.skipped == (True, False)
    before = await state(engine)
    with pytest.raises(AlreadyExistsError):
        await engine.write("t", [payload("d", "four"), payload("a", "other")])
    assert await state(engine) == before
    with pytest.raises(NotFoundError):
        await engine.reads.get_entry("t", "d")
    only_known = await engine.write("t", [payload("a", "one")])
    assert only_known.seq == first.seq


async def test_min_seq(engine: Engine) -> None:
    await create(engine)
    written = await engine.write("t", turns(3))
    assert (await engine.reads.recall("t", "thing", k=1, min_seq=written.seq)).applied_seq >= written.seq
    assert (await engine.reads.recall("t", "thing", k=1, min_seq=0)).hits
    with pytest.raises(OutOfRangeError, match="min_seq"):
        await engine.reads.recall("t", "thing", k=1, min_seq=written.seq + 1)


async def test_applied_tells_surprise_and_the_same_whatever_follows(engine: Engine) -> None:
    await create(engine)
    waited = await engine.write("t", turns(2), applied=True)
    assert waited.surprise is not None
    assert all(s is not None and s.mean > 0 and s.gate_share == 1 for s in waited.surprise)
    await engine.write("t", turns(100, start=2))
    await state(engine)
    async with engine.using("t") as opened:
        sums = [opened.view.index.surprise_of(number) for number in (1, 2)]
    stepped = [total / tokens for total, tokens, _ in sums]
    assert stepped == pytest.approx([s.mean for s in waited.surprise if s is not None], rel=1e-6)


async def test_a_repeated_text_surprises_less(engine: Engine) -> None:
    await create(engine)
    means = []
    for i in range(12):
        batch = [payload(f"r{i}-{j}", f"the same {j} words again and again, nothing else {j}") for j in range(40)]
        written = await engine.write("t", batch, applied=True)
        assert written.surprise is not None
        means.append(sum(s.mean for s in written.surprise if s is not None) / len(batch))
    assert means[-1] < 0.9 * means[0]


async def test_filters_neighbours_and_context(engine: Engine) -> None:
    await create(engine)
    await engine.write("t", [*turns(10, session="x"), *turns(10, start=10, session="y")])
    found = await engine.reads.recall(
        "t", "thing at noon", k=20, filter=Filter.parse("y", None, None, None, ""), max_tokens=5000
    )
    assert {hit.entry.payload.id for hit in found.hits} == {f"e{i}" for i in range(10, 20)}
    assert found.context.count('"session": "y"') == 10
    found = await engine.reads.recall("t", turns(1, start=5)[0].id, k=1, neighbours=2)
    (hit,) = found.hits
    at = int(hit.entry.payload.id[1:])
    low, high = (0, 9) if at < 10 else (10, 19)
    assert [e.payload.id for e in hit.before] == [f"e{i}" for i in range(max(low, at - 2), at)]
    assert [e.payload.id for e in hit.after] == [f"e{i}" for i in range(at + 1, min(high, at + 2) + 1)]


async def test_a_full_queue_refuses_with_a_delay_and_holds_no_more(tmp_path) -> None:
    async with running(tmp_path / "d", tenant_queue_bytes=20_000, queue_bytes=30_000) as engine:
        await create(engine, "a")
        await create(engine, "b")
        for tenant in ("a", "b"):
            await state(engine, tenant)
        release = asyncio.Event()
        loop = asyncio.get_running_loop()
        # The thread stands still, so nothing is applied.
        blocked = engine.thread.call(lambda: asyncio.run_coroutine_threadsafe(release.wait(), loop).result())
        big = "word " * 1500
        await engine.write("a", [payload("1", big)])
        await engine.write("a", [payload("2", big)])
        with pytest.raises(ResourceExhaustedError) as refused:
            await engine.write("a", [payload("3", big)])
        assert refused.value.retry_after > 0
        assert refused.value.reason == "QUEUE_FULL"
        await engine.write("b", [payload("1", big)])
        with pytest.raises(ResourceExhaustedError):
            await engine.write("b", [payload("2", big)])
        waiting = asyncio.create_task(engine.write_waiting("b", [payload("2", big)]))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        release.set()
        await blocked
        assert (await (await waiting)).ids == ("2",)
        for tenant in ("a", "b"):
            await state(engine, tenant)
        await engine.write("a", [payload("3", big)])
        assert len((await engine.reads.recall("a", "word", k=9)).hits) == 3


async def test_what_is_on_its_way_to_the_log_counts_and_a_tenant_takes_no_more_than_its_own_part(tmp_path) -> None:
    async with running(tmp_path / "d", tenant_queue_bytes=20_000, queue_bytes=30_000) as engine:
        for tenant in ("a", "b"):
            await create(engine, tenant)
            await state(engine, tenant)
        big = "word " * 1500
        writes = [engine.write("a", [payload(str(i), big)]) for i in range(10)]
        results = await asyncio.gather(*writes, engine.write("b", [payload("1", big)]), return_exceptions=True)
        refused = [result for result in results if isinstance(result, ResourceExhaustedError)]
        assert len(refused) == 8
        assert not isinstance(results[-1], Exception), "the other tenant has room"
        for tenant in ("a", "b"):
            await state(engine, tenant)
        assert engine.admission.queued == 0


async def test_a_tenant_that_goes_with_what_waits_gives_its_room_back(tmp_path) -> None:
    async with running(tmp_path / "d", tenant_queue_bytes=20_000, queue_bytes=30_000) as engine:
        big, loop = "word " * 1500, asyncio.get_running_loop()
        for tenant in ("a", "b", "c"):
            await create(engine, tenant)
            await state(engine, tenant)
        release = asyncio.Event()
        blocked = engine.thread.call(lambda: asyncio.run_coroutine_threadsafe(release.wait(), loop).result())
        for tenant in ("a", "b"):
            await engine.write(tenant, [payload("1", big)])
        gone = [asyncio.create_task(engine.delete_tenant("a", "r")), asyncio.create_task(engine.shut("b"))]
        await asyncio.sleep(0.05)
        for id in ("1", "2"):
            await engine.write("c", [payload(id, big)])
        release.set()
        await asyncio.gather(blocked, *gone)
        for tenant in ("b", "c"):
            await state(engine, tenant)
        assert engine.admission.queued == 0


async def test_a_cancelled_write_that_entered_the_log_is_applied(engine: Engine) -> None:
    await create(engine)
    tasks = [asyncio.create_task(engine.write("t", [payload(f"c{i}", f"cancelled {i}")])) for i in range(30)]
    await asyncio.sleep(0.001)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.sleep(0.05)
    row = await engine.get_tenant("t")
    logged = [e.payload.id for e in await engine.store.scan(row.uid, 0, 100)]
    found = await engine.reads.recall("t", "cancelled", k=100)
    assert sorted(hit.entry.payload.id for hit in found.hits) == sorted(logged)


async def test_a_failed_write_whose_writer_has_left_is_not_logged_as_a_defect(engine: Engine, monkeypatch) -> None:
    """A stream ends where its client goes; what it had begun to append may fail after that."""
    await create(engine)
    told: list[dict] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context))

    async def fails(*_) -> None:
        raise UnavailableError("the store is gone")

    monkeypatch.setattr(engine, "_append", fails)
    writing = weakref.ref(await engine.write_waiting("t", turns(1)))
    for _ in range(10):
        await asyncio.sleep(0)
    gc.collect()
    assert writing() is None
    assert not told


async def test_one_broken_tenant_breaks_nobody_else(engine: Engine, monkeypatch) -> None:
    await create(engine, "sound")
    await create(engine, "broken")
    await engine.write("sound", turns(3))
    await engine.write("broken", turns(3))
    await state(engine, "broken")
    async with engine.using("broken") as opened:
        monkeypatch.setattr(opened.view, "finish", lambda *_: 1 / 0)
    with pytest.raises(UnavailableError):
        await engine.write("broken", turns(3, start=3), applied=True)
    await engine.write("sound", turns(3, start=3), applied=True)
    assert len((await engine.reads.recall("sound", "thing", k=9)).hits) == 6
    assert len((await engine.reads.recall("broken", "thing", k=9)).hits) == 6, "folded afresh from the log"


async def test_delete_and_create_again_is_another_tenant(engine: Engine) -> None:
    await create(engine)
    await engine.write("t", turns(5))
    first = await engine.get_tenant("t")
    await engine.delete_tenant("t", "del")
    await engine.delete_tenant("t", "del")
    with pytest.raises(NotFoundError):
        await engine.reads.recall("t", "thing", k=1)
    with pytest.raises(NotFoundError):
        await engine.write("t", turns(1))
    await engine.create_tenant("t", engine.config.memory, "create-2")
    assert (await engine.get_tenant("t")).uid != first.uid
    assert not (await engine.reads.recall("t", "thing", k=9)).hits
    await engine.write("t", turns(1), applied=True)
    assert len((await engine.reads.recall("t", "thing", k=9)).hits) == 1


async def test_deleting_under_load_ends_waiting_calls(engine: Engine) -> None:
    await create(engine)
    writes = [asyncio.create_task(engine.write("t", turns(5, start=i * 5), applied=True)) for i in range(10)]
    await asyncio.sleep(0.005)
    await engine.delete_tenant("t", "del")
    results = await asyncio.wait_for(asyncio.gather(*writes, return_exceptions=True), 30)
    assert all(not isinstance(r, BaseException) or isinstance(r, MemsvcError) for r in results)


async def test_waiting_for_surprise_leaves_no_trace_in_the_state(engine: Engine) -> None:
    for tenant, applied in (("t", True), ("twin", False)):
        await create(engine, tenant)
        await engine.write(tenant, turns(2), applied=applied)
    assert await state(engine) == await state(engine, "twin")


async def test_a_tenant_leaves_memory_and_comes_back(tmp_path) -> None:
    async with running(tmp_path / "d", max_open_tenants=2, snapshot_min_tokens=1, unload_idle_s=0.5) as engine:
        for i in range(5):
            await create(engine, f"t{i}")
            await engine.write(f"t{i}", turns(30, session=str(i)), applied=True)
        hashes = [await state(engine, f"t{i}") for i in range(5)]
        for _ in range(100):
            if not engine.opened():
                break
            await asyncio.sleep(0.1)
        assert not engine.opened()
        assert [await state(engine, f"t{i}") for i in range(5)] == hashes


async def test_a_tenant_that_left_gives_its_room_back_at_once(tmp_path) -> None:
    gc.disable()  # nothing may wait for a collection: they are rare in a large process
    try:
        async with running(tmp_path / "d", unload_small_idle_s=0.1) as engine:
            await create(engine)
            await engine.write("t", turns(3), applied=True)
            view = weakref.ref(engine.opened()[0].view)
            for _ in range(100):
                if not engine.opened():
                    break
                await asyncio.sleep(0.1)
            assert not engine.opened()
            await asyncio.sleep(0.1)
            assert view() is None
    finally:
        gc.enable()


async def test_a_tenant_that_is_watched_is_saved_all_the_same(tmp_path) -> None:
    async with running(tmp_path / "d", snapshot_min_tokens=1, snapshot_idle_s=0.2) as engine:
        await create(engine)
        written = await engine.write("t", turns(30), applied=True)
        for _ in range(100):
            if (await engine.reads.stats("t", state_hash=False)).snapshot_seq == written.seq:
                return
            await asyncio.sleep(0.1)
    pytest.fail("the tenant was never saved")


async def test_a_damaged_snapshot_is_passed_over_and_told(tmp_path) -> None:
    async with running(tmp_path / "d", snapshot_min_tokens=1) as engine:
        await create(engine)
        await engine.write("t", turns(40))
        expected = await state(engine)
    with sqlite3.connect(tmp_path / "d" / "views.db") as db:
        db.execute("UPDATE chunks SET data = zeroblob(length(data))")
    db.close()
    async with running(tmp_path / "d") as engine:
        assert await state(engine) == expected
        assert any("snapshot" in warning for warning in (await engine.reads.stats("t", state_hash=False)).warnings)


async def test_text_that_the_encoder_does_not_know_is_told(tmp_path) -> None:
    async with running(tmp_path / "d", encoder="minilm") as engine:
        await create(engine)
        await engine.write("t", [payload("d", "ACGTACGTTAGC" * 40)], applied=True)
        assert any("does not know" in w for w in (await engine.reads.stats("t", state_hash=False)).warnings)


async def test_close_is_prompt_and_the_store_is_free_again(tmp_path) -> None:
    async with running(tmp_path / "d") as engine:
        await create(engine)
        await engine.write("t", turns(200))
    store = SqliteStore.open(tmp_path / "d")
    await store.close()

"""Settings, restarts, revisions and deletions: what they change at once, and what a replay of the log makes of them."""

import asyncio

import pytest

from memsvc.engine.engine import Engine
from memsvc.errors import AlreadyExistsError, InvalidArgumentError, NotFoundError
from memsvc.tenant.record import decode_payload
from tests.engine.conftest import create, payload, running, state, turns


async def found(engine: Engine, query: str, k: int = 5) -> list[str]:
    return [hit.entry.payload.id for hit in (await engine.reads.recall("t", query, k=k)).hits]


async def test_settings_change_at_a_point_in_the_stream_and_replay_to_the_same_state(tmp_path) -> None:
    async with running(tmp_path / "d", snapshot_min_tokens=10**9) as engine:
        await create(engine)
        await engine.write("t", turns(40))
        await engine.changes.update_tenant("t", {"eta": 0.5, "half_life": 200.0}, "r1")
        again = await engine.changes.update_tenant("t", {"eta": 0.5, "half_life": 200.0}, "r1")
        await engine.write("t", turns(40, start=40))
        await engine.changes.hot_restart("t", "r2")
        await engine.write("t", turns(40, start=80))
        expected = await state(engine)
        stats = await engine.reads.stats("t", state_hash=False)
        assert again.tenant == "t"
        assert (stats.config.eta, stats.config.half_life) == (0.5, 200.0)
        assert stats.head_seq == 6
        assert stats.totals.restarts == 1
        assert stats.restart_left > 0
        verified = await engine.changes.verify("t")
        assert verified.state_hash == verified.folded_hash == expected
    async with running(tmp_path / "d", snapshot_min_tokens=10**9) as engine:
        assert await state(engine) == expected


async def test_settings_make_a_difference(tmp_path) -> None:
    async with running(tmp_path / "d") as engine:
        hashes = []
        for name, change in (("a", None), ("b", {"theta": 0.5})):
            await create(engine, name)
            if change:
                await engine.changes.update_tenant(name, change, f"u-{name}")
            await engine.write(name, turns(40))
            hashes.append(await state(engine, name))
    assert hashes[0] != hashes[1]


async def test_depth_is_fixed_and_wrong_values_change_nothing(engine: Engine) -> None:
    await create(engine)
    for changes, field in (({"layers": 4}, "layers"), ({"eta": 1.5}, "eta")):
        with pytest.raises(InvalidArgumentError, match=field):
            await engine.changes.update_tenant("t", changes, "")
    assert (await engine.reads.stats("t", state_hash=False)).head_seq == 1


async def test_a_new_revision_takes_the_old_ones_place(engine: Engine) -> None:
    await create(engine)
    await engine.write("t", [payload("a", "the parcel has code zzqx"), *turns(10)])
    await engine.changes.update_entry("t", payload("a", "the parcel has code wwpy"), "u1")
    assert (await found(engine, "wwpy"))[0] == "a"
    assert (await engine.reads.get_entry("t", "a")).payload.data == payload("a", "the parcel has code wwpy").data
    hits = (await engine.reads.recall("t", "zzqx", k=20)).hits
    assert len(hits) == 11
    assert all(b"zzqx" not in hit.entry.payload.data for hit in hits)
    listed, _ = await engine.reads.list_entries("t", 0, 100, _any(), 1 << 20)
    assert [e.payload.id for e in listed].count("a") == 1
    assert (await engine.reads.stats("t", state_hash=False)).entries == 11
    # A retry of the first Write is still the same Write.
    assert (await engine.write("t", [payload("a", "the parcel has code zzqx")])).skipped == (True,)
    with pytest.raises(AlreadyExistsError):
        await engine.write("t", [payload("a", "the parcel has code wwpy")])
    with pytest.raises(NotFoundError):
        await engine.changes.update_entry("t", payload("none", "x"), "u2")


async def test_a_deleted_entry_is_in_no_answer_and_the_weights_stay(engine: Engine) -> None:
    await create(engine)
    await engine.write("t", turns(30))
    await state(engine)
    before = await engine.reads.stats("t", state_hash=False)
    seq, kept = await engine.changes.delete_entry("t", "e3", "d1")
    assert kept
    assert (await engine.changes.delete_entry("t", "e3", "d1"))[0] == seq
    assert "e3" not in await found(engine, "turn 3 thing", k=30)
    with pytest.raises(NotFoundError) as gone:
        await engine.reads.get_entry("t", "e3")
    assert gone.value.reason == "DELETED"
    after = await engine.reads.stats("t", state_hash=False)
    assert after.entries == before.entries - 1
    assert after.weight_norms == before.weight_norms
    assert (await engine.changes.verify("t")).folded_hash == await state(engine)


async def test_what_is_not_learnt_is_found_and_leaves_the_weights_alone(engine: Engine) -> None:
    await create(engine, "a")
    await create(engine, "b")
    quiet = [payload(f"q{i}", f"quiet note {i} about copper lanterns", learn=False) for i in range(30)]
    await engine.write("a", turns(40))
    await engine.write("b", turns(20))
    await engine.write("b", quiet)
    await engine.write("b", turns(20, start=20))
    await state(engine, "a"), await state(engine, "b")
    a, b = [await engine.reads.stats(t, state_hash=False) for t in ("a", "b")]
    assert a.weight_norms == b.weight_norms
    assert a.totals == b.totals
    assert b.entries == 70
    hit = (await engine.reads.recall("b", "copper lanterns", k=1)).hits[0]
    assert hit.entry.payload.id.startswith("q")
    _, kept = await engine.changes.delete_entry("b", "q7", "d")
    assert not kept
    assert (await engine.changes.verify("b")).folded_hash == await state(engine, "b")


async def test_events_are_told_from_a_seq_on_and_as_they_come(engine: Engine) -> None:
    await create(engine)
    await engine.changes.update_tenant("t", {"theta": 0.1}, "u")
    seq = await engine.changes.hot_restart("t", "r")
    seen = []

    async def watch() -> None:
        async for event in engine.changes.watch("t", 0):
            seen.append((event.seq, event.kind))
            if len(seen) == 4:
                return

    task = asyncio.create_task(watch())
    await asyncio.sleep(0.2)
    assert seen == [(2, "configured"), (3, "restart")]
    await engine.changes.hot_restart("t", "r3")
    await engine.changes.update_tenant("t", {"theta": 0.2}, "u2")
    await asyncio.wait_for(task, 10)
    assert seen[2:] == [(seq + 1, "restart"), (seq + 2, "configured")]


def _any():
    from memsvc.recall.filter import Filter

    return Filter()


async def test_what_is_replaced_as_it_is_found_is_found_in_its_new_revision(engine: Engine, monkeypatch) -> None:
    await create(engine)
    await engine.write("t", [*turns(5), payload("a", "the harbour froze over")], applied=True)
    fetch, updates = engine.store.entries, iter(["the harbour froze again"])

    async def entries(*args):
        for text in updates:
            await engine.changes.update_entry("t", payload("a", text), "")
        return await fetch(*args)

    monkeypatch.setattr(engine.store, "entries", entries)
    hits = (await engine.reads.recall("t", "the harbour froze", k=3)).hits
    assert [hits[0].entry.payload.id, len(hits)] == ["a", 3]
    assert decode_payload(hits[0].entry.payload).text == "the harbour froze again"

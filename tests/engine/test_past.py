"""The past: asked, brought back, and never with what was forgotten."""

import asyncio
import random

import pytest

from memsvc.engine import past
from memsvc.engine.engine import Engine
from memsvc.engine.past import Moment
from memsvc.errors import AlreadyExistsError, FailedPreconditionError, NotFoundError, OutOfRangeError, UnavailableError
from memsvc.tenant.policies import Policies
from tests.engine.conftest import create, payload, running, state, turns
from tests.engine.test_erasure import SECRET, erased
from tests.engine.test_resampling import EVERY

QUERIES = ("thing 7 met thing", "noon", "turn 12")


async def write_all(engine: Engine, tenant: str, batches: list) -> list[int]:
    return [(await engine.write(tenant, batch)).seq for batch in batches]


async def answers(engine: Engine, tenant: str, as_of: Moment | None = None) -> list:
    """What recall says, scores and parts included."""
    found = [await engine.reads.recall(tenant, query, k=50, neighbours=1, as_of=as_of) for query in QUERIES]
    return [
        (f.applied_seq, [(h.ranked, h.entry.payload.id, [e.payload.id for e in (*h.before, *h.after)]) for h in f.hits])
        for f in found
    ]


async def ids(engine: Engine, tenant: str = "t", as_of: Moment | None = None) -> list[str]:
    page, _ = await engine.reads.list_entries(tenant, 0, 1000, EVERY, 1 << 20, as_of=as_of)
    return [entry.payload.id for entry in page]


@pytest.mark.parametrize("snapshots", ["none", "log_spaced", "all"])
async def test_recall_as_of_a_record_is_recall_from_that_prefix(tmp_path, snapshots) -> None:
    batches = [turns(n, start) for start, n in ((0, 3), (3, 9), (12, 1), (13, 12), (25, 5), (30, 10))]
    async with running(tmp_path / "d", snapshot_min_tokens=1, snapshot_idle_s=1000.0) as engine:
        await create(engine, policies=Policies(snapshots=snapshots))
        seqs = []
        for batch in batches:
            seqs.append((await engine.write("t", batch, applied=True)).seq)
            async with engine.using("t") as opened:
                await engine.keeper.snapshot(opened)
        live = await answers(engine, "t")
        for i, seq in enumerate(seqs):
            await create(engine, f"p{i}")
            await write_all(engine, f"p{i}", batches[: i + 1])
            assert await answers(engine, "t", Moment(seq=seq)) == await answers(engine, f"p{i}")
            assert await ids(engine, as_of=Moment(seq=seq)) == await ids(engine, f"p{i}")
        assert await answers(engine, "t") == live, "asking changes nothing"
        assert len(engine.past._views) <= past.KEPT_VIEWS
        kept, _ = (await engine.reads.stats("t", state_hash=False)).snapshots
        assert kept == {"none": 2, "log_spaced": kept, "all": 6}[snapshots]


async def test_a_past_that_nobody_asks_leaves_the_memory(engine: Engine) -> None:
    await create(engine)
    await engine.write("t", turns(5))
    await answers(engine, "t", Moment(seq=2))
    await engine.past.let_go()
    assert len(engine.past._views) == 1, "it was asked a moment ago"
    await engine.past.let_go(0.0)
    assert not engine.past._views
    lanes = await engine.thread.call(lambda: list(engine.thread.runner._views))
    assert lanes == [(await engine.get_tenant("t")).uid]
    assert await answers(engine, "t", Moment(seq=2))


async def test_entries_are_what_they_were(engine: Engine) -> None:
    await create(engine)
    first = (await engine.write("t", [payload("a", "one"), payload("b", "two")])).seq
    second = await engine.changes.update_entry("t", payload("a", "three"), "")
    third, _ = await engine.changes.delete_entry("t", "b", "")
    for seq, length in ((first, 3), (second, 5)):
        entry = await engine.reads.get_entry("t", "a", Moment(seq=seq))
        assert (
            entry
            == (await engine.store.entries(entry_uid := (await engine.get_tenant("t")).uid, [entry.number], seq))[0]
        )
        assert entry_uid
        assert len(entry.payload.data) > length
    assert await ids(engine, as_of=Moment(seq=second)) == ["b", "a"]
    assert await ids(engine, as_of=Moment(seq=third)) == ["a"]
    with pytest.raises(NotFoundError):
        await engine.reads.get_entry("t", "b", Moment(seq=third))
    for seq in (0, third + 1):
        with pytest.raises(OutOfRangeError):
            await engine.reads.recall("t", "one", k=1, as_of=Moment(seq=seq))


async def test_a_time_names_the_last_record_before_it(engine: Engine) -> None:
    await create(engine)
    times = []
    for i in range(3):
        seq = (await engine.write("t", turns(2, 2 * i))).seq
        (record,) = await engine.store.read((await engine.get_tenant("t")).uid, seq - 1, 1)
        times.append((seq, record.commit_us))
        await asyncio.sleep(0.005)
    for seq, time_us in times:
        assert await answers(engine, "t", Moment(time_us=time_us)) == await answers(engine, "t", Moment(seq=seq))
    with pytest.raises(OutOfRangeError):
        await engine.reads.recall("t", "one", k=1, as_of=Moment(time_us=times[0][1] - 3_600_000_000))


async def test_what_is_forgotten_is_in_no_past_nor_copy(tmp_path) -> None:
    async with running(tmp_path / "d", snapshot_min_tokens=1) as engine:
        for tenant in ("t", "twin"):
            await create(engine, tenant)
            await engine.write(tenant, turns(10), applied=True)
            if tenant == "t":
                await engine.write("t", SECRET)
            await engine.write(tenant, turns(10, 10), applied=True)
        moment = Moment(seq=3)  # with the secrets
        before = await engine.reads.recall("t", "zanzibar", k=50, as_of=moment)
        assert {h.entry.payload.id for h in before.hits} >= {p.id for p in SECRET}
        await engine.eraser.stop()  # the fold waits; the past must not
        forgetting = await engine.changes.forget("t", [p.id for p in SECRET], None, "f")
        for _ in range(2):
            then = await engine.reads.recall("t", "zanzibar", k=50, as_of=moment)
            twin = await engine.reads.recall("twin", "zanzibar", k=50, as_of=Moment(seq=2))
            assert [(h.ranked.score, h.entry.payload.id) for h in then.hits] == [
                (h.ranked.score, h.entry.payload.id) for h in twin.hits
            ]
            engine.eraser.start()
            await erased(engine, forgetting.erasure.operation)
        row = await engine.copies.restore("t", moment, "copy", "r")
        assert row.tenant == "copy"
        assert await state(engine, "copy") == await hash_as_of(engine, "twin", 2)
        with pytest.raises(FailedPreconditionError, match="forgotten"):
            await engine.write("copy", [SECRET[0]])
    for file in (tmp_path / "d").iterdir():
        assert b"zanzibar" not in file.read_bytes()


async def hash_as_of(engine: Engine, tenant: str, seq: int) -> str:
    async with engine.using(tenant) as opened, engine.past.using(opened, seq) as then:
        return await engine.state_hash(then)


async def test_a_restored_tenant_is_what_it_was(engine: Engine) -> None:
    await create(engine)
    dice = random.Random(1)
    await write_all(engine, "t", [turns(dice.randint(1, 9), 10 * i) for i in range(6)])
    await engine.changes.update_entry("t", payload("e0", "revised"), "")
    await engine.changes.delete_entry("t", "e10", "")
    for seq in (2, 5, 8, 9):
        row = await engine.copies.restore("t", Moment(seq=seq), f"r{seq}", f"q{seq}")
        assert await engine.copies.restore("t", Moment(seq=seq), f"r{seq}", f"q{seq}") == row, "a retry"
        assert await state(engine, f"r{seq}") == await hash_as_of(engine, "t", seq)
        assert await ids(engine, f"r{seq}") == await ids(engine, "t", Moment(seq=seq))
        verified = await engine.changes.verify(f"r{seq}")
        assert verified.state_hash == verified.folded_hash
    with pytest.raises(AlreadyExistsError):
        await engine.copies.restore("t", Moment(seq=2), "r5", "other")
    await engine.write("r5", turns(3, 200), applied=True)
    assert "e200" not in await ids(engine, "t")
    assert (await engine.changes.forget("t", ["e20"], None, "")).copies == (
        "tenant r2",
        "tenant r5",
        "tenant r8",
        "tenant r9",
    )


@pytest.mark.parametrize("confirmed", [True, False])
async def test_a_restore_in_place_is_confirmed_or_undone(tmp_path, confirmed) -> None:
    async with running(tmp_path / "d", snapshot_min_tokens=1) as engine:
        await create(engine)
        await engine.write("t", turns(10), applied=True)
        past_hash = await state(engine)
        await engine.write("t", [payload("late", "a thing called quixotry"), *turns(10, 10)], applied=True)
        late_hash = await state(engine)
        with pytest.raises(FailedPreconditionError):
            await engine.copies.undo("t", "u")
        await engine.copies.restore("t", Moment(seq=2), "", "r")
        assert await state(engine) == past_hash
        assert (await engine.reads.stats("t", state_hash=False)).restore_pending
        for refused in (
            engine.changes.forget("t", ["e1"], None, ""),
            engine.copies.restore("t", Moment(seq=1), "", "s"),
        ):
            with pytest.raises(FailedPreconditionError) as caught:
                await refused
            assert caught.value.reason == "RESTORE_PENDING"
        await engine.write("t", turns(2, 50), applied=True)
    async with running(tmp_path / "d") as engine:
        for _ in range(2):  # the second is a retry
            await (engine.copies.confirm("t", "c") if confirmed else engine.copies.undo("t", "u"))
        assert not (await engine.reads.stats("t", state_hash=False)).restore_pending
        if confirmed:
            assert (await ids(engine))[-2:] == ["e50", "e51"]
        else:
            assert await state(engine) == late_hash
        await engine.changes.forget("t", ["e1"], None, "")
    held = b"".join(file.read_bytes() for file in (tmp_path / "d").iterdir())
    assert (b"quixotry" in held) == (not confirmed)


async def test_a_restore_is_undone_once(engine: Engine) -> None:
    """Whoever asks again has the answer of the first time, and what was written since stays."""
    await create(engine)
    await engine.write("t", turns(10), applied=True)
    await engine.copies.restore("t", Moment(seq=1), "", "r")
    back = await engine.copies.undo("t", "u")
    await engine.write("t", turns(2, 50), applied=True)
    assert await engine.copies.undo("t", "u") == back
    assert (await ids(engine))[-1] == "e51"
    await engine.copies.restore("t", Moment(seq=1), "", "r2")
    with pytest.raises(NotFoundError):
        await engine.copies.undo("t", "u")
    assert await ids(engine) == []


async def test_an_undo_that_could_not_finish_serves_what_is_back(engine: Engine, monkeypatch) -> None:
    await create(engine)
    await engine.write("t", turns(10), applied=True)
    before = await state(engine)
    await engine.copies.restore("t", Moment(seq=1), "", "r")
    unpark = engine.store.unpark

    async def broken(uid: str, request_id: str) -> None:
        await unpark(uid, request_id)
        raise UnavailableError("the disk is full")

    monkeypatch.setattr(engine.store, "unpark", broken)
    with pytest.raises(UnavailableError):
        await engine.copies.undo("t", "u")
    assert await state(engine) == before
    monkeypatch.setattr(engine.store, "unpark", unpark)
    await engine.copies.undo("t", "u")
    await engine.write("t", turns(1, 50), applied=True)

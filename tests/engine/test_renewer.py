"""After an erasure the snapshots of the past are there again, and know nothing of what was forgotten."""

import asyncio

from memsvc.engine.engine import Engine
from memsvc.engine.past import Moment
from memsvc.tenant.policies import Policies
from tests.engine.conftest import create, running, turns
from tests.engine.test_erasure import SECRET, erased

BATCHES = 6


async def fill(engine: Engine, *tenants: str, snapshots: str = "all") -> None:
    """Batches of 8 turns, a snapshot after each; what is secret comes to `t` alone, with the second."""
    for tenant in tenants:
        await create(engine, tenant, Policies(snapshots=snapshots))
        for i in range(BATCHES):
            secret = SECRET if tenant == "t" and i == 1 else []
            await engine.write(tenant, [*turns(8, 8 * i), *secret], applied=True)
            async with engine.using(tenant) as opened:
                await engine.keeper.snapshot(opened)


async def saved(engine: Engine, tenant: str = "t") -> list[int]:
    """The records that its snapshots are of, the newest first."""
    uid, seqs, before = (await engine.get_tenant(tenant)).uid, [], None
    while (snapshot := (await engine.store.load(uid, before)).snapshot) is not None:
        before = snapshot.seq
        seqs.append(before)
    return seqs


async def until_saved(engine: Engine, expected: list[int]) -> None:
    for _ in range(300):
        if await saved(engine) == expected:
            return
        await asyncio.sleep(0.05)
    assert await saved(engine) == expected


async def told(engine: Engine, tenant: str, seq: int) -> list[tuple[str, float]]:
    found = await engine.reads.recall(tenant, "thing 7 met thing at noon", k=100, as_of=Moment(seq=seq))
    return [(hit.entry.payload.id, hit.ranked.score) for hit in found.hits]


async def check_past(engine: Engine, seqs: list[int]) -> None:
    for seq in seqs:
        assert await told(engine, "t", seq) == await told(engine, "twin", seq)
        async with engine.using("t") as opened, engine.past.using(opened, seq) as then:
            assert then.snapshot_seq == seq, "nothing had to be folded"


async def test_the_snapshots_of_the_past_come_back(tmp_path) -> None:
    async with running(tmp_path / "d", snapshot_min_tokens=1, snapshot_idle_s=1000.0) as engine:
        await fill(engine, "t", "twin")
        before = await saved(engine)
        assert len(before) == BATCHES
        forgetting = await engine.changes.forget("t", [p.id for p in SECRET], None, "f")
        await erased(engine, forgetting.erasure.operation)
        await until_saved(engine, before)
        await check_past(engine, before)
        assert not engine.eraser._renewer._owed
    for file in (tmp_path / "d").iterdir():
        assert b"zanzibar" not in file.read_bytes()


async def test_another_erasure_comes_first_and_none_is_lost(tmp_path, monkeypatch) -> None:
    async with running(tmp_path / "d", snapshot_min_tokens=1, snapshot_idle_s=1000.0) as engine:
        await fill(engine, "t", "twin")
        before, snapshot, second = await saved(engine), engine.keeper.snapshot, []

        async def forget_and_save(view, **options) -> None:
            """What is saved here still has what is forgotten here."""
            if not second:
                second.append(await engine.changes.forget("t", [p.id for p in SECRET[3:]], None, "f2"))
            await snapshot(view, **options)

        monkeypatch.setattr(engine.keeper, "snapshot", forget_and_save)
        first = await engine.changes.forget("t", [p.id for p in SECRET[:3]], None, "f1")
        await erased(engine, first.erasure.operation)
        await until_saved(engine, before)
        await erased(engine, second[0].erasure.operation)
        await until_saved(engine, before)
        await check_past(engine, before)
    for file in (tmp_path / "d").iterdir():
        assert b"zanzibar" not in file.read_bytes()


async def test_where_none_are_kept_none_are_made(tmp_path) -> None:
    async with running(tmp_path / "d", snapshot_min_tokens=1, snapshot_idle_s=1000.0) as engine:
        await fill(engine, "t", snapshots="none")
        forgetting = await engine.changes.forget("t", [SECRET[0].id], None, "f")
        await erased(engine, forgetting.erasure.operation)
        await asyncio.gather(*engine.eraser._under_way.values())
        assert await saved(engine) == []

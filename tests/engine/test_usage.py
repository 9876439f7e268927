"""What a tenant holds is known as soon as it is committed, however little of it is applied."""

from memsvc.engine import opened
from memsvc.engine.engine import Engine
from memsvc.tenant.policies import Policies
from tests.engine.conftest import create, payload, running, state, turns


async def entries(engine: Engine) -> int:
    return await engine.reads.held_entries("t")


async def test_entries_count_once_from_the_commit_on(engine: Engine) -> None:
    await create(engine)
    for i in range(40):
        await engine.write("t", turns(5, start=5 * i))
        assert await entries(engine) == 5 * (i + 1)
    await engine.write("t", turns(5))
    assert await entries(engine) == 200, "they were there"
    await engine.changes.delete_entry("t", "e7", "")
    await engine.changes.update_entry("t", payload("e8", "told anew"), "")
    await engine.changes.forget("t", ["e9", "e10"], None, "")
    await state(engine)
    assert await entries(engine) == (await engine.reads.stats("t", state_hash=True)).entries == 197


async def test_what_is_evicted_is_not_held(engine: Engine) -> None:
    await create(engine, policies=Policies(max_entries=50))
    await engine.write("t", turns(80), applied=True)
    held = await entries(engine)
    assert held == (await engine.reads.stats("t", state_hash=True)).entries <= 50


async def test_what_was_there_before_a_start_counts(tmp_path, monkeypatch) -> None:
    async with running(tmp_path / "data", snapshot_min_tokens=1 << 30) as engine:
        await create(engine)
        for i in range(10):
            await engine.write("t", turns(10, start=10 * i))
    monkeypatch.setattr(opened, "PAGE_BYTES", 1)
    async with running(tmp_path / "data") as engine:
        assert await entries(engine) == 100, "though it is read from the log a record at a time"
        await engine.write("t", turns(10, start=100))
        assert await entries(engine) == 110


async def test_bytes_are_those_of_the_log(tmp_path) -> None:
    async with running(tmp_path / "data", snapshot_min_tokens=1) as engine:
        await create(engine)
        before = await engine.reads.held_bytes("t")
        await engine.write("t", [payload(str(i), "x" * 5_000, learn=False) for i in range(4)], applied=True)
        written = await engine.reads.held_bytes("t")
        assert 20_000 <= written - before < 25_000
        async with engine.using("t") as tenant:
            await engine.keeper.snapshot(tenant)
        assert await engine.reads.held_bytes("t") == written, "a snapshot is not the tenant's doing"
        for i in range(4):
            await engine.changes.delete_entry("t", str(i), "")
        assert await engine.reads.held_bytes("t") < before + 5_000

"""Forget: afterwards the state is what it would have been had the text never been written."""

import asyncio
from contextlib import suppress
from dataclasses import replace

import pytest

from memsvc.engine.engine import Engine
from memsvc.engine.opened import OpenTenant
from memsvc.errors import FailedPreconditionError, NotFoundError
from memsvc.recall.filter import Filter
from memsvc.store.types import Destroyed
from tests.engine.conftest import create, payload, running, state, turns

SECRET = [payload(f"s{i}", f"the secret {i} is zanzibar{i} and tells of marzipan", session="vault") for i in range(6)]


async def erased(engine: Engine, operation: str) -> None:
    for _ in range(300):
        if (await engine.changes.erasure(operation)).receipt is not None:
            return
        await asyncio.sleep(0.05)
    pytest.fail("the erasure did not end")


async def fill(engine: Engine, tenant: str, *, secret: bool, at: int, snapshot: int | None = None) -> None:
    """60 turns in batches of 10, the secrets before batch `at`; a snapshot after batch `snapshot`."""
    await create(engine, tenant)
    for i in range(6):
        if secret and i == at:
            await engine.write(tenant, SECRET)
        await engine.write(tenant, turns(10, start=10 * i))
        if i == snapshot:
            await state(engine, tenant)
            async with engine.using(tenant) as opened:
                await engine.keeper.snapshot(opened)
                assert opened.snapshot_seq > 0
    if secret and at == 6:
        await engine.write(tenant, SECRET)


@pytest.mark.parametrize("at", [0, 3, 6])
@pytest.mark.parametrize("snapshot", [None, 1, 4])
async def test_the_state_is_that_of_a_tenant_that_never_had_it(tmp_path, at, snapshot) -> None:
    async with running(tmp_path / "d", snapshot_min_tokens=1, snapshot_idle_s=1000.0) as engine:
        await fill(engine, "twin", secret=False, at=0)
        await fill(engine, "t", secret=True, at=at, snapshot=snapshot)
        twin = await state(engine, "twin")
        assert await state(engine) != twin
        forgetting = await engine.changes.forget("t", [], Filter(session="vault"), "f")
        assert forgetting.erasure.entries == len(SECRET)
        again = await engine.changes.forget("t", [], Filter(session="vault"), "f")
        assert again.erasure.operation == forgetting.erasure.operation
        assert not any(
            h.entry.payload.id.startswith("s") for h in (await engine.reads.recall("t", "zanzibar", k=70)).hits
        )
        await erased(engine, forgetting.erasure.operation)
        assert await state(engine) == twin
        done = await engine.changes.erasure(forgetting.erasure.operation)
        assert done.receipt.hash_after == twin != done.receipt.hash_before
        assert done.receipt.bytes_destroyed > sum(len(p.data) for p in SECRET)
        assert (await engine.changes.verify("t")).folded_hash == twin
        with pytest.raises(FailedPreconditionError):
            await engine.write("t", [SECRET[0]])
        await engine.write("twin", turns(10, start=60))
        await engine.write("t", turns(10, start=60))
        assert await state(engine) == await state(engine, "twin")
    async with running(tmp_path / "d") as engine:
        assert await state(engine) == await state(engine, "twin")
    for file in (tmp_path / "d").iterdir():
        assert b"zanzibar" not in file.read_bytes()


async def test_revisions_and_deletions_of_it_are_forgotten_too(tmp_path) -> None:
    async with running(tmp_path / "d") as engine:
        await create(engine)
        await create(engine, "twin")
        await engine.write("t", [*turns(20), SECRET[0], SECRET[1]])
        await engine.changes.update_entry("t", payload("s0", "now the secret is zanzibar nine"), "u")
        await engine.changes.delete_entry("t", "s1", "d")
        await engine.write("t", turns(20, start=20))
        await engine.write("twin", turns(20))
        await engine.write("twin", turns(20, start=20))
        forgetting = await engine.changes.forget("t", ["s0", "s1"], None, "f")
        assert forgetting.erasure.entries == 3
        await erased(engine, forgetting.erasure.operation)
        assert await state(engine) == await state(engine, "twin")
        with pytest.raises(NotFoundError):
            await engine.changes.forget("t", ["s0"], None, "f2")


async def test_it_goes_on_after_a_crash_and_beside_writes(tmp_path) -> None:
    async with running(tmp_path / "d", snapshot_min_tokens=1) as engine:
        await fill(engine, "twin", secret=False, at=0)
        await fill(engine, "t", secret=True, at=2)
        await engine.eraser.stop()  # as if killed before the fold began
        first = await engine.changes.forget("t", ["s0", "s1"], None, "f1")
        second = await engine.changes.forget("t", [p.id for p in SECRET[2:]], None, "f2")
        with pytest.raises(FailedPreconditionError, match="under way"):
            await engine.changes.verify("t")
    async with running(tmp_path / "d") as engine:
        for i in range(6, 12):
            for tenant in ("t", "twin"):
                await engine.write(tenant, turns(10, start=10 * i))
        for forgetting in (first, second):
            await erased(engine, forgetting.erasure.operation)
        assert await state(engine) == await state(engine, "twin")
        assert not await engine.store.unfinished_erasures()


async def test_a_restart_that_the_text_caused_is_forgotten_with_it(engine: Engine) -> None:
    """And one that it did not cause stays."""
    drifting = {"chunk": 32, "drift": True, "drift_sigma": 2.0, "drift_windows": 1, "restart_tokens": 600}
    plain = [payload(f"p{i}", "the same few words again and again " * 8) for i in range(90)]
    strange = [payload(f"x{i}", " ".join(f"zanzibar{i * 31 + j}" for j in range(40))) for i in range(10)]
    for tenant in ("t", "twin"):
        await create(engine, tenant, **drifting)
        await engine.write(tenant, plain[:75])
        if tenant == "t":
            await engine.write(tenant, strange)
        await engine.changes.hot_restart(tenant, f"by hand {tenant}")
        await engine.write(tenant, plain[75:])
        await state(engine, tenant)
    restarts = {t: (await engine.reads.stats(t, state_hash=False)).totals.restarts for t in ("t", "twin")}
    assert restarts["t"] > restarts["twin"] >= 1, "the text caused one"
    forgetting = await engine.changes.forget("t", [p.id for p in strange], None, "f")
    await erased(engine, forgetting.erasure.operation)
    assert await state(engine) == await state(engine, "twin")


async def test_nothing_that_matches_is_said(engine: Engine) -> None:
    await create(engine)
    await engine.write("t", turns(5))
    for ids, filter in ((["none"], None), ([], Filter(session="none")), (["e1"], Filter(session="none"))):
        with pytest.raises(NotFoundError):
            await engine.changes.forget("t", ids, filter, "")
    with pytest.raises(NotFoundError):
        await engine.changes.erasure("none")


async def test_one_after_another_each_takes_the_place_of_the_last(engine: Engine) -> None:
    await create(engine)
    await create(engine, "twin")
    await engine.write("t", [*turns(30), *SECRET])
    await engine.write("twin", turns(30))
    for secret in SECRET:
        await erased(engine, (await engine.changes.forget("t", [secret.id], None, "")).erasure.operation)
        assert (await engine.changes.verify("t")).folded_hash == await state(engine)
    assert await state(engine) == await state(engine, "twin")


async def test_what_waits_is_erased_in_one_fold(engine: Engine, monkeypatch) -> None:
    for tenant in ("t", "twin"):
        await create(engine, tenant)
        await engine.write(tenant, [*turns(20), *(SECRET if tenant == "t" else [])], applied=True)
    await engine.eraser.stop()
    waiting = [(await engine.changes.forget("t", [secret.id], None, "")).erasure.operation for secret in SECRET]
    shadow, folds = engine.shadow, []

    def counted(*args, **options):
        folds.append(args)
        return shadow(*args, **options)

    monkeypatch.setattr(engine, "shadow", counted)
    engine.eraser.start()
    for operation in waiting:
        await erased(engine, operation)
    assert len(folds) == 1
    assert len({(await engine.changes.erasure(operation)).receipt for operation in waiting}) == 1
    assert await state(engine) == await state(engine, "twin")


async def test_a_receipt_says_when_the_files_are_behind(tmp_path, monkeypatch) -> None:
    async with running(tmp_path / "d") as engine:
        await create(engine)
        await engine.write("t", [*turns(5), SECRET[0]])
        erase = engine.store.erase

        async def behind(uid: str, first_seq: int) -> Destroyed:
            return replace(await erase(uid, first_seq), files_pending=True)

        monkeypatch.setattr(engine.store, "erase", behind)
        operation = (await engine.changes.forget("t", [SECRET[0].id], None, "")).erasure.operation
        await erased(engine, operation)
    async with running(tmp_path / "d") as engine:
        receipt = (await engine.changes.erasure(operation)).receipt
        assert (receipt.files_pending, receipt.bytes_destroyed > 0) == (True, True)


async def test_it_waits_for_a_verification(tmp_path, monkeypatch) -> None:
    """Forgotten and erased while the log is folded afresh: what was folded and what lives would differ."""
    async with running(tmp_path / "d", snapshot_min_tokens=1, snapshot_idle_s=1000.0) as engine:
        await fill(engine, "t", secret=True, at=6, snapshot=5)
        follow = OpenTenant.follow

        async def forget_and_follow(self: OpenTenant, shadow: OpenTenant, *args) -> None:
            monkeypatch.setattr(OpenTenant, "follow", follow)
            forgetting = await engine.changes.forget("t", [], Filter(session="vault"), "f")
            with suppress(TimeoutError):
                async with asyncio.timeout(0.5):
                    await erased(engine, forgetting.erasure.operation)
            await follow(self, shadow, *args)

        monkeypatch.setattr(OpenTenant, "follow", forget_and_follow)
        found = await engine.changes.verify("t")
        assert found.state_hash == found.folded_hash
        erasure = await engine.changes.forget("t", [], Filter(session="vault"), "f")
        await erased(engine, erasure.erasure.operation)

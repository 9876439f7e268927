"""A tenant's bytes depend on its log alone: not on requests, neighbours, restarts or readers."""

import asyncio
import random

import pytest

from memsvc.recall.kmer import KmerEncoder
from memsvc.recall.passages import Encoded
from memsvc.store.types import RecordKind
from memsvc.tenant.policies import Policies
from tests.engine.conftest import create, payload, running, state, turns

CUTS = [[60], [1] * 60, [7, 13, 1, 39], [59, 1]]


@pytest.fixture
async def expected(tmp_path) -> str:
    async with running(tmp_path / "expected") as engine:
        await create(engine)
        await engine.write("t", turns(60))
        return await state(engine)


@pytest.mark.parametrize("cuts", CUTS, ids=lambda c: f"{len(c)}-requests")
async def test_requests_leave_no_trace(engine, expected, cuts) -> None:
    await create(engine)
    entries = turns(60)
    for n in cuts:
        await engine.write("t", entries[:n])
        entries = entries[n:]
    assert await state(engine) == expected


async def test_neighbours_leave_no_trace(engine, expected) -> None:
    names = ["t", *(f"other{i}" for i in range(63))]
    for name in names:
        await create(engine, name)
    rng = random.Random(0)

    async def stream(name: str) -> None:
        entries = turns(60) if name == "t" else turns(20, start=rng.randrange(1000), session=name)
        while entries:
            n = rng.randrange(1, 9)
            await engine.write(name, entries[:n])
            entries = entries[n:]
            await asyncio.sleep(0)

    await asyncio.gather(*map(stream, names))
    hashes = [await state(engine, name) for name in names]
    assert hashes[0] == expected
    assert len(set(hashes)) == len(names)


async def test_readers_leave_no_trace(engine, expected) -> None:
    await create(engine)

    async def read() -> None:
        for i in range(30):
            await engine.reads.recall("t", f"thing {i}", k=3, min_seq=0)
            await engine.reads.stats("t", state_hash=True)

    async def write() -> None:
        entries = turns(60)
        for i in range(0, 60, 4):
            await engine.write("t", entries[i : i + 4])
            await asyncio.sleep(0)

    await asyncio.gather(read(), write())
    assert await state(engine) == expected


@pytest.mark.parametrize("snapshots", [True, False], ids=["snapshots", "log-only"])
async def test_restarts_leave_no_trace(tmp_path, expected, snapshots) -> None:
    entries = turns(60)
    minimum = 1 if snapshots else 10**9
    for i in range(0, 60, 20):
        async with running(tmp_path / "data", snapshot_min_tokens=minimum) as engine:
            if i == 0:
                await create(engine)
            await engine.write("t", entries[i : i + 20], applied=True)
            if i == 40:
                async with engine.using("t") as opened:
                    assert (opened.snapshot_seq > 0) == snapshots
    async with running(tmp_path / "data") as engine:
        assert await state(engine) == expected
        found = await engine.reads.recall("t", "thing 1000 met", k=60)
        assert sorted(hit.entry.payload.id for hit in found.hits) == sorted(e.id for e in entries)


async def test_another_tenants_text_makes_another_state(engine, expected) -> None:
    await create(engine)
    await engine.write("t", [*turns(59), payload("e59", "another text")])
    assert await state(engine) != expected


async def test_a_changed_numerics_is_a_record_and_adopts_the_snapshot(tmp_path, expected) -> None:
    async with running(tmp_path / "data", snapshot_min_tokens=1) as engine:
        await create(engine)
        await engine.write("t", turns(60))
        await state(engine)
    async with running(tmp_path / "data") as engine:
        engine.thread.runner.fingerprint = "another machine"
        assert await state(engine) == expected
        assert (await engine.reads.stats("t", state_hash=False)).fingerprint == "another machine"
        row = await engine.get_tenant("t")
        kinds = [record.kind for record in await engine.store.read(row.uid, 0, 1 << 20)]
        assert kinds == [RecordKind.CREATE, RecordKind.WRITE, RecordKind.NUMERICS]


@pytest.mark.parametrize("policy", ["none", "all"])
async def test_under_another_encoder_a_tenant_is_folded_saved_and_leaves(tmp_path, monkeypatch, policy) -> None:
    async with running(tmp_path / "d", snapshot_min_tokens=1) as engine:
        await create(engine, policies=Policies(snapshots=policy), chunk=16)
        await engine.write("t", turns(40), applied=True)
        first = await state(engine)
    encode = KmerEncoder._encode

    def other(self, passages):
        encoded = encode(self, passages)
        return Encoded(-encoded.states, -encoded.pooled)

    with monkeypatch.context() as patch:
        patch.setattr(KmerEncoder, "fingerprint", "other")
        patch.setattr(KmerEncoder, "_encode", other)
        async with running(tmp_path / "d", snapshot_min_tokens=1) as engine:
            second = await state(engine)
            tenant = engine.find("t")
            assert tenant is not None
            assert await engine.keeper.unload(tenant)
            assert await state(engine) == second != first
            assert engine.find("t").snapshot_seq == 2, "it was restored"
    async with running(tmp_path / "d", snapshot_min_tokens=1) as engine:
        assert await state(engine) == first

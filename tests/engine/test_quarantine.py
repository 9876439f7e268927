"""A chunk that is not finite is one tenant's affair."""

import asyncio

import numpy as np

from memsvc.recall.encoder import Encoded
from tests.engine.conftest import create, payload, running, state, turns

TENANTS = 64
POISON = "poison"


async def fold(directory, *, poison: bool) -> tuple[list[str], list, list]:
    """64 tenants at once, one of which is given something that breaks its arithmetic; hashes, its events, its hits."""
    async with running(directory, slots=8) as engine:
        encoder = engine.thread.runner.encoder
        split, encode = encoder.split, encoder.encode
        bad: list[bytes] = []

        def marking(texts):
            splits = split(texts)
            bad.extend(
                p.ids.tobytes() for text, s in zip(texts, splits, strict=True) if POISON in text for p in s.passages
            )
            return splits

        def breaking(passages):
            return [
                Encoded(np.full_like(e.states, np.nan), e.pooled) if poison and p.ids.tobytes() in bad else e
                for p, e in zip(passages, encode(passages), strict=True)
            ]

        encoder.split, encoder.encode = marking, breaking
        for i in range(TENANTS):
            await create(engine, f"t{i}", chunk=8)

        async def stream(i: int) -> None:
            await engine.write(f"t{i}", turns(6, 6 * i))
            if i == 7:
                await engine.write("t7", [payload("x", f"{POISON} and more of it, at length")])
            await engine.write(f"t{i}", turns(6, 1000 + 6 * i), applied=True)

        await asyncio.gather(*(stream(i) for i in range(TENANTS)))
        hashes = [await state(engine, f"t{i}") for i in range(TENANTS)]
        async with engine.using("t7") as opened:
            await opened.wait_applied(opened.head_seq)  # on a busy machine it may have left the memory since
            events = [e for e in opened.view.events if e.kind == "quarantine"]
            assert opened.view.totals.skipped == len(events)
        found = await engine.reads.recall("t7", "thing met thing at noon", k=100)
        return hashes, events, [hit.entry.payload.id for hit in found.hits]


async def test_one_tenant_among_many_and_its_stream_goes_on(tmp_path) -> None:
    hashes, events, found = await fold(tmp_path / "bad", poison=True)
    clean, none, _ = await fold(tmp_path / "good", poison=False)
    assert [i for i in range(TENANTS) if hashes[i] != clean[i]] == [7]
    assert events
    assert not none
    assert len(found) == 13, "what was acknowledged is found, the poison too"

"""A tenant's own settings hold from its first token on."""

import math

import pytest

from memsvc.errors import InvalidArgumentError
from memsvc.memory.config import LEAST, MOST, MemoryConfig
from tests.engine.conftest import create, running, state, turns


async def test_a_chunk_of_another_size_holds_from_the_first_token(tmp_path) -> None:
    async with running(tmp_path / "d") as engine:
        await create(engine, "small", chunk=32, replay=0)
        await create(engine, "large", chunk=128, replay=0)
        for tenant in ("small", "large"):
            await engine.write(tenant, turns(20), applied=True)
        small, large = [await engine.reads.stats(tenant, state_hash=False) for tenant in ("small", "large")]
    assert small.totals.chunks == small.totals.tokens // 32 > 0
    assert large.totals.chunks == large.totals.tokens // 128 > 0
    async with running(tmp_path / "d") as engine:  # folded from the log, CREATE and WRITE in one window
        await state(engine, "small")
        again = await engine.reads.stats("small", state_hash=True)
        assert again.totals == small.totals


@pytest.mark.parametrize("setting", ["theta", "replay_gain", "curvature", "radius", "clip", "drift_sigma"])
@pytest.mark.parametrize("value", [LEAST, MOST])
async def test_no_settings_that_are_legal_end_the_fold_of_anyone(engine, setting, value) -> None:
    """theta times a gain may be more than a number can be, or less than one above 0."""
    await create(engine, "odd", **{"chunk": 32, "replay": 1, setting: value})
    await create(engine, "other", chunk=32)
    await engine.changes.hot_restart("odd", "restart")
    for tenant in ("odd", "other"):
        await engine.write(tenant, turns(20))
    for tenant in ("odd", "other"):
        assert (await engine.reads.recall(tenant, "thing", k=30)).hits
        assert not (await engine.reads.stats(tenant, state_hash=False)).totals.skipped


def test_a_number_that_the_thread_takes_for_zero_is_refused_at_once() -> None:
    for setting in ("theta", "replay_gain", "curvature", "radius", "clip", "drift_sigma"):
        with pytest.raises(InvalidArgumentError, match=setting):
            MemoryConfig(**{setting: 1e-310})


async def test_a_memory_without_bounds_expects_nothing_and_hides_nothing(engine) -> None:
    """Finite weights whose products are not finite: what the memory expects of the query is no number."""
    none = {"curvature": 1e300, "radius": 1e300}
    await create(engine, layers=12, chunk=32, replay=0, eta=0.9, theta=1e3, clip=1e4, **none)
    await engine.write("t", turns(4), applied=True)
    hits = (await engine.reads.recall("t", "thing 5 met", k=3)).hits
    assert len(hits) == 3
    assert all(math.isfinite(hit.ranked.score) for hit in hits)

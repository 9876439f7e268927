"""A tenant's own settings hold from its first token on."""

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

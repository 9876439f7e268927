"""Turns: of one name one at a time, in order; of others at once; and none is remembered."""

import asyncio

import pytest

from memsvc.store.redis.turns import Turns


async def test_one_name_takes_turns_in_order_and_another_does_not_wait() -> None:
    turns, log = Turns(), []

    async def work(name: str, number: int) -> None:
        async with turns.of(name):
            log.append((name, number, "in"))
            await asyncio.sleep(0)
            log.append((name, number, "out"))

    async with turns.of("held"):
        waiting = asyncio.create_task(work("held", 0))
        await asyncio.gather(*(work("free", number) for number in range(3)))
        assert [entry[1:] for entry in log] == [(n, at) for n in range(3) for at in ("in", "out")]
        assert not waiting.done()
    await waiting


async def test_who_fails_or_goes_away_hands_on_the_turn() -> None:
    turns = Turns()
    with pytest.raises(ZeroDivisionError):
        async with turns.of("a"):
            raise ZeroDivisionError
    async with turns.of("a"):
        gone = asyncio.create_task(turns.of("a").__aenter__())
        await asyncio.sleep(0)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
    async with asyncio.timeout(5), turns.of("a"):
        pass
    assert turns._locks == {}

"""Background work ends when it is told to, also where a cancellation gets lost."""

import asyncio

from memsvc import tasks


async def test_a_loop_that_loses_a_cancellation_ends_all_the_same(monkeypatch) -> None:
    monkeypatch.setattr(tasks, "AGAIN_S", 0.01)
    lost = 0

    async def loop() -> None:
        nonlocal lost
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                if lost == 2:
                    raise
                lost += 1

    going = asyncio.create_task(loop())
    await asyncio.sleep(0)
    await tasks.end(going, None)
    assert going.cancelled()
    assert lost == 2


async def test_all_are_ended_at_once_and_what_is_over_stays_as_it_is() -> None:
    async def answer() -> int:
        return 42

    over = asyncio.create_task(answer())
    assert await over == 42
    going = [asyncio.create_task(asyncio.sleep(60)) for _ in range(3)]
    await tasks.end(over, *going)
    assert over.result() == 42
    assert all(task.cancelled() for task in going)


async def test_who_is_cancelled_while_it_ends_others_hears_it() -> None:
    async def stubborn() -> None:
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                if ended:
                    raise

    ended: list[bool] = []
    going = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    ending = asyncio.create_task(tasks.end(going))
    await asyncio.sleep(0)
    ending.cancel()
    await asyncio.wait([ending])
    assert ending.cancelled()
    ended.append(True)
    await tasks.end(going)

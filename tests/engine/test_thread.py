"""The engine's thread: in which order it does what is asked of it."""

import asyncio
import threading
import time

from memsvc.engine.thread import UNIT_READ_S
from tests.engine.conftest import create, payload


async def test_a_job_runs_before_what_is_written_after_it_however_many_questions_wait(engine) -> None:
    """Or a comparison of two views, and the exchange of one for the other, would be of different records."""
    await create(engine)
    async with engine.using("t") as opened:
        first = (await engine.write("t", [payload("a", "before")])).seq
        await opened.wait_applied(first)
        held = threading.Event()
        hold = engine.thread.call(held.wait)
        questions = [engine.thread.call(lambda: time.sleep(2 * UNIT_READ_S), read=True) for _ in range(5)]
        asked = engine.thread.call_at_boundary(lambda: opened.key, lambda: opened.view.applied_seq)
        second = (await engine.write("t", [payload("b", "after")])).seq
        held.set()
        assert await asked == first
        await opened.wait_applied(second)
        await asyncio.gather(hold, *questions)


async def test_questions_that_take_long_let_ingest_have_its_turn(engine) -> None:
    await create(engine)
    async with engine.using("t") as opened:
        held, done = threading.Event(), list[int]()
        hold = engine.thread.call(held.wait)
        questions = [
            engine.thread.call(lambda: (time.sleep(2 * UNIT_READ_S), done.append(1)), read=True) for _ in range(20)
        ]
        # However long the disk takes: the questions begin when the record is there.
        seq = (await engine.write("t", [payload("a", "text")])).seq
        held.set()
        await opened.wait_applied(seq)
        assert len(done) < len(questions)
        await asyncio.gather(hold, *questions)

"""Calls take turns on one thread, and end each by itself."""

import asyncio
import threading
from contextlib import aclosing
from pathlib import Path

import pytest

from memsvc.backbone.base import Prompt
from memsvc.backbone.hf_passes import Passes
from memsvc.errors import (
    ResourceExhaustedError,
    UnavailableError,
)
from tests.backbone.hf_build import LINES, LONG, answer, ask, build, opened, save


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    return save(tmp_path_factory.mktemp("tiny"))


async def test_short_answers_do_not_wait_for_long_ones(tiny) -> None:
    ended = []

    async def run(name: str, prompt: Prompt) -> None:
        await answer(backbone, prompt)
        ended.append(name)

    async with opened(tiny) as backbone:
        long = asyncio.create_task(run("long", ask(LONG, max_tokens=300)))
        await asyncio.sleep(0)
        await asyncio.gather(*(run(f"short {i}", ask("hi", max_tokens=5)) for i in range(3)))
        assert "long" not in ended
        await long


class Gate:
    """Holds the passes of a model, and counts them; it notes on which threads they are."""

    def __init__(self, monkeypatch) -> None:
        self.passes, self.threads = 0, set()
        self.free = threading.Event()
        self.free.set()
        forward = Passes.next

        def gated(passes, ids, cache):
            self.passes += 1
            self.threads.add(threading.current_thread().name)
            assert self.free.wait(60)
            return forward(passes, ids, cache)

        monkeypatch.setattr(Passes, "next", gated)


@pytest.fixture
def gate(monkeypatch) -> Gate:
    return Gate(monkeypatch)


async def test_a_caller_that_leaves_stops_the_model(tiny, gate) -> None:
    async with opened(tiny) as backbone:
        async with aclosing(backbone.generate(ask(LINES[0], max_tokens=400))) as items:
            await anext(items)
            gate.free.clear()
        before = gate.passes
        gate.free.set()
        await answer(backbone, ask("hi", max_tokens=1))
        # The pass under way, and the one of the second prompt, whose first token needs no other.
        assert gate.passes <= before + 2


async def test_the_event_loop_computes_nothing(tiny, gate) -> None:
    async with opened(tiny) as backbone:
        await answer(backbone, ask(LONG))
    assert gate.threads == {"memsvc-backbone"}


async def test_more_calls_than_may_wait_are_refused(tiny, gate) -> None:
    async with opened(tiny, running=1, waiting=2) as backbone:
        gate.free.clear()
        calls = [asyncio.create_task(answer(backbone, ask("hi", max_tokens=3))) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(ResourceExhaustedError) as caught:
            await answer(backbone, ask("hi"))
        assert caught.value.reason == "BACKBONE_BUSY"
        assert caught.value.retry_after
        # Whoever leaves makes room.
        calls[2].cancel()
        await asyncio.wait(calls[2:])
        calls[2] = asyncio.create_task(answer(backbone, ask("hi", max_tokens=3)))
        await asyncio.sleep(0)
        gate.free.set()
        assert len({said for said, _ in await asyncio.gather(*calls)}) == 1


async def test_the_end(tiny, gate) -> None:
    backbone = build(f"hf:{tiny}")
    with pytest.raises(UnavailableError):
        await answer(backbone, ask("hi"))
    await backbone.start()
    gate.free.clear()
    calls = [asyncio.create_task(answer(backbone, ask("hi", max_tokens=400))) for _ in range(12)]
    await asyncio.sleep(0)
    closing = asyncio.create_task(backbone.close())
    await asyncio.sleep(0)
    gate.free.set()
    await closing
    ends = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(end, UnavailableError) for end in ends)
    assert not any(thread.name == "memsvc-backbone" for thread in threading.enumerate())
    with pytest.raises(UnavailableError):
        await answer(backbone, ask("hi"))


async def test_a_backbone_that_never_began_is_closed() -> None:
    await build("hf:none").close()


async def test_it_may_be_closed_while_it_loads(tiny) -> None:
    backbone = build(f"hf:{tiny}")
    starting = asyncio.create_task(backbone.start())
    await asyncio.sleep(0)
    await asyncio.wait_for(backbone.close(), 60)
    await starting
    with pytest.raises(UnavailableError):
        await answer(backbone, ask("hi"))


async def test_an_answer_that_fails_takes_no_other_along(tiny, monkeypatch, caplog) -> None:
    forward = Passes.next

    def failing(passes, ids, cache):
        logits = forward(passes, ids, cache)
        # Whose prompt is short.
        return logits * float("nan") if cache.get_seq_length() < 40 else logits

    async with opened(tiny) as backbone:
        wanted = await answer(backbone, ask(LONG))
        monkeypatch.setattr(Passes, "next", failing)
        good, bad = await asyncio.gather(
            answer(backbone, ask(LONG)), answer(backbone, ask("hi secret")), return_exceptions=True
        )
    assert good == wanted
    assert isinstance(bad, UnavailableError)
    assert bad.reason == "BACKBONE_FAILED"
    assert "secret" not in caplog.text

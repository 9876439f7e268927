"""What a server does wrong in a stream, before the first token and after it."""

import asyncio
import logging
from contextlib import suppress

import pytest

from memsvc.backbone import openai_retries
from memsvc.backbone.base import Piece, Usage
from memsvc.errors import DeadlineExceededError, ResourceExhaustedError, UnavailableError
from tests.backbone.stub_caller import ASKED, KEY, ask, build, gather
from tests.backbone.stub_openai import Behaviour, Exchange, Stub, answers, cut, hang, refuses, reset

WELL = answers("Ada")


@pytest.fixture(autouse=True)
def quick(monkeypatch) -> None:
    """Waits are a hundredth."""
    monkeypatch.setattr(openai_retries, "FIRST_WAIT_S", 0.005)


# What goes wrong once the head of an answer is out.


async def end(to: Exchange) -> None:
    """As if all had been said, which nothing says."""
    await to.end()


async def fault(to: Exchange) -> None:
    await to.event({"error": {"message": "out of memory", "type": "server_error", "code": 500}})


async def plain_fault(to: Exchange) -> None:
    await to.event({"error": "CUDA out of memory"})


async def named_fault(to: Exchange) -> None:
    await to.raw(b"event: error\ndata: out of memory\n\n")


async def malformed(to: Exchange) -> None:
    await to.event('{"choices": [{"delta": {"content": "b"')


async def array(to: Exchange) -> None:
    await to.event([1, 2])


async def mistyped(to: Exchange) -> None:
    await to.event({"choices": [{"delta": {"content": {"text": "b"}}}]})


async def nested(to: Exchange) -> None:
    await to.event("[" * 100_000)


async def filtered(to: Exchange) -> None:
    await to.text("", finish_reason="content_filter")


async def giant_line(to: Exchange) -> None:
    with suppress(ConnectionError):  # it may be left before it has said all
        await to.raw(b'data: {"choices": [{"delta": {"content": "' + b"x" * (3 << 20) + b'"}}]}\n\n')


async def endless_event(to: Exchange) -> None:
    with suppress(ConnectionError):
        for _ in range(300):
            await to.raw(b"data: " + b"x" * 10_000 + b"\n")


async def too_much_text(to: Exchange) -> None:
    with suppress(ConnectionError):
        for _ in range(200):
            await to.text("x" * 100)


def begun(then: Behaviour, *, text: str = "", chunked: bool = True) -> Behaviour:
    """Return what begins well, with or without text, and goes on otherwise."""

    async def behave(to: Exchange) -> None:
        to.chunked = chunked
        await to.stream()
        await to.event({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})
        if text:
            await to.text(text)
        await then(to)

    return behave


WRONG = {
    cut: ("BACKBONE_FAILED", True),
    reset: ("BACKBONE_FAILED", True),
    end: ("BACKBONE_FAILED", True),
    fault: ("BACKBONE_FAILED", True),
    plain_fault: ("BACKBONE_FAILED", True),
    named_fault: ("BACKBONE_FAILED", True),
    malformed: ("BACKBONE_FAILED", False),
    array: ("BACKBONE_FAILED", False),
    mistyped: ("BACKBONE_FAILED", False),
    nested: ("BACKBONE_FAILED", False),
    filtered: ("BACKBONE_FAILED", False),
    giant_line: ("BACKBONE_FAILED", False),
    endless_event: ("BACKBONE_FAILED", False),
}
"""What goes wrong in a stream, and whether it is tried again before a token."""


@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize("wrong", WRONG, ids=lambda w: w.__name__)
async def test_after_a_token_nothing_is_tried_again(wrong, chunked) -> None:
    stub = Stub(begun(wrong, text="Ada", chunked=chunked), WELL)
    pieces, _, error = await ask(stub)
    assert isinstance(error, UnavailableError)
    assert error.reason == "BACKBONE_FAILED"
    assert pieces == ["Ada"]
    assert len(stub.requests) == 1


@pytest.mark.parametrize("wrong", WRONG, ids=lambda w: w.__name__)
async def test_before_a_token_what_may_pass_is_tried_again(wrong) -> None:
    stub = Stub(begun(wrong), WELL)
    pieces, _, error = await ask(stub)
    reason, again = WRONG[wrong]
    if again:
        assert (pieces, error, len(stub.requests)) == (["Ada"], None, 2)
    else:
        assert isinstance(error, UnavailableError)
        assert (error.reason, pieces, len(stub.requests)) == (reason, [], 1)


async def test_an_answer_longer_than_its_tokens_can_be_ends() -> None:
    pieces, _, error = await ask(Stub(begun(too_much_text)))
    assert isinstance(error, UnavailableError)
    assert "more text" in str(error)
    assert len("".join(pieces)) <= 16 * 64 + 1024


@pytest.mark.parametrize("wrong", [reset, cut, hang])
async def test_after_the_reason_for_the_end_all_is_well(wrong) -> None:
    async def behave(to: Exchange) -> None:
        await begun(lambda to: to.text("Ada", finish_reason="stop"))(to)
        await wrong(to)

    pieces, usage, error = await ask(Stub(behave), idle_timeout_s=0.05)
    assert (pieces, usage, error) == (["Ada"], Usage("stop", 0, 0, 1), None)


# Timeouts.


@pytest.mark.parametrize("text", ["", "Ada"])
@pytest.mark.parametrize("head", [True, False])
async def test_every_token_has_a_time_after_which_the_server_is_let_go(head, text) -> None:
    stub = Stub(begun(hang, text=text) if head or text else hang)
    async with stub.serve():
        backbone = build(stub.url, first_timeout_s=10 if text else 0.1, idle_timeout_s=0.1 if text else 10)
        pieces, _, error = await gather(backbone)
        assert isinstance(error, DeadlineExceededError)
        assert (error.reason, pieces, len(stub.requests)) == ("BACKBONE_TIMEOUT", [text] if text else [], 1)
        await asyncio.wait_for(stub.left.wait(), 10)
        await backbone.close()


async def test_what_is_no_token_does_not_count_as_one() -> None:
    async def drip(to: Exchange) -> None:
        with suppress(ConnectionError):
            while True:
                await to.raw(b": still here\n\n")
                await to.event({"choices": []})
                await asyncio.sleep(0.01)

    _, _, error = await ask(Stub(begun(drip, text="Ada")), idle_timeout_s=0.1)
    assert isinstance(error, DeadlineExceededError)


async def test_a_slow_drip_is_fine() -> None:
    pieces, _, error = await ask(Stub(answers(*"drip", pause_s=0.1)), first_timeout_s=10, idle_timeout_s=10)
    assert (pieces, error) == (list("drip"), None)


async def test_the_time_is_for_all_attempts() -> None:
    stub = Stub(refuses(500, None), hang)
    _, _, error = await ask(stub, first_timeout_s=0.2)
    assert isinstance(error, DeadlineExceededError)
    assert len(stub.requests) == 2


async def test_who_waits_for_a_place_waits_no_longer_than_for_a_token() -> None:
    async with Stub(begun(hang, text="Ada")).serve() as stub:
        backbone = build(stub.url, concurrency=1, first_timeout_s=0.3)
        first = backbone.generate(ASKED)
        assert await anext(first) == Piece("Ada")
        with pytest.raises(ResourceExhaustedError) as caught:
            await anext(backbone.generate(ASKED))
        assert caught.value.reason == "BACKBONE_BUSY"
        await first.aclose()
        assert await anext(backbone.generate(ASKED)) == Piece("Ada")  # its place is free again
        await backbone.close()


# The key.


async def test_the_key_is_in_no_log_and_no_repr(caplog) -> None:
    caplog.set_level(logging.DEBUG)
    for behaviour in (WELL, refuses(401, None), refuses(500, None), begun(cut)):
        stub = Stub(behaviour)
        await ask(stub, retries=1)
        assert stub.requests[0].headers["authorization"] == f"Bearer {KEY}"
    backbone = build("http://127.0.0.1:1/v1")
    assert KEY not in f"{backbone!r}{backbone.name}{vars(backbone)!r}{caplog.text}"
    assert "who?" not in caplog.text
    await backbone.close()

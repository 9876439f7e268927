"""What a server refuses, and whether, when and how it is asked again."""

import asyncio
import json
import socket
import time
from email.utils import formatdate

import pytest

from memsvc.backbone import openai_retries
from memsvc.backbone.base import Usage
from memsvc.errors import (
    DeadlineExceededError,
    FailedPreconditionError,
    InvalidArgumentError,
    ResourceExhaustedError,
    UnavailableError,
)
from tests.backbone.stub_caller import ASKED, KEY, ask, build, gather
from tests.backbone.stub_openai import Exchange, Stub, answers, cut, refuses, reset

WELL = answers("Ada")


@pytest.fixture(autouse=True)
def quick(monkeypatch) -> None:
    """Waits are a hundredth."""
    monkeypatch.setattr(openai_retries, "FIRST_WAIT_S", 0.005)


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504])
async def test_what_may_pass_is_asked_again(status) -> None:
    stub = Stub(refuses(status, {"message": "later"}), refuses(status, None), WELL)
    assert await ask(stub) == (["Ada"], Usage("stop", 0, 0, 1), None)
    assert len(stub.requests) == 3


@pytest.mark.parametrize(
    ("status", "error", "reason"),
    [
        (408, DeadlineExceededError, "BACKBONE_TIMEOUT"),
        (409, UnavailableError, "BACKBONE_FAILED"),
        (429, ResourceExhaustedError, "BACKBONE_BUSY"),
        (500, UnavailableError, "BACKBONE_FAILED"),
        (503, UnavailableError, "BACKBONE_FAILED"),
    ],
)
async def test_but_not_for_ever(status, error, reason) -> None:
    stub = Stub(refuses(status, {"message": "later\x1b[31m\n" + "z" * 5000}))
    came = await ask(stub, retries=1)
    assert type(came.error) is error
    assert came.error.reason == reason
    assert "later [31m zzz" in str(came.error)
    assert len(str(came.error)) < 300
    assert len(stub.requests) == 2


@pytest.mark.parametrize(
    ("status", "body", "error", "reason", "says"),
    [
        (400, {"message": "no such field: seed"}, FailedPreconditionError, "BACKBONE_REFUSED", "seed"),
        (401, {"message": f"bad key {KEY[:9]}"}, FailedPreconditionError, "BACKBONE_REFUSED", "key"),
        (403, {"message": "not for you"}, FailedPreconditionError, "BACKBONE_REFUSED", "key"),
        (404, {"message": "no model m"}, FailedPreconditionError, "BACKBONE_REFUSED", "no model m"),
        (405, "Method Not Allowed", FailedPreconditionError, "BACKBONE_REFUSED", "405"),
        (422, {"message": "no template"}, FailedPreconditionError, "BACKBONE_REFUSED", "no template"),
        (400, {"code": "context_length_exceeded"}, InvalidArgumentError, "PROMPT_TOO_LONG", "window"),
        (400, {"type": "exceed_context_size_error"}, InvalidArgumentError, "PROMPT_TOO_LONG", "window"),
        (400, {"message": "maximum context length is 9"}, InvalidArgumentError, "PROMPT_TOO_LONG", "is 9"),
        (
            422,
            "`inputs` tokens + `max_new_tokens` must be <= 9. Given: 8 `inputs` tokens",
            InvalidArgumentError,
            "PROMPT_TOO_LONG",
            "Given: 8",
        ),
        (413, "<html>", InvalidArgumentError, "PROMPT_TOO_LONG", "window"),
    ],
)
async def test_what_stays_wrong_is_asked_once(status, body, error, reason, says) -> None:
    stub = Stub(refuses(status, body), WELL)
    came = await ask(stub)
    assert type(came.error) is error
    assert came.error.reason == reason
    assert says in str(came.error)
    assert KEY[:9] not in str(came.error)
    assert len(stub.requests) == 1
    if isinstance(came.error, InvalidArgumentError):
        assert came.error.field == "prompt"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"message": "only 1 is supported", "param": "temperature", "code": "unsupported_value"}, "temperature"),
        ({"message": "at most 9", "param": "max_completion_tokens", "type": "invalid_request_error"}, "max_tokens"),
        ({"detail": [{"loc": ["body", "top_p"], "msg": "must be above 0"}]}, "top_p"),
    ],
)
@pytest.mark.parametrize("status", [400, 422])
async def test_a_setting_that_is_refused_is_named(status, body, field) -> None:
    stub = Stub(refuses(status, body), WELL)
    error = (await ask(stub)).error
    assert isinstance(error, InvalidArgumentError)
    assert (error.field, error.reason) == (field, "BACKBONE_REFUSED")
    assert body.get("message", "") in str(error)
    assert len(stub.requests) == 1


@pytest.mark.parametrize(
    "body",
    [
        {"param": "messages"},
        {"param": ["seed"]},
        {"detail": [{"loc": []}, {"loc": "seed"}, "seed"]},
        {"detail": "seed"},
    ],
)
async def test_what_is_refused_and_is_no_setting_is_not_taken_for_one(body) -> None:
    assert isinstance((await ask(Stub(refuses(400, body)))).error, FailedPreconditionError)


async def test_a_stream_can_say_that_the_prompt_is_too_long() -> None:
    async def behave(to: Exchange) -> None:
        await to.stream()
        await to.event({"error": {"message": "the context length is 9", "code": 400}})

    assert isinstance((await ask(Stub(behave))).error, InvalidArgumentError)


async def test_the_key_is_not_repeated_when_the_server_does() -> None:
    came = await ask(Stub(refuses(400, {"message": f"Authorization: Bearer {KEY} is odd"})))
    assert "Bearer *** is odd" in str(came.error)


async def test_an_error_is_not_read_past_its_limit() -> None:
    async def behave(to: Exchange) -> None:
        await to.head(500, content_type="text/plain")
        for _ in range(64):
            await to.raw(b"x" * (1 << 20))
        await to.end()

    stub = Stub(behave)
    async with stub.serve():
        backbone = build(stub.url, retries=0)
        came = await gather(backbone)
        assert isinstance(came.error, UnavailableError)
        await asyncio.wait_for(stub.left.wait(), 10)
        await backbone.close()


async def test_an_answer_that_is_no_stream() -> None:
    came = await ask(Stub(refuses(200, json.dumps({"choices": [{"message": {"content": "a"}}]}))))
    assert isinstance(came.error, UnavailableError)
    assert "text/event-stream" in str(came.error)


# Waits that a server asks for.


async def test_the_wait_that_a_server_names_is_kept() -> None:
    stub, began = Stub(refuses(429, None, retry_after="0.3"), WELL), time.monotonic()
    assert (await ask(stub)).pieces == ["Ada"]
    assert time.monotonic() - began >= 0.3


@pytest.mark.parametrize(
    ("header", "least", "most"),
    [("120", 120, 120), ("1e9", 3600, 3600), ("inf", 3600, 3600), ("a date", 900, 1000)],
)
async def test_a_wait_beyond_our_time_is_the_callers(header, least, most) -> None:
    # A date is made now: tests are collected long before they run, in each process at another time.
    after = formatdate(time.time() + 1000, usegmt=True) if header == "a date" else header
    stub = Stub(refuses(429, None, retry_after=after), WELL)
    came = await ask(stub, first_timeout_s=30)
    assert isinstance(came.error, ResourceExhaustedError)
    assert came.error.retry_after is not None
    assert least <= came.error.retry_after <= most
    assert len(stub.requests) == 1


@pytest.mark.parametrize("header", ["-5", "nan", "soon", "", formatdate(0, usegmt=True), "Mon, 99 Zed 99999999999"])
async def test_a_wait_that_is_none_is_ours(header) -> None:
    assert (await ask(Stub(refuses(429, None, retry_after=header), WELL))).pieces == ["Ada"]


# Connections.


async def test_nobody_listens() -> None:
    stub = Stub(WELL)
    async with stub.serve():
        pass
    backbone = build(stub.url, retries=1)
    with pytest.raises(UnavailableError, match=r"cannot be reached \(ConnectError\)"):
        await anext(backbone.generate(ASKED))
    await backbone.close()


async def test_a_connection_that_is_never_made_has_a_time() -> None:
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for waiting in (first, second):  # as many as may wait to be let in, and nobody is
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        backbone = build(f"http://127.0.0.1:{full.getsockname()[1]}/v1", connect_timeout_s=0.1, retries=0)
        with pytest.raises(DeadlineExceededError, match="connect") as caught:
            await anext(backbone.generate(ASKED))
        assert caught.value.reason == "BACKBONE_TIMEOUT"
        await backbone.close()


@pytest.mark.parametrize("early", [cut, reset], ids=lambda b: b.__name__)
async def test_a_connection_that_ends_before_the_head(early) -> None:
    stub = Stub(early, WELL)
    assert (await ask(stub)).pieces == ["Ada"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirection_is_followed(status) -> None:
    other = Stub(WELL)
    async with other.serve():
        came = await ask(Stub(refuses(status, None, location=f"http://localhost:{other.port}/v1/chat/completions")))
    assert isinstance(came.error, FailedPreconditionError)
    assert other.requests == []

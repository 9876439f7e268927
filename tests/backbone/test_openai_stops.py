"""Any answer, cut into any parts and any bytes, with any stops."""

import asyncio
import json
from collections.abc import AsyncIterator

import httpx2
from hypothesis import example, given, settings
from hypothesis import strategies as st

from memsvc.backbone.openai_answer import Answer
from memsvc.backbone.stops import Stops

TEXT = st.text(alphabet="aab\n猫🎉", max_size=30)
STOPS = st.lists(st.text(alphabet="aab\n猫", min_size=1, max_size=5), max_size=4)


def truncated(text: str, stops: list[str]) -> str:
    return text[: min((text.index(stop) for stop in stops if stop in text), default=len(text))]


@st.composite
def parts(draw, of: st.SearchStrategy = TEXT):
    """Return a text, or bytes, in parts that are not empty."""
    whole = draw(of)
    cuts = sorted(draw(st.sets(st.integers(1, max(1, len(whole) - 1)), max_size=12))) if whole else []
    return [part for start, stop in zip([0, *cuts], [*cuts, len(whole)], strict=True) if (part := whole[start:stop])]


def passed(stops: Stops, pieces: list[str]) -> str:
    out = []
    for piece in pieces:
        out.append(stops.feed(piece))
        if stops.hit:
            return "".join(out)
    return "".join([*out, stops.finish()])


@settings(max_examples=300)
@given(parts(), STOPS)
@example(["ab", "b"], ["abb", "b"])  # one stop in another, which began before it
@example(["ab", "a"], ["abb", "b"])
def test_a_text_ends_before_the_first_stop_however_it_comes(pieces, stops) -> None:
    text, filter = "".join(pieces), Stops(stops)
    wanted = truncated(text, stops)
    assert passed(filter, pieces) == wanted
    assert filter.hit == (len(wanted) < len(text))


@given(parts(), STOPS)
def test_nothing_is_held_back_that_no_stop_can_begin_with(pieces, stops) -> None:
    filter, fed, out = Stops(stops), "", ""
    for piece in pieces:
        fed += piece
        out += filter.feed(piece)
        if filter.hit:
            return
        held = fed[len(out) :]
        assert fed == out + held
        assert (
            not held
            or any(len(held) < len(stop) and stop.startswith(held) for stop in stops)
            or any(stop in held for stop in stops)
        )


class Body(httpx2.AsyncByteStream):
    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece

    async def aclose(self) -> None:
        self.closed = True


def answer(body: Body) -> Answer:
    headers, request = {"content-type": "text/event-stream"}, httpx2.Request("POST", "http://host/")
    return Answer(httpx2.Response(200, headers=headers, stream=body, request=request), max_bytes=1000)


@given(st.data(), parts(), STOPS, st.booleans(), st.sampled_from(["\n", "\r\n", "\r"]))
def test_an_answer_is_the_same_in_any_bytes(data, pieces, stops, escaped, end) -> None:
    events = [{"choices": [{"delta": {"content": piece}}]} for piece in pieces]
    lines = [json.dumps(event, ensure_ascii=escaped) for event in events]
    last = '{"choices": [{"delta": {}, "finish_reason": "length"}]}'
    body = "".join(f"data: {line}{end}{end}" for line in (*lines, last, "[DONE]")).encode()
    stream = Body(data.draw(parts(st.just(body))))

    async def read() -> list[str]:
        reader = answer(stream)
        got = []
        while (part := await reader.next()) is not None:
            got.append(part)
        assert reader.finished == "length"
        await reader.aclose()
        return got

    got = asyncio.run(read())
    assert got == pieces
    assert passed(Stops(stops), got) == truncated("".join(pieces), stops)


async def test_an_answer_that_is_given_up_is_closed_then_and_there() -> None:
    body = Body([b'data: {"choices": [{"delta": {"content": "a"}}]}\n\n'] * 2)
    reader = answer(body)
    assert await reader.next() == "a"
    await reader.aclose()
    assert body.closed

"""An answer as it comes: server-sent events, each a JSON object with a few more characters of it."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Annotated, Any

from httpx2 import EventSource, Response
from pydantic import BaseModel, Field

from memsvc.backbone.base import Finish, Usage
from memsvc.backbone.openai_errors import FAILURES, FaultError

MAX_EVENT_BYTES = 1 << 20
FINISHES: dict[str, Finish] = {
    "stop": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "stop_sequence": "stop",
    "end_turn": "stop",
    "length": "length",
    "max_tokens": "length",
}
"""What servers call the two; every other reason (a filter, a tool, an abort) breaks an answer off."""

Count = Annotated[int, Field(ge=0, lt=1 << 31)]


class _Delta(BaseModel):
    content: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None


class _Choice(BaseModel):
    delta: _Delta = _Delta()
    finish_reason: str | None = None


class _Details(BaseModel):
    cached_tokens: Count | None = None


class _Usage(BaseModel):
    prompt_tokens: Count = 0
    completion_tokens: Count = 0
    prompt_tokens_details: _Details | None = None


class _Event(BaseModel):
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: Any = None


class Answer:
    """Reads one answer.

    Args:
        response: its stream, not yet read.
        max_bytes: of its text, in UTF-8.
    """

    def __init__(self, response: Response, *, max_bytes: int) -> None:
        self._response = response
        self._events = aiter(EventSource(response, MAX_EVENT_BYTES))
        self._room = max_bytes
        self._parts = 0
        self._usage: _Usage | None = None
        self.finished: Finish | None = None
        """How it ended, when it has."""

    async def next(self) -> str | None:
        """Return its next part, which is empty where a model thinks aloud; None at its end.

        Raises:
            FaultError: it breaks off, is none, or is too large.
            httpx2.HTTPError, pydantic.ValidationError, …: the others of `FAILURES`.
        """
        while self.finished is None and (event := await self._next()) is not None:
            for choice in (event.choices or ())[:1]:
                self.finished = _finish(choice.finish_reason)
                text, thought = choice.delta.content or "", choice.delta.reasoning or choice.delta.reasoning_content
                if text or thought:
                    self._count(text + (thought or ""))
                    return text
        if self.finished is None:
            raise FaultError("the model's server broke the answer off")
        return None

    async def finish(self, within_s: float) -> None:
        """Wait for what follows the text: the usage, and the end, after which the connection can serve again."""
        # The answer is there: what goes wrong now takes nothing from it.
        with suppress(TimeoutError, *FAILURES):
            async with asyncio.timeout(within_s):
                while await self._next() is not None:
                    pass
                async for _ in self._events:
                    pass

    def usage(self, finish: Finish) -> Usage:
        """Return what it came to; where the server does not say, the parts that came stand for the tokens."""
        told = self._usage or _Usage(completion_tokens=self._parts)
        cached = told.prompt_tokens_details.cached_tokens if told.prompt_tokens_details else None
        return Usage(finish, told.prompt_tokens, cached or 0, told.completion_tokens)

    async def aclose(self) -> None:
        """Close the stream; the server sees it if there was more to come."""
        with suppress(*FAILURES):  # it is given up in any case
            await self._response.aclose()
        if isinstance(self._events, AsyncGenerator):
            await self._events.aclose()

    async def _next(self) -> _Event | None:
        """Return the next event; None at the end of the stream, which says so or just ends."""
        async for event in self._events:
            if event.data.strip() == "[DONE]":
                self.finished = self.finished or "stop"  # a few servers name no reason
                return None
            if event.event == "error":
                raise FaultError("the model's server failed", said=event.data)
            if event.data:
                part = _Event.model_validate_json(event.data)
                if part.error is not None:
                    raise FaultError("the model's server failed", said=part.error)
                self._usage = part.usage or self._usage
                return part
        return None

    def _count(self, text: str) -> None:
        self._parts += 1
        self._room -= len(text.encode())
        if self._room < 0:
            raise FaultError("the model's server sends more text than so many tokens can be", again=False)


def _finish(reason: str | None) -> Finish | None:
    if not reason:
        return None
    if reason not in FINISHES:
        raise FaultError("the model's server broke the answer off", said=reason, again=False)
    return FINISHES[reason]

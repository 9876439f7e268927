"""A backbone that says what it is told to, and notes what it was asked."""

import asyncio
from collections.abc import AsyncGenerator, Sequence

from memsvc.backbone.base import Finish, Piece, Prompt, Usage
from memsvc.errors import MemsvcError


class ScriptedBackbone:
    """Answers every prompt with the same items; an error among them is raised at its place, None hangs for good.

    Attributes:
        prompts: what was asked.
        ended: how many answers were closed, at their end or before.
        forgotten: whose cache was dropped.
        windows: for which it was asked how many tokens recalled entries may take.
    """

    name = "scripted"

    def __init__(self, *script: str | MemsvcError | None, finish: Finish = "stop", tokens: int | None = None) -> None:
        self.script: Sequence[str | MemsvcError | None] = script
        self._finish, self._tokens = finish, tokens
        self.prompts: list[Prompt] = []
        self.ended = 0
        self.forgotten: list[str] = []
        self.windows: list[int] = []

    async def start(self) -> None:
        pass

    async def close(self) -> None:
        pass

    def context_tokens(self, window: int) -> int:
        self.windows.append(window)
        return 200

    def forget(self, tenant: str) -> None:
        self.forgotten.append(tenant)

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Piece | Usage, None]:
        self.prompts.append(prompt)
        try:
            for item in self.script:
                await asyncio.sleep(0)
                if item is None:
                    await asyncio.Event().wait()
                elif isinstance(item, MemsvcError):
                    raise item
                else:
                    yield Piece(item)
            said = len(self.script) if self._tokens is None else self._tokens
            yield Usage(self._finish, prompt_tokens=7, cached_tokens=3, completion_tokens=said)
        finally:
            self.ended += 1

"""The native model as a backbone: it answers from a fork of the tenant's context memory."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

import torch

from memsvc.backbone.base import ContextMemory, Piece, Prompt, Usage
from memsvc.backbone.load import BackboneConfig
from memsvc.backbone.titans_mac.context_model import ContextModel
from memsvc.backbone.titans_mac.generate import answer
from memsvc.backbone.titans_mac.shelf import Shelf
from memsvc.backbone.worker import Worker
from memsvc.errors import FailedPreconditionError, UnavailableError

RUNNING, WAITING = 8, 16
"""Answers that take turns, and prompts that wait: each may hold a stream that its tenant has left behind."""


class TitansMacBackbone:
    """A titans-mac model. See `memsvc.backbone.base.Backbone`.

    One thread of its own computes everything; answers under way take turns, a token each.

    Args:
        config: `name` is `titans-mac:` and what is told. `threads` are torch's, for the whole process: give the
            encoder's number. `context_tokens` of 0 are none: what was told is in the memory.
        told: the model's file, its folder, or the name of one that ships.
    """

    def __init__(self, config: BackboneConfig, told: str) -> None:
        self.name, self._context_tokens = config.name, config.context_tokens
        self._threads, self._told = config.threads, told
        self._worker: Worker[Piece | Usage] = Worker(self._load, running=RUNNING, waiting=WAITING)
        self._model: ContextModel | None = None

    def context_tokens(self, window: int) -> int:
        """See `Backbone`. The window is the model's own."""
        return self._context_tokens

    async def start(self) -> None:
        """Load the model.

        Raises:
            FailedPreconditionError: it is not here, or is damaged.
            InvalidArgumentError: it cannot be called as its file is.
        """
        await self._worker.start()

    async def close(self) -> None:
        """End the thread, after the step under way."""
        await self._worker.close()
        self._model = None

    def forget(self, tenant: str) -> None:
        """Do nothing: nothing is kept of a tenant once its answer ends."""

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Piece | Usage, None]:
        """See `Backbone`. Closing the generator stops the model within one step.

        Raises:
            InvalidArgumentError: the prompt is too long (reason PROMPT_TOO_LONG).
            FailedPreconditionError: the tenant has no context memory, or another model's (reason NO_CONTEXT_MEMORY),
                or there is a system message (NO_CHAT_TEMPLATE).
            ResourceExhaustedError: too many wait (reason BACKBONE_BUSY).
            UnavailableError: it does not run, or the model fails (reason BACKBONE_FAILED).
        """
        if (model := self._model) is None:
            raise UnavailableError("the backbone does not run", reason="BACKBONE_FAILED")
        if any(message.role == "system" for message in prompt.messages):
            raise FailedPreconditionError(
                f"{self.name} goes on with a text, and takes no system message; leave it out",
                reason="NO_CHAT_TEMPLATE",
            )
        stream = _of(model, await prompt.memory()).stream
        async with aclosing(self._worker.run(answer(model, stream, prompt))) as items:
            async for item in items:
                yield item

    def _load(self) -> None:
        torch.set_num_threads(self._threads)
        # A thread's own, as the engine's has it: equal streams go on alike.
        torch.set_flush_denormal(True)
        shelf = Shelf(self._told)
        self._model = shelf.find(shelf.first)


def _of(model: ContextModel, memory: ContextMemory | None) -> ContextMemory:
    """Return a tenant's memory, if it is the model's.

    Raises:
        FailedPreconditionError: it is not, or there is none (reason NO_CONTEXT_MEMORY).
    """
    if memory is not None and memory.model == model.identity:
        return memory
    has = "has no context memory" if memory is None else f"has a context memory of {memory.model}"
    raise FailedPreconditionError(
        f"the tenant {has}, and this server answers with {model.identity}: create a tenant with "
        f"context_memory={model.identity}, and write to it what it is to know",
        reason="NO_CONTEXT_MEMORY",
    )

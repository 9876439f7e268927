"""A language model of Hugging Face on this machine."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

import torch

from memsvc.backbone.base import Piece, Prompt, Usage
from memsvc.backbone.hf_cache import Prefixes
from memsvc.backbone.hf_decode import Decoder
from memsvc.backbone.hf_load import load
from memsvc.backbone.load import BackboneConfig
from memsvc.backbone.worker import Worker
from memsvc.errors import UnavailableError

CONTEXT_TOKENS = 2048
RUNNING = 8
WAITING = 64


class HuggingFaceBackbone:
    """Any model that transformers generates text with. See `memsvc.backbone.base.Backbone`.

    One thread of its own computes everything; answers under way take turns, a token each. An answer depends on its
    prompt and its seed alone: neither on the calls beside it nor on what is reused of the tenant's last prompt.

    Args:
        config: `name` is `hf:` and a folder, or the name of a model that has been downloaded. Nothing is fetched, and
            no code of a model's is run but its chat template, in a sandbox. `threads` are torch's, for the whole
            process: give the encoder's number. `window` counts tokens of prompt and answer; 0 stands for all that the
            model was made for, at most MAX_WINDOW; a prompt may have a smaller one. `context_tokens` of 0 are a quarter
            of the window, at most 2,048.
        running: answers that take turns; each holds keys and values of its window.
        waiting: prompts that wait for their turn; more are refused.
    """

    def __init__(self, config: BackboneConfig, *, running: int = RUNNING, waiting: int = WAITING) -> None:
        self.name = config.name
        self._config = config
        self._prefixes = Prefixes(config.prefix_bytes)
        self._worker: Worker[Piece | Usage] = Worker(self._load, running=running, waiting=waiting)
        self._decoder: Decoder | None = None

    def context_tokens(self, window: int) -> int:
        """See `Backbone`. Before the start, no more than is sure."""
        window = min(window, self._decoder.window if self._decoder else self._config.window)
        return self._config.context_tokens or min(CONTEXT_TOKENS, window // 4)

    async def start(self) -> None:
        """Load the model.

        Raises:
            FailedPreconditionError: it is not here, is damaged, generates no text, or does not take the settings.
        """
        await self._worker.start()

    async def close(self) -> None:
        """End the thread, after the token under way, and let go of the model."""
        await self._worker.close()
        self._prefixes.clear()
        self._decoder = None

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Piece | Usage, None]:
        """See `Backbone`. Closing the generator stops the model within one token.

        Raises:
            InvalidArgumentError: the prompt is longer than the window (reason PROMPT_TOO_LONG).
            FailedPreconditionError: there is no chat template (reason NO_CHAT_TEMPLATE), or it does not take these
                messages (CHAT_TEMPLATE_REFUSED).
            ResourceExhaustedError: too many wait (reason BACKBONE_BUSY).
            UnavailableError: it does not run, or the model fails (reason BACKBONE_FAILED).
        """
        if self._decoder is None:
            raise UnavailableError("the backbone does not run", reason="BACKBONE_FAILED")
        # The keeper is made here, so that a tenant that is forgotten while its call waits is forgotten by the call.
        steps = self._decoder.steps(prompt, self._prefixes.keeper(prompt.tenant))
        async with aclosing(self._worker.run(steps)) as items:
            async for item in items:
                yield item

    def forget(self, tenant: str) -> None:
        """Let go of what is kept of a tenant's prompts, at once, and keep nothing of its calls under way.

        Whoever erases text has to call it: what a tenant was asked and told stands in its last prompt. That is when
        entries are forgotten, and when a tenant is deleted or restored.
        """
        self._prefixes.forget(tenant)

    def _load(self) -> None:
        config = self._config
        torch.set_num_threads(config.threads)
        model = load(self.name, config.dtype)
        self._decoder = Decoder(self.name, model, window=config.window, slide=config.slide, plain=config.plain)

"""One answer, step by step: the prompt in blocks, then token by token."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from memsvc.backbone.base import Piece, Prompt, Usage
from memsvc.backbone.hf_cache import Keeper, can_be_cut, new_cache
from memsvc.backbone.hf_chat import Chat
from memsvc.backbone.hf_load import MAX_WINDOW, Model, refusal, slides
from memsvc.backbone.hf_passes import Passes
from memsvc.backbone.sample import Sampler
from memsvc.backbone.spoken import spoken
from memsvc.errors import InvalidArgumentError


class Decoder:
    """Answers prompts with a model. It holds nothing between answers, and knows no thread.

    Args:
        name: the model's, for errors.
        model: what was loaded.
        window: tokens that it attends to at most; 0 for what it was made for, or MAX_WINDOW if that is less. A prompt
            may have a smaller one.
        slide: whether an answer may go on past its window, of which the oldest tokens then leave.
        plain: see `Chat`.

    Raises:
        FailedPreconditionError: the model has no such window, or cannot slide.
    """

    def __init__(self, name: str, model: Model, *, window: int, slide: bool, plain: bool) -> None:
        if window > model.positions:
            raise refusal(name, f"was made for {model.positions} tokens, fewer than a window of {window}")
        self.window = window or min(model.positions, MAX_WINDOW)
        self._whose = "server" if window else "model"
        self._model, self._slide = model, slide
        self._chat = Chat(name, model.tokenizer, plain=plain)
        self._vocabulary = model.module.get_input_embeddings().num_embeddings
        self._passes = Passes(model.module, model.device)
        self._name = name
        if slide and not (slides(model.module.config) and can_be_cut(self._new_cache(self.window))):
            raise refusal(name, "cannot go on past its window: do not let it slide")

    def steps(self, prompt: Prompt, keeper: Keeper) -> Iterator[Piece | Usage | None]:
        """Yield after each step, at most one pass of the model, what it gave; `Usage` last.

        Raises:
            InvalidArgumentError: the prompt is too long (reason PROMPT_TOO_LONG), or empty.
            FailedPreconditionError: see `Chat.encode`; or the tokenizer is not the model's.
            ValueError: the model is broken.
        """
        # Cut on the thread that computes: for a long prompt it takes its time.
        ids = torch.tensor(self._chat.encode(prompt), dtype=torch.long)
        window = min(self.window, prompt.window)
        self._check(ids, prompt.max_tokens, window)
        yield None
        cache = self._new_cache(window)
        cached, logits = yield from self._passes.prompt(ids, cache, keeper)
        tokens = self._tokens(Sampler(prompt.temperature, prompt.top_p, prompt.seed), logits, cache)
        finish, count = yield from spoken(tokens, self._decode, prompt, self._model.ends)
        yield Usage(finish, len(ids), cached, count)

    def _tokens(self, sample: Sampler, logits: Tensor, cache: Any) -> Iterator[int]:
        """Yield what follows, token by token, without end."""
        while True:
            yield (token := sample(logits))
            logits = self._passes.next(torch.tensor([token]), cache)

    def _check(self, ids: Tensor, max_tokens: int, window: int) -> None:
        if not len(ids):
            raise InvalidArgumentError("prompt", "is empty")
        room = window if self._slide else window - max_tokens
        if len(ids) > room:
            whose = "tenant" if window < self.window else self._whose
            beside = "" if self._slide else f", beside an answer of {max_tokens},"
            raise InvalidArgumentError(
                "prompt",
                f"has {len(ids)} tokens; the {whose}'s window of {window}{beside} takes {max(room, 0)}",
                reason="PROMPT_TOO_LONG",
            )
        if int(ids.max()) >= self._vocabulary:
            raise refusal(self._name, "has a tokenizer with more tokens than it knows")

    def _new_cache(self, window: int) -> Any:
        return new_cache(self._model.module.config, window if self._slide else None)

    def _decode(self, ids: Any) -> str:
        return str(self._model.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))

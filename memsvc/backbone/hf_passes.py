"""A model's passes: those over a prompt, block by block, and one over whatever comes next."""

import inspect
from collections.abc import Generator
from typing import Any

import torch
from torch import Tensor

from memsvc.backbone.hf_cache import Keeper

BLOCK = {"cpu": 128, "cuda": 512}
"""Tokens of a prompt that are computed at once, by device; on a CPU, 64 take a third longer and 512 a tenth less.

A prompt is reused up to the end of a block, and blocks begin at multiples of this: what is reused was computed with the
shapes, hence the bits, that it would have otherwise.
"""


class Passes:
    """Computes tokens with a model. It holds nothing between calls, and knows no tokenizer.

    Args:
        module: of transformers, in evaluation mode.
        device: where it is.
    """

    def __init__(self, module: Any, device: torch.device) -> None:
        self._module, self._device = module, device
        self.block = BLOCK[device.type]
        takes = inspect.signature(module.forward).parameters
        # The logits of a whole block would be more than all else.
        self._options = {"logits_to_keep": 1} if "logits_to_keep" in takes else {}

    def prompt(self, ids: Tensor, cache: Any, keeper: Keeper) -> Generator[None, None, tuple[int, Tensor]]:
        """Compute a prompt [n] into an empty cache, from where it differs from what is kept, and keep it.

        Yields between blocks. Returns how many tokens were reused, and the logits [vocabulary] after the last.
        """
        cached = keeper.resume(cache, ids, self.block)
        whole = len(ids) // self.block * self.block
        logits = torch.empty(0)
        for start in range(cached, len(ids), self.block):
            if start > cached:
                yield None
            logits = self.next(ids[start : start + self.block], cache)
            if start + self.block == whole:
                keeper.keep(cache, ids[:whole])
        return cached, logits

    @torch.inference_mode()
    def next(self, ids: Tensor, cache: Any) -> Tensor:
        """Compute the next tokens [n]; return the logits [vocabulary] after the last."""
        batch = ids[None].to(self._device)
        logits: Tensor = self._module(batch, past_key_values=cache, use_cache=True, **self._options).logits
        return logits[0, -1]

"""Which token comes next."""

import torch
from torch import Tensor

SEEDS = 1 << 64


class Sampler:
    """Draws tokens for one answer, with a generator of its own: nobody else's draws change it.

    Args:
        temperature: 0 takes the likeliest token, the first of equals.
        top_p: tokens are drawn from the likeliest that make up so much, at least one.
        seed: any integer; None for one that nobody knows.
    """

    def __init__(self, temperature: float, top_p: float, seed: int | None) -> None:
        self._temperature, self._top_p = temperature, top_p
        self._generator = torch.Generator()
        if seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(seed % SEEDS)

    def __call__(self, logits: Tensor) -> int:
        """Return a token for logits [vocabulary].

        Raises:
            ValueError: a logit is not a number: the model is broken.
        """
        # On the processor whatever the model runs on: a generator's draws differ between devices.
        logits = logits.cpu().double()
        if not torch.isfinite(highest := logits.max()):
            raise ValueError("the model's logits are not finite")
        if self._temperature <= 0:
            return int(logits.argmax())
        # Relative to the highest, so that no temperature is too low to divide by.
        shares = torch.softmax((logits - highest) / self._temperature, 0)
        if self._top_p < 1:
            shares = self._likeliest(shares)
        return int(torch.multinomial(shares, 1, generator=self._generator))

    def _likeliest(self, shares: Tensor) -> Tensor:
        """Return the shares [vocabulary] of the likeliest tokens that make up `top_p`, and 0 for the others."""
        falling, tokens = shares.sort(descending=True, stable=True)
        dropped = falling.cumsum(0) - falling >= self._top_p
        dropped[0] = False
        return shares.index_fill(0, tokens[dropped], 0.0)

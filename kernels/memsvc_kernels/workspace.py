"""Scratch memory for one shape of chunk, so that stepping allocates nothing large."""

from typing import NamedTuple

import torch
from torch import Tensor


class Workspace(NamedTuple):
    """The tensors of one pass over a chunk.

    Every operand of a matrix product lies here or in a slot, so that its alignment, on which the product's bits may
    depend, never varies.
    """

    weights: Tensor
    """W of all layers but the last, [L − 1, d, d]."""
    weight: tuple[Tensor, ...]
    """The same, layer by layer; and so with the other pairs below."""
    hidden: tuple[Tensor, ...]
    """h_1 … h_{L−1}, [b, d] each."""
    both: Tensor
    """inputs and errors, [2, L, b, d]."""
    inputs: Tensor
    """a, the input of each layer, [L, b, d]."""
    input: tuple[Tensor, ...]
    errors: Tensor
    """δ, the error backpropagated to the output of each layer, [L, b, d]."""
    error: tuple[Tensor, ...]
    gradient: Tensor
    """[b, d], on its way through silu."""
    scaled: Tensor
    """δ times the coefficients of Δ and of S, [2, L, b, d]."""

    @classmethod
    def allocate(cls, layers: int, tokens: int, width: int, dtype: torch.dtype) -> "Workspace":
        """Return scratch memory for L layers and chunks of [b, d]."""

        def empty(*shape: int) -> Tensor:
            return torch.empty(shape, dtype=dtype)

        weights, both = empty(layers - 1, width, width), empty(2, layers, tokens, width)
        return cls(
            weights=weights,
            weight=tuple(weights),
            hidden=tuple(empty(tokens, width) for _ in range(layers - 1)),
            both=both,
            inputs=both[0],
            input=tuple(both[0]),
            errors=both[1],
            error=tuple(both[1]),
            gradient=empty(tokens, width),
            scaled=empty(2, layers, tokens, width),
        )

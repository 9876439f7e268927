"""Scratch memory for one shape of chunk, so that stepping allocates nothing large."""

from typing import NamedTuple

import torch
from torch import Tensor


class Workspace(NamedTuple):
    """The tensors of one pass over a chunk.

    Every operand of a matrix product lies here or in a slot, so that its alignment, on which the product's bits may
    depend, never varies.
    """

    dtype: torch.dtype
    """Of the state. All that follows has the type of products."""
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
    learnt: Tensor | None
    """Δ of the last layer, [d, d]; None where the state has the type of products, and is multiplied itself."""
    change: Tensor | None
    """What a chunk adds to Δ or S, [L, d, d]; None where products go straight into the state."""

    @classmethod
    def allocate(
        cls, layers: int, tokens: int, width: int, dtype: torch.dtype, *, products: torch.dtype
    ) -> "Workspace":
        """Return scratch memory for L layers, chunks of [b, d], a type of state and one of products."""

        def empty(*shape: int) -> Tensor:
            return torch.empty(shape, dtype=products)

        weights, both = empty(layers - 1, width, width), empty(2, layers, tokens, width)
        apart = products != dtype
        return cls(
            dtype=dtype,
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
            learnt=empty(width, width) if apart else None,
            change=empty(layers, width, width) if apart else None,
        )

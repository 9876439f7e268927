"""lucidrains' titans-pytorch, asked for what the memory's kernels do: a chunk written, a chunk read, per tenant.

Its NeuralMemory is used as published, with an MLP of the same width and depth. Gradients are taken once for each
chunk, at the weights of the chunk's start, as here (`chunk_size` and `batch_size` are the chunk). Beside the memory it
projects keys, values and queries. FLOPs per token at L layers: a write takes (6 L − 2) d², and 4 d² for the
projections; a read 2 L d², and 2 d².
"""

from typing import Any

import torch
from torch import Tensor


class TitansPeer:
    """Memories of B tenants, in one batch.

    Args:
        tenants: B.
        layers: L, weight matrices of the MLP.
        width: d.
        chunk: b.
        device: where it computes.
    """

    def __init__(self, tenants: int, layers: int, width: int, chunk: int, *, device: str = "cpu") -> None:
        from titans_pytorch import MemoryMLP, NeuralMemory  # noqa: PLC0415  # may not be installed

        model = MemoryMLP(width, depth=layers, expansion_factor=1.0)
        self._memory: Any = NeuralMemory(dim=width, chunk_size=chunk, batch_size=chunk, model=model).to(device)
        self._weights: Any = self._memory.init_weights(tenants)
        self._past: Any = None

    @torch.no_grad()
    def write(self, tokens: Tensor) -> None:
        """Step on one chunk of each, [B, b, d]."""
        _, state = self._memory.store_memories(tokens, self._weights, past_state=self._past, return_surprises=False)
        # What its `forward` does at the end of each batch.
        self._past = state.states
        self._weights = state.states[0]

    @torch.no_grad()
    def read(self, queries: Tensor) -> Tensor:
        """Return what the memories say, [B, b − 1, d], for as much: it puts a blank before, which fills the chunk."""
        weights = {name: weight[:, None] for name, weight in self._weights.items()}
        read: Tensor = self._memory.retrieve_memories(queries[:, 1:], weights)
        return read

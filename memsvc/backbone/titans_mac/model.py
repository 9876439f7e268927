"""The model: embeddings, blocks, one of them with the memory, and the head.

B  rows    T  tokens    d  width
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from memsvc.backbone.titans_mac.block import EPSILON, Block, ReadoutEntry
from memsvc.backbone.titans_mac.config import MacConfig
from memsvc.backbone.titans_mac.memory import ContextMemory
from memsvc.backbone.titans_mac.state import StreamState, initial


class Streamed(NamedTuple):
    """What whole chunks came to."""

    hidden: Tensor
    """What the head reads, [B, T, d]."""
    write: Tensor
    """How far the memory's gate was open, [B, T]; zeros without a memory."""
    logit: Tensor
    """Of the gate, [B, T]; zeros without a memory."""
    state: StreamState
    """After them."""


class TitansMac(nn.Module):
    """A language model over tokens, whose memory is part of its stream's state."""

    def __init__(self, config: MacConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocabulary, config.width)
        nn.init.normal_(self.embedding.weight, std=0.5)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm, self.head = nn.RMSNorm(config.width, EPSILON), nn.Linear(config.width, config.vocabulary, bias=False)
        self.memory: ContextMemory | None = None
        if config.memory_layer is not None:
            self.before_memory, self.entry = nn.RMSNorm(config.width, EPSILON), ReadoutEntry(config)
            self.memory = ContextMemory(config)

    def initial(self, rows: int) -> StreamState:
        """Return the state of B = rows streams before their first token."""
        weight = self.embedding.weight
        return initial(self.config, rows, dtype=weight.dtype, device=weight.device)

    def stream(self, tokens: Tensor, state: StreamState, *, memory: bool = True, learning: bool = True) -> Streamed:
        """Pass over whole chunks.

        All chunks go through a block at once; only the memory goes from chunk to chunk.

        Args:
            tokens: [B, T] int64, T a multiple of the chunk.
            state: before them.
            memory: off, nothing is read from it or written to it.
            learning: off, nothing is written to it.
        """
        if tokens.shape[1] % self.config.chunk:
            raise ValueError(f"tokens must come in whole chunks of {self.config.chunk}, not {tokens.shape[1]} at once")
        x = embeddings = self.embedding(tokens)
        remembered, write = state.memory, torch.zeros_like(x[..., 0])
        logit = write
        blocks = []
        for i, (block, before) in enumerate(zip(self.blocks, state.blocks, strict=True)):
            entry = None
            if self.memory is not None and remembered is not None and i == self.config.memory_layer and memory:
                result = self.memory(self.before_memory(x), embeddings, remembered, learning=learning)
                entry, write, logit, remembered = self.entry(result.readouts), result.write, result.logit, result.state
            x, after = block(x, before, state.chunks, entry)
            blocks.append(after)
        chunks = state.chunks + tokens.shape[1] // self.config.chunk
        return Streamed(x, write, logit, StreamState(tuple(blocks), remembered, chunks))

    def logits(self, hidden: Tensor) -> Tensor:
        """Return [..., vocabulary] for hidden [..., d]."""
        logits: Tensor = self.head(self.norm(hidden))
        return logits

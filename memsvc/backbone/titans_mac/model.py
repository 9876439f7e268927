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
    """What the head reads, [B, T, d]; [B, 0, d] where it was not asked for."""
    write: Tensor
    """How far the memory's gate was open, [B, T]; zeros without a memory."""
    logit: Tensor
    """Of the gate, [B, T]; zeros without a memory. Where `hidden` is off, in some chunks the most that it could be."""
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

    def stream(
        self, tokens: Tensor, state: StreamState, *, memory: bool = True, learning: bool = True, hidden: bool = True
    ) -> Streamed:
        """Pass over whole chunks.

        All chunks go through a block at once; only the memory goes from chunk to chunk.

        Args:
            tokens: [B, T] int64, T a multiple of the chunk.
            state: before them.
            memory: off, nothing is read from it or written to it.
            learning: off, nothing is written to it.
            hidden: off, only the state is asked for: blocks from the memory's on pass over the last chunks alone, and
                of those before, the memory reads what might write.
        """
        if tokens.shape[1] % self.config.chunk:
            raise ValueError(f"tokens must come in whole chunks of {self.config.chunk}, not {tokens.shape[1]} at once")
        x = embeddings = self.embedding(tokens)
        remembered, write = state.memory, torch.zeros_like(x[..., 0])
        logit = write
        blocks = []
        for i, (block, before) in enumerate(zip(self.blocks, state.blocks, strict=True)):
            kept = x.shape[1]
            if not hidden and i >= (self.config.memory_layer or 0):
                # Of a block's input, its state is made of the last chunk, and of a few tokens before through the
                # convolution; what it hands on is right two chunks later.
                kept = min(kept, 2 * (self.config.layers - i) * self.config.chunk)
            entry = None
            if self.memory is not None and remembered is not None and i == self.config.memory_layer and memory:
                result = self.memory(self.before_memory(x), embeddings, remembered, learning=learning, readouts=kept)
                entry, write, logit, remembered = self.entry(result.readouts), result.write, result.logit, result.state
            start = state.chunks + (x.shape[1] - kept) // self.config.chunk
            x, after = block(x[:, -kept:], before, start, entry)
            blocks.append(after)
        chunks = state.chunks + tokens.shape[1] // self.config.chunk
        return Streamed(x if hidden else x[:, :0], write, logit, StreamState(tuple(blocks), remembered, chunks))

    def logits(self, hidden: Tensor) -> Tensor:
        """Return [..., vocabulary] for hidden [..., d]."""
        logits: Tensor = self.head(self.norm(hidden))
        return logits

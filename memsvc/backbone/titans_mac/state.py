"""What a model keeps of a stream: of constant size, however long the stream.

Tensors have a leading row per stream. States are values: a step returns new ones, and what did not change is shared, so
that a fork costs nothing.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Self

import torch
from torch import Tensor

from memsvc.backbone.titans_mac.config import MacConfig
from memsvc.backbone.titans_mac.mlp import Weights


class BlockState(NamedTuple):
    """Of one block."""

    keys: Tensor
    """Of the last chunk, without positions, [B, heads, chunk, head]."""
    values: Tensor
    """Of the last chunk, [B, heads, chunk, head]."""
    inputs: Tensor
    """Of the short convolution, the last conv − 1 tokens, [B, conv − 1, width]."""


class MemoryState(NamedTuple):
    """Of the context memory."""

    delta: Weights
    """Δ, what was learnt, per layer [B, out, in]."""
    momentum: Weights
    """S, per layer [B, out, in]."""
    inverse: Tensor
    """P of the last layer's second-order step, [B, hidden, hidden]; with first order [B, 0, 0]."""
    inputs: Tensor
    """Of the short convolution, [B, conv − 1, width]."""
    query: Tensor
    """Of the last token, [B, 1, key]: the next token's key."""


class StreamState(NamedTuple):
    """Of B streams, after whole chunks."""

    blocks: tuple[BlockState, ...]
    memory: MemoryState | None
    chunks: Tensor
    """How many there were, [B] int64."""

    @classmethod
    def of(cls, tensors: Iterator[Tensor], config: MacConfig) -> Self:
        """Return the state with these tensors, in the order of `shapes`."""
        blocks = tuple(BlockState(*(next(tensors) for _ in BlockState._fields)) for _ in range(config.layers))
        memory = None
        if config.memory_layer is not None:
            delta, momentum = (tuple(next(tensors) for _ in config.memory.shapes) for _ in range(2))
            memory = MemoryState(delta, momentum, *(next(tensors) for _ in range(3)))
        return cls(blocks, memory, next(tensors))

    def tensors(self) -> Iterator[Tensor]:
        """Yield all tensors, in the order of `shapes`."""
        for block in self.blocks:
            yield from block
        if self.memory is not None:
            yield from self.memory.delta
            yield from self.memory.momentum
            yield from self.memory[2:]
        yield self.chunks


def shapes(config: MacConfig) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor, without the leading row, by its name."""
    window = (config.heads, config.chunk, config.head)
    found: dict[str, tuple[int, ...]] = {}
    for i in range(config.layers):
        found |= {f"blocks.{i}.keys": window, f"blocks.{i}.values": window}
        found[f"blocks.{i}.inputs"] = (config.conv - 1, config.width)
    if config.memory_layer is not None:
        memory = config.memory
        for name in ("delta", "momentum"):
            found |= {f"memory.{name}.{i}": shape for i, shape in enumerate(memory.shapes)}
        found["memory.inverse"] = (memory.remembered, memory.remembered)
        found |= {"memory.inputs": (memory.conv - 1, config.width), "memory.query": (1, memory.key)}
    return found | {"chunks": ()}


def initial(
    config: MacConfig, rows: int, *, dtype: torch.dtype = torch.float32, device: torch.device | None = None
) -> StreamState:
    """Return the state of B = rows streams before their first token."""

    def fresh(name: str, shape: tuple[int, ...]) -> Tensor:
        if name == "memory.inverse":
            # Nothing is written in any direction.
            return torch.eye(*shape, dtype=dtype, device=device).repeat(rows, 1, 1)
        return torch.zeros(rows, *shape, dtype=torch.int64 if name == "chunks" else dtype, device=device)

    return StreamState.of(iter([fresh(*item) for item in shapes(config).items()]), config)


def stack(states: Sequence[StreamState], config: MacConfig) -> StreamState:
    """Return the rows of several states, one after the other, as one state; one state alone, as it is."""
    if len(states) == 1:
        return states[0]
    return StreamState.of(map(torch.cat, zip(*(state.tensors() for state in states), strict=True)), config)


def row(state: StreamState, at: int, config: MacConfig) -> StreamState:
    """Return one row as a state of its own, which does not keep the others' memory."""
    if len(state.chunks) == 1:
        return state
    return StreamState.of((tensor[at : at + 1].clone() for tensor in state.tensors()), config)

"""Streaming tokens into memories, and reading them."""

from collections.abc import Sequence

import torch
from memsvc_kernels import Bounds, Rates, StepResult
from torch import Tensor

from memsvc.memory.config import MemoryConfig
from memsvc.memory.state import MemoryStack

ChunkResult = StepResult
"""surprise [B, b]; wrote [B, b]; bounded, clipped, projected, finite [B]."""


def update(
    stack: MemoryStack,
    slots: Sequence[int],
    configs: Sequence[MemoryConfig],
    thresholds: Sequence[float],
    tokens: Tensor,
) -> ChunkResult:
    """Step one full chunk for each of B tenants, in place, with keys = values = tokens (NUMERICS.md, One chunk).

    A slot's new bits depend on its own bits, config, threshold and tokens alone. A chunk that is not finite
    leaves its slot as it was, and its row says `finite` False.

    Args:
        stack: holds the slots.
        slots: B different slots.
        configs: B configs of the stack's layers and width and of one `chunk`, b.
        thresholds: B; a token writes where its surprise is at least this.
        tokens: [B, b, d].

    Raises:
        ValueError: the arguments do not fit together. Nothing was changed.
    """
    b, d = configs[0].chunk if configs else 0, stack.initial.shape[1]
    if not len(slots) == len(configs) == len(thresholds) == len(set(slots)) or tokens.shape != (len(slots), b, d):
        raise ValueError(f"{len(slots)} different slots need as many configs, thresholds and full chunks [{b}, {d}]")
    if not all(0 <= slot < stack.slots for slot in slots):
        raise ValueError(f"slots must be 0 to {stack.slots - 1}")
    if any((config.chunk, config.layers, config.width) != (b, *stack.initial.shape[:2]) for config in configs):
        raise ValueError("every config must have the stack's layers and width, and one chunk size")

    columns = torch.tensor(
        [
            (c.theta / c.chunk, c.eta, c.alpha, threshold, c.curvature, c.radius, c.clip)
            for c, threshold in zip(configs, thresholds, strict=True)
        ],
        dtype=torch.float64,
    ).reshape(-1, 7)
    rates = Rates(*(column[:, None].expand(-1, b) for column in columns.T[:4]))
    bounds = Bounds(*columns.T[4:])
    return stack.backend.chunk_step(stack.weights, slots, tokens, tokens, rates=rates, bounds=bounds)


def surprise(stack: MemoryStack, slot: int, config: MemoryConfig, tokens: Tensor) -> Tensor:
    """Return the surprise [n] of a waiting tail [n, d], n ≤ b: the bits that `update` will report of these tokens.

    Raises:
        ValueError: the tail is longer than a chunk, or of another width.
    """
    n, d = len(tokens), stack.initial.shape[1]
    if n > config.chunk or tokens.shape != (n, d):
        raise ValueError(f"a tail must be [n, {d}] with n up to {config.chunk}")
    chunk = tokens.new_zeros(config.chunk, d)
    chunk[:n] = tokens
    return stack.backend.surprise(stack.weights, slot, chunk, chunk)[:n]


def read(stack: MemoryStack, slot: int | None, x: Tensor) -> Tensor:
    """Return M(x) [n, d] for x [n, d]: what the memory expects of x; 0 where slot is None, the initial memory."""
    return stack.backend.read(stack.weights, [slot], x[None])[0]

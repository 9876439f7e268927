"""Random and adversarial streams of tokens, and what they do to a memory: its stability, at any width and depth."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn.functional import normalize

from memsvc.memory.config import MemoryConfig
from memsvc.memory.state import MemoryStack
from memsvc.memory.step import update

Stream = Iterator[Tensor]
"""Chunks [b, d] float32, without end."""


def random_topic(b: int, d: int, generator: torch.Generator) -> Stream:
    """Yield unit tokens around a direction that moves, as text's token states do."""
    topic = torch.randn(d, generator=generator)
    while True:
        topic = 0.9 * topic + 0.436 * torch.randn(d, generator=generator)
        yield normalize(torch.randn(b, d, generator=generator) + topic, dim=1)


def repeated(b: int, d: int, generator: torch.Generator) -> Stream:
    """Yield one unit token for ever."""
    token = normalize(torch.randn(d, generator=generator), dim=0)
    while True:
        yield token.expand(b, d)


def orthogonal(b: int, d: int, generator: torch.Generator) -> Stream:
    """Yield the d rows of an orthogonal matrix in turn."""
    basis, _ = torch.linalg.qr(torch.randn(d, d, generator=generator))
    start = 0
    while True:
        yield basis[torch.arange(start, start + b) % d]
        start = (start + b) % d


def alternating(b: int, d: int, generator: torch.Generator) -> Stream:
    """Yield x, −x, x, … and after every four chunks the same with another x."""
    signs = 1.0 - 2.0 * (torch.arange(b)[:, None] % 2)
    while True:
        token = normalize(torch.randn(d, generator=generator), dim=0)
        for _ in range(4):
            yield signs * token


def opposing(b: int, d: int, generator: torch.Generator) -> Stream:
    """Yield a chunk of x, then one of −x, and so on: what a chunk teaches, the next contradicts."""
    token = normalize(torch.randn(d, generator=generator), dim=0)
    while True:
        yield token.expand(b, d)
        yield -token.expand(b, d)


def extreme(b: int, d: int, generator: torch.Generator) -> Stream:
    """Yield tokens of norms from 0 and 1e-30 to 1e30, in one chunk and from chunk to chunk."""
    while True:
        norms = 10.0 ** (60.0 * torch.rand(b, 1, generator=generator) - 30.0)
        yield normalize(torch.randn(b, d, generator=generator), dim=1) * norms
        scale = 10.0 ** (12.0 * float(torch.rand((), generator=generator)) - 6.0)
        chunk = scale * normalize(torch.randn(b, d, generator=generator), dim=1)
        chunk[0] = 0.0
        yield chunk


def switching(b: int, d: int, generator: torch.Generator) -> Stream:
    """Yield from all the others in turn, eight chunks each."""
    others = [make(b, d, generator) for make in (random_topic, repeated, orthogonal, alternating, opposing, extreme)]
    while True:
        for stream in others:
            for _ in range(8):
                yield next(stream)


STREAMS: Mapping[str, Callable[[int, int, torch.Generator], Stream]] = MappingProxyType(
    {make.__name__: make for make in (random_topic, repeated, orthogonal, alternating, opposing, extreme, switching)}
)
"""All streams, by name; each takes b, d and a generator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stability:
    """What one stream did to one memory."""

    stream: str
    layers: int
    width: int
    tokens: int
    finite: bool
    """Whether Δ and S were finite whenever looked at."""
    radius_share: float
    """Largest ‖Δ_l‖ over the radius, whenever looked at; at most 1 but for rounding."""
    first_surprise: float
    """Mean of the first chunk that was taken."""
    last_surprise: float
    """Mean of the last chunk that was taken."""
    bounded: int
    """Chunks whose step the curvature bound shortened; and so on."""
    clipped: int
    projected: int
    skipped: int
    """Chunks that were not taken."""


def run_stability(
    configs: Sequence[MemoryConfig], streams: Sequence[str], tokens: int, *, seed: int = 0, look_every: int = 16
) -> list[Stability]:
    """Stream at least `tokens` tokens into every memory, from each stream, side by side in one stack.

    Args:
        configs: memories of one shape (layers, width, seed, chunk).
        streams: names in STREAMS.
        tokens: for each pair of a config and a stream; rounded up to whole chunks.
        seed: of the streams.
        look_every: chunks between two looks at all the weights; the last chunk is always looked at.
    """
    pairs = [(config, name) for config in configs for name in streams]
    b, d = configs[0].chunk, configs[0].width
    stack = MemoryStack(configs[0], len(pairs))
    rows = [STREAMS[name](b, d, torch.Generator().manual_seed(seed + i)) for i, (_, name) in enumerate(pairs)]
    chunks = -(-tokens // b)
    finite = torch.ones(len(pairs), dtype=torch.bool)
    share = torch.zeros(len(pairs))
    counts = torch.zeros(4, len(pairs), dtype=torch.int64)
    first, last = torch.full((len(pairs),), torch.nan), torch.full((len(pairs),), torch.nan)
    radius = torch.tensor([config.radius for config, _ in pairs])
    slots, thresholds, memories = range(len(pairs)), [0.0] * len(pairs), [config for config, _ in pairs]
    for chunk in range(chunks):
        result = update(stack, slots, memories, thresholds, torch.stack([next(row) for row in rows]))
        counts += torch.stack([result.bounded, result.clipped, result.projected, ~result.finite])
        mean = result.surprise.mean(1)
        last = torch.where(result.finite, mean, last)
        first = torch.where(first.isnan(), last, first)
        if chunk % look_every == 0 or chunk == chunks - 1:
            finite &= stack.delta.isfinite().flatten(1).all(1) & stack.momentum.isfinite().flatten(1).all(1)
            share = torch.maximum(share, torch.linalg.vector_norm(stack.delta, dim=(2, 3)).amax(1) / radius)
    return [
        Stability(
            stream=name,
            layers=config.layers,
            width=d,
            tokens=chunks * b,
            finite=bool(finite[i]),
            radius_share=float(share[i]),
            first_surprise=float(first[i]),
            last_surprise=float(last[i]),
            bounded=int(counts[0, i]),
            clipped=int(counts[1, i]),
            projected=int(counts[2, i]),
            skipped=int(counts[3, i]),
        )
        for i, (config, name) in enumerate(pairs)
    ]

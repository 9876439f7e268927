"""The needle test: facts at the head of long streams, asked for from a fork of the state at each length.

One batched pass per haystack, whatever the number of lengths and of facts. An answer is exact when each of its tokens
is the likeliest after the ones before, which is what greedy decoding would give.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from memsvc.backbone.titans_mac.model import TitansMac
from memsvc.backbone.titans_mac.state import StreamState
from memsvc.train.families import FamilyName
from memsvc.train.source import Fact, Source

Condition = Literal["memory", "memory off", "zero writes", "other tenant"]
CONDITIONS: tuple[Condition, ...] = ("memory", "memory off", "zero writes", "other tenant")
_CHUNKS = 16
"""Of one call of the model, between lengths."""
_GAPS = (20, 60)
"""Tokens between facts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NeedleTest:
    """What is asked.

    Raises:
        ValueError: a length is no multiple of the model's chunk, or too short for the facts.
    """

    lengths: tuple[int, ...]
    """Tokens after which the facts are asked for, ascending."""
    streams: int = 8
    """Independent ones: each with facts and a place in the haystack of its own."""
    needles: int = 8
    """Facts of each stream."""
    family: FamilyName = "similar"
    condition: Condition = "memory"
    seed: int = 0


class NeedleRow(NamedTuple):
    """The answers at one length."""

    condition: str
    length: int
    depth: float
    """Where in the stream the facts are, on average: 0 is its beginning, 1 its end."""
    n: int
    """Answers."""
    exact: float
    """Share of them without a wrong token."""
    digits: float
    """Share of right tokens."""
    gate_share: float
    """Share of the tokens after the facts that opened the gate so far."""


class _Stream(NamedTuple):
    """One stream's tokens and questions."""

    head: list[int]
    """The facts, and haystack between them."""
    hay: Tensor
    """What follows, over and over, [n]."""
    facts: list[Fact]
    depth: int
    """Where the middle one of the facts is."""

    def take(self, start: int, stop: int) -> Tensor:
        """Return the tokens from start to stop."""
        at = torch.arange(start, stop)
        head = torch.tensor(self.head)
        later = self.hay[(at - len(head)).clamp_min(0) % len(self.hay)]
        return torch.where(at < len(head), head[at.clamp(max=len(head) - 1)], later)


@torch.no_grad()
def needle_test(
    model: TitansMac, source: Source, test: NeedleTest, hay: Sequence[int] | None = None
) -> Iterator[NeedleRow]:
    """Yield a row for each length, as soon as it is reached.

    Args:
        model: with the gate hard.
        source: of the facts, and of the haystack.
        test: what is asked.
        hay: another haystack.
    """
    b = model.config.chunk
    rng = random.Random(f"needle/{test.seed}")  # noqa: S311  # a seed, no secret
    streams = [_draw(source, test, rng, hay) for _ in range(test.streams)]
    longest = max(len(stream.head) for stream in streams)
    if any(length % b or length < longest + 2 * b for length in test.lengths):
        raise ValueError(f"lengths must be multiples of {b}, and at least {longest + 2 * b} for these facts")
    memory, learning = test.condition != "memory off", test.condition in {"memory", "other tenant"}
    state, done, opened = model.initial(test.streams), 0, 0.0
    for length in test.lengths:
        while done < length:
            stop = min(length, done + _CHUNKS * b)
            tokens = torch.stack([stream.take(done, stop) for stream in streams]).to(state.chunks.device)
            passed = model.stream(tokens, state, memory=memory, learning=learning)
            after = torch.arange(done, stop) >= torch.tensor([[len(stream.head)] for stream in streams])
            opened += float((passed.write.cpu() * after).sum())
            state, done = passed.state, stop
        asked = _swapped(state) if test.condition == "other tenant" else state
        right = torch.cat([_ask(model, streams, j, length, asked, memory=memory) for j in range(test.needles)])
        ordinary = sum(length - len(stream.head) for stream in streams)
        yield NeedleRow(
            test.condition,
            length,
            sum(stream.depth for stream in streams) / len(streams) / length,
            len(right),
            float((right == 1).double().mean()),
            float(right.mean()),
            opened / ordinary,
        )


def _draw(source: Source, test: NeedleTest, rng: random.Random, hay: Sequence[int] | None) -> _Stream:
    facts = source.facts(rng, test.needles, test.family)
    if hay is None:
        text = source.haystack(rng, max(test.lengths), test=True)
    else:
        start = rng.randrange(len(hay))
        text = [*hay[start:], *hay[:start]]
    head: list[int] = []
    place, places = 0, []
    for fact in facts:
        gap = rng.randint(*_GAPS)
        head += [text[(place + i) % len(text)] for i in range(gap)]
        place += gap
        places.append(len(head))
        head += [*fact.before, *fact.value, *fact.after]
    return _Stream(head, torch.roll(torch.tensor(text), -place), facts, places[len(places) // 2])


def _swapped(state: StreamState) -> StreamState:
    """Return it with every stream's memory replaced by its neighbour's."""
    if state.memory is None:
        return state
    memory = state.memory
    turned = [tuple(torch.roll(w, 1, 0) for w in weights) for weights in (memory.delta, memory.momentum)]
    return state._replace(memory=memory._replace(delta=turned[0], momentum=turned[1]))


def _ask(
    model: TitansMac, streams: Sequence[_Stream], j: int, length: int, state: StreamState, *, memory: bool
) -> Tensor:
    """Return the share of right tokens of each stream's j-th answer, [B]. The haystack goes on up to the question."""
    b = model.config.chunk
    rows, scored = [], []
    for stream in streams:
        fact = stream.facts[j]
        asked = [*fact.question, *fact.value]
        room = -len(asked) % b
        rows.append([*stream.take(length, length + room).tolist(), *asked])
        scored.append(len(fact.value) - fact.free)
    if len({len(row) for row in rows}) > 1:
        raise ValueError("a question and its answer must fit in a chunk")
    tokens = torch.tensor(rows, device=state.chunks.device)
    hidden = model.stream(tokens, state, memory=memory, learning=False).hidden
    right = (model.logits(hidden)[:, :-1].argmax(-1) == tokens[:, 1:]).double().cpu()
    return torch.stack([row[-count:].mean() for row, count in zip(right, scored, strict=True)])

"""The needle test: facts at the head of long streams, asked for from a fork of the state at each length.

One batched pass per haystack, whatever the number of lengths and of facts. An answer is exact when each of its tokens
is the likeliest after the ones before, which is what greedy decoding would give.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from memsvc.backbone.titans_mac.model import TitansMac
from memsvc.backbone.titans_mac.state import StreamState
from memsvc.train.source import Fact

Condition = Literal["memory", "memory off", "zero writes", "other tenant"]
CONDITIONS: tuple[Condition, ...] = ("memory", "memory off", "zero writes", "other tenant")
Draw = Callable[[random.Random, int], list[Fact]]
"""Gives so many facts with different keys."""
_CHUNKS = 32
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

    head: Tensor
    """The facts, and haystack between them, [m]."""
    hay: Tensor
    """What follows, over and over, [n]."""
    start: int
    """Where in it."""
    facts: list[Fact]
    depth: int
    """Where the middle one of the facts is."""

    def take(self, start: int, stop: int) -> Tensor:
        """Return the tokens from start to stop."""
        end = len(self.head)
        later = torch.arange(max(start, end), max(stop, end)) + (self.start - end)
        return torch.cat([self.head[start:stop], self.hay[later % len(self.hay)].long()])


@torch.no_grad()
def needle_test(model: TitansMac, draw: Draw, hay: Tensor, test: NeedleTest) -> Iterator[NeedleRow]:
    """Yield a row for each length, as soon as it is reached.

    Args:
        model: with the gate hard.
        draw: gives the facts.
        hay: tokens of ordinary text, [n]; each stream begins somewhere in it, and at its end it begins again.
        test: what is asked.
    """
    b = model.config.chunk
    rng = random.Random(f"needle/{test.seed}")  # noqa: S311  # a seed, no secret
    streams = [_draw(draw(rng, test.needles), rng, hay) for _ in range(test.streams)]
    longest = max(len(stream.head) for stream in streams)
    if any(length % b or length < longest + 2 * b for length in test.lengths):
        raise ValueError(f"lengths must be multiples of {b}, and at least {longest + 2 * b} for these facts")
    memory, learning = test.condition != "memory off", test.condition in {"memory", "other tenant"}
    state, done, opened = model.initial(test.streams), 0, 0.0
    for length in test.lengths:
        while done < length:
            stop = min(length, done + _CHUNKS * b)
            tokens = torch.stack([stream.take(done, stop) for stream in streams]).to(state.chunks.device)
            passed = model.stream(tokens, state, memory=memory, learning=learning, hidden=False)
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


def _draw(facts: list[Fact], rng: random.Random, hay: Tensor) -> _Stream:
    place = rng.randrange(len(hay))
    head: list[int] = []
    places = []
    for fact in facts:
        gap = rng.randint(*_GAPS)
        head += hay[torch.arange(place, place + gap) % len(hay)].tolist()
        place += gap
        places.append(len(head))
        head += [*fact.before, *fact.value, *fact.after]
    return _Stream(torch.tensor(head), hay, place, facts, places[len(places) // 2])


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
    asked = [[*stream.facts[j].question, *stream.facts[j].value] for stream in streams]
    whole = -(-max(map(len, asked)) // b) * b
    rows = [
        [*stream.take(length, length + whole - len(end)).tolist(), *end]
        for stream, end in zip(streams, asked, strict=True)
    ]
    tokens = torch.tensor(rows, device=state.chunks.device)
    hidden = model.stream(tokens, state, memory=memory, learning=False).hidden
    right = (model.logits(hidden)[:, :-1].argmax(-1) == tokens[:, 1:]).double().cpu()
    scored = [len(stream.facts[j].value) - stream.facts[j].free for stream in streams]
    return torch.stack([row[-count:].mean() for row, count in zip(right, scored, strict=True)])

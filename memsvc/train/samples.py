"""Training sequences: facts somewhere in a haystack, more haystack, then questions about all of them.

Dense: every fact is asked for, since answers are what the memory learns from.
"""

import random
from typing import NamedTuple

import torch
from torch import Tensor

from memsvc.train.families import FamilyName
from memsvc.train.source import Fact, Source
from memsvc.train.stages import Stage

_DISTRACTORS = 8
"""At most so many, or one for every two facts."""
_SOON = 0.2
"""Share of sequences whose questions may come at once."""
_END = 0.3
"""Weight of an answer's end."""
SHUT, EITHER, OPEN = -1, 0, 1


class Batch(NamedTuple):
    """Sequences, and what counts in them."""

    tokens: Tensor
    """[rows, length] int64."""
    weight: Tensor
    """Of each token's prediction in the loss, [rows, length]: 1 where an answer has to be known."""
    gate: Tensor
    """What the memory's gate is to do at a token, [rows, length]: OPEN, SHUT, or EITHER.

    It is to open at a fact's value and nowhere else: what a statement says beside it would fill the memory with what
    nobody asks for. A value may be written where it is the answer, too: that looks like a statement, and says the same.
    """

    def to(self, device: torch.device) -> "Batch":
        """Return it on a device."""
        return Batch(*(tensor.to(device) for tensor in self))


class _Row:
    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.weight: list[float] = []
        self.gate: list[int] = []

    def put(self, tokens: list[int] | tuple[int, ...], weight: float, gate: int = SHUT) -> None:
        self.tokens += tokens
        self.weight += [weight] * len(tokens)
        self.gate += [gate] * len(tokens)


def batch(source: Source, stage: Stage, rng: random.Random, *, chunk: int, family: FamilyName = "training") -> Batch:
    """Return a batch.

    Args:
        source: of facts and haystacks.
        stage: says how many rows, how long, with how many facts.
        rng: draws all.
        chunk: tokens of the model's chunk. Questions come at least two later than facts, but for a few sequences.
        family: of the facts; all but `training` take the haystack for tests.
    """
    rows = [
        _row(
            source,
            stage,
            rng,
            chunk,
            test=family != "training",
            facts=source.facts(rng, rng.choice(stage.needles), family),
        )
        for _ in range(stage.rows)
    ]
    return Batch(
        torch.tensor([row.tokens for row in rows]),
        torch.tensor([row.weight for row in rows]),
        torch.tensor([row.gate for row in rows]),
    )


def _taken(facts: list[Fact], decoys: list[tuple[int, ...]]) -> int:
    told = sum(len(f.before) + 2 * len(f.value) + len(f.after) + len(f.question) + len(f.end) for f in facts)
    return told + sum(map(len, decoys))


def _row(source: Source, stage: Stage, rng: random.Random, chunk: int, *, test: bool, facts: list[Fact]) -> _Row:
    decoys = [source.distractor(rng, test=test) for _ in range(rng.randint(0, max(_DISTRACTORS, len(facts) // 2)))]
    while (left := stage.length - _taken(facts, decoys)) < 3 * chunk:
        if len(facts) > max(1, len(decoys)):
            facts = facts[: len(facts) - max(1, len(facts) // 10)]
        elif decoys:
            decoys.pop()
        elif left >= 2 * chunk:
            break  # one long fact, and the least that its question comes later by
        else:
            raise ValueError(f"a sequence of {stage.length} tokens has no room for a fact and its question")
    hay = source.haystack(rng, left, test=test)
    # Behind the window mostly: it is the memory that has to know. Yet what was just told is asked for, too.
    least, most = (0, chunk) if rng.random() < _SOON else (2 * chunk, 4 * chunk)
    tail = rng.randint(least, min(left, most))
    row, place = _Row(), 0
    parts: list[Fact | tuple[int, ...]] = [*facts, *decoys]
    rng.shuffle(parts)
    for cut, part in zip(sorted(rng.randint(0, left - tail) for _ in parts), parts, strict=True):
        row.put(hay[place:cut], stage.prose)
        place = cut
        if isinstance(part, Fact):
            row.put(part.before, stage.prose)
            # Nobody can know it before it is told.
            row.put(part.value[: part.free], 0.0, EITHER)
            row.put(part.value[part.free :], 0.0, OPEN)
            row.put(part.after, stage.prose)
        else:
            row.put(part, stage.prose)
    row.put(hay[place : left - tail], stage.prose)
    place = left - tail
    # Half of the questions come at the very end, one after the other.
    cuts = sorted(left - tail + rng.randint(least, tail) if rng.random() < 0.5 else left for _ in facts)
    for cut, fact in zip(cuts, rng.sample(facts, len(facts)), strict=True):
        row.put(hay[place:cut], stage.prose)
        place = cut
        row.put(fact.question, stage.prose)
        row.put(fact.value[: fact.free], stage.prose, EITHER)
        row.put(fact.value[fact.free :], 1.0, EITHER)
        row.put(fact.end, _END)
    row.put(hay[place:], stage.prose)
    return row

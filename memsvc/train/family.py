"""A family of needles: forms of sentences, and what is filled in."""

import random
from dataclasses import dataclass
from typing import NamedTuple

from memsvc.train.clauses import Wording, loose, tail
from memsvc.train.words import draw

_LOOSE = 0.4
"""Share of statements, of questions and of attributes that are of any words, where there are some."""
_TAILS = 0.25
"""Share of statements and of questions in which other words come before the value."""
_ENDS = (".", ".", ".", ",", ";", "!", ")", " -", "\n", " and", " for", " in", " to")


class Needle(NamedTuple):
    """A fact, in the pieces that are encoded apart."""

    before: str
    """Up to the value."""
    value: str
    """A blank, and the value."""
    after: str
    question: str
    """Ends where the value follows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Forms that are combined at random."""

    attributes: tuple[str, ...]
    statements: tuple[str, ...]
    """With {key}, {attribute} and, after both, {value}; in a dialogue with {speaker} and {other}, too."""
    questions: tuple[str, ...]
    """With {key} and {attribute}; the value follows."""
    lengths: tuple[int, ...]
    """Digits of a value; what is here more often is drawn more often."""
    test: bool
    """Whether its keys are those that training may not see."""
    names: tuple[str, ...] = ("",) * 2
    """Of speakers."""
    lead: str = " "
    """What every form begins with."""
    wording: Wording | None = None
    """To make loose forms and attributes of; without it there are none."""

    def draw(self, rng: random.Random, count: int) -> list[Needle]:
        """Return so many needles with different keys."""
        return [self._needle(rng, key) for key in draw(rng, count, test=self.test)]

    def _needle(self, rng: random.Random, key: str) -> Needle:
        speaker, other = rng.sample(self.names, 2)
        words = {
            "key": key.capitalize() if rng.random() < 0.3 else key,
            "attribute": self._attribute(rng),
            "speaker": speaker,
            "other": other,
        }
        length = rng.choice(self.lengths)
        value = str(rng.randrange(10 ** (length - 1), 10**length))
        before, after = self._statement(rng)
        return Needle(
            f"{self.lead}{before.format(**words)}",
            f" {value}",
            after.format(**words),
            f"{self.lead}{self._question(rng).format(**words)}",
        )

    def _statement(self, rng: random.Random) -> tuple[str, str]:
        if (clause := self._loose(rng)) is not None:
            return f"{clause}{self._tail(rng)}", rng.choice(_ENDS)
        before, after = rng.choice(self.statements).split(" {value}")
        return f"{before}{self._tail(rng)}", after

    def _question(self, rng: random.Random) -> str:
        clause = self._loose(rng)
        return f"{rng.choice(self.questions) if clause is None else clause}{self._tail(rng)}"

    def _attribute(self, rng: random.Random) -> str:
        if self.wording is None or rng.random() >= _LOOSE:
            return rng.choice(self.attributes)
        return " ".join(self.wording.word(rng) for _ in range(rng.randint(1, 2)))

    def _loose(self, rng: random.Random) -> str | None:
        if self.wording is None or rng.random() >= _LOOSE:
            return None
        speaker = "{speaker}: " if any(self.names) else ""
        return f"{speaker}{loose(rng, self.wording, ('{key}', '{attribute}'))}"

    def _tail(self, rng: random.Random) -> str:
        return tail(rng, self.wording) if self.wording is not None and rng.random() < _TAILS else ""

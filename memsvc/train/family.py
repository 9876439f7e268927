"""A family of needles: forms of sentences, and what is filled in."""

import random
from dataclasses import dataclass
from typing import NamedTuple

from memsvc.train.clauses import loose, word
from memsvc.train.words import draw

_LOOSE = 0.4
"""Share of statements, of questions and of attributes that are of any words, where there are some."""
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
    words: tuple[str, ...] = ()
    """To make loose forms and attributes of, the most frequent first; without any there are none."""

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
        if not self._loose(rng):
            before, after = rng.choice(self.statements).split(" {value}")
            return before, after
        speaker = "{speaker}: " if any(self.names) else ""
        return f"{speaker}{loose(rng, self.words, ('{key}', '{attribute}'))}", rng.choice(_ENDS)

    def _question(self, rng: random.Random) -> str:
        if not self._loose(rng):
            return rng.choice(self.questions)
        speaker = "{speaker}: " if any(self.names) else ""
        return f"{speaker}{loose(rng, self.words, ('{key}', '{attribute}'))}"

    def _attribute(self, rng: random.Random) -> str:
        if not self._loose(rng):
            return rng.choice(self.attributes)
        return " ".join(word(rng, self.words) for _ in range(rng.randint(1, 2)))

    def _loose(self, rng: random.Random) -> bool:
        return bool(self.words) and rng.random() < _LOOSE

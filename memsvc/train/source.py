"""What a model is trained on, as tokens: facts, haystacks, and what looks like facts."""

import random
from typing import NamedTuple, Protocol

from tokenizers import Tokenizer

from memsvc.train.families import FamilyName

Tokens = tuple[int, ...]


class Fact(NamedTuple):
    """A needle in tokens."""

    before: Tokens
    """Of its statement, up to the value."""
    value: Tokens
    after: Tokens
    question: Tokens
    """Ends where the value follows."""
    end: Tokens
    """What ends an answer."""
    free: int
    """Tokens at the value's start that are no part of what has to be known: a blank, say."""


class Source(Protocol):
    """One kind of text."""

    @property
    def name(self) -> str:
        """`text`, `dialogue` or `dna`."""
        ...

    @property
    def tokenizer(self) -> Tokenizer:
        """From text to tokens."""
        ...

    def facts(self, rng: random.Random, count: int, family: FamilyName) -> list[Fact]:
        """Return facts with different keys."""
        ...

    def haystack(self, rng: random.Random, count: int, *, test: bool) -> list[int]:
        """Return so many tokens of ordinary text, from a random place on."""
        ...

    def distractor(self, rng: random.Random, *, test: bool) -> Tokens:
        """Return something that looks like a fact, and is none."""
        ...

"""Pseudo-words: names that no text has. A fifth of them is kept for tests."""

import random
import zlib
from collections.abc import Iterator

_SYLLABLES = tuple(c + v for c in "bdfgklmnprstvz" for v in "aeiou")
_ENDINGS = ("", "", "n", "r", "x", "k", "l", "s")
_HELD_OUT = 5
"""One word in so many, by its checksum."""


def held_out(word: str) -> bool:
    """Return whether training may not see this word."""
    return zlib.crc32(word.lower().encode()) % _HELD_OUT == 0


def draw(rng: random.Random, count: int, *, test: bool) -> list[str]:
    """Return so many different words, all of them for tests or all of them for training."""
    words = (word for word in _words(rng) if held_out(word) == test)
    found: dict[str, None] = {}
    while len(found) < count:
        found[next(words)] = None
    return list(found)


def _words(rng: random.Random) -> Iterator[str]:
    while True:
        yield "".join(rng.choices(_SYLLABLES, k=rng.choice((2, 3, 3)))) + rng.choice(_ENDINGS)

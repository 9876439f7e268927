"""Text of any length as pieces that an encoder takes."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

RUNG = 8
"""Padded lengths are multiples of this. Powers of two cost 1.4 times the tokens on dialogue (NUMERICS.md)."""
OVERLAP = 32
"""Content tokens that a passage repeats of the one before, so that what it says of its first words has a context."""


class Passage(NamedTuple):
    """A piece of a text."""

    ids: NDArray[np.int32]
    """[n] token ids, special tokens included."""
    start: int
    """Where it begins in the text, in code points."""
    end: int
    skip: int
    """Content tokens at its beginning whose states are not given: the passage before had them."""


class Split(NamedTuple):
    """A text cut into passages."""

    passages: tuple[Passage, ...]
    """At least one, even where the encoder makes no token of the text."""
    tokens: int
    """Content tokens of the text."""
    unknown: int
    """How many of them the vocabulary does not know."""


class Encoded(NamedTuple):
    """What an encoder makes of a passage."""

    states: NDArray[np.float32]
    """[n, d] unit rows: the content tokens after `skip`, without special tokens."""
    pooled: NDArray[np.float32]
    """[d] unit: the mean over all tokens, special ones included."""


class Frame(NamedTuple):
    """What a passage holds besides content."""

    prefix: tuple[int, ...]
    suffix: tuple[int, ...]
    window: int
    """Tokens of a passage at most, special ones included."""
    blank: int
    """The one token of a passage that would have none; it is skipped."""

    def cut(self, ids: NDArray[np.int32], bounds: NDArray[np.int32], length: int) -> tuple[Passage, ...]:
        """Cut a text at token borders.

        Args:
            ids: [n] the content tokens.
            bounds: [n, 2] their start and end in the text; looked at only where there are several passages.
            length: of the text, in code points.

        Returns:
            Passages that overlap. Their spans cover the text, and each content token is new in exactly one.
        """
        if not (len(ids) or self.prefix or self.suffix):
            return (Passage(np.array([self.blank], np.int32), 0, length, 1),)
        room = self.window - len(self.prefix) - len(self.suffix)
        overlap = min(OVERLAP, room // 4)
        passages = []
        for first in range(0, max(len(ids) - overlap, 1), room - overlap):
            stop = first + room
            framed = np.array([*self.prefix, *ids[first:stop], *self.suffix], np.int32)
            start = int(bounds[first, 0]) if first else 0
            end = int(bounds[stop - 1, 1]) if stop < len(ids) else length
            passages.append(Passage(framed, start, end, overlap if first else 0))
        return tuple(passages)

    def content(self, passage: Passage) -> slice:
        """Return where in a passage's ids the content tokens are whose states are given."""
        return slice(len(self.prefix) + passage.skip, len(passage.ids) - len(self.suffix))

"""What a retrieval benchmark asks: streams of entries, and questions whose answering entries are known."""

from collections.abc import Sequence
from typing import NamedTuple


class Passage(NamedTuple):
    """One entry to write; its id is its position in the stream."""

    session: str
    text: str


class Question(NamedTuple):
    """One question."""

    text: str
    gold: frozenset[int]
    """Positions of the entries that answer it."""
    category: str


class Stream(NamedTuple):
    """What one tenant is given, and asked."""

    name: str
    entries: Sequence[Passage]
    questions: Sequence[Question]

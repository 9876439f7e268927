"""Entries of committed records on their way to their views, and their passages in batches of like length."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from memsvc.recall.encoder import Encoded, Passage, Split
from memsvc.store.types import Record
from memsvc.tenant.chunk import Floats, Indexed, Taken
from memsvc.tenant.record import Content, decode_payload

if TYPE_CHECKING:
    from memsvc.engine.lane import Lane


@dataclass(slots=True)
class Arrival:
    """One entry of a record, or a record without entries."""

    lane: "Lane"
    record: Record
    position: int
    """0 as well in a record without entries."""
    content: Content | None = None
    """None until it is taken up, and where there is no entry."""
    taken: Taken | None = None
    """What the view found then."""
    split: Split | None = None
    """Of a text that is encoded."""
    encoded: list[Encoded | None] = field(default_factory=list)

    @property
    def last(self) -> bool:
        """Whether it ends its record."""
        return self.position >= len(self.record.entries) - 1

    def take_up(self) -> None:
        """Decode it, when its turn has come, and show it to its view.

        Raises:
            DataLossError: it cannot be read.
        """
        view = self.lane.view
        if self.position == 0:
            view.begin(self.record)
        if self.record.entries:
            stored = self.record.entries[self.position]
            self.content = decode_payload(stored.payload)
            self.taken = view.take_up(stored.number, self.content)

    def text(self, dim: int) -> str | None:
        """Return what an encoder of this width has to encode of it, None for nothing."""
        if self.content is None or self.taken is None or self.taken.repeats is not None:
            return None
        # A vector of another width was given to another encoder; the text is what counts then.
        return None if len(self.content.vector) == 4 * dim else self.content.text

    def split_into(self, split: Split) -> None:
        """Take note of its passages."""
        self.split, self.encoded = split, [None] * len(split.passages)

    def indexed(self, dim: int) -> tuple[Indexed, list[Floats], int] | None:
        """Return what the index keeps of an entry, its token states in pieces [n, d], and how many were unknown."""
        if self.content is None or self.taken is None:
            return None
        number = self.record.entries[self.position].number
        if self.taken.repeats is not None:
            nothing, nowhere = np.empty((0, dim), np.float32), np.empty((0, 2), np.int32)
            return Indexed(number, self.content, self.taken, nothing, nowhere, 0), [], 0
        if self.split is None:
            given = np.frombuffer(self.content.vector, np.float32)[None]
            whole = np.array([[0, len(self.content.text)]], np.int32)
            return Indexed(number, self.content, self.taken, given, whole, 1), [given], 0
        encoded = [e for e in self.encoded if e is not None]
        vectors = np.stack([e.pooled for e in encoded])
        spans = np.array([[p.start, p.end] for p in self.split.passages], np.int32)
        kept = Indexed(number, self.content, self.taken, vectors, spans, self.split.tokens)
        return kept, [e.states for e in encoded], self.split.unknown


@dataclass(slots=True)
class Batch:
    """Passages to encode together; places say whose they are."""

    passages: list[Passage] = field(default_factory=list)
    places: list[tuple[Arrival, int]] = field(default_factory=list)


@dataclass(slots=True)
class Lot:
    """Entries that were taken in together."""

    entries: list[Arrival]
    batches: deque[Batch]
    """What is still to be encoded of them."""


def batched(arrivals: Iterable[Arrival], max_tokens: int) -> deque[Batch]:
    """Return the passages of those that are split in batches of at most about so many tokens.

    Passages of like length go together: they fill up to what a forward pass takes.
    """
    rows = [(p, arrival, i) for arrival in arrivals if arrival.split for i, p in enumerate(arrival.split.passages)]
    batches: deque[Batch] = deque()
    tokens = max_tokens
    for passage, arrival, i in sorted(rows, key=lambda row: len(row[0].ids)):
        tokens += len(passage.ids)
        if tokens > max_tokens:
            batches.append(Batch())
            tokens = len(passage.ids)
        batches[-1].passages.append(passage)
        batches[-1].places.append((arrival, i))
    return batches

"""What passes between a view and the memory: chunks of tokens, and what the memory said of them."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from memsvc.tenant.context_stream import ContextStream
from memsvc.tenant.record import Content

Floats = NDArray[np.float32]


class Chunk(NamedTuple):
    """One full chunk of b tokens, ready to step the memory."""

    tokens: Floats
    """[b, d], unit rows."""
    owners: NDArray[np.int64]
    """[b], the entry number of each token; empty in a chunk that is replayed."""


class Replay(NamedTuple):
    """A place in the stream where the memory goes over what was written: draw its chunk when its turn comes."""

    ordinal: int
    """0, 1, 2 ... in a tenant."""
    rows: int
    """Passages written before it; the chunk is drawn from these."""


class Told(NamedTuple):
    """Tokens of a text on their way into the tenant's context memory."""

    context: ContextStream
    tokens: list[int]
    """Of one entry or several."""
    chunks: int
    """How many they may make whole, at most."""


class Stepped(NamedTuple):
    """What the memory said of one chunk (a row of memory.step.ChunkResult)."""

    surprise: NDArray[np.floating[Any]]
    """[b]."""
    wrote: NDArray[np.bool_]
    """[b]."""
    bounded: bool
    clipped: bool
    projected: bool
    finite: bool


class Taken(NamedTuple):
    """What a view found when it took up an entry, in the order of writing."""

    text_key: bytes
    """Equal for texts that count as equal."""
    repeats: int | None
    """The number of a living entry whose text it shares, and brings nothing of its own for."""


class Indexed(NamedTuple):
    """One entry of a record, encoded: what the index keeps of it."""

    number: int
    content: Content
    taken: Taken
    vectors: Floats
    """[p, d], one unit row per passage; none where it repeats another."""
    spans: NDArray[np.int32]
    """[p, 2], code points."""
    tokens: int
    """Of the text; 0 where it repeats another."""

"""A tenant's tokens on their way to its memory: the tail that waits for its chunk to fill, and what is replayed."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from memsvc.memory.config import MemoryConfig
from memsvc.recall.columns import Column
from memsvc.recall.vectors import Vectors
from memsvc.tenant.chunk import Chunk, Floats, Replay


class Stream:
    """Cuts tokens into chunks. Where chunks and replays fall depends on the stream of entries, never on its records."""

    def __init__(self, width: int) -> None:
        self.tail = np.empty((0, width), np.float32)
        """The tokens that wait for their chunk to fill, [n < b, d]."""
        self.owners = np.empty(0, np.int64)
        """The entry number of each token in the tail, [n]."""
        self._cut = 0
        """Chunks handed out."""
        self._learnt = Column(np.int64)
        """Places in the index's vectors of the passages that the memory learns from."""
        self._open: list[Floats] = []
        """Per entry fed and not indexed, its passages' vectors."""
        self._rows = 0
        """Passages fed."""

    @property
    def nbytes(self) -> int:
        """About how many bytes of memory are held."""
        return self.tail.nbytes + self._learnt.nbytes

    def restore(self, tail: Floats, owners: NDArray[np.int64], chunks: int, learnt: NDArray[np.int64]) -> None:
        """Go on where a stream stood at a record's boundary, after so many chunks, with these passages indexed."""
        self.tail, self.owners, self._cut = tail, owners, chunks
        self._learnt.extend(learnt)
        self._rows = len(learnt)

    def feed(
        self, number: int, states: Sequence[Floats], vectors: Floats, config: MemoryConfig
    ) -> list[Chunk | Replay]:
        """Append one entry's token states, in pieces [n, d]; return the chunks that are full now, and replays.

        `vectors` [p, d] are its passages'.
        """
        out: list[Chunk | Replay] = []
        # Piece by piece: the states of a long text are many megabytes, which nobody should copy at once.
        for piece in states:
            self._cut_off(number, piece, config, out)
        self._open.append(vectors)
        self._rows += len(vectors)
        return out

    def _cut_off(self, number: int, piece: Floats, config: MemoryConfig, out: list[Chunk | Replay]) -> None:
        waiting = np.concatenate([self.tail, piece])
        owners = np.concatenate([self.owners, np.full(len(piece), number, np.int64)])
        b, every = config.chunk, config.replay
        full = len(waiting) // b * b
        self.tail, self.owners = waiting[full:].copy(), owners[full:].copy()
        for i in range(0, full, b):
            out.append(Chunk(waiting[i : i + b], owners[i : i + b]))
            self._cut += 1
            if every and self._cut % every == 0 and self._rows:
                out.append(Replay(self._cut // every, self._rows))

    def draw(self, replay: Replay, config: MemoryConfig, vectors: Vectors) -> Chunk:
        """Return a replay's chunk: b vectors of passages fed before it, drawn by a hash of their places.

        `vectors` are the index's.
        """
        b = config.chunk
        places = np.arange(replay.ordinal * b, (replay.ordinal + 1) * b, dtype=np.uint64)
        rows = (_splitmix(places + np.uint64(config.seed)) % np.uint64(replay.rows)).astype(np.int64)
        learnt = self._learnt.values
        recent = rows >= len(learnt)
        tokens = np.empty((b, vectors.dim), np.float32)
        tokens[~recent] = vectors.take(learnt[rows[~recent]])
        if recent.any():
            tokens[recent] = np.concatenate(self._open)[rows[recent] - len(learnt)]
        return Chunk(tokens, np.empty(0, np.int64))

    def indexed(self, places: Sequence[NDArray[np.int64]]) -> None:
        """Take note of where in the index's vectors the passages lie of the entries fed longest ago, [p] each."""
        for passages in places:
            self._learnt.extend(passages)
        del self._open[: len(places)]


def _splitmix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Mix 64-bit integers well (Steele, Lea & Flood 2014); ours, so that no library's change moves a draw."""
    x = x * np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))

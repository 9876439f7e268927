"""What becomes of entries after they were written: what the memory said of them, feedback, eviction, death."""

import numpy as np
from numpy.typing import NDArray

from memsvc.errors import DataLossError
from memsvc.memory.importance import importance, lowest, surplus
from memsvc.recall.columns import Column

ALIVE = np.iinfo(np.int64).max
"""The seq at which a living entry dies."""


class Lives:
    """Per entry, by position. Nothing is taken away: an entry that dies or leaves keeps its place."""

    def __init__(self) -> None:
        self._died, self._evicted, self._dead = Column(np.int64), Column(np.int64), 0
        self._feedback = Column(np.int64)
        # What the memory said of each entry's tokens so far: sum of surprise, tokens stepped, tokens that wrote.
        self._surprise, self._stepped, self._wrote = Column(np.float64), Column(np.int64), Column(np.int64)

    def __len__(self) -> int:
        return len(self._died)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(column.nbytes for column in self._columns())

    @property
    def living(self) -> int:
        """Entries that neither died nor left."""
        return len(self) - self._dead

    @property
    def lives(self) -> NDArray[np.bool_]:
        """[n], which entries neither died nor left."""
        lives: NDArray[np.bool_] = (self._died.values == ALIVE) & (self._evicted.values == ALIVE)
        return lives

    @property
    def undead(self) -> NDArray[np.int64]:
        """The positions of the entries that did not die; they may have left."""
        return np.flatnonzero(self._died.values == ALIVE)

    @property
    def evicted(self) -> int:
        """Entries that left and would live else."""
        return int(np.count_nonzero((self._died.values == ALIVE) & (self._evicted.values != ALIVE)))

    @property
    def feedback(self) -> NDArray[np.int64]:
        """[n], times that each was called useful, less times that it was called useless."""
        return self._feedback.values

    def extend(self, count: int) -> None:
        """Append living entries."""
        self._died.extend(np.full(count, ALIVE))
        self._evicted.extend(np.full(count, ALIVE))
        self._feedback.extend(np.zeros(count, np.int64))
        self._surprise.extend(np.zeros(count))
        self._stepped.extend(np.zeros(count, np.int64))
        self._wrote.extend(np.zeros(count, np.int64))

    def lived(self, count: int, as_of: int) -> NDArray[np.bool_]:
        """Return which of the first `count` entries neither died nor left up to a seq."""
        lived: NDArray[np.bool_] = np.minimum(self._died.values[:count], self._evicted.values[:count]) > as_of
        return lived

    def die(self, position: int, seq: int) -> bool:
        """Let an entry die at a seq; return whether it had not died before."""
        if self._died.values[position] != ALIVE:
            return False
        self._died.values[position] = seq
        self._dead += bool(self._evicted.values[position] == ALIVE)
        return True

    def rate(self, position: int, by: int) -> None:
        """Add to the feedback on an entry."""
        self._feedback.values[position] += by

    def is_evicted(self, position: int) -> bool:
        """Whether an entry left."""
        return bool(self._evicted.values[position] != ALIVE)

    def add_surprise(self, position: int, total: float, tokens: int, wrote: int) -> None:
        """Count tokens of an entry that the memory has stepped over, their summed surprise, and how many wrote."""
        self._surprise.values[position] += total
        self._stepped.values[position] += tokens
        self._wrote.values[position] += wrote

    def surprise_of(self, position: int) -> tuple[float, int, int]:
        """Return the summed surprise of an entry's tokens stepped so far, their number, and how many wrote."""
        columns = (self._surprise, self._stepped, self._wrote)
        total, stepped, wrote = (column.values[position] for column in columns)
        return float(total), int(stepped), int(wrote)

    def importance(self, tokens: NDArray[np.int32]) -> NDArray[np.float64]:
        """Return every entry's importance, [n], from how many tokens each has."""
        stepped, length = self._stepped.values, tokens.astype(np.float64)
        surprise = np.divide(self._surprise.values, stepped, out=np.full(len(self), np.nan), where=stepped > 0)
        written = np.cumsum(length)
        age = written[-1:] - written
        return importance(surprise, length, age, self._feedback.values.astype(np.float64))

    def resample(self, tokens: NDArray[np.int32], most: int, seq: int) -> int:
        """Let the least important of the living leave where there are more than `most`; return how many left."""
        if not (count := surplus(self.living, most)):
            return 0
        living = np.flatnonzero(self.lives)
        leaving = living[lowest(self.importance(tokens)[living], count)]
        self._evicted.values[leaving] = seq
        self._dead += len(leaving)
        return len(leaving)

    def take_back(self, tokens: NDArray[np.int32], most: int) -> int:
        """Let the most important of those that left come back, up to `most` in all; return how many did."""
        away = np.flatnonzero((self._died.values == ALIVE) & (self._evicted.values != ALIVE))
        room = min(most - self.living, len(away))
        if room <= 0:
            return 0
        staying = lowest(self.importance(tokens)[away], len(away) - room)
        self._evicted.values[np.delete(away, staying)] = ALIVE
        self._dead -= room
        return room

    def to_bytes(self) -> bytes:
        """Return all of it."""
        columns = [column.values for column in self._columns()]
        return b"".join(c.astype(c.dtype.newbyteorder("<"), copy=False).tobytes() for c in columns)

    def load(self, data: bytes) -> None:
        """Take what `to_bytes` returned of as many entries.

        Raises:
            DataLossError: it was of another number.
        """
        columns = self._columns()
        if len(data) != 8 * len(columns) * len(self):
            raise DataLossError("the surprise of the entries does not fit their number")
        for i, column in enumerate(columns):
            dtype = column.values.dtype.newbyteorder("<")
            column.values[:] = np.frombuffer(data, dtype, len(self), 8 * len(self) * i)
        self._dead = int(np.count_nonzero(~self.lives))

    def _columns(self) -> tuple[Column, ...]:
        return (self._surprise, self._stepped, self._wrote, self._died, self._evicted, self._feedback)

"""Storage that only grows: typed columns, and names with numbers."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from memsvc.recall import pages

COLD_BYTES = 8 << 20
"""From so many bytes on a column that no query reads lies in a file."""


class Column:
    """A one-dimensional or [n, width] array that grows at its end.

    Args:
        dtype: of its numbers.
        width: of its rows; None for numbers.
        cold: whether no query reads it, so that it may lie in a file (pages.py) once it is large.
    """

    def __init__(self, dtype: DTypeLike, width: int | None = None, *, cold: bool = False) -> None:
        self._tail = () if width is None else (width,)
        self._data: NDArray[Any] = np.zeros((0, *self._tail), dtype)
        self._size, self._cold = 0, cold

    def __len__(self) -> int:
        return self._size

    @property
    def values(self) -> NDArray[Any]:
        """The rows so far: a view that an append may leave behind."""
        return self._data[: self._size]

    @property
    def nbytes(self) -> int:
        """Bytes held, spare room included."""
        return self._data.nbytes

    def extend(self, values: NDArray[Any]) -> None:
        """Append rows."""
        size = self._size + len(values)
        if size > len(self._data):
            data = self._room(max(16, size, len(self._data) * 3 // 2))
            data[: self._size] = self.values
            self._data = data
        self._data[self._size : size] = values
        self._size = size

    def _room(self, rows: int) -> NDArray[Any]:
        shape, dtype = (rows, *self._tail), self._data.dtype
        size = math.prod(shape) * dtype.itemsize
        if self._cold and size >= COLD_BYTES and (room := pages.file(size)) is not None:
            return np.frombuffer(room, dtype).reshape(shape)
        return np.zeros(shape, dtype)


class Offsets:
    """Where each entry's items begin in a column that holds all entries' items one after the other."""

    def __init__(self) -> None:
        self._at = Column(np.int64)
        self._at.extend(np.zeros(1, np.int64))

    def __len__(self) -> int:
        return len(self._at) - 1

    @property
    def starts(self) -> NDArray[np.int64]:
        """[n + 1] the first item of each entry, and the number of all items."""
        return self._at.values

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self._at.nbytes

    def extend(self, counts: NDArray[Any]) -> None:
        """Append entries by how many items each has."""
        self._at.extend(self.starts[-1] + np.cumsum(counts, dtype=np.int64))

    def slice(self, start: int, stop: int) -> slice:
        """Return where the items of entries start to stop are."""
        return slice(int(self.starts[start]), int(self.starts[stop]))

    def counts(self, start: int, stop: int) -> NDArray[np.int32]:
        """Return how many items each of the entries start to stop has."""
        return np.diff(self.starts[start : stop + 1]).astype(np.int32)


class Names:
    """Strings numbered 0, 1, 2 ... in the order in which they were first seen."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._numbers: dict[str, int] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self.names)

    @property
    def nbytes(self) -> int:
        """About how many bytes are held: a string object, its place in the list and in the table."""
        return self._bytes + 150 * len(self.names)

    def find(self, name: str) -> int:
        """Return a string's number, -1 for one that was never added."""
        return self._numbers.get(name, -1)

    def add(self, names: Sequence[str]) -> NDArray[np.int64]:
        """Return the strings' numbers; new ones get theirs."""
        numbers = self._numbers
        out = np.empty(len(names), np.int64)
        for i, name in enumerate(names):
            number = numbers.get(name)
            if number is None:
                number = numbers[name] = len(self.names)
                self.names.append(name)
                self._bytes += len(name)
            out[i] = number
        return out


def run_starts(values: NDArray[Any]) -> NDArray[np.int64]:
    """Return where each run of equal values begins."""
    starts = np.ones(len(values), bool)
    np.not_equal(values[1:], values[:-1], out=starts[1:])
    return np.flatnonzero(starts)

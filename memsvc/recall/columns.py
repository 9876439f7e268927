"""Storage that only grows: typed columns, rows of vectors, and names with numbers."""

import mmap
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray

_BLOCK_BYTES = 3 << 20
_PRIVATE = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}


class Column:
    """A one-dimensional or [n, width] array that grows at its end."""

    def __init__(self, dtype: DTypeLike, width: int | None = None) -> None:
        self._tail = () if width is None else (width,)
        self._data: NDArray[Any] = np.zeros((0, *self._tail), dtype)
        self._size = 0

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
            data = np.zeros((max(16, size, len(self._data) * 3 // 2), *self._tail), self._data.dtype)
            data[: self._size] = self.values
            self._data = data
        self._data[self._size : size] = values
        self._size = size


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


class Vectors:
    """Rows of float32 [n, dim] in blocks of one fixed shape.

    Bits of a matrix product depend on its shape (NUMERICS.md, Determinism). A row is always multiplied in the same
    place of a block of the same shape, so its products do not depend on how many rows there are.
    """

    def __init__(self, dim: int) -> None:
        self.dim = dim
        # A power of two, 3 MiB at most: the product runs at the speed of memory, and a small tenant waits little.
        self._rows = 1 << max(6, (_BLOCK_BYTES // (4 * dim)).bit_length() - 1)
        self._blocks: list[NDArray[np.float32]] = []
        self._size = 0

    def __len__(self) -> int:
        return self._size

    @property
    def nbytes(self) -> int:
        """Bytes of the rows so far: the rest of a block has no memory behind it."""
        return self._size * self.dim * 4

    def extend(self, rows: NDArray[np.float32]) -> None:
        """Append rows [m, dim]."""
        done = 0
        while done < len(rows):
            at = self._size % self._rows
            if at == 0:
                # Pages of a private map cost no memory until they are written; an allocator may hand out used ones, and
                # of a shared map even those that are only read take some.
                pages = mmap.mmap(-1, self._rows * self.dim * 4, **_PRIVATE)
                self._blocks.append(np.frombuffer(pages, np.float32).reshape(self._rows, self.dim))
            part = rows[done : done + self._rows - at]
            self._blocks[-1][at : at + len(part)] = part
            self._size += len(part)
            done += len(part)

    def slice(self, start: int, stop: int) -> NDArray[np.float32]:
        """Return a copy of rows start to stop."""
        out = np.empty((stop - start, self.dim), np.float32)
        at = start
        while at < stop:
            block, first = divmod(at, self._rows)
            part = self._blocks[block][first : first + stop - at]
            out[at - start : at - start + len(part)] = part
            at += len(part)
        return out

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return copies of some rows, in the order asked."""
        out = np.empty((len(rows), self.dim), np.float32)
        block, at = np.divmod(rows, self._rows)
        for i in np.unique(block):
            out[block == i] = self._blocks[i][at[block == i]]
        return out

    def products(self, queries: NDArray[np.float32], count: int) -> NDArray[np.float64]:
        """Return the products of the first `count` rows with queries [q, dim], as [q, count]."""
        out = np.empty((len(queries), count))
        # Few queries on the left: with them on the right the product takes three times as long.
        q = torch.from_numpy(np.ascontiguousarray(queries, np.float32))
        with torch.inference_mode():
            for i, start in enumerate(range(0, count, self._rows)):
                stop = min(start + self._rows, count)
                out[:, start:stop] = (q @ torch.from_numpy(self._blocks[i]).T)[:, : stop - start].numpy()
        return out


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

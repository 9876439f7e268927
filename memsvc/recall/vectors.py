"""Rows of vectors that only grow, and their products with a query."""

import numpy as np
import torch
from numpy.typing import NDArray

from memsvc.recall.codes import Codes
from memsvc.recall.pages import Pages, own

_BLOCK_BYTES = 3 << 20
EXACT_ROWS = 8_192
"""Up to so many rows all products are exact. Of more they are those of codes, which are read in a quarter of the time;
`exact` tells what the best of them come to."""


class Vectors:
    """Rows of float32 [n, dim] in blocks of one fixed shape.

    Bits of a matrix product depend on its shape (NUMERICS.md, Determinism). A row is always multiplied in the same
    place of a block of the same shape, so its products do not depend on how many rows there are.

    Where there are many, there are codes of all of them beside, and the rows themselves may lie in a file (pages.py).
    """

    def __init__(self, dim: int) -> None:
        self.dim = dim
        # A power of two, 3 MiB at most: the product runs at the speed of memory, and a small tenant waits little.
        self._rows = 1 << max(6, (_BLOCK_BYTES // (4 * dim)).bit_length() - 1)
        self._blocks: list[NDArray[np.float32]] = []
        self._size = 0
        self._codes, self._pages = Codes(dim), Pages()

    def __len__(self) -> int:
        return self._size

    @property
    def nbytes(self) -> int:
        """Bytes of the rows so far, and of their codes: the rest of a block has no memory behind it."""
        return self._size * self.dim * 4 + self._codes.nbytes

    def extend(self, rows: NDArray[np.float32]) -> None:
        """Append rows [m, dim]."""
        done = 0
        while done < len(rows):
            at = self._size % self._rows
            if at == 0:
                size = self._rows * self.dim * 4
                # Of many rows only the codes are read by every query.
                room = own(size) if self.are_exact(self._size + 1) else self._pages.block(size)
                self._blocks.append(np.frombuffer(room, np.float32).reshape(self._rows, self.dim))
            part = rows[done : done + self._rows - at]
            self._blocks[-1][at : at + len(part)] = part
            self._size += len(part)
            done += len(part)
        while len(self._codes) < self._size and not self.are_exact(self._size):
            block = len(self._codes) // self._rows
            stop = min((block + 1) * self._rows, self._size)
            self._codes.extend(self.slice(len(self._codes), stop))

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
        """Return the products of the first `count` rows with queries [q, dim], as [q, count].

        They are those of codes, and off by CODE_ERROR, where there are more than EXACT_ROWS of them.
        """
        if not self.are_exact(count):
            return self._codes.products(queries, count)
        out = np.empty((len(queries), count))
        # Few queries on the left: with them on the right the product takes three times as long.
        q = torch.from_numpy(np.ascontiguousarray(queries, np.float32))
        with torch.inference_mode():
            for i, start in enumerate(range(0, count, self._rows)):
                stop = min(start + self._rows, count)
                out[:, start:stop] = (q @ torch.from_numpy(self._blocks[i]).T)[:, : stop - start].numpy()
        return out

    @staticmethod
    def are_exact(count: int) -> bool:
        """Whether the products of the first `count` rows are exact."""
        return count <= EXACT_ROWS

    def exact(self, queries: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the products of some rows with queries [q, dim], as [q, rows]; no bit depends on the other rows."""
        taken = self.take(rows).astype(np.float64)
        return np.stack([np.einsum("nd,d->n", taken, query) for query in queries.astype(np.float64)])

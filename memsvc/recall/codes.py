"""Vectors in a quarter of their bytes: eight bits a number, in steps of each row's own."""

import numpy as np
import torch
from numpy.typing import NDArray

from memsvc.recall.columns import Column

CODE_ERROR = 1e-3
"""What a unit row's product is off by, rarely more: twice the deviation."""
_MOST = 127
_BLOCK_ROWS = 8_192
"""Rows of one product: what it comes to stays in the processor's caches."""


class Codes:
    """Codes of rows [n, dim]. Their products are sums of integers: no bit depends on how many rows there are."""

    def __init__(self, dim: int) -> None:
        self._dim, self._steps = dim, Column(np.float32)
        self._blocks: list[NDArray[np.int8]] = []

    def __len__(self) -> int:
        return len(self._steps)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return len(self._blocks) * _BLOCK_ROWS * self._dim + self._steps.nbytes

    def extend(self, rows: NDArray[np.float32]) -> None:
        """Append rows [m, dim]."""
        codes, steps = _coded(rows)
        done = 0
        while done < len(codes):
            at = (len(self) + done) % _BLOCK_ROWS
            if at == 0:
                self._blocks.append(np.zeros((_BLOCK_ROWS, self._dim), np.int8))
            part = codes[done : done + _BLOCK_ROWS - at]
            self._blocks[-1][at : at + len(part)] = part
            done += len(part)
        self._steps.extend(steps)

    def products(self, queries: NDArray[np.float32], count: int) -> NDArray[np.float64]:
        """Return the products of the first `count` rows with queries [q, dim], as [q, count].

        Each is off by less than CODE_ERROR, mostly. What a query's code leaves of it is coded again, in finer steps.
        """
        coarse, step = _coded(queries)
        fine, finer = _coded(queries - coarse * step[:, None])
        both, q = torch.from_numpy(np.concatenate([coarse, fine])), len(queries)
        out = np.empty((q, count))
        for block, start in zip(self._blocks, range(0, count, _BLOCK_ROWS), strict=False):
            part = slice(start, min(start + _BLOCK_ROWS, count))
            # Exact: 127² times the width stays far below 2³¹.
            sums = torch._int_mm(both, torch.from_numpy(block[: part.stop - start]).T).numpy()
            out[:, part] = (sums[:q] * step[:, None] + sums[q:] * finer[:, None]) * self._steps.values[part]
        return out


def _coded(rows: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return codes [n, dim], and what one of each row's steps is worth, [n]."""
    steps = np.maximum(np.abs(rows).max(1), np.finfo(np.float32).tiny) / np.float32(_MOST)
    return np.rint(rows / steps[:, None]).astype(np.int8), steps

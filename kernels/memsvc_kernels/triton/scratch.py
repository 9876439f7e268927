"""What the kernels of one step hand on to each other, kept from one call to the next."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from memsvc_kernels.triton.layout import PROJECTED, RATES, SCALARS

KINDS = 3
"""Of activations: inputs, hidden, errors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scratch:
    """Room for B rows at most; every tensor has a row for each."""

    inputs: Tensor
    """a, [B, L, b, d]."""
    hidden: Tensor
    """h, [B, L, b, d]."""
    errors: Tensor
    """δ, [B, L, b, d]."""
    norms: Tensor
    """‖a‖² and ‖δ‖², [B, L, 2, b] float64."""
    gram: Tensor
    """[B, L, b, b] float64."""
    folded: Tensor
    """[B, …] float64, see `layout`, and so plan and results."""
    squares: Tensor
    """[B, L, tiles] float64."""
    results: Tensor
    plan: Tensor
    written_plan: Tensor
    """Where the host writes the plan: in memory that a GPU copies from by itself."""

    @classmethod
    def allocate(
        cls, rows: int, layers: int, chunk: int, width: int, tiles: int, *, dtype: torch.dtype, device: torch.device
    ) -> "Scratch":
        """Return room for so many rows."""
        inputs, hidden, errors = (
            torch.empty(rows, layers, chunk, width, dtype=dtype, device=device) for _ in range(KINDS)
        )

        def doubles(*shape: int) -> Tensor:
            return torch.empty(rows, *shape, dtype=torch.float64, device=device)

        columns = RATES.value + 4 * chunk
        return cls(
            inputs=inputs,
            hidden=hidden,
            errors=errors,
            norms=doubles(layers, 2, chunk),
            gram=doubles(layers, chunk, chunk),
            folded=doubles(2 * chunk + SCALARS.value),
            squares=doubles(layers, tiles),
            results=doubles(2 * chunk + PROJECTED.value + layers),
            plan=doubles(columns),
            written_plan=torch.empty(rows, columns, dtype=torch.float64, pin_memory=device.type == "cuda"),
        )

    def numbers(self, rows: int) -> NDArray[np.float64]:
        """Return the plan of so many rows, to be written; what a call before wrote there must have been copied."""
        numbers: NDArray[np.float64] = self.written_plan[:rows].numpy()
        return numbers

    def send_plan(self, rows: int) -> None:
        """Copy what was written to the device."""
        self.plan[:rows].copy_(self.written_plan[:rows], non_blocking=True)


def bytes_of_row(layers: int, chunk: int, width: int, tiles: int, dtype: torch.dtype) -> int:
    """Return what one row takes, roughly: its activations and float64 numbers."""
    return layers * (KINDS * chunk * width * dtype.itemsize + 8 * (chunk * (chunk + 2) + tiles))

"""The Triton back end: small launches, one for each phase of a step, over all rows."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
import triton
from numpy.typing import NDArray
from torch import Tensor
from triton.knobs import runtime

from memsvc_kernels.interface import Bounds, Rates, StepResult, Weights, largest_step
from memsvc_kernels.triton.apply import apply_kernel, project_kernel
from memsvc_kernels.triton.blocks import Blocks, lookup
from memsvc_kernels.triton.fold import fold_kernel
from memsvc_kernels.triton.layout import BOUNDED, CLIPPED, COUNT, CURVATURE, FINITE, PROJECTED, RATES, SLOT
from memsvc_kernels.triton.norms import gram_kernel
from memsvc_kernels.triton.passes import backward_kernel, error_kernel, forward_kernel
from memsvc_kernels.triton.scratch import Scratch, bytes_of_row

SCRATCH_BYTES = 1 << 30
"""What one launch may take for activations; more rows go into further launches. One row may take more."""
MAX_ROWS = 1 << 15
"""Of one launch: a grid has 65,535 at most."""
TRITON_TYPES = {torch.float32: triton.language.float32, torch.float64: triton.language.float64}


def precision(dtype: torch.dtype) -> str:
    """Return how products of the weights' type are computed, as `tl.dot` names it.

    float32 goes through tensor cores, each number as a sum of two of TF32, in three products: within a few units in
    the last place of float32. float64 is IEEE's.
    """
    return "tf32x3" if dtype == torch.float32 else "ieee"


class TritonBackend:
    """Steps and reads on a GPU, in the weights' own type; on the CPU in Triton's interpreter, to be tested.

    Args:
        device: where the weights are.
        blocks: instead of the table's.

    Raises:
        ValueError: the device is no GPU, and TRITON_INTERPRET=1 is not set.
    """

    def __init__(self, device: torch.device | str = "cuda", *, blocks: Blocks | None = None) -> None:
        self._device, self._blocks = torch.device(device), blocks
        if self._device.type != "cuda" and not runtime.interpret:
            raise ValueError(f"Triton's kernels run on cuda, and with TRITON_INTERPRET=1 on {self._device.type}")
        self._name = torch.cuda.get_device_name(self._device) if self._device.type == "cuda" else self._device.type
        self._scratch: Scratch | None = None
        self._scratch_of: tuple[object, ...] = ()

    # The interpreter computes with NumPy.
    @np.errstate(all="ignore")
    @torch.no_grad()
    def chunk_step(
        self,
        weights: Weights,
        slots: Sequence[int],
        keys: Tensor,
        values: Tensor,
        *,
        rates: Rates,
        bounds: Bounds,
        counts: Sequence[int] | None = None,
    ) -> StepResult:
        """Step B chunks; see `Backend`."""
        rows, chunk, width = keys.shape
        counts = counts or [chunk] * rows
        _check_slots(weights, slots)
        if not all(0 < count <= chunk for count in counts):
            raise ValueError(f"a row has 1 to {chunk} tokens")
        layers, dtype = len(weights.initial), weights.delta.dtype
        plan = np.zeros((rows, RATES.value + 4 * chunk))
        plan[:, SLOT.value], plan[:, COUNT.value] = slots, counts
        most = np.full(rows, largest_step(dtype))
        for column, bound in enumerate((*(x.numpy() for x in bounds), most), CURVATURE.value):
            plan[:, column] = bound
        for i, rate in enumerate(rates):
            plan[:, RATES.value + i * chunk : RATES.value + (i + 1) * chunk] = rate.numpy()
        results = np.empty((rows, 2 * chunk + PROJECTED.value + layers))
        tiles = triton.cdiv(width, self._blocks_of(weights).outputs) ** 2
        most_rows = max(1, min(MAX_ROWS, SCRATCH_BYTES // bytes_of_row(layers, chunk, width, tiles, dtype)))
        for part in (slice(first, first + most_rows) for first in range(0, rows, most_rows)):
            results[part] = self._step(
                weights, slots[part], plan[part], keys[part], None if values is keys else values[part]
            )
        surprise, wrote, flags = np.split(results, (chunk, 2 * chunk), axis=1)
        bounded, clipped, finite = (torch.from_numpy(flags[:, i.value] > 0) for i in (BOUNDED, CLIPPED, FINITE))
        return StepResult(
            surprise=torch.from_numpy(surprise).to(dtype).contiguous(),
            wrote=torch.from_numpy(wrote > 0),
            bounded=bounded,
            clipped=clipped,
            projected=torch.from_numpy((flags[:, PROJECTED.value :] > 0).any(1)),
            finite=finite,
        )

    def surprise(self, weights: Weights, slot: int, keys: Tensor, values: Tensor) -> Tensor:
        """Return the surprise [b] of a chunk [b, d]; see `Backend`."""
        # A chunk none of whose tokens writes.
        shut = torch.full((1, len(keys)), torch.inf, dtype=torch.float64)
        still, free = torch.zeros_like(shut), shut[:, 0]
        result = self.chunk_step(
            weights,
            [slot],
            keys[None],
            values[None],
            rates=Rates(still, still, still, shut),
            bounds=Bounds(free, free, free),
        )
        return result.surprise[0]

    @np.errstate(all="ignore")
    @torch.no_grad()
    def read(self, weights: Weights, slots: Sequence[int | None], x: Tensor) -> Tensor:
        """Return M(x) [B, n, d]; see `Backend`."""
        _check_slots(weights, [slot for slot in slots if slot is not None])
        rows, count, width = x.shape
        layers, dtype = len(weights.initial), weights.delta.dtype
        out = torch.zeros(x.shape, dtype=dtype, device=self._device)
        most_rows = max(1, min(MAX_ROWS, SCRATCH_BYTES // max(1, 2 * layers * count * width * dtype.itemsize)))
        for first in range(0, rows if count else 0, most_rows):
            part = slice(first, first + most_rows)
            # A row without a slot has no tokens, and stays 0.
            plan = [(0, 0) if slot is None else (slot, count) for slot in slots[part]]
            inputs, hidden = (
                torch.empty(len(plan), layers, count, width, dtype=dtype, device=self._device) for _ in range(2)
            )
            inputs[:, 0].copy_(x[part])
            phases = _Phases(weights, self._own(np.array(plan, np.float64)), self._blocks_of(weights))
            phases.forward(inputs, hidden, out[part], out[part], len(plan))
        return out

    def _step(
        self,
        weights: Weights,
        slots: Sequence[int],
        plan: NDArray[np.float64],
        keys: Tensor,
        values: Tensor | None,
    ) -> NDArray[np.float64]:
        """Step rows that there is scratch memory for; return the rows' results."""
        rows, chunk, _ = keys.shape
        scratch, phases = self._prepare(weights, rows, chunk)
        order, waves = _waves(slots)
        if len(waves) > 1:
            plan, keys, values = plan[order], keys[order], None if values is None else values[order]
        scratch.numbers(rows)[:] = plan
        scratch.send_plan(rows)
        scratch.inputs[:rows, 0].copy_(keys)
        own_values = scratch.inputs if values is None else self._own(values, weights.delta.dtype)
        for start, wave in waves:
            phases.forward(scratch.inputs, scratch.hidden, own_values, scratch.errors, wave, start)
            phases.backward(scratch, wave, start)
            phases.apply(scratch, wave, start)
        results: NDArray[np.float64] = scratch.results[:rows].cpu().numpy()
        back = np.empty_like(results)
        back[order] = results
        return back

    def _prepare(self, weights: Weights, rows: int, chunk: int) -> tuple[Scratch, "_Phases"]:
        """Return room for the rows, the last call's where it fits, and what launches the kernels."""
        layers, width, _ = weights.initial.shape
        blocks = self._blocks_of(weights)
        key = layers, chunk, width, weights.delta.dtype
        if self._scratch is None or self._scratch_of != key or len(self._scratch.plan) < rows:
            self._scratch = None
            tiles = triton.cdiv(width, blocks.outputs) ** 2
            self._scratch = Scratch.allocate(rows, *key[:3], tiles, dtype=key[3], device=self._device)
            self._scratch_of = key
        return self._scratch, _Phases(weights, self._scratch.plan, blocks)

    def _blocks_of(self, weights: Weights) -> Blocks:
        return self._blocks or lookup(self._name, *weights.initial.shape[:2])

    def _own(self, x: Tensor | NDArray[np.float64], dtype: torch.dtype | None = None) -> Tensor:
        """Return a contiguous copy on the device, which is aligned as torch aligns: kernels are compiled for that."""
        x = torch.as_tensor(x)
        return torch.empty(x.shape, dtype=dtype or x.dtype, device=self._device).copy_(x)


class _Phases:
    """Launches the kernels of one call's rows; tiles depend on the memory's shape alone, and so do the last bits.

    Args:
        weights: stacked.
        plan: see `layout`, on the device.
        blocks: tiles.
    """

    def __init__(self, weights: Weights, plan: Tensor, blocks: Blocks) -> None:
        self._weights, self._plan, self._blocks = weights, plan, blocks
        self._layers, self._width = weights.initial.shape[:2]
        self._delta_stride, self._momentum_stride = weights.delta.stride(0), weights.momentum.stride(0)
        self._precision = precision(weights.delta.dtype)
        self._options: dict[str, Any] = {"num_warps": blocks.warps, "num_stages": blocks.stages}
        self._tiles = triton.cdiv(self._width, blocks.outputs)

    def forward(
        self, inputs: Tensor, hidden: Tensor, values: Tensor, errors: Tensor, rows: int, start: int = 0
    ) -> None:
        """Fill in inputs, whose first layer is filled, hidden, and errors, in its last layer or its only one."""
        (delta, _, initial), blocks, chunk = self._weights, self._blocks, inputs.shape[2]
        grid = self._tiles, triton.cdiv(chunk, blocks.tokens), rows
        strides = self._delta_stride, self._plan.stride(0)
        tiles = blocks.tokens, blocks.outputs, blocks.inputs, self._precision
        for layer in range(self._layers - 1):
            forward_kernel[grid](
                *(delta, initial, self._plan, inputs, hidden, *strides),
                *(start, self._layers, layer, chunk, self._width, *tiles),
                **self._options,
            )
        error_kernel[grid](
            *(delta, self._plan, inputs, values, errors, *strides, _layers_of(values), _layers_of(errors)),
            *(start, self._layers, chunk, self._width, *tiles),
            **self._options,
        )

    def backward(self, scratch: Scratch, rows: int, start: int) -> None:
        """Fill in the errors of all layers, their norms and their Gram matrices."""
        (delta, _, initial), blocks, chunk = self._weights, self._blocks, scratch.inputs.shape[2]
        token_tiles = triton.cdiv(chunk, blocks.tokens)
        for layer in range(self._layers - 1, 0, -1):
            backward_kernel[self._tiles, token_tiles, rows](
                *(delta, initial, self._plan, scratch.hidden, scratch.errors),
                *(self._delta_stride, self._plan.stride(0), start, self._layers, layer, chunk, self._width),
                *(blocks.tokens, blocks.outputs, blocks.inputs, self._precision),
                **self._options,
            )
        gram_kernel[token_tiles**2, self._layers, rows](
            *(self._plan, scratch.inputs, scratch.errors, scratch.norms, scratch.gram, self._plan.stride(0)),
            *(start, self._layers, chunk, self._width, blocks.tokens, blocks.inputs, self._precision),
            **self._options,
        )

    def apply(self, scratch: Scratch, rows: int, start: int) -> None:
        """Decide how far the rows step, and step them."""
        (delta, momentum, _), blocks, chunk = self._weights, self._blocks, scratch.inputs.shape[2]
        sizes = self._plan.stride(0), start, self._layers, chunk
        fold_kernel[rows,](
            *(self._plan, scratch.norms, scratch.gram, scratch.folded, scratch.results, *sizes),
            *(max(16, triton.next_power_of_2(chunk)), 16, TRITON_TYPES[delta.dtype]),
        )
        apply_kernel[self._tiles**2, self._layers, rows](
            *(delta, momentum, self._plan, scratch.inputs, scratch.errors, scratch.folded, scratch.squares),
            *(self._delta_stride, self._momentum_stride, *sizes, self._width),
            *(blocks.outputs, blocks.inputs, self._precision),
            **self._options,
        )
        project_kernel[self._tiles, self._layers, rows](
            *(delta, self._plan, scratch.squares, scratch.results, self._delta_stride, *sizes, self._tiles**2),
            *(self._width, blocks.outputs),
        )


def _layers_of(activations: Tensor) -> int:
    """Return how many layers a row has; one where there is no dimension for them."""
    return activations.shape[1] if activations.ndim == 4 else 1  # [B, L, b, d]


def _check_slots(weights: Weights, slots: Sequence[int]) -> None:
    """Raise before a kernel, which checks no index, gets at memory of others."""
    if not all(0 <= slot < len(weights.delta) for slot in slots):
        raise IndexError(f"slots are 0 to {len(weights.delta) - 1}")


def _waves(slots: Sequence[int]) -> tuple[list[int], list[tuple[int, int]]]:
    """Return the rows in the order of their waves, and each wave's first and size: the k-th has each slot's k-th."""
    seen: dict[int, int] = {}
    waves: list[list[int]] = []
    for row, slot in enumerate(slots):
        wave = seen[slot] = seen.get(slot, -1) + 1
        if wave == len(waves):
            waves.append([])
        waves[wave].append(row)
    return [row for wave in waves for row in wave], list(_spans(map(len, waves)))


def _spans(sizes: Iterator[int]) -> Iterator[tuple[int, int]]:
    start = 0
    for size in sizes:
        yield start, size
        start += size

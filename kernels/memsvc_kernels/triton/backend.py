"""The Triton back end: one program a slot, one launch for all rows."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
import triton
from torch import Tensor
from triton.knobs import runtime

from memsvc_kernels.interface import Bounds, Rates, StepResult, Weights, largest_step
from memsvc_kernels.triton.blocks import Blocks, lookup
from memsvc_kernels.triton.fold import VECTORS
from memsvc_kernels.triton.kernels import read_kernel, step_kernel

SCRATCH_BYTES = 1 << 30
"""What one launch may take for activations; more rows go into further launches. One row may take more."""


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
        layers, dtype = len(weights.initial), weights.delta.dtype
        counts = counts or [chunk] * rows
        _check_slots(weights, slots)
        if not all(0 < count <= chunk for count in counts):
            raise ValueError(f"a row has 1 to {chunk} tokens")
        surprise = torch.zeros(rows, chunk, dtype=dtype, device=self._device)
        wrote, flags = (torch.zeros(rows, n, dtype=torch.uint8, device=self._device) for n in (chunk, 4))
        blocks = self._blocks or lookup(self._name, layers, width)
        groups, order = _groups(slots, counts)
        most = torch.full((rows,), largest_step(dtype), dtype=torch.float64)
        inputs = [self._own(x, dtype) for x in (keys, values)[: 1 if values is keys else 2]]
        rate, bound = self._own(torch.stack(rates, 1)), self._own(torch.stack((*bounds, most), 1))
        own_order = self._own(order)
        for part in _parts(groups, 3 * layers * chunk * width * dtype.itemsize):
            step_kernel[(len(part),)](
                weights.delta,
                weights.momentum,
                weights.initial,
                inputs[0],
                inputs[-1],
                rate,
                bound,
                self._own(part),
                own_order,
                surprise,
                wrote,
                flags,
                torch.empty(len(part), 3, layers, chunk, width, dtype=dtype, device=self._device),
                torch.empty(len(part), VECTORS.value, chunk, dtype=torch.float64, device=self._device),
                delta_stride=weights.delta.stride(0),
                momentum_stride=weights.momentum.stride(0),
                chunk=chunk,
                width=width,
                layers=layers,
                block_chunk=triton.next_power_of_2(chunk),
                block_tokens=blocks.tokens,
                block_outputs=blocks.outputs,
                block_inputs=blocks.inputs,
                num_warps=blocks.warps,
                num_stages=blocks.stages,
            )
        return StepResult(surprise.cpu(), wrote.cpu().bool(), *flags.cpu().bool().unbind(1))

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
        _, count, width = x.shape
        layers, dtype = len(weights.initial), weights.delta.dtype
        out = torch.zeros(x.shape, dtype=dtype, device=self._device)
        blocks = self._blocks or lookup(self._name, layers, width)
        learnt = torch.tensor([row for row, slot in enumerate(slots) if slot is not None], dtype=torch.int64)
        tiles = triton.cdiv(count, blocks.tokens)
        for part in _parts(learnt, 2 * layers * tiles * blocks.tokens * width * dtype.itemsize) if count else ():
            at = self._own(part)
            result = torch.empty(len(part), count, width, dtype=dtype, device=self._device)
            read_kernel[(len(part), tiles)](
                weights.delta,
                weights.initial,
                x.to(self._device, dtype)[at],
                self._own(torch.tensor([slots[row] for row in part.tolist()], dtype=torch.int64)),
                result,
                torch.empty(len(part), tiles, 2, layers, blocks.tokens, width, dtype=dtype, device=self._device),
                count,
                delta_stride=weights.delta.stride(0),
                width=width,
                layers=layers,
                block_tokens=blocks.tokens,
                block_outputs=blocks.outputs,
                block_inputs=blocks.inputs,
                num_warps=blocks.warps,
                num_stages=blocks.stages,
            )
            out[at] = result
        return out

    def _own(self, x: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """Return a contiguous copy on the device, which is aligned as torch aligns: kernels are compiled for that."""
        return torch.empty(x.shape, dtype=dtype or x.dtype, device=self._device).copy_(x)


def _check_slots(weights: Weights, slots: Sequence[int]) -> None:
    """Raise before a kernel, which checks no index, gets at memory of others."""
    if not all(0 <= slot < len(weights.delta) for slot in slots):
        raise IndexError(f"slots are 0 to {len(weights.delta) - 1}")


def _groups(slots: Sequence[int], counts: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return each slot with the range of its rows, [G, 4], and the rows in that order with their tokens, [B, 2]."""
    of: dict[int, list[int]] = {}
    for row, slot in enumerate(slots):
        of.setdefault(slot, []).append(row)
    groups: list[tuple[int, ...]] = []
    order: list[tuple[int, int]] = []
    for slot, rows in of.items():
        # Four numbers: every part of the list is aligned alike.
        groups.append((slot, len(order), len(order) + len(rows), 0))
        order += [(row, counts[row]) for row in rows]
    return (
        torch.tensor(groups, dtype=torch.int64).view(len(groups), 4),
        torch.tensor(order, dtype=torch.int64).view(len(order), 2),
    )


def _parts(items: Tensor, item_bytes: int) -> Iterator[Tensor]:
    """Yield the items in parts whose scratch memory is bounded."""
    yield from torch.split(items, max(1, SCRATCH_BYTES // item_bytes)) if len(items) else ()

"""A device whose copies take their time: none is carried out before it has to be, or before chance has it.

Whatever is computed while a copy of the same slot is still to come, or is read too early by the host, is a hazard: on
a real device it would be a race.
"""

import random
from collections import deque
from collections.abc import Sequence

import torch
from memsvc_kernels import Backend, Bounds, Rates, StepResult, Weights, backend
from torch import Tensor

from memsvc.memory.device import Copy, Pair


class FakeDevice:
    """The CPU, with copies that are late.

    Args:
        seed: of when they are carried out.
        arithmetic: the CPU's unless told otherwise.
    """

    place, numerics = torch.device("cpu"), "late copies"
    apart = True

    def __init__(self, seed: int = 0, arithmetic: Backend | None = None) -> None:
        self.hazards: list[str] = []
        self.copies = 0
        self._chance = random.Random(seed)
        self._late: deque[_Late] = deque()
        self.backend: Backend = _Watched(self, arithmetic or backend("cpu"))

    def buffer(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        # What is read too early is not even a number.
        return torch.full(tuple(shape), torch.nan, dtype=dtype)

    def copy(self, pairs: Sequence[Pair]) -> Copy:
        self._some()
        self.copies += 1
        self._late.append(_Late(self, list(pairs)))
        return self._late[-1]

    def carry_out(self, copy: "_Late") -> None:
        """Up to this one, in their order."""
        while copy in self._late:
            self._late.popleft().do()

    def check(self, weights: Weights, slots: Sequence[int]) -> None:
        """Before something is computed."""
        self._some()
        for slot in slots:
            used = {t[slot].data_ptr() for t in (weights.delta, weights.momentum)}
            for late in self._late:
                if used & {t.data_ptr() for pair in late.pairs for t in pair}:
                    self.hazards.append(f"slot {slot} is computed with while a copy of it is under way")

    def _some(self) -> None:
        for _ in range(self._chance.choice([0, 0, 0, 1, 2])):
            if self._late:
                self._late.popleft().do()


class _Late:
    def __init__(self, device: FakeDevice, pairs: list[Pair]) -> None:
        self.pairs, self._device = pairs, device

    def do(self) -> None:
        for pair in self.pairs:
            pair.target.copy_(pair.source)

    def order(self) -> None:
        self._device.carry_out(self)

    def finish(self) -> None:
        self._device.carry_out(self)


class _Watched:
    """Arithmetic, each call of which is looked at before."""

    def __init__(self, device: FakeDevice, arithmetic: Backend) -> None:
        self._device, self._arithmetic = device, arithmetic

    def chunk_step(
        self, weights: Weights, slots: Sequence[int], keys: Tensor, values: Tensor, *, rates: Rates, bounds: Bounds
    ) -> StepResult:
        self._device.check(weights, slots)
        return self._arithmetic.chunk_step(weights, slots, keys, values, rates=rates, bounds=bounds)

    def surprise(self, weights: Weights, slot: int, keys: Tensor, values: Tensor) -> Tensor:
        self._device.check(weights, [slot])
        return self._arithmetic.surprise(weights, slot, keys, values)

    def read(self, weights: Weights, slots: Sequence[int | None], x: Tensor) -> Tensor:
        self._device.check(weights, [slot for slot in slots if slot is not None])
        return self._arithmetic.read(weights, slots, x)

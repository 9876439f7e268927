"""The back end of the CPU with its steps changed on their way into the weights: what the kernels do not have.

For one memory at a time whose tokens all write and are finite. The bounds hold for the step before it is changed.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from memsvc_kernels import Backend, Bounds, Rates, StepResult, Weights
from memsvc_kernels.fold import Fold, fold
from torch import Tensor

from memsvc.memory.device import CpuDevice

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""The coefficients of the quintic iteration that Muon uses (Jordan et al. 2024)."""
NEWTON_SCHULZ_STEPS = 5


class Parts(NamedTuple):
    """What goes into Δ and S at a chunk's end, [L, d, d] each."""

    delta: Tensor
    momentum: Tensor


class Change(Protocol):
    """How a lever changes a chunk's step."""

    def begin(self) -> None:
        """A new memory begins."""
        ...

    def total(self, inputs: Tensor, carried: Parts, new: Parts) -> Parts:
        """Return what is added to the decayed Δ, and S.

        Args:
            inputs: every layer's, [L, b, d], at the chunk's start.
            carried: of the momentum before.
            new: of the chunk's gradients.
        """
        ...


class SecondOrder:
    """Multiplies gradients by gain · λ (A + λI)⁻¹ per layer, A the running second moment of the layer's inputs.

    The half of K-FAC (Martens & Grosse, arXiv:1503.05671) that is about inputs: what all inputs have in common is
    learnt no faster than what tells them apart.

    Args:
        damping: λ as a multiple of A's mean eigenvalue.
        gain: of the step, which the product only shortens.
        half_life: tokens until an input counts half.
        every: chunks between two inverses.
    """

    def __init__(self, damping: float, gain: float, half_life: float = 20_000.0, every: int = 4) -> None:
        self._damping, self._gain, self._half_life, self._every = damping, gain, half_life, every
        self.begin()

    def begin(self) -> None:
        """See `Change`."""
        self._moment, self._tokens, self._chunks = torch.zeros(()), 0.0, 0
        self._inverse: Tensor

    def total(self, inputs: Tensor, carried: Parts, new: Parts) -> Parts:
        """See `Change`."""
        kept = 2 ** (-inputs.shape[1] / self._half_life)
        self._moment = kept * self._moment + inputs.mT @ inputs
        self._tokens = kept * self._tokens + inputs.shape[1]
        if self._chunks % self._every == 0:
            moment = self._moment / self._tokens
            damping = (self._damping * moment.diagonal(dim1=1, dim2=2).mean(1))[:, None, None]
            damped = torch.linalg.cholesky(moment + damping * torch.eye(moment.shape[1]))
            self._inverse = self._gain * damping * torch.cholesky_inverse(damped)
        self._chunks += 1
        return Parts(*(c + n @ self._inverse for c, n in zip(carried, new, strict=True)))


class Orthogonal:
    """Moves Δ by the momentum made orthogonal, as Muon does, and the memories of ATLAS (arXiv:2505.23735).

    Args:
        step: the size of every singular value, about.
    """

    def __init__(self, step: float) -> None:
        self._step = step

    def begin(self) -> None:
        """See `Change`."""

    def total(self, inputs: Tensor, carried: Parts, new: Parts) -> Parts:
        """See `Change`."""
        momentum = carried.momentum + new.momentum
        return Parts(self._step * _orthogonal(momentum), momentum)


class LeverDevice(CpuDevice):
    """The host with such a back end.

    Args:
        change: of every step; None for none.
        start: [L, d, d], what the memory knows at the beginning, and decays to; None for nothing.
    """

    def __init__(self, change: Change | None = None, start: Tensor | None = None) -> None:
        super().__init__()
        self.backend: Backend = _Levered(self.backend, change, start)


class _Levered:
    def __init__(self, plain: Backend, change: Change | None, start: Tensor | None) -> None:
        self._plain, self._change, self._start = plain, change, start

    def chunk_step(
        self, weights: Weights, slots: Sequence[int], keys: Tensor, values: Tensor, *, rates: Rates, bounds: Bounds
    ) -> StepResult:
        """See `Backend`."""
        (slot,) = slots
        delta, momentum = weights.delta[slot], weights.momentum[slot]
        before = Parts(delta.clone(), momentum.clone())
        if self._start is not None:
            delta.add_(self._start)
        result = self._plain.chunk_step(weights, slots, keys, values, rates=rates, bounds=bounds)
        folded = _fold(rates, keys.shape[1])
        if self._start is not None:
            delta.sub_(self._start, alpha=folded.keep_delta)
        if self._change is not None:
            if not before.delta.any():
                self._change.begin()
            carried = Parts(folded.carry * before.momentum, folded.keep_momentum * before.momentum)
            kept = folded.keep_delta * before.delta
            new = Parts(delta - kept - carried.delta, momentum - carried.momentum)
            total = self._change.total(_inputs(weights.initial, before.delta, keys[0]), carried, new)
            delta.copy_(kept + total.delta)
            momentum.copy_(total.momentum)
        return result

    def surprise(self, weights: Weights, slot: int, keys: Tensor, values: Tensor) -> Tensor:
        """See `Backend`."""
        return self._plain.surprise(self._started(weights, slot), 0, keys, values)

    def read(self, weights: Weights, slot: int | None, x: Tensor) -> Tensor:
        """See `Backend`."""
        if slot is None:
            return self._plain.read(weights, None, x)
        return self._plain.read(self._started(weights, slot), 0, x)

    def _started(self, weights: Weights, slot: int) -> Weights:
        delta = weights.delta[slot : slot + 1]
        started = delta if self._start is None else delta + self._start
        return Weights(started, weights.momentum[slot : slot + 1], weights.initial)


def _fold(rates: Rates, tokens: int) -> Fold:
    return fold([1.0] * tokens, rates.eta[0].tolist(), rates.alpha[0].tolist())


def _inputs(initial: Tensor, delta: Tensor, keys: Tensor) -> Tensor:
    """Return every layer's inputs [L, b, d] to the memory W0 + Δ."""
    inputs, h = [keys], keys @ (initial[0] + delta[0]).T
    for weight in (initial + delta)[1:]:
        inputs.append(torch.nn.functional.silu(h))
        h = h + inputs[-1] @ weight.T
    return torch.stack(inputs)


def _orthogonal(matrices: Tensor) -> Tensor:
    """Return [L, d, d] with their singular values near 1."""
    a, b, c = NEWTON_SCHULZ
    x: Tensor = matrices / (torch.linalg.matrix_norm(matrices, keepdim=True) + 1e-12)
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x

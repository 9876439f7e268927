"""The CPU back end: torch, one row after the other, each in matrix products whose shapes the other rows do not touch.

Vectors over a chunk's tokens are float64 NumPy arrays: at that size a call costs more than its arithmetic.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from memsvc_kernels.fold import Fold, fold
from memsvc_kernels.interface import Bounds, Rates, StepResult, Weights, largest_step
from memsvc_kernels.workspace import Workspace

_silu = torch.ops.aten.silu.out
_silu_backward = torch.ops.aten.silu_backward.grad_input

Doubles = NDArray[np.float64]
Bools = NDArray[np.bool_]


class CpuBackend:
    """Steps and reads on the CPU, in the weights' own type (float32 or float64).

    Args:
        products: the type of what a step multiplies. With bfloat16, weights, activations and errors are rounded to it
            before a product, and the product after it; Δ and S stay in the weights' type. float32 is the weights' own.
    """

    def __init__(self, products: torch.dtype = torch.float32) -> None:
        if products not in {torch.float32, torch.bfloat16}:
            raise ValueError(f"products are float32 or bfloat16, not {products}")
        self._products = products
        self._workspaces: dict[tuple[int, int, int, torch.dtype], Workspace] = {}
        # With constant rates the coefficients depend on how many tokens write, and on nothing else.
        self._fold = lru_cache(maxsize=256)(_fold)

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
        rows, tokens, _ = keys.shape
        result = StepResult(
            torch.empty(rows, tokens, dtype=weights.delta.dtype),
            torch.zeros(rows, tokens, dtype=torch.bool),
            *(torch.zeros(rows, dtype=torch.bool) for _ in range(4)),
        )
        surprise, wrote, bounded, clipped, projected, finite = (column.numpy() for column in result)
        theta, eta, alpha, threshold = (rate.numpy() for rate in rates)
        curvature, radius, clip = (bound.tolist() for bound in bounds)
        for row, (slot, count) in enumerate(zip(slots, counts or [tokens] * rows, strict=True)):
            delta, momentum = weights.delta[slot], weights.momentum[slot]
            workspace = self._workspace(delta, tokens)
            norms = _backward(workspace, weights.initial, delta, keys[row], values[row])
            surprise[row] = norms.surprise
            if not math.isfinite(norms.surprise[:count].sum(dtype=np.float64)):
                continue
            opens = norms.surprise >= threshold[row]
            opens[count:] = False
            (at,) = opens.nonzero()
            if len(at):
                limit = math.inf if curvature[row] == math.inf else curvature[row] * (1.0 - float(eta[row][at].max()))
                step = _bounded_step(workspace, norms, at, theta[row][at], _Limits(limit, clip[row]))
                if step is None:
                    continue
                folded = self._fold(eta[row][at].tobytes(), alpha[row][at].tobytes())
                _apply(workspace, _outer(workspace, folded, step.theta, at), folded, delta, momentum)
                bounded[row], clipped[row], projected[row] = step.bounded, step.clipped, _project(delta, radius[row])
            wrote[row], finite[row] = opens, True
        return result

    @torch.no_grad()
    def surprise(self, weights: Weights, slot: int, keys: Tensor, values: Tensor) -> Tensor:
        """Return the surprise [b] of a chunk [b, d]; see `Backend`."""
        delta = weights.delta[slot]
        workspace = self._workspace(delta, len(keys))
        return torch.from_numpy(_backward(workspace, weights.initial, delta, keys, values).surprise)

    @torch.no_grad()
    def read(self, weights: Weights, slots: Sequence[int | None], x: Tensor) -> Tensor:
        """Return M(x) [B, n, d]; see `Backend`."""
        out = torch.zeros_like(x, dtype=weights.delta.dtype)
        for row, slot in enumerate(slots):
            if slot is not None:
                _read(weights.initial, weights.delta[slot], x[row], out[row])
        return out

    def _workspace(self, delta: Tensor, tokens: int) -> Workspace:
        key = (delta.shape[0], tokens, delta.shape[1], delta.dtype)
        if key not in self._workspaces:
            rounded = self._products == torch.bfloat16
            self._workspaces[key] = Workspace.allocate(*key, products=self._products if rounded else delta.dtype)
        return self._workspaces[key]


def _read(initial: Tensor, delta: Tensor, x: Tensor, out: Tensor) -> None:
    """Fill in M(x) [n, d]."""
    # A copy of ours is aligned as torch aligns, whatever the caller's was.
    x = x.to(delta.dtype, copy=True)
    h = torch.addmm(x @ initial[0].T, x, delta[0].T)
    for inner, learnt in zip(initial[1:-1], delta[1:-1], strict=True):
        a = torch.nn.functional.silu(h)
        h = h.addmm_(a, inner.T).addmm_(a, learnt.T)
    out.copy_(torch.nn.functional.silu(h) @ delta[-1].T)


class _Norms(NamedTuple):
    """Per token, after the backward pass."""

    surprise: NDArray[np.floating[Any]]
    """g, [b], in the weights' type."""
    length: Doubles
    """‖e‖, [b]."""
    tangent: Doubles
    """√K_jj = g / ‖e‖, [b]; 0 where there is no error."""


class _Limits(NamedTuple):
    """What one chunk's step has to keep to."""

    curvature: float
    """Of θ_eff λ: c (1 − η)."""
    clip: float


class _Step(NamedTuple):
    """How far each of the k writing tokens steps."""

    theta: Doubles
    """[k], after the bounds."""
    bounded: bool
    clipped: bool


class _Outer(NamedTuple):
    """A sum of outer products per layer: left @ right."""

    into_delta: Tensor
    """[L, d, k]."""
    into_momentum: Tensor
    """[L, d, k]."""
    right: Tensor
    """[L, k, d]."""


@np.errstate(over="ignore", invalid="ignore")
def _backward(workspace: Workspace, initial: Tensor, delta: Tensor, keys: Tensor, values: Tensor) -> _Norms:
    """Fill in every layer's input a and error δ, and return the norms."""
    weight, a, h, e = workspace.weight, workspace.input, workspace.hidden, workspace.error
    last, learnt = len(weight), delta[-1] if workspace.learnt is None else workspace.learnt.copy_(delta[-1])
    torch.add(initial[:-1], delta[:-1], out=workspace.weights)
    a[0].copy_(keys)
    torch.mm(a[0], weight[0].T, out=h[0])
    for i in range(1, last):
        _silu(h[i - 1], out=a[i])
        torch.addmm(h[i - 1], a[i], weight[i].T, out=h[i])
    _silu(h[-1], out=a[last])
    torch.mm(a[last], learnt.T, out=e[last]).sub_(values)
    torch.mm(e[last], learnt, out=workspace.gradient)
    _silu_backward(workspace.gradient, h[-1], grad_input=e[last - 1])
    for i in range(last - 1, 0, -1):
        torch.mm(e[i], weight[i], out=workspace.gradient)
        _silu_backward(workspace.gradient, h[i - 1], grad_input=e[i - 1])
        e[i - 1].add_(e[i])
    a_norms, e_norms = torch.linalg.vector_norm(workspace.both, dim=3, dtype=delta.dtype).numpy().astype(np.float64)
    surprise, length = np.sqrt(np.square(a_norms * e_norms).sum(0)), e_norms[last]
    tangent = np.divide(surprise, length, out=np.zeros_like(length), where=length > 0)
    return _Norms(surprise.astype(delta.numpy().dtype), length, tangent)


@np.errstate(over="ignore", invalid="ignore")
def _bounded_step(
    workspace: Workspace, norms: _Norms, at: NDArray[np.intp], theta: Doubles, limits: _Limits
) -> _Step | None:
    """Return the step of the k tokens at [k] within the limits, None when it is not finite."""
    length, tangent = norms.length[at], norms.tangent[at]
    bounded = clipped = False
    gram: Tensor | None = None
    # K costs two products of [b, d] and [d, b] per layer; |K_ij| ≤ √K_ii √K_jj often shows without it that nothing
    # binds. Comparisons are such that what is not a number ends as None.
    if not float(tangent.max() * (theta * tangent).sum()) <= limits.curvature:
        gram = _gram(workspace, norms.length, at)
        largest = float(torch.mv(gram.abs(), torch.from_numpy(theta)).max())
        if not largest <= limits.curvature:
            theta, bounded = theta * (limits.curvature / largest), True
    if not float((theta * length * tangent).sum()) <= limits.clip:
        gram = _gram(workspace, norms.length, at) if gram is None else gram
        moved = torch.from_numpy(theta * length)
        norm = math.sqrt(max(0.0, float(torch.mv(gram, moved).dot(moved))))
        if norm > limits.clip:
            theta, clipped = theta * (limits.clip / norm), True
    if not float((theta * length * np.maximum(tangent, 1.0)).sum()) <= largest_step(workspace.dtype):
        return None
    return _Step(theta, bounded, clipped)


def _gram(workspace: Workspace, length: Doubles, at: NDArray[np.intp]) -> Tensor:
    """Return K [k, k] of the tokens at [k] in float64: their tangents' Gram matrix, summed over the layers."""
    inputs, errors = workspace.inputs, workspace.errors
    inverse = np.divide(1.0, length, out=np.zeros_like(length), where=length > 0)
    unit = torch.mul(errors, torch.from_numpy(inverse)[:, None].to(workspace.dtype), out=workspace.scaled[0])
    alike, agree = (torch.bmm(x, x.mT).to(workspace.dtype) for x in (inputs, unit))
    gram = alike.mul_(agree).sum(0).double()
    return gram if len(at) == len(length) else gram[at][:, at]


def _fold(eta: bytes, alpha: bytes) -> Fold:
    """Return the coefficients of k tokens that all write; the rates as bytes, which can be looked up."""
    rates = [np.frombuffer(rate, np.float64).tolist() for rate in (eta, alpha)]
    return fold([1.0] * len(rates[0]), *rates)


def _outer(workspace: Workspace, folded: Fold, theta: Doubles, at: NDArray[np.intp]) -> _Outer:
    """Return the gradients of the k tokens at [k], weighted for Δ and for S."""
    inputs, errors, scaled = workspace.inputs, workspace.errors, workspace.scaled
    coefficients = np.array([folded.delta, folded.momentum]) * theta
    weighted = torch.from_numpy(coefficients).to(workspace.dtype)[:, None, :, None]
    if len(at) == inputs.shape[1]:
        torch.mul(errors, weighted, out=scaled)
    else:
        index = torch.from_numpy(at)
        inputs, scaled = inputs[:, index], (errors[:, index] * weighted).to(errors.dtype)
    return _Outer(scaled[0].mT, scaled[1].mT, inputs)


def _apply(workspace: Workspace, outer: _Outer, folded: Fold, delta: Tensor, momentum: Tensor) -> None:
    """Fold the chunk into Δ and S [L, d, d], in place."""
    if folded.keep_delta != 1.0:
        delta.mul_(folded.keep_delta)
    delta.add_(momentum, alpha=folded.carry)
    if workspace.change is None:
        delta.baddbmm_(outer.into_delta, outer.right, alpha=-1)
        momentum.baddbmm_(outer.into_momentum, outer.right, beta=folded.keep_momentum, alpha=-1)
    else:
        delta.sub_(torch.bmm(outer.into_delta, outer.right, out=workspace.change))
        momentum.mul_(folded.keep_momentum).sub_(torch.bmm(outer.into_momentum, outer.right, out=workspace.change))


def _project(delta: Tensor, radius: float) -> bool:
    """Draw every layer of Δ [L, d, d] back to the radius; return whether one was outside."""
    projected = False
    for i, norm in enumerate(torch.linalg.vector_norm(delta, dim=(1, 2)).tolist()):
        if norm > radius:
            delta[i].mul_(radius / norm)
            projected = True
    return projected

"""The memory's MLP, forwards and backwards, each row of a batch with weights of its own (NUMERICS.md, Architecture).

    B  rows    b  tokens    L  layers

    h_1 = W_1 x,    h_{l+1} = h_l + W_{l+1} silu(h_l),    M(x) = W_L silu(h_{L−1})

Written out, backwards too, so that training differentiates through the gradient step by ordinary autograd.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

Weights = tuple[Tensor, ...]
"""One per layer: [B, out, in]."""


class Forward(NamedTuple):
    """One pass."""

    inputs: tuple[Tensor, ...]
    """a_l, what each layer was given: [B, b, in]."""
    slopes: tuple[Tensor, ...]
    """silu'(h_l) of all layers but the last: [B, b, hidden]."""
    output: Tensor
    """M(x), [B, b, value]."""


def forward(weights: Weights, x: Tensor) -> Forward:
    """Return M(x) for x [B, b, key], and what the way back needs."""
    h = x @ weights[0].mT
    a, slope = silu(h)
    inputs, slopes = [x, a], [slope]
    for weight in weights[1:-1]:
        h = torch.baddbmm(h, a, weight.mT)
        a, slope = silu(h)
        inputs.append(a)
        slopes.append(slope)
    return Forward(tuple(inputs), tuple(slopes), a @ weights[-1].mT)


def backward(weights: Weights, slopes: tuple[Tensor, ...], error: Tensor) -> tuple[Tensor, ...]:
    """Return δ_l = ∂ℓ/∂(output of layer l), [B, b, out] per layer, for the error M(k) − v; ∂ℓ/∂W_l = δ_l a_lᵀ."""
    deltas = [error, (error @ weights[-1]) * slopes[-1]]
    for weight, slope in zip(reversed(weights[1:-1]), reversed(slopes[:-1]), strict=True):
        deltas.append(deltas[-1] + (deltas[-1] @ weight) * slope)
    return tuple(reversed(deltas))


def silu(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the activation of x and its derivative."""
    activation: Tensor
    slope: Tensor
    activation, slope = _Silu.apply(x)  # type: ignore[no-untyped-call]  # torch has no types for it
    return activation, slope


class _Silu(torch.autograd.Function):
    """Both at once: composed of torch's operations, they keep twice as many tensors for the way back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        gate = torch.sigmoid(x)
        activation = x * gate
        # s + x s (1 − s)
        slope = torch.addcmul(gate + activation, gate, activation, value=-1)
        ctx.save_for_backward(gate, activation, slope)
        return activation, slope

    @staticmethod
    def backward(ctx: Any, by_activation: Tensor, by_slope: Tensor) -> Tensor:
        gate, activation, slope = ctx.saved_tensors
        # The second derivative, s (1 − s) (2 + x (1 − 2 s)).
        curve = torch.addcmul(gate + slope, gate, activation, value=-1) * (1 - gate)
        gradient: Tensor = by_activation * slope + by_slope * curve
        return gradient

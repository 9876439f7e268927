"""What the chunk step has to equal: NUMERICS.md token by token, in float64, with gradients by autograd.

Slow, and derived apart from the kernels: gradients and tangents are full matrices that autograd gives, and Δ and S
go through the recurrence of One token instead of a closed form. "Finite" is asked of the result; the kernels'
`largest_step`, which foresees it, is not part of it.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import silu


class Reference(NamedTuple):
    """One slot after a chunk."""

    delta: Tensor
    """[L, d, d] float64."""
    momentum: Tensor
    """[L, d, d] float64."""
    surprise: Tensor
    """[b] float64."""
    wrote: Tensor
    """[b] bool."""
    bounded: bool
    clipped: bool
    projected: bool
    finite: bool


def forward(weights: Tensor, x: Tensor) -> Tensor:
    """Return M(x) [..., d] for x [..., d] and W [L, d, d] (NUMERICS.md, Architecture)."""
    h = x @ weights[0].T
    for w in weights[1:-1]:
        h = h + silu(h) @ w.T
    return silu(h) @ weights[-1].T


def step(
    initial: Tensor,
    delta: Tensor,
    momentum: Tensor,
    keys: Tensor,
    values: Tensor,
    *,
    theta: Tensor,
    eta: Tensor,
    alpha: Tensor,
    threshold: Tensor,
    curvature: float,
    radius: float,
    clip: float,
) -> Reference:
    """Return one slot after one chunk.

    Args:
        initial: W0, [L, d, d].
        delta: [L, d, d].
        momentum: [L, d, d].
        keys: [b, d].
        values: [b, d].
        theta: [b], and so are eta, alpha and threshold.
        eta: momentum.
        alpha: decay.
        threshold: a token writes where its surprise is at least this.
        curvature: c of the curvature bound.
        radius: largest norm of each layer of Δ.
        clip: largest norm of the summed step.
    """
    start = (initial + delta).double()
    slopes, tangents = zip(
        *(gradients(start, k, v) for k, v in zip(keys.double(), values.double(), strict=True)), strict=True
    )
    surprise = torch.stack([g.norm() for g in slopes])
    wrote = surprise >= threshold
    size = [float(t) for t in theta]
    bounded = clipped = projected = False
    writing = [j for j in range(len(keys)) if wrote[j]]
    if writing:
        # Stability 1: the largest row sum of the writing tokens' tangent Gram matrix, each column times its θ.
        largest = max(sum(size[j] * abs(float((tangents[i] * tangents[j]).sum())) for j in writing) for i in writing)
        limit = curvature * (1 - max(float(eta[j]) for j in writing))
        if largest > limit:
            size, bounded = [s * limit / largest for s in size], True
        # Stability 3: the norm of the summed step.
        norm = float(torch.stack([size[j] * slopes[j] for j in writing]).sum(0).norm())
        if norm > clip:
            size, clipped = [s * clip / norm for s in size], True
    new_delta, new_momentum = delta.double(), momentum.double()
    for j, gradient in enumerate(slopes):
        w = float(wrote[j])
        new_momentum = (1 - w * (1 - eta[j])) * new_momentum - w * size[j] * gradient
        new_delta = (1 - w * alpha[j]) * new_delta + w * new_momentum
    for layer in range(len(new_delta)) if writing else ():
        # Stability 2.
        norm = float(new_delta[layer].norm())
        if norm > radius:
            new_delta[layer] *= radius / norm
            projected = True
    finite = bool(surprise.isfinite().all() and new_delta.isfinite().all() and new_momentum.isfinite().all())
    if not finite:
        return Reference(delta, momentum, surprise, torch.zeros_like(wrote), *(False,) * 4)
    return Reference(new_delta, new_momentum, surprise, wrote, bounded, clipped, projected, finite)


def gradients(start: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """Return ∇½‖M(k) − v‖² and ∇(u·M(k)), [L, d, d] each; u is the unit error held fixed, 0 where there is no error."""
    weights = start.clone().requires_grad_()
    output = forward(weights, key)
    (gradient,) = torch.autograd.grad(0.5 * (output - value).square().sum(), weights, retain_graph=True)
    error = (output - value).detach()
    length = error.norm()
    unit = error / length if length > 0 else torch.zeros_like(error)
    (tangent,) = torch.autograd.grad((unit * output).sum(), weights)
    return gradient, tangent

"""One chunk of the context memory: what it reads, how surprised it is, and what it learns.

    B  rows    b  tokens    L  layers

All gradients are taken at the chunk's start state, and folded by the closed form (NUMERICS.md, One chunk;
arXiv:2501.00663 eq. 9–15). As a token's key is the query of the one before, one pass over b + 1 queries both
reads and gives the gradients.
"""

import functools
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.linalg import vector_norm

from memsvc.backbone.titans_mac.config import ContextMemoryConfig
from memsvc.backbone.titans_mac.fold import fold
from memsvc.backbone.titans_mac.mlp import Weights, backward, forward

_LARGEST = 1e5
"""‖a‖² of a token in the second-order step, in λ. Beyond that float32 does not hold the one of `1 + ‖a‖² / λ` well
enough, and the factorisation fails; a longer one counts less instead, as if its λ were larger."""


class Gradients(NamedTuple):
    """∇ℓ_j = (δ_lj a_ljᵀ)_l of a chunk's tokens, in parts, with ℓ = ½‖M(k) − v‖²."""

    inputs: tuple[Tensor, ...]
    """a_l, [B, b, in]."""
    errors: tuple[Tensor, ...]
    """δ_l, [B, b, out]; the last is M(k) − v."""

    def row(self, at: int) -> "Gradients":
        """Return those of one row, a view."""
        return Gradients(tuple(a[at, None] for a in self.inputs), tuple(e[at, None] for e in self.errors))


class Rates(NamedTuple):
    """How each token learns, [B, b] each."""

    theta: Tensor
    """Share of a token's own error that its step takes away, to first order, 0 to 1."""
    eta: Tensor
    """Momentum."""
    alpha: Tensor
    """Decay."""
    write: Tensor
    """How far the gate is open, 0 to 1."""
    weight: Tensor
    """How much the token's error counts in the second-order step, above 0 to 1."""

    def row(self, at: int) -> "Rates":
        """Return those of one row, a view."""
        return Rates(*(rate[at, None] for rate in self))


class Learnt(NamedTuple):
    """A memory's state."""

    delta: Weights
    """Δ, per layer [B, out, in]."""
    momentum: Weights
    """S, per layer [B, out, in]."""
    inverse: Tensor
    """P, of the written inputs of the last layer, [B, hidden, hidden]; without second order [B, 0, 0]."""

    def row(self, at: int) -> "Learnt":
        """Return that of one row, a view."""
        return Learnt(
            tuple(w[at, None] for w in self.delta), tuple(w[at, None] for w in self.momentum), self.inverse[at, None]
        )

    def tensors(self) -> list[Tensor]:
        """Return all."""
        return [*self.delta, *self.momentum, self.inverse]

    @property
    def finite(self) -> bool:
        """Whether all of its numbers are. Their sum is no number, or infinite, where one of them is."""
        # One pass; isfinite takes four.
        return all(bool(tensor.sum().isfinite()) for tensor in self.tensors())

    def put(self, at: int, row: "Learnt") -> None:
        """Replace one row, in place."""
        for ours, theirs in zip(self.tensors(), row.tensors(), strict=True):
            ours[at, None] = theirs

    def copy(self) -> "Learnt":
        """Return it in memory of its own."""
        return Learnt(
            tuple(w.clone() for w in self.delta), tuple(w.clone() for w in self.momentum), self.inverse.clone()
        )


def read(weights: Weights, queries: Tensor, values: Tensor) -> tuple[Tensor, Gradients]:
    """Return M(q) [B, b, value] of a chunk's queries, and the gradients of its tokens.

    Args:
        weights: W0 + Δ, per layer [B, out, in].
        queries: [B, b + 1, key], from the query before the chunk's first token on.
        values: [B, b, value].
    """
    passed = forward(weights, queries)
    error = passed.output[:, :-1] - values
    errors = backward(weights, tuple(slope[:, :-1] for slope in passed.slopes), error)
    return passed.output[:, 1:], Gradients(tuple(a[:, :-1] for a in passed.inputs), errors)


@torch.no_grad()
def surprise(gradients: Gradients) -> Tensor:
    """Return g_j = ‖∇ℓ_j‖, [B, b]; a constant to the training's gradients."""
    norms = (vector_norm(a, dim=-1) * vector_norm(e, dim=-1) for a, e in zip(*gradients, strict=True))
    size: Tensor = vector_norm(torch.stack(list(norms)), dim=0)
    return size


def learn(
    state: Learnt, gradients: Gradients, rates: Rates, config: ContextMemoryConfig, ridge: Tensor | None
) -> Learnt:
    """Return the state after the chunk.

    θ counts in units of the token's own curvature K_jj = ‖∂M(k_j) along the error / ∂W‖²: a step of 1 on a single token
    takes its whole error away, to first order, whatever the width and the scale of the layers. The bounds of
    NUMERICS.md, Stability, then hold as for the recall memory: one factor for a chunk's steps, and a radius for each
    layer of Δ. They, and K, are constants to the training's gradients.

    Args:
        state: before the chunk.
        gradients: at that state.
        rates: of the tokens.
        config: the bounds.
        ridge: λ of the second-order step in the last layer (see `second_order`); None for first order throughout.
    """
    directions, inverse = _directions(gradients), state.inverse
    if ridge is not None:
        last, inverse = second_order(inverse, gradients.inputs[-1], rates.write, rates.weight, ridge)
        # A token that does not write keeps its first-order direction: the gate's gradient needs one.
        directions = (*directions[:-1], torch.where(rates.write[..., None] > 0.5, last, directions[-1]))
    weight = rates.write * rates.theta * _bound(directions, gradients, rates, config)[:, None]
    folded = fold(rates.write, rates.eta, rates.alpha)
    into_delta, into_momentum = (weight * folded.delta)[..., None], (weight * folded.momentum)[..., None]
    keep_delta, carry, keep_momentum = (
        x[:, None, None] for x in (folded.keep_delta, folded.carry, folded.keep_momentum)
    )
    delta, momentum = [], []
    for d, s, r, e in zip(state.delta, state.momentum, directions, gradients.errors, strict=True):
        delta.append(_projected(torch.baddbmm(keep_delta * d + carry * s, (e * into_delta).mT, r, alpha=-1), config))
        momentum.append(torch.baddbmm(keep_momentum * s, (e * into_momentum).mT, r, alpha=-1))
    if inverse is not state.inverse:
        _regrow(inverse, folded.keep_delta)
    return Learnt(tuple(delta), tuple(momentum), inverse)


def second_order(
    inverse: Tensor, inputs: Tensor, write: Tensor, weight: Tensor, ridge: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the directions of a recursive least-squares step in the last layer, and P after it.

    To the last layer, writing is linear regression from its inputs to values. One-shot steps along the inputs
    themselves disturb what was written before under inputs that overlap; steps along P a do not: with
    P = (I + Σ a aᵀ / λ)⁻¹ over all written tokens, W + Σ (v − W a) (P a / λ)ᵀ is the ridge regression of all of them,
    as if they had been seen at once. The tokens of a chunk are taken together (the block form of Woodbury's identity).
    Where a token's error counts less than another's it is the weighted regression: P is over Σ w a aᵀ / λ, and the
    token's direction is w P a / λ. To the training's gradients P and w are constants.

    Args:
        inverse: P, [B, hidden, hidden].
        inputs: of the last layer, [B, b, hidden].
        write: the hard gate, [B, b].
        weight: w of each token, [B, b].
        ridge: λ.
    """
    most = int((write > 0.5).sum(1).amax())
    if not most:
        return torch.zeros_like(inputs), inverse
    # Only tokens that write cost anything.
    at = write.detach().topk(most).indices.sort(1).values[..., None]
    a = inputs.gather(1, at.expand(-1, -1, inputs.shape[2])) * write.detach().gather(1, at[..., 0])[..., None]
    a = a * ridge.rsqrt()
    counted = (_LARGEST / a.detach().square().sum(-1, keepdim=True).clamp_min(1e-12)).clamp(max=1.0)
    counted = (counted * weight.detach().gather(1, at[..., 0])[..., None]).sqrt()
    a = a * counted
    spread = a @ inverse
    identity = torch.eye(most, device=a.device, dtype=a.dtype)
    factor = torch.linalg.cholesky_ex(torch.baddbmm(identity, spread, a.mT)).L
    solved = torch.cholesky_solve(spread, factor)
    directions = torch.zeros_like(inputs).scatter(1, at.expand_as(solved), solved * counted * ridge.rsqrt())
    with torch.no_grad():
        half = torch.linalg.solve_triangular(factor, spread, upper=False)
        return directions, torch.baddbmm(inverse, half.mT, half, alpha=-1)


@torch.no_grad()
def _regrow(inverse: Tensor, keep: Tensor) -> None:
    """Have P decay as Δ did, in place, in all directions alike; never above its start on average."""
    trace = inverse.diagonal(dim1=-2, dim2=-1).sum(-1)
    grown = torch.minimum(keep.square().clamp_min(1e-12).reciprocal(), inverse.shape[-1] / trace.clamp_min(1e-12))
    inverse.mul_(grown[:, None, None])


def _directions(gradients: Gradients) -> tuple[Tensor, ...]:
    """Return a_l / K_jj per layer, [B, b, in]; K_jj = g_j² / ‖e_j‖², with the last layer's part where e_j is 0, too."""
    with torch.no_grad():
        *inner, last = (vector_norm(a, dim=-1).square() for a in gradients.inputs)
        *errors, own = (vector_norm(e, dim=-1).square() for e in gradients.errors)
        layers = (a * e for a, e in zip(inner, errors, strict=True))
        curvature = last + sum(layers) / own.clamp_min(1e-12) + 1e-6
    return tuple(a / curvature[..., None] for a in gradients.inputs)


@torch.no_grad()
def _bound(directions: tuple[Tensor, ...], gradients: Gradients, rates: Rates, config: ContextMemoryConfig) -> Tensor:
    """Return the factor [B] that keeps a chunk's steps within the curvature bound and the clip."""
    moved, writing = rates.write * rates.theta, rates.write >= 0.5
    alike = [e @ e.mT for e in gradients.errors]
    # How much, to first order, token j's step changes the error of token i.
    effect = _sum(e * (a @ r.mT) for e, a, r in zip(alike, gradients.inputs, directions, strict=True))
    length = vector_norm(gradients.errors[-1], dim=-1).clamp_min(1e-6)
    sums = ((effect.abs() * (moved / length)[:, None]).sum(-1) / length).masked_fill(~writing, 0.0)
    eta = rates.eta.masked_fill(~writing, 0.0)
    factor = (config.curvature * (1 - eta.amax(1)) / sums.amax(1).clamp_min(1e-12)).clamp(max=1.0)
    gram = _sum(e * (r @ r.mT) for e, r in zip(alike, directions, strict=True))
    norm = ((gram @ moved[..., None]).squeeze(-1) * moved).sum(1).clamp_min(0).sqrt()
    bound: Tensor = factor * (config.clip / (factor * norm).clamp_min(1e-12)).clamp(max=1.0)
    return bound


def _projected(delta: Tensor, config: ContextMemoryConfig) -> Tensor:
    """Return a layer of Δ drawn back to the radius."""
    norm = vector_norm(delta.detach(), dim=(1, 2), keepdim=True)
    projected: Tensor = delta * (config.radius / norm.clamp_min(1e-12)).clamp(max=1.0)
    return projected


def _sum(terms: Iterable[Tensor]) -> Tensor:
    return functools.reduce(torch.add, terms)

"""The closed form of one chunk: how much of each token's gradient, and of the state before it, is left at the end."""

from collections.abc import Sequence
from typing import NamedTuple


class Fold(NamedTuple):
    """The coefficients of NUMERICS.md, One chunk.

    S_b = keep_momentum S_0 − Σ_j w_j θ_j momentum_j ∇ℓ_j
    Δ_b = keep_delta Δ_0 + carry S_0 − Σ_j w_j θ_j delta_j ∇ℓ_j
    """

    momentum: tuple[float, ...]
    """p_j."""
    delta: tuple[float, ...]
    """c_j."""
    keep_momentum: float
    """e_1 p_1."""
    keep_delta: float
    """d_1 β_1."""
    carry: float
    """e_1 c_1."""


def fold(write: Sequence[float], eta: Sequence[float], alpha: Sequence[float]) -> Fold:
    """Return a chunk's coefficients, by recurrence from its last token to its first.

    There are no logarithms and no divisions in it, so η = 0 and α = 1 are ordinary values. A token with w = 0 leaves no
    trace in the others' coefficients: it may be left out.

    Args:
        write: w_j, [b], 0 to 1: how far the gate is open.
        eta: η_j, [b], 0 to 1.
        alpha: α_j, [b], 0 to 1.
    """
    momentum: list[float] = []
    delta: list[float] = []
    p, c, beta = 1.0, 0.0, 1.0
    for w, n, a in zip(reversed(write), reversed(eta), reversed(alpha), strict=True):
        c += w * beta
        momentum.append(p)
        delta.append(c)
        kept = 1.0 - w * (1.0 - n)
        p *= kept
        c *= kept
        beta *= 1.0 - w * a
    return Fold(tuple(reversed(momentum)), tuple(reversed(delta)), keep_momentum=p, keep_delta=beta, carry=c)

"""The closed form of one chunk's coefficients, differentiable and for many rows (NUMERICS.md, One chunk).

`memsvc_kernels.fold` is the same for one row of numbers; the tests hold one against the other.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Fold(NamedTuple):
    """How much of each token's gradient, and of the state before it, is left after the chunk's last token.

    S_b = keep_momentum S_0 − Σ_j w_j θ_j momentum_j ∇ℓ_j
    Δ_b = keep_delta Δ_0 + carry S_0 − Σ_j w_j θ_j delta_j ∇ℓ_j
    """

    momentum: Tensor
    """p_j, [B, b]."""
    delta: Tensor
    """c_j, [B, b]."""
    keep_momentum: Tensor
    """e_1 p_1, [B]."""
    keep_delta: Tensor
    """d_1 β_1, [B]."""
    carry: Tensor
    """e_1 c_1, [B]."""


def fold(write: Tensor, eta: Tensor, alpha: Tensor) -> Fold:
    """Return the coefficients for w, η and α [B, b]. η = 0 and α = 1 are ordinary values: there are no logarithms.

    With e_i = 1 − w_i (1 − η_i) and d_i = 1 − w_i α_i: p_j is the product of e_i over i > j, and c_j the sum over i ≥ j
    of w_i (product of d over what follows i) (product of e from j + 1 to i).
    """
    b = write.shape[1]
    e, d = 1 - write * (1 - eta), 1 - write * alpha
    later = torch.ones(b, b, dtype=torch.bool, device=write.device).tril(-1)
    # [i, j]: the product of e from j + 1 to i; ones above the diagonal.
    kept = torch.where(later, e[:, :, None], 1.0).cumprod(1)
    # The product of d over what follows.
    beta = torch.where(later.mT, d[:, None, :], 1.0).prod(2)
    c = ((write * beta)[:, :, None] * kept.tril()).sum(1)
    p = kept[:, -1]
    return Fold(p, c, e[:, 0] * p[:, 0], d[:, 0] * beta[:, 0], e[:, 0] * c[:, 0])

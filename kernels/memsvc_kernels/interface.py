"""What every back end does, and in which shapes.

    S  slots                 B  rows of a call: one chunk, or one text to read, of one slot each
    L  layers                b  tokens of a chunk
    d  width                 n  any number of tokens

The memory is an MLP of L bias-free matrices W = W0 + Δ (NUMERICS.md, Architecture):

    h_1 = W_1 x,    h_{l+1} = h_l + W_{l+1} silu(h_l),    M(x) = W_L silu(h_{L−1})
"""

import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor


def largest_step(dtype: torch.dtype) -> float:
    """Return the sum of steps that a chunk may not pass: 2¹⁶ in float32, 2⁴³⁵ in float64 (see `Backend.chunk_step`)."""
    info = torch.finfo(dtype)
    return math.sqrt(info.max) * info.eps * 2.0**-25


class Weights(NamedTuple):
    """The stacked state; back ends change `delta` and `momentum` in place, and only in the slots that a call names."""

    delta: Tensor
    """[S, L, d, d], what was learnt: Δ = W − W0. Contiguous within a slot, every slot aligned alike."""
    momentum: Tensor
    """[S, L, d, d], as delta."""
    initial: Tensor
    """[L, d, d], W0, shared by all slots. Its last layer is zero, so that M(x) = 0 at start, and is never read."""


class Rates(NamedTuple):
    """How each token learns; [B, b] float64 each, on the CPU."""

    theta: Tensor
    """Step size of the token's own gradient, at least 0."""
    eta: Tensor
    """Momentum, 0 to 1."""
    alpha: Tensor
    """Decay, 0 to 1."""
    threshold: Tensor
    """The token writes where its surprise is at least this: 0 always, infinity never."""


class Bounds(NamedTuple):
    """What keeps a row stable (NUMERICS.md, Stability); [B] float64 each, on the CPU. Infinity switches a bound off."""

    curvature: Tensor
    """c in θ_eff λ ≤ c (1 − η)."""
    radius: Tensor
    """Largest Frobenius norm of each layer of Δ."""
    clip: Tensor
    """Largest norm of one chunk's summed step over all layers."""


class StepResult(NamedTuple):
    """What a chunk did; on the CPU."""

    surprise: Tensor
    """[B, b], the gradient norm of each token at the chunk's start, in the weights' type."""
    wrote: Tensor
    """[B, b] bool."""
    bounded: Tensor
    """[B] bool, the curvature bound shortened the step."""
    clipped: Tensor
    """[B] bool, the clip did."""
    projected: Tensor
    """[B] bool, some layer of Δ was drawn back to its radius."""
    finite: Tensor
    """[B] bool; where False the slot kept its bytes, nothing wrote, and the row's surprise may hold anything."""


class Backend(Protocol):
    """One device's arithmetic.

    A row's result depends on its own slot, tokens and rates alone: its bits are the same in any slot, beside any other
    rows of other slots, and for any B.
    """

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
        """Step B chunks, each in its slot, in place (NUMERICS.md, One chunk; arXiv:2501.00663 eq. 9–15).

        Rows of one slot are chunks that wait for each other: they step in their order, with the bits of one call after
        the other.

        ℓ_j = ½‖M(k_j) − v_j‖², all gradients ∇ℓ_j = (δ_lj a_ljᵀ)_l at the chunk's start state. A token's surprise is
        g_j = ‖∇ℓ_j‖; it writes (w_j = 1) where g_j ≥ its threshold. The bounds scale the θ of the tokens that write by
        one common factor:

        1. *Curvature*, θ_eff λ ≤ c (1 − η). Let e_j = M(k_j) − v_j be the error and u_j = e_j / ‖e_j‖ its direction,
           held fixed. δ̂_lj = δ_lj / ‖e_j‖ is what u_j backpropagates to, so δ̂_lj a_ljᵀ is the gradient of u_j·M(k_j) by
           W_l, and K_ij = Σ_l (δ̂_li·δ̂_lj)(a_li·a_lj) is the Gram matrix of these tangents; g_j = ‖e_j‖ √K_jj. To first
           order the tokens' steps −θ_j ∇ℓ_j change the error of token i, along u_i, by −Σ_j θ_j K_ij ‖e_j‖: by no
           more than Λ = max_i Σ_j θ_j |K_ij| times the largest error. Λ is what NUMERICS.md calls θ_eff λ (with one θ:
           θ times the largest absolute row sum of K), η is the largest of the tokens that write, and θ is scaled
           until Λ ≤ c (1 − η). Λ is about b θ K_jj for b identical tokens and about θ K_jj for orthogonal ones, which
           may therefore be written in one shot. Why 1 − η: per token, momentum is damped by 1 − η and oscillates
           with ω² = θ K_jj, while gradients held over a chunk lag by up to b tokens, which undoes ω² b of the damping.
        2. *Clip*: ‖Σ_j w_j θ_j ∇ℓ_j‖ over all layers, with θ after the first factor, is at most `clip`.

        Then the closed form gives Δ and S after the chunk's last token, and each layer of Δ is projected to its radius.

        A row is not taken (`finite` False) when a surprise is not finite, or when Σ_j θ_j max(g_j, ‖e_j‖) over the
        tokens that write passes `largest_step`. The second makes "finite" known before anything is written: in
        float32, steps that sum to 2¹⁶ cannot move an entry of S that has reached 2⁴¹, so neither S nor Δ nor their
        norms can overflow (for b d up to 2²⁰ and a radius up to 2⁶⁰).

        Args:
            weights: changed in the named slots.
            slots: B slots.
            keys: [B, b, d].
            values: [B, b, d]; may be the same tensor as keys.
            rates: per token.
            bounds: per row.
            counts: tokens of each row, 1 to b; all b unless told otherwise. What lies behind them does not write, and
                may be anything, as may its surprise.
        """
        ...

    def surprise(self, weights: Weights, slot: int, keys: Tensor, values: Tensor) -> Tensor:
        """Return the surprise [b] of a chunk [b, d] with the bits that `chunk_step` would report, and change nothing.

        A token's surprise depends on its place in the chunk and on the chunk's size, not on the other tokens: a
        chunk that is not full yet is padded with anything.
        """
        ...

    def read(self, weights: Weights, slots: Sequence[int | None], x: Tensor) -> Tensor:
        """Return M(x) [B, n, d] for x [B, n, d], each row by its slot; by the initial memory, M(x) = 0, for None.

        The result is where the weights are; x may be anywhere.
        """
        ...

"""Kernel: how far a row's tokens step within the bounds, and the coefficients of its closed form. All is float64."""

import triton
import triton.language as tl

from memsvc_kernels.triton.layout import (
    ALPHA,
    BOUNDED,
    CARRY,
    CLIP,
    CLIPPED,
    COUNT,
    CURVATURE,
    ETA,
    FINITE,
    KEEP_DELTA,
    KEEP_MOMENTUM,
    LARGEST_STEP,
    PROJECTED,
    RATES,
    SCALARS,
    THETA,
    THRESHOLD,
    WRITES,
)
from memsvc_kernels.triton.passes import UNSPECIALISED


@triton.jit
def lengths(
    norms: tl.tensor, layers: tl.tensor, chunk: tl.tensor, count: tl.tensor, j: tl.tensor, block: tl.constexpr
) -> tuple[tl.tensor, tl.tensor]:
    """Return g = √Σ_l ‖a_l‖² ‖δ_l‖² and ‖e‖ = ‖δ_L‖ of these tokens."""
    total = tl.full((block,), 0.0, tl.float64)
    error = tl.full((block,), 0.0, tl.float64)
    for layer in range(0, layers):
        square = tl.load(norms + 2 * layer * chunk + j, j < count, 0.0)
        error = tl.load(norms + (2 * layer + 1) * chunk + j, j < count, 0.0)
        total += square * error
    return tl.sqrt(total), tl.sqrt(error)


@triton.jit
def opening(
    gradient: tl.tensor,
    total: tl.tensor,
    rates: tl.tensor,
    chunk: tl.tensor,
    count: tl.tensor,
    j: tl.tensor,
    dtype: tl.constexpr,
) -> tl.tensor:
    """Return whether the surprise of these tokens, as it is shown, reaches their thresholds and is finite."""
    shown = gradient.to(dtype).to(tl.float64)
    opens = (j < count) & (shown >= tl.load(rates + THRESHOLD * chunk + j, j < count, 0.0))
    return opens & (tl.broadcast_to(total, opens.shape) < float("inf"))


@triton.jit
def inverse(length: tl.tensor) -> tl.tensor:
    """Return 1 / length, 0 where there is none."""
    return tl.where(length > 0, 1.0 / tl.where(length > 0, length, 1.0), 0.0)


@triton.jit(do_not_specialize=UNSPECIALISED)
def fold_kernel(
    plan: tl.tensor,
    norms: tl.tensor,
    gram: tl.tensor,
    folded: tl.tensor,
    results: tl.tensor,
    plan_stride: tl.tensor,
    start: tl.tensor,
    layers: tl.tensor,
    chunk: tl.tensor,
    block_chunk: tl.constexpr,
    block_tokens: tl.constexpr,
    dtype: tl.constexpr,
) -> None:
    """Decide who writes and how far (see `Backend.chunk_step`). A program does one row; the grid is (rows,).

    Beside what `passes` says:
        plan: see `layout`, and so folded and results.
        norms: ‖a‖² and ‖δ‖², [B, L, 2, b].
        gram: Σ over the layers is the Gram matrix of the gradients, [B, L, b, b].
        folded: filled in.
        results: filled in, less what was projected.
        plan_stride: elements from one row to the next.
        block_chunk: a power of two, at least b.
        block_tokens: rows of a tile of the Gram matrix.
        dtype: the weights'.
    """
    row = start + tl.program_id(0).to(tl.int64)
    plan += row * plan_stride
    rates = plan + RATES
    norms += row * layers * 2 * chunk
    gram += row * layers * chunk * chunk
    folded += row * (2 * chunk + SCALARS)
    results += row * (2 * chunk + PROJECTED + layers)
    count = tl.load(plan + COUNT).to(tl.int32)
    curvature, clip = tl.load(plan + CURVATURE), tl.load(plan + CLIP)
    j = tl.arange(0, block_chunk)
    live = j < count
    gradient, length = lengths(norms, layers, chunk, count, j, block_chunk)
    shown = gradient.to(dtype).to(tl.float64)
    total = tl.sum(shown)
    writes = opening(gradient, total, rates, chunk, count, j, dtype)
    theta = tl.load(rates + THETA * chunk + j, writes, 0.0)
    unit = inverse(length)
    tangent = tl.where(writes, gradient * unit, 0.0)
    momentum = tl.max(tl.load(rates + ETA * chunk + j, writes, 0.0))
    curvature = tl.where(curvature < float("inf"), curvature * (1.0 - momentum), curvature)
    # |K_ij| ≤ √K_ii √K_jj often shows without K that nothing binds. Comparisons are such that what is not a number
    # is not taken.
    tight = (tl.max(tangent) * tl.sum(theta * tangent) <= curvature) == 0
    reach = tl.sum(theta * length * tangent)
    stop = tl.where(tight | ((reach <= clip) == 0), count, 0)
    largest = tl.full((), 0.0, tl.float64)
    moved = tl.full((), 0.0, tl.float64)
    square = tl.full((), 0.0, tl.float64)
    for first in range(0, stop, block_tokens):
        i = first + tl.arange(0, block_tokens)
        k = tl.full((block_tokens, block_chunk), 0.0, tl.float64)
        for layer in range(0, layers):
            at = (layer * chunk + i[:, None]) * chunk + j[None, :]
            k += tl.load(gram + at, (i < count)[:, None] & live[None, :], 0.0)
        gradient_i, length_i = lengths(norms, layers, chunk, count, i, block_tokens)
        writes_i = opening(gradient_i, total, rates, chunk, count, i, dtype)
        theta_i = tl.load(rates + THETA * chunk + i, writes_i, 0.0)
        # A token that does not write has no θ, and what it has to do with others does not count.
        k = tl.where((theta > 0)[None, :], k * inverse(length_i)[:, None] * unit[None, :], 0.0)
        row_sum = tl.where(writes_i, tl.sum(tl.abs(k) * theta[None, :], axis=1), 0.0)
        largest = tl.maximum(largest, tl.max(row_sum))
        moved += tl.sum(row_sum)
        along = tl.sum(k * (theta * length)[None, :], axis=1)
        square += tl.sum(tl.where(theta_i > 0, along * theta_i * length_i, 0.0))
    # A maximum passes over what is not a number; a sum does not.
    largest = tl.where(moved < float("inf"), largest, moved)
    bounded = tight & ((largest <= curvature) == 0)
    factor = tl.where(bounded, curvature / tl.where(bounded, largest, 1.0), 1.0)
    norm = factor * tl.sqrt(tl.where(square < 0, 0.0, square))
    clipped = ((factor * reach <= clip) == 0) & (norm > clip)
    factor = tl.where(clipped, factor * (clip / tl.where(clipped, norm, 1.0)), factor)
    largest_step = tl.load(plan + LARGEST_STEP)
    taken = (total < float("inf")) & (factor * tl.sum(theta * length * tl.maximum(tangent, 1.0)) <= largest_step)
    wrote = writes.to(tl.int32) * taken.to(tl.int32)
    any_writes = tl.max(wrote) > 0
    tl.store(results + j, shown, j < chunk)
    tl.store(results + chunk + j, wrote.to(tl.float64), j < chunk)
    flags = results + 2 * chunk
    tl.store(flags + BOUNDED, (any_writes & bounded).to(tl.float64))
    tl.store(flags + CLIPPED, (any_writes & clipped).to(tl.float64))
    tl.store(flags + FINITE, taken.to(tl.float64))

    # The closed form (`memsvc_kernels.fold`), from the last token to the first.
    p = tl.full((), 1.0, tl.float64)
    beta = tl.full((), 1.0, tl.float64)
    c = tl.full((), 0.0, tl.float64)
    to_momentum = tl.full((block_chunk,), 0.0, tl.float64)
    to_delta = tl.full((block_chunk,), 0.0, tl.float64)
    for back in range(0, tl.where(any_writes, count, 0)):
        last = count - 1 - back
        w = tl.max(tl.where(j == last, wrote, 0)) > 0
        c += tl.where(w, beta, 0.0)
        to_momentum = tl.where(j == last, p, to_momentum)
        to_delta = tl.where(j == last, c, to_delta)
        kept = tl.where(w, 1.0 - (1.0 - tl.load(rates + ETA * chunk + last)), 1.0)
        p *= kept
        c *= kept
        beta *= tl.where(w, 1.0 - tl.load(rates + ALPHA * chunk + last), 1.0)
    tl.store(folded + j, to_delta * factor * theta, live)
    tl.store(folded + chunk + j, to_momentum * factor * theta, live)
    scalars = folded + 2 * chunk
    tl.store(scalars + KEEP_MOMENTUM, p)
    tl.store(scalars + KEEP_DELTA, beta)
    tl.store(scalars + CARRY, c)
    tl.store(scalars + WRITES, any_writes.to(tl.float64))

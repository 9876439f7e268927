"""On the device: how far a chunk's tokens step within the bounds, and the coefficients of its closed form.

Vectors over a chunk's tokens are float64, in global memory: [VECTORS, chunk], and once a time in registers.
"""

import triton
import triton.language as tl

from memsvc_kernels.triton.norms import gram

GRADIENT = tl.constexpr(0)
LENGTH = tl.constexpr(1)
THETA = tl.constexpr(2)
TO_DELTA = tl.constexpr(3)
TO_MOMENTUM = tl.constexpr(4)
VECTORS = tl.constexpr(5)

ETA = tl.constexpr(1)
ALPHA = tl.constexpr(2)
THRESHOLD = tl.constexpr(3)


@triton.jit
def limit(
    inputs: tl.tensor,
    errors: tl.tensor,
    vectors: tl.tensor,
    rates: tl.tensor,
    bounds: tl.tensor,
    surprise: tl.tensor,
    wrote: tl.tensor,
    flags: tl.tensor,
    count: tl.tensor,
    chunk: tl.constexpr,
    width: tl.constexpr,
    layers: tl.constexpr,
    block_chunk: tl.constexpr,
    block_tokens: tl.constexpr,
    block_inputs: tl.constexpr,
) -> tuple[tl.tensor, tl.tensor]:
    """Decide who writes and by what factor all θ are scaled; return it and whether anything is to be written."""
    dtype: tl.constexpr = inputs.dtype.element_ty
    curvature, clip = tl.load(bounds), tl.load(bounds + 2)
    largest_step = tl.load(bounds + 3)
    j = tl.arange(0, block_chunk)
    live = j < count
    gradient = tl.load(vectors + GRADIENT * chunk + j, live, 0.0)
    length = tl.load(vectors + LENGTH * chunk + j, live, 0.0)
    shown = gradient.to(dtype)
    tl.store(surprise + j, shown, live)
    total = tl.sum(shown.to(tl.float64))
    opens = live & (shown.to(tl.float64) >= tl.load(rates + THRESHOLD * chunk + j, live, 0.0))
    writes = opens & (tl.broadcast_to(total, (block_chunk,)) < float("inf"))
    theta = tl.load(rates + j, writes, 0.0)
    tangent = tl.where(writes & (length > 0), gradient / tl.where(length > 0, length, 1.0), 0.0)
    momentum = tl.max(tl.load(rates + ETA * chunk + j, writes, 0.0))
    curvature = tl.where(curvature < float("inf"), curvature * (1.0 - momentum), curvature)
    # |K_ij| ≤ √K_ii √K_jj often shows without K that nothing binds. Comparisons are such that what is not a number
    # is not taken.
    tight = (tl.max(tangent) * tl.sum(theta * tangent) <= curvature) == 0
    reach = tl.sum(theta * length * tangent)
    tl.store(vectors + THETA * chunk + j, theta, live)
    tl.store(wrote + j, writes.to(tl.uint8), live)
    tl.debug_barrier()
    stop = tl.where(tight | ((reach <= clip) == 0), count, 0)
    largest, square = gram(
        inputs,
        errors,
        vectors + LENGTH * chunk,
        vectors + THETA * chunk,
        wrote,
        stop,
        chunk,
        width,
        layers,
        block_tokens,
        block_inputs,
    )
    bounded = tight & ((largest <= curvature) == 0)
    factor = tl.where(bounded, curvature / tl.where(bounded, largest, 1.0), 1.0)
    norm = factor * tl.sqrt(tl.where(square < 0, 0.0, square))
    clipped = ((factor * reach <= clip) == 0) & (norm > clip)
    factor = tl.where(clipped, factor * (clip / tl.where(clipped, norm, 1.0)), factor)
    taken = (total < float("inf")) & (factor * tl.sum(theta * length * tl.maximum(tangent, 1.0)) <= largest_step)
    writes = writes.to(tl.int32) * taken.to(tl.int32)
    any_writes = tl.max(writes) > 0
    tl.debug_barrier()
    tl.store(wrote + j, writes.to(tl.uint8), live)
    tl.store(flags, (any_writes & bounded).to(tl.uint8))
    tl.store(flags + 1, (any_writes & clipped).to(tl.uint8))
    tl.store(flags + 3, taken.to(tl.uint8))
    tl.debug_barrier()
    return factor, any_writes


@triton.jit
def fold(
    vectors: tl.tensor,
    rates: tl.tensor,
    wrote: tl.tensor,
    factor: tl.tensor,
    count: tl.tensor,
    chunk: tl.constexpr,
) -> tuple[tl.tensor, tl.tensor, tl.tensor]:
    """Store every token's coefficients; return keep_momentum, keep_delta and carry (`memsvc_kernels.fold`)."""
    p = tl.full((), 1.0, tl.float64)
    beta = tl.full((), 1.0, tl.float64)
    c = tl.full((), 0.0, tl.float64)
    for back in range(0, count):
        j = count - 1 - back
        writes = tl.load(wrote + j) > 0
        step = factor * tl.load(vectors + THETA * chunk + j)
        c += tl.where(writes, beta, 0.0)
        tl.store(vectors + TO_MOMENTUM * chunk + j, p * step)
        tl.store(vectors + TO_DELTA * chunk + j, c * step)
        kept = tl.where(writes, 1.0 - (1.0 - tl.load(rates + ETA * chunk + j)), 1.0)
        p *= kept
        c *= kept
        beta *= tl.where(writes, 1.0 - tl.load(rates + ALPHA * chunk + j), 1.0)
    tl.debug_barrier()
    return p, beta, c

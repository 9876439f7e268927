"""Kernels: a chunk's gradients into Δ and S, in place, and each layer of Δ back to its radius."""

import triton
import triton.language as tl

from memsvc_kernels.triton.layout import (
    CARRY,
    COUNT,
    KEEP_DELTA,
    KEEP_MOMENTUM,
    PROJECTED,
    RADIUS,
    SCALARS,
    SLOT,
    WRITES,
)
from memsvc_kernels.triton.passes import UNSPECIALISED

SUMMED = tl.constexpr(128)
"""Sums of squares that are added at a time."""


@triton.jit(do_not_specialize=UNSPECIALISED)
def apply_kernel(
    delta: tl.tensor,
    momentum: tl.tensor,
    plan: tl.tensor,
    inputs: tl.tensor,
    errors: tl.tensor,
    folded: tl.tensor,
    squares: tl.tensor,
    delta_stride: tl.tensor,
    momentum_stride: tl.tensor,
    plan_stride: tl.tensor,
    start: tl.tensor,
    layers: tl.tensor,
    chunk: tl.tensor,
    width: tl.tensor,
    block_outputs: tl.constexpr,
    block_inputs: tl.constexpr,
    precision: tl.constexpr,
) -> None:
    """Fold the chunk into one tile of a layer of Δ and of S. The grid is (tiles, layers, rows).

    Beside what `passes` says:
        delta: [S, L, d, d], and so momentum.
        momentum: changed in place, as delta.
        plan: see `layout`, and so folded.
        inputs: a, [B, L, b, d].
        errors: δ, [B, L, b, d].
        folded: what `fold_kernel` found.
        squares: each tile's share of ‖Δ_l‖², filled in, [B, L, tiles] float64.
        delta_stride: elements from one slot to the next.
        momentum_stride: the same.
        plan_stride: the same, from one row to the next.
    """
    dtype: tl.constexpr = delta.dtype.element_ty
    row = start + tl.program_id(2).to(tl.int64)
    slot = tl.load(plan + row * plan_stride + SLOT).to(tl.int64)
    count = tl.load(plan + row * plan_stride + COUNT).to(tl.int32)
    folded += row * (2 * chunk + SCALARS)
    scalars = folded + 2 * chunk
    writes = tl.load(scalars + WRITES) > 0
    layer = tl.program_id(1)
    a, e = inputs + (row * layers + layer) * chunk * width, errors + (row * layers + layer) * chunk * width
    across = tl.cdiv(width, block_outputs)
    outputs = (tl.program_id(0) // across) * block_outputs + tl.arange(0, block_outputs)
    columns = (tl.program_id(0) % across) * block_outputs + tl.arange(0, block_outputs)
    into_delta = tl.full((block_outputs, block_outputs), 0.0, dtype)
    into_momentum = tl.full((block_outputs, block_outputs), 0.0, dtype)
    for first in range(0, tl.where(writes, count, 0), block_inputs):
        j = first + tl.arange(0, block_inputs)
        here = (outputs < width)[:, None] & (j < count)[None, :]
        error = tl.load(e + j[None, :] * width + outputs[:, None], here, 0.0)
        here = (j < count)[:, None] & (columns < width)[None, :]
        right = tl.load(a + j[:, None] * width + columns[None, :], here, 0.0)
        c = tl.load(folded + j, j < count, 0.0).to(dtype)
        p = tl.load(folded + chunk + j, j < count, 0.0).to(dtype)
        into_delta = tl.dot(error * c[None, :], right, into_delta, input_precision=precision, out_dtype=dtype)
        into_momentum = tl.dot(error * p[None, :], right, into_momentum, input_precision=precision, out_dtype=dtype)
    here = (outputs < tl.where(writes, width, 0))[:, None] & (columns < width)[None, :]
    at = layer * width * width + outputs[:, None] * width + columns[None, :]
    delta += slot * delta_stride
    momentum += slot * momentum_stride
    d, s = tl.load(delta + at, here, 0.0), tl.load(momentum + at, here, 0.0)
    keep_momentum = tl.load(scalars + KEEP_MOMENTUM).to(dtype)
    keep_delta, carry = tl.load(scalars + KEEP_DELTA).to(dtype), tl.load(scalars + CARRY).to(dtype)
    d = keep_delta * d + carry * s - into_delta
    tl.store(delta + at, d, here)
    tl.store(momentum + at, keep_momentum * s - into_momentum, here)
    wide = d.to(tl.float64)
    tl.store(squares + (row * layers + layer) * tl.num_programs(0) + tl.program_id(0), tl.sum(wide * wide))


@triton.jit(do_not_specialize=[*UNSPECIALISED, "tiles"])
def project_kernel(
    delta: tl.tensor,
    plan: tl.tensor,
    squares: tl.tensor,
    results: tl.tensor,
    delta_stride: tl.tensor,
    plan_stride: tl.tensor,
    start: tl.tensor,
    layers: tl.tensor,
    chunk: tl.tensor,
    tiles: tl.tensor,
    width: tl.tensor,
    block_outputs: tl.constexpr,
) -> None:
    """Draw some outputs of a layer of Δ back to its radius where it is outside. The grid is (outputs, layers, rows).

    Beside what `passes` says:
        delta: [S, L, d, d].
        plan: see `layout`, and so results.
        squares: see `apply_kernel`.
        results: filled in where it says what was projected.
        delta_stride: elements from one slot to the next.
        plan_stride: the same, from one row to the next.
        tiles: of a layer, in squares.
    """
    dtype: tl.constexpr = delta.dtype.element_ty
    row = start + tl.program_id(2).to(tl.int64)
    slot = tl.load(plan + row * plan_stride + SLOT).to(tl.int64)
    radius = tl.load(plan + row * plan_stride + RADIUS)
    layer = tl.program_id(1)
    squares += (row * layers + layer) * tiles
    square = tl.full((), 0.0, tl.float64)
    for first in range(0, tiles, SUMMED):
        tile = first + tl.arange(0, SUMMED)
        square += tl.sum(tl.load(squares + tile, tile < tiles, 0.0))
    norm = tl.sqrt(square)
    # Nothing is outside that nothing was written to: its squares are 0.
    outside = norm > radius
    scale = tl.where(outside, radius / tl.where(outside, norm, 1.0), 1.0).to(dtype)
    delta += slot * delta_stride
    outputs = tl.program_id(0) * block_outputs + tl.arange(0, block_outputs)
    for left in range(0, tl.where(outside, width, 0), block_outputs):
        columns = left + tl.arange(0, block_outputs)
        here = (outputs < width)[:, None] & (columns < width)[None, :]
        at = layer * width * width + outputs[:, None] * width + columns[None, :]
        tl.store(delta + at, scale * tl.load(delta + at, here, 0.0), here)
    flags = results + row * (2 * chunk + PROJECTED + layers) + 2 * chunk + PROJECTED
    tl.store(flags + layer, outside.to(tl.float64), tl.program_id(0) == 0)

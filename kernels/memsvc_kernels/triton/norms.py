"""Kernel: the norms of a row's tokens, and the Gram matrix of their gradients, layer by layer."""

import triton
import triton.language as tl

from memsvc_kernels.triton.layout import COUNT
from memsvc_kernels.triton.passes import UNSPECIALISED


@triton.jit
def overlap(
    x: tl.tensor,
    i: tl.tensor,
    j: tl.tensor,
    count: tl.tensor,
    width: tl.tensor,
    block_tokens: tl.constexpr,
    block_inputs: tl.constexpr,
    precision: tl.constexpr,
) -> tl.tensor:
    """Return x_i · x_j, a tile."""
    dtype: tl.constexpr = x.dtype.element_ty
    total = tl.full((block_tokens, block_tokens), 0.0, dtype)
    for first in range(0, width, block_inputs):
        column = first + tl.arange(0, block_inputs)
        inside = column < width
        left = tl.load(x + i[:, None] * width + column[None, :], (i < count)[:, None] & inside[None, :], 0.0)
        right = tl.load(x + j[None, :] * width + column[:, None], inside[:, None] & (j < count)[None, :], 0.0)
        total = tl.dot(left, right, total, input_precision=precision, out_dtype=dtype)
    return total


@triton.jit(do_not_specialize=UNSPECIALISED)
def gram_kernel(
    plan: tl.tensor,
    inputs: tl.tensor,
    errors: tl.tensor,
    norms: tl.tensor,
    gram: tl.tensor,
    plan_stride: tl.tensor,
    start: tl.tensor,
    layers: tl.tensor,
    chunk: tl.tensor,
    width: tl.tensor,
    block_tokens: tl.constexpr,
    block_inputs: tl.constexpr,
    precision: tl.constexpr,
) -> None:
    """Fill in a tile of one layer's (a_i · a_j)(δ_i · δ_j). The grid is (tiles of i × tiles of j, layers, rows).

    Beside what `passes` says:
        plan: see `layout`.
        inputs: a, [B, L, b, d].
        errors: δ, [B, L, b, d].
        norms: ‖a‖² and ‖δ‖², filled in, [B, L, 2, b] float64.
        gram: filled in, [B, L, b, b] float64.
        plan_stride: elements from one row to the next.
    """
    row = start + tl.program_id(2).to(tl.int64)
    count = tl.load(plan + row * plan_stride + COUNT).to(tl.int32)
    layer = row * layers + tl.program_id(1)
    tiles = tl.cdiv(chunk, block_tokens)
    other = tl.program_id(0) % tiles
    i = (tl.program_id(0) // tiles) * block_tokens + tl.arange(0, block_tokens)
    j = other * block_tokens + tl.arange(0, block_tokens)
    a, e = inputs + layer * chunk * width, errors + layer * chunk * width
    alike = overlap(a, i, j, count, width, block_tokens, block_inputs, precision)
    agree = overlap(e, i, j, count, width, block_tokens, block_inputs, precision)
    tl.store(
        gram + layer * chunk * chunk + i[:, None] * chunk + j[None, :],
        alike.to(tl.float64) * agree.to(tl.float64),
        (i < count)[:, None] & (j < count)[None, :],
    )
    square = tl.full((block_tokens,), 0.0, tl.float64)
    error = tl.full((block_tokens,), 0.0, tl.float64)
    # Of every i once.
    for first in range(0, tl.where(other == 0, width, 0), block_inputs):
        column = first + tl.arange(0, block_inputs)
        here = (i < count)[:, None] & (column < width)[None, :]
        at = i[:, None] * width + column[None, :]
        x, y = tl.load(a + at, here, 0.0).to(tl.float64), tl.load(e + at, here, 0.0).to(tl.float64)
        square += tl.sum(x * x, axis=1)
        error += tl.sum(y * y, axis=1)
    here = (i < count) & (other == 0)
    tl.store(norms + layer * 2 * chunk + i, square, here)
    tl.store(norms + (layer * 2 + 1) * chunk + i, error, here)

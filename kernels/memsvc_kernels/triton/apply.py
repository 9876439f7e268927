"""On the device: a chunk's gradients into Δ and S, in place."""

import triton
import triton.language as tl


@triton.jit
def apply(
    inputs: tl.tensor,
    errors: tl.tensor,
    to_delta: tl.tensor,
    to_momentum: tl.tensor,
    keep_momentum: tl.tensor,
    keep_delta: tl.tensor,
    carry: tl.tensor,
    radius: tl.tensor,
    delta: tl.tensor,
    momentum: tl.tensor,
    count: tl.tensor,
    stop: tl.tensor,
    chunk: tl.constexpr,
    width: tl.constexpr,
    block_outputs: tl.constexpr,
    block_inputs: tl.constexpr,
) -> tl.tensor:
    """Fold the chunk into the first `stop` layers and project them; return whether one was outside its radius."""
    dtype: tl.constexpr = delta.dtype.element_ty
    projected = tl.full((), 0, tl.int32)
    for layer in range(0, stop):
        square = tl.full((), 0.0, tl.float64)
        d_layer, s_layer = delta + layer * width * width, momentum + layer * width * width
        for top in range(0, width, block_outputs):
            row = top + tl.arange(0, block_outputs)
            for left in range(0, width, block_outputs):
                column = left + tl.arange(0, block_outputs)
                into_delta = tl.full((block_outputs, block_outputs), 0.0, dtype)
                into_momentum = tl.full((block_outputs, block_outputs), 0.0, dtype)
                for first in range(0, count, block_inputs):
                    j = first + tl.arange(0, block_inputs)
                    at = layer * chunk * width + j * width
                    e = tl.load(errors + at[None, :] + row[:, None], (row < width)[:, None] & (j < count)[None, :], 0.0)
                    a = tl.load(
                        inputs + at[:, None] + column[None, :], (j < count)[:, None] & (column < width)[None, :], 0.0
                    )
                    c = tl.load(to_delta + j, j < count, 0.0).to(dtype)
                    p = tl.load(to_momentum + j, j < count, 0.0).to(dtype)
                    into_delta = tl.dot(e * c[None, :], a, into_delta, input_precision="ieee", out_dtype=dtype)
                    into_momentum = tl.dot(e * p[None, :], a, into_momentum, input_precision="ieee", out_dtype=dtype)
                here = (row < width)[:, None] & (column < width)[None, :]
                at = row[:, None] * width + column[None, :]
                d, s = tl.load(d_layer + at, here, 0.0), tl.load(s_layer + at, here, 0.0)
                d = keep_delta.to(dtype) * d + carry.to(dtype) * s - into_delta
                tl.store(d_layer + at, d, here)
                tl.store(s_layer + at, keep_momentum.to(dtype) * s - into_momentum, here)
                wide = d.to(tl.float64)
                square += tl.sum(wide * wide)
        tl.debug_barrier()
        norm = tl.sqrt(square)
        outside = norm > radius
        scale = tl.where(outside, radius / tl.where(outside, norm, 1.0), 1.0).to(dtype)
        for top in range(0, tl.where(outside, width, 0), block_outputs):
            row = top + tl.arange(0, block_outputs)
            for left in range(0, width, block_outputs):
                column = left + tl.arange(0, block_outputs)
                here = (row < width)[:, None] & (column < width)[None, :]
                at = row[:, None] * width + column[None, :]
                tl.store(d_layer + at, scale * tl.load(d_layer + at, here, 0.0), here)
        projected |= outside.to(tl.int32)
    return projected

"""Kernels: one layer of every row, forwards and backwards. A program computes one tile of one row's activations.

Grids are (tiles of outputs, tiles of tokens, rows). In all kernels:

    start      the first row of the launch; rows are those of the plan
    layers     L; layer: the one at hand
    chunk      b: tokens from one layer's activations to the next's
    width      d
    tiles      block_tokens × block_outputs, summed over block_inputs at a time
    precision  of products: of `tl.dot`
"""

import triton
import triton.language as tl

from memsvc_kernels.triton.layout import COUNT, SLOT

UNSPECIALISED = ["plan_stride", "start", "layers", "layer", "chunk", "values_layers", "error_layers"]
"""Numbers that no kernel is compiled anew for."""


@triton.jit
def product(
    x: tl.tensor,
    initial: tl.tensor,
    delta: tl.tensor,
    tokens: tl.tensor,
    outputs: tl.tensor,
    count: tl.tensor,
    learnt_only: tl.tensor,
    output_stride: tl.tensor,
    input_stride: tl.tensor,
    width: tl.tensor,
    block_tokens: tl.constexpr,
    block_outputs: tl.constexpr,
    block_inputs: tl.constexpr,
    precision: tl.constexpr,
) -> tl.tensor:
    """Return Σ_k x[token, k] W[output, k] with W = W0 + Δ, a tile; W0 is not read where learnt_only."""
    dtype: tl.constexpr = delta.dtype.element_ty
    total = tl.full((block_tokens, block_outputs), 0.0, dtype)
    for first in range(0, width, block_inputs):
        inputs = first + tl.arange(0, block_inputs)
        inside = (inputs < width)[:, None] & (outputs < width)[None, :]
        at = inputs[:, None] * input_stride + outputs[None, :] * output_stride
        weight = tl.load(delta + at, inside, 0.0) + tl.load(initial + at, inside & (learnt_only == 0), 0.0)
        here = (tokens < count)[:, None] & (inputs < width)[None, :]
        left = tl.load(x + tokens[:, None] * width + inputs[None, :], here, 0.0)
        total = tl.dot(left, weight, total, input_precision=precision, out_dtype=dtype)
    return total


@triton.jit(do_not_specialize=UNSPECIALISED)
def forward_kernel(
    delta: tl.tensor,
    initial: tl.tensor,
    plan: tl.tensor,
    inputs: tl.tensor,
    hidden: tl.tensor,
    delta_stride: tl.tensor,
    plan_stride: tl.tensor,
    start: tl.tensor,
    layers: tl.tensor,
    layer: tl.tensor,
    chunk: tl.tensor,
    width: tl.tensor,
    block_tokens: tl.constexpr,
    block_outputs: tl.constexpr,
    block_inputs: tl.constexpr,
    precision: tl.constexpr,
) -> None:
    """Fill in h of a layer before the last, and the next layer's input.

    Beside what `passes` says:
        delta: [S, L, d, d].
        initial: [L, d, d].
        plan: see `layout`.
        inputs: a, [B, L, b, d].
        hidden: h, [B, L, b, d], whose last layer is unused.
        delta_stride: elements from one slot to the next.
        plan_stride: the same, from one row to the next.
    """
    row = start + tl.program_id(2).to(tl.int64)
    slot = tl.load(plan + row * plan_stride + SLOT).to(tl.int64)
    count = tl.load(plan + row * plan_stride + COUNT).to(tl.int32)
    tokens = tl.program_id(1) * block_tokens + tl.arange(0, block_tokens)
    outputs = tl.program_id(0) * block_outputs + tl.arange(0, block_outputs)
    here = (tokens < count)[:, None] & (outputs < width)[None, :]
    at = tokens[:, None] * width + outputs[None, :]
    a, h = inputs + (row * layers + layer) * chunk * width, hidden + (row * layers + layer) * chunk * width
    out = product(
        a,
        initial + layer * width * width,
        delta + slot * delta_stride + layer * width * width,
        tokens,
        outputs,
        count,
        0,
        width,
        1,
        width,
        block_tokens,
        block_outputs,
        block_inputs,
        precision,
    )
    out += tl.load(h - chunk * width + at, here & (layer > 0), 0.0)
    tl.store(h + at, out, here)
    tl.store(a + chunk * width + at, out / (1.0 + tl.exp(-out)), here)


@triton.jit(do_not_specialize=UNSPECIALISED)
def error_kernel(
    delta: tl.tensor,
    plan: tl.tensor,
    inputs: tl.tensor,
    values: tl.tensor,
    errors: tl.tensor,
    delta_stride: tl.tensor,
    plan_stride: tl.tensor,
    values_layers: tl.tensor,
    error_layers: tl.tensor,
    start: tl.tensor,
    layers: tl.tensor,
    chunk: tl.tensor,
    width: tl.tensor,
    block_tokens: tl.constexpr,
    block_outputs: tl.constexpr,
    block_inputs: tl.constexpr,
    precision: tl.constexpr,
) -> None:
    """Fill in the last layer's output less the values. W0's last layer is zero; it is never read.

    Beside what `passes` says:
        delta: [S, L, d, d].
        plan: see `layout`.
        inputs: a, [B, L, b, d].
        values: [B, values_layers, b, d], in their first layer.
        errors: [B, error_layers, b, d], filled in in its last layer; may be values.
        delta_stride: elements from one slot to the next.
        plan_stride: the same, from one row to the next.
        values_layers: see values.
        error_layers: see errors.
    """
    row = start + tl.program_id(2).to(tl.int64)
    slot = tl.load(plan + row * plan_stride + SLOT).to(tl.int64)
    count = tl.load(plan + row * plan_stride + COUNT).to(tl.int32)
    tokens = tl.program_id(1) * block_tokens + tl.arange(0, block_tokens)
    outputs = tl.program_id(0) * block_outputs + tl.arange(0, block_outputs)
    here = (tokens < count)[:, None] & (outputs < width)[None, :]
    at = tokens[:, None] * width + outputs[None, :]
    learnt = delta + slot * delta_stride + (layers - 1) * width * width
    out = product(
        inputs + (row * layers + layers - 1) * chunk * width,
        learnt,
        learnt,
        tokens,
        outputs,
        count,
        1,
        width,
        1,
        width,
        block_tokens,
        block_outputs,
        block_inputs,
        precision,
    )
    out -= tl.load(values + row * values_layers * chunk * width + at, here, 0.0)
    tl.store(errors + (row * error_layers + error_layers - 1) * chunk * width + at, out, here)


@triton.jit(do_not_specialize=UNSPECIALISED)
def backward_kernel(
    delta: tl.tensor,
    initial: tl.tensor,
    plan: tl.tensor,
    hidden: tl.tensor,
    errors: tl.tensor,
    delta_stride: tl.tensor,
    plan_stride: tl.tensor,
    start: tl.tensor,
    layers: tl.tensor,
    layer: tl.tensor,
    chunk: tl.tensor,
    width: tl.tensor,
    block_tokens: tl.constexpr,
    block_outputs: tl.constexpr,
    block_inputs: tl.constexpr,
    precision: tl.constexpr,
) -> None:
    """Fill in δ of the layer before this one: the error backpropagated to its output.

    Beside what `passes` says:
        delta: [S, L, d, d].
        initial: [L, d, d].
        plan: see `layout`.
        hidden: h, [B, L, b, d].
        errors: δ, [B, L, b, d].
        delta_stride: elements from one slot to the next.
        plan_stride: the same, from one row to the next.
    """
    row = start + tl.program_id(2).to(tl.int64)
    slot = tl.load(plan + row * plan_stride + SLOT).to(tl.int64)
    count = tl.load(plan + row * plan_stride + COUNT).to(tl.int32)
    tokens = tl.program_id(1) * block_tokens + tl.arange(0, block_tokens)
    outputs = tl.program_id(0) * block_outputs + tl.arange(0, block_outputs)
    here = (tokens < count)[:, None] & (outputs < width)[None, :]
    at = tokens[:, None] * width + outputs[None, :]
    e = errors + (row * layers + layer) * chunk * width
    last = (layer == layers - 1).to(tl.int32)
    gradient = product(
        e,
        initial + layer * width * width,
        delta + slot * delta_stride + layer * width * width,
        tokens,
        outputs,
        count,
        last,
        1,
        width,
        width,
        block_tokens,
        block_outputs,
        block_inputs,
        precision,
    )
    x = tl.load(hidden + (row * layers + layer - 1) * chunk * width + at, here, 0.0)
    sigmoid = 1.0 / (1.0 + tl.exp(-x))
    skip = tl.load(e + at, here & (last == 0), 0.0)
    tl.store(e - chunk * width + at, gradient * sigmoid * (1.0 + x * (1.0 - sigmoid)) + skip, here)

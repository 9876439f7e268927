"""On the device: a block of tokens through the layers, forwards and backwards.

Matrices and activations lie in global memory and are gone through in tiles, whatever the width. One program does all of
it: what it wrote before a barrier, it may read after. Every product has the IEEE precision of the weights' type.

    sizes      chunk: tokens from one layer's activations to the next's; width: d; layers: L
    tiles      block_tokens × block_outputs, summed over block_inputs at a time
"""

import triton
import triton.language as tl


@triton.jit
def product(
    x: tl.tensor,
    initial: tl.tensor,
    delta: tl.tensor,
    tokens: tl.tensor,
    outputs: tl.tensor,
    count: tl.tensor,
    learnt_only: tl.tensor,
    output_stride: tl.constexpr,
    input_stride: tl.constexpr,
    width: tl.constexpr,
    block_inputs: tl.constexpr,
) -> tl.tensor:
    """Return Σ_k x[token, k] W[output, k] with W = W0 + Δ, a tile; W0 is not read where learnt_only."""
    dtype: tl.constexpr = delta.dtype.element_ty
    total = tl.full((tokens.shape[0], outputs.shape[0]), 0.0, dtype)
    for first in range(0, width, block_inputs):
        inputs = first + tl.arange(0, block_inputs)
        inside = (inputs < width)[:, None] & (outputs < width)[None, :]
        at = inputs[:, None] * input_stride + outputs[None, :] * output_stride
        weight = tl.load(delta + at, inside, 0.0) + tl.load(initial + at, inside & (learnt_only == 0), 0.0)
        here = (tokens < count)[:, None] & (inputs < width)[None, :]
        left = tl.load(x + tokens[:, None] * width + inputs[None, :], here, 0.0)
        total = tl.dot(left, weight, total, input_precision="ieee", out_dtype=dtype)
    return total


@triton.jit
def forward(
    keys: tl.tensor,
    inputs: tl.tensor,
    hidden: tl.tensor,
    initial: tl.tensor,
    delta: tl.tensor,
    tokens: tl.tensor,
    count: tl.tensor,
    chunk: tl.constexpr,
    width: tl.constexpr,
    layers: tl.constexpr,
    block_outputs: tl.constexpr,
    block_inputs: tl.constexpr,
) -> None:
    """Fill in the input of every layer, a [L, chunk, d], and h [L − 1, chunk, d] of these tokens."""
    dtype: tl.constexpr = delta.dtype.element_ty
    for first in range(0, width, block_outputs):
        outputs = first + tl.arange(0, block_outputs)
        here = (tokens < count)[:, None] & (outputs < width)[None, :]
        at = tokens[:, None] * width + outputs[None, :]
        tl.store(inputs + at, tl.load(keys + at, here, 0.0).to(dtype), here)
    tl.debug_barrier()
    for layer in range(0, layers - 1):
        a, h = inputs + layer * chunk * width, hidden + layer * chunk * width
        matrix = layer * width * width
        for first in range(0, width, block_outputs):
            outputs = first + tl.arange(0, block_outputs)
            here = (tokens < count)[:, None] & (outputs < width)[None, :]
            at = tokens[:, None] * width + outputs[None, :]
            out = product(a, initial + matrix, delta + matrix, tokens, outputs, count, 0, width, 1, width, block_inputs)
            out += tl.load(h - chunk * width + at, here & (layer > 0), 0.0)
            tl.store(h + at, out, here)
            tl.store(a + chunk * width + at, out / (1.0 + tl.exp(-out)), here)
        tl.debug_barrier()


@triton.jit
def backward(
    values: tl.tensor,
    inputs: tl.tensor,
    hidden: tl.tensor,
    errors: tl.tensor,
    initial: tl.tensor,
    delta: tl.tensor,
    tokens: tl.tensor,
    count: tl.tensor,
    chunk: tl.constexpr,
    width: tl.constexpr,
    layers: tl.constexpr,
    block_outputs: tl.constexpr,
    block_inputs: tl.constexpr,
) -> None:
    """Fill in δ, the error backpropagated to the output of every layer, [L, chunk, d], of these tokens."""
    size: tl.constexpr = chunk * width
    last: tl.constexpr = layers - 1
    learnt = delta + last * width * width
    for first in range(0, width, block_outputs):
        outputs = first + tl.arange(0, block_outputs)
        here = (tokens < count)[:, None] & (outputs < width)[None, :]
        at = tokens[:, None] * width + outputs[None, :]
        # W0's last layer is zero; it is never read.
        out = product(inputs + last * size, initial, learnt, tokens, outputs, count, 1, width, 1, width, block_inputs)
        error = out - tl.load(values + at, here, 0.0).to(out.dtype)
        tl.store(errors + last * size + at, error, here)
    tl.debug_barrier()
    for back in range(0, last):
        layer = last - back
        e, h = errors + layer * size, hidden + (layer - 1) * size
        matrix = layer * width * width
        for first in range(0, width, block_outputs):
            outputs = first + tl.arange(0, block_outputs)
            here = (tokens < count)[:, None] & (outputs < width)[None, :]
            at = tokens[:, None] * width + outputs[None, :]
            gradient = product(
                e, initial + matrix, delta + matrix, tokens, outputs, count, back == 0, 1, width, width, block_inputs
            )
            x = tl.load(h + at, here, 0.0)
            sigmoid = 1.0 / (1.0 + tl.exp(-x))
            skip = tl.load(e + at, here & (back > 0), 0.0)
            tl.store(e - size + at, gradient * sigmoid * (1.0 + x * (1.0 - sigmoid)) + skip, here)
        tl.debug_barrier()

"""The two kernels that the host launches."""

import triton
import triton.language as tl

from memsvc_kernels.triton.apply import apply
from memsvc_kernels.triton.fold import LENGTH, TO_DELTA, TO_MOMENTUM, VECTORS, fold, limit
from memsvc_kernels.triton.norms import norms
from memsvc_kernels.triton.passes import backward, forward, product


@triton.jit
def step_kernel(
    delta: tl.tensor,
    momentum: tl.tensor,
    initial: tl.tensor,
    keys: tl.tensor,
    values: tl.tensor,
    rates: tl.tensor,
    bounds: tl.tensor,
    groups: tl.tensor,
    rows: tl.tensor,
    surprise: tl.tensor,
    wrote: tl.tensor,
    flags: tl.tensor,
    activations: tl.tensor,
    vectors: tl.tensor,
    delta_stride: tl.constexpr,
    momentum_stride: tl.constexpr,
    chunk: tl.constexpr,
    width: tl.constexpr,
    layers: tl.constexpr,
    block_chunk: tl.constexpr,
    block_tokens: tl.constexpr,
    block_outputs: tl.constexpr,
    block_inputs: tl.constexpr,
) -> None:
    """Step the pending chunks of one slot, one after the other: one program a slot, which reads nothing of others'.

    Args:
        delta: [S, L, d, d], and so momentum.
        momentum: changed in place, as delta.
        initial: [L, d, d].
        keys: [B, b, d], and so values.
        values: may be keys.
        rates: θ, η, α, threshold, [B, 4, b] float64.
        bounds: c, radius, clip, largest step, [B, 4] float64.
        groups: slot, first and end in `rows`, unused, [G, 4] int64.
        rows: row, tokens in it, [B, 2] int64.
        surprise: filled in, [B, b].
        wrote: filled in, [B, b] uint8.
        flags: bounded, clipped, projected, finite, filled in, [B, 4] uint8.
        activations: scratch, [G, 3, L, b, d].
        vectors: scratch, [G, 5, b] float64.
        delta_stride: elements from one slot to the next.
        momentum_stride: the same.
        chunk: b.
        width: d.
        layers: L.
        block_chunk: a power of two, at least b.
        block_tokens: tokens of a tile.
        block_outputs: rows and columns of a tile of weights that is written.
        block_inputs: of a tile that is summed over.
    """
    group = tl.program_id(0).to(tl.int64)
    size: tl.constexpr = layers * chunk * width
    inputs = activations + group * 3 * size
    hidden, errors = inputs + size, inputs + 2 * size
    vectors += group * VECTORS * chunk
    slot = tl.load(groups + 4 * group)
    delta += slot * delta_stride
    momentum += slot * momentum_stride
    for at in range(tl.load(groups + 4 * group + 1), tl.load(groups + 4 * group + 2)):
        row, count = tl.load(rows + 2 * at), tl.load(rows + 2 * at + 1)
        own_rates, own_bounds, own_flags = rates + row * 4 * chunk, bounds + row * 4, flags + row * 4
        own_wrote = wrote + row * chunk
        for first in range(0, count, block_tokens):
            tokens = first + tl.arange(0, block_tokens)
            forward(
                keys + row * chunk * width,
                inputs,
                hidden,
                initial,
                delta,
                tokens,
                count,
                chunk,
                width,
                layers,
                block_outputs,
                block_inputs,
            )
            backward(
                values + row * chunk * width,
                inputs,
                hidden,
                errors,
                initial,
                delta,
                tokens,
                count,
                chunk,
                width,
                layers,
                block_outputs,
                block_inputs,
            )
            norms(inputs, errors, vectors, vectors + LENGTH * chunk, tokens, count, chunk, width, layers, block_inputs)
        tl.debug_barrier()
        factor, writes = limit(
            inputs,
            errors,
            vectors,
            own_rates,
            own_bounds,
            surprise + row * chunk,
            own_wrote,
            own_flags,
            count,
            chunk,
            width,
            layers,
            block_chunk,
            block_tokens,
            block_inputs,
        )
        keep_momentum, keep_delta, carry = fold(vectors, own_rates, own_wrote, factor, count, chunk)
        projected = apply(
            inputs,
            errors,
            vectors + TO_DELTA * chunk,
            vectors + TO_MOMENTUM * chunk,
            keep_momentum,
            keep_delta,
            carry,
            tl.load(own_bounds + 1),
            delta,
            momentum,
            count,
            tl.where(writes, layers, 0),
            chunk,
            width,
            block_outputs,
            block_inputs,
        )
        tl.store(own_flags + 2, projected.to(tl.uint8))
        tl.debug_barrier()


@triton.jit(do_not_specialize=["count"])
def read_kernel(
    delta: tl.tensor,
    initial: tl.tensor,
    x: tl.tensor,
    slots: tl.tensor,
    out: tl.tensor,
    activations: tl.tensor,
    count: tl.tensor,
    delta_stride: tl.constexpr,
    width: tl.constexpr,
    layers: tl.constexpr,
    block_tokens: tl.constexpr,
    block_outputs: tl.constexpr,
    block_inputs: tl.constexpr,
) -> None:
    """Read a block of one row's tokens: programs are rows by blocks.

    Args:
        delta: [S, L, d, d].
        initial: [L, d, d].
        x: [B, n, d].
        slots: [B] int64.
        out: filled in, [B, n, d].
        activations: scratch, [programs, 2, L, block_tokens, d].
        count: n.
        delta_stride: elements from one slot to the next.
        width: d.
        layers: L.
        block_tokens: tokens of a tile.
        block_outputs: of a tile that is written.
        block_inputs: of a tile that is summed over.
    """
    row, block = tl.program_id(0).to(tl.int64), tl.program_id(1)
    size: tl.constexpr = layers * block_tokens * width
    inputs = activations + (row * tl.num_programs(1) + block) * 2 * size
    delta += tl.load(slots + row) * delta_stride
    start = (row * count + block * block_tokens) * width
    tokens = tl.arange(0, block_tokens)
    live = count - block * block_tokens
    forward(
        x + start,
        inputs,
        inputs + size,
        initial,
        delta,
        tokens,
        live,
        block_tokens,
        width,
        layers,
        block_outputs,
        block_inputs,
    )
    last = (layers - 1) * width * width
    a = inputs + (layers - 1) * block_tokens * width
    for first in range(0, width, block_outputs):
        outputs = first + tl.arange(0, block_outputs)
        here = (tokens < live)[:, None] & (outputs < width)[None, :]
        result = product(a, initial, delta + last, tokens, outputs, live, 1, width, 1, width, block_inputs)
        tl.store(out + start + tokens[:, None] * width + outputs[None, :], result, here)

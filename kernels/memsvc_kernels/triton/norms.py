"""On the device: the norms of tokens, and the Gram matrix of their tangents. Sums over tokens are float64."""

import triton
import triton.language as tl


@triton.jit
def norms(
    inputs: tl.tensor,
    errors: tl.tensor,
    surprise: tl.tensor,
    length: tl.tensor,
    tokens: tl.tensor,
    count: tl.tensor,
    chunk: tl.constexpr,
    width: tl.constexpr,
    layers: tl.constexpr,
    block_inputs: tl.constexpr,
) -> None:
    """Store g = √Σ_l ‖a_l‖² ‖δ_l‖² and ‖e‖ = ‖δ_L‖ of these tokens."""
    total = tl.full((tokens.shape[0],), 0.0, tl.float64)
    error = tl.full((tokens.shape[0],), 0.0, tl.float64)
    for layer in range(0, layers):
        square = tl.full((tokens.shape[0],), 0.0, tl.float64)
        error = tl.full((tokens.shape[0],), 0.0, tl.float64)
        for first in range(0, width, block_inputs):
            column = first + tl.arange(0, block_inputs)
            here = (tokens < count)[:, None] & (column < width)[None, :]
            at = layer * chunk * width + tokens[:, None] * width + column[None, :]
            a, e = tl.load(inputs + at, here, 0.0).to(tl.float64), tl.load(errors + at, here, 0.0).to(tl.float64)
            square += tl.sum(a * a, axis=1)
            error += tl.sum(e * e, axis=1)
        total += square * error
    tl.store(surprise + tokens, tl.sqrt(total), tokens < count)
    tl.store(length + tokens, tl.sqrt(error), tokens < count)


@triton.jit
def gram(
    inputs: tl.tensor,
    errors: tl.tensor,
    length: tl.tensor,
    theta: tl.tensor,
    wrote: tl.tensor,
    stop: tl.tensor,
    chunk: tl.constexpr,
    width: tl.constexpr,
    layers: tl.constexpr,
    block_tokens: tl.constexpr,
    block_inputs: tl.constexpr,
) -> tuple[tl.tensor, tl.tensor]:
    """Return max_i Σ_j θ_j |K_ij| and ‖Σ_j θ_j ∇ℓ_j‖² over the tokens that write; see `Backend.chunk_step`.

    Both are 0 where stop is 0. What is not a number stays so.
    """
    dtype: tl.constexpr = inputs.dtype.element_ty
    largest = tl.full((), 0.0, tl.float64)
    total = tl.full((), 0.0, tl.float64)
    square = tl.full((), 0.0, tl.float64)
    for first in range(0, stop, block_tokens):
        i = first + tl.arange(0, block_tokens)
        length_i = tl.load(length + i, i < stop, 0.0)
        unit_i = tl.where(length_i > 0, 1.0 / tl.where(length_i > 0, length_i, 1.0), 0.0).to(dtype)
        reach = tl.full((block_tokens,), 0.0, tl.float64)
        moved = tl.full((block_tokens,), 0.0, tl.float64)
        for other in range(0, stop, block_tokens):
            j = other + tl.arange(0, block_tokens)
            length_j = tl.load(length + j, j < stop, 0.0)
            unit_j = tl.where(length_j > 0, 1.0 / tl.where(length_j > 0, length_j, 1.0), 0.0).to(dtype)
            k = tl.full((block_tokens, block_tokens), 0.0, dtype)
            for layer in range(0, layers):
                offset = layer * chunk * width
                a = overlap(inputs + offset, i, j, stop, width, block_tokens, block_inputs)
                e = overlap(errors + offset, i, j, stop, width, block_tokens, block_inputs)
                k += a * (e * unit_i[:, None] * unit_j[None, :])
            theta_j = tl.load(theta + j, j < stop, 0.0)
            # A token that does not write has no θ, and what it has to do with others does not count.
            k = tl.where((theta_j > 0)[None, :], k.to(tl.float64), 0.0)
            reach += tl.sum(tl.abs(k) * theta_j[None, :], axis=1)
            moved += tl.sum(k * (theta_j * length_j)[None, :], axis=1)
        writes = tl.load(wrote + i, i < stop, 0) > 0
        reach = tl.where(writes, reach, 0.0)
        largest = tl.maximum(largest, tl.max(reach))
        total += tl.sum(reach)
        theta_i = tl.load(theta + i, i < stop, 0.0)
        square += tl.sum(tl.where(theta_i > 0, moved * theta_i * length_i, 0.0))
    # A maximum passes over what is not a number; a sum does not.
    return tl.where(total < float("inf"), largest, total), square


@triton.jit
def overlap(
    x: tl.tensor,
    i: tl.tensor,
    j: tl.tensor,
    stop: tl.tensor,
    width: tl.constexpr,
    block_tokens: tl.constexpr,
    block_inputs: tl.constexpr,
) -> tl.tensor:
    """Return x_i · x_j, a tile."""
    dtype: tl.constexpr = x.dtype.element_ty
    total = tl.full((block_tokens, block_tokens), 0.0, dtype)
    for first in range(0, width, block_inputs):
        column = first + tl.arange(0, block_inputs)
        inside = column < width
        left = tl.load(x + i[:, None] * width + column[None, :], (i < stop)[:, None] & inside[None, :], 0.0)
        right = tl.load(x + j[None, :] * width + column[:, None], inside[:, None] & (j < stop)[None, :], 0.0)
        total = tl.dot(left, right, total, input_precision="ieee", out_dtype=dtype)
    return total

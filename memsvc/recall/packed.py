"""Attention over sequences that lie end to end: each attends to itself alone."""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby, pairwise

import torch
from torch import Tensor


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    borders: Sequence[int],
    *,
    scale: float | None = None,
    causal: bool = False,
) -> Tensor:
    """Return what each token of each sequence attends to, [tokens, heads, width]; 0 behind the last sequence.

    Args:
        query: [heads, tokens, width].
        key: the same, with as many heads or an even part of them.
        value: like keys.
        borders: where sequences begin and end.
        scale: of the products; None is one over the root of the width.
        causal: a token does not attend to those after it.
    """
    heads, tokens, width = query.shape
    grouped = heads != key.shape[0]
    scores: Callable[..., Tensor] = torch.nn.functional.scaled_dot_product_attention
    out = query.new_zeros(tokens, heads, width)
    for at, end, length in _runs(borders):
        # [sequences, heads, length, width], without a copy: as many of one length as stand together in one call.
        q, k, v = (t[:, at:end].view(t.shape[0], -1, length, t.shape[2]).transpose(0, 1) for t in (query, key, value))
        mixed = scores(q, k, v, scale=scale, is_causal=causal, enable_gqa=grouped)
        out[at:end] = mixed.transpose(1, 2).flatten(0, 1)
    return out


def _runs(borders: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Yield start, end and length of each run of sequences of one length."""
    for length, run in groupby(pairwise(borders), lambda pair: pair[1] - pair[0]):
        pairs = list(run)
        yield pairs[0][0], pairs[-1][1], length

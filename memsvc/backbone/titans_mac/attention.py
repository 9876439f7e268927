"""Attention over the current chunk and the one before, with the memory's readouts and learned tokens beside them.

B  rows    n  chunks    b  tokens of a chunk    H  heads    h  width of a head    d = H h
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from memsvc.backbone.titans_mac.config import MacConfig

_BASE = 10_000.0


class Attention(nn.Module):
    """A token sees its chunk up to itself, the whole chunk before, the readouts up to its own, and the learned ones."""

    turns: Tensor

    def __init__(self, config: MacConfig) -> None:
        super().__init__()
        self.heads, self.chunk = config.heads, config.chunk
        self.projection = nn.Linear(config.width, 3 * config.width, bias=False)
        self.output = nn.Linear(config.width, config.width, bias=False)
        self.persistent = nn.Parameter(torch.randn(2, config.heads, config.persistent, config.head) * 0.1)
        self.register_buffer("turns", _turns(2 * config.chunk, config.heads, config.head), persistent=False)

    def forward(
        self, x: Tensor, before: tuple[Tensor, Tensor], chunks: Tensor, readout: Tensor | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return the mixed states [B, n b, d], and the last chunk's keys and values.

        Args:
            x: [B, n b, d].
            before: keys and values of the chunk before, without positions, [B, H, b, h] each.
            chunks: how many chunks came before, [B].
            readout: the memory's keys and values side by side, [B, n b, 2 d].
        """
        rows, tokens, width = x.shape
        n = tokens // self.chunk
        query, key, value = self._split(self.projection(x), 3)
        # By token first, heads after: as the projection lays them out.
        older = (part.transpose(1, 2)[:, None] for part in before)
        earlier = [torch.cat([old, now[:, :-1]], 1) for old, now in zip(older, (key, value), strict=True)]
        keys = [_turned(earlier[0], self.turns[:, : self.chunk]), _turned(key, self.turns[:, self.chunk :])]
        values = [earlier[1], value]
        for kept, learned in zip((keys, values), self.persistent.transpose(1, 2), strict=True):
            kept.append(learned.expand(rows, n, *learned.shape))
        if readout is not None:
            for kept, extra in zip((keys, values), self._split(readout, 2), strict=True):
                kept.append(extra)
        mask = self._mask(chunks, n, self.persistent.shape[2], readout=readout is not None)
        mixed = scaled_dot_product_attention(
            _by_head(_turned(query, self.turns[:, self.chunk :])),
            _by_head(torch.cat(keys, 2)),
            _by_head(torch.cat(values, 2)),
            attn_mask=mask.flatten(0, 1),
        )
        # Copies: a view would keep all of them.
        last = (key[:, -1].transpose(1, 2).contiguous(), value[:, -1].transpose(1, 2).contiguous())
        return self.output(mixed.transpose(1, 2).reshape(rows, tokens, width)), last

    def _split(self, x: Tensor, parts: int) -> tuple[Tensor, ...]:
        """Return x [B, n b, parts d] as so many [B, n, b, H, h]."""
        rows, tokens, width = x.shape
        shape = (rows, tokens // self.chunk, self.chunk, parts, self.heads, width // parts // self.heads)
        return x.view(shape).unbind(3)

    def _mask(self, chunks: Tensor, n: int, persistent: int, *, readout: bool) -> Tensor:
        """Return what is seen, [B, n, 1, b, keys], or [1, 1, 1, b, keys] where it is the same for all chunks."""
        b = self.chunk
        square = torch.ones(b, b, dtype=torch.bool, device=chunks.device)
        causal = square.tril()
        later = [causal, square.new_ones(b, persistent), *([causal] if readout else [])]
        first, other = (torch.cat([part, *later], 1) for part in (torch.zeros_like(square), square))
        # Nothing came before a stream's first chunk.
        if chunks.all():
            return other[None, None, None]
        is_first = (chunks[:, None] + torch.arange(n, device=chunks.device)) == 0
        return torch.where(is_first[:, :, None, None, None], first, other)


def _by_head(x: Tensor) -> Tensor:
    """Return x [B, n, tokens, H, h] as [B n, H, tokens, h]."""
    return x.flatten(0, 1).transpose(1, 2)


def _turns(positions: int, heads: int, width: int) -> Tensor:
    """Return rotary positions as cosines and sines, [2, positions, heads, width], each twice (arXiv:2104.09864)."""
    angle = torch.arange(positions)[:, None] * _BASE ** (-torch.arange(0, width, 2) / width)
    angle = torch.cat([angle, angle], 1)
    return torch.stack([angle.cos(), angle.sin()])[:, :, None].repeat(1, 1, heads, 1)


def _turned(x: Tensor, turns: Tensor) -> Tensor:
    """Return x [B, n, b, H, h] at its positions."""
    half = x.shape[-1] // 2
    # Whole rows times whole rows, and then halves: products of halves alone take four times as long.
    cosine, sine = turns
    turned: Tensor = x * cosine
    other = x * sine
    turned[..., :half] -= other[..., half:]
    turned[..., half:] += other[..., :half]
    return turned

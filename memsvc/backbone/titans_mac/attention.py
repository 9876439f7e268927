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
        self.register_buffer("turns", _turns(2 * config.chunk, config.head), persistent=False)

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
        earlier = [torch.cat([b[:, None], now[:, :-1]], 1) for b, now in zip(before, (key, value), strict=True)]
        keys = [_turn(earlier[0], self.turns[: self.chunk]), _turn(key, self.turns[self.chunk :])]
        values = [earlier[1], value]
        for kept, learned in zip((keys, values), self.persistent, strict=True):
            kept.append(learned.expand(rows, n, *learned.shape))
        if readout is not None:
            for kept, extra in zip((keys, values), self._split(readout, 2), strict=True):
                kept.append(extra)
        mask = self._mask(chunks, n, keys[2].shape[3], readout=readout is not None)
        mixed = scaled_dot_product_attention(
            _turn(query, self.turns[self.chunk :]).flatten(0, 1),
            torch.cat(keys, 3).flatten(0, 1),
            torch.cat(values, 3).flatten(0, 1),
            attn_mask=mask.flatten(0, 1),
        )
        return self.output(mixed.transpose(1, 2).reshape(rows, tokens, width)), (key[:, -1], value[:, -1])

    def _split(self, x: Tensor, parts: int) -> tuple[Tensor, ...]:
        """Return x [B, n b, parts d] as so many [B, n, H, b, h]."""
        rows, tokens, width = x.shape
        shape = (rows, tokens // self.chunk, self.chunk, parts, self.heads, width // parts // self.heads)
        return x.view(shape).permute(3, 0, 1, 4, 2, 5).unbind(0)

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


def _turns(positions: int, width: int) -> Tensor:
    """Return rotary positions as cosines and sines, [positions, 2, width / 2] (arXiv:2104.09864)."""
    angle = torch.arange(positions)[:, None] * _BASE ** (-torch.arange(0, width, 2) / width)
    return torch.stack([angle.cos(), angle.sin()], 1)


def _turn(x: Tensor, turns: Tensor) -> Tensor:
    cos, sin = turns.unbind(1)
    left, right = x.chunk(2, -1)
    return torch.cat([left * cos - right * sin, left * sin + right * cos], -1)

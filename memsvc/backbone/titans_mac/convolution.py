"""A short convolution over a stream: what a token is, and what the few before it were."""

import torch
from torch import Tensor, nn


class ShortConvolution(nn.Module):
    """Each channel's weighted sum over the last `taps` tokens, added to the token's own state.

    Args:
        taps: tokens that it sees, itself included.
        width: channels, d.
    """

    def __init__(self, taps: int, width: int) -> None:
        super().__init__()
        # Far from zero: it is what tells the order of tokens apart from the start.
        self.weight = nn.Parameter(torch.randn(taps, width) * 0.3)

    def forward(self, x: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sums [B, T, d] for x [B, T, d], and what the next call takes as `before` [B, taps − 1, d]."""
        tokens = x.shape[1]
        whole = torch.cat([before, x], 1)
        mixed = x
        for i, tap in enumerate(self.weight):
            mixed = torch.addcmul(mixed, whole[:, i : i + tokens], tap)
        return mixed, whole[:, tokens:].clone()

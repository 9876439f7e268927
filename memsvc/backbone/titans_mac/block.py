"""One block: attention and an MLP, each added to the residual stream; in one block, with the memory beside them.

B  rows    T  tokens, whole chunks    d  width
"""

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn.functional import silu

from memsvc.backbone.titans_mac.attention import Attention
from memsvc.backbone.titans_mac.config import MacConfig
from memsvc.backbone.titans_mac.convolution import ShortConvolution
from memsvc.backbone.titans_mac.state import BlockState

EPSILON = 1e-6


class Passed(NamedTuple):
    """What a block gives."""

    x: Tensor
    """[B, T, d]."""
    state: BlockState


class Block(nn.Module):
    """The short convolution, attention, and the MLP."""

    def __init__(self, config: MacConfig) -> None:
        super().__init__()
        width = config.width
        self.before_attention, self.before_mlp = (nn.RMSNorm(width, EPSILON) for _ in range(2))
        self.convolution, self.attention = ShortConvolution(config.conv, width), Attention(config)
        self.up = nn.Linear(width, config.expansion * width, bias=False)
        self.down = nn.Linear(config.expansion * width, width, bias=False)

    def forward(self, x: Tensor, state: BlockState, chunks: Tensor, entry: "Entry | None" = None) -> Passed:
        """Pass over whole chunks.

        Args:
            x: [B, T, d].
            state: before them.
            chunks: how many chunks came before, [B].
            entry: what comes in from the memory.
        """
        mixed, inputs = self.convolution(self.before_attention(x), state.inputs)
        attended, window = self.attention(mixed, (state.keys, state.values), chunks, entry.seen if entry else None)
        x = x + attended
        if entry is not None and entry.added is not None:
            x = x + entry.added
        return Passed(x + self.down(silu(self.up(self.before_mlp(x)))), BlockState(window[0], window[1], inputs))


class Entry(NamedTuple):
    """How a readout enters a block."""

    seen: Tensor | None
    """As keys and values of the attention, side by side, [B, T, 2 d]."""
    added: Tensor | None
    """To the residual stream, [B, T, d]."""


class ReadoutEntry(nn.Module):
    """From a readout [B, T, value] to where it enters: beside the attention's keys and values, and as a residual."""

    def __init__(self, config: MacConfig) -> None:
        super().__init__()
        value, width = config.memory.value, config.width
        self.seen = nn.Linear(value, 2 * width, bias=False) if config.memory.readout != "residual" else None
        self.added = nn.Linear(value, width, bias=False) if config.memory.readout != "kv" else None
        if self.added is not None:
            nn.init.zeros_(self.added.weight)

    def forward(self, readout: Tensor) -> Entry:
        """Return both, or the one that the configuration asks for."""
        return Entry(*(None if layer is None else layer(readout) for layer in (self.seen, self.added)))

"""The surprise gate's threshold: how it follows the stream (NUMERICS.md, The gate, recall memory)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memsvc.memory.config import MemoryConfig

WINDOW_TOKENS = 4096
"""The threshold moves after every so many tokens, and is 0 before the first move."""
SMOOTHING = 0.5
"""Weight of the newest window: 4,096 surprises make a steady quantile, and surprise falls fast in a young memory."""

_FLOAT = np.dtype("<f4")


@dataclass(frozen=True, slots=True, kw_only=True)
class GateState:
    """A tenant's gate between two chunks; part of its state."""

    threshold: float = 0.0
    """A token writes where its surprise is at least this."""
    tokens: int = 0
    """Tokens seen, gated out or not."""
    window: bytes = b""
    """Surprises of the tokens since the last move, little-endian float32; kept for the quantile policy alone."""

    def to_values(self) -> list[Any]:
        """Return plain values that msgpack packs."""
        return [self.threshold, self.tokens, self.window]

    @classmethod
    def from_values(cls, values: Sequence[Any]) -> "GateState":
        """Return the state that `to_values` gave.

        Raises:
            ValueError: they are none that it gave.
        """
        threshold, tokens, window = values
        if not _is_figure(threshold) or type(tokens) is not int or tokens < 0 or not isinstance(window, bytes):
            raise ValueError("no state of a gate")
        if len(window) % _FLOAT.itemsize or len(window) >= WINDOW_TOKENS * _FLOAT.itemsize:
            raise ValueError("no window of a gate")
        return cls(threshold=threshold, tokens=tokens, window=window)


def observe(state: GateState, config: MemoryConfig, surprise: NDArray[np.floating[Any]]) -> GateState:
    """Return the state after some tokens, given their surprises [n] in order.

    How a stream is cut into calls does not show.

    Every WINDOW_TOKENS tokens the threshold moves: to 0 (policy `off`), to `gate_value` (`fixed`), or towards the
    window's `gate_value` quantile (`quantile`), as an exponential average that starts with the first window's.

    Args:
        state: before them.
        config: `gate` and `gate_value` count.
        surprise: finite; those of a chunk that was not are left out.
    """
    if config.gate != "quantile":
        tokens = state.tokens + len(surprise)
        threshold = state.threshold
        if tokens // WINDOW_TOKENS > state.tokens // WINDOW_TOKENS:
            threshold = config.gate_value if config.gate == "fixed" else 0.0
        return GateState(threshold=threshold, tokens=tokens)
    packed = np.asarray(surprise, _FLOAT).tobytes()
    while packed:
        room = (WINDOW_TOKENS - state.tokens % WINDOW_TOKENS) * _FLOAT.itemsize
        taken, packed = packed[:room], packed[room:]
        tokens, window = state.tokens + len(taken) // _FLOAT.itemsize, state.window + taken
        threshold = state.threshold
        if len(taken) == room:
            values = np.frombuffer(window, _FLOAT).astype(np.float64)
            quantile = float(np.quantile(values, config.gate_value))
            # Open until now means that there is no average yet to move from.
            threshold = quantile if tokens == WINDOW_TOKENS else threshold + SMOOTHING * (quantile - threshold)
            window = b""
        state = GateState(threshold=threshold, tokens=tokens, window=window)
    return state


def _is_figure(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)

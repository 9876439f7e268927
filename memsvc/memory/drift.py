"""Drift: when text begins to surprise more than it used to, learning is restarted (NUMERICS.md, Hot restart).

Surprise is averaged over windows of WINDOW_TOKENS tokens. A window counts when its mean is more than `drift_sigma`
standard deviations above the mean of the last HISTORY_WINDOWS windows' means; `drift_windows` that count, running,
are drift. Windows that count do not enter the history, or they would hide what follows them. In a restart nothing is
counted, and the history begins anew after it: the new text is what is ordinary from then on.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from memsvc.memory.config import MemoryConfig

WINDOW_TOKENS = 512
HISTORY_WINDOWS = 32
RESTART_ETA = 0.5
RESTART_GAIN = 4.0
"""The effective step theta / (1 - eta) in a restart, as a multiple of what it is otherwise. NUMERICS.md measured how
long a memory takes to settle on a new domain: 36,900 tokens without a restart, 9,200 with this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftState:
    """A tenant's drift detector between two chunks; part of its state."""

    total: float = 0.0
    """Summed surprise of the window under way."""
    tokens: int = 0
    """Tokens of the window under way."""
    history: tuple[float, ...] = ()
    """Means of the last windows that did not count, oldest first."""
    running: int = 0
    """Windows that counted, one after the other, up to now."""
    restart_left: int = 0
    """Tokens that a restart still lasts; 0 for none."""
    clear_due: bool = False
    """The momentum is to be cleared before the next step."""

    def to_values(self) -> list[Any]:
        """Return plain values that msgpack packs."""
        return [self.total, self.tokens, list(self.history), self.running, self.restart_left, self.clear_due]

    @classmethod
    def from_values(cls, values: Sequence[Any]) -> "DriftState":
        """Return the state that `to_values` gave.

        Raises:
            TypeError: they are none that it gave.
            ValueError: likewise.
        """
        total, tokens, history, running, left, due = values
        if not all(type(count) is int and count >= 0 for count in (tokens, running, left)) or type(due) is not bool:
            raise TypeError("no state of a drift")
        if tokens >= WINDOW_TOKENS:
            raise ValueError("no window of a drift")
        if not all(math.isfinite(mean) for mean in (total, *history)) or len(history) > HISTORY_WINDOWS:
            raise ValueError("no history of a drift")
        return cls(
            total=total, tokens=tokens, history=tuple(history), running=running, restart_left=left, clear_due=due
        )


class Drifted(NamedTuple):
    """What some tokens did to the detector."""

    state: DriftState
    drift: "Jump | None" = None
    """The jump that set off a restart."""
    ended: bool = False
    """A restart was over."""


class Jump(NamedTuple):
    """A window's mean against those before it."""

    mean: float
    expected: float
    deviation: float


def observe(state: DriftState, config: MemoryConfig, surprise: NDArray[np.floating[Any]]) -> Drifted:
    """Return the state after some tokens, given their surprises [n] in order; how a stream is cut does not show.

    A jump sets off a restart. At most one happens in a call: a chunk is shorter than a restart.

    Args:
        state: before them.
        config: `drift`, `drift_sigma`, `drift_windows` and `restart_tokens` count.
        surprise: finite; those of a chunk that was not are left out.
    """
    drift: Jump | None = None
    ended = False
    values = np.asarray(surprise, np.float64)
    if state.restart_left:
        spent = min(state.restart_left, len(values))
        values = values[spent:]
        ended = spent == state.restart_left
        state = replace(state, restart_left=state.restart_left - spent, total=0.0, tokens=0, running=0)
        if ended:
            state = replace(state, history=())
    while len(values):
        part, values = np.split(values, [WINDOW_TOKENS - state.tokens])
        state = replace(state, total=state.total + float(part.sum()), tokens=state.tokens + len(part))
        if state.tokens < WINDOW_TOKENS:
            break
        mean = state.total / state.tokens
        state = replace(state, total=0.0, tokens=0)
        if (jump := _jump(state, config, mean)) is None:
            state = replace(state, history=(*state.history, mean)[-HISTORY_WINDOWS:], running=0)
        elif state.running + 1 < config.drift_windows:
            state = replace(state, running=state.running + 1)
        elif config.drift:
            drift = jump
            state = restart(state, config)
            break
        else:
            # Without restarts what goes on for long is ordinary.
            state = replace(state, history=(), running=0)
    return Drifted(state, drift, ended)


def restart(state: DriftState, config: MemoryConfig) -> DriftState:
    """Return the state at the beginning of a restart; one under way begins anew."""
    return replace(state, total=0.0, tokens=0, running=0, restart_left=config.restart_tokens, clear_due=True)


def effective(state: DriftState, config: MemoryConfig) -> MemoryConfig:
    """Return the settings that hold now: in a restart, its own eta and step."""
    if not state.restart_left:
        return config
    theta = config.theta * RESTART_GAIN * (1 - RESTART_ETA) / (1 - config.eta)
    return replace(config.stepping(theta), eta=RESTART_ETA)


def _jump(state: DriftState, config: MemoryConfig, mean: float) -> Jump | None:
    if len(state.history) < HISTORY_WINDOWS:
        return None
    history = np.array(state.history)
    expected, deviation = float(history.mean()), float(history.std())
    if mean > expected + config.drift_sigma * deviation and math.isfinite(mean):
        return Jump(mean, expected, deviation)
    return None

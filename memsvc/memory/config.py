"""The settings of one Titans memory."""

import math
import sys
from dataclasses import dataclass, replace
from typing import Literal, Self

from memsvc import limits
from memsvc.errors import InvalidArgumentError

MIN_LAYERS, MAX_LAYERS = 2, 12

MAX_CHUNK = 4096
MAX_TOKENS, MAX_WINDOWS = (1 << 63) - 1, (1 << 31) - 1
"""What the API's fields hold."""

LEAST, MOST = sys.float_info.min, sys.float_info.max
"""What a number above 0 may be: to the thread that steps, which flushes denormals, anything smaller is 0."""

Gate = Literal["off", "fixed", "quantile"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryConfig:
    """One tenant's memory: its architecture, how it learns, and the bounds that keep it stable (NUMERICS.md).

    And the window of a model that answers from it, which nothing that is folded depends on.

    Raises:
        InvalidArgumentError: a value is out of its range; names the field.
    """

    layers: int = 2
    """Weight matrices of the MLP."""
    width: int = 384
    """Width of tokens and of every layer."""
    chunk: int = 128
    """Tokens per step: all gradients of a chunk are taken at its start state."""
    theta: float = 0.064
    """Step size on the chunk's mean gradient; a token's own is theta / chunk."""
    eta: float = 0.9
    """Momentum."""
    half_life: float = 20_000.0
    """Tokens written until half of what was learnt is forgotten; 0 means never. Sets how far the memory shrinks."""
    replay: int = 4
    """After every so many chunks the memory steps on a chunk of vectors of entries written so far; 0 means never."""
    replay_gain: float = 4.0
    """theta of a replayed chunk, as a multiple of theta."""
    gate: Gate = "off"
    """Which tokens write: all, those at a fixed threshold, or those at a moving quantile."""
    gate_value: float = 0.0
    """The fixed threshold, or the quantile below which a token does not write."""
    drift: bool = False
    """Whether drift restarts the memory's learning."""
    drift_sigma: float = 4.0
    """Standard deviations above the last windows' means from which on a window counts as drift."""
    drift_windows: int = 1
    """Windows running that must count."""
    restart_tokens: int = 10_000
    """Tokens that a restart lasts."""
    curvature: float = 0.2
    """c in theta_eff * lambda <= c (1 - eta)."""
    radius: float = 16.0
    """Largest Frobenius norm of what each layer has learnt."""
    clip: float = 0.25
    """Largest norm of one chunk's summed step over all layers, before momentum."""
    seed: int = 0
    """Seeds the initial weights, which are shared by all tenants of one shape."""
    window: int = 131_072
    """Tokens of prompt and answer that a Hugging Face model attends to when it answers."""

    def __post_init__(self) -> None:
        def check(field: str, *, ok: bool, message: str) -> None:
            if not ok:
                raise InvalidArgumentError(f"memory.{field}", message)

        check("layers", ok=MIN_LAYERS <= self.layers <= MAX_LAYERS, message=f"must be {MIN_LAYERS} to {MAX_LAYERS}")
        check("width", ok=self.width > 0, message="must be positive")
        check("chunk", ok=0 < self.chunk <= MAX_CHUNK, message=f"must be 1 to {MAX_CHUNK}")
        check("replay", ok=0 <= self.replay <= MAX_TOKENS, message=f"must be 0 to {MAX_TOKENS}")
        check("theta", ok=LEAST <= self.theta <= MOST, message="must be a number above 0")
        check("eta", ok=0 <= self.eta < 1, message="must be at least 0 and below 1")
        check("half_life", ok=math.isfinite(self.half_life) and self.half_life >= 0, message="must not be negative")
        check("gate", ok=self.gate in {"off", "fixed", "quantile"}, message="must be off, fixed or quantile")
        check("gate_value", ok=math.isfinite(self.gate_value) and self.gate_value >= 0, message="must not be negative")
        check("gate_value", ok=self.gate != "quantile" or self.gate_value < 1, message="a quantile must be below 1")
        check("drift_windows", ok=1 <= self.drift_windows <= MAX_WINDOWS, message=f"must be 1 to {MAX_WINDOWS}")
        check("restart_tokens", ok=1 <= self.restart_tokens <= MAX_TOKENS, message=f"must be 1 to {MAX_TOKENS}")
        check("seed", ok=0 <= self.seed < 1 << 32, message="must be 0 to 4,294,967,295")
        least, most = limits.MIN_WINDOW_TOKENS, limits.MAX_WINDOW_TOKENS
        check("window", ok=least <= self.window <= most, message=f"must be {least} to {most}")
        for field in ("replay_gain", "drift_sigma", "curvature", "radius", "clip"):
            check(field, ok=LEAST <= getattr(self, field) <= MOST, message="must be a number above 0")

    @property
    def alpha(self) -> float:
        """Decay per written token: 1 - 2^(-1 / half_life)."""
        return 1 - 2 ** (-1 / self.half_life) if self.half_life else 0.0

    def stepping(self, theta: float) -> Self:
        """Return it with another theta, a multiple of its own, or as much of that as a number can be."""
        return replace(self, theta=min(max(theta, LEAST), MOST))

    @property
    def weights_bytes(self) -> int:
        """What Δ and momentum take, in float32."""
        return 2 * self.layers * self.width**2 * 4

"""Running statistics of a tenant's memory."""

from dataclasses import dataclass

RECENT_TOKENS = 4096


@dataclass(slots=True, kw_only=True)
class Totals:
    """Running statistics of a view; part of its state."""

    tokens: int = 0
    unknown: int = 0
    stepped: int = 0
    wrote: int = 0
    surprise: float = 0.0
    chunks: int = 0
    bounded: int = 0
    clipped: int = 0
    projected: int = 0
    skipped: int = 0
    restarts: int = 0
    recent: float = 0.0
    """Mean surprise of the last full window of RECENT_TOKENS tokens."""
    window_surprise: float = 0.0
    window_tokens: int = 0

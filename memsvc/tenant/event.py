"""What happens to a memory: derived from its log while that is folded, or noticed as it happens; no record of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

KEPT_EVENTS = 256
"""Events that a view remembers, the newest ones."""
FOLDED = (
    *("drift", "restart", "restart_ended", "quarantine", "configured"),
    *("forgotten", "expired", "resampled", "returned"),
)
"""Every kind of event that a fold makes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened."""

    seq: int
    """The record at whose fold it happened."""
    kind: str
    """One of FOLDED, or what was noticed: `snapshot`, `restored`."""
    figures: Mapping[str, float]

    def to_values(self) -> list[Any]:
        """Return plain values that msgpack packs."""
        return [self.seq, self.kind, dict(self.figures)]

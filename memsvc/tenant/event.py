"""What happens to a memory while its log is folded: derived from the log, and no record of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

KEPT_EVENTS = 256
"""Events that a view remembers, the newest ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened."""

    seq: int
    """The record at whose fold it happened."""
    kind: str
    """`drift`, `restart`, `restart_ended`, `quarantine`, `configured`, `forgotten`, `expired`, `resampled`,
    `returned`."""
    figures: Mapping[str, float]

    def to_values(self) -> list[Any]:
        """Return plain values that msgpack packs."""
        return [self.seq, self.kind, dict(self.figures)]

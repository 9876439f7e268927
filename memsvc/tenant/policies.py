"""What a tenant keeps, and for how long."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from memsvc.errors import InvalidArgumentError
from memsvc.store.types import Payload, Retention

MOST_ENTRIES = 100_000_000
MOST_TTL_US = 100 * 366 * 24 * 3600 * 1_000_000
"""A hundred years."""


class Duplicates(StrEnum):
    """What becomes of an entry whose text a living one has already."""

    KEEP = "keep"
    """It is another text."""
    MERGE = "merge"
    """It shares that one's: the memory learns nothing of it, and recall returns the text once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policies:
    """What a tenant keeps.

    Raises:
        InvalidArgumentError: a value is out of its range; names the field.
    """

    max_entries: int = 1_000_000
    """Entries that recall chooses from; past it the tenth of least importance leaves the index."""
    ttl_us: int = 0
    """Microseconds from an entry's commit until it expires, where it does not say itself; 0 for never."""
    snapshots: str = Retention.NONE.value
    """Which snapshots are kept beside the two newest: a `Retention`."""
    duplicates: str = Duplicates.KEEP.value
    """What becomes of a text that is there already: one of `Duplicates`."""

    def __post_init__(self) -> None:
        if not 1 <= self.max_entries <= MOST_ENTRIES:
            raise InvalidArgumentError("policies.max_entries", f"must be 1 to {MOST_ENTRIES}")
        if not 0 <= self.ttl_us <= MOST_TTL_US:
            raise InvalidArgumentError("policies.ttl", "must be 0 to 100 years")
        if self.snapshots not in set(Retention):
            raise InvalidArgumentError("policies.snapshots", f"must be one of {', '.join(Retention)}")
        if self.duplicates not in set(Duplicates):
            raise InvalidArgumentError("policies.duplicates", f"must be one of {', '.join(Duplicates)}")

    @property
    def retention(self) -> Retention:
        """Which snapshots are kept."""
        return Retention(self.snapshots)

    def expiring(self, payloads: Sequence[Payload], now_us: int) -> Sequence[Payload]:
        """Return payloads that are written now with the time at which they expire."""
        if not self.ttl_us:
            return payloads
        return [p if p.expire_us is not None else replace(p, expire_us=now_us + self.ttl_us) for p in payloads]

    def changed(self, changes: Mapping[str, Any]) -> "Policies":
        """Return them with some changed.

        Raises:
            InvalidArgumentError: a value is out of its range; names the field.
        """
        return replace(self, **changes)

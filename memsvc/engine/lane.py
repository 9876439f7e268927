"""One tenant's way through the engine."""

from collections.abc import Callable
from dataclasses import dataclass, field

from memsvc.engine.way import Way
from memsvc.store.types import Record
from memsvc.tenant.view import View


@dataclass(slots=True)
class Lane:
    """One tenant's way through the engine."""

    uid: str
    view: View
    applied: Callable[[Record], None]
    """Called on the engine's thread once a record is applied."""
    failed: Callable[[BaseException], None]
    """Called on the engine's thread when the lane cannot go on; it is detached then."""
    background: bool = False
    """Whether its work waits for all others'."""
    at_boundary: list[Callable[[], None]] = field(default_factory=list)
    """What waits for the view to stand between two records."""
    wanted_seq: int = 0
    """The last record that someone waits for."""
    ways: dict[int, Way] = field(default_factory=dict)
    """Of the records under way that were committed here, by seq."""

    @property
    def awaited(self) -> bool:
        """Whether someone waits for what is under way."""
        return bool(self.at_boundary) or self.wanted_seq > self.view.applied_seq

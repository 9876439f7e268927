"""When a committed record came by each place on its way to be recallable."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from memsvc.observer import Observer

CountTokens: TypeAlias = Callable[[int], None]
"""Told, on the engine's thread, how many tokens a record's texts have; it returns at once, and raises nothing."""
Meter: TypeAlias = Callable[[str], CountTokens | None]
"""Asked, as a record is committed, with its tenant's id; returns who is to be told of its tokens, if anyone."""


def unmetered(_: str) -> None:
    """Count for nobody."""


@dataclass(slots=True)
class Way:
    """One record's way, by `time.monotonic`. Only what is committed here has one, not what is folded again."""

    committed: float
    request: object = None
    """Of which request, for whoever observes."""
    count: CountTokens | None = None
    """Who counts its tokens."""
    taken: float = 0.0
    """When its first entry was taken up; 0 before."""
    fed: float = 0.0
    """When its last entry was encoded, and the memory's turn came; 0 before."""

    def told(self, observer: Observer, applied: float, entries: int) -> None:
        """Tell an observer of the whole way."""
        for what, began, ended in (
            ("write.queue", self.committed, self.taken),
            ("write.encode", self.taken, self.fed),
            ("write.step", self.fed, applied),
            ("write.recallable", self.committed, applied),
        ):
            observer.took(what, began, ended, self.request, entries=entries)

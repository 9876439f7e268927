"""When a committed record came by each place on its way to be recallable."""

from dataclasses import dataclass

from memsvc.observer import Observer


@dataclass(slots=True)
class Way:
    """One record's way, by `time.monotonic`. Only what is committed here has one, not what is folded again."""

    committed: float
    request: object = None
    """Of which request, for whoever observes."""
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

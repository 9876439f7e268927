"""Who may listen to how long things take: one small Protocol, so that engine and store need no tool for it."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

WORK: Mapping[str, str] = MappingProxyType(
    {
        "engine.wait": "a question waited for the engine's thread",
        "write.queue": "a committed record waited until its first entry was taken up",
        "write.encode": "its texts were tokenised and encoded, in turns with others",
        "write.step": "the memory stepped what was before it, and it became visible",
        "write.recallable": "all of that: from its commit until it could be recalled",
        "recall.wait": "a recall waited for its tenant to be opened and what was written before it to be applied",
        "recall.encode": "its query was encoded, and read through the memory",
        "recall.rank": "the entries were ranked",
        "recall.context": "those found were packed into a context",
        "generate.recall": "an answer was asked for, and what it needs was recalled",
        "generate.first": "the model read the prompt, up to the first piece of its answer",
        "generate.rest": "and the rest of it, as fast as its caller takes it",
    }
)
"""What an observer is told of, beside the store's operations."""


class Observer(Protocol):
    """Hears how long things took. It may be called on any thread; it returns at once, and raises nothing."""

    def request(self) -> object:
        """Return what stands for the request under way, where work for it is told of later or elsewhere.

        None where nobody asks for whom work is done.
        """
        ...

    def took(self, what: str, began: float, ended: float, request: object = None, /, **figures: float) -> None:
        """Hear that something took from one moment to another, by `time.monotonic`.

        Args:
            what: one of WORK.
            began: when.
            ended: when.
            request: for which request; None for the one under way here, if there is one.
            **figures: more about it; never text.
        """
        ...


class Silent:
    """Nobody listens."""

    def request(self) -> object:
        """See `Observer.request`."""
        return None

    def took(self, what: str, began: float, ended: float, request: object = None, /, **figures: float) -> None:
        """See `Observer.took`."""


SILENT = Silent()

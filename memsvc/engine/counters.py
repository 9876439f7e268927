"""What the engine's thread did since its start, in plain numbers: written by it alone, read on any thread."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from memsvc.tenant.chunk import Chunk, Indexed, Stepped
from memsvc.tenant.event import FOLDED, Event

if TYPE_CHECKING:
    # Whoever has no context memory does not import the model.
    from memsvc.backbone.titans_mac.stream import Advanced


@dataclass(slots=True)
class Counters:
    """Sums over all tenants. A second fold, behind live work, counts nowhere but in `refolded`."""

    entries: int = 0
    """Entries that became recallable."""
    tokens: int = 0
    """Tokens of their texts."""
    stepped: int = 0
    """Tokens that the memories stepped, those that are folded again when a tenant is opened included."""
    wrote: int = 0
    """Those of them that passed the gate."""
    surprise: float = 0.0
    """The sum of their surprises."""
    context_tokens: int = 0
    """Tokens that context memories took in, in whole chunks, those folded again as above included."""
    context_wrote: int = 0
    """Those of them that passed their gate."""
    refolded: int = 0
    """Tokens that second folds stepped: to erase, to verify, to look back."""
    evicted: int = 0
    """Entries that left an index because there were too many."""
    failures: int = 0
    """Views that could not go on."""
    busy_s: float = 0.0
    """Seconds that the thread worked."""
    events: dict[str, int] = field(default_factory=lambda: dict.fromkeys(FOLDED, 0))
    """What happened to memories, by kind; all kinds from the start, so that the first of one is seen as growth."""

    def step(self, chunk: Chunk, result: Stepped, *, behind: bool) -> None:
        """Count a chunk that was stepped; a replay counts nowhere."""
        tokens = len(chunk.owners)
        if behind:
            self.refolded += tokens
        elif tokens and result.finite:
            self.stepped += tokens
            self.wrote += int(result.wrote.sum())
            self.surprise += float(result.surprise.sum())

    def tell(self, advanced: "Advanced", *, behind: bool) -> None:
        """Count what a context memory took in."""
        if not behind:
            self.context_tokens += advanced.tokens
            self.context_wrote += advanced.wrote

    def finish(self, entries: Iterable[Indexed], events: Iterable[Event]) -> None:
        """Count a record that became visible for the first time, and what happened at it."""
        for entry in entries:
            self.entries += 1
            self.tokens += entry.tokens
        for event in events:
            self.events[event.kind] = self.events.get(event.kind, 0) + 1
            if event.kind == "resampled":
                self.evicted += int(event.figures["evicted"])

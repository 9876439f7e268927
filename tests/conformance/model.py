"""What any store must agree with: a tenant's log as a list and a dictionary."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from memsvc.store.types import EntryState, Erasure, Payload, RecordKind, Snapshot, TenantRow
from tests.conformance.stores import size_of


@dataclass
class Entry:
    """What the model knows of one entry."""

    seq: int
    payload: Payload
    state: EntryState = EntryState.LIVE
    destroyed: bool = False
    died: int | None = None
    """The record by which it was replaced, deleted or expired."""

    def destroy(self) -> int:
        """Return the bytes that this destroys."""
        size = 0 if self.destroyed else size_of(self.payload)
        self.destroyed = True
        return size


@dataclass
class Tenant:
    """What the model knows of one living tenant."""

    row: TenantRow
    records: list[tuple[RecordKind, bytes, tuple[int, ...], tuple[int, ...]]] = field(default_factory=list)
    """Kind, body, numbers of the entries, numbers of those it is about."""
    entries: dict[int, Entry] = field(default_factory=dict)
    snapshots: dict[int, Snapshot] = field(default_factory=dict)
    erasures: list[Erasure] = field(default_factory=list)
    commit_us: int = 0

    def revisions(self, id: str) -> list[int]:
        return [number for number, entry in self.entries.items() if entry.payload.id == id]

    def state(self, id: str) -> EntryState | None:
        """Of the newest revision; None for an id that was never known."""
        numbers = self.revisions(id)
        return self.entries[numbers[-1]].state if numbers else None

    def retire(self, number: int, state: EntryState) -> int:
        """Take an entry out of the living by the newest record; return the bytes that this destroys."""
        entry = self.entries[number]
        entry.state, entry.died = state, len(self.records)
        return 0 if entry.payload.learn else entry.destroy()

    def lived(self, as_of: int | None) -> dict[int, Payload]:
        """What lives, or lived after a record and can still be read."""
        now = len(self.records) if as_of is None else as_of
        return {
            n: e.payload
            for n, e in self.entries.items()
            if e.seq <= now and (e.died is None or e.died > now) and e.state != EntryState.FORGOTTEN and not e.destroyed
        }

    def add(
        self, kind: RecordKind, payloads: Sequence[Payload] = (), about: Sequence[int] = (), body: bytes = b""
    ) -> None:
        first = len(self.entries) + 1
        self.records.append((kind, body, tuple(range(first, first + len(payloads))), tuple(about)))
        for number, given in enumerate(payloads, start=first):
            self.entries[number] = Entry(len(self.records), given)

    def held(self, seq: int) -> list[Payload]:
        numbers = self.records[seq - 1][2]
        return [self.entries[n].payload for n in numbers if not self.entries[n].destroyed]

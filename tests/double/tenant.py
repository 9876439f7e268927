"""A tenant as dictionaries."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from memsvc.store import refusals
from memsvc.store.hashes import id_hash
from memsvc.store.types import EntryState, Erasure, Payload, Record, RecordKind, StoredEntry, TenantRow

NOW = 2**63 - 1
"""As of no record: after the last."""

NUMBER_BYTES = 8
"""What a record's being about an entry takes."""

MANIFEST_BYTES = 64
"""What a snapshot takes beside its blobs."""

ENDS = {
    RecordKind.UPDATE: EntryState.REPLACED,
    RecordKind.DELETE: EntryState.DELETED,
    RecordKind.EXPIRE: EntryState.EXPIRED,
}
"""What becomes of a living entry that a record is about."""


@dataclass
class Entry:
    """One entry. What is erased after a FORGET is not there at all."""

    stored: StoredEntry
    state: EntryState = EntryState.LIVE
    died: int | None = None
    """The record by which it was replaced, deleted or expired."""
    destroyed: bool = False
    """Its payload may be compared with, and is in no answer."""

    @property
    def size(self) -> int:
        payload = self.stored.payload
        return 0 if self.destroyed else len(payload.id.encode()) + len(payload.content_hash) + len(payload.data)

    def lived(self, as_of: int) -> bool:
        """Whether it lives, or lived after a record, and can be read."""
        there = not self.destroyed and self.state != EntryState.FORGOTTEN
        return there and self.stored.seq <= as_of < (self.died or as_of + 1)


@dataclass
class Tenant:
    """A tenant, living, parked or staged."""

    uid: str
    created_us: int
    config: bytes
    id_key: bytes
    name: str | None = None
    """Of a living one."""
    records: list[Record] = field(default_factory=list)
    """Without their entries."""
    entries: dict[int, Entry] = field(default_factory=dict)
    revisions: dict[bytes, list[int]] = field(default_factory=dict)
    """Of each id, by its keyed hash, the numbers of its entries; none for one that is forgotten."""
    number: int = 0
    """The greatest that was ever given."""
    snapshots: dict[int, tuple[bytes, list[str]]] = field(default_factory=dict)
    """By seq: meta, and the names of the blobs."""
    blobs: dict[str, bytes] = field(default_factory=dict)
    erasures: dict[int, Erasure] = field(default_factory=dict)
    """By seq."""
    copies: dict[str, None] = field(default_factory=dict)

    @property
    def row(self) -> TenantRow:
        return TenantRow(uid=self.uid, tenant=self.name or "", created_us=self.created_us, config=self.config)

    def numbers_of(self, id: str) -> list[int] | None:
        """Return the revisions of an id; None for one that was never known."""
        return self.revisions.get(id_hash(self.id_key, id))

    def living(self, id: str) -> Entry:
        """Return the living entry of an id."""
        if (numbers := self.numbers_of(id)) is None:
            raise refusals.unknown(id)
        entry = self.entries[numbers[-1]] if numbers else None
        if entry is None or entry.state != EntryState.LIVE:
            raise refusals.gone(id, None if entry is None else entry.state)
        return entry

    def record(self, seq: int) -> Record:
        """Return a record with the entries whose payload is not destroyed."""
        held = (e for e in self.entries.values() if e.stored.seq == seq and not e.destroyed)
        return replace(self.records[seq - 1], entries=tuple(entry.stored for entry in held))

    def add(self, record: Record) -> int:
        """Add a record to the end; return the bytes of payload that this destroys."""
        self.records.append(replace(record, entries=()))
        self.number = max((self.number, *record.about, *(entry.number for entry in record.entries)))
        for stored in record.entries:
            self.entries[stored.number] = Entry(stored)
            self.revisions.setdefault(id_hash(self.id_key, stored.payload.id), []).append(stored.number)
        destroyed = 0
        for entry in (self.entries[n] for n in record.about if n in self.entries and record.kind in ENDS):
            if entry.state == EntryState.LIVE:
                entry.state, entry.died = ENDS[record.kind], record.seq
                if not entry.stored.payload.learn:
                    destroyed += entry.size
                    entry.destroyed = True
        return destroyed

    def next(
        self,
        now_us: int,
        kind: RecordKind,
        *,
        body: bytes = b"",
        payloads: Sequence[Payload] = (),
        about: Sequence[int] = (),
    ) -> Record:
        """Return the record that comes next."""
        seq = len(self.records) + 1
        commit_us = max(now_us, self.records[-1].commit_us if self.records else 0)
        entries = tuple(
            StoredEntry(number=number, seq=seq, commit_us=commit_us, payload=payload)
            for number, payload in enumerate(payloads, start=self.number + 1)
        )
        return Record(seq=seq, commit_us=commit_us, kind=kind, body=body, entries=entries, about=tuple(sorted(about)))

    @property
    def log_bytes(self) -> int:
        records = sum(len(record.body) + NUMBER_BYTES * len(record.about) for record in self.records)
        return records + sum(len(e.stored.payload.data) for e in self.entries.values() if not e.destroyed)

    @property
    def snapshot_bytes(self) -> int:
        return MANIFEST_BYTES * len(self.snapshots) + sum(map(len, self.blobs.values()))

    def drop_snapshots(self, dropped: Callable[[int], bool]) -> tuple[int, ...]:
        gone = tuple(sorted(filter(dropped, self.snapshots), reverse=True))
        self.snapshots = {seq: snapshot for seq, snapshot in self.snapshots.items() if not dropped(seq)}
        named = {name for _, names in self.snapshots.values() for name in names}
        self.blobs = {name: data for name, data in self.blobs.items() if name in named}
        return gone


def check_follows(tenant: Tenant, record: Record, where: str) -> None:
    """Refuse a record of a copy that does not follow."""
    numbers = [tenant.number, *(entry.number for entry in record.entries)]
    if (
        record.seq != len(tenant.records) + 1
        or record.commit_us < (tenant.records[-1].commit_us if tenant.records else 0)
        or any(entry.seq != record.seq for entry in record.entries)
        or any(after <= before for before, after in pairwise(numbers))
        or (record.kind == RecordKind.UPDATE and len(record.entries) > 1)
    ):
        raise refusals.does_not_follow(where)
    if len({entry.payload.id for entry in record.entries}) < len(record.entries):
        raise refusals.twice(where)
    if record.kind == RecordKind.FORGET and any(number in tenant.entries for number in record.about):
        raise refusals.forgets_what_is_there(where)
    for entry in record.entries:
        known = tenant.numbers_of(entry.payload.id)
        if known == []:
            raise refusals.forgotten_is_there(where)
        # The newest that is there is replaced by this record, or was by one that is not there.
        if known and not (
            record.kind == RecordKind.UPDATE
            and (known[-1] in record.about or tenant.entries[known[-1]].state == EntryState.REPLACED)
        ):
            raise refusals.twice(where)

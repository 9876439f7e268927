"""The store as dictionaries: what `memsvc.store.base` promises, with nothing in the way. It doubles for the real ones.

`Data` outlives the store that is opened on it, as a directory does.
"""

import asyncio
import copy
import functools
import os
import uuid
from bisect import bisect_right
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from memsvc.errors import UnavailableError
from memsvc.store import refusals
from memsvc.store.credentials import CredentialTable
from memsvc.store.hashes import id_hash
from memsvc.store.requests import REQUEST_US, Operation
from memsvc.store.retention import kept
from memsvc.store.types import (
    ALL_TENANTS,
    Appended,
    Changed,
    Destroyed,
    EntryState,
    Erasure,
    LoadedSnapshot,
    Origin,
    Payload,
    Record,
    RecordKind,
    Retention,
    ShardChange,
    ShardEvent,
    Snapshot,
    Span,
    StoredEntry,
    TenantRow,
)
from tests.double.tenant import NOW, Tenant, check_follows


class Done(NamedTuple):
    """What came of a request."""

    operation: Operation
    asked: Any
    at_us: int
    uid: str
    seq: int
    destroyed: int


@dataclass
class Data:
    """Everything that a store keeps."""

    tenants: dict[str, Tenant] = field(default_factory=dict)
    parked: dict[str, str] = field(default_factory=dict)
    """Who is parked, by the uid in front."""
    staged: set[str] = field(default_factory=set)
    requests: dict[tuple[str, str], Done] = field(default_factory=dict)
    """By the uid of the tenant that they are inside of, if any, and their id."""
    credentials: CredentialTable = field(default_factory=lambda: CredentialTable(0, {}))


def operation(method: Callable[..., Any]) -> Callable[..., Any]:
    """Make a method a coroutine that has taken effect before its caller can be cancelled."""

    @functools.wraps(method)
    async def call(self: "MemoryStore", *args: Any, **kwargs: Any) -> Any:
        if self.closed:
            raise UnavailableError("the store is closed", reason="STORE_CLOSED")
        result = method(self, *args, **kwargs)
        await asyncio.sleep(0)
        return result

    return call


class MemoryStore:
    """Implements `memsvc.store.base.Store`; see there for what each method promises."""

    def __init__(self, data: Data, clock_us: Callable[[], int]) -> None:
        self.closed = False
        self._data, self._clock_us = data, clock_us
        self._changes: asyncio.Queue[ShardChange] = asyncio.Queue()
        self._changes.put_nowait(ShardChange(shard=0, event=ShardEvent.TAKEN))
        for uid in list(data.staged):
            self._remove(uid)

    async def next_change(self) -> ShardChange:
        return await self._changes.get()

    def shard_of(self, uid: str) -> int:
        return 0

    def term(self, uid: str) -> int:
        return 0

    def retire(self) -> None:
        pass

    async def release(self, shard: int) -> None:
        pass

    async def close(self) -> None:
        self.closed = True

    @operation
    def check(self) -> None:
        pass

    # --- tenants ------------------------------------------------------------------------------------------------------

    @operation
    def create_tenant(self, tenant: str, config: bytes, body: bytes, request_id: str) -> TenantRow:
        asked = (tenant, config, body)
        if (done := self._done("", request_id, Operation.CREATE, asked)) is not None:
            return TenantRow(uid=done.uid, tenant=tenant, created_us=done.at_us, config=config)
        self._check_free(tenant)
        made = self._make(self._clock_us(), config, os.urandom(32))
        made.name = tenant
        made.add(made.next(self._clock_us(), RecordKind.CREATE, body=body))
        self._remember("", request_id, Operation.CREATE, asked, made.uid)
        return made.row

    @operation
    def get_tenant(self, tenant: str) -> TenantRow | None:
        return next((t.row for t in self._living() if t.name == tenant), None)

    @operation
    def list_tenants(self, after: str, limit: int, within: Sequence[Span] = ALL_TENANTS) -> list[TenantRow]:
        rows = sorted((t.row for t in self._living()), key=lambda row: row.tenant.encode())
        rows = [row for row in rows if any(span.holds(row.tenant.encode()) for span in within)]
        return [row for row in rows if row.tenant.encode() > after.encode()][:limit]

    @operation
    def credentials(self) -> CredentialTable:
        return self._data.credentials

    @operation
    def credentials_version(self) -> int:
        return self._data.credentials.version

    @operation
    def change_credentials(self, version: int, put: Mapping[str, bytes], drop: Collection[str] = ()) -> int:
        if version != self._data.credentials.version:
            raise refusals.credentials_changed()
        bodies = {id: body for id, body in self._data.credentials.bodies.items() if id not in drop}
        self._data.credentials = CredentialTable(version + 1, {**bodies, **put})
        return version + 1

    @operation
    def delete_tenant(self, uid: str, request_id: str) -> None:
        found = self._find(uid)
        if (done := self._done("", request_id, Operation.DELETE, found and found.name)) is not None:
            if done.uid != uid:
                raise refusals.reused()
        elif found is None:
            raise refusals.no_tenant()
        else:
            self._remove(uid)
            self._remember("", request_id, Operation.DELETE, found.name, uid)

    @operation
    def find_deleted(self, tenant: str, request_id: str) -> bool:
        done = self._data.requests.get(("", request_id))
        return done is not None and self._fresh(done) and (done.operation, done.asked) == (Operation.DELETE, tenant)

    # --- records ------------------------------------------------------------------------------------------------------

    @operation
    def append(
        self,
        uid: str,
        kind: RecordKind,
        body: bytes = b"",
        payloads: Sequence[Payload] = (),
        *,
        request_id: str = "",
        config: bytes | None = None,
    ) -> Appended:
        tenant = self._tenant(uid)
        if (done := self._done(uid, request_id, Operation.APPEND, (kind, body))) is not None:
            return Appended(record=None, seqs=(done.seq,), numbers=(), skipped=())
        new: dict[str, Payload] = {}
        skipped = []
        for index, payload in enumerate(payloads):
            if (known := tenant.numbers_of(payload.id)) == []:
                raise refusals.entry_forgotten(payload.id, index)
            skipped.append(known is not None or payload.id in new)
            first = tenant.entries[known[0]].stored.payload if known else new.setdefault(payload.id, payload)
            if first.content_hash != payload.content_hash:
                raise refusals.entry_exists(payload.id, index)
        record = None
        if new or not payloads:
            record = tenant.next(self._clock_us(), kind, body=body, payloads=list(new.values()))
            tenant.add(record)
            tenant.config = tenant.config if config is None else config
            self._remember(uid, request_id, Operation.APPEND, (kind, body), uid, record.seq)
        firsts = [tenant.entries[(tenant.numbers_of(payload.id) or [])[0]].stored for payload in payloads]
        return Appended(
            record=record,
            seqs=tuple(first.seq for first in firsts),
            numbers=tuple(first.number for first in firsts),
            skipped=tuple(skipped),
        )

    @operation
    def update(self, uid: str, payload: Payload, request_id: str) -> Changed:
        tenant = self._tenant(uid)
        if (done := self._done(uid, request_id, Operation.UPDATE, payload.id)) is not None:
            made = next((e for e in tenant.entries.values() if e.stored.seq == done.seq), None)
            if made is None or made.state == EntryState.FORGOTTEN:
                raise refusals.forgotten(payload.id)
            if made.stored.payload.content_hash != payload.content_hash:
                raise refusals.reused()
            return Changed(record=tenant.record(done.seq), destroyed=done.destroyed, repeated=True)
        old = tenant.living(payload.id).stored.number
        return self._change(tenant, RecordKind.UPDATE, Operation.UPDATE, request_id, payload.id, [old], [payload])

    @operation
    def delete(self, uid: str, id: str, request_id: str) -> Changed:
        tenant = self._tenant(uid)
        if (done := self._done(uid, request_id, Operation.DELETE_ENTRY, id)) is not None:
            return Changed(record=tenant.record(done.seq), destroyed=done.destroyed, repeated=True)
        old = tenant.living(id).stored.number
        return self._change(tenant, RecordKind.DELETE, Operation.DELETE_ENTRY, request_id, id, [old])

    @operation
    def feedback(self, uid: str, ids: Sequence[str], body: bytes, request_id: str) -> Changed:
        tenant, asked = self._tenant(uid), (sorted(set(ids)), body)
        if (done := self._done(uid, request_id, Operation.FEEDBACK, asked)) is not None:
            return Changed(record=tenant.record(done.seq), destroyed=0, repeated=True)
        about = [tenant.living(id).stored.number for id in asked[0]]
        return self._change(tenant, RecordKind.FEEDBACK, Operation.FEEDBACK, request_id, asked, about, body=body)

    @operation
    def expire(self, limit: int) -> list[tuple[str, Record]]:
        now_us = self._clock_us()
        due = [
            (entry.stored.payload.expire_us, tenant.uid, number)
            for tenant in self._living()
            for number, entry in tenant.entries.items()
            if entry.state == EntryState.LIVE and (entry.stored.payload.expire_us or now_us + 1) <= now_us
        ]
        records = []
        about: dict[str, list[int]] = {}
        for _, uid, number in sorted(due)[:limit]:
            about.setdefault(uid, []).append(number)
        for uid, numbers in about.items():
            tenant = self._data.tenants[uid]
            records.append((uid, tenant.next(now_us, RecordKind.EXPIRE, about=numbers)))
            tenant.add(records[-1][1])
        return records

    # --- erasure ------------------------------------------------------------------------------------------------------

    @operation
    def forget(self, uid: str, ids: Sequence[str], request_id: str, asked: str = "") -> tuple[Erasure, Record]:
        tenant, unique = self._tenant(uid), list(dict.fromkeys(ids))
        what = asked or sorted(unique)
        if (done := self._done(uid, request_id, Operation.FORGET, what)) is not None:
            return tenant.erasures[done.seq], tenant.record(done.seq)
        if not unique:
            raise refusals.nothing_matches()
        about: list[int] = []
        for id in unique:
            if not (numbers := tenant.numbers_of(id)):
                raise refusals.unknown(id) if numbers is None else refusals.forgotten(id)
            about += numbers
        first_seq = min(tenant.entries[number].stored.seq for number in about)
        for number in about:
            tenant.entries[number].state = EntryState.FORGOTTEN
        tenant.revisions.update({id_hash(tenant.id_key, id): [] for id in unique})
        record = self._change(tenant, RecordKind.FORGET, Operation.FORGET, request_id, what, about).record
        erasure = Erasure(operation=uuid.uuid4().hex, uid=uid, seq=record.seq, entries=len(about), first_seq=first_seq)
        tenant.erasures[record.seq] = erasure
        return erasure, record

    @operation
    def erase(self, uid: str, first_seq: int) -> Destroyed:
        if (tenant := self._data.tenants.get(uid)) is None:
            return Destroyed(bytes=0)
        gone = [number for number, entry in tenant.entries.items() if entry.state == EntryState.FORGOTTEN]
        dropped = tenant.drop_snapshots(lambda seq: seq >= first_seq)
        return Destroyed(bytes=sum(tenant.entries.pop(number).size for number in gone), snapshots=dropped)

    @operation
    def finish_erasure(self, operation: str, receipt: bytes) -> None:
        for tenant in self._living():
            for seq, erasure in tenant.erasures.items():
                if erasure.operation == operation and not erasure.done:
                    tenant.erasures[seq] = replace(erasure, done=True, receipt=receipt)

    @operation
    def erasure(self, operation: str) -> Erasure | None:
        return next((e for t in self._living() for e in t.erasures.values() if e.operation == operation), None)

    @operation
    def unfinished_erasures(self) -> list[Erasure]:
        return [erasure for t in self._living() for erasure in t.erasures.values() if not erasure.done]

    # --- copies -------------------------------------------------------------------------------------------------------

    @operation
    def origin(self, uid: str) -> Origin:
        t = self._tenant(uid)
        forgotten = tuple(sorted(hashed for hashed, numbers in t.revisions.items() if not numbers))
        return Origin(created_us=t.created_us, config=t.config, id_key=t.id_key, forgotten=forgotten)

    @operation
    def stage(self, origin: Origin, tenant: str) -> str:
        made = self._make(origin.created_us, origin.config, origin.id_key)
        made.revisions = {hashed: [] for hashed in origin.forgotten}
        self._data.staged.add(made.uid)
        return made.uid

    @operation
    def append_staged(self, uid: str, records: Sequence[Record], config: bytes | None = None) -> None:
        tenant = copy.deepcopy(self._staged(uid))  # all of them, or none
        for index, record in enumerate(records):
            check_follows(tenant, record, f"records[{index}]")
            tenant.add(record)
        tenant.config = tenant.config if config is None else config
        self._data.tenants[uid] = tenant

    @operation
    def publish(self, uid: str, tenant: str, request_id: str) -> TenantRow:
        if (done := self._done("", request_id, Operation.PUBLISH, tenant)) is not None:
            return self._tenant(done.uid).row
        staged = self._staged(uid)
        self._check_free(tenant)
        self._data.staged.remove(uid)
        staged.name = tenant
        self._remember("", request_id, Operation.PUBLISH, tenant, uid)
        return staged.row

    @operation
    def published(self, tenant: str, request_id: str) -> TenantRow | None:
        done = self._data.requests.get(("", request_id))
        if done is None or not self._fresh(done) or done.operation not in (Operation.PUBLISH, Operation.REPLACE):
            return None
        made = self._find(done.uid)
        return made.row if made is not None and made.name == tenant else None

    @operation
    def replace(self, uid: str, staged: str, request_id: str) -> TenantRow:
        if (done := self._done("", request_id, Operation.REPLACE, uid)) is not None:
            return self._tenant(done.uid).row
        behind = self._tenant(uid)
        front = self._staged(staged)
        if uid in self._data.parked:
            raise refusals.restore_pending()
        front.name, behind.name = behind.name, None
        self._data.parked[staged] = uid
        self._data.staged.remove(staged)
        self._remember("", request_id, Operation.REPLACE, uid, staged)
        return front.row

    @operation
    def parked(self, uid: str) -> str | None:
        return self._data.parked.get(uid)

    @operation
    def unpark(self, uid: str, request_id: str) -> TenantRow:
        behind, front = self._data.parked.get(uid), self._find(uid)
        asked = None if front is None else behind or uid
        if (done := self._done("", request_id, Operation.UNPARK, asked)) is not None:
            return self._tenant(done.uid).row
        if behind is None or front is None:
            raise refusals.none_parked()
        del self._data.parked[uid]
        self._data.tenants[behind].name = front.name
        self._remove(uid)
        self._remember("", request_id, Operation.UNPARK, behind, behind)
        return self._tenant(behind).row

    @operation
    def confirm(self, uid: str, request_id: str) -> None:
        if self._done("", request_id, Operation.CONFIRM, uid) is not None:
            return
        if (behind := self._data.parked.pop(uid, None)) is None:
            raise refusals.none_parked()
        self._remove(behind)
        self._remember("", request_id, Operation.CONFIRM, uid, behind)

    @operation
    def discard(self, uid: str) -> None:
        if uid in self._data.staged:
            self._remove(uid)

    @operation
    def note_copy(self, uid: str, copy: str) -> None:
        if (tenant := self._find(uid)) is not None:
            tenant.copies[copy] = None

    @operation
    def copies(self, uid: str) -> list[str]:
        return [] if (tenant := self._find(uid)) is None else list(tenant.copies)

    # --- reading ------------------------------------------------------------------------------------------------------

    @operation
    def seq_at(self, uid: str, time_us: int) -> int:
        return bisect_right(self._tenant(uid).records, time_us, key=lambda record: record.commit_us)

    @operation
    def head(self, uid: str) -> int:
        return len(self._tenant(uid).records)

    @operation
    def heads(self) -> dict[str, int]:
        return {tenant.uid: len(tenant.records) for tenant in self._living()}

    @operation
    def read(self, uid: str, after_seq: int, max_bytes: int) -> list[Record]:
        if (tenant := self._find(uid)) is None:
            return []
        records: list[Record] = []
        for seq in range(after_seq + 1, len(tenant.records) + 1):
            record = tenant.record(seq)
            max_bytes -= record.size
            if records and max_bytes < 0:
                break
            records.append(record)
        return records

    @operation
    def entries(self, uid: str, numbers: Sequence[int], as_of: int | None = None) -> list[StoredEntry]:
        living = {entry.number: entry for entry in self._lived(uid, as_of)}
        return [living[number] for number in numbers if number in living]

    @operation
    def entry_by_id(self, uid: str, id: str, as_of: int | None = None) -> StoredEntry | None:
        tenant = self._find(uid)
        if tenant is None or (numbers := tenant.numbers_of(id)) is None:
            return None
        if not numbers:
            raise refusals.forgotten(id)
        as_of = NOW if as_of is None else as_of
        born = [tenant.entries[n] for n in numbers if tenant.entries[n].stored.seq <= as_of]
        if not born:
            return None
        if not born[-1].lived(as_of):
            lived = as_of < (born[-1].died or as_of + 1)  # then; its text is destroyed since
            raise refusals.gone(id, EntryState.DELETED if lived else born[-1].state)
        return born[-1].stored

    @operation
    def scan(self, uid: str, after_number: int, limit: int, as_of: int | None = None) -> list[StoredEntry]:
        return [entry for entry in self._lived(uid, as_of) if entry.number > after_number][:limit]

    # --- snapshots ----------------------------------------------------------------------------------------------------

    @operation
    def save(
        self, uid: str, snapshot: Snapshot, keep: Retention = Retention.NONE, *, drop_from: int | None = None
    ) -> None:
        if (tenant := self._data.tenants.get(uid)) is None:
            raise refusals.no_tenant()
        blobs = dict(tenant.blobs)
        for name, data in snapshot.blobs.items():
            if data is None and name not in blobs:
                raise refusals.blob_missing(name)
            if data is not None and blobs.setdefault(name, data) != data:
                raise refusals.blob_changed(name)
        tenant.blobs = blobs
        tenant.snapshots[snapshot.seq] = (snapshot.meta, list(snapshot.blobs))
        others = tenant.snapshots.keys() - {snapshot.seq}
        stay = kept({seq for seq in others if drop_from is None or seq < drop_from} | {snapshot.seq}, keep)
        tenant.drop_snapshots(lambda seq: seq not in stay)

    @operation
    def load(self, uid: str, before_seq: int | None = None) -> LoadedSnapshot:
        tenant = self._data.tenants.get(uid)
        seqs = [] if tenant is None else [s for s in tenant.snapshots if before_seq is None or s < before_seq]
        if tenant is None or not seqs:
            return LoadedSnapshot(snapshot=None)
        meta, names = tenant.snapshots[max(seqs)]
        blobs = {name: tenant.blobs[name] for name in names}
        return LoadedSnapshot(snapshot=Snapshot(seq=max(seqs), meta=meta, blobs=blobs))

    @operation
    def kept(self, uid: str) -> tuple[int, int]:
        tenant = self._data.tenants.get(uid)
        return (0, 0) if tenant is None else (len(tenant.snapshots), tenant.snapshot_bytes)

    @operation
    def seqs(self) -> dict[str, int]:
        return {uid: max(tenant.snapshots) for uid, tenant in self._data.tenants.items() if tenant.snapshots}

    @operation
    def size(self, uid: str) -> int:
        return 0 if (tenant := self._find(uid)) is None else tenant.log_bytes + tenant.snapshot_bytes

    # --- within -------------------------------------------------------------------------------------------------------

    def _living(self) -> list[Tenant]:
        return [tenant for tenant in self._data.tenants.values() if tenant.name is not None]

    def _find(self, uid: str) -> Tenant | None:
        return next((tenant for tenant in self._living() if tenant.uid == uid), None)

    def _tenant(self, uid: str) -> Tenant:
        if (tenant := self._find(uid)) is None:
            raise refusals.no_tenant()
        return tenant

    def _staged(self, uid: str) -> Tenant:
        if uid not in self._data.staged:
            raise refusals.nothing_staged()
        return self._data.tenants[uid]

    def _lived(self, uid: str, as_of: int | None) -> list[StoredEntry]:
        tenant = self._find(uid)
        as_of = NOW if as_of is None else as_of
        return [] if tenant is None else [e.stored for e in tenant.entries.values() if e.lived(as_of)]

    def _check_free(self, tenant: str) -> None:
        if any(living.name == tenant for living in self._living()):
            raise refusals.tenant_exists()

    def _make(self, created_us: int, config: bytes, id_key: bytes) -> Tenant:
        tenant = Tenant(uuid.uuid4().hex, created_us, config, id_key)
        self._data.tenants[tenant.uid] = tenant
        return tenant

    def _remove(self, uid: str) -> None:
        """Remove a tenant, and who is parked behind it."""
        del self._data.tenants[uid]
        self._data.staged.discard(uid)
        if (behind := self._data.parked.pop(uid, None)) is not None:
            self._remove(behind)

    def _change(
        self,
        tenant: Tenant,
        kind: RecordKind,
        operation: Operation,
        request_id: str,
        asked: Any,
        about: Sequence[int],
        payloads: Sequence[Payload] = (),
        body: bytes = b"",
    ) -> Changed:
        record = tenant.next(self._clock_us(), kind, body=body, payloads=payloads, about=about)
        destroyed = tenant.add(record)
        self._remember(tenant.uid, request_id, operation, asked, tenant.uid, record.seq, destroyed)
        return Changed(record=record, destroyed=destroyed)

    def _fresh(self, done: Done) -> bool:
        return done.at_us > self._clock_us() - REQUEST_US

    def _done(self, inside: str, request_id: str, operation: Operation, asked: Any) -> Done | None:
        """Return what came of a request; `asked` is None where that is not known any more, and any is right."""
        done = self._data.requests.get((inside, request_id))
        if done is None or not self._fresh(done):
            return None
        if done.operation != operation or asked not in (None, done.asked):
            raise refusals.reused()
        return done

    def _remember(
        self, inside: str, request_id: str, operation: Operation, asked: Any, uid: str, seq: int = 0, destroyed: int = 0
    ) -> None:
        if request_id:
            self._data.requests[inside, request_id] = Done(operation, asked, self._clock_us(), uid, seq, destroyed)

"""Any sequence of calls, against a small model: the same machine for every store."""

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from memsvc.errors import AlreadyExistsError, FailedPreconditionError, MemsvcError, NotFoundError
from memsvc.store.base import Store
from memsvc.store.types import EntryState, Payload, Record, RecordKind, Snapshot
from tests.conformance.model import Tenant
from tests.conformance.stores import FACTORIES, Clock, StoreFactory, payload

T = TypeVar("T")

names = st.sampled_from(["a", "A", "é", "e\u0301", "\U0001f600"])
ids = st.sampled_from("uvwxyz")
expiries = st.sampled_from([None, None, Clock().now_us - 100_000, Clock().now_us + 500_000])
payloads = st.builds(payload, ids, st.sampled_from(["1", "2"]), learn=st.booleans(), expire_us=expiries)
pasts = st.none() | st.integers(0, 12)
batches = st.lists(payloads, min_size=1, max_size=4)
blobs = st.dictionaries(st.sampled_from(["w", "s0", "s1"]), st.none(), max_size=3)


REFUSED = {
    EntryState.DELETED: "DELETED",
    EntryState.EXPIRED: "EXPIRED",
    EntryState.FORGOTTEN: "FORGOTTEN",
    None: "ENTRY_NOT_FOUND",
}


class StoreMachine(RuleBasedStateMachine):
    """Create, append, repeat, conflict, change, expire, forget, erase, read, copy, snapshot, delete, open again."""

    factory: StoreFactory
    uids = Bundle("uids")

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="memsvc-model-"))
        self.loop = asyncio.Runner()
        self.clock = Clock()
        self.store: Store | None = None
        self.tenants: dict[str, Tenant] = {}
        self.requests = 0

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.loop.run(coroutine)

    @initialize()
    def open(self) -> None:
        self.store = self.call(type(self).factory(self.directory / "data", self.clock))

    @rule()
    def open_again(self) -> None:
        self.call(self.store.close())
        self.open()

    @rule(step=st.integers(-1_000_000, 1_000_000))
    def time_passes(self, step: int) -> None:
        self.clock.now_us += step

    @rule(target=uids, name=names)
    def create(self, name: str) -> str:
        request_id = self.request()
        create = self.store.create_tenant
        living = next((t for t in self.tenants.values() if t.row.tenant == name), None)
        if living is not None:
            with pytest.raises(AlreadyExistsError):
                self.call(create(name, b"config", b"body", request_id))
            return living.row.uid
        row = self.call(create(name, b"config", b"body", request_id))
        assert self.call(create(name, b"config", b"body", request_id)) == row
        self.tenants[row.uid] = Tenant(row, commit_us=self.clock.now_us)
        self.tenants[row.uid].add(RecordKind.CREATE, body=b"body")
        return row.uid

    @rule(uid=consumes(uids))
    def delete(self, uid: str) -> None:
        request_id = self.request()
        if uid not in self.tenants:
            with pytest.raises(NotFoundError):
                self.call(self.store.delete_tenant(uid, request_id))
            return
        name = self.tenants.pop(uid).row.tenant
        self.call(self.store.delete_tenant(uid, request_id))
        self.call(self.store.delete_tenant(uid, request_id))
        assert self.call(self.store.find_deleted(name, request_id))

    @rule(uid=uids, body=st.binary(max_size=8))
    def append_body(self, uid: str, body: bytes) -> None:
        tenant = self.tenants.get(uid)
        request_id = self.request()
        if tenant is None:
            self.refuses(self.store.append(uid, RecordKind.NUMERICS, body, request_id=request_id), "TENANT_NOT_FOUND")
            return
        record = self.call(self.store.append(uid, RecordKind.NUMERICS, body, request_id=request_id)).record
        tenant.add(RecordKind.NUMERICS, body=body)
        self.check(tenant, record)
        again = self.call(self.store.append(uid, RecordKind.NUMERICS, body, request_id=request_id))
        assert (again.record, again.seqs) == (None, (record.seq,))

    @rule(uid=uids, batch=batches)
    def append(self, uid: str, batch: list[Payload]) -> None:
        tenant = self.tenants.get(uid)
        call = self.store.append(uid, RecordKind.WRITE, b"", batch)
        if tenant is None:
            self.refuses(call, "TENANT_NOT_FOUND")
            return
        new: dict[str, Payload] = {}
        for index, given in enumerate(batch):
            known, state = tenant.revisions(given.id), tenant.state(given.id)
            if state == EntryState.FORGOTTEN:
                assert self.refuses(call, "FORGOTTEN") == {"id": given.id, "index": str(index)}
                return
            first = tenant.entries[known[0]].payload if known else new.setdefault(given.id, given)
            if first.content_hash != given.content_hash:
                assert self.refuses(call, "ENTRY_EXISTS") == {"id": given.id, "index": str(index)}
                return
        appended = self.call(call)
        if new:
            tenant.add(RecordKind.WRITE, list(new.values()))
            self.check(tenant, appended.record)
        else:
            assert appended.record is None
        assert appended.numbers == tuple(tenant.revisions(given.id)[0] for given in batch)
        assert appended.seqs == tuple(tenant.entries[number].seq for number in appended.numbers)
        places = [given.id for given in batch]
        first_places = [given.id in new and places.index(given.id) == place for place, given in enumerate(batch)]
        assert appended.skipped == tuple(not is_first for is_first in first_places)

    @rule(uid=uids, given=payloads)
    def update(self, uid: str, given: Payload) -> None:
        tenant = self.tenants.get(uid)
        request_id = self.request()
        if (old := self.changeable(tenant, given.id, self.store.update(uid, given, request_id))) is None:
            return
        changed = self.call(self.store.update(uid, given, request_id))
        tenant.add(RecordKind.UPDATE, [given], [old])
        destroyed = tenant.retire(old, EntryState.REPLACED)
        self.check(tenant, changed.record)
        assert changed.destroyed == destroyed
        assert self.call(self.store.update(uid, given, request_id)) == replace(changed, repeated=True)

    @rule(uid=uids, id=ids)
    def delete_entry(self, uid: str, id: str) -> None:
        tenant = self.tenants.get(uid)
        request_id = self.request()
        if (old := self.changeable(tenant, id, self.store.delete(uid, id, request_id))) is None:
            return
        changed = self.call(self.store.delete(uid, id, request_id))
        tenant.add(RecordKind.DELETE, about=[old])
        destroyed = tenant.retire(old, EntryState.DELETED)
        self.check(tenant, changed.record)
        assert changed.destroyed == destroyed
        assert self.call(self.store.delete(uid, id, request_id)) == replace(changed, repeated=True)

    @rule(uid=uids, given=st.lists(ids, min_size=1, max_size=3), body=st.binary(max_size=8))
    def feedback(self, uid: str, given: list[str], body: bytes) -> None:
        tenant = self.tenants.get(uid)
        request_id = self.request()
        about = []
        for id in sorted(set(given)):
            number = self.changeable(tenant, id, self.store.feedback(uid, given, body, request_id))
            if number is None:
                return
            about.append(number)
        changed = self.call(self.store.feedback(uid, given, body, request_id))
        tenant.add(RecordKind.FEEDBACK, about=sorted(about), body=body)
        self.check(tenant, changed.record)
        assert changed.destroyed == 0
        assert self.call(self.store.feedback(uid, given, body, request_id)) == replace(changed, repeated=True)

    @rule()
    def expire(self) -> None:
        records = dict(self.call(self.store.expire(100)))
        for uid, tenant in self.tenants.items():
            living = [n for n, e in tenant.entries.items() if e.state == EntryState.LIVE]
            due = [n for n in living if (at := tenant.entries[n].payload.expire_us) and at <= self.clock.now_us]
            assert (uid in records) == bool(due)
            if due:
                tenant.add(RecordKind.EXPIRE, about=due)
                for number in due:
                    tenant.retire(number, EntryState.EXPIRED)
                self.check(tenant, records.pop(uid))
        assert records == {}
        assert self.call(self.store.expire(100)) == []

    @rule(uid=uids, given=st.lists(ids, min_size=1, max_size=3))
    def forget(self, uid: str, given: list[str]) -> None:
        tenant = self.tenants.get(uid)
        request_id = self.request()
        call = self.store.forget(uid, given, request_id)
        if tenant is None:
            self.refuses(call, "TENANT_NOT_FOUND")
            return
        for id in given:
            if (state := tenant.state(id)) in (None, EntryState.FORGOTTEN):
                assert self.refuses(call, REFUSED[state]) == {"id": id}
                return
        erasure, record = self.call(call)
        numbers = sorted(number for id in set(given) for number in tenant.revisions(id))
        tenant.add(RecordKind.FORGET, about=numbers)
        self.check(tenant, record)
        for number in numbers:
            tenant.entries[number].state = EntryState.FORGOTTEN
        first_seq = min(tenant.entries[number].seq for number in numbers)
        assert (erasure.uid, erasure.seq, erasure.entries, erasure.first_seq, erasure.done) == (
            uid,
            record.seq,
            len(numbers),
            first_seq,
            False,
        )
        assert self.call(self.store.forget(uid, given, request_id)) == (erasure, record)
        tenant.erasures.append(erasure)

    @rule(uid=uids, finish=st.booleans())
    def erase(self, uid: str, finish: bool) -> None:
        tenant = self.tenants.get(uid)
        if tenant is None:
            assert self.call(self.store.erase(uid, 1)).bytes == 0
            return
        first_seq = min((e.first_seq for e in tenant.erasures), default=len(tenant.records) + 1)
        forgotten = [entry for entry in tenant.entries.values() if entry.state == EntryState.FORGOTTEN]
        assert self.call(self.store.erase(uid, first_seq)).bytes == sum(entry.destroy() for entry in forgotten)
        tenant.snapshots = {seq: kept for seq, kept in tenant.snapshots.items() if seq < first_seq}
        if finish and tenant.erasures:
            erasure = tenant.erasures.pop()
            self.call(self.store.finish_erasure(erasure.operation, b"receipt"))
            done = replace(erasure, done=True, receipt=b"receipt")
            assert self.call(self.store.erasure(erasure.operation)) == done

    @rule(uid=uids, after=st.integers(0, 12), max_bytes=st.sampled_from([0, 100, 1 << 20]))
    def read(self, uid: str, after: int, max_bytes: int) -> None:
        tenant = self.tenants.get(uid)
        records = self.call(self.store.read(uid, after, max_bytes))
        expected = [] if tenant is None else tenant.records[after:]
        assert [r.seq for r in records] == list(range(after + 1, after + 1 + len(records)))
        for record in records:
            self.agrees(tenant, record)
        assert bool(records) == bool(expected)
        if max_bytes == 1 << 20:
            assert len(records) == len(expected)

    @rule(uid=uids, numbers=st.lists(st.integers(0, 9), max_size=4), id=ids, as_of=pasts)
    def entries(self, uid: str, numbers: list[int], id: str, as_of: int | None) -> None:
        tenant = self.tenants.get(uid)
        living = {} if tenant is None else tenant.lived(as_of)
        found = self.call(self.store.entries(uid, numbers, as_of))
        assert [(e.number, e.payload) for e in found] == [(n, living[n]) for n in numbers if n in living]
        after = numbers[0] if numbers else 0
        scanned = self.call(self.store.scan(uid, after, 3, as_of))
        assert [(e.number, e.payload) for e in scanned] == [(n, p) for n, p in living.items() if n > after][:3]
        state = None if tenant is None else tenant.state(id)
        born = [n for n in tenant.revisions(id) if as_of is None or tenant.entries[n].seq <= as_of] if tenant else []
        if state != EntryState.FORGOTTEN and not born:
            assert self.call(self.store.entry_by_id(uid, id, as_of)) is None
        elif born and born[-1] in living:
            entry = self.call(self.store.entry_by_id(uid, id, as_of))
            assert (entry.number, entry.payload) == (born[-1], living[born[-1]])
        elif state == EntryState.FORGOTTEN:  # as of before its first revision, too
            self.refuses(self.store.entry_by_id(uid, id, as_of), "FORGOTTEN")
        else:
            dead = state if as_of is None or (tenant.entries[born[-1]].died or as_of + 1) <= as_of else None
            self.refuses(self.store.entry_by_id(uid, id, as_of), REFUSED[dead] if dead else "DELETED")

    @rule(uid=uids, published=st.booleans())
    def copy(self, uid: str, published: bool) -> None:
        tenant = self.tenants.get(uid)
        if tenant is None:
            self.refuses(self.store.origin(uid), "TENANT_NOT_FOUND")
            return
        if any(e.state == EntryState.FORGOTTEN and not e.destroyed for e in tenant.entries.values()):
            self.erase(uid, finish=False)
        copy = self.call(
            self.store.stage(self.call(self.store.origin(uid)), "copy" if published else tenant.row.tenant)
        )
        records = self.call(self.store.read(uid, 0, 1 << 20))
        for record in records:
            self.call(self.store.append_staged(copy, [record]))
        if published:
            row = self.call(self.store.publish(copy, "copy", ""))
            assert row == replace(tenant.row, uid=copy, tenant="copy")
        else:
            row = self.call(self.store.replace(uid, copy, ""))
            assert row == replace(tenant.row, uid=copy)
            assert self.call(self.store.parked(copy)) == uid
        assert self.call(self.store.read(copy, 0, 1 << 20)) == records
        for as_of in [None, *range(len(records) + 1)]:
            scanned = self.call(self.store.scan(copy, 0, 100, as_of))
            assert {e.number: e.payload for e in scanned} == tenant.lived(as_of)
        if published:
            self.call(self.store.delete_tenant(copy, ""))
        else:
            assert self.call(self.store.unpark(copy, "")) == tenant.row

    @rule(uid=uids, seq=st.integers(1, 6), named=blobs, left_out=st.booleans())
    def save(self, uid: str, seq: int, named: dict[str, None], left_out: bool) -> None:
        tenant = self.tenants.get(uid)
        whole = Snapshot(seq=seq, meta=f"meta{seq}".encode(), blobs={name: f"{uid}{name}".encode() for name in named})
        if tenant is None:
            with pytest.raises(NotFoundError):
                self.call(self.store.save(uid, whole))
            return
        held = {name for snapshot in tenant.snapshots.values() for name in snapshot.blobs}
        given = {name: None if left_out and name in held else data for name, data in whole.blobs.items()}
        self.call(self.store.save(uid, Snapshot(seq=seq, meta=whole.meta, blobs=given)))
        kept = {**tenant.snapshots, seq: whole}
        tenant.snapshots = {s: kept[s] for s in sorted(kept)[-2:]}

    @rule(uid=uids)
    def load(self, uid: str) -> None:
        snapshots = self.tenants[uid].snapshots if uid in self.tenants else {}
        loaded = self.call(self.store.load(uid))
        assert loaded.corrupt == ()
        assert loaded.snapshot == (snapshots[max(snapshots)] if snapshots else None)

    @invariant()
    def the_whole_agrees(self) -> None:
        if self.store is None:
            return
        assert self.call(self.store.heads()) == {uid: len(t.records) for uid, t in self.tenants.items()}
        assert self.call(self.store.seqs()) == {u: max(t.snapshots) for u, t in self.tenants.items() if t.snapshots}
        for uid, tenant in self.tenants.items():
            found = [e for e in self.call(self.store.unfinished_erasures()) if e.uid == uid]
            assert found == sorted(tenant.erasures, key=lambda e: e.seq)
        rows = sorted((t.row for t in self.tenants.values()), key=lambda row: row.tenant.encode())
        assert self.call(self.store.list_tenants("", 100)) == rows

    def request(self) -> str:
        self.requests += 1
        return f"request-{self.requests}"

    def refuses(self, call: Coroutine[Any, Any, Any], reason: str) -> dict[str, str]:
        """Check that a call is refused for that reason; return the facts that it gives."""
        expected = {"FORGOTTEN": (FailedPreconditionError, NotFoundError), "ENTRY_EXISTS": AlreadyExistsError}
        with pytest.raises(MemsvcError) as caught:
            self.call(call)
        assert isinstance(caught.value, expected.get(reason, NotFoundError))
        assert caught.value.reason == reason
        return caught.value.metadata

    def changeable(self, tenant: Tenant | None, id: str, call: Coroutine[Any, Any, Any]) -> int | None:
        """Return the number of the living entry of that id; check that the call is refused if there is none."""
        state = None if tenant is None else tenant.state(id)
        if state == EntryState.LIVE:
            call.close()
            return tenant.revisions(id)[-1]
        self.refuses(call, "TENANT_NOT_FOUND" if tenant is None else REFUSED[state])
        return None

    def agrees(self, tenant: Tenant, record: Record) -> None:
        kind, body, _, about = tenant.records[record.seq - 1]
        assert (record.kind, record.body, record.about) == (kind, body, about)
        assert [e.payload for e in record.entries] == tenant.held(record.seq)

    def check(self, tenant: Tenant, record: Record) -> None:
        """Check a record that was just appended."""
        assert record.seq == len(tenant.records)
        self.agrees(tenant, record)
        assert record.commit_us == max(self.clock.now_us, tenant.commit_us)
        tenant.commit_us = record.commit_us

    def teardown(self) -> None:
        if self.store is not None:
            self.call(self.store.close())
        self.loop.close()
        shutil.rmtree(self.directory)


@pytest.mark.parametrize("name", sorted(FACTORIES))
def test_every_sequence_of_calls_agrees_with_the_model(name) -> None:
    machine = type("Machine", (StoreMachine,), {"factory": staticmethod(FACTORIES[name])})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=40, stateful_step_count=35, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )

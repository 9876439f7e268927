"""Any sequence of calls, against a small model: the same machine for every store."""

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from dataclasses import dataclass, field
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

from memsvc.errors import AlreadyExistsError, NotFoundError
from memsvc.store.base import Payload, RecordKind, Snapshot, Store, TenantRow
from tests.conformance.stores import FACTORIES, Clock, StoreFactory, payload

T = TypeVar("T")

names = st.sampled_from(["a", "A", "é", "e\u0301", "\U0001f600"])
batches = st.lists(st.builds(payload, st.sampled_from("uvwxyz"), st.sampled_from(["1", "2"])), min_size=1, max_size=4)
blobs = st.dictionaries(st.sampled_from(["w", "s0", "s1"]), st.none(), max_size=3)


@dataclass
class Tenant:
    """What the model knows of one living tenant."""

    row: TenantRow
    records: list[tuple[RecordKind, bytes, tuple[Payload, ...]]] = field(default_factory=list)
    entries: list[Payload] = field(default_factory=list)
    seqs: list[int] = field(default_factory=list)
    snapshots: dict[int, Snapshot] = field(default_factory=dict)
    commit_us: int = 0

    def find(self, id: str) -> int | None:
        return next((n for n, entry in enumerate(self.entries, start=1) if entry.id == id), None)


class StoreMachine(RuleBasedStateMachine):
    """Create, append, repeat, conflict, read, snapshot, load, delete, close and open again."""

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
        self.requests += 1
        request_id = f"request-{self.requests}"
        create = self.store.create_tenant
        living = next((t for t in self.tenants.values() if t.row.tenant == name), None)
        if living is not None:
            with pytest.raises(AlreadyExistsError):
                self.call(create(name, b"config", b"body", request_id))
            return living.row.uid
        row = self.call(create(name, b"config", b"body", request_id))
        assert self.call(create(name, b"config", b"body", request_id)) == row
        self.tenants[row.uid] = Tenant(row, [(RecordKind.CREATE, b"body", ())], commit_us=self.clock.now_us)
        return row.uid

    @rule(uid=consumes(uids))
    def delete(self, uid: str) -> None:
        self.requests += 1
        request_id = f"request-{self.requests}"
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
        if tenant is None:
            with pytest.raises(NotFoundError):
                self.call(self.store.append(uid, RecordKind.NUMERICS, body))
            return
        record = self.call(self.store.append(uid, RecordKind.NUMERICS, body)).record
        tenant.records.append((RecordKind.NUMERICS, body, ()))
        self.check_time(tenant, record.commit_us)

    @rule(uid=uids, batch=batches)
    def append(self, uid: str, batch: list[Payload]) -> None:
        tenant = self.tenants.get(uid)
        call = self.store.append(uid, RecordKind.WRITE, b"", batch)
        if tenant is None:
            with pytest.raises(NotFoundError):
                self.call(call)
            return
        new: list[Payload] = []
        for index, given in enumerate(batch):
            known = next((p for p in tenant.entries + new if p.id == given.id), None)
            if known is None:
                new.append(given)
            elif known != given:
                with pytest.raises(AlreadyExistsError) as caught:
                    self.call(call)
                assert caught.value.metadata == {"id": given.id, "index": str(index)}
                return
        appended = self.call(call)
        if new:
            tenant.records.append((RecordKind.WRITE, b"", tuple(new)))
            tenant.entries += new
            tenant.seqs += [len(tenant.records)] * len(new)
            self.check_time(tenant, appended.record.commit_us)
        else:
            assert appended.record is None
        assert appended.numbers == tuple(tenant.find(given.id) for given in batch)
        assert appended.seqs == tuple(tenant.seqs[number - 1] for number in appended.numbers)
        ids = [given.id for given in batch]
        first = [given in new and ids.index(given.id) == place for place, given in enumerate(batch)]
        assert appended.skipped == tuple(not is_first for is_first in first)

    @rule(uid=uids, after=st.integers(0, 12), max_bytes=st.sampled_from([0, 100, 1 << 20]))
    def read(self, uid: str, after: int, max_bytes: int) -> None:
        tenant = self.tenants.get(uid)
        records = self.call(self.store.read(uid, after, max_bytes))
        expected = [] if tenant is None else tenant.records[after:]
        assert [(r.kind, r.body, tuple(e.payload for e in r.entries)) for r in records] == expected[: len(records)]
        assert [r.seq for r in records] == list(range(after + 1, after + 1 + len(records)))
        assert bool(records) == bool(expected)
        if max_bytes == 1 << 20:
            assert len(records) == len(expected)

    @rule(uid=uids, numbers=st.lists(st.integers(0, 9), max_size=4), id=st.sampled_from("uvwxyz"))
    def entries(self, uid: str, numbers: list[int], id: str) -> None:
        entries = self.tenants[uid].entries if uid in self.tenants else []
        found = self.call(self.store.entries(uid, numbers))
        assert [(e.number, e.payload) for e in found] == [
            (n, entries[n - 1]) for n in numbers if 1 <= n <= len(entries)
        ]
        entry = self.call(self.store.entry_by_id(uid, id))
        assert (entry and entry.payload) == next((p for p in entries if p.id == id), None)
        after = numbers[0] if numbers else 0
        assert [e.payload for e in self.call(self.store.scan(uid, after, 3))] == entries[after : after + 3]

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
        rows = sorted((t.row for t in self.tenants.values()), key=lambda row: row.tenant.encode())
        assert self.call(self.store.list_tenants("", 100)) == rows

    def check_time(self, tenant: Tenant, commit_us: int) -> None:
        assert commit_us == max(self.clock.now_us, tenant.commit_us)
        tenant.commit_us = commit_us

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
            max_examples=30, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )

"""On the disk before the answer: by a test double, by a trace of system calls, and by SIGKILL."""

import asyncio
import re
import subprocess
import threading
from collections import defaultdict

import pytest

from memsvc.store.sqlite import SqliteStore
from memsvc.store.types import RecordKind
from tests.conformance.stores import payload, write
from tests.store.sqlite import children
from tests.tracing import strace_works


class HeldConnection:
    """A connection whose COMMIT waits to be let go."""

    def __init__(self, connection) -> None:
        self._connection = connection
        self.reached, self.let_go = threading.Event(), threading.Event()

    def __getattr__(self, name: str):
        return getattr(self._connection, name)

    def execute(self, sql: str, *args):
        if sql == "COMMIT":
            self.reached.set()
            self.let_go.wait()
        return self._connection.execute(sql, *args)


async def test_the_answer_waits_for_a_synchronous_commit(tmp_path) -> None:
    store = SqliteStore.open(tmp_path)
    tenant = await store.create_tenant("tenant", b"", b"", "")
    connection = store._committer._connection
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,), "FULL"
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    held = store._committer._connection = HeldConnection(connection)
    append = asyncio.create_task(write(store, tenant.uid, payload("a")))
    await asyncio.to_thread(held.reached.wait)
    assert await store.head(tenant.uid) == 1, "readers neither see it nor wait for it"
    assert not append.done()
    held.let_go.set()
    assert (await append).seqs == (2,)
    assert await store.head(tenant.uid) == 2
    await store.close()


@pytest.mark.skipif(not strace_works(), reason="strace is missing, or tracing is not allowed")
def test_the_write_ahead_log_is_synced_before_the_answer(tmp_path) -> None:
    trace = tmp_path / "trace"
    calls = "trace=pwrite64,fdatasync,fsync,write"
    traced = ["strace", "-f", "-y", "-e", calls, "-o", str(trace), *children.command("append", tmp_path / "data")]
    subprocess.run(traced, cwd=children.ROOT, check=True, capture_output=True)
    events: list[str] = []
    begun: dict[str, str] = {}  # of each thread, the call that has not returned
    for line in trace.read_text(errors="replace").splitlines():
        thread, call = line.split(maxsplit=1)
        if "<unfinished" in call:
            begun[thread] = call
            continue
        if "resumed>" in call:
            call = begun.pop(thread)
        if "log.db-wal>" in call:
            events.append("sync" if call.startswith(("fdatasync", "fsync")) else "write")
        elif found := re.match(r'write\(1<.*"ack (\d)', call):
            events.append(f"ack {found[1]}")
    acks = [place for place, event in enumerate(events) if event.startswith("ack")]
    assert [events[place] for place in acks] == [f"ack {i}" for i in range(5)]
    for before, ack in zip([-1, *acks], acks, strict=False):
        done = events[before + 1 : ack]
        assert "write" in done
        assert done[-1] == "sync", "after the last write, before the answer"


async def test_acknowledged_appends_survive_sigkill(tmp_path) -> None:
    acknowledged: dict[str, dict[str, int]] = defaultdict(dict)  # uid to id to seq
    for kill in range(5):
        with children.start("append_for_ever", tmp_path) as child:
            for _ in range(40 + 60 * kill):
                acknowledge(acknowledged, child.stdout.readline())
            child.kill()
            for line in child.stdout.read().splitlines(keepends=True):
                acknowledge(acknowledged, line)
    assert sum(map(len, acknowledged.values())) >= 5 * 40

    store = SqliteStore.open(tmp_path)
    assert set(acknowledged) == set(await store.heads())
    for uid, seq_of in acknowledged.items():
        records = await store.read(uid, 0, 1 << 30)
        entries = [entry for record in records for entry in record.entries]
        assert [record.seq for record in records] == list(range(1, len(records) + 1))
        assert [entry.number for entry in entries] == list(range(1, len(entries) + 1))
        ids = [entry.payload.id for entry in entries]
        assert len(set(ids)) == len(ids), "once"
        stored = {entry.payload.id: entry.seq for entry in entries}
        assert seq_of.items() <= stored.items(), "every one, where it was said to be"
        for writer in {id.split("-")[0] for id in ids}:
            own = [int(id.split("-")[1]) for id in ids if id.startswith(f"{writer}-")]
            assert own == list(range(len(own))), "in order"
        assert all(
            e.payload == payload(e.payload.id, "x" * (int(e.payload.id.split("-")[1]) % 7) * 300) for e in entries
        )
    await store.close()


async def test_acknowledged_changes_survive_sigkill(tmp_path) -> None:
    with children.start("change_for_ever", tmp_path) as child:
        lines = [child.stdout.readline() for _ in range(200)]
        child.kill()
        lines += [line for line in child.stdout.read().splitlines(keepends=True) if line.endswith(b"\n")]
    store = SqliteStore.open(tmp_path)
    tenant = await store.get_tenant("tenant")
    records = await store.read(tenant.uid, 0, 1 << 30)
    assert [record.seq for record in records] == list(range(1, len(records) + 1))
    for line in lines:
        seq, about = map(int, line.split())
        record = records[seq - 1]
        assert record.kind in (RecordKind.UPDATE, RecordKind.DELETE)
        assert record.about == (about,)
        assert await store.entries(tenant.uid, [about]) == []
    gone = {number for record in records for number in record.about}
    held = {entry.number: entry for record in records for entry in record.entries}
    unlearned = [number for number in range(1, max(held) + 1) if number not in held]
    assert unlearned
    assert set(unlearned) <= gone, "destroyed with the record that is about it, never without"
    assert not any(not held[number].payload.learn for number in gone & held.keys()), "never one without the other"
    await store.close()


def acknowledge(acknowledged: dict[str, dict[str, int]], line: bytes) -> None:
    if line.endswith(b"\n"):  # else the kill cut it
        uid, id, seq = line.decode().split()
        acknowledged[uid][id] = int(seq)

"""Staged and parked tenants: nothing of what goes is in any file, what stays is there once, and restarts between."""

import sqlite3
from collections import Counter
from functools import partial

import pytest

from memsvc.store.clock import wall_clock_us
from memsvc.store.sqlite import SqliteStore, log_destroy, log_park, log_stage, log_write
from memsvc.store.types import Snapshot
from tests.conformance.stores import payload, write
from tests.store.sqlite.files import SIZES, marks

TEXTS = 600
"""More than one slice of a purge."""


@pytest.fixture
async def store(tmp_path):
    store = SqliteStore.open(tmp_path)
    yield store
    await store.close()


@pytest.fixture
async def uid(store) -> str:
    """A tenant with all kinds of text: name, config, entries of every size, a snapshot, a note."""
    row = await store.create_tenant("<mark-tenant-1>", b"<mark-config-1>" + b"." * 200, b"", "")
    await write(store, row.uid, *(payload(f"id{i}", "<mark-data-1>" + "x" * SIZES[i % 9]) for i in range(TEXTS)))
    await store.save(row.uid, Snapshot(seq=2, meta=b"<mark-meta-1>", blobs={"a": b"<mark-blob-1>" * 1_000}))
    await store.note_copy(row.uid, "<mark-copy-1>")
    return row.uid


async def stage(store: SqliteStore, number: int, uid: str) -> str:
    """Stage another tenant in the likeness of this one, but with marks of its own."""
    origin = await store.origin(uid)
    config = b"<mark-config-%d>" % number
    likeness = type(origin)(created_us=1, config=config, id_key=origin.id_key, forgotten=())
    staged = await store.stage(likeness, "<mark-tenant-1>")
    records = await _made(store, number)
    await store.append_staged(staged, records)
    blobs = {"a": b"<mark-blob-%d>" % number * 1_000}
    await store.save(staged, Snapshot(seq=2, meta=b"<mark-meta-%d>" % number, blobs=blobs))
    return staged


async def _made(store: SqliteStore, number: int) -> list:
    row = await store.create_tenant("scratch", b"", b"", "")
    await write(
        store, row.uid, *(payload(f"id{i}", f"<mark-data-{number}>" + "x" * SIZES[i % 9]) for i in range(TEXTS))
    )
    records = await store.read(row.uid, 0, 1 << 30)
    await store.delete_tenant(row.uid, "")
    return records


def counted(found: Counter[str]) -> dict[str, int]:
    """Marks of the log by number of places, those of views by whether they are there."""
    return {mark: 1 if "blob" in mark or "meta" in mark else count for mark, count in found.items()}


def expected(*numbers: int, name: int | None = 1) -> dict[str, int]:
    found = {}
    for number in numbers:
        found |= {f"<mark-{kind}-{number}>": 1 for kind in ("config", "blob", "meta")}
        found[f"<mark-data-{number}>"] = TEXTS
    if name is not None:
        found[f"<mark-tenant-{name}>"] = 1
    if 1 in numbers:
        found["<mark-copy-1>"] = 1
    return found


async def test_nothing_of_a_discarded_copy_is_left(tmp_path, store, uid) -> None:
    staged = await stage(store, 2, uid)
    assert set(marks(tmp_path)) == set(expected(1, 2)), "the scan finds it"
    await store.discard(staged)
    assert counted(marks(tmp_path)) == expected(1)


async def test_nothing_of_what_was_parked_is_left(tmp_path, store, uid) -> None:
    staged = await stage(store, 2, uid)
    await store.replace(uid, staged, "r")
    assert set(marks(tmp_path)) == set(expected(1, 2))
    await store.confirm(staged, "")
    assert counted(marks(tmp_path)) == expected(2)
    await store.delete_tenant(staged, "")
    assert marks(tmp_path) == Counter()


async def test_nothing_of_what_was_in_front_is_left(tmp_path, store, uid) -> None:
    staged = await stage(store, 2, uid)
    await store.replace(uid, staged, "r")
    await store.unpark(staged, "")
    assert counted(marks(tmp_path)) == expected(1)
    await store.delete_tenant(uid, "")
    assert marks(tmp_path) == Counter()


async def test_nothing_of_either_is_left(tmp_path, store, uid) -> None:
    staged = await stage(store, 2, uid)
    await store.replace(uid, staged, "r")
    await store.delete_tenant(staged, "")
    assert marks(tmp_path) == Counter()
    await store.close()
    with sqlite3.connect(tmp_path / "log.db") as connection:
        tables = ("entries", "ids", "records", "heads", "parked")
        assert [connection.execute(f"SELECT count(*) FROM {table}").fetchone() for table in tables] == [(0,)] * 5
    connection.close()


async def test_names_and_configs_leave_no_copy_as_they_move(tmp_path, store) -> None:
    living: dict[str, str] = {}
    for i in range(60):
        row = await store.create_tenant(f"<mark-tenant-{i}>", f"<mark-config-{i}>".encode() + b"." * 150, b"", "")
        await store.note_copy(row.uid, f"<mark-copy-{i}>" + "." * 100)
        living[row.uid] = str(i)
    for at, uid in enumerate(list(living)[::2]):
        staged = await store.stage(await store.origin(uid), "copy")
        await store.append_staged(staged, await store.read(uid, 0, 1 << 20))
        await store.replace(uid, staged, "")
        if at % 3 == 0:
            await store.unpark(staged, "")
        elif at % 3 == 1:
            await store.confirm(staged, "")
        else:
            await store.delete_tenant(staged, "")
            del living[uid]
    await store.erase("any", 1)  # which empties the write-ahead logs
    found = marks(tmp_path)
    for kind in ("tenant", "config"):
        assert {m: c for m, c in found.items() if kind in m} == {f"<mark-{kind}-{i}>": 1 for i in living.values()}
    copies = {mark: count for mark, count in found.items() if "copy" in mark}
    assert set(copies.values()) == {1}
    assert len(copies) == len(living) - 10, "a note goes with the tenant that it is of"


async def test_a_restart_takes_what_is_staged_and_keeps_what_is_parked(tmp_path, store, uid) -> None:
    await store.replace(uid, front := await stage(store, 2, uid), "")
    await stage(store, 3, front)
    await store.close()
    store = SqliteStore.open(tmp_path)
    assert counted(marks(tmp_path)) == expected(1, 2)
    assert await store.parked(front) == uid
    assert await store.seqs() == {uid: 2, front: 2}
    await store.unpark(front, "")
    assert len(await store.scan(uid, 0, 1_000)) == TEXTS
    assert (await store.load(uid)).snapshot.meta == b"<mark-meta-1>"
    assert counted(marks(tmp_path)) == expected(1)
    await store.close()


@pytest.mark.parametrize(
    ("end", "retry"),
    [
        ("discard", False),
        ("discard", True),
        ("confirm", False),
        ("confirm", True),
        ("unpark", False),
        ("unpark", True),
        ("delete", False),
        ("delete", True),
    ],
)
async def test_what_is_cut_short_is_finished(tmp_path, store, uid, end, retry) -> None:
    """By the same call again, where there is one, and by a restart."""
    staged = await stage(store, 2, uid)
    if end != "discard":
        await store.replace(uid, staged, "")
    operation, purged, left = {
        "discard": (log_stage.condemn_staged, staged, expected(1)),
        "confirm": (partial(log_park.condemn_parked, request_id="r"), uid, expected(2)),
        "unpark": (partial(log_park.unpark, request_id="r"), staged, expected(1)),
        "delete": (partial(log_write.condemn_tenant, request_id="d"), uid, {}),
    }[end]
    # So far, and no further, as if the process had died here.
    await store._committer.run(partial(operation, uid=staged, now_us=wall_clock_us()))
    await store._committer.run(partial(log_destroy.purge_slice, uid=purged))
    if end == "delete" and retry:
        await store.delete_tenant(staged, "d")
    elif end == "discard" and retry:
        await store.discard(staged)
    elif retry:
        await getattr(store, end)(staged, "r")
    else:
        await store.close()
        store = SqliteStore.open(tmp_path)
    assert counted(marks(tmp_path)) == left
    row = await store.get_tenant("<mark-tenant-1>")
    assert (row and row.uid) == {"discard": uid, "confirm": staged, "unpark": uid, "delete": None}[end]
    await store.close()

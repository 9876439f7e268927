"""What is forgotten and erased is in no file of the directory, however rows have moved before."""

import asyncio
import hashlib
import random
import sqlite3
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from memsvc.errors import UnavailableError
from memsvc.store.clock import wall_clock_us
from memsvc.store.hashes import content_hash_left
from memsvc.store.sqlite import SqliteOptions, SqliteStore, log_destroy, log_write
from memsvc.store.sqlite.emptier import Emptier
from memsvc.store.types import Payload, Snapshot
from tests.conformance.stores import payload, size_of, write
from tests.store.sqlite import children
from tests.store.sqlite.files import SIZES, contents, marks


def marked(number: int, size: int, *, revision: int = 0, learn: bool = True) -> Payload:
    """Id, text, session and metadata of its own, each with a mark."""
    fields = (f"<mark-{kind}-{number * 10 + revision}>" for kind in ("text", "session", "metadata"))
    data = "".join(fields).encode() + b"." * size
    return Payload(id=f"<mark-id-{number}>", content_hash=hashlib.sha256(data).digest(), data=data, learn=learn)


async def live(directory: Path) -> tuple[SqliteStore, str, list[Payload], list[Payload]]:
    """Return a store, a tenant in it, and all revisions of what will be forgotten and of what will be kept."""
    store = SqliteStore.open(directory)
    row = await store.create_tenant("tenant", b"", b"", "")
    rows: dict[bool, list[Payload]] = {True: [], False: []}
    for number in range(1, 121):
        size, learn = SIZES[number % len(SIZES)], number % 5 != 0
        revisions = [marked(number, size, learn=learn)]
        await write(store, row.uid, revisions[0])
        if number % 3 == 0:
            revisions.append(marked(number, SIZES[number % 7], revision=1, learn=learn))
            await store.update(row.uid, revisions[1], f"update-{number}")
        if number % 4 == 0:
            await store.delete(row.uid, revisions[0].id, f"delete-{number}")
        rows[number % 2 == 0] += revisions
    return store, row.uid, rows[True], rows[False]


def left_of(given: Payload, data: bytes) -> list[bytes]:
    """What a file still has of a payload."""
    fields = [given.id.encode(), given.content_hash, *given.data.rstrip(b".").replace(b"><", b">\n<").split(b"\n")]
    return [field for field in fields if field in data]


@pytest.mark.parametrize("restart", ["never", "before", "after"])
async def test_nothing_of_an_erased_entry_is_in_any_file(tmp_path, restart) -> None:
    store, uid, forgotten, kept = await live(tmp_path / "erased")
    twin, twin_uid, *_ = await live(tmp_path / "twin")
    ids = list(dict.fromkeys(given.id for given in forgotten))
    await twin.forget(twin_uid, ids, "r")
    erasure, _ = await store.forget(uid, ids, "r")
    assert erasure.entries == len(forgotten)
    if restart == "before":
        await store.close()
        store = SqliteStore.open(tmp_path / "erased")
    assert all(left_of(given, contents(tmp_path / "erased")) for given in forgotten if given.learn)
    held = {entry.payload.data for record in await store.read(uid, 0, 1 << 30) for entry in record.entries}
    destroyed = await store.erase(uid, erasure.first_seq)
    assert destroyed.bytes == sum(size_of(given) for given in forgotten if given.data in held)
    if restart == "after":
        await store.close()
        store = SqliteStore.open(tmp_path / "erased")

    data, twin_data = contents(tmp_path / "erased"), contents(tmp_path / "twin")
    assert [left for given in forgotten for left in left_of(given, data)] == []
    assert all(len(left_of(given, twin_data)) == 5 for given in forgotten if given.data in held), "the scan finds"
    stay = [given for given in kept if given.data in held]
    assert stay
    assert all(len(left_of(given, data)) == 5 for given in stay)
    with sqlite3.connect(f"file:{tmp_path / 'erased' / 'log.db'}?mode=ro", uri=True) as connection:
        (key,) = connection.execute("SELECT id_key FROM tenants").fetchone()
    connection.close()
    assert not any(content_hash_left(key, given.content_hash) in data for given in forgotten), "nor under a key"
    assert [given.data for given in kept if given.data not in held]
    assert all(content_hash_left(key, given.content_hash) in data for given in kept if given.data not in held), (
        "which the scan finds where it may stay"
    )
    await store.close()
    await twin.close()


@pytest.mark.parametrize("seed", range(3))
async def test_no_copy_of_a_forgotten_text_is_ever_left_behind(tmp_path, seed) -> None:
    # No checkpoint but those of erasing: what a page held before is in the write-ahead log, too.
    store = SqliteStore.open(tmp_path)
    chance = random.Random(seed)
    uids = [(await store.create_tenant(f"t{i}", b"", b"", "")).uid for i in range(3)]
    living: dict[tuple[str, int], list[Payload]] = {}
    count = 0
    for _ in range(12):
        for _ in range(60):
            uid = chance.choice(uids)
            own = [key for key in living if key[0] == uid]
            if own and chance.random() < 0.3:
                key = chance.choice(own)
                revision = marked(key[1], chance.choice(SIZES), revision=len(living[key]))
                if len(living[key]) < 10:
                    await store.update(uid, revision, f"{revision.id}, {len(living[key])}")  # which tells the id
                    living[key].append(revision)
            else:
                count += 1
                living[uid, count] = [marked(count, chance.choice(SIZES))]
                await write(store, uid, *living[uid, count])
        uid = chance.choice(uids)
        gone = [key for key in living if key[0] == uid and chance.random() < 0.5]
        erasure, _ = await store.forget(uid, [living[key][0].id for key in gone], "")
        await store.erase(uid, erasure.first_seq)
        for key in gone:
            del living[key]
        expected = Counter(mark for revisions in living.values() for given in revisions for mark in marks_of(given))
        assert marks(tmp_path) == expected, "each living text once; no other at all"
    assert sum(map(len, living.values())) > 100
    for uid in uids:
        await store.delete_tenant(uid, "")
    assert marks(tmp_path) == Counter()
    await store.close()


def marks_of(given: Payload) -> list[str]:
    fields = given.data.rstrip(b".").decode().replace("><", ">\n<").split("\n")
    return [given.id, *fields]


async def test_what_does_not_learn_is_gone_with_the_next_erasing_or_start(tmp_path) -> None:
    store = SqliteStore.open(tmp_path)
    row = await store.create_tenant("tenant", b"", b"", "")
    other = await store.create_tenant("other", b"", b"", "")
    for number, size in enumerate(SIZES * 2, start=1):
        await write(store, row.uid, marked(number, size, learn=False))
    last = len(SIZES) * 2
    for number in range(1, last):
        await store.delete(row.uid, f"<mark-id-{number}>", "")
    await store.erase(other.uid, 1)
    left = Counter(marks_of(marked(last, SIZES[-1])))
    assert marks(tmp_path) == left
    await store.update(row.uid, payload(f"<mark-id-{last}>", "", learn=False), "")
    await store.delete(row.uid, f"<mark-id-{last}>", "")
    await store.close()
    store = SqliteStore.open(tmp_path)
    assert marks(tmp_path) == Counter()
    await store.close()


@pytest.mark.parametrize("way", ["erase", "restart"])
async def test_what_expired_and_does_not_learn_is_gone_with_the_next_erasing_or_start(tmp_path, way) -> None:
    store = SqliteStore.open(tmp_path)
    row = await store.create_tenant("tenant", b"", b"", "")
    given = [replace(marked(n, SIZES[n % 9], learn=n % 3 == 0), expire_us=1 if n % 2 else None) for n in range(1, 61)]
    await write(store, row.uid, *given)
    ((_, record),) = await store.expire(100)
    assert record.about == tuple(range(1, 61, 2))
    if way == "erase":
        await store.erase("any", 1)
    else:
        await store.close()
        store = SqliteStore.open(tmp_path)
    stay = [p for p in given if p.learn or p.expire_us is None]
    assert marks(tmp_path) == Counter(mark for p in stay for mark in marks_of(p))
    await store.close()


@pytest.mark.parametrize("way", ["update", "delete", "expire", "drop"])
async def test_what_is_destroyed_by_the_way_is_in_no_file_a_while_after(tmp_path, monkeypatch, way) -> None:
    monkeypatch.setattr("memsvc.store.sqlite.emptier.EMPTY_S", 0.1)
    store = SqliteStore.open(tmp_path)
    row = await store.create_tenant("tenant", b"", b"", "")
    goes, stays = marked(1, SIZES[-1], learn=False), marked(2, SIZES[-1], learn=False)
    await write(store, row.uid, replace(goes, expire_us=1) if way == "expire" else goes, stays)
    await store.save(row.uid, Snapshot(seq=2, meta=b"", blobs={"a": b"<mark-blob-1>"}))
    left = Counter([*marks_of(stays), "<mark-blob-1>"])
    match way:
        case "update":
            await store.update(row.uid, replace(goes, content_hash=b"other", data=b""), "")
            left += Counter([goes.id])
        case "delete":
            await store.delete(row.uid, goes.id, "")
        case "expire":
            assert len(await store.expire(10)) == 1
        case "drop":
            await store.save(row.uid, Snapshot(seq=3, meta=b"", blobs={}), drop_from=2)
            left = Counter(marks_of(goes) + marks_of(stays))
    for _ in range(100):
        if marks(tmp_path) == left:
            break
        await asyncio.sleep(0.05)
    assert marks(tmp_path) == left
    await store.close()


async def test_write_ahead_logs_that_cannot_be_emptied_are_tried_again(monkeypatch) -> None:
    monkeypatch.setattr("memsvc.store.sqlite.emptier.EMPTY_S", 0.01)
    tried = []

    async def empty() -> None:
        tried.append(len(tried))
        if len(tried) == 1:
            emptier.soon()  # more is destroyed meanwhile
            raise UnavailableError("in use")

    emptier = Emptier(empty)
    emptier.soon()
    await asyncio.sleep(0.2)
    assert tried == [0, 1]
    emptier.soon()
    await asyncio.sleep(0.2)
    assert tried == [0, 1, 2]
    await emptier.stop()


async def test_what_is_destroyed_as_the_store_is_closed_leaves_nothing_to_do(tmp_path) -> None:
    store = SqliteStore.open(tmp_path)
    row = await store.create_tenant("tenant", b"", b"", "")
    await write(store, row.uid, *(replace(payload(str(i)), learn=False) for i in range(50)))
    before = asyncio.all_tasks()
    deletes = [asyncio.create_task(store.delete(row.uid, str(i), "")) for i in range(50)]
    await asyncio.sleep(0)
    await store.close()
    assert all(changed.destroyed for changed in await asyncio.gather(*deletes))
    assert asyncio.all_tasks() == before


@pytest.mark.parametrize("name", ["forget", "erase_half"])
async def test_an_erasure_survives_the_death_of_its_process(tmp_path, name) -> None:
    store = SqliteStore.open(tmp_path)
    row = await store.create_tenant("tenant", b"", b"", "")
    given = [marked(number, SIZES[number % len(SIZES)]) for number in range(1_000)]
    await write(store, row.uid, *given)
    for seq in (1, 2):
        await store.save(row.uid, Snapshot(seq=seq, meta=b"", blobs={"a": b"a", f"b{seq}": b"<mark-blob-%d>" % seq}))
    await store.close()
    with children.start(name, tmp_path) as child:
        operation = child.stdout.read().decode().strip()
    assert child.returncode == -9

    for _ in range(2):
        store = SqliteStore.open(tmp_path)
        (erasure,) = await store.unfinished_erasures()
        assert (erasure.operation, erasure.uid, erasure.seq, erasure.entries) == (operation, row.uid, 3, 500)
        held = [e.payload for r in await store.read(row.uid, 0, 1 << 30) for e in r.entries]
        assert len(held) == 1_000 - (log_destroy.SLICE_ROWS if name == "erase_half" else 0)
        assert [e.payload for e in await store.scan(row.uid, 0, 1_000)] == given[1::2]
        assert marks(tmp_path).keys() - {"<mark-blob-1>", "<mark-blob-2>"} == {m for p in held for m in marks_of(p)}
        await store.close()

    store = SqliteStore.open(tmp_path)
    expected = Counter([mark for kept in given[1::2] for mark in marks_of(kept)] + ["<mark-blob-1>"])
    destroyed = [sum(map(size_of, held)) - sum(map(size_of, given[1::2])), 0]
    for size in destroyed:
        assert (await store.erase(row.uid, erasure.first_seq)).bytes == size
        assert marks(tmp_path) == expected
    assert await store.seqs() == {row.uid: 1}
    await store.finish_erasure(operation, b"first")
    await store.finish_erasure(operation, b"second")
    assert (await store.erasure(operation)).receipt == b"first"
    await store.close()
    store = SqliteStore.open(tmp_path)
    assert await store.unfinished_erasures() == []
    assert marks(tmp_path) == expected
    await store.close()


async def test_a_large_erasure_goes_on_while_others_write(tmp_path) -> None:
    # A checkpoint after every group: SQLite does not wait for one under way, the truncation must.
    store = SqliteStore.open(tmp_path, SqliteOptions(checkpoint_bytes=1))
    row = await store.create_tenant("large", b"", b"", "")
    for i in range(4):
        await write(store, row.uid, *(payload(f"{i}-{j}", "<mark-data-1>" + "x" * 200) for j in range(500)))
    erasure, _ = await store.forget(row.uid, [f"{i}-{j}" for i in range(4) for j in range(500)], "")
    erasing = asyncio.create_task(store.erase(row.uid, erasure.first_seq))
    written = 0
    while not erasing.done():
        await write(store, row.uid, payload(str(written), "y" * 100))
        written += 1
    assert (await erasing).bytes == sum(size_of(payload(f"0-{j}", "<mark-data-1>" + "x" * 200)) for j in range(500)) * 4
    assert marks(tmp_path) == Counter()
    assert written > 2_000 / log_destroy.SLICE_ROWS, "appends ran between the slices"
    assert [e.payload.id for e in await store.scan(row.uid, 0, 10_000)] == [str(i) for i in range(written)]
    await store.close()


async def test_a_tenant_is_deleted_in_the_middle_of_its_erasure(tmp_path) -> None:
    store = SqliteStore.open(tmp_path)
    row = await store.create_tenant("tenant", b"", b"", "")
    await write(store, row.uid, *(marked(number, 40, learn=number % 2 == 0) for number in range(1_000)))
    await asyncio.gather(*(store.delete(row.uid, f"<mark-id-{number}>", "") for number in range(100)))
    erasure, _ = await store.forget(row.uid, [f"<mark-id-{number}>" for number in range(900)], "")
    await asyncio.gather(store.erase(row.uid, erasure.first_seq), store.delete_tenant(row.uid, "d"))
    assert marks(tmp_path) == Counter()
    assert await store.unfinished_erasures() == []
    await store.close()
    tables = ("entries", "ids", "records", "erasures", "heads")
    with sqlite3.connect(tmp_path / "log.db") as connection:
        assert [connection.execute(f"SELECT count(*) FROM {table}").fetchone() for table in tables] == [(0,)] * 5
    connection.close()


async def test_an_erasure_of_a_tenant_whose_deletion_was_cut_short(tmp_path) -> None:
    store = SqliteStore.open(tmp_path)
    row = await store.create_tenant("tenant", b"", b"", "")
    await write(store, row.uid, marked(1, 40), marked(2, 40))
    erasure, _ = await store.forget(row.uid, ["<mark-id-1>"], "")
    await store._committer.run(partial(log_write.condemn_tenant, uid=row.uid, request_id="d", now_us=wall_clock_us()))
    assert await store.erasure(erasure.operation) is None
    assert await store.unfinished_erasures() == []
    assert (await store.erase(row.uid, erasure.first_seq)).bytes == size_of(marked(1, 40))
    assert marks(tmp_path) == Counter(marks_of(marked(2, 40))), "what it says holds, whatever else is under way"
    await store.close()


async def test_the_room_of_erased_text_comes_back_at_the_next_start(tmp_path) -> None:
    store = SqliteStore.open(tmp_path)
    row = await store.create_tenant("tenant", b"", b"", "")
    await write(store, row.uid, *(payload(f"a{i}", "x" * 1_000) for i in range(500)))
    await write(store, row.uid, *(payload(f"b{i}", "x" * 1_000, learn=False) for i in range(500)))
    await write(store, row.uid, payload("kept", "<mark-data-1>"))
    erasure, _ = await store.forget(row.uid, [f"a{i}" for i in range(500)], "")
    await store.erase(row.uid, erasure.first_seq)
    await asyncio.gather(*(store.delete(row.uid, f"b{i}", "") for i in range(500)))
    records = await store.read(row.uid, 0, 1 << 30)
    await store.close()
    before = (tmp_path / "log.db").stat().st_size
    store = SqliteStore.open(tmp_path, SqliteOptions(compact_bytes=100_000))
    assert (tmp_path / "log.db").stat().st_size < before / 2
    assert await store.read(row.uid, 0, 1 << 30) == records
    again = await write(store, row.uid, payload("b7", "x" * 1_000, learn=False), payload("kept", "<mark-data-1>"))
    assert (again.skipped, again.numbers) == ((True, True), (508, 1_001))
    await store.close()

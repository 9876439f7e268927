"""A deleted tenant is in no file of the directory, however rows have moved before."""

import asyncio
import random
import re
from collections import Counter
from functools import partial

import pytest

from memsvc.store.clock import wall_clock_us
from memsvc.store.sqlite import SqliteOptions, SqliteStore, log_destroy, log_write
from memsvc.store.types import Payload, RecordKind, Snapshot
from tests.conformance.stores import payload, write
from tests.store.sqlite.files import SIZES, marks


class Churn:
    """Tenants that come, write, are snapshotted and go, in an order set by a seed. Every text of theirs has a mark."""

    def __init__(self, store: SqliteStore, seed: int) -> None:
        self.store = store
        self.random = random.Random(seed)
        self.count = 0
        self.living: dict[str, set[str]] = {}  # uid to marks in the log
        self.saved: dict[str, list[set[str]]] = {}  # uid to marks in each of its two snapshots

    def mark(self, kind: str) -> str:
        self.count += 1
        return f"<mark-{kind}-{self.count}>"

    async def come(self) -> None:
        tenant, config = self.mark("tenant"), self.mark("config")
        row = await self.store.create_tenant(tenant, config.encode(), b"", "")
        self.living[row.uid] = {tenant, config}

    async def write(self) -> None:
        uid = self.random.choice(list(self.living))
        batch = []
        for _ in range(self.random.randint(1, 3)):
            id, data = self.mark("id"), self.mark("data")
            self.living[uid] |= {id, data}
            text = data.encode() + b"." * self.random.choice(SIZES)
            batch.append(Payload(id=id, content_hash=bytes(32), data=text))
        await self.store.append(uid, RecordKind.WRITE, b"", batch)

    async def snapshot(self) -> None:
        uid = self.random.choice(list(self.living))
        blobs = {f"{self.count}-{i}": self.mark("blob") for i in range(self.random.randint(1, 3))}
        meta = self.mark("meta")
        data = {name: mark.encode() * self.random.choice([1, 20, 200, 500]) for name, mark in blobs.items()}
        await self.store.save(uid, Snapshot(seq=self.count, meta=meta.encode(), blobs=data))
        self.saved[uid] = [*self.saved.get(uid, []), {meta, *blobs.values()}][-2:]

    async def go(self) -> None:
        uid = self.random.choice(list(self.living))
        del self.living[uid]
        self.saved.pop(uid, None)
        await self.store.delete_tenant(uid, "")

    async def run(self, rounds: int) -> None:
        for _ in range(8):
            await self.come()
        for _ in range(rounds):
            await asyncio.gather(*(self.write() for _ in range(12)))
            for _ in range(4):
                await self.snapshot()
            if self.random.random() < 0.4:
                await self.go()
                await self.come()


@pytest.mark.parametrize("seed", range(3))
async def test_no_copy_of_a_text_is_ever_left_behind(tmp_path, seed) -> None:
    store = SqliteStore.open(tmp_path)
    churn = Churn(store, seed)
    await churn.run(rounds=40)
    await churn.go()  # which empties the write-ahead logs
    found = marks(tmp_path)
    of_views = {mark for mark in found if re.match("<mark-(blob|meta)", mark)}
    of_log = {mark: count for mark, count in found.items() if mark not in of_views}
    living = set().union(*churn.living.values())
    assert len(living) > 200
    assert of_log == dict.fromkeys(living, 1), "each living text once: SQLite moved none; no other at all"
    assert of_views == set().union(*(marks for saved in churn.saved.values() for marks in saved))
    for uid in list(churn.living):
        await store.delete_tenant(uid, "")
    assert marks(tmp_path) == Counter()
    await store.close()


async def test_snapshots_share_no_page_that_sqlite_rebalances(tmp_path) -> None:
    store = SqliteStore.open(tmp_path)
    row = await store.create_tenant("tenant", b"", b"", "")
    for seq, size in enumerate(SIZES):
        blobs = {f"{seq}": b"<mark-blob-1>" + b"." * size}
        await store.save(row.uid, Snapshot(seq=seq, meta=b"<mark-meta-1>" + b"." * size, blobs=blobs))
    await store.close()
    data = (tmp_path / "views.db").read_bytes()
    pages = [page for at in range(0, len(data), 4096) if b"<mark-" in (page := data[at : at + 4096])]
    assert len(pages) == 4, "a blob and a manifest of each generation"
    # A b-tree page begins with its type; an overflow page with the number of the next, here below 2**24.
    assert {page[0] for page in pages} == {0}


async def test_a_repeated_deletion_finds_nothing_to_do(tmp_path) -> None:
    store = SqliteStore.open(tmp_path)
    row = await store.create_tenant("tenant", b"", b"", "")
    await write(store, row.uid, payload("a"))
    await asyncio.gather(*(store.delete_tenant(row.uid, "d") for _ in range(5)))
    assert await store.get_tenant("tenant") is None
    await store.close()


async def test_a_large_tenant_goes_while_others_write(tmp_path) -> None:
    # A checkpoint after every group: SQLite does not wait for one under way, the truncation must.
    store = SqliteStore.open(tmp_path, SqliteOptions(checkpoint_bytes=1))
    row = await store.create_tenant("large", b"", b"", "")
    other = await store.create_tenant("other", b"", b"", "")
    for i in range(4):
        await write(store, row.uid, *(payload(f"{i}-{j}", "<mark-data-1>" + "x" * 200) for j in range(500)))
    deletion = asyncio.create_task(store.delete_tenant(row.uid, ""))
    written = 0
    while not deletion.done():
        await write(store, other.uid, payload(str(written), "y" * 100))
        written += 1
    await deletion
    assert marks(tmp_path) == Counter()
    assert written > 2_000 / log_destroy.SLICE_ROWS, "appends ran between the slices"
    assert [e.payload.id for e in await store.scan(other.uid, 0, 10_000)] == [str(i) for i in range(written)]
    await store.close()


async def test_a_cancelled_caller_leaves_no_half_of_a_tenant(tmp_path) -> None:
    store = SqliteStore.open(tmp_path)
    row = await store.create_tenant("tenant", b"", b"", "")
    await write(store, row.uid, *(payload(str(i), "<mark-data-1>") for i in range(1_000)))
    deletion = asyncio.create_task(store.delete_tenant(row.uid, ""))
    await asyncio.sleep(0)
    deletion.cancel()
    with pytest.raises(asyncio.CancelledError):
        await deletion
    await store.close()
    assert marks(tmp_path) == Counter()


async def test_a_deletion_cut_short_is_finished_at_the_next_start(tmp_path) -> None:
    store = SqliteStore.open(tmp_path)
    row = await store.create_tenant("<mark-tenant-1>", b"<mark-config-1>", b"", "")
    kept = await store.create_tenant("kept", b"", b"", "")
    await write(store, row.uid, *(payload(str(i), "<mark-data-1>") for i in range(1_000)))
    await store.save(row.uid, Snapshot(seq=2, meta=b"<mark-meta-1>", blobs={"a": b"<mark-blob-1>" * 1_000}))
    condemn = partial(log_write.condemn_tenant, uid=row.uid, request_id="d", now_us=wall_clock_us())
    await store._committer.run(condemn)  # and no further, as if the process had died here
    await store._committer.run(partial(log_destroy.purge_slice, uid=row.uid))
    assert await store.get_tenant("<mark-tenant-1>") is None
    await store.close()
    store = SqliteStore.open(tmp_path)
    assert marks(tmp_path) == Counter()
    await store.delete_tenant(row.uid, "d")  # the caller's retry
    assert await store.heads() == {kept.uid: 1}
    assert await store.seqs() == {}
    await store.close()


async def test_the_room_of_deleted_text_comes_back_at_the_next_start(tmp_path) -> None:
    store = SqliteStore.open(tmp_path)
    rows = [await store.create_tenant(f"t{i}", b"", b"", "") for i in range(4)]
    for i in range(0, 500, 10):
        batches = [[payload(str(i + j), f"<mark-data-{row.tenant[1]}>" * 20) for j in range(10)] for row in rows]
        await asyncio.gather(*(write(store, row.uid, *batch) for row, batch in zip(rows, batches, strict=True)))
    for row in rows[1:]:
        await store.delete_tenant(row.uid, "")
    kept = await store.read(rows[0].uid, 0, 1 << 30)
    await store.close()
    before = (tmp_path / "log.db").stat().st_size
    (tmp_path / "log.db-compact").write_bytes(b"<mark-data-9>")  # as a crash in the middle leaves it
    store = SqliteStore.open(tmp_path, SqliteOptions(compact_bytes=100_000))
    assert (tmp_path / "log.db").stat().st_size < before / 2
    assert (tmp_path / "log.db").stat().st_mode & 0o777 == 0o600
    assert await store.read(rows[0].uid, 0, 1 << 30) == kept
    assert marks(tmp_path) == Counter({"<mark-data-0>": 500 * 20})
    appended = await write(store, rows[0].uid, payload("499", "<mark-data-0>" * 20), payload("new"))
    assert (appended.numbers, appended.skipped) == ((500, 501), (True, False))
    await store.close()
    size = (tmp_path / "log.db").stat().st_size
    store = SqliteStore.open(tmp_path, SqliteOptions(compact_bytes=0))
    assert (tmp_path / "log.db").stat().st_size == size, "nothing to gain: left as it is"
    await store.close()

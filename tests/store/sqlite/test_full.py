"""A full disk: the append is refused, nothing of it is there, and the store goes on once there is room."""

import asyncio

import pytest

from memsvc.errors import UnavailableError
from memsvc.store.sqlite import SqliteOptions, SqliteStore
from memsvc.store.types import Snapshot
from tests.conformance.stores import payload, write
from tests.store.sqlite import children


async def test_a_full_log_refuses_and_recovers(tmp_path) -> None:
    store = SqliteStore.open(tmp_path, SqliteOptions(max_log_bytes=1_000_000))
    tenant = await store.create_tenant("tenant", b"", b"", "")
    filler = await store.create_tenant("filler", b"", b"", "")
    await write(store, filler.uid, payload("filler", "x" * 500_000))
    written = []

    async def write_until_full() -> None:
        while True:
            written.append((await write(store, tenant.uid, payload(f"id{len(written)}", "x" * 20_000))).record)

    with pytest.raises(UnavailableError) as caught:
        await write_until_full()
    assert caught.value.reason == "STORE_FULL"
    assert written
    assert await store.read(tenant.uid, 1, 1 << 30) == written
    results = await asyncio.gather(
        *(write(store, tenant.uid, payload(f"big{i}", "x" * 100_000)) for i in range(3)), return_exceptions=True
    )
    assert [type(r) for r in results] == [UnavailableError] * 3
    assert await store.read(tenant.uid, 1, 1 << 30) == written
    with pytest.raises(UnavailableError) as caught:
        await store.update(tenant.uid, payload("id0", "y" * 100_000), "r")
    assert caught.value.reason == "STORE_FULL"
    assert (await store.entry_by_id(tenant.uid, "id0")).payload == payload("id0", "x" * 20_000)
    assert await store.read(tenant.uid, 1, 1 << 30) == written
    await store.save(tenant.uid, Snapshot(seq=1, meta=b"", blobs={}))  # the other file has room

    await store.delete_tenant(filler.uid, "")
    again = await write(store, tenant.uid, payload("again", "x" * 100_000))
    assert again.record.seq == len(written) + 2, "the refused left no gap"
    await store.close()
    store = SqliteStore.open(tmp_path)
    assert await store.read(tenant.uid, 1, 1 << 30) == [*written, again.record]
    await store.close()


async def test_a_file_system_that_takes_no_more(tmp_path) -> None:
    with children.start("fill", tmp_path) as child:
        group, alone, ids = child.stdout.read().decode().splitlines()
    assert child.returncode == 0
    *refused, last = group.split()
    assert last == "UnavailableError"
    assert set(refused) <= {"UnavailableError", "Appended"}
    assert alone in {"STORE_FULL", "STORE_UNAVAILABLE"}
    appended = [f"big{i}" for i, name in enumerate(group.split()) if name == "Appended"]
    assert ids.split() == ["before", *appended, "after"]
    store = SqliteStore.open(tmp_path)
    tenant = await store.get_tenant("tenant")
    entries = await store.scan(tenant.uid, 0, 100)
    assert [entry.payload.id for entry in entries] == ids.split()
    assert [entry.seq for entry in entries] == list(range(2, len(entries) + 2))
    await store.close()

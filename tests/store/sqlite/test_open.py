"""Opening a data directory: whose it is, what is in it, and in which state."""

import asyncio
import logging
import os
import sqlite3
import stat

import pytest

from memsvc.errors import DataLossError, FailedPreconditionError, UnavailableError
from memsvc.store.sqlite import SqliteOptions, SqliteStore
from memsvc.store.types import Snapshot
from tests.conformance.stores import payload, write
from tests.store.sqlite import children


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "data"


async def filled(directory, entries: int = 200) -> str:
    """Leave a tenant with entries and a snapshot in a closed store."""
    store = SqliteStore.open(directory)
    tenant = await store.create_tenant("tenant", b"", b"", "")
    await write(store, tenant.uid, *(payload(f"id{i}", "x" * 1_000) for i in range(entries)))
    await store.save(tenant.uid, Snapshot(seq=2, meta=b"meta", blobs={"a": bytes(100_000)}))
    await store.close()
    return tenant.uid


def execute(path, *statements: str) -> None:
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


async def test_a_new_directory_is_private(tmp_path) -> None:
    directory = tmp_path / "a" / "b"
    store = SqliteStore.open(directory)
    await store.create_tenant("tenant", b"", b"", "")
    for path in (directory, directory.parent):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    files = {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}
    assert {"log.db", "log.db-wal", "views.db", "lock"} <= files.keys()
    assert set(files.values()) == {0o600}
    await store.close()
    assert {path.name for path in directory.iterdir()} == {"log.db", "views.db", "lock"}, "one may copy these three"


async def test_one_process_per_directory(directory) -> None:
    with children.start("hold", directory) as child:
        assert child.stdout.readline() == b"open\n"
        with pytest.raises(FailedPreconditionError) as caught:
            SqliteStore.open(directory)
        assert caught.value.reason == "DATA_DIRECTORY_IN_USE"
        assert str(directory) in str(caught.value)
        assert str(child.pid) in str(caught.value)
        child.kill()
    store = SqliteStore.open(directory)
    with pytest.raises(FailedPreconditionError) as caught:
        SqliteStore.open(directory)
    assert str(os.getpid()) in str(caught.value)
    await store.check()
    await store.close()
    await SqliteStore.open(directory).close()


@pytest.mark.parametrize("name", ["log.db", "views.db"])
async def test_a_newer_format_is_refused(directory, name) -> None:
    await filled(directory)
    execute(directory / name, "PRAGMA user_version = 7")
    before = (directory / name).read_bytes()
    for _ in range(2):  # the second time shows that the first let go of the lock
        with pytest.raises(FailedPreconditionError) as caught:
            SqliteStore.open(directory)
        assert caught.value.reason == "DATA_FORMAT_NEWER"
        assert "format 7" in str(caught.value)
        assert "up to 1" in str(caught.value)
    assert (directory / name).read_bytes() == before


@pytest.mark.parametrize("name", ["log.db", "views.db"])
@pytest.mark.parametrize("kind", ["text", "database", "marked database"])
def test_a_foreign_file_is_refused_and_left_alone(directory, name, kind) -> None:
    directory.mkdir()
    path = directory / name
    if kind == "text":
        path.write_text("Not a database at all. " * 100)
    else:
        mark = 0 if kind == "database" else 0x12345678
        execute(path, "CREATE TABLE precious (a)", f"PRAGMA application_id = {mark}")
    before = path.read_bytes()
    with pytest.raises(FailedPreconditionError) as caught:
        SqliteStore.open(directory)
    assert caught.value.reason == "DATA_FORMAT_UNKNOWN"
    assert str(path) in str(caught.value)
    assert path.read_bytes() == before


@pytest.mark.parametrize("damage", ["overwritten", "cut"])
async def test_a_damaged_log_is_told_at_once(directory, damage) -> None:
    await filled(directory)
    path = directory / "log.db"
    data = path.read_bytes()
    middle = len(data) // 2 // 4096 * 4096
    path.write_bytes(data[:middle] + (b"" if damage == "cut" else os.urandom(8192) + data[middle + 8192 :]))
    for _ in range(2):
        with pytest.raises(DataLossError, match="is damaged") as caught:
            SqliteStore.open(directory)
        assert str(path) in str(caught.value)


async def test_damage_that_start_up_did_not_look_for_is_told_on_reading(directory) -> None:
    uid = await filled(directory)
    path = directory / "log.db"
    data = path.read_bytes()
    places = [i for i in range(0, len(data), 4096) if data[i : i + 4096].count(b"x") > 2_000]
    path.write_bytes(b"".join(b"\xff" * 4096 if i in places else data[i : i + 4096] for i in range(0, len(data), 4096)))
    store = SqliteStore.open(directory, SqliteOptions(verify_bytes=0))
    with pytest.raises(DataLossError):
        await store.read(uid, 0, 1 << 20)
    await store.close()


@pytest.mark.parametrize("damage", ["overwritten", "cut", "not a database", "gone"])
async def test_damaged_views_are_replaced(directory, damage, caplog) -> None:
    uid = await filled(directory)
    path = directory / "views.db"
    data = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        start = 0 if damage == "not a database" else 8192
        path.write_bytes(data[:start] + (b"" if damage == "cut" else os.urandom(65536) + data[start + 65536 :]))
    with caplog.at_level(logging.WARNING):
        store = SqliteStore.open(directory)
    assert ("the snapshots are lost" in caplog.text) == (damage != "gone")
    assert (await store.load(uid)).snapshot is None
    assert len(await store.scan(uid, 0, 1000)) == 200
    await store.save(uid, Snapshot(seq=2, meta=b"", blobs={"a": b"again"}))
    assert (await store.load(uid)).snapshot.blobs == {"a": b"again"}
    await store.close()


async def test_snapshots_of_no_tenant_are_dropped(directory) -> None:
    await filled(directory)
    (directory / "log.db").unlink()
    store = SqliteStore.open(directory)
    assert await store.seqs() == {}
    await store.close()


@pytest.mark.parametrize("kind", ["file", "below a file"])
def test_a_path_that_is_no_directory(tmp_path, kind) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(UnavailableError, match="cannot be used"):
        SqliteStore.open(tmp_path / "data" / "below" if kind == "below a file" else tmp_path / "data")


async def test_a_directory_taken_away_is_noticed(directory) -> None:
    store = SqliteStore.open(directory)
    (directory / "log.db").rename(directory / "elsewhere.db")
    with pytest.raises(UnavailableError) as caught:
        await store.check()
    assert caught.value.reason == "DATA_DIRECTORY_LOST"
    (directory / "elsewhere.db").rename(directory / "log.db")
    await store.check()
    await store.close()


async def test_an_empty_tenant_takes_little(directory) -> None:
    store = SqliteStore.open(directory)
    config = bytes(300)
    await asyncio.gather(*(store.create_tenant(f"tenant-{i}", config, config, f"request-{i}") for i in range(1_000)))
    await store.close()
    assert sum(path.stat().st_size for path in directory.iterdir()) / 1_000 <= 16 * 1024


async def test_the_log_of_a_version_without_credentials_gets_their_table(directory) -> None:
    uid = await filled(directory)
    execute(directory / "log.db", "DROP TABLE credentials", "DELETE FROM meta WHERE name = 'credentials_version'")
    store = SqliteStore.open(directory)
    assert await store.credentials() == (0, {})
    assert await store.change_credentials(0, {"id": b"body"}) == 1
    assert await store.head(uid) == 2, "and what it has stays"
    await store.close()
    store = SqliteStore.open(directory)
    assert await store.credentials() == (1, {"id": b"body"})
    await store.close()

"""Damaged snapshots: the older generation is loaded, what is wrong is said, and the next save repairs it."""

import sqlite3

import pytest

from memsvc.errors import FailedPreconditionError
from memsvc.store.sqlite import SqliteStore
from memsvc.store.types import Snapshot

SHARED = b"shared" * 1_000


def generation(seq: int, **changes) -> Snapshot:
    blobs = {"shared": SHARED, f"own{seq}": b"own %d" % seq * 1_000, **changes}
    return Snapshot(seq=seq, meta=b"meta %d" % seq, blobs=blobs)


CHUNK_OF = "(SELECT chunk FROM blobs WHERE name = '{}')"
MANIFEST_OF = "(SELECT manifest FROM snapshots WHERE seq = {})"
FLIP = "UPDATE chunks SET data = CAST(substr(data, 1, 50) || x'00' || substr(data, 52) AS BLOB) WHERE no = "


@pytest.fixture
async def uid(tmp_path) -> str:
    """Two generations in a closed store."""
    store = SqliteStore.open(tmp_path)
    tenant = await store.create_tenant("tenant", b"", b"", "")
    await store.save(tenant.uid, generation(3))
    await store.save(tenant.uid, generation(5, shared=None))
    await store.close()
    return tenant.uid


def damage(directory, statement: str) -> None:
    connection = sqlite3.connect(directory / "views.db")
    assert connection.execute(statement).rowcount == 1
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        (FLIP + CHUNK_OF.format("own5"), "blob own5"),
        (f"UPDATE chunks SET data = x'' WHERE no = {CHUNK_OF.format('own5')}", "blob own5"),
        (f"DELETE FROM chunks WHERE no = {CHUNK_OF.format('own5')}", "blob own5 is missing"),
        ("DELETE FROM blobs WHERE name = 'own5'", "blob own5 is missing"),
        (FLIP + MANIFEST_OF.format(5), "its manifest"),
        (f"UPDATE chunks SET data = x'' WHERE no = {MANIFEST_OF.format(5)}", "its manifest"),
        (f"DELETE FROM chunks WHERE no = {MANIFEST_OF.format(5)}", "its manifest is missing"),
    ],
)
async def test_the_older_generation_is_loaded_and_the_damage_told(tmp_path, uid, statement, said) -> None:
    damage(tmp_path, statement)
    store = SqliteStore.open(tmp_path)
    loaded = await store.load(uid)
    assert loaded.snapshot == generation(3)
    (corrupt,) = loaded.corrupt
    assert corrupt.startswith("the snapshot at seq 5: ")
    assert said in corrupt
    assert await store.seqs() == {uid: 3}, "what is corrupt is dropped"
    await store.save(uid, generation(5, shared=None))
    loaded = await store.load(uid)
    assert (loaded.snapshot, loaded.corrupt) == (generation(5), ())
    await store.close()


async def test_a_manifest_of_another_snapshot_is_no_manifest(tmp_path, uid) -> None:
    damage(tmp_path, f"UPDATE snapshots SET manifest = {MANIFEST_OF.format(3)} WHERE seq = 5")
    store = SqliteStore.open(tmp_path)
    loaded = await store.load(uid)
    assert loaded.snapshot == generation(3)
    assert "another snapshot's" in loaded.corrupt[0]
    await store.close()


async def test_damage_to_what_both_share_leaves_none(tmp_path, uid) -> None:
    damage(tmp_path, FLIP + CHUNK_OF.format("shared"))
    store = SqliteStore.open(tmp_path)
    loaded = await store.load(uid)
    assert loaded.snapshot is None
    assert [text.split(":")[0] for text in loaded.corrupt] == ["the snapshot at seq 5", "the snapshot at seq 3"]
    with pytest.raises(FailedPreconditionError) as caught:
        await store.save(uid, generation(6, shared=None))
    assert caught.value.reason == "BLOB_MISSING"
    await store.save(uid, generation(6))  # made anew from the log, the same name is written again
    loaded = await store.load(uid)
    assert (loaded.snapshot, loaded.corrupt) == (generation(6), ())
    await store.close()


async def test_a_damaged_older_generation_goes_unnoticed_until_it_is_needed(tmp_path, uid) -> None:
    damage(tmp_path, FLIP + MANIFEST_OF.format(3))
    store = SqliteStore.open(tmp_path)
    loaded = await store.load(uid)
    assert (loaded.snapshot, loaded.corrupt) == (generation(5), ())
    await store.save(uid, generation(8, shared=None))
    assert (await store.load(uid)).snapshot == generation(8)
    await store.close()


async def test_a_damaged_page_is_damage_of_its_snapshot_alone(tmp_path, uid) -> None:
    path = tmp_path / "views.db"
    store = SqliteStore.open(tmp_path)
    data = path.read_bytes()
    page = next(i for i in range(0, len(data), 4096) if b"own 5own 5" in data[i : i + 4096])
    with path.open("r+b") as file:
        file.seek(page)
        file.write(b"\xff" * 4)  # the number of the overflow page that follows
    loaded = await store.load(uid)
    assert loaded.snapshot == generation(3)
    assert len(loaded.corrupt) == 1
    await store.close()

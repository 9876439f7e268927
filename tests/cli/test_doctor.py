"""`memsvc doctor`: what it says of a sound store, of a weak one, and of none; and that it changes nothing."""

import asyncio
import json
import sqlite3

import pytest

from memsvc.store.redis.store import RedisOptions, RedisStore
from memsvc.store.redis.url import connect, parse
from memsvc.store.sqlite import SqliteStore, doctor
from memsvc.store.sqlite.schema import FORMAT
from tests.redis_server import LOOPBACK, RedisServer, RedisUser, free_port


def findings(ran) -> dict[str, dict]:
    """What was found, by name."""
    return {finding["name"]: finding for finding in ran.json["findings"]}


# --- a data directory -------------------------------------------------------------------------------------------------


@pytest.fixture
def data(tmp_path):
    """A data directory with two tenants, not in use."""
    directory = tmp_path / "data"

    async def fill() -> None:
        store = SqliteStore.open(directory)
        for name in ("ada", "eve"):
            await store.create_tenant(name, b"", b"", "")
        await store.close()

    asyncio.run(fill())
    return directory


def test_a_sound_directory_is_called_sound(data, memsvc) -> None:
    names = [path.name for path in data.iterdir()]
    ran = memsvc("doctor", "--store", data, "--json")
    assert ran.code == 0
    assert ran.json["ok"] is True
    found = {name: finding["found"] for name, finding in findings(ran).items()}
    assert found["in use by"] == "no process"
    assert found["log.db format"] == str(FORMAT)
    assert found["log.db contents"] == found["views.db contents"] == "ok"
    assert found["tenants"] == "2"
    assert sorted(path.name for path in data.iterdir()) == sorted(names), "it leaves nothing behind"
    assert "WEAK" not in memsvc("doctor", "--store", data).out


def test_a_directory_in_use_is_looked_at_all_the_same(data, memsvc) -> None:
    async def look() -> tuple:
        store = SqliteStore.open(data)
        ran = await asyncio.to_thread(memsvc, "doctor", "--store", data, "--json")
        await store.create_tenant("eli", b"", b"", "")
        await store.close()
        return ran

    ran = asyncio.run(look())
    assert ran.code == 0
    assert findings(ran)["in use by"]["found"].startswith("process ")


def test_a_damaged_log_is_found(data, memsvc) -> None:
    raw = bytearray((data / "log.db").read_bytes())
    raw[4096:] = b"\xa5" * (len(raw) - 4096)
    (data / "log.db").write_bytes(raw)
    before = {path.name: path.read_bytes() for path in data.glob("*.db")}
    ran = memsvc("doctor", "--store", data, "--json")
    assert ran.code == 1
    assert ran.json["ok"] is False
    assert findings(ran)["log.db contents"]["advice"] == "restore the data directory from a backup"
    assert findings(ran)["views.db contents"]["ok"] is True
    assert {path.name: path.read_bytes() for path in data.glob("*.db")} == before, "it changes nothing"


def test_what_cannot_be_read_is_not_called_damaged(data, memsvc) -> None:
    (data / "views.db").unlink()
    (data / "views.db").mkdir()
    ran = memsvc("doctor", "--store", data, "--json")
    assert ran.code == 1
    assert findings(ran)["views.db contents"]["advice"] == "look at it as the user that the server runs as"
    (data / "lock").unlink()
    (data / "lock").symlink_to(data / "lock")
    assert "cannot be read: Too many levels of symbolic links" in memsvc("doctor", "--store", data).err


def test_a_lost_log_is_found_and_lost_views_are_no_harm(data, memsvc) -> None:
    (data / "views.db").unlink()
    assert memsvc("doctor", "--store", data).code == 0
    assert memsvc("doctor", "--store", data).code == 0
    (data / "log.db").rename(data / "views.db")
    ran = memsvc("doctor", "--store", data)
    assert ran.code == 1
    assert "not there" in ran.out


@pytest.mark.parametrize(
    ("pragma", "said"), [(f"user_version = {FORMAT + 1}", "use a newer one"), ("application_id = 7", "of its own")]
)
def test_a_database_that_we_cannot_read_is_told(data, memsvc, pragma, said) -> None:
    connection = sqlite3.connect(data / "log.db")
    connection.execute(f"PRAGMA {pragma}")
    connection.close()
    ran = memsvc("doctor", "--store", data, "--json")
    assert ran.code == 1
    assert said in findings(ran)["log.db format"]["advice"]


def test_little_room_and_a_long_wal_are_told(data, memsvc, monkeypatch) -> None:
    monkeypatch.setattr(doctor, "LITTLE_ROOM_BYTES", 1 << 62)
    monkeypatch.setattr(doctor, "LONG_WAL_BYTES", 0)
    weak = {
        name for name, finding in findings(memsvc("doctor", "--store", data, "--json")).items() if not finding["ok"]
    }
    assert weak == {"free on its disk", "log.db-wal bytes", "views.db-wal bytes"}


def test_a_directory_that_is_not_there_is_not_made(tmp_path, memsvc, monkeypatch) -> None:
    ran = memsvc("doctor", "--store", tmp_path / "none")
    assert (ran.code, ran.err) == (2, f"error: store: there is no directory {tmp_path / 'none'}\n")
    assert not (tmp_path / "none").exists()
    monkeypatch.setenv("MEMSVC_DATA", str(tmp_path / "other"))
    assert str(tmp_path / "other") in memsvc("doctor").err
    (tmp_path / "other").mkdir()
    assert memsvc("doctor").code == 0
    assert list((tmp_path / "other").iterdir()) == []


# --- Redis ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def server(tmp_path):
    with RedisServer(tmp_path / "redis") as server:
        yield server


def test_a_sound_redis_without_a_deployment_is_called_sound(server, memsvc) -> None:
    ran = memsvc("doctor", "--store", server.url, "--json")
    assert ran.code == 0
    assert findings(ran)["deployment"]["found"] == "none"
    assert b"$-1" in server.command("RANDOMKEY"), "it changes nothing"


async def test_a_deployment_is_shown_with_its_owners(server, memsvc) -> None:
    options = RedisOptions(address="here:50051", shards=4)
    store = await RedisStore.open(parse(server.url), options)
    for name in ("ada", "eve", "eli"):
        await store.create_tenant(name, b"", b"", "")
    ran = await asyncio.to_thread(memsvc, "doctor", "--store", server.url, "--json")
    plain = await asyncio.to_thread(memsvc, "doctor", "--store", server.url)
    await store.close()
    assert ran.code == plain.code == 0
    assert ran.json["members"] == ["here:50051"]
    assert [(shard["shard"], shard["owner"]) for shard in ran.json["shards"]] == [(n, "here:50051") for n in range(4)]
    assert sum(shard["tenants"] for shard in ran.json["shards"]) == 3
    assert findings(ran)["format"]["found"] == "1"
    assert findings(ran)["shards without an owner"]["found"] == "0 of 4"
    assert plain.out.count("here:50051") == 5, "once for each shard, and as a member; never with its token"
    closed = await asyncio.to_thread(memsvc, "doctor", "--store", server.url, "--json")
    assert closed.code == 0
    assert closed.json["members"] == []
    assert findings(closed)["shards without an owner"]["found"] == "4 of 4"


async def test_what_is_unfinished_is_told(server, memsvc) -> None:
    connection = connect(parse(server.url), "bulk")
    await connection.hset("memsvc:meta", mapping={"format": 1, "shards": 2})
    await connection.set("memsvc:{1}:lease", "gone:1 token")
    await connection.sadd("memsvc:{1}:erasing", "0001aa-7", "0001aa-9")
    await connection.sadd("memsvc:{0}:condemned", "0000bb")
    await connection.aclose()
    ran = await asyncio.to_thread(memsvc, "doctor", "--store", server.url, "--json")
    assert ran.code == 0, "a server goes on with it by itself"
    found = findings(ran)
    assert found["erasures not done"]["found"] == "2"
    assert found["deleted tenants not wholly gone"]["found"] == "1"
    assert found["owners that give no sign of life"]["found"] == "gone:1"


@pytest.mark.parametrize("meta", [{"format": 2, "shards": 4}, {"shards": 4}, {"format": "x"}])
async def test_a_format_that_we_cannot_read_is_told(server, memsvc, meta) -> None:
    connection = connect(parse(server.url), "bulk")
    await connection.hset("memsvc:meta", mapping=meta)
    await connection.aclose()
    ran = await asyncio.to_thread(memsvc, "doctor", "--store", server.url, "--json")
    assert ran.code == 1
    assert findings(ran)["format"]["ok"] is False
    assert ran.json["shards"] == []


def test_a_weak_redis_is_called_weak_and_the_cure_is_told(tmp_path, memsvc) -> None:
    with RedisServer(tmp_path / "redis", appendfsync="everysec") as server:
        ran = memsvc("doctor", "--store", server.url)
        assert ran.code == 1
        assert "WEAK" in ran.out
        assert "CONFIG SET appendfsync always" in " ".join(ran.out.split())
        ran = memsvc("doctor", "--store", server.url, "--json")
        assert [name for name, finding in findings(ran).items() if not finding["ok"]] == ["appendfsync"]


def test_no_output_holds_a_password(tmp_path, memsvc, monkeypatch) -> None:
    with RedisUser(tmp_path / "redis") as server:
        monkeypatch.setenv("MEMSVC_STORE", server.url)
        ran = memsvc("doctor", "--json")
        assert ran.code == 0
        assert ran.json["store"] == f"redis://memsvc:***@{LOOPBACK}:{server.port}"
        wrong = memsvc("doctor", "--store", f"redis://memsvc:hunter2@{LOOPBACK}:{server.port}")
    assert wrong.code == 3
    assert "invalid username-password pair" in wrong.err
    refused = memsvc("doctor", "--store", "redis://memsvc:hun/ter2@db")
    assert refused.code == 2
    for said in (json.dumps(ran.json), wrong.err, wrong.out, refused.err):
        assert "honour" not in said
        assert "hun" not in said


def test_a_redis_that_does_not_answer_is_told(memsvc) -> None:
    ran = memsvc("doctor", "--store", f"redis://{LOOPBACK}:{free_port()}")
    assert ran.code == 3
    assert "Redis cannot serve now" in ran.err

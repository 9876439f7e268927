"""Redis's files: deleted words are in none once they are written anew, and a twin shows that the scan finds them."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator

import pytest

from memsvc.store.redis.files import Files
from memsvc.store.redis.url import Connection, connect, parse
from tests.redis_server import RedisCluster, RedisServer, RedisUser

WORD = b"platypus-42"
SLOW_KEYS = 20


def words_in(server: RedisServer) -> int:
    """How many files hold the word."""
    return sum(WORD in path.read_bytes() for path in server.directory.rglob("*") if path.is_file())


@pytest.fixture
def server(request, tmp_path) -> Iterator[RedisServer]:
    """With the options that a test asks for; files hold what they hold uncompressed."""
    with RedisServer(tmp_path / "redis", rdbcompression="no", **getattr(request, "param", {})) as server:
        yield server


with_dumps = pytest.mark.parametrize("server", [{}, {"save": "3600 1"}], indirect=True, ids=["aof", "aof and rdb"])


async def slow_down(connection: Connection, us: int = 30_000) -> None:
    """Let every key take so long to be written to a file."""
    await connection.config_set("rdb-key-save-delay", us)


async def plant(connection: Connection) -> None:
    await connection.set("kept", b"x" * 1000)
    for number in range(SLOW_KEYS):
        await connection.set(f"filler{number}", b"")
    await connection.set("text", WORD)


async def counted(connection: Connection, field: str) -> int:
    return int((await connection.info("persistence"))[field])


@with_dumps
async def test_a_deleted_word_is_in_no_file_once_they_are_written_anew(server, connection) -> None:
    await plant(connection)
    if server.options["save"] != '""':
        await connection.save()
    await connection.delete("text")
    assert words_in(server) >= 1, "the twin: else the scan shows nothing"
    assert await Files(connection).rewrite()
    assert words_in(server) == 0
    assert await connection.get("kept") == b"x" * 1000
    server.kill()
    server.start()
    assert server.command("GET", "kept").endswith(b"x\r\n"), "and Redis starts from them"


async def test_a_dump_that_someone_took_is_written_anew_too(server, connection) -> None:
    await plant(connection)
    await connection.save()
    await connection.delete("text")
    assert await Files(connection).rewrite()
    assert words_in(server) == 0


@pytest.mark.parametrize("command", ["BGREWRITEAOF", "BGSAVE"])
async def test_what_was_under_way_before_does_not_count(server, connection, command) -> None:
    await plant(connection)
    await slow_down(connection)
    await connection.execute_command(command)
    await connection.delete("text")
    assert await counted(connection, "aof_rewrite_in_progress") + await counted(connection, "rdb_bgsave_in_progress")
    assert await Files(connection).rewrite()
    assert words_in(server) == 0


async def test_callers_share_a_rewrite_and_who_comes_later_the_next(server, connection) -> None:
    await plant(connection)
    await slow_down(connection)
    files = Files(connection)
    first = [asyncio.create_task(files.rewrite()) for _ in range(10)]
    while not await counted(connection, "aof_rewrite_in_progress"):
        pass
    await connection.delete("text")
    later = [asyncio.create_task(files.rewrite()) for _ in range(10)]
    assert all(await asyncio.gather(*first))
    assert not any(task.done() for task in later)
    assert all(await asyncio.gather(*later))
    assert words_in(server) == 0
    assert await counted(connection, "aof_rewrites") == 2
    assert await files.rewrite()
    assert await counted(connection, "aof_rewrites") == 3


async def test_a_caller_that_goes_away_takes_the_rewrite_from_nobody(server, connection) -> None:
    await plant(connection)
    await connection.delete("text")
    files = Files(connection)
    gone, stays = (asyncio.create_task(files.rewrite()) for _ in range(2))
    await asyncio.sleep(0)
    gone.cancel()
    assert await stays
    assert words_in(server) == 0


@pytest.fixture
async def user(request, tmp_path) -> AsyncIterator[Connection]:
    """A connection as a user with these rules."""
    with RedisUser(tmp_path / "redis", rules=request.param) as server:
        connection = connect(parse(server.url), "bulk")
        yield connection
        await connection.aclose()


@pytest.mark.parametrize("user", ["~* &* +@all -bgrewriteaof", "~* &* +@all -info"], indirect=True)
async def test_where_the_user_may_not_it_is_said(user) -> None:
    assert await Files(user).rewrite() is False


@pytest.mark.parametrize(
    ("user", "did"),
    [("~* &* +@all -config", True), ("~* &* +@all -config -bgsave", False)],
    indirect=["user"],
)
async def test_where_nobody_tells_whether_there_are_dumps_one_is_written(user, did) -> None:
    assert await Files(user).rewrite() is did
    assert await counted(user, "rdb_saves") == did


@pytest.mark.parametrize("server", [{"rename_command": 'BGREWRITEAOF ""'}], indirect=True)
async def test_where_the_command_is_renamed_it_is_said(server, connection) -> None:
    assert await Files(connection).rewrite() is False


async def test_where_the_disk_takes_nothing_it_is_said(server, connection) -> None:
    shutil.rmtree(server.directory)
    assert await Files(connection).rewrite() is False


@pytest.mark.parametrize("server", [{"save": "3600 1"}], indirect=True)
async def test_where_only_the_dump_fails_it_is_said(server, connection) -> None:
    await connection.set("text", WORD)
    (server.directory / "dump.rdb").mkdir()
    (server.directory / "dump.rdb" / "in the way").touch()
    assert await Files(connection).rewrite() is False
    assert await counted(connection, "aof_rewrites") == 1


@pytest.mark.parametrize("server", [{"appendonly": "no", "save": "3600 1"}], indirect=True)
async def test_without_an_append_only_file_the_dump_is_written_anew(server, connection) -> None:
    await plant(connection)
    await connection.save()
    await connection.delete("text")
    assert words_in(server) == 1
    assert await Files(connection).rewrite()
    assert words_in(server) == 0
    assert await counted(connection, "aof_rewrites") == 0, "none is made where there is none: Redis would start from it"


async def test_a_crash_in_between_is_no_success(server, connection) -> None:
    await plant(connection)
    await slow_down(connection, 200_000)
    files = Files(connection)
    rewriting = asyncio.create_task(files.rewrite())
    while not await counted(connection, "aof_rewrite_in_progress"):
        pass
    server.kill()
    server.start()
    assert await rewriting is False
    assert await files.rewrite()


async def test_patience_has_an_end(server, connection) -> None:
    await plant(connection)
    await slow_down(connection, 1_000_000)
    files = Files(connection, patience_s=0.2)
    assert await files.rewrite() is False
    again = asyncio.create_task(files.rewrite())
    await asyncio.sleep(0)
    await files.close()
    with pytest.raises(asyncio.CancelledError):
        await again


async def test_every_primary_of_a_cluster_writes_its_files_anew(tmp_path) -> None:
    with RedisCluster(tmp_path / "redis", rdbcompression="no") as server:
        connection = connect(parse(server.url), "bulk")
        await connection.set("text", WORD)
        await connection.delete("text")
        assert words_in(server) == 1
        assert await Files(connection).rewrite()
        assert words_in(server) == 0
        await connection.aclose()

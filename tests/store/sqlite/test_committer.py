"""The committer: groups, and what happens to them; the checkpointer beside it."""

import asyncio
import sqlite3
import threading
from functools import partial

import pytest

from memsvc.errors import DataLossError, NotFoundError, UnavailableError
from memsvc.store.sqlite import SqliteOptions, SqliteStore
from memsvc.store.sqlite.checkpoint import Checkpointer
from memsvc.store.sqlite.committer import GROUP_BYTES, GROUP_OPERATIONS, Committer
from memsvc.store.sqlite.database import connect
from memsvc.store.sqlite.schema import LOG
from memsvc.store.types import RecordKind
from tests.conformance.stores import payload, write


class Bench:
    """A committer on a table of its own, that can be held, and the statements that it ran."""

    def __init__(self, path) -> None:
        connection = connect(path, LOG)
        connection.execute("PRAGMA journal_mode = WAL").fetchall()
        connection.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b)")
        self.statements: list[str] = []
        connection.set_trace_callback(self.statements.append)
        self.connection = connection
        self.checkpointer = Checkpointer(connect(path, LOG))
        self.committer = Committer(connection, self.checkpointer)

    async def together(self, *operations, sizes=None, alone=()) -> list:
        """Hand over all the operations before the committer takes any of them; what each returned or raised."""
        reached, let_go = threading.Event(), threading.Event()
        blocker = asyncio.create_task(self.committer.run(lambda _: (reached.set(), let_go.wait()), alone=True))
        await asyncio.to_thread(reached.wait)
        self.statements.clear()
        tasks = [
            asyncio.create_task(self.committer.run(f, size=sizes[i] if sizes else 0, alone=i in alone))
            for i, f in enumerate(operations)
        ]
        await asyncio.sleep(0)
        let_go.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        await blocker
        return results

    @property
    def commits(self) -> int:
        return self.statements.count("COMMIT")

    def rows(self) -> list[int]:
        return [a for (a,) in self.connection.execute("SELECT a FROM t ORDER BY a").fetchall()]


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path / "t.db")
    yield bench
    bench.committer.close()
    bench.checkpointer.close()


def insert(a: int, connection: sqlite3.Connection) -> int:
    connection.execute("INSERT INTO t VALUES (?, ?)", (a, a))
    return a


def fail(error: Exception, connection: sqlite3.Connection) -> None:
    insert(-1, connection)
    raise error


async def test_what_waits_is_one_commit(bench) -> None:
    results = await bench.together(*(partial(insert, i) for i in range(100)))
    assert results == list(range(100))
    assert bench.commits == 1
    assert bench.rows() == list(range(100))


async def test_a_group_is_bounded(bench) -> None:
    await bench.together(*(partial(insert, i) for i in range(GROUP_OPERATIONS + 1)))
    assert bench.commits == 2
    third = GROUP_BYTES // 3
    await bench.together(*(partial(insert, 10_000 + i) for i in range(7)), sizes=[third] * 6 + [2 * GROUP_BYTES])
    assert bench.commits == 3, "three, three, and one that is larger than any group"


@pytest.mark.parametrize("error", [NotFoundError("no such tenant"), RuntimeError("a bug")])
async def test_an_operation_that_fails_undoes_itself_alone(bench, error) -> None:
    results = await bench.together(partial(insert, 1), partial(fail, error), partial(insert, 2))
    assert results == [1, error, 2]
    assert bench.rows() == [1, 2]
    assert bench.commits == 1


async def test_an_error_of_the_database_undoes_the_group(bench) -> None:
    full = sqlite3.OperationalError("database or disk is full")
    full.sqlite_errorname = "SQLITE_FULL"
    results = await bench.together(partial(insert, 1), partial(fail, full), partial(insert, 2))
    assert [type(r) for r in results] == [UnavailableError] * 3
    assert {r.reason for r in results} == {"STORE_FULL"}
    assert len(set(map(id, results))) == 3, "an error of its own for each caller"
    assert bench.rows() == []
    assert await bench.committer.run(partial(insert, 3)) == 3
    assert bench.rows() == [3]


async def test_damage_is_told_apart(bench) -> None:
    damage = sqlite3.DatabaseError("database disk image is malformed")
    damage.sqlite_errorname = "SQLITE_CORRUPT_INDEX"
    (result,) = await bench.together(partial(fail, damage))
    assert isinstance(result, DataLossError)


async def test_an_operation_may_ask_for_no_transaction(bench) -> None:
    def in_transaction(connection: sqlite3.Connection) -> bool:
        return connection.in_transaction

    results = await bench.together(*[in_transaction] * 3, alone={1})
    assert results == [True, False, True]
    assert bench.commits == 2
    with pytest.raises(ZeroDivisionError):
        await bench.committer.run(lambda _: 1 / 0, alone=True)
    assert await bench.committer.run(partial(insert, 1)) == 1


async def test_callers_on_several_loops_are_all_answered(tmp_path) -> None:
    store = SqliteStore.open(tmp_path)
    tenant = await store.create_tenant("tenant", b"", b"", "")

    def own_loop(name: str) -> int:
        return len(asyncio.run(write_ten(name)))

    async def write_ten(name: str) -> list:
        return await asyncio.gather(*(write(store, tenant.uid, payload(f"{name}{i}")) for i in range(10)))

    assert await asyncio.gather(*(asyncio.to_thread(own_loop, name) for name in "abc")) == [10, 10, 10]
    assert await store.head(tenant.uid) == 31
    await store.close()


async def test_the_write_ahead_log_stays_short(tmp_path) -> None:
    store = SqliteStore.open(tmp_path, SqliteOptions(checkpoint_bytes=250_000))
    tenant = await store.create_tenant("tenant", b"", b"", "")
    longest = 0
    for i in range(60):
        await asyncio.gather(*(write(store, tenant.uid, payload(f"{i}-{j}", "x" * 3_000)) for j in range(20)))
        await store.read(tenant.uid, i, 100_000)
        longest = max(longest, (tmp_path / "log.db-wal").stat().st_size)
    assert (tmp_path / "log.db").stat().st_size > 3_600_000
    assert longest < 2_500_000
    await store.close()


async def test_the_store_is_not_for_one_kind_of_record(tmp_path) -> None:
    store = SqliteStore.open(tmp_path)
    tenant = await store.create_tenant("tenant", b"", b"", "")
    for kind in RecordKind:
        await store.append(tenant.uid, kind, bytes([kind]))
    assert [(r.kind, r.body) for r in (await store.read(tenant.uid, 1, 1 << 20))] == [
        (k, bytes([k])) for k in RecordKind
    ]
    await store.close()

"""The log's committer: one thread, one connection, many operations in each commit."""

import asyncio
import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple, TypeVar

from memsvc.errors import MemsvcError
from memsvc.failpoints import hit
from memsvc.store.sqlite.checkpoint import Checkpointer
from memsvc.store.sqlite.faults import closed, translate

T = TypeVar("T")

GROUP_OPERATIONS = 1024
GROUP_BYTES = 8 * 1024 * 1024
"""Most that one commit takes."""


class _Waiting(NamedTuple):
    operation: Callable[[sqlite3.Connection], Any]
    size: int
    alone: bool
    future: "asyncio.Future[Any]"


class _Outcome(NamedTuple):
    future: "asyncio.Future[Any]"
    result: Any
    error: Exception | None


class Committer:
    """Takes all that waits, commits it in one transaction, then answers every caller: durable before the answer.

    An operation that raises undoes itself alone. An error of SQLite, at the commit or before, undoes the whole group
    and is raised to every caller in it; the next group starts afresh. What entered the queue is committed even if its
    caller is cancelled.
    """

    def __init__(self, connection: sqlite3.Connection, checkpointer: Checkpointer) -> None:
        self._connection = connection
        self._checkpointer = checkpointer
        self._waiting: deque[_Waiting] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._serve, name="memsvc-committer", daemon=True)
        self._thread.start()

    async def run(self, operation: Callable[[sqlite3.Connection], T], *, size: int = 0, alone: bool = False) -> T:
        """Run an operation in a group's transaction and return its result once that is durable.

        Args:
            operation: called on the committer's thread.
            size: bytes that it writes, about.
            alone: run it between two groups, outside any transaction.

        Raises:
            MemsvcError: as the operation does, or SQLite's error in words.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        with self._changed:
            if self._closing:
                raise closed()
            self._waiting.append(_Waiting(operation, size, alone, future))
            self._changed.notify()
        result = await future
        hit("acknowledge.before")
        return result

    def close(self) -> None:
        """Commit all that waits, then close the connection. Blocks."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()
        self._connection.close()

    def _serve(self) -> None:
        while group := self._take():
            outcomes = self._alone(group[0]) if group[0].alone else self._commit(group)
            _answer(outcomes)
            self._checkpointer.committed(self._connection, len(group), sum(w.size for w in group))

    def _take(self) -> list[_Waiting]:
        """Wait for work and return a group of it; nothing once the committer is closed and the queue is empty."""
        with self._changed:
            while not self._waiting and not self._closing:
                self._changed.wait()
            group: list[_Waiting] = []
            size = 0
            while self._waiting and len(group) < GROUP_OPERATIONS:
                size += self._waiting[0].size
                if group and (size > GROUP_BYTES or self._waiting[0].alone):
                    break
                group.append(self._waiting.popleft())
                if group[0].alone:
                    break
            return group

    def _commit(self, group: list[_Waiting]) -> list[_Outcome]:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            outcomes = [self._apply(waiting) for waiting in group]
            hit("append.before")
            self._connection.execute("COMMIT")
            hit("append.after")
        except (sqlite3.Error, MemsvcError) as error:
            self._roll_back()
            return [
                _Outcome(w.future, None, translate(error) if isinstance(error, sqlite3.Error) else error) for w in group
            ]
        return outcomes

    def _apply(self, waiting: _Waiting) -> _Outcome:
        self._connection.execute("SAVEPOINT operation")
        try:
            outcome = _Outcome(waiting.future, waiting.operation(self._connection), None)
        except sqlite3.Error:
            raise
        except Exception as error:
            self._connection.execute("ROLLBACK TO operation")
            outcome = _Outcome(waiting.future, None, error)
        self._connection.execute("RELEASE operation")
        return outcome

    def _alone(self, waiting: _Waiting) -> list[_Outcome]:
        try:
            return [_Outcome(waiting.future, waiting.operation(self._connection), None)]
        except sqlite3.Error as error:
            self._roll_back()
            return [_Outcome(waiting.future, None, translate(error))]
        except Exception as error:
            return [_Outcome(waiting.future, None, error)]

    def _roll_back(self) -> None:
        # SQLite has rolled back by itself after some errors; after the rest a failing ROLLBACK changes nothing on disk.
        with suppress(sqlite3.Error):
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")


def _answer(outcomes: list[_Outcome]) -> None:
    """Wake each event loop once for all its callers."""
    loops: dict[asyncio.AbstractEventLoop, list[_Outcome]] = {}
    for outcome in outcomes:
        loops.setdefault(outcome.future.get_loop(), []).append(outcome)
    for loop, own in loops.items():
        with suppress(RuntimeError):  # the loop was closed: nobody waits any more
            loop.call_soon_threadsafe(partial(_resolve, own))


def _resolve(outcomes: list[_Outcome]) -> None:
    for future, result, error in outcomes:
        if future.done():  # its caller was cancelled
            continue
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

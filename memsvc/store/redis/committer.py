"""A shard's committer: the only one who writes its log. Many tenants' operations go in one call of one script.

    run ── queue ──> prepare: read what the operations want, call them ──> commit: one EVALSHA ──> answers

While one group is on its way, the next is prepared on top of it. Nothing is answered before it is durable, errors and
what was skipped included: they rest on what came before.
"""

import asyncio
import itertools
import logging
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from redis.exceptions import RedisError

from memsvc.errors import DataLossError, MemsvcError, UnavailableError
from memsvc.failpoints import hit
from memsvc.store.redis.commit import Commit
from memsvc.store.redis.faults import TROUBLE, UNANSWERED, translate
from memsvc.store.redis.fence import FencedError, NotOwnerError
from memsvc.store.redis.keys import ShardKeys
from memsvc.store.redis.transaction import Cell, Transaction, Unread, Value
from memsvc.store.redis.url import Connection
from memsvc.store.redis.wire import Wire

T = TypeVar("T")

log = logging.getLogger(__name__)

GROUP_OPERATIONS = 512
GROUP_BYTES = 1 << 20
"""Most that one commit takes: Redis does nothing else meanwhile."""
KNOWN_CELLS = 8192
"""Cells kept to save a look; the ends of logs for longer than the others."""
SMALL_BYTES = 512
"""A value larger than this is not kept."""
AGAIN_S = 0.05
"""Between two attempts to learn what became of a commit."""

_FINAL = frozenset({"STORE_UNKNOWN"})
"""After this nobody knows the last commit: the shard must be taken afresh."""


class _PresentError(Exception):
    """What an operation took for absent is there; nothing was written."""


class _Waiting(NamedTuple):
    operation: Callable[[Transaction], Any]
    size: int
    future: "asyncio.Future[Any]"
    presumes: bool = True
    """Whether it may take for absent what was not read."""


class _Answer(NamedTuple):
    waiting: _Waiting
    result: Any
    error: Exception | None


@dataclass(slots=True)
class _Group:
    """What is prepared, or on its way."""

    commit: Commit = field(default_factory=Commit)
    answers: list[_Answer] = field(default_factory=list)
    size: int = 0
    """Bytes that it writes, about."""

    def fail(self, error: Exception) -> None:
        """Answer everyone with an error."""
        _settle([answer._replace(result=None, error=error) for answer in self.answers])


def _settle(answers: Iterable[_Answer]) -> None:
    for (_, _, future, _), result, error in answers:
        if future.done():  # its caller is gone
            continue
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)
            future.exception()  # a caller that is gone never asks


class Place(NamedTuple):
    """Where a committer writes."""

    log: Wire
    reads: Connection
    keys: ShardKeys
    epoch: int
    """Of this owner."""
    clock_us: Callable[[], int]


class Committer:
    """Commits for one shard while this process owns it.

    Args:
        place: which shard.
        is_held: whether the shard is this process's for certain, by its own clock.
        lost: called once it is not any more.
    """

    def __init__(self, place: Place, is_held: Callable[[], bool], lost: Callable[[], None]) -> None:
        self._place, self._is_held, self._lost = place, is_held, lost
        self._known: dict[Cell, Value] = {}
        self._last = f"{place.epoch}-0"
        """The last commit, as whoever acquired the shard named it."""
        self._numbers = itertools.count(1)
        self._failure: MemsvcError | None = None
        # Every operation is in one of these, or on its way, until it is answered.
        self._waiting: deque[_Waiting] = deque()
        self._blocked: list[_Waiting] = []
        """Those whose cells are being read."""
        self._group = _Group()
        self._flight: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        """There is something to do: an operation came, or a group arrived."""
        self._task = asyncio.create_task(self._serve())

    async def run(self, operation: Callable[[Transaction], T], *, size: int = 0) -> T:
        """Run an operation and return its result once that is durable. What was taken in is committed all the same.

        Args:
            operation: called on the event loop, again until all is read that it asks for.
            size: bytes that it writes, about.

        Raises:
            MemsvcError: as the operation does.
            NotOwnerError: another process owns the shard.
            UnavailableError: Redis cannot be reached or cannot write; with the reason STORE_UNKNOWN it may have been
                written all the same.
        """
        if self._failure is not None:
            raise self._failure
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(operation, size, future))
        self._wake.set()
        return await future

    async def close(self) -> None:
        """Commit all that waits, then end. Who comes later is told to ask another process."""
        with suppress(MemsvcError):
            await self.run(_nothing)
        self._end(NotOwnerError())
        await asyncio.wait([self._task, *([self._flight] if self._flight else [])])

    # --- one group after another ----------------------------------------------------------------------------------

    async def _serve(self) -> None:
        try:
            while self._failure is None:
                if self._waiting and self._has_room():
                    await self._prepare()
                else:
                    self._wake.clear()
                    await self._wake.wait()
                if self._flight is None and self._group.answers and self._failure is None:
                    self._launch()
        except Exception:  # whatever that is: who waits would wait for ever
            log.exception("the committer of shard %d failed", self._place.keys.shard)
            told = "this process cannot write; its log says why; nothing was written"
            self._end(UnavailableError(told, reason="STORE_UNAVAILABLE"))

    def _has_room(self) -> bool:
        """Whether the group that is prepared takes more."""
        return len(self._group.answers) + len(self._blocked) < GROUP_OPERATIONS and self._group.size < GROUP_BYTES

    async def _prepare(self) -> None:
        """Call the operations that wait, each until it has read what it wants, and add to the group what they write."""
        wanted = set[Cell]()
        while self._waiting and self._has_room():
            wanted |= self._try(self._waiting[0])
            self._group.size += self._waiting.popleft().size
        while self._blocked:
            try:
                read = await self._read(sorted(wanted, key=str))
            except TROUBLE as error:
                _settle([_Answer(each, None, translate(error)) for each in self._blocked])
                self._blocked = []
                return
            # What an operation of this group has written meanwhile is newer than what is read.
            self._known = read | self._known
            again, self._blocked = self._blocked, []
            wanted = set[Cell]().union(*map(self._try, again))

    def _try(self, waiting: _Waiting) -> set[Cell]:
        """Call an operation; return what must be read first, if anything: then it is among those that are blocked."""
        try:
            self._apply(waiting)
        except Unread as unread:
            self._blocked.append(waiting)
            return unread.cells
        return set()

    def _apply(self, waiting: _Waiting) -> None:
        place = self._place
        tx = Transaction(place.keys, place.epoch, place.clock_us(), self._known, presumes=waiting.presumes)
        try:
            if not self._is_held():
                raise NotOwnerError
            answer = _Answer(waiting, waiting.operation(tx), None)
        except Unread:
            raise
        except Exception as error:
            if tx.presumed:  # no commit looks at what an error rests on
                raise Unread(set(tx.presumed)) from None
            answer = _Answer(waiting, None, error)
        else:
            self._known.update(tx.presumed)
            self._known.update(tx.changed)
            self._group.commit.add(tx)
        self._group.answers.append(answer)

    async def _read(self, cells: list[Cell]) -> dict[Cell, Value]:
        async with self._place.reads.pipeline(transaction=False) as pipe:
            for key, name in cells:
                if name is None:
                    pipe.get(key)
                else:
                    pipe.hget(key, name)
            return dict(zip(cells, await pipe.execute(), strict=True))

    def _launch(self) -> None:
        group, self._group = self._group, _Group()
        if len(self._known) > KNOWN_CELLS:
            keys = self._place.keys
            ends = {cell: value for cell, value in self._known.items() if cell[0] in {keys.rows, keys.heads}}
            self._known = (ends if len(ends) <= KNOWN_CELLS // 2 else {}) | group.commit.changed
        self._flight = asyncio.create_task(self._commit(group))

    # --- the commit -----------------------------------------------------------------------------------------------

    async def _commit(self, group: _Group) -> None:
        try:
            if group.commit:
                await self._send(group)
            hit("acknowledge.before")
        except _PresentError:
            self._again(group)
        except Exception as caught:
            error = caught
            if not isinstance(error, MemsvcError):  # whatever that is, nobody knows what became of the commit
                log.exception("a commit of shard %d failed", self._place.keys.shard)
                error = _unknown()
            # What is prepared rests on what was not written.
            group.fail(error)
            self._group.fail(error)
            self._group = _Group()
            self._known.clear()
            if not isinstance(error, UnavailableError) or isinstance(error, NotOwnerError) or error.reason in _FINAL:
                self._end(error)
        else:
            _settle(group.answers)
            for cell, value in group.commit.changed.items():
                if isinstance(value, bytes) and len(value) > SMALL_BYTES and cell not in self._group.commit.changed:
                    self._known.pop(cell, None)
        finally:
            self._flight = None
            self._wake.set()

    def _again(self, group: _Group) -> None:
        """Have a group's operations called again, and those that rest on them, each once all is read."""
        if self._failure is not None:
            group.fail(self._failure)
            return
        waiting = [answer.waiting for each in (group, self._group) for answer in each.answers]
        # Before whoever waits, who may rest on them.
        self._waiting.extendleft(reversed([*(each._replace(presumes=False) for each in waiting), *self._blocked]))
        self._blocked = []
        self._group = _Group()
        self._known.clear()

    async def _send(self, group: _Group) -> None:
        """Have writes applied, once, and be sure that they are.

        Raises:
            MemsvcError: they are not; or nobody knows, and this process may not try any longer.
            _PresentError: they are not, for what was taken for absent is there.
        """
        keys, packed = group.commit.packed((self._place.keys.epoch, self._place.keys.commit))
        # No two groups have one name, or the second might pass for the first, whose reply was lost.
        name = f"{self._place.epoch}-{next(self._numbers)}"
        sent = False
        while self._is_held():
            try:
                hit("append.before")
                answer = await self._place.log.call("commit", keys, [self._place.epoch, name, self._last, packed])
            except UNANSWERED as error:
                # Its reply may be all that was lost. Sent again, the script tells.
                log.warning("a commit of shard %d is tried again: %s", self._place.keys.shard, type(error).__name__)
                sent = True
                await asyncio.sleep(AGAIN_S)
                continue
            except RedisError as error:
                if str(error).startswith("TORN"):
                    log.error("a commit of shard %d broke off: %s", self._place.keys.shard, error)
                    raise _unknown("Redis broke off in the middle of it") from error
                if sent:  # what is refused now may have been done before
                    raise _unknown() from error
                raise translate(error) from error
            if answer in {b"OK", b"DONE"}:
                self._last = name
                hit("append.after")
                return
            if answer == b"PRESENT":
                raise _PresentError
            if answer == b"FENCED":
                if sent:  # it may have been done before the shard changed hands
                    raise _unknown()
                raise FencedError
            raise DataLossError(
                f"shard {self._place.keys.shard} of Redis is not as it was left: something else wrote to it"
            )
        if not sent:
            raise NotOwnerError
        raise _unknown()

    def _end(self, error: MemsvcError) -> None:
        """Take nothing any more, and answer everyone but those on their way."""
        if self._failure is not None:
            return
        self._failure = error
        self._group.fail(error)
        _settle([_Answer(each, None, error) for each in (*self._blocked, *self._waiting)])
        self._blocked = []
        self._waiting.clear()
        self._wake.set()
        self._lost()


def _nothing(_: Transaction) -> None:
    pass


def _unknown(why: str = "Redis did not answer in time") -> UnavailableError:
    return UnavailableError(
        f"{why}: the write may have been made or not; repeat it with the same ids", reason="STORE_UNKNOWN"
    )

"""Tenants as of past records: folds of a part of the log, behind live work, kept for the next question about them."""

import asyncio
import itertools
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

from memsvc.engine.opened import OpenTenant
from memsvc.engine.shielded import shielded
from memsvc.errors import MemsvcError, OutOfRangeError
from memsvc.store.base import Store

if TYPE_CHECKING:
    from memsvc.engine.engine import Engine

KEPT_VIEWS = 4
"""Past views of all tenants that are kept in memory, as long as they are asked."""
IDLE_S = 60.0
"""One that nobody asks for so long is let go."""


class Moment(NamedTuple):
    """A moment in a tenant's past: after a record, or after the last one committed by a time."""

    seq: int | None = None
    time_us: int | None = None
    """Microseconds since the epoch."""


class Past:
    """Past views, the least recently asked dropped first; those of a tenant all go when it forgets."""

    def __init__(self, engine: "Engine", store: Store) -> None:
        self._engine, self._store = engine, store
        self._views: OrderedDict[tuple[str, int], asyncio.Task[OpenTenant]] = OrderedDict()
        self._names = itertools.count()

    async def seq_of(self, tenant: OpenTenant, moment: Moment) -> int:
        """Return the seq of the last record that a moment counts.

        Raises:
            OutOfRangeError: it is beyond the log's head, or before the tenant was created.
        """
        head = tenant.head_seq
        if moment.seq is not None:
            seq = moment.seq
        else:
            seq = min(head, await self._store.seq_at(tenant.uid, moment.time_us or 0))
        if not 1 <= seq <= head:
            raise OutOfRangeError(f"as_of: the tenant's log goes from 1 to {head}", metadata={"head_seq": str(head)})
        return seq

    @asynccontextmanager
    async def using(self, tenant: OpenTenant, seq: int) -> AsyncIterator[OpenTenant]:
        """Hold a tenant's view as of a record, folded if it is not at hand; the fold goes on where a caller gives up.

        Raises:
            UnavailableError: the fold failed, or the tenant forgot something meanwhile; asking again folds afresh.
        """
        key = (tenant.uid, seq)
        task = self._views.get(key)
        if task is not None and task.done() and (task.exception() or task.result().failure):
            del self._views[key]
            task = None
        elif task is not None and task.done() and task.result().term != tenant.term:
            # Others owned the tenant meanwhile, and may have made it forget.
            await self._close([key])
            task = self._views.get(key)
        if task is None:
            task = self._views[key] = asyncio.create_task(self._open(tenant, seq))
        self._views.move_to_end(key)
        view = await asyncio.shield(task)
        view.users += 1
        try:
            await self._trim()
            await view.wait_applied(seq)
            yield view
        finally:
            view.users -= 1
            view.last_used = asyncio.get_running_loop().time()

    def progress(self, uid: str) -> tuple[int, int] | None:
        """Return the record up to which the fold last asked for is done, and the one that it goes to."""
        for (owner, seq), task in reversed(self._views.items()):
            if owner == uid and task.done() and not task.cancelled() and task.exception() is None:
                return task.result().applied_seq, seq
        return None

    async def drop(self, uid: str) -> None:
        """Let go of all past views of a tenant."""
        await self._close([key for key in self._views if key[0] == uid])

    async def let_go(self, idle_s: float = IDLE_S) -> None:
        """Let go of the views that nobody asked for so long."""
        before = asyncio.get_running_loop().time() - idle_s
        await self._close([key for key, task in self._idle() if task.result().last_used <= before])

    async def close(self) -> None:
        """Let go of all."""
        await self._close(list(self._views))

    async def _open(self, tenant: OpenTenant, seq: int) -> OpenTenant:
        pending = [e for e in await self._store.unfinished_erasures() if e.uid == tenant.uid]
        forgotten = frozenset(await self._engine.eraser.forgotten(tenant.uid, pending))
        view = OpenTenant(
            tenant.row,
            self._store,
            self._engine.thread,
            lambda view, size: None,
            shadow=f"~as-of-{next(self._names)}",
            without=forgotten,
            until=seq,
        )
        before = min([seq + 1, *(erasure.first_seq for erasure in pending)])
        await view.open(before, reserve=self._engine.residency.folding(view))
        return view

    async def _trim(self) -> None:
        surplus = max(0, len(self._views) - KEPT_VIEWS)
        await self._close([key for key, _ in self._idle()[:surplus]])

    def _idle(self) -> list[tuple[tuple[str, int], asyncio.Task[OpenTenant]]]:
        """The views that are open and that nobody uses, the least recently asked first."""
        return [
            (key, task)
            for key, task in self._views.items()
            if task.done() and not task.cancelled() and task.exception() is None and not task.result().users
        ]

    async def _close(self, keys: list[tuple[str, int]]) -> None:
        # All at once: whoever asks meanwhile folds afresh. To the end, though a caller leaves: nobody knows of them.
        await shielded(_end([self._views.pop(key) for key in keys if key in self._views]))


async def _end(tasks: list[asyncio.Task[OpenTenant]]) -> None:
    for task in tasks:
        with suppress(MemsvcError):
            await (await task).close()

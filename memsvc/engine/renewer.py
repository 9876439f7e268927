"""Snapshots that erasures destroyed are made again, without what was forgotten: the past is then as near as it was.

A courtesy: what a crash leaves undone stays undone, and asking such a past folds more of the log.
"""

import asyncio
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

from memsvc.engine.opened import OpenTenant
from memsvc.errors import NotFoundError
from memsvc.store.base import Store
from memsvc.store.types import Retention

if TYPE_CHECKING:
    from memsvc.engine.engine import Engine


class Renewer:
    """Makes snapshots of past records again, one tenant after another, behind live work."""

    def __init__(self, engine: "Engine", store: Store) -> None:
        self._engine, self._store = engine, store
        self._folding = asyncio.Lock()
        self._owed: dict[str, set[int]] = {}
        """By the tenant's uid, the records whose snapshots are to be made again."""

    async def renew(self, uid: str, seqs: Iterable[int]) -> None:
        """Fold a tenant's log up to each of these records in turn, and save it there, if its policies keep such.

        Only whoever carries out the tenant's erasures calls it, in between: what it saves while another erasure waits
        is destroyed by that one. It ends as soon as there is one, and the next call goes on.

        Raises:
            UnavailableError: the view failed, or the store cannot write; the next call goes on.
        """
        owed = self._owed.setdefault(uid, set())
        owed.update(seqs)
        try:
            async with self._folding:
                if owed:
                    await self._renew(uid, owed)
        except NotFoundError:  # it was deleted
            owed.clear()
        if not owed:
            del self._owed[uid]

    async def _renew(self, uid: str, owed: set[int]) -> None:
        async with self._engine.using(await self._engine.tenant_of(uid)) as tenant:
            if tenant.policies.retention is Retention.NONE:
                owed.clear()
                return
            first = min(owed)
            async with self._engine.shadow(tenant, before_seq=first, until=first) as shadow:
                for seq in sorted(owed):
                    shadow.fold_to(seq)
                    await shadow.wait_applied(seq)
                    if any(erasure.uid == uid for erasure in await self._store.unfinished_erasures()):
                        return
                    # What is destroyed since the shadow read it; what is from now on, the living view's next snapshot
                    # finds in this one, and drops it. That one thins them out, too.
                    async with tenant.saving:
                        await self._engine.thread.call(partial(_leave_out_lost, shadow, tenant))
                        await self._engine.keeper.snapshot(shadow, keep=Retention.ALL)
                        tenant.saved_seq = max(tenant.saved_seq, seq)
                    owed.discard(seq)


def _leave_out_lost(shadow: OpenTenant, living: OpenTenant) -> None:
    """On the thread: let a shadow's entries die that are destroyed."""
    view = shadow.attached()
    view.index.hide(living.attached().index.lost.tolist(), view.applied_seq)

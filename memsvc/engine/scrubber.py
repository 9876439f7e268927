"""Snapshots of tenants that nobody has open lose what was destroyed in their logs: it expired, or a crash came between.

A tenant that is open is the keeper's.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from memsvc.errors import MemsvcError, NotFoundError, UnavailableError
from memsvc.store.base import Store
from memsvc.store.types import Record, RecordKind

if TYPE_CHECKING:
    from memsvc.engine.engine import Engine

log = logging.getLogger(__name__)

RETRY_S, MOST_RETRY_S = 10.0, 600.0
"""A tenant that cannot be scrubbed is tried again so long after, and each time twice as long, up to the most."""
PAGE_ENTRIES = 32
"""Read at once, with their texts."""
ENDS = {RecordKind.UPDATE, RecordKind.DELETE, RecordKind.EXPIRE}


class Ended(NamedTuple):
    """Entries that are no more, by a record."""

    seq: int
    numbers: tuple[int, ...]


class Scrubber:
    """Opens, one after another, the tenants of which an entry without `learn` ended, and has them saved."""

    def __init__(self, engine: "Engine", store: Store) -> None:
        self._engine, self._store = engine, store
        self._ended: dict[str, list[Ended]] = {}
        """By the tenant's uid, what may have destroyed entries."""
        self._failed: dict[str, list[Ended]] = {}
        """The same, of those that are tried again later."""
        self._retry_s: dict[str, float] = {}
        """How long after, by uid."""
        self._names: dict[str, str] = {}
        """Tenants' ids by uid, of those that waited when one was looked for."""
        self._wanted = asyncio.Event()

    def ended(self, uid: str, record: Record) -> None:
        """Take note of a record of a tenant that is not open."""
        if record.kind not in ENDS:
            return
        ended = Ended(record.seq, record.about)
        if (failed := self._failed.get(uid)) is not None:
            failed.append(ended)
        else:
            self._want(uid, [ended])

    async def run(self) -> None:
        """Work, for ever."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            while self._ended:
                uid = next(iter(self._ended))
                ended = self._ended.pop(uid)
                try:
                    await self._scrub(uid, ended)
                except Exception as error:  # one tenant's that cannot be saved must not keep the others
                    if not _is_others(error):
                        level = logging.INFO if isinstance(error, MemsvcError) else logging.ERROR
                        log.log(level, "tenant %s: what was destroyed leaves its snapshots later: %s", uid, error)
                        self._put_off(uid, ended)
                        continue
                self._retry_s.pop(uid, None)

    def _want(self, uid: str, ended: list[Ended]) -> None:
        self._ended.setdefault(uid, []).extend(ended)
        self._wanted.set()

    def _put_off(self, uid: str, ended: list[Ended]) -> None:
        """Try a tenant again later, whatever else ends in it meanwhile: opening one may be much work."""
        retry_s = self._retry_s[uid] = min(2 * self._retry_s.get(uid, RETRY_S / 2), MOST_RETRY_S)
        self._failed[uid] = [*ended, *self._ended.pop(uid, ())]
        asyncio.get_running_loop().call_later(retry_s, lambda: self._want(uid, self._failed.pop(uid)))

    async def _scrub(self, uid: str, ended: Sequence[Ended]) -> None:
        kept, _ = await self._store.kept(uid)
        if not kept or not await self._destroyed(uid, ended):
            return
        async with self._engine.using(await self._name_of(uid)) as tenant:
            await tenant.wait_applied(tenant.head_seq)
            await self._engine.keeper.snapshot(tenant)

    async def _name_of(self, uid: str) -> str:
        """Return a tenant's id, and look for all that wait: there may be thousands, and a look is at all tenants.

        Raises:
            NotFoundError: it was deleted.
        """
        if uid not in self._names:
            self._names = await self._engine.tenants_of({uid, *self._ended})
        if (name := self._names.pop(uid, None)) is None:
            raise NotFoundError("the tenant was deleted", reason="TENANT_NOT_FOUND")
        return name

    async def _destroyed(self, uid: str, ended: Sequence[Ended]) -> bool:
        """Return whether the payload of one of these entries is gone, as it is of one without `learn`."""
        for seq, numbers in ended:
            for at in range(0, len(numbers), PAGE_ENTRIES):
                page = numbers[at : at + PAGE_ENTRIES]
                if len(await self._store.entries(uid, page, seq - 1)) < len(page):
                    return True
        return False


def _is_others(error: Exception) -> bool:
    """Whether a tenant was deleted, or who owns it finds the same in its log."""
    return isinstance(error, NotFoundError) or (isinstance(error, UnavailableError) and error.reason == "NOT_OWNER")

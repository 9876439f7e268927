"""Exact erasure: the memory is folded again without what was forgotten, and every copy of the text is destroyed.

The entries are hidden when the FORGET record is applied. Then, all pending erasures of a tenant at once: a shadow of
the tenant is folded without the entries, from the newest snapshot before them, while the tenant goes on serving; it
takes the tenant's place; and the store destroys the payloads and the later snapshots. Tenants are folded one after
another, but what the store does for several of them goes on at once. A crash anywhere leaves an erasure unfinished in
the store, and the next start does all of it again. When it is done, the snapshots that were kept for the past are made
again.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgpack

from memsvc import damage
from memsvc.engine.renewer import Renewer
from memsvc.errors import FailedPreconditionError, MemsvcError, NotFoundError, ResourceExhaustedError, UnavailableError
from memsvc.store.base import Store
from memsvc.store.types import Destroyed, Erasure
from memsvc.tasks import end

if TYPE_CHECKING:
    from memsvc.engine.engine import Engine

log = logging.getLogger(__name__)

RETRY_S = 1.0
TOGETHER = 8
"""Tenants whose erasures are under way at once. In Redis they share what takes longest: its files are written anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What an erasure found and did."""

    hash_before: str
    hash_after: str
    bytes_destroyed: int
    files_pending: bool
    """Whether the store's own files still held some of it."""

    def encode(self) -> bytes:
        """Pack it for the store."""
        packed: bytes = msgpack.packb([self.hash_before, self.hash_after, self.bytes_destroyed, self.files_pending])
        return packed

    @classmethod
    def decode(cls, data: bytes) -> "Receipt":
        """Unpack it.

        Raises:
            DataLossError: it is damaged.
        """
        with damage.told_as("the receipt of an erasure is damaged"):
            before, after, destroyed, pending = msgpack.unpackb(data)
        return cls(hash_before=before, hash_after=after, bytes_destroyed=destroyed, files_pending=pending)


class Eraser:
    """Works off the erasures of all tenants."""

    def __init__(self, engine: "Engine", store: Store) -> None:
        self._engine, self._store = engine, store
        self._renewer = Renewer(engine, store)
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._under_way: dict[str, asyncio.Task[None]] = {}
        """By the tenant's uid."""
        self._together, self._folding = asyncio.Semaphore(TOGETHER), asyncio.Lock()
        self.progress: dict[str, tuple[int, int]] = {}
        """Records folded and to fold, by the uid of the tenant being folded."""

    def start(self) -> None:
        """Begin, with what a crash left unfinished."""
        self._wanted.set()
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End; what is under way is begun again at the next start."""
        await end(self._task)
        await end(*self._under_way.values())

    def wake(self) -> None:
        """There is a new erasure."""
        self._wanted.set()

    async def _run(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            try:
                pending = await self._store.unfinished_erasures()
            except MemsvcError:
                log.exception("the erasures cannot be read; they are tried again")
                await asyncio.sleep(RETRY_S)
                self._wanted.set()
                continue
            by_uid: dict[str, list[Erasure]] = {}
            for erasure in pending:
                by_uid.setdefault(erasure.uid, []).append(erasure)
            for uid in by_uid.keys() - self._under_way.keys():
                self._under_way[uid] = asyncio.create_task(self._attempt(uid, by_uid[uid]))

    async def _attempt(self, uid: str, erasures: Sequence[Erasure]) -> None:
        """Carry out one tenant's pending erasures, or leave them for later. Its failure is its own."""
        try:
            async with self._together:
                destroyed = await self._erase(uid, erasures)
            await self._renew(uid, destroyed.snapshots)
        except (FailedPreconditionError, NotFoundError, ResourceExhaustedError, UnavailableError) as error:
            log.info("tenant %s: an erasure is tried again, unless the tenant is gone: %s", uid, error)
            await asyncio.sleep(RETRY_S)
        except Exception:  # one tenant's erasure that cannot be finished must not keep the others from theirs
            log.exception("tenant %s: an erasure could not be finished; it is tried again", uid)
            await asyncio.sleep(RETRY_S)
        finally:
            del self._under_way[uid]
            self._wanted.set()  # what came for the same tenant meanwhile

    async def _renew(self, uid: str, snapshots: Sequence[int]) -> None:
        """Have the snapshots that an erasure destroyed made again; nothing that was promised hangs on it."""
        try:
            await self._renewer.renew(uid, snapshots)
        except MemsvcError as error:
            log.info("tenant %s: snapshots of its past are not made again: %s", uid, error)

    async def _erase(self, uid: str, erasures: Sequence[Erasure]) -> Destroyed:
        """Carry out one tenant's pending erasures in one fold; return what was destroyed."""
        forgotten = frozenset(await self.forgotten(uid, erasures))
        first = min(erasure.first_seq for erasure in erasures)
        async with self._engine.using(await self._engine.tenant_of(uid)) as tenant, tenant.saving:
            await tenant.wait_applied(max(erasure.seq for erasure in erasures))
            before = await self._engine.state_hash(tenant)
            async with self._folding, self._engine.shadow(tenant, forgotten, before_seq=first) as shadow:
                await tenant.follow(shadow, lambda done, total: self.progress.update({uid: (done, total)}))
                await tenant.adopt(shadow)
            destroyed = await self._store.erase(uid, first)
            receipt = Receipt(
                hash_before=before,
                hash_after=await self._engine.state_hash(tenant),
                bytes_destroyed=destroyed.bytes,
                files_pending=destroyed.files_pending,
            )
        self.progress.pop(uid, None)
        for erasure in erasures:
            await self._store.finish_erasure(erasure.operation, receipt.encode())
        return destroyed

    async def forgotten(self, uid: str, erasures: Sequence[Erasure]) -> list[int]:
        """Return the numbers of the entries that some erasures of a tenant are about."""
        numbers: list[int] = []
        for erasure in erasures:
            if not (records := await self._store.read(uid, erasure.seq - 1, 1)):
                raise NotFoundError("the tenant was deleted", reason="TENANT_NOT_FOUND")
            numbers += records[0].about
        return numbers

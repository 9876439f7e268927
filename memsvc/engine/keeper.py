"""Keeps views short to fold and few in memory: snapshots, unloading, and catching up after a crash."""

import asyncio
import logging
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from memsvc.engine.config import EngineConfig
from memsvc.engine.heap import trim
from memsvc.engine.opened import OpenTenant
from memsvc.engine.scrubber import Scrubber
from memsvc.errors import MemsvcError, NotFoundError
from memsvc.failpoints import hit
from memsvc.store.base import Store
from memsvc.store.types import Retention, Snapshot
from memsvc.tasks import end

if TYPE_CHECKING:
    from memsvc.engine.engine import Engine

log = logging.getLogger(__name__)

ROUND_S = 1.0
BYTES_PER_TOKEN = 4
PAGE = 1000
SCRUB_S = 60.0
"""So long after a tenant's last snapshot the next is saved if what was saved is destroyed: not one for each change."""
EXPIRE_ENTRIES = 10_000
"""Entries that expire in one round, about."""


class Keeper:
    """Looks after the tenants that an engine has open."""

    def __init__(self, engine: "Engine", store: Store, config: EngineConfig) -> None:
        self._engine, self._store, self._config = engine, store, config
        self._tasks: list[asyncio.Task[None]] = []
        self._catching_up = asyncio.Lock()
        self.scrubber = Scrubber(engine, store)
        self.unloads = 0
        """Tenants that left the memory."""
        self.snapshots = self.snapshot_failures = 0
        """Those that were saved, and tries that failed."""

    def start(self) -> None:
        """Begin."""
        self._tasks = [asyncio.create_task(self._rounds()), asyncio.create_task(self.scrubber.run())]

    async def stop(self) -> None:
        """End."""
        await end(*self._tasks)

    async def _rounds(self) -> None:
        while True:
            await asyncio.sleep(ROUND_S)
            unloads = self.unloads
            for part in (self._expire, self._engine.past.let_go, self._round, self._engine.residency.round):
                try:
                    await part()
                except Exception:  # whatever it is: nothing would expire, be saved or leave the memory any more
                    log.exception("a part of the round failed; the next one begins in %g s", ROUND_S)
            if self.unloads > unloads:
                await asyncio.to_thread(trim)

    async def _expire(self) -> None:
        """Let entries expire whose time has come."""
        try:
            expired = await self._store.expire(EXPIRE_ENTRIES)
        except MemsvcError:
            log.exception("what is due could not expire; it is tried again")
            return
        if expired:
            # One that is being opened may have read its log's end before.
            await self._engine.wait_opened()
        by_uid = {tenant.uid: tenant for tenant in self._engine.opened()}
        for uid, record in expired:
            self._engine.drop_caches(uid)
            if (tenant := by_uid.get(uid)) is not None:
                tenant.take(record)
            else:
                self.scrubber.ended(uid, record)

    async def _round(self) -> None:
        """Look at every open tenant once."""
        now = asyncio.get_running_loop().time()
        opened = sorted(self._engine.opened(), key=lambda t: t.last_used)
        surplus = len(opened) - self._config.max_open_tenants
        for i, tenant in enumerate(opened):
            try:
                await self._keep(tenant, now, surplus=i < surplus)
            except Exception as error:
                if isinstance(error, NotFoundError) or tenant.failure is not None:
                    log.info("tenant %s was deleted or replaced meanwhile: %s", tenant.uid, error)
                    continue
                log.exception("tenant %s: could not be snapshotted or unloaded", tenant.uid)

    async def _keep(self, tenant: OpenTenant, now: float, *, surplus: bool) -> None:
        """Snapshot a tenant that has streamed enough or is written no more; unload one that nobody uses."""
        if tenant.failure is not None:
            self._engine.let_go(tenant)
            return
        behind = tenant.view.totals.tokens - tenant.snapshot_tokens
        # Readers do not count: a tenant whose figures are watched is saved all the same.
        rests = not tenant.pending_bytes and now - tenant.last_written >= self._config.snapshot_idle_s
        enough = self._config.snapshot_min_tokens if rests else self._config.snapshot_tokens
        scrub = tenant.saves_lost and time.monotonic() - tenant.saved_at >= SCRUB_S
        if (behind >= enough or scrub) and not tenant.saving.locked():
            await self.snapshot(tenant)
        # What was never saved is folded again in a moment.
        cheap = tenant.view.totals.tokens < self._config.snapshot_min_tokens
        idle_s = self._config.unload_small_idle_s if cheap else self._config.unload_idle_s
        if (surplus or now - tenant.last_used >= idle_s) and tenant.idle:
            await self.unload(tenant)

    async def unload(self, tenant: OpenTenant) -> bool:
        """Have a tenant leave the memory, saved if that spares a fold worth sparing; not if someone came to use it.

        Raises:
            UnavailableError: the store cannot write, or the view failed.
        """
        if tenant.saving.locked():
            return False
        await self.snapshot(tenant)
        if not tenant.idle or tenant.saving.locked() or self._engine.find(tenant.row.tenant) is not tenant:
            return False
        hit("evict")
        self._engine.let_go(tenant)
        await tenant.close()
        self.unloads += 1
        return True

    async def snapshot(self, tenant: OpenTenant, *, until: float | None = None, keep: Retention | None = None) -> None:
        """Save the tenant's view as it stands after some record, if that spares a fold worth sparing.

        It is saved, too, if snapshots hold what is destroyed since; none does then. Snapshots beside it are kept as
        `keep` says, None for the view's policies.

        Raises:
            TimeoutError: the record under way is not folded by then, on the loop's clock; nothing is saved.
            UnavailableError: the store cannot write, or the view failed.
        """
        async with tenant.saving:
            try:
                await self._save(tenant, until, keep)
            except Exception:
                self.snapshot_failures += 1
                raise

    async def _save(self, tenant: OpenTenant, until: float | None, keep: Retention | None) -> None:
        runner, view, segments = self._engine.thread.runner, tenant.view, replace(tenant.segments)
        little = view.totals.tokens - tenant.snapshot_tokens < self._config.snapshot_min_tokens
        if tenant.failure is not None or (little and not tenant.saves_lost):
            return

        def save() -> tuple[Snapshot, int, int]:
            current = tenant.attached()
            saved = current.snapshot(runner.weights(tenant.key), runner.encoder.fingerprint, segments)
            return saved, current.totals.tokens, current.index.begin_save()

        async with asyncio.timeout_at(until):
            snapshot, tokens, lost_from = await self._engine.thread.call_at_boundary(lambda: tenant.key, save)
        if tenant.term != self._store.term(tenant.uid):
            return  # others owned it meanwhile, and may have erased what this view still has
        # One that is told what to keep is a shadow of the past: what others hold is the living view's to know.
        drop_from = lost_from if keep is None and lost_from <= tenant.saved_seq else None
        await self._store.save(tenant.uid, snapshot, keep or view.policies.retention, drop_from=drop_from)
        tenant.saved(snapshot, segments, tokens)
        self.snapshots += 1
        written = sum(len(data) for data in snapshot.blobs.values() if data is not None)
        tenant.notice("snapshot", at=snapshot.seq, bytes=written)

    async def catch_up(self, shard: int) -> None:
        """Fold the long tails that a crash left in a shard, so that no first recall waits for them.

        One shard and one tenant at a time: whoever asks for a tenant meanwhile has as little beside it.
        """
        async with self._catching_up:
            heads, saved = await self._store.heads(), await self._store.seqs()
            behind = {uid for uid, head in heads.items() if head > max(1, saved.get(uid, 0))}
            behind = {uid for uid in behind if self._store.shard_of(uid) == shard}
            after = ""
            while behind and (rows := await self._store.list_tenants(after, PAGE)):
                for row in rows:
                    if row.uid in behind:
                        await self._fold(row.tenant, row.uid, saved.get(row.uid, 0))
                after = rows[-1].tenant

    async def _fold(self, tenant: str, uid: str, after_seq: int) -> None:
        """Fold what a tenant's log has after a record, if that is worth doing before anyone asks."""
        enough = self._config.snapshot_min_tokens * BYTES_PER_TOKEN
        tail = await self._store.read(uid, after_seq, enough)
        if sum(record.size for record in tail) >= enough:
            with suppress(MemsvcError):
                async with self._engine.using(tenant) as opened:
                    await opened.wait_applied(opened.head_seq)
            return
        while after_seq and tail:
            for record in tail:
                self.scrubber.ended(uid, record)
            tail = await self._store.read(uid, tail[-1].seq, enough)

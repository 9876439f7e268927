"""The engine as the server sees it: tenants by name, durable writes, reads that see them. Lives on the event loop.

The store is the truth and is always written first; the thread holds views of it.
"""

import asyncio
import itertools
import time
import weakref
from collections.abc import AsyncIterator, Callable, Sequence, Set
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import numpy as np

from memsvc.backbone.titans_mac.shelf import Shelf
from memsvc.engine.admission import Admission, batch_size
from memsvc.engine.changes import Changes
from memsvc.engine.config import EngineConfig
from memsvc.engine.copies import Copies
from memsvc.engine.eraser import Eraser
from memsvc.engine.keeper import Keeper
from memsvc.engine.opened import OpenTenant
from memsvc.engine.past import Past
from memsvc.engine.reads import Reads
from memsvc.engine.residency import Residency
from memsvc.engine.results import Surprise, Written
from memsvc.engine.shards import Shards
from memsvc.engine.shielded import heard, shielded
from memsvc.engine.thread import EngineThread
from memsvc.engine.turnstile import Turnstile
from memsvc.errors import MemsvcError, NotFoundError
from memsvc.memory.config import MemoryConfig
from memsvc.memory.devices import choose_device
from memsvc.observer import SILENT, Observer
from memsvc.recall.encoder import load_encoder
from memsvc.store.base import Store
from memsvc.store.types import Appended, Payload, Record, RecordKind, TenantRow
from memsvc.tenant.policies import Policies
from memsvc.tenant.record import decode_create, encode_create

CLOSE_S = 5.0
"""How long the end of a process waits for records under way, so that what is folded can be saved."""
TENANT_PAGE = 1000
QUESTIONS_AT_ONCE, QUESTIONS_WAITING = 2, 1024
"""Of each tenant: one that is computed, and one whose answer is packed meanwhile."""
APPENDS_BYTES, APPEND_BYTES = 1 << 20, 1 << 13
"""What of each tenant may be on its way to the store at once, and what the smallest batch counts as."""


def _nothing() -> None:
    """Nobody wants to know."""


def _nobodys(tenant: OpenTenant, size: int) -> None:
    """No writer was promised room for what a second fold has to do."""


class Engine:
    """Writes, recalls and looks after tenants.

    Args:
        store: where the logs are; closed by whoever opened it.
        config: how to run.
        observer: hears how long things took.

    Raises:
        FailedPreconditionError: the model for context memories is not where the configuration says, or the machine
            has no such device, or does not compute what it asks for.
    """

    def __init__(self, store: Store, config: EngineConfig, observer: Observer = SILENT) -> None:
        self.store, self.config = store, config
        self.shelf = Shelf(config.context_model)
        self.thread = EngineThread(
            lambda: load_encoder(config.encoder, threads=config.threads, dtype=config.encoder_dtype),
            config.slots,
            config.threads,
            device=choose_device(config.memory_device, config.memory_dtype),
            shelf=self.shelf,
            offload=config.offload,
            observer=observer,
        )
        self._open: dict[str, asyncio.Task[OpenTenant]] = {}
        self._changing: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()
        """By the tenant's uid: see `OpenTenant`. Whoever has one open keeps it."""
        self._shadows = itertools.count()
        self.caches: list[Callable[[str], None]] = []
        """Each is called with a tenant's uid when what was made of its texts elsewhere has to go: something of them was
        changed, deleted or forgotten, or the tenant left."""
        self.questions = Turnstile(QUESTIONS_AT_ONCE, QUESTIONS_WAITING)
        """For whoever answers questions about tenants."""
        self._appends = Turnstile(APPENDS_BYTES)
        self.admission = Admission(config.tenant_queue_bytes, config.queue_bytes)
        self.eraser = Eraser(self, store)
        self.changes = Changes(self, store)
        self.reads = Reads(self, store)
        self.past = Past(self, store)
        self.copies = Copies(self, store)
        self.residency = Residency(self, store, config.memory_bytes)
        self.keeper = Keeper(self, store, config)
        self.shards = Shards(self, store)

    async def start(self) -> None:
        """Load the encoder and begin to fold what a crash left unfolded.

        Raises:
            MemsvcError: the encoder cannot be loaded, or the store cannot be read.
        """
        await self.thread.start()
        self.keeper.start()
        self.eraser.start()
        self.shards.start()

    async def close(self) -> None:
        """Snapshot what is not, and end the thread. Calls must have ended before.

        A tenant that is in the middle of a long record is not waited for longer than CLOSE_S: its log is folded again.
        """
        await self.shards.stop()
        await self.eraser.stop()
        await self.keeper.stop()
        await self.residency.stop()
        await self.past.close()
        end = asyncio.get_running_loop().time() + CLOSE_S
        # Those first that wait for nothing.
        for tenant in sorted(self.opened(), key=lambda tenant: tenant.pending_bytes):
            with suppress(MemsvcError, TimeoutError):
                await self.keeper.snapshot(tenant, until=end)
        await self.thread.stop()

    # --- tenants --------------------------------------------------------------------------------------------------

    async def create_tenant(
        self,
        tenant: str,
        memory: MemoryConfig,
        request_id: str,
        policies: Policies | None = None,
        context_memory: str = "",
    ) -> TenantRow:
        """Create a tenant.

        Args:
            tenant: its id.
            memory: how its memory learns.
            request_id: makes a retry safe.
            policies: what it keeps.
            context_memory: the model, by `<name>` or `<name>@<hash>`, that its text streams into; empty for none.

        Raises:
            AlreadyExistsError: there is one of that id.
            FailedPreconditionError: there is no such model here (reason NO_CONTEXT_MODEL).
        """
        runner = self.thread.runner
        model = (await self.shelf.fetch(context_memory)).identity if context_memory else ""
        body = encode_create(replace(memory, width=runner.encoder.dim), runner.fingerprint, policies, model)
        return await shielded(self.store.create_tenant(tenant, body, body, request_id))

    async def get_tenant(self, tenant: str) -> TenantRow:
        """Return a tenant.

        Raises:
            NotFoundError: there is none of that id.
        """
        row = await self.store.get_tenant(tenant)
        if row is None:
            raise NotFoundError("tenant: there is none of that id", reason="TENANT_NOT_FOUND")
        return row

    async def delete_tenant(self, tenant: str, request_id: str) -> None:
        """Delete a tenant.

        Raises:
            NotFoundError: there is none of that id.
        """
        row = await self.store.get_tenant(tenant)
        if row is None:
            if await self.store.find_deleted(tenant, request_id):
                return
            raise NotFoundError("tenant: there is none of that id", reason="TENANT_NOT_FOUND")
        await shielded(self._delete(row, request_id))

    async def _delete(self, row: TenantRow, request_id: str) -> None:
        await self.shut(row.tenant, deleted=True)
        await self.past.drop(row.uid)
        await self.store.delete_tenant(row.uid, request_id)
        self.drop_caches(row.uid)
        # Who came meanwhile may have opened it once more: it would stay, in the place of another of its name.
        if (task := self._open.get(row.tenant)) is not None:
            with suppress(MemsvcError):
                if (again := await asyncio.shield(task)).uid == row.uid:
                    self.let_go(again)
                    await again.close(deleted=True)
            await self.past.drop(row.uid)

    async def shut(self, tenant: str, *, deleted: bool = False) -> None:
        """Close a tenant, if it is open; whoever waits for it hears that it is gone, or folded afresh."""
        if (task := self._open.pop(tenant, None)) is not None:
            # To the end, though a caller leaves: nobody else knows of it.
            await shielded(self._shut(task, deleted=deleted))

    async def _shut(self, task: "asyncio.Task[OpenTenant]", *, deleted: bool) -> None:
        with suppress(MemsvcError):
            opened = await task
            self.drop_caches(opened.uid)
            await opened.close(deleted=deleted)

    async def shut_stale(self, opened: OpenTenant) -> None:
        """Close a tenant that others owned since it was opened, unless another caller does."""
        if self.find(opened.row.tenant) is opened:
            await self.shut(opened.row.tenant)

    @asynccontextmanager
    async def using(self, tenant: str) -> AsyncIterator[OpenTenant]:
        """Hold a tenant open.

        Raises:
            NotFoundError: there is none of that id.
            FailedPreconditionError: its context memory is of a model that is not here (reason NO_CONTEXT_MODEL).
            UnavailableError: another process serves it (reason NOT_OWNER).
        """
        opened = await asyncio.shield(self._opening(tenant))
        while opened.closed or opened.term != self.store.term(opened.uid):
            # It left the memory before our turn came; or others owned it meanwhile, and may have written.
            await self.shut_stale(opened)
            opened = await asyncio.shield(self._opening(tenant))
        opened.users += 1
        try:
            yield opened
        finally:
            opened.users -= 1
            opened.last_used = asyncio.get_running_loop().time()

    def prefetch(self, tenant: str) -> None:
        """Begin to open a tenant: a request about it is on its way."""
        self._opening(tenant)

    def _opening(self, tenant: str) -> "asyncio.Task[OpenTenant]":
        task = self._open.get(tenant)
        if task is not None and task.done() and (task.exception() or task.result().failure):
            del self._open[tenant]
            task = None
        if task is None:
            task = self._open[tenant] = asyncio.create_task(self._load(tenant))
            heard(task)
        return task

    @asynccontextmanager
    async def shadow(
        self,
        tenant: OpenTenant,
        without: frozenset[int] = frozenset(),
        *,
        before_seq: int,
        until: int | None = None,
    ) -> AsyncIterator[OpenTenant]:
        """Fold a tenant a second time, from a snapshot before a record; closed on the way out unless it was adopted."""
        name = f"~{next(self._shadows)}"
        shadow = OpenTenant(tenant.row, self.store, self.thread, _nobodys, shadow=name, without=without, until=until)
        try:
            await shadow.open(before_seq, reserve=self.residency.folding(shadow))
            yield shadow
        finally:
            if not shadow.adopted:
                await shadow.close()

    def drop_caches(self, uid: str) -> None:
        """Have what was made of a tenant's texts elsewhere go."""
        for drop in self.caches:
            drop(uid)

    async def tenant_of(self, uid: str) -> str:
        """Return the id of the living tenant of that uid.

        Raises:
            NotFoundError: it was deleted.
        """
        if (tenant := (await self.tenants_of({uid})).get(uid)) is not None:
            return tenant
        raise NotFoundError("the tenant was deleted", reason="TENANT_NOT_FOUND")

    async def tenants_of(self, uids: Set[str]) -> dict[str, str]:
        """Return the ids of living tenants by their uids; one that was deleted is not among them. It looks at all."""
        found: dict[str, str] = {}
        after = ""
        while len(found) < len(uids) and (rows := await self.store.list_tenants(after, TENANT_PAGE)):
            found |= {row.uid: row.tenant for row in rows if row.uid in uids}
            after = rows[-1].tenant
        return found

    async def state_hash(self, tenant: OpenTenant) -> str:
        """Return the hash of a tenant's state as it stands after some record."""
        runner = self.thread.runner
        return await self.thread.call_at_boundary(
            lambda: tenant.key, lambda: tenant.attached().state_hash(runner.weights(tenant.key))
        )

    async def _load(self, tenant: str) -> OpenTenant:
        try:
            row = await self.get_tenant(tenant)
            await self.fetch_model(row.config)
            changing = self._changing.setdefault(row.uid, asyncio.Lock())
            opened = OpenTenant(row, self.store, self.thread, self._released, late=self._late, changing=changing)
            try:
                await self.residency.open(opened)
            except BaseException:
                await shielded(opened.close())
                raise
        except BaseException:
            if self._open.get(tenant) is asyncio.current_task():
                del self._open[tenant]
            raise
        return opened

    async def fetch_model(self, config: bytes) -> None:
        """Have the model here that a tenant's text streams into, if any.

        Raises:
            FailedPreconditionError: it is not (reason NO_CONTEXT_MODEL).
        """
        if model := decode_create(config, width=1).context_memory:
            await self.shelf.fetch(model)

    def _released(self, tenant: OpenTenant, size: int) -> None:
        """So much text of a tenant was applied, or never will be here."""
        self.admission.release(tenant, size)
        self.residency.grown()

    def _late(self, tenant: OpenTenant, record: Record, config: bytes | None) -> None:
        """Tell whoever was opened in a tenant's place of a record that it did not find in the log, perhaps."""

        def tell(task: "asyncio.Task[OpenTenant]") -> None:
            if not task.cancelled() and task.exception() is None:
                successor = task.result()
                if successor is not tenant and successor.uid == tenant.uid:
                    successor.take(record, config)

        if (task := self._open.get(tenant.row.tenant)) is None:
            return  # who is opened from now on finds it
        if task.done():
            tell(task)
        else:
            task.add_done_callback(tell)

    async def wait_opened(self) -> None:
        """Return once those that are being opened now are open, or are not."""
        if opening := [task for task in self._open.values() if not task.done()]:
            await asyncio.wait(opening)

    def opened(self) -> list[OpenTenant]:
        """Return the tenants that are open now. May be asked on any thread."""
        done = (task for task in list(self._open.values()) if task.done() and not task.cancelled())
        return [task.result() for task in done if task.exception() is None]

    # --- writing --------------------------------------------------------------------------------------------------

    async def write(
        self,
        tenant: str,
        payloads: Sequence[Payload],
        *,
        applied: bool = False,
        settled: Callable[[], None] = _nothing,
    ) -> Written:
        """Append a batch as one record; durable when it returns, recallable too with `applied`.

        Args:
            tenant: whose log.
            payloads: the batch.
            applied: whether to wait until it is.
            settled: called as soon as the batch is counted as committed, or is not to be.

        Raises:
            NotFoundError: no such tenant.
            AlreadyExistsError: an id is known with other content; nothing was written.
            ResourceExhaustedError: too much text waits to be applied, or the memory is full; nothing was written.
            UnavailableError: the store cannot write; nothing was written.
        """
        async with self.using(tenant) as opened:
            await self.residency.expect(opened)
            self.admission.admit(opened, payloads)
            appended = await shielded(self._append(opened, payloads, settled))
            surprise = await self._surprise(opened, appended) if applied else None
        return _written(payloads, appended, surprise)

    async def write_waiting(
        self, tenant: str, payloads: Sequence[Payload], settled: Callable[[], None] = _nothing
    ) -> "asyncio.Task[Written]":
        """Wait for room, then start to append a batch: for streams, whose writer would rather wait than be refused.

        `settled` is as in `write`.
        """
        async with self.using(tenant) as opened:
            await self.residency.wait(opened)
            await self.admission.wait(opened, payloads)

            async def append() -> Written:
                return _written(payloads, await self._append(opened, payloads, settled), None)

            task = asyncio.create_task(append())
            heard(task)
            return task

    def check_room(self, tenant: str, size: int) -> None:
        """Refuse a batch of at least so many bytes as `write` would, before anybody looks at it.

        Raises:
            ResourceExhaustedError: too much text waits to be applied.
        """
        if (opened := self.find(tenant)) is not None:
            self.admission.check(opened, size)

    async def window(self, tenant: str) -> int:
        """Return how many bytes of text the tenant may write now without waiting."""
        async with self.using(tenant) as opened:
            return self.admission.window(opened)

    async def _append(self, opened: OpenTenant, payloads: Sequence[Payload], settled: Callable[[], None]) -> Appended:
        size = batch_size(payloads)
        payloads = opened.policies.expiring(payloads, time.time_ns() // 1000)
        record: Record | None = None
        try:
            async with self._appends.passing(opened.uid, max(APPEND_BYTES, size)):
                appended = await opened.append(RecordKind.WRITE, b"", tuple(payloads))
            record = appended.record
            return appended
        finally:
            # What was skipped or refused never reaches the queue; nor what a tenant gets that was closed meanwhile.
            reaches = record is not None and opened.failure is None
            self.admission.release(opened, size - (record.size if record and reaches else 0))
            settled()

    async def _surprise(self, opened: OpenTenant, appended: Appended) -> tuple[Surprise | None, ...]:
        await opened.wait_applied(max(appended.seqs))
        return await self.thread.call_at_boundary(
            lambda: opened.key, lambda: self._surprise_of(opened, appended.numbers)
        )

    def _surprise_of(self, opened: OpenTenant, numbers: Sequence[int]) -> tuple[Surprise | None, ...]:
        """On the thread: mean surprise and gate share of entries, waiting tokens included."""
        view = opened.attached()
        waiting = self.thread.runner.tail_surprise(opened.key)
        results: list[Surprise | None] = []
        for number in numbers:
            total, tokens, wrote = view.index.surprise_of(number)
            tail = waiting[view.tail_owners == number]
            if count := tokens + len(tail):
                mean = (total + float(tail.sum(dtype=np.float64))) / count
                share = (wrote + int((tail >= view.gate.threshold).sum())) / count
                results.append(Surprise(mean, share))
            else:
                results.append(None)
        return tuple(results)

    def find(self, tenant: str) -> OpenTenant | None:
        """Return a tenant that is open."""
        task = self._open.get(tenant)
        if task is None or not task.done() or task.cancelled() or task.exception() is not None:
            return None
        return task.result()

    def let_go(self, tenant: OpenTenant) -> None:
        """Count a tenant as open no longer."""
        task = self._open.get(tenant.row.tenant)
        if task is not None and task.done() and task.result() is tenant:
            del self._open[tenant.row.tenant]
            self.drop_caches(tenant.uid)


def _written(payloads: Sequence[Payload], appended: Appended, surprise: tuple[Surprise | None, ...] | None) -> Written:
    return Written(
        seq=appended.record.seq if appended.record else max(appended.seqs),
        ids=tuple(payload.id for payload in payloads),
        seqs=appended.seqs,
        skipped=appended.skipped,
        surprise=surprise,
    )

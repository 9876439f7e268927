"""One tenant while it is open here: what is committed, what is applied, who waits. Lives on the event loop.

A second fold of the same log may run behind it, its shadow: to verify it, or to take its place without what was
forgotten.
"""

import asyncio
import heapq
import itertools
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from memsvc.engine.lane import Lane
from memsvc.engine.runner import Runner
from memsvc.engine.thread import EngineThread
from memsvc.engine.way import Way
from memsvc.errors import DataLossError, NotFoundError, OutOfRangeError, UnavailableError
from memsvc.failpoints import hit
from memsvc.store.base import Store
from memsvc.store.types import Appended, Changed, Payload, Record, RecordKind, Snapshot, TenantRow
from memsvc.tenant.event import Event
from memsvc.tenant.policies import Policies
from memsvc.tenant.record import decode_create, encode_numerics
from memsvc.tenant.view import VIEW_BYTES, Segments, View

KEPT_NOTICES = 64
SETTLE_AFTER_S = 3.0
"""How long a second fold tries to catch up with writers that never stop, before they have to wait for it."""
PAGE_BYTES = 1 << 20
"""Log read at once, and applied before more is read."""


class OpenTenant:
    """An open tenant. Its records reach the engine's thread in order, each once.

    Args:
        row: which tenant.
        store: where its log is.
        thread: where its view is.
        released: called with the tenant and bytes that wait no more: they were applied, or it was closed.
        late: called with the tenant, a record, and the settings that it brought, that came to the log after the view
            failed or was closed: another one may have been opened by then that does not know of it.
        changing: held while entries are forgotten or settings changed, and while the tenant is copied; one for all who
            are opened of a tenant.
        shadow: names a second fold of the same tenant; it runs behind live work and appends nothing.
        without: entries that a shadow leaves out.
        until: the last record that a shadow folds; None for all.
    """

    def __init__(
        self,
        row: TenantRow,
        store: Store,
        thread: EngineThread,
        released: Callable[["OpenTenant", int], None],
        *,
        late: Callable[["OpenTenant", Record, bytes | None], None] | None = None,
        changing: asyncio.Lock | None = None,
        shadow: str = "",
        without: frozenset[int] = frozenset(),
        until: int | None = None,
    ) -> None:
        self.row, self._store, self._thread, self._released, self._late = row, store, thread, released, late
        self.key = row.uid + shadow
        """What the thread knows its view by."""
        self.saving = asyncio.Lock()
        """Held while the view is saved, or replaced."""
        self._shadow, self._without, self._until = bool(shadow), without, until
        self.changing = changing or asyncio.Lock()
        self.notices: deque[Event] = deque(maxlen=KEPT_NOTICES)
        """What happened to the view here and is no part of it, for those who watch."""
        self.noticed = 0
        """How many there were."""
        self.settling = False
        """Whether writers have to wait: a second fold would never catch up with them."""
        self._followers: list[OpenTenant] = []
        self._heir_of: OpenTenant | None = None
        self._lane: Lane
        self._changes: set[asyncio.Future[None]] = set()
        self.view: View
        self.segments = Segments(names=[], entries=0)
        self.warnings: list[str] = []
        self.term = 0
        """The store's, as of when it was opened: under another one, what is open here may be behind the log."""
        self.head_seq = 0
        self.applied_seq = 0
        self.snapshot_seq = 0
        self.snapshot_tokens = 0
        self.saved_seq = 0
        """No snapshot in the store is of a later record."""
        self.pending_bytes = 0
        """Of records that are committed and not applied."""
        self.admitted_bytes = 0
        """Of text that writers were promised room for, committed or not, and that is not applied."""
        self.unsaved_bytes = 0
        """Of the log, that no snapshot has yet: what is folded again after a crash."""
        self.saved_at = time.monotonic()
        """When its newest snapshot was made, or it was opened."""
        self._pending_entries = self._living = 0
        """Entries of what waits to be applied, as far as it was counted, and those that lived after the last record."""
        self.users = 0
        self.last_used = self.last_written = asyncio.get_running_loop().time()
        self.failure: BaseException | None = None
        self.numerics_changed = False
        """Whether a record that was folded here says that the numerics changed."""
        self.adopted_numerics = False
        """Whether the snapshot it was opened with was made under other numerics."""
        self._appending = 0
        """Appends that the store was asked for and has not answered."""
        self._pushed_seq = 0
        self._ways: dict[int, Way] = {}
        """Of records that are committed and not handed to the engine."""
        self._counted_seq = 0
        """Records up to here were not counted in pending_bytes when they were appended."""
        self._waiters: list[tuple[int, int, asyncio.Future[None]]] = []
        self._ties = itertools.count()
        self._pump: asyncio.Task[None] | None = None
        self._drained = asyncio.Event()

    @property
    def uid(self) -> str:
        """The tenant's uid."""
        return self.row.uid

    @property
    def policies(self) -> Policies:
        """What is kept as of the last record that says so, applied or not."""
        return decode_create(self.row.config, width=1).policies

    @property
    def saves_lost(self) -> bool:
        """Whether a snapshot in the store holds an entry that is destroyed since."""
        return self.view.index.lost_from <= self.saved_seq

    @property
    def adopted(self) -> bool:
        """Whether another tenant took this shadow's view over."""
        return self._heir_of is not None

    @property
    def closed(self) -> bool:
        """Whether it was let go."""
        return isinstance(self.failure, UnavailableError) and self.failure.reason == "CLOSED"

    @property
    def idle(self) -> bool:
        """Whether nothing is under way for it, nor on its way to the log for a caller who left."""
        under_way = self.users or self._appending or self.admitted_bytes or self.pending_bytes or self._waiters
        return not under_way and self.applied_seq >= self.head_seq

    # --- opening --------------------------------------------------------------------------------------------------

    async def open(
        self, before_seq: int | None = None, *, reserve: Callable[[int], Awaitable[None]] | None = None
    ) -> None:
        """Take the newest snapshot that verifies and fold the log after it; returns once the thread has the view.

        Args:
            before_seq: only a snapshot before this record will do; 1 folds the whole log.
            reserve: awaited with the bytes that the view will take, before it is put into memory.

        Raises:
            NotFoundError: the tenant was deleted.
            DataLossError: the log cannot be read.
            ResourceExhaustedError: there is no room in memory.
        """
        runner = self._thread.runner
        width, encoder = runner.encoder.dim, runner.encoder.fingerprint
        self.term = self._store.term(self.uid)
        loaded = await self._store.load(self.uid, before_seq)
        if reserve is not None:
            await reserve(_room(loaded.snapshot, self.row, runner))
        self.warnings += [f"a snapshot was passed over, the log was folded instead: {why}" for why in loaded.corrupt]
        head = await self._store.head(self.uid)
        self.head_seq = self._counted_seq = head if self._until is None else min(head, self._until)
        restored = None
        if loaded.snapshot is not None:
            self.saved_seq = loaded.snapshot.seq
        if (snapshot := loaded.snapshot) is not None and snapshot.seq <= self.head_seq:
            hit("restore")
            try:
                restored = await self._thread.call(lambda: View.restore(snapshot, width, encoder), read=True)
            except DataLossError as error:
                self.warnings.append(str(error))
        if restored is None:
            self.view = View(width)
        else:
            self.view, self.segments = restored
            self.snapshot_seq = self.view.applied_seq
            self.snapshot_tokens = self.view.totals.tokens
        self.applied_seq = self._pushed_seq = self.view.applied_seq
        self._living = self.view.index.living
        self._lane = Lane(self.key, self.view, self._applied_on_thread, self._failed_on_thread, background=self._shadow)
        await self._thread.attach(self._lane)
        self._start_pump()
        if not self._shadow and restored is not None and self.view.fingerprint != runner.fingerprint:
            await self.append(RecordKind.NUMERICS, encode_numerics(runner.fingerprint, self.snapshot_seq))
            self.adopted_numerics = True

    # --- committed → engine ---------------------------------------------------------------------------------------

    async def append(
        self,
        kind: RecordKind,
        body: bytes = b"",
        payloads: tuple[Payload, ...] = (),
        *,
        request_id: str = "",
        config: bytes | None = None,
    ) -> Appended:
        """Append a record and hand it to the engine. Run it shielded: what the store has taken must reach the engine.

        Raises:
            AlreadyExistsError: an id is known with other content.
            UnavailableError: the store cannot write.
        """
        with self._append_under_way():
            appended = await self._store.append(self.uid, kind, body, payloads, request_id=request_id, config=config)
        if appended.record is not None:
            self._committed(appended.record, config)
        return appended

    async def change(self, operation: Awaitable[Changed]) -> Changed:
        """Await a store's operation that appends a record, or finds the one that an equal request appended before.

        Run it shielded, as `append`.
        """
        with self._append_under_way():
            changed = await operation
        # A repeat that nobody here knows of: the store tried again by itself.
        if not changed.repeated or changed.record.seq > self.head_seq:
            self._committed(changed.record)
        return changed

    def take(self, record: Record, config: bytes | None = None) -> None:
        """Take in a record that others appended, unless the log had it when the tenant was opened."""
        if record.seq > self._counted_seq:
            self._committed(record, config)
        elif config is not None:  # the row may have been read before
            self.row = replace(self.row, config=config)

    @contextmanager
    def _append_under_way(self) -> Iterator[None]:
        self._appending += 1
        try:
            yield
        finally:
            self._appending -= 1

    def notice(self, kind: str, seq: int | None = None, **figures: float) -> None:
        """Tell those who watch what happened to the view, at a record, the last one applied unless it is given."""
        self.notices.append(Event(seq=self.applied_seq if seq is None else seq, kind=kind, figures=figures))
        self.noticed += 1
        self._wake(self._changes)

    def notices_since(self, noticed: int) -> list[Event]:
        """Return what was noticed after the first so many, as far as it is kept."""
        new = min(self.noticed - noticed, len(self.notices))
        return list(self.notices)[len(self.notices) - new :]

    def _committed(self, record: Record, config: bytes | None = None) -> None:
        if config is not None:
            self.row = replace(self.row, config=config)
        self.last_written = asyncio.get_running_loop().time()
        self.head_seq = max(self.head_seq, record.seq)
        self.pending_bytes += record.size
        self.unsaved_bytes += record.size
        counter = self._thread.meter(self.row.tenant)
        if record.seq > self._pushed_seq:  # else the log was read up to it meanwhile
            self._ways[record.seq] = Way(time.monotonic(), self._thread.observer.request(), counter)
        self._pending_entries += len(record.entries)
        if record.seq == self._pushed_seq + 1 and self._pump is None:
            self._push(record)
        else:
            self._start_pump()
        for follower in self._followers:
            follower.head_seq = max(follower.head_seq, record.seq)
            follower._start_pump()
        if self.failure is not None and self._late is not None:
            self._late(self, record, config)

    def _push(self, record: Record) -> None:
        if self._without:
            kept = tuple(entry for entry in record.entries if entry.number not in self._without)
            record = replace(record, entries=kept)
        if self._shadow or record.seq <= self._counted_seq:  # a shadow is told of no record that is committed
            self.pending_bytes += record.size
            self.unsaved_bytes += record.size
            self._pending_entries += len(record.entries)
        self._pushed_seq = record.seq
        way = self._ways.pop(record.seq, None)
        self.numerics_changed |= record.kind is RecordKind.NUMERICS
        self._thread.push(self._lane, record, way)

    def _start_pump(self) -> None:
        if self._pump is None and self._pushed_seq < self.head_seq and self.failure is None:
            self._pump = asyncio.create_task(self._pump_log())
            self._pump.add_done_callback(self._pump_ended)

    async def _pump_log(self) -> None:
        """Read from the log what was committed and not handed over, a page at a time.

        Raises:
            NotFoundError: the tenant was deleted.
        """
        while self._pushed_seq < self.head_seq and self.failure is None:
            if not (records := await self._store.read(self.uid, self._pushed_seq, PAGE_BYTES)):
                raise NotFoundError("the tenant was deleted", reason="TENANT_NOT_FOUND")
            for record in records:
                if record.seq == self._pushed_seq + 1 <= self.head_seq:
                    self._push(record)
            self._drained.clear()
            if self.applied_seq < self._pushed_seq:
                self._thread.hurry(self._lane.uid, self._pushed_seq)
                await self._drained.wait()

    def _pump_ended(self, task: asyncio.Task[None]) -> None:
        self._pump = None
        if not task.cancelled() and (error := task.exception()) is not None:
            # Before whoever folds it afresh attaches another: that would go on from these weights.
            self._thread.detach(self._lane)
            self._fail(error)
        else:
            self._start_pump()

    # --- engine → applied -----------------------------------------------------------------------------------------

    def _applied_on_thread(self, record: Record) -> None:
        living = self.view.index.living
        self._thread.notify(lambda: (self._heir_of or self)._applied(record, living))

    def _applied(self, record: Record, living: int) -> None:
        seq = self.applied_seq = record.seq
        self.pending_bytes -= record.size
        self._pending_entries -= len(record.entries)
        self._living = living
        if seq > self._counted_seq:
            self._released(self, record.size - len(record.body))
        if seq >= self._pushed_seq:
            self._drained.set()
        self._wake(self._changes)
        while self._waiters and self._waiters[0][0] <= seq:
            future = heapq.heappop(self._waiters)[2]
            if not future.done():
                future.set_result(None)

    async def wait_applied(self, seq: int) -> None:
        """Return once the record is applied.

        Raises:
            OutOfRangeError: it is beyond the log's head.
            UnavailableError: the view failed; the next request folds it afresh.
        """
        if seq > self.head_seq:
            raise OutOfRangeError(
                f"min_seq: {seq} is beyond the log's head, {self.head_seq}", metadata={"head_seq": str(self.head_seq)}
            )
        if self.failure is not None:
            raise self._failed_error()
        if seq <= self.applied_seq:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiters, (seq, next(self._ties), future))
        self._thread.hurry(self._lane.uid, seq)
        await future

    async def held_entries(self) -> int:
        """Return how many entries recall can return once all that is committed is applied, later expiry aside.

        Raises:
            UnavailableError: the view failed.
        """
        await self.wait_applied(self._counted_seq)  # what was there when it was opened was not counted before
        return self._living + self._pending_entries

    def attached(self) -> View:
        """On the thread: return the view, which is the one that is folded under its key.

        Raises:
            UnavailableError: it left the engine since it was asked for: it failed, or was put back, or deleted.
        """
        lane = self._thread.ingest.lane(self.key)
        if lane is None or lane.view is not self.view:
            raise self._failed_error()
        return self.view

    async def wait_change(self, seq: int, noticed: int | None = None) -> None:
        """Return once a record after this one is applied, or there are more notices than so many.

        Raises:
            UnavailableError: the view failed, or was closed.
        """
        while self.applied_seq <= seq and noticed in {None, self.noticed}:
            if self.failure is not None:
                raise self._failed_error()
            self._changes.add(change := asyncio.get_running_loop().create_future())
            try:
                await change
            finally:
                self._changes.discard(change)

    @staticmethod
    def _wake(futures: set[asyncio.Future[None]]) -> None:
        for future in futures:
            if not future.done():
                future.set_result(None)
        futures.clear()

    # --- a second fold --------------------------------------------------------------------------------------------

    async def follow(self, shadow: "OpenTenant", progress: Callable[[int, int], None] | None = None) -> None:
        """Return when a shadow has applied all that this tenant has, with nothing under way for either.

        Where writers never leave it nothing to do, they wait until then.

        Raises:
            UnavailableError: one of the views failed.
        """
        self._followers.append(shadow)
        first = shadow.head_seq = max(shadow.head_seq, self.head_seq)
        shadow._start_pump()
        loop, caught_up = asyncio.get_running_loop(), 0.0
        try:
            while not (shadow.applied_seq == self.head_seq == self.applied_seq):
                if progress is not None:
                    progress(shadow.applied_seq, self.head_seq)
                if shadow.applied_seq >= first:
                    caught_up = caught_up or loop.time()
                    self.settling = loop.time() - caught_up >= SETTLE_AFTER_S
                behind = shadow if shadow.applied_seq < self.head_seq else self
                await behind.wait_change(behind.applied_seq)
        finally:
            self._followers.remove(shadow)
            self.settling = False
            self._released(self, 0)  # whoever waits for room may go on
        if self.failure is not None:  # it had all, and whoever is opened in its place may go on without the shadow
            raise self._failed_error()

    def fold_to(self, seq: int) -> None:
        """Have a shadow that ends at a record go on to a later one."""
        self.head_seq = max(self.head_seq, seq)
        self._start_pump()

    async def adopt(self, shadow: "OpenTenant") -> None:
        """Put a shadow's view in the place of one's own. Call it as soon as `follow` returns, with no await between.

        Raises:
            UnavailableError: the tenant's own view failed meanwhile, or was closed.
        """
        old, self._lane = self._lane, shadow._lane
        self._lane.background = False
        shadow._heir_of = self

        def swap() -> None:
            self.view, self.key = shadow.view, shadow.key
            self._thread.ingest.detach(old)

        # Before any record that is pushed from now on is worked on.
        await self._thread.call(swap)
        if self.failure is not None:
            await self._thread.detach(self._lane)
            raise self._failed_error()
        self.segments, self.snapshot_seq, self.snapshot_tokens = (
            shadow.segments,
            shadow.snapshot_seq,
            shadow.snapshot_tokens,
        )
        self.unsaved_bytes = shadow.unsaved_bytes
        self._living = shadow._living

    # --- the end --------------------------------------------------------------------------------------------------

    def _failed_on_thread(self, error: BaseException) -> None:
        self._thread.notify(lambda: (self._heir_of or self)._fail(error))

    def _fail(self, error: BaseException) -> None:
        if self.failure is None:
            self.failure = error
            self._released(self, self.admitted_bytes)
            self._drained.set()
            self._end_waiters(self._failed_error())

    def _failed_error(self) -> UnavailableError:
        return UnavailableError("the tenant's view failed and is folded afresh from its log", reason="VIEW_FAILED")

    def _end_waiters(self, error: BaseException) -> None:
        for _, _, future in self._waiters:
            if not future.done():
                future.set_exception(error)
        self._waiters.clear()
        self._wake(self._changes)

    def saved(self, snapshot: Snapshot, segments: Segments, tokens: int) -> None:
        """Take note of a snapshot that is in the store: of which parts, after how many tokens."""
        self.segments, self.snapshot_seq, self.snapshot_tokens = segments, snapshot.seq, tokens
        self.saved_seq = max(self.saved_seq, snapshot.seq)
        self.view.index.saved_without_lost()
        # What was applied since it was taken is little, and missed.
        self.unsaved_bytes, self.saved_at = self.pending_bytes, time.monotonic()

    async def close(self, *, deleted: bool = False) -> None:
        """Let the thread forget the tenant. With `deleted`, everyone who waits hears so."""
        self.failure = self.failure or UnavailableError("closed", reason="CLOSED")
        self._released(self, self.admitted_bytes)
        if self._pump is not None:
            self._pump.cancel()
        self._drained.set()
        self._end_waiters(NotFoundError("the tenant was deleted") if deleted else self._failed_error())
        if hasattr(self, "_lane"):  # else it was never open
            try:
                await self._thread.detach(self._lane)
            finally:
                # It names us, and we it: a circle, which would keep the view until some collection comes.
                self._lane.applied = self._lane.failed = _ignore


def _room(snapshot: Snapshot | None, row: TenantRow, runner: Runner) -> int:
    """Return about what a view takes of the memory, as it was saved and with weights."""
    if snapshot is not None:
        return VIEW_BYTES + sum(len(blob) for blob in snapshot.blobs.values() if blob is not None)
    created = decode_create(row.config, runner.encoder.dim)
    return VIEW_BYTES + created.memory.weights_bytes + runner.contexts.stream_bytes(created.context_memory)


def _ignore(_: object) -> None:
    """Nobody listens any more."""

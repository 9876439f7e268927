"""One tenant while it is open here: what is committed, what is applied, who waits. Lives on the event loop."""

import asyncio
import heapq
import itertools
from collections.abc import Callable

from memsvc.engine.ingest import Lane
from memsvc.engine.thread import EngineThread
from memsvc.errors import DataLossError, NotFoundError, OutOfRangeError, UnavailableError
from memsvc.store.base import Appended, Payload, Record, RecordKind, Store, TenantRow
from memsvc.tenant.record import encode_numerics
from memsvc.tenant.view import Segments, View

PAGE_BYTES = 1 << 20
"""Log read at once, and applied before more is read."""


class OpenTenant:
    """An open tenant. Its records reach the engine's thread in order, each once."""

    def __init__(self, row: TenantRow, store: Store, thread: EngineThread, released: Callable[[int], None]) -> None:
        self.row, self._store, self._thread, self._released = row, store, thread, released
        self.view: View
        self.segments = Segments(names=[], entries=0)
        self.warnings: list[str] = []
        self.head_seq = 0
        self.applied_seq = 0
        self.snapshot_seq = 0
        self.snapshot_tokens = 0
        self.pending_bytes = 0
        self.users = 0
        self.last_used = self.last_written = asyncio.get_running_loop().time()
        self.failure: BaseException | None = None
        self._pushed_seq = 0
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
    def idle(self) -> bool:
        """Whether nothing is under way for it."""
        return not (self.users or self.pending_bytes or self._waiters) and self.applied_seq >= self.head_seq

    # --- opening --------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Take the newest snapshot that verifies and fold the log after it; returns once the thread has the view.

        Raises:
            NotFoundError: the tenant was deleted.
            DataLossError: the log cannot be read.
        """
        runner = self._thread.runner
        width, encoder = runner.encoder.dim, runner.encoder.fingerprint
        loaded = await self._store.load(self.uid)
        self.warnings += [f"a snapshot was passed over, the log was folded instead: {why}" for why in loaded.corrupt]
        self.head_seq = self._counted_seq = await self._store.head(self.uid)
        restored = None
        if (snapshot := loaded.snapshot) is not None and snapshot.seq <= self.head_seq:
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
        lane = Lane(self.uid, self.view, self._applied_on_thread, self._failed_on_thread)
        await self._thread.attach(lane)
        self._start_pump()
        if restored is not None and self.view.fingerprint != runner.fingerprint:
            await self.append(RecordKind.NUMERICS, encode_numerics(runner.fingerprint, self.snapshot_seq))

    # --- committed → engine ---------------------------------------------------------------------------------------

    async def append(self, kind: RecordKind, body: bytes = b"", payloads: tuple[Payload, ...] = ()) -> Appended:
        """Append a record and hand it to the engine. Run it shielded: what the store has taken must reach the engine.

        Raises:
            AlreadyExistsError: an id is known with other content.
            UnavailableError: the store cannot write.
        """
        appended = await self._store.append(self.uid, kind, body, payloads)
        if (record := appended.record) is not None:
            self.last_written = asyncio.get_running_loop().time()
            self.head_seq = max(self.head_seq, record.seq)
            self.pending_bytes += record.size
            if record.seq == self._pushed_seq + 1 and self._pump is None:
                self._push(record)
            else:
                self._start_pump()
        return appended

    def _push(self, record: Record) -> None:
        if record.seq <= self._counted_seq:
            self.pending_bytes += record.size
        self._pushed_seq = record.seq
        self._thread.push(self.uid, record)

    def _start_pump(self) -> None:
        if self._pump is None and self._pushed_seq < self.head_seq and self.failure is None:
            self._pump = asyncio.create_task(self._pump_log())
            self._pump.add_done_callback(self._pump_ended)

    async def _pump_log(self) -> None:
        """Read from the log what was committed and not handed over, a page at a time."""
        while self._pushed_seq < self.head_seq and self.failure is None:
            for record in await self._store.read(self.uid, self._pushed_seq, PAGE_BYTES):
                if record.seq == self._pushed_seq + 1:
                    self._push(record)
            self._drained.clear()
            if self.applied_seq < self._pushed_seq:
                await self._drained.wait()

    def _pump_ended(self, task: asyncio.Task[None]) -> None:
        self._pump = None
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)
        else:
            self._start_pump()

    # --- engine → applied -----------------------------------------------------------------------------------------

    def _applied_on_thread(self, record: Record) -> None:
        seq, size = record.seq, record.size
        self._thread.notify(lambda: self._applied(seq, size))

    def _applied(self, seq: int, size: int) -> None:
        self.applied_seq = seq
        self.pending_bytes -= size
        if seq > self._counted_seq:
            self._released(size)
        if seq >= self._pushed_seq:
            self._drained.set()
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
        await future

    # --- the end --------------------------------------------------------------------------------------------------

    def _failed_on_thread(self, error: BaseException) -> None:
        self._thread.notify(lambda: self._fail(error))

    def _fail(self, error: BaseException) -> None:
        if self.failure is None:
            self.failure = error
            self._drained.set()
            self._end_waiters(self._failed_error())

    def _failed_error(self) -> UnavailableError:
        return UnavailableError("the tenant's view failed and is folded afresh from its log", reason="VIEW_FAILED")

    def _end_waiters(self, error: BaseException) -> None:
        for _, _, future in self._waiters:
            if not future.done():
                future.set_exception(error)
        self._waiters.clear()

    async def close(self, *, deleted: bool = False) -> None:
        """Let the thread forget the tenant. With `deleted`, everyone who waits hears so."""
        self.failure = self.failure or UnavailableError("closed", reason="CLOSED")
        if self._pump is not None:
            self._pump.cancel()
        self._drained.set()
        self._end_waiters(NotFoundError("the tenant was deleted") if deleted else self._failed_error())
        await self._thread.detach(self.uid)

"""The engine's one thread: it owns every tensor and every view, and does no I/O.

Reads go first; between them, ingest goes on in units of work short enough to keep reads from waiting long.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from memsvc.backbone.titans_mac.shelf import Shelf
from memsvc.engine.ingest import Ingest
from memsvc.engine.lane import Lane
from memsvc.engine.runner import Runner, prepare_thread
from memsvc.engine.shielded import heard
from memsvc.engine.way import Meter, Way, unmetered
from memsvc.errors import UnavailableError
from memsvc.memory.device import Device
from memsvc.observer import SILENT, Observer
from memsvc.recall.encoder import Encoder
from memsvc.store.types import Record

log = logging.getLogger(__name__)

Result = TypeVar("Result")

READ_RECENTLY_S = 2.0
UNIT_S = 0.08
"""A unit of encoding while nobody reads: long enough for efficient matrix products."""
UNIT_READ_S = 0.02
"""A unit of encoding while there are readers (DESIGN.md, The ways through it)."""
CALIBRATION_TOKENS = 1000
CALIBRATION_TEXT = "the quick brown fox jumps over the lazy dog and runs through the wide green field "


class EngineThread:
    """Runs jobs and ingest; everything it is given comes through `call`, `push` and their like, from the event loop.

    Args:
        encoder: makes the encoder; called on the thread.
        slots: how many tenants' weights are held ready.
        threads: torch threads.
        device: where memories are, and their arithmetic.
        shelf: the models of context memories.
        offload: whether weights leave their slots between a tenant's steps.
        observer: hears how long things took.
    """

    def __init__(
        self,
        encoder: Callable[[], Encoder],
        slots: int,
        threads: int,
        *,
        device: Device,
        shelf: Shelf,
        offload: bool = False,
        observer: Observer = SILENT,
    ) -> None:
        self._make_encoder, self._slots, self._threads, self._offload = encoder, slots, threads, offload
        self._device, self._shelf = device, shelf
        self.observer = observer
        self.meter: Meter = unmetered
        """Whoever counts tokens that are written here puts itself in its place."""
        self.started = False
        """Whether there is a runner."""
        self._wake = threading.Condition()
        self._jobs: deque[Callable[[], None]] = deque()
        self._reads: deque[Callable[[], None]] = deque()
        self._inbox: deque[Callable[[], None]] = deque()
        self._stopping = self._ended = False
        self._unanswered: set[asyncio.Future[Any]] = set()
        """What is asked of the thread and not answered: its end answers it."""
        self._last_read = 0.0
        self._rate = 4000.0
        self._thread = threading.Thread(target=self._main, name="memsvc-engine", daemon=True)
        self.runner: Runner
        self.ingest: Ingest

    async def start(self) -> None:
        """Load the encoder, measure its speed, start serving.

        Raises:
            MemsvcError: the encoder cannot be loaded.
        """
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._thread.start()
        await self._ready
        self.started = True

    async def stop(self) -> None:
        """End the thread after the unit of work under way; whoever waits for it hears that it is over."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        await asyncio.to_thread(self._thread.join)
        self._ended = True
        for future in list(self._unanswered):
            if not future.done():
                future.set_exception(_over())

    # --- from the event loop --------------------------------------------------------------------------------------

    def call(self, job: Callable[[], Result], *, read: bool = False) -> asyncio.Future[Result]:
        """Run a job on the thread, before any record that is pushed from now on is worked on.

        `read` marks one that answers a question: it may take long, waits for its turn, and rests on no such order.
        """
        future: asyncio.Future[Result] = self._asked()
        posted, request = time.monotonic(), self.observer.request()

        def run() -> None:
            if read:
                self._last_read = time.monotonic()
                self.observer.took("engine.wait", posted, self._last_read, request)
            self._settle(future, job)

        self._post(self._reads if read else self._jobs, run)
        return future

    def call_at_boundary(self, key: Callable[[], str], job: Callable[[], Result]) -> asyncio.Future[Result]:
        """Run a job when a tenant's view stands between two records; `key`, called on the thread, names the view.

        Where nothing is under way for the tenant, that is before any record that is pushed from now on.
        """
        future: asyncio.Future[Result] = self._asked()

        def enter() -> None:
            uid = key()
            if self.ingest.lane(uid) is None:
                self._settle(future, lambda: self._gone(uid))
            else:
                self.ingest.at_boundary(uid, lambda: self._settle(future, job))

        self._post(self._jobs, enter)
        return future

    def _asked(self) -> asyncio.Future[Any]:
        """Return the future of something that is asked of the thread, which is over once that is."""
        future: asyncio.Future[Any] = self._loop.create_future()
        heard(future)
        if self._ended:
            future.set_exception(_over())
            return future
        self._unanswered.add(future)
        future.add_done_callback(self._unanswered.discard)
        return future

    def _gone(self, uid: str) -> Result:  # type: ignore[type-var]  # it never returns
        raise UnavailableError(f"the view of tenant {uid} is being folded afresh", reason="VIEW_DETACHED")

    def push(self, lane: Lane, record: Record, way: Way | None = None) -> None:
        """Queue a committed record for a lane, if it is attached; in the order of their seq."""
        self._post(self._inbox, lambda: self.ingest.push(lane, record, way))

    def hurry(self, uid: str, seq: int) -> None:
        """Someone waits for a record of a tenant."""
        if self._offload:
            self._post(self._jobs, lambda: self.ingest.hurry(uid, seq))

    def attach(self, lane: Lane) -> asyncio.Future[None]:
        """Take a tenant in."""
        return self.call(lambda: self.ingest.attach(lane))

    def detach(self, lane: Lane) -> asyncio.Future[None]:
        """Let a tenant go, whether or not the caller stays: a view that nobody knows of would never go."""
        return asyncio.shield(self.call(lambda: self.ingest.detach(lane)))

    def notify(self, callback: Callable[[], None]) -> None:
        """From the thread: run something on the event loop."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(callback)

    def _post(self, queue: deque[Callable[[], None]], item: Callable[[], None]) -> None:
        with self._wake:
            queue.append(item)
            self._wake.notify()

    # --- on the thread --------------------------------------------------------------------------------------------

    def _main(self) -> None:
        try:
            prepare_thread(self._threads)
            self.runner = Runner(self._make_encoder(), self._slots, self._device, self._shelf)
            self.ingest = Ingest(self.runner, offload=self._offload, observer=self.observer)
            self._calibrate()
        except BaseException as error:
            failure = error
            self.notify(lambda: self._ready.set_exception(failure))
            return
        self.notify(lambda: self._ready.set_result(None))
        while self._turn():
            pass

    def _turn(self) -> bool:
        """One turn: jobs, reads as many as are short, one unit of ingest; or sleep until there is something to do.

        Long reads take turns with ingest: whoever waits for a record of theirs is not to wait for others' questions.
        Returns False at the end.
        """
        with self._wake:
            while not self._waiting() and (due_in := self.ingest.due_in()) != 0.0:
                self._wake.wait(due_in)
            if self._stopping:
                return False
            # Those that come from now on may rest on what is in the inbox by then.
            inbox, jobs, reads = list(self._inbox), list(self._jobs), len(self._reads)
            self._inbox.clear()
            self._jobs.clear()
        began = time.monotonic()
        for item in (*inbox, *jobs):
            item()
        for _ in range(reads):
            if time.monotonic() - began > UNIT_READ_S:
                break
            self._reads.popleft()()
        self._unit()
        self.ingest.counters.busy_s += time.monotonic() - began
        return True

    def _waiting(self) -> bool:
        return bool(self._jobs or self._reads or self._inbox or self._stopping)

    def _unit(self) -> None:
        reading = time.monotonic() - self._last_read < READ_RECENTLY_S
        try:
            self.ingest.unit(int(self._rate * (UNIT_READ_S if reading else UNIT_S)), brief=reading)
        except Exception as error:
            log.exception("a unit of ingest failed")
            self.ingest.fail_all(error)

    def _settle(self, future: asyncio.Future[Result], job: Callable[[], Result]) -> None:
        if future.cancelled():
            return
        try:
            result = job()
        except Exception as error:
            failure = error
            self.notify(lambda: None if future.done() else future.set_exception(failure))
        else:
            self.notify(lambda: None if future.done() else future.set_result(result))

    def _calibrate(self) -> None:
        """Measure the encoder, warm, so that a unit of work can be sized in tokens."""
        # As many as make a forward pass worth its while: it may take as long for fewer.
        (split,) = self.runner.split([CALIBRATION_TEXT * 2])
        batch = [split.passages[0]] * (CALIBRATION_TOKENS // len(split.passages[0].ids))
        self.runner.encode(batch)
        start = time.perf_counter()
        self.runner.encode(batch)
        tokens = sum(len(p.ids) for p in batch)
        self._rate = max(1000.0, tokens / (time.perf_counter() - start))


def _over() -> UnavailableError:
    return UnavailableError("the server is shutting down", reason="NOT_READY")

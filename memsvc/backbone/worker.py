"""The thread that computes answers: one step of each in turn, so that none waits for another to end."""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Generic, TypeVar

from memsvc.errors import MemsvcError, ResourceExhaustedError, UnavailableError

log = logging.getLogger(__name__)

Item = TypeVar("Item")

RETRY_AFTER_S = 5.0
"""When to come again to a full queue."""


class Call(Generic[Item]):
    """One answer under way. `get` is the event loop's, the rest the thread's."""

    def __init__(self, steps: Iterator[Item | None], loop: asyncio.AbstractEventLoop) -> None:
        self._steps: Iterator[Item | None] | None = steps
        self._loop = loop
        self._items: asyncio.Queue[Item | BaseException | None] = asyncio.Queue()
        self.left = False
        """Whether nobody waits for it any more."""

    async def get(self) -> Item | None:
        """Return the next item, None after the last; raise what broke the call off."""
        item = await self._items.get()
        if isinstance(item, BaseException):
            raise item
        return item

    def step(self) -> bool:
        """Do one step; whether there may be another."""
        if self.left or self._steps is None:
            self.drop()
            return False
        try:
            item = next(self._steps)
        except StopIteration:
            self.put(None)
            return False
        except MemsvcError as error:
            self.put(error)
            return False
        except Exception:  # whatever a model raises ends its answer, and not the others'
            log.exception("an answer failed")
            self.put(UnavailableError("the model failed", reason="BACKBONE_FAILED"))
            return False
        if item is not None:
            self.put(item)
        return True

    def put(self, item: Item | BaseException | None) -> None:
        """Hand an item over, or the end."""
        try:
            self._loop.call_soon_threadsafe(self._items.put_nowait, item)
        except RuntimeError:  # the loop is closed: nobody waits
            self.left = True

    def drop(self) -> None:
        """Let go of what it computed."""
        self._steps = None


class Worker(Generic[Item]):
    """Runs calls, one step of each in turn.

    Args:
        prepare: called once, on the thread, before anything else.
        running: calls that take turns; more wait.
        waiting: calls that wait; more are refused.
    """

    def __init__(self, prepare: Callable[[], None], *, running: int, waiting: int) -> None:
        self._prepare, self._most_running, self._most_waiting = prepare, running, waiting
        self._wake = threading.Condition()
        self._running: deque[Call[Item]] = deque()
        self._waiting: deque[Call[Item]] = deque()
        self._serving = self._closing = False
        self._thread = threading.Thread(target=self._main, name="memsvc-backbone", daemon=True)

    async def start(self) -> None:
        """Prepare, and begin to serve; raises what preparing raises."""
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._thread.start()
        await self._ready

    async def close(self) -> None:
        """End the thread after the step under way. Calls that are left fail."""
        with self._wake:
            self._closing, self._serving = True, False
            self._wake.notify()
        if self._thread.ident is not None:
            await asyncio.to_thread(self._thread.join)

    async def run(self, steps: Iterator[Item | None]) -> AsyncGenerator[Item, None]:
        """Yield what the steps of a call give, None aside; closing it ends the call after the step under way.

        Args:
            steps: one after the other, on the thread.

        Raises:
            ResourceExhaustedError: too many wait (reason BACKBONE_BUSY).
            UnavailableError: it does not serve, or the model failed (reason BACKBONE_FAILED).
        """
        call = self._submit(steps)
        try:
            while (item := await call.get()) is not None:
                yield item
        finally:
            self._leave(call)

    def _submit(self, steps: Iterator[Item | None]) -> Call[Item]:
        call = Call(steps, asyncio.get_running_loop())
        with self._wake:
            if not self._serving:
                raise UnavailableError("the backbone does not run", reason="BACKBONE_FAILED")
            if len(self._waiting) >= self._most_waiting and len(self._running) >= self._most_running:
                raise ResourceExhaustedError(
                    f"{len(self._running)} answers are under way and {len(self._waiting)} prompts wait for their turn",
                    retry_after=RETRY_AFTER_S,
                    reason="BACKBONE_BUSY",
                )
            self._waiting.append(call)
            self._admit()
            self._wake.notify()
        return call

    def _leave(self, call: Call[Item]) -> None:
        """Nobody waits for a call any more: it ends after the step under way."""
        call.left = True
        with self._wake:
            if call in self._waiting:
                self._waiting.remove(call)

    def _main(self) -> None:
        try:
            self._prepare()
        except BaseException as error:
            failure = error
            self._tell(lambda: self._settle(failure))
            return
        with self._wake:
            self._serving = not self._closing
        self._tell(self._settle)
        while (call := self._next()) is not None:
            if not call.step():
                with self._wake:
                    self._running.remove(call)
                    self._admit()
        for call in (*self._running, *self._waiting):
            call.drop()
            call.put(UnavailableError("the backbone is closing", reason="BACKBONE_FAILED"))
        self._running.clear()
        self._waiting.clear()

    def _next(self) -> Call[Item] | None:
        """Wait for a call whose turn it is; None at the end."""
        with self._wake:
            while self._serving and not self._running:
                self._wake.wait()
            if not self._serving:
                return None
            self._running.rotate(-1)
            return self._running[-1]

    def _admit(self) -> None:
        while self._waiting and len(self._running) < self._most_running:
            self._running.append(self._waiting.popleft())

    def _settle(self, failure: BaseException | None = None) -> None:
        """On the event loop: whoever starts it waits no longer."""
        if self._ready.done():
            return
        if failure is None:
            self._ready.set_result(None)
        else:
            self._ready.set_exception(failure)

    def _tell(self, callback: Callable[[], None]) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(callback)

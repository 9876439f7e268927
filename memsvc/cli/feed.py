"""Events that come by themselves, for a loop that has other things to do."""

import threading
from collections.abc import Iterable
from queue import Empty, SimpleQueue

from memsvc_client import Event


class Feed:
    """Reads events in a thread of its own. What the reading raises, `next` raises.

    The thread ends with the events: where they are a client's, at the latest when the client is closed.

    Attributes:
        over: there are no more.
    """

    def __init__(self, events: Iterable[Event]) -> None:
        self.over = False
        self._queue: SimpleQueue[Event | Exception | None] = SimpleQueue()
        threading.Thread(target=self._read, args=(events,), name="memsvc-watch", daemon=True).start()

    def next(self, seconds: float) -> Event | None:
        """Return the next event, or None if there is none within so many seconds."""
        if self.over:
            return None
        try:
            item = self._queue.get(timeout=max(0.0, seconds))
        except Empty:
            return None
        self.over = not isinstance(item, Event)
        if isinstance(item, Exception):
            raise item
        return item

    def _read(self, events: Iterable[Event]) -> None:
        try:
            for event in events:
                self._queue.put(event)
        except Exception as error:
            self._queue.put(error)
        else:
            self._queue.put(None)

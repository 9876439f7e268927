"""uvicorn's connections, less what lets a slow client hold one."""

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_S = 10.0
"""How long the head of a request may take to come."""
STALL_S = 30.0
"""How long an answer may wait for its reader."""


class BoundedConnection(H11Protocol):
    """Ends when its client takes too long to send a head, or to read an answer. Bodies are the endpoint's to time."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head = _Timer(HEAD_S, self._end)
        self._unread = _Timer(STALL_S, self._end_if_unread)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Wait for the first head."""
        super().connection_made(transport)
        self._head.start()

    def data_received(self, data: bytes) -> None:
        """Go on waiting, unless the head is whole."""
        super().data_received(data)
        if self._is_busy():
            self._head.stop()
            if not self.flow.write_paused:  # the answer before this request was read
                self._unread.stop()
        elif not self._head.runs:
            self._head.start()

    def pause_writing(self) -> None:
        """The client does not read."""
        super().pause_writing()
        self._unread.start()

    def resume_writing(self) -> None:
        """It does again."""
        super().resume_writing()
        self._unread.stop()

    def on_response_complete(self) -> None:
        """What is sent may still wait for the client to read it."""
        super().on_response_complete()
        if not self._unread.runs and not self._is_busy():  # the next request may be under way
            self._unread.start()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        super().connection_lost(exc)
        self._head.stop()
        self._unread.stop()

    def _end(self) -> None:
        self.transport.abort()

    def _is_busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _end_if_unread(self) -> None:
        if self.transport.get_write_buffer_size():
            self.transport.abort()


class _Timer:
    """Does something after so many seconds, unless it is stopped before."""

    def __init__(self, seconds: float, action: Callable[[], None]) -> None:
        self._seconds, self._action = seconds, action
        self._handle: asyncio.TimerHandle | None = None

    @property
    def runs(self) -> bool:
        return self._handle is not None

    def start(self) -> None:
        self.stop()
        self._handle = asyncio.get_running_loop().call_later(self._seconds, self._fire)

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _fire(self) -> None:
        self._handle = None
        self._action()

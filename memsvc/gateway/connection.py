"""uvicorn's connections, less what lets a slow client hold one."""

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_S = 10.0
"""How long the head of a request may take to come."""
STALL_S = 30.0
"""How long an answer may wait for its reader."""


class BoundedConnection(H11Protocol):
    """Ends when its client takes too long to send a head, or to read an answer. Bodies are the endpoint's to time."""

    _head: asyncio.TimerHandle | None = None
    _stall: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Wait for the first head."""
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        """Go on waiting, unless the head is whole."""
        super().data_received(data)
        if self._is_busy():
            self._head = _cancelled(self._head)
            if not self.flow.write_paused:  # what was unread before is read
                self._stall = _cancelled(self._stall)
        elif self._head is None:
            self._await_head()

    def pause_writing(self) -> None:
        """The client does not read."""
        super().pause_writing()
        self._await_reader()

    def resume_writing(self) -> None:
        """It does again."""
        super().resume_writing()
        self._stall = _cancelled(self._stall)

    def on_response_complete(self) -> None:
        """What is sent may still wait for the client to read it."""
        super().on_response_complete()
        if self._stall is None and not self._is_busy():  # the next one may be under way
            self._await_reader()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        self._head, self._stall = _cancelled(self._head), _cancelled(self._stall)
        super().connection_lost(exc)

    def _is_busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _await_head(self) -> None:
        self._head = self.loop.call_later(HEAD_S, self.transport.abort)

    def _await_reader(self) -> None:
        self._stall = self.loop.call_later(STALL_S, self._end_if_unread)

    def _end_if_unread(self) -> None:
        self._stall = None
        if self.transport.get_write_buffer_size():
            self.transport.abort()


def _cancelled(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()

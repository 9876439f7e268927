"""The write stream's protocol, without I/O: what to say next, and what an answer means."""

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from grpc import StatusCode

from memsvc.v1 import memory_pb2, types_pb2
from memsvc_client import _replies, _requests
from memsvc_client.errors import MemsvcError
from memsvc_client.types import Entry, Item, Receipt

# Larger batches gain nothing: a message costs 250 us, and a server that is behind lets a whole batch wait for room.
BATCH_ENTRIES = 64
BATCH_BYTES = 64 * 1024
MAX_IN_FLIGHT_BATCHES = 64
MAX_IN_FLIGHT_BYTES = 8 * 1024 * 1024


class _Batch(NamedTuple):
    request: memory_pb2.WriteStreamRequest
    size: int


class Exchange:
    """One caller's stream of batches, over as many connections as it takes.

    Batches are sent in order and acknowledged in order. What a connection leaves unacknowledged is sent again on the
    next one, under the same ids. The half-close comes after the answer to a flush, because it commits nothing.

    The first batch of a connection goes alone. gRPC can lose the reason for which a server ends a call while messages
    are on the way; on the next connection the batch that was refused is the first, and the reason comes through.

    Attributes:
        done: the flush that follows the last batch is answered.
        acknowledged: batches acknowledged so far.
    """

    _FLUSH = 1

    def __init__(self, tenant: str) -> None:
        self.done = False
        self.acknowledged = 0
        self._tenant = _requests.tenant(tenant)
        self._open = False
        self._proven = False
        self._ended = False
        self._flushed = False
        self._window = 0
        self._items = 0
        self._gathering: list[types_pb2.Entry] = []
        self._gathered = 0
        self._unsent: deque[_Batch] = deque()
        self._sent: deque[_Batch] = deque()
        self._in_flight = 0

    def restart(self) -> memory_pb2.WriteStreamRequest:
        """Begin on a new connection; return its first message."""
        self._unsent.extendleft(reversed(self._sent))
        self._sent.clear()
        self._in_flight = 0
        self._open = self._proven = self._flushed = False
        return memory_pb2.WriteStreamRequest(open=memory_pb2.WriteStreamOpen(tenant=self._tenant))

    @property
    def hungry(self) -> bool:
        """Whether another item can be put to use now."""
        return self._open and not self._ended and not self._unsent and self._has_room(1)

    def add(self, item: Item) -> None:
        """Take an item of the caller's: a list is a batch of its own, entries are gathered into batches."""
        if not isinstance(item, Entry | str):
            self._close_batch()
            self._queue(_requests.batch(item))
            return
        entry = _requests.entry(item, f"entries[{self._items}]")
        self._items += 1
        size = entry.ByteSize()
        if self._gathered + size > BATCH_BYTES:
            self._close_batch()
        self._gathering.append(entry)
        self._gathered += size
        if len(self._gathering) == BATCH_ENTRIES:
            self._close_batch()

    def end(self) -> None:
        """Take note that there are no more items."""
        self._close_batch()
        self._ended = True

    def requests(self) -> Iterator[memory_pb2.WriteStreamRequest]:
        """Yield the messages to send now."""
        while self._open and self._unsent and self._has_room(self._unsent[0].size):
            batch = self._unsent.popleft()
            self._sent.append(batch)
            self._in_flight += batch.size
            yield batch.request
        if self._open and self._ended and not self._unsent and not self._flushed:
            self._flushed = True
            yield memory_pb2.WriteStreamRequest(flush=memory_pb2.WriteStreamFlush(token=self._FLUSH))

    def receive(self, response: memory_pb2.WriteStreamResponse) -> Receipt | None:
        """Take an answer; return the receipt if it acknowledges a batch.

        Raises:
            MemsvcError: it answers nothing that was said.
        """
        self._window = response.window
        kind = response.WhichOneof("message")
        if kind == "opened":
            self._open = True
        elif kind == "flushed" and self._flushed and not self._sent:
            self.done = True
        elif kind == "ack" and self._sent:
            self._in_flight -= self._sent.popleft().size
            self.acknowledged += 1
            self._proven = True
            return _replies.receipt(response.ack)
        elif kind is not None:
            raise MemsvcError(f"the server sent {kind!r} where none was due", code=StatusCode.INTERNAL)
        return None

    def _has_room(self, size: int) -> bool:
        """Whether `size` bytes more may be on the way. One batch always may: the server then lets it wait."""
        if not self._sent or not self._proven:
            return not self._sent
        limit = min(self._window, MAX_IN_FLIGHT_BYTES)
        return self._in_flight + size <= limit and len(self._sent) < MAX_IN_FLIGHT_BATCHES

    def _close_batch(self) -> None:
        if self._gathering:
            self._queue(self._gathering)
            self._gathering, self._gathered = [], 0

    def _queue(self, entries: list[types_pb2.Entry]) -> None:
        request = memory_pb2.WriteStreamRequest(batch=memory_pb2.WriteStreamBatch(entries=entries))
        self._unsent.append(_Batch(request, _requests.fitting(request.ByteSize())))

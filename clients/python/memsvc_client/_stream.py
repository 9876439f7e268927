"""The blocking write stream: an exchange over gRPC calls, one call for each connection that it takes."""

import threading
import time
from collections.abc import Generator, Iterable, Iterator
from queue import Empty, SimpleQueue
from typing import Self, TypeAlias

import grpc

from memsvc.v1.memory_pb2 import WriteStreamRequest, WriteStreamResponse
from memsvc_client._core import GRACE, Core, StreamBroken
from memsvc_client._exchange import Exchange
from memsvc_client.types import Item, Receipt

_Method: TypeAlias = "grpc.StreamStreamMultiCallable[WriteStreamRequest, WriteStreamResponse]"


def write_stream(
    core: Core, method: _Method, exchange: Exchange, items: Iterable[Item], timeout: float
) -> Generator[Receipt, None, None]:
    """Yield a receipt for each batch, reconnecting where the stream breaks. Closing the generator cancels the call."""
    source, retry = iter(items), None
    while True:
        acknowledged = exchange.acknowledged
        try:
            with _Link(core, method, timeout) as link:
                link.send(exchange.restart())
                while not exchange.done:
                    for request in exchange.requests():
                        link.send(request)
                    if exchange.hungry and not link.has_answer:
                        _feed(exchange, source)
                    elif receipt := exchange.receive(link.receive()):
                        yield receipt
                link.finish()
                return
        except StreamBroken as broken:
            if retry is None or exchange.acknowledged > acknowledged:
                retry = core.retry(timeout)
            delay = core.pause(retry, broken.failure)
        time.sleep(delay)


def _feed(exchange: Exchange, source: Iterator[Item]) -> None:
    try:
        item = next(source)
    except StopIteration:
        exchange.end()
    else:
        exchange.add(item)


class _Link:
    """One call. gRPC's own thread sends; ours collects the answers, so that waiting for one can time out."""

    def __init__(self, core: Core, method: _Method, timeout: float) -> None:
        self._core = core
        self._timeout = timeout
        self._outbox: SimpleQueue[WriteStreamRequest | None] = SimpleQueue()
        self._inbox: SimpleQueue[WriteStreamResponse | StreamBroken] = SimpleQueue()
        self._call = method(iter(self._outbox.get, None))
        self._reader = threading.Thread(target=self._read, name="memsvc-write-stream", daemon=True)

    def __enter__(self) -> Self:
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._outbox.put(None)  # frees gRPC's thread
        self._call.cancel()
        self._reader.join()

    @property
    def has_answer(self) -> bool:
        """Whether `receive` returns at once."""
        return not self._inbox.empty()

    def send(self, request: WriteStreamRequest) -> None:
        """Hand over a message."""
        self._outbox.put(request)

    def receive(self) -> WriteStreamResponse:
        """Return the next answer.

        Raises:
            StreamBroken: the call is over.
            DeadlineExceededError: there is none in time.
        """
        try:
            answer = self._inbox.get(timeout=self._timeout)
        except Empty:
            raise self._core.silence(self._timeout) from None
        if isinstance(answer, StreamBroken):
            raise answer
        return answer

    def finish(self) -> None:
        """Half-close, and let the server end the call."""
        self._outbox.put(None)
        self._reader.join(GRACE)

    def _read(self) -> None:
        try:
            for response in self._call:
                self._inbox.put(response)
        except grpc.RpcError as failure:
            self._inbox.put(StreamBroken(failure))
        else:
            self._inbox.put(StreamBroken(None))

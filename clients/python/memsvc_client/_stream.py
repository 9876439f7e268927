"""The blocking write stream: an exchange over gRPC calls, one call for each connection that it takes."""

import threading
import time
from collections.abc import Generator, Iterable, Iterator
from queue import Empty, SimpleQueue
from typing import Self

import grpc

from memsvc.v1.memory_pb2 import WriteStreamRequest, WriteStreamResponse
from memsvc_client._core import GRACE, StreamBroken
from memsvc_client._exchange import Exchange
from memsvc_client._peers import Peer, Peers
from memsvc_client._trip import Trip
from memsvc_client.types import Item, Receipt


def write_stream(peers: Peers, trip: Trip, exchange: Exchange, items: Iterable[Item]) -> Generator[Receipt, None, None]:
    """Yield a receipt for each batch, reconnecting where the stream breaks. Closing the generator cancels the call."""
    source, broken_before = iter(items), False
    while True:
        acknowledged = exchange.acknowledged
        try:
            with peers.at(trip.begin()) as peer, _Link(peer, trip) as link:
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
            if not broken_before or exchange.acknowledged > acknowledged:
                trip.renew()
            broken_before = True
            delay = trip.pause(broken.failure)
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

    def __init__(self, peer: Peer, trip: Trip) -> None:
        self._trip = trip
        self._outbox: SimpleQueue[WriteStreamRequest | None] = SimpleQueue()
        self._inbox: SimpleQueue[WriteStreamResponse | StreamBroken] = SimpleQueue()
        self._call = peer.memory.WriteStream(iter(self._outbox.get, None))
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
            answer = self._inbox.get(timeout=self._trip.timeout)
        except Empty:
            raise self._trip.silence() from None
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

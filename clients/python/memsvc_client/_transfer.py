"""Blocking transfers of whole tenants."""

import threading
import time
from collections.abc import Iterator
from queue import SimpleQueue

import grpc

from memsvc.v1.tenants_pb2 import ExportTenantRequest, ImportTenantRequest, ImportTenantResponse
from memsvc_client._files import NewFile, Progress, Source
from memsvc_client._peers import Peer, Peers
from memsvc_client._trip import Trip

AHEAD = 4
"""Messages that may wait for the network."""


def download(peers: Peers, trip: Trip, request: ExportTenantRequest, file: NewFile, progress: Progress | None) -> None:
    """Fill a file, from its beginning where the stream breaks, and put it in its place."""
    while True:
        try:
            with peers.at(trip.begin()) as peer:
                _receive(peer, trip, request, file, progress)
            break
        except grpc.RpcError as failure:
            delay = trip.pause(failure)
        time.sleep(delay)
        file.restart()
    file.commit()


def _receive(peer: Peer, trip: Trip, request: ExportTenantRequest, file: NewFile, progress: Progress | None) -> None:
    call = peer.tenants.ExportTenant(request, timeout=trip.remaining)
    total = 0
    try:
        for part in call:
            size, total = file.write(part.data), total or part.total_bytes
            if progress:
                progress(size, max(size, total))
    finally:
        call.cancel()


def upload(peers: Peers, trip: Trip, source: Source, progress: Progress | None) -> ImportTenantResponse:
    """Send a file, from its beginning where the call breaks, and return the answer."""
    while True:
        try:
            with peers.at(trip.begin()) as peer:
                return _send(peer, trip, source, progress)
        except grpc.RpcError as failure:
            delay = trip.pause(failure)
        time.sleep(delay)
        source.restart()


def _send(peer: Peer, trip: Trip, source: Source, progress: Progress | None) -> ImportTenantResponse:
    """Send a file in one call.

    gRPC's own thread sends, ours reads the file: what the reading raises is then raised here, and ends the call before
    the server can take a part for the whole.
    """
    outbox: SimpleQueue[ImportTenantRequest | None] = SimpleQueue()
    room = threading.Semaphore(AHEAD)

    def sending() -> Iterator[ImportTenantRequest]:
        while (message := outbox.get()) is not None:
            yield message
            room.release()

    call = peer.tenants.ImportTenant.future(sending(), timeout=trip.remaining)
    call.add_done_callback(lambda _: room.release())  # nobody takes messages any more
    try:
        sent = 0
        for message in source.messages():
            room.acquire()
            if call.done():
                break
            sent += len(message.data)
            outbox.put(message)
            if progress:
                progress(sent, max(sent, source.size))
        else:
            outbox.put(None)
        return call.result()
    finally:
        call.cancel()
        outbox.put(None)  # frees gRPC's thread

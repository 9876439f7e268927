"""Blocking transfers of whole tenants."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from queue import SimpleQueue
from typing import TypeAlias

import grpc

from memsvc.v1.tenants_pb2 import ExportTenantRequest, ExportTenantResponse, ImportTenantRequest, ImportTenantResponse
from memsvc_client._core import Core
from memsvc_client._files import NewFile

_Export: TypeAlias = "grpc.UnaryStreamMultiCallable[ExportTenantRequest, ExportTenantResponse]"
_Import: TypeAlias = "grpc.StreamUnaryMultiCallable[ImportTenantRequest, ImportTenantResponse]"

AHEAD = 4
"""Messages that may wait for the network."""


def download(  # noqa: PLR0917
    core: Core,
    method: _Export,
    request: ExportTenantRequest,
    file: NewFile,
    timeout: float | None,
    progress: Callable[[int], object] | None,
) -> None:
    """Fill a file, from its beginning where the stream breaks, and put it in its place."""
    retry = core.retry(timeout)
    while True:
        call = method(request, timeout=retry.remaining)
        try:
            for part in call:
                size = file.write(part.data)
                if progress:
                    progress(size)
            break
        except grpc.RpcError as failure:
            delay = core.pause(retry, failure)
        finally:
            call.cancel()
        time.sleep(delay)
        file.restart()
    file.commit()


def upload(
    core: Core,
    method: _Import,
    messages: Iterable[ImportTenantRequest],
    timeout: float,
    progress: Callable[[int], object] | None,
) -> ImportTenantResponse:
    """Send messages in one call, which is not tried again, and return the answer.

    gRPC's own thread sends, ours reads the file: what the reading raises is then raised here, and ends the call before
    the server can take a part for the whole.
    """
    outbox: SimpleQueue[ImportTenantRequest | None] = SimpleQueue()
    room = threading.Semaphore(AHEAD)

    def sending() -> Iterator[ImportTenantRequest]:
        while (message := outbox.get()) is not None:
            yield message
            room.release()

    call = method.future(sending(), timeout=timeout)
    call.add_done_callback(lambda _: room.release())  # nobody takes messages any more
    try:
        sent = 0
        for message in messages:
            room.acquire()
            if call.done():
                break
            sent += len(message.data)
            outbox.put(message)
            if progress:
                progress(sent)
        else:
            outbox.put(None)
        return call.result()
    except grpc.RpcError as failure:
        raise core.error(failure) from failure
    finally:
        call.cancel()
        outbox.put(None)  # frees gRPC's thread

"""Asyncio transfers of whole tenants: the twin of `_transfer`. Files are read and written in threads."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeAlias

import grpc
import grpc.aio

from memsvc.v1.tenants_pb2 import ExportTenantRequest, ExportTenantResponse, ImportTenantRequest, ImportTenantResponse
from memsvc_client._aio_stream import failing_when_closed, is_taken
from memsvc_client._files import NewFile, Progress, Source
from memsvc_client._peers import AioPeers
from memsvc_client._trip import Trip

_Export: TypeAlias = "grpc.aio.UnaryStreamCall[ExportTenantRequest, ExportTenantResponse]"
_Import: TypeAlias = "grpc.aio.StreamUnaryCall[ImportTenantRequest, ImportTenantResponse]"


async def download(
    peers: AioPeers, trip: Trip, request: ExportTenantRequest, file: NewFile, progress: Progress | None
) -> None:
    """Fill a file, from its beginning where the stream breaks, and put it in its place."""
    while True:
        try:
            async with peers.at(trip.begin()) as peer:
                await _receive(peer.tenants.ExportTenant(request, timeout=trip.remaining), file, progress)
            break
        except grpc.RpcError as failure:
            delay = trip.pause(failure)
        await asyncio.sleep(delay)
        file.restart()
    await asyncio.to_thread(file.commit)


async def _receive(call: _Export, file: NewFile, progress: Progress | None) -> None:
    total = 0
    try:
        with failing_when_closed():
            while isinstance(part := await call.read(), ExportTenantResponse):
                size, total = await asyncio.to_thread(file.write, part.data), total or part.total_bytes
                if progress:
                    progress(size, max(size, total))
    finally:
        call.cancel()


async def upload(peers: AioPeers, trip: Trip, source: Source, progress: Progress | None) -> ImportTenantResponse:
    """Send a file, from its beginning where the call breaks, and return the answer."""
    while True:
        try:
            async with peers.at(trip.begin()) as peer:
                return await _send(peer.tenants.ImportTenant(timeout=trip.remaining), source, progress)
        except grpc.RpcError as failure:
            delay = trip.pause(failure)
        await asyncio.sleep(delay)
        source.restart()


async def _send(call: _Import, source: Source, progress: Progress | None) -> ImportTenantResponse:
    """Send a file in one call."""
    failures: list[grpc.aio.AioRpcError] = []
    over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def end(_: object) -> None:
        failures.append(_failure(call))
        if not over.done():
            over.set_result(None)

    call.add_done_callback(end)
    messages, sent = source.messages(), 0
    try:
        with failing_when_closed():
            while (message := await asyncio.to_thread(next, messages, None)) is not None:
                if not await is_taken(call.write(message), over):
                    break  # The call is over, and says why.
                sent += len(message.data)
                if progress:
                    progress(sent, max(sent, source.size))
            else:
                with suppress(Exception):  # gRPC's own, of no public class, where the server was faster
                    await call.done_writing()
            return await call
    except grpc.RpcError as failure:
        # A refused message puts an INTERNAL error of gRPC's own in the place of the server's status, or before it.
        told = [each for each in failures if each.code() is not grpc.StatusCode.INTERNAL or each.trailing_metadata()]
        raise (told[0] if told else failure) from failure
    finally:
        call.cancel()


def _failure(call: grpc.aio.Call) -> grpc.aio.AioRpcError:
    """Return the status that a call has just got. It may have another one soon."""
    return grpc.aio.AioRpcError(
        _at_once(call.code()),
        grpc.aio.Metadata(),
        _at_once(call.trailing_metadata()) or grpc.aio.Metadata(),
        details=_at_once(call.details()),
    )


def _at_once(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine that waits for nothing, because a call has its status."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    coroutine.close()
    raise AssertionError("a call that has its status waits for it")

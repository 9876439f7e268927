"""Asyncio transfers of whole tenants: the twin of `_transfer`. Files are read and written in threads."""
# ruff: noqa: ASYNC109  the timeout goes to the server too, as a deadline

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from typing import Any, TypeAlias

import grpc
import grpc.aio

from memsvc.v1.tenants_pb2 import ExportTenantRequest, ExportTenantResponse, ImportTenantRequest, ImportTenantResponse
from memsvc_client._aio_stream import failing_when_closed
from memsvc_client._core import Core
from memsvc_client._files import NewFile

_Export: TypeAlias = "grpc.aio.UnaryStreamMultiCallable[ExportTenantRequest, ExportTenantResponse]"
_Import: TypeAlias = "grpc.aio.StreamUnaryMultiCallable[ImportTenantRequest, ImportTenantResponse]"


async def download(  # noqa: PLR0917
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
            with failing_when_closed():
                while isinstance(part := await call.read(), ExportTenantResponse):
                    size = await asyncio.to_thread(file.write, part.data)
                    if progress:
                        progress(size)
            break
        except grpc.RpcError as failure:
            delay = core.pause(retry, failure)
        finally:
            call.cancel()
        await asyncio.sleep(delay)
        file.restart()
    await asyncio.to_thread(file.commit)


async def upload(
    core: Core,
    method: _Import,
    messages: Iterator[ImportTenantRequest],
    timeout: float,
    progress: Callable[[int], object] | None,
) -> ImportTenantResponse:
    """Send messages in one call, which is not tried again, and return the answer."""
    call = method(timeout=timeout)
    failures: list[grpc.aio.AioRpcError] = []
    call.add_done_callback(lambda _: failures.append(_failure(call)))
    sent = 0
    try:
        with failing_when_closed():
            while (message := await asyncio.to_thread(next, messages, None)) is not None:
                try:
                    await call.write(message)
                except (grpc.RpcError, asyncio.InvalidStateError):
                    break  # The call is over, and says why.
                sent += len(message.data)
                if progress:
                    progress(sent)
            else:
                with suppress(Exception):  # gRPC's own, of no public class, where the server was faster
                    await call.done_writing()
            return await call
    except grpc.RpcError as failure:
        # A refused message puts an INTERNAL error of gRPC's own in the place of the server's status, or before it.
        told = [each for each in failures if each.code() is not grpc.StatusCode.INTERNAL or each.trailing_metadata()]
        raise core.error(told[0] if told else failure) from failure
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

"""The HTTP gateway of a server: where it listens, and how it reaches the service in its own process."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import grpc
import structlog

from memsvc.errors import FailedPreconditionError, UnavailableError
from memsvc.server.config import Settings
from memsvc.server.tls import open_certificates

if TYPE_CHECKING:
    from memsvc.gateway.endpoint import Knows
    from memsvc.gateway.gateway import Gateway

log = structlog.get_logger("memsvc.http")


def open_gateway(settings: Settings, server: grpc.aio.Server, knows: "Knows") -> AbstractAsyncContextManager[object]:
    """Take the gateway's port, where there is to be one; it serves while the context is held.

    Args:
        settings: say where.
        server: not started; it gets a socket that the gateway alone can reach.
        knows: says whether a call's metadata have a valid credential.

    Raises:
        FailedPreconditionError: the packages for it are not installed.
        InvalidArgumentError: a certificate cannot be used; names the setting.
        UnavailableError: the port, or the socket, cannot be had.
    """
    if settings.http_port is None:
        return nullcontext()
    try:
        from memsvc.gateway.gateway import Gateway, GatewayConfig  # noqa: PLC0415  # an extra
    except ModuleNotFoundError as error:
        raise FailedPreconditionError(
            "http_port: HTTP needs its server: pip install 'memsvc[http]'", reason="EXTRA_MISSING"
        ) from error
    certificates = open_certificates(settings)
    config = GatewayConfig(
        host=settings.host,
        port=settings.http_port,
        tls=None if certificates is None else certificates.context(),
        hosts=tuple(settings.http_hosts),
        origins=tuple(settings.http_origins),
        console=settings.console,
    )
    inside = TemporaryDirectory(prefix="memsvc-")  # its owner's alone
    target = f"unix:{Path(inside.name) / 'service'}"
    try:
        server.add_insecure_port(target)
    except RuntimeError as error:
        raise UnavailableError(
            f"http_port: the gateway's own socket cannot be made, {target}; is TMPDIR there, and short?"
        ) from error
    return _serving(Gateway(config, target, knows), inside)


@asynccontextmanager
async def _serving(gateway: "Gateway", inside: "TemporaryDirectory[str]") -> AsyncIterator[None]:
    with inside:
        async with gateway:
            log.info("serving HTTP", url=gateway.url)
            yield

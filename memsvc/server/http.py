"""The HTTP gateway of a server: where it listens, and how it reaches the service in its own process and in others."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing, contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import grpc
import structlog
from memsvc_client import TLS
from memsvc_client import InvalidArgumentError as Refused

from memsvc.errors import FailedPreconditionError, InvalidArgumentError, UnavailableError
from memsvc.server.config import Settings
from memsvc.server.tls import open_certificates

if TYPE_CHECKING:
    from memsvc.gateway.endpoint import Knows
    from memsvc.gateway.gateway import Gateway

log = structlog.get_logger("memsvc.http")


@contextmanager
def open_gateway(
    settings: Settings, server: grpc.aio.Server, knows: "Knows"
) -> Iterator[AbstractAsyncContextManager[object]]:
    """Hold the gateway's port, where there is to be one; it serves while what this gives is held too.

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
        yield nullcontext()
        return
    try:
        from memsvc.gateway.gateway import Gateway, GatewayConfig  # noqa: PLC0415  # an extra
        from memsvc.gateway.owners import Owners  # noqa: PLC0415
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
    try:
        owners = Owners(_tls_of_owners(settings), plaintext=settings.insecure_expose)
    except Refused as error:
        raise InvalidArgumentError("http_owner_ca", str(error)) from error
    with TemporaryDirectory(prefix="memsvc-") as inside:  # its owner's alone
        target = f"unix:{Path(inside) / 'service'}"
        try:
            server.add_insecure_port(target)
        except RuntimeError as error:
            raise UnavailableError(
                f"http_port: the gateway's own socket cannot be made, {target}; is TMPDIR there, and short?"
            ) from error
        with closing(Gateway(config, target, knows, owners)) as gateway:
            yield _serving(gateway)


@asynccontextmanager
async def _serving(gateway: "Gateway") -> AsyncIterator[None]:
    async with gateway:
        log.info("serving HTTP", url=gateway.url)
        yield


def _tls_of_owners(settings: Settings) -> bool | TLS | None:
    """Return how the other servers on the same store are reached, which are set up as this one; None where not."""
    # Where callers have to show a certificate we could show our own alone: an owner would take them for this server.
    if not settings.store.get_secret_value() or settings.tls_client_ca is not None:
        return None
    return settings.tls_cert is not None and TLS(ca=settings.http_owner_ca)

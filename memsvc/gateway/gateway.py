"""The gateway's life: take the port, serve, end."""

import asyncio
import socket
import ssl
from contextlib import AsyncExitStack, nullcontext, suppress
from dataclasses import dataclass, field
from typing import Any, Self

import uvicorn

from memsvc.errors import UnavailableError
from memsvc.gateway.app import make_app
from memsvc.gateway.calls import Calls
from memsvc.gateway.connection import BoundedConnection
from memsvc.gateway.conversion import Converter
from memsvc.gateway.endpoint import Knows
from memsvc.gateway.owners import Owners

MOST_CONNECTIONS = 1024
BACKLOG = 128
END_S = 1
"""How long requests may take to end once the service has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayConfig:
    """What a gateway is told."""

    host: str
    """Address to listen on."""
    port: int
    """0 takes a free one."""
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    """For encrypted connections."""
    hosts: tuple[str, ...] = ()
    """Names by which clients may call it, beside `host` and those of loopback."""
    origins: tuple[str, ...] = ()
    """Of web pages that may call it."""
    console: bool = False
    """Whether to serve the console's page."""


class Gateway:
    """Has its port from the start on until it is closed; serves within `async with`, and closes itself after it.

    Args:
        config: what it is told.
        target: where the service listens, in gRPC's words.
        knows: says of a call's metadata whether they are worth reading a request for.
        owners: reaches the other processes of the deployment.

    Raises:
        UnavailableError: the port cannot be had.
    """

    def __init__(self, config: GatewayConfig, target: str, knows: Knows, owners: Owners) -> None:
        self._config, self._target, self._knows, self._owners = config, target, knows, owners
        self._socket = _listening(config)

    @property
    def url(self) -> str:
        """Where it listens."""
        host, port = self._socket.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        return f"{'https' if self._config.tls else 'http'}://{shown}:{port}"

    def close(self) -> None:
        """Let the port go."""
        self._socket.close()

    async def __aenter__(self) -> Self:
        """Serve."""
        config = self._config
        async with AsyncExitStack() as held:
            held.callback(self.close)
            converter = Converter()
            held.callback(converter.close)
            calls = Calls(self._target, self._owners)
            held.push_async_callback(calls.close)
            hosts = (config.host, *config.hosts)
            app = make_app(calls, self._knows, converter, hosts, config.origins, with_console=config.console)
            server = _Server(_uvicorn(app, config.tls))
            held.push_async_callback(_end, server, asyncio.create_task(server.serve([self._socket])))
            self._held = held.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        """End, with what is still under way."""
        await self._held.aclose()


async def _end(server: uvicorn.Server, serving: "asyncio.Task[None]") -> None:
    server.should_exit = True
    with suppress(asyncio.CancelledError):
        await serving


class _Server(uvicorn.Server):
    """uvicorn's, less its hands on the signals: the process has its own."""

    def capture_signals(self) -> Any:
        return nullcontext()


def _uvicorn(app: Any, tls: ssl.SSLContext | None) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=BoundedConnection,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_graceful_shutdown=END_S,
        ssl_context_factory=None if tls is None else lambda _config, _default: tls,
    )


def _listening(config: GatewayConfig) -> socket.socket:
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((config.host, config.port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise UnavailableError(f"http_port {config.port} on {config.host} cannot be had: {error.strerror}") from error
    listener.setblocking(False)
    return listener

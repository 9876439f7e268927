"""The page that Prometheus reads: HTTP in threads of its own, so that it answers whatever the server is busy with."""

import socket
from types import TracebackType
from typing import Self

from prometheus_client import CollectorRegistry, start_http_server

from memsvc.errors import UnavailableError


class Exposition:
    """Serves a registry until the end of its context.

    Args:
        registry: what to show.
        host: address to listen on. There is no authentication: whoever reaches it reads the figures.
        port: 0 takes a free one.

    Raises:
        UnavailableError: the port cannot be had.
    """

    def __init__(self, registry: CollectorRegistry, host: str, port: int) -> None:
        try:
            self._server, self._thread = start_http_server(port, host, registry)
        except (OSError, socket.gaierror) as error:
            raise UnavailableError(
                f"metrics_port: port {port} on {host} cannot be had: {error.strerror or error}"
            ) from error
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self._server.server_port}/metrics"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

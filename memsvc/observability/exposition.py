"""The page that Prometheus reads: HTTP in threads of its own, so that it answers whatever the server is busy with."""

import socket
from socketserver import ThreadingMixIn
from threading import BoundedSemaphore, Thread
from types import TracebackType
from typing import Any, Self
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app

from memsvc.errors import UnavailableError

MOST_READERS = 8
"""At once; the next ones are turned away."""
READER_S = 5.0
"""What a reader may take to say something, or to take in some of the answer."""


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
            kind = _Server6 if socket.getaddrinfo(host, port)[0][0] is socket.AF_INET6 else _Server
            self._server = make_server(host, port, make_wsgi_app(registry), kind, _Handler)
        except OSError as error:
            raise UnavailableError(
                f"metrics_port: port {port} on {host} cannot be had: {error.strerror or error}"
            ) from error
        self._thread = Thread(target=self._server.serve_forever, name="memsvc-metrics", daemon=True)
        self._thread.start()
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


class _Server(ThreadingMixIn, WSGIServer):
    """A thread for each reader, and not more of them than there may be."""

    daemon_threads = True

    def __init__(self, *args: Any) -> None:
        self._room = BoundedSemaphore(MOST_READERS)
        super().__init__(*args)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._room.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A reader that goes away is none of our business."""


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    timeout = READER_S

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: it would be on stderr, and in no form."""

"""What every request passes first: it gets an id, its path stays as it was sent, and Host and Origin are looked at.

A web page can make a browser send requests to a server on the reader's own machine, under a name of the page's choice
(DNS rebinding). So only names that the operator knows are answered to, and only pages that he named, or of this very
server.
"""

from collections.abc import Collection
from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from memsvc import names
from memsvc.gateway.forwarded import REQUEST_ID
from memsvc.gateway.problems import RefusedError

LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Front:
    """An ASGI application before another.

    Args:
        app: the other.
        hosts: names and addresses that clients may use for this server, beside those of loopback.
        origins: of pages that may call it from a browser.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str], origins: Collection[str]) -> None:
        self._app = app
        self._hosts = {host.lower() for host in (*LOOPBACK, *hosts)}
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        headers = Headers(scope=scope)
        named = scope.setdefault("state", {})["request_id"] = names.call_id(headers.get(REQUEST_ID, ""))

        async def send_named(message: Message) -> None:
            if message["type"] == "http.response.start":
                answered = MutableHeaders(scope=message)
                answered[REQUEST_ID] = named
                answered["cache-control"] = "no-store"
                answered["x-content-type-options"] = "nosniff"
            await send(message)

        try:
            self._check(headers, scope["scheme"])
        except RefusedError as error:
            await error.problem.response(named)(scope, receive, send_named)
            return
        # An id in the path may have a slash in it, which is told from those between segments only while encoded.
        scope["path"] = scope["raw_path"].decode("latin-1")
        await self._app(scope, receive, send_named)

    def _check(self, headers: Headers, scheme: str) -> None:
        host = headers.get("host", "")
        if _name(host) not in self._hosts:
            raise RefusedError(
                HTTPStatus.MISDIRECTED_REQUEST,
                "HOST_UNKNOWN",
                "host: is no name of this server; its operator names them in http_hosts",
            )
        origin = headers.get("origin")
        if origin is not None and origin not in self._origins and origin != f"{scheme}://{host}":
            raise RefusedError(
                HTTPStatus.FORBIDDEN,
                "ORIGIN_UNKNOWN",
                "origin: pages of it may not call this server; its operator names them in http_origins",
            )


def _name(host: str) -> str:
    """Return the host without its port."""
    name = host.rpartition("]")[0] if host.startswith("[") else host.partition(":")[0]
    return name.removeprefix("[").lower()

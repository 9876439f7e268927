"""Where an issuer's keys are read: a file, or its URL."""

import asyncio
import http.client
import ssl
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.request import HTTPErrorProcessor, HTTPSHandler, OpenerDirector, ProxyHandler, Request

MAX_BYTES = 1 << 20
TIMEOUT_S = 5.0
"""For an answer to begin or go on; and for the whole of it, before the last part."""


def file(path: Path) -> Callable[[], Awaitable[bytes]]:
    """Return what reads a file."""

    def read() -> bytes:
        with path.open("rb") as opened:
            return _limited(opened.read(MAX_BYTES + 1))

    return lambda: asyncio.to_thread(read)


def url(address: str, ca_file: Path | None = None) -> Callable[[], Awaitable[bytes]]:
    """Return what reads an https URL. It follows no redirection, and takes nothing over plain HTTP.

    Args:
        address: the URL.
        ca_file: the authorities that its certificate may be of; the system's when it is None.

    Raises:
        ValueError: it is no https URL.
    """
    if not address.startswith("https://"):
        raise ValueError("the keys are read over https alone")

    def read() -> bytes:
        opener = OpenerDirector()  # not the usual one: that would read files, and go where it is sent
        context = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
        for handler in (ProxyHandler(), HTTPSHandler(context=context), _OkAlone()):
            opener.add_handler(handler)
        deadline = time.monotonic() + TIMEOUT_S
        try:
            answer = opener.open(Request(address, headers={"Accept": "application/json"}), timeout=TIMEOUT_S)  # noqa: S310  # https alone has a handler
            with answer:
                data = b""
                while (part := answer.read1(64 << 10)) and len(data) <= MAX_BYTES:
                    data += part
                    if time.monotonic() > deadline:
                        raise TimeoutError("the answer takes too long")
                if answer.length:
                    raise OSError("the answer is cut short")
        except http.client.HTTPException as error:
            raise OSError(type(error).__name__) from error
        return _limited(data)

    return lambda: asyncio.to_thread(read)


class _OkAlone(HTTPErrorProcessor):
    """Takes 200 for an answer, and nothing else."""

    def https_response(self, request: Request, response: http.client.HTTPResponse) -> http.client.HTTPResponse:
        """Return the response if it is one."""
        if response.status != 200:
            raise OSError(f"the issuer answers {response.status}")
        return response


def _limited(data: bytes) -> bytes:
    if len(data) > MAX_BYTES:
        raise OSError("the document is too large")
    return data

"""The bodies of requests: how large, how slow, how many at once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

from starlette.requests import Request

from memsvc import limits
from memsvc.gateway.problems import RefusedError

MOST_BYTES = limits.MAX_MESSAGE_BYTES
SMALL_BYTES = 64 * 1024
"""Of each body that find room whatever others take."""
MOST_HELD_BYTES = 64 << 20
"""What all bodies together may take of the memory beyond that."""
BODY_S = 30.0
"""How long a body may take to come."""
_ENDED = {"connection": "close"}


class Bodies:
    """Those that are held at the moment."""

    def __init__(self) -> None:
        self._held = 0

    @asynccontextmanager
    async def of(self, request: Request) -> AsyncIterator[bytes]:
        """Read and hold a request's body; empty where there is none.

        Raises:
            RefusedError: it is too large, too slow or no JSON, or there are too many.
        """
        body, held = bytearray(), 0
        try:
            async with asyncio.timeout(BODY_S):
                async for part in request.stream():
                    body += part
                    if len(body) > MOST_BYTES:
                        detail = f"body: at most {MOST_BYTES} bytes are accepted"
                        raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "BODY_TOO_LARGE", detail, _ENDED)
                    if len(body) > SMALL_BYTES:
                        held += self._take(len(body) - SMALL_BYTES - held)
            _check_kind(request, body)
            yield bytes(body)
        except TimeoutError:
            detail = f"body: took longer than {BODY_S:g} s"
            raise RefusedError(HTTPStatus.REQUEST_TIMEOUT, "BODY_TOO_SLOW", detail, _ENDED) from None
        finally:
            self._held -= held

    def _take(self, size: int) -> int:
        if self._held + size > MOST_HELD_BYTES:
            raise RefusedError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "TOO_MANY_BODIES",
                "body: too many large ones are on their way",
                {**_ENDED, "retry-after": "1"},
            )
        self._held += size
        return size


def _check_kind(request: Request, body: bytearray) -> None:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if body and kind != "application/json":
        raise RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "NOT_JSON", "content-type: must be application/json")

"""One route at work: from an HTTP request to its call, and from the call's answer to that of HTTP."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import TypeAlias
from urllib.parse import parse_qsl, unquote

import grpc
from google.protobuf.message import Message
from memsvc_client._status import to_error
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from memsvc import limits
from memsvc.errors import InvalidArgumentError
from memsvc.gateway import routes, transcode
from memsvc.gateway.calls import Calls, ending_with
from memsvc.gateway.conversion import Converter
from memsvc.gateway.events import send_events
from memsvc.gateway.forwarded import Forwarded
from memsvc.gateway.problems import RefusedError
from memsvc.gateway.routes import Route

MOST_BODY_BYTES = limits.MAX_MESSAGE_BYTES
BODY_S = 30.0
"""How long a body may take to come."""
MOST_PARAMETERS = 64
Knows: TypeAlias = Callable[[Sequence[tuple[str, str]]], Awaitable[bool]]
"""Whether whoever shows these metadata has a valid credential, or needs none."""


class Endpoint:
    """An ASGI application.

    Args:
        route: which call.
        calls: makes it.
        knows: is asked before a body is read.
        converter: makes messages and JSON of each other.
    """

    def __init__(self, route: Route, calls: Calls, knows: Knows, converter: Converter) -> None:
        self._route, self._calls, self._knows, self._converter = route, calls, knows, converter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        request = Request(scope, receive)
        forwarded = Forwarded.of(self._route, request.headers, request.state.request_id)
        if await self._knows(forwarded.metadata):
            message = await self._message(request)
        else:  # nothing of theirs is read: the service refuses an empty request in its own words
            message = routes.new(self._route.asks)
        call = self._calls.begin(self._route, message, forwarded)
        async with ending_with(receive, call) as leaving:
            try:
                if self._route.streams:
                    await send_events(call, forwarded.request_id, self._converter, send)
                    return
                answer = await call
            except grpc.RpcError as failure:
                raise to_error(failure, "the service") from failure
            except asyncio.CancelledError:
                if leaving.done():  # nobody hears an answer
                    return
                raise
        content = await self._converter.run(answer.ByteSize(), transcode.to_json, answer)
        await Response(content, media_type="application/json")(scope, receive, send)

    async def _message(self, request: Request) -> Message:
        body = await _body(request)
        path = {name: _decoded(name, value) for name, value in request.path_params.items()}
        return await self._converter.run(len(body), transcode.request, self._route, path, _query(request), body)


async def _body(request: Request) -> bytes:
    """Read the body.

    Raises:
        RefusedError: it is too large, too slow, or no JSON.
    """
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            async for part in request.stream():
                body += part
                if len(body) > MOST_BODY_BYTES:
                    raise RefusedError(
                        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                        "BODY_TOO_LARGE",
                        f"body: at most {MOST_BODY_BYTES} bytes are accepted",
                        {"connection": "close"},
                    )
    except TimeoutError:
        raise RefusedError(
            HTTPStatus.REQUEST_TIMEOUT, "BODY_TOO_SLOW", f"body: took longer than {BODY_S:g} s", {"connection": "close"}
        ) from None
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if body and kind != "application/json":
        raise RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "NOT_JSON", "content-type: must be application/json")
    return bytes(body)


def _query(request: Request) -> list[tuple[str, str]]:
    try:
        text = request.scope["query_string"].decode("ascii", "replace")
        return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MOST_PARAMETERS)
    except ValueError as error:
        raise InvalidArgumentError("query", f"cannot be read: {error}") from None


def _decoded(name: str, segment: str) -> str:
    try:
        return unquote(segment, errors="strict")
    except UnicodeDecodeError:
        raise InvalidArgumentError(name, "must be UTF-8, percent-encoded") from None

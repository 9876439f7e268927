"""One route at work: from an HTTP request to its call, and from the call's answer to that of HTTP."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias
from urllib.parse import parse_qsl, unquote

from google.protobuf.message import Message
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from memsvc.errors import InvalidArgumentError
from memsvc.gateway import routes, transcode
from memsvc.gateway.bodies import Bodies
from memsvc.gateway.calls import Calls, ending_with
from memsvc.gateway.conversion import Converter
from memsvc.gateway.events import send_events
from memsvc.gateway.forwarded import Forwarded
from memsvc.gateway.routes import Route

MOST_PARAMETERS = 64
Knows: TypeAlias = Callable[[Sequence[tuple[str, str]]], Awaitable[bool]]
"""Whether whoever shows these metadata has a valid credential, or needs none."""


class Endpoint:
    """An ASGI application.

    Args:
        route: which call.
        calls: makes it.
        knows: is asked before a body is read.
        bodies: those that are held.
        converter: makes messages and JSON of each other.
    """

    def __init__(self, route: Route, calls: Calls, knows: Knows, bodies: Bodies, converter: Converter) -> None:
        self._route, self._calls, self._knows = route, calls, knows
        self._bodies, self._converter = bodies, converter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        request = Request(scope, receive)
        forwarded = Forwarded.of(self._route, request.headers, request.state.request_id)
        try:
            known = await self._knows(forwarded.metadata)
            # Of whom nobody knows nothing is read: the service refuses an empty request in its own words.
            message = await self._message(request) if known else routes.new(self._route.asks)
        except ClientDisconnect:
            return
        async with self._calls.begin(self._route, message, forwarded) as call, ending_with(receive, call) as leaving:
            try:
                if self._route.streams:
                    await send_events(call, forwarded.request_id, self._converter, send)
                    return
                answer = await call.answer()
            except asyncio.CancelledError:
                if leaving.done():  # nobody hears an answer
                    return
                raise
        content = await self._converter.run(answer.ByteSize(), transcode.to_json, answer)
        await Response(content, media_type="application/json")(scope, receive, send)

    async def _message(self, request: Request) -> Message:
        path = {name: _decoded(name, value) for name, value in request.path_params.items()}
        async with self._bodies.of(request) as body:
            return await self._converter.run(len(body), transcode.request, self._route, path, _query(request), body)


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

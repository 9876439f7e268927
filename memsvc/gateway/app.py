"""The gateway as one ASGI application."""

from collections.abc import Collection, Mapping
from http import HTTPStatus

import grpc
from grpc_health.v1 import health_pb2
from memsvc_client import MemsvcError
from memsvc_client._status import to_error
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route as Path
from starlette.types import ASGIApp, Receive, Scope, Send

from memsvc.errors import InvalidArgumentError
from memsvc.gateway.bodies import Bodies
from memsvc.gateway.calls import Calls
from memsvc.gateway.conversion import Converter
from memsvc.gateway.endpoint import Endpoint, Knows
from memsvc.gateway.forwarded import PASSED, REQUEST_ID, TIMEOUT
from memsvc.gateway.front import Front
from memsvc.gateway.openapi import document
from memsvc.gateway.pages import console
from memsvc.gateway.problems import Problem, RefusedError
from memsvc.gateway.routes import ROUTES

HEALTH = {"/v1/health": "", "/v1/health/live": "liveness"}
"""Paths, and what they ask the health service for."""


def make_app(
    calls: Calls,
    knows: Knows,
    converter: Converter,
    hosts: Collection[str],
    origins: Collection[str],
    *,
    with_console: bool,
) -> ASGIApp:
    """Return the application.

    Args:
        calls: reaches the service.
        knows: says of a call's metadata whether they are worth reading a request for.
        converter: makes messages and JSON of each other.
        hosts: names by which clients may call.
        origins: of web pages that may call.
        with_console: serve the console's page too.
    """
    described = document()

    async def describe(_: Request) -> Response:
        return JSONResponse(described)

    async def health(request: Request) -> Response:
        return await _health(calls, HEALTH[request.url.path])

    bodies = Bodies()
    by_path: dict[str, dict[str, ASGIApp]] = {}
    for each in ROUTES:
        verbs = by_path.setdefault(each.path, {})
        verbs[each.verb] = Endpoint(each, calls, knows, bodies, converter)
        if each.verb == "GET" and not each.streams:  # a stream of which nothing is sent would have no end
            verbs["HEAD"] = verbs["GET"]
    paths = [Path(path, _Resource(verbs)) for path, verbs in by_path.items()]
    paths += [Path(path, health) for path in HEALTH]
    paths.append(Path("/v1/openapi.json", describe))
    pages = console() if with_console else []
    shared = Middleware(
        CORSMiddleware,
        allow_origins=origins,
        allow_methods=sorted({each.verb for each in ROUTES}),
        allow_headers=[*PASSED, REQUEST_ID, TIMEOUT],
        expose_headers=[REQUEST_ID, "retry-after"],
    )
    app = Starlette(
        routes=[*paths, *pages],
        middleware=[shared] if origins else [],
        exception_handlers=dict.fromkeys(
            (RefusedError, InvalidArgumentError, MemsvcError, HTTPException, Exception), _answer
        ),
    )
    app.router.redirect_slashes = False
    return Front(app, hosts, origins)


class _Resource:
    """What is at one path, by verbs."""

    def __init__(self, verbs: Mapping[str, ASGIApp]) -> None:
        self._verbs = verbs

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request.

        Raises:
            HTTPException: nothing is there for its verb.
        """
        if (served := self._verbs.get(scope["method"])) is None:
            raise HTTPException(HTTPStatus.METHOD_NOT_ALLOWED, headers={"Allow": ", ".join(self._verbs)})
        await served(scope, receive, send)


async def _health(calls: Calls, service: str) -> Response:
    try:
        answer = await calls.health(service)
    except grpc.RpcError as failure:
        raise to_error(failure, "the service") from failure
    well = answer.status == health_pb2.HealthCheckResponse.SERVING
    status = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    return JSONResponse({"status": status}, HTTPStatus.OK if well else HTTPStatus.SERVICE_UNAVAILABLE)


def _answer(request: Request, error: Exception) -> Response:
    return _problem(request, error).response(request.state.request_id)


def _problem(request: Request, error: Exception) -> Problem:
    match error:
        case RefusedError():
            return error.problem
        case InvalidArgumentError():
            return Problem.invalid(error)
        case MemsvcError():
            return Problem.of(error)
        case HTTPException():
            status = HTTPStatus(error.status_code)
            missing = status is HTTPStatus.NOT_FOUND
            detail = "there is no such path" if missing else f"{request.method} is not for this path"
            return RefusedError(status, status.name, detail, error.headers or {}).problem
        case _:
            status = HTTPStatus.INTERNAL_SERVER_ERROR
            return RefusedError(status, "INTERNAL", "an internal error; the server's log has the details").problem

"""The console's files, served as they are. They hold nothing of a tenant: the page asks the API for that."""

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

WHERE = "/console"
HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "referrer-policy": "no-referrer",
    }
)
"""With every file: the page runs its own scripts alone, calls its own server alone, and is in no other page's frame."""


def console() -> list[BaseRoute]:
    """Return the routes of the console's files."""
    return [Route(WHERE, _to_the_page), Mount(WHERE, _Files(directory=Path(__file__).parent / "console", html=True))]


async def _to_the_page(_: Request) -> Response:
    return RedirectResponse(f"{WHERE}/", headers=dict(HEADERS))


class _Files(StaticFiles):
    def file_response(self, full_path: str | os.PathLike[str], *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(full_path, *args, **kwargs)
        response.headers.update(HEADERS)
        return response

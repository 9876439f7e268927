"""Which server a command talks to, and how it is let in: the same options for every command that connects."""

import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, ParamSpec

import typer
from memsvc_client import TLS, InvalidArgumentError

from memsvc.cli.options import DEFAULT_TARGET, Target
from memsvc.cli.output import USAGE, fail

_P = ParamSpec("_P")
_PANEL = "Connection"

KEY_VARIABLE = "MEMSVC_API_KEY"


@dataclass(frozen=True, slots=True)
class Server:
    """Where a server listens, what it is shown, and what is asked of it."""

    target: str
    api_key: str | None = field(default=None, repr=False)
    tls: bool | TLS = False
    allow_plaintext_key: bool = False


def _file(help: str, envvar: str | None = None) -> Any:
    """Return the option of a file that has to be there."""
    return Annotated[
        Path | None,
        typer.Option(help=help, envvar=envvar, exists=True, dir_okay=False, rich_help_panel=_PANEL, show_default=False),
    ]


def _flag(name: str, help: str, envvar: str | None = None) -> Any:
    return Annotated[bool, typer.Option(name, help=help, envvar=envvar, rich_help_panel=_PANEL)]


_OPTIONS: Mapping[str, tuple[Any, object]] = MappingProxyType(
    {
        "target": (Target, DEFAULT_TARGET),
        "api_key_file": (_file(f"File with the API key and nothing else (or {KEY_VARIABLE})."), None),
        "tls": (_flag("--tls", "Encrypt; the server's certificate is of a public authority.", "MEMSVC_TLS"), False),
        "tls_ca": (
            _file("Encrypt; the server's certificate is of an authority in this PEM file.", "MEMSVC_TLS_CA"),
            None,
        ),
        "tls_cert": (_file("Our own certificate, PEM, for a server that asks for one."), None),
        "tls_key": (_file("Its private key, PEM."), None),
        "allow_plaintext_key": (
            _flag("--allow-plaintext-key", "Show the key to a server on another machine without TLS."),
            False,
        ),
    }
)
NAMES = tuple(_OPTIONS)
"""Of what a command gets that connects."""


def connects(command: Callable[_P, None]) -> Callable[_P, None]:
    """Give a command that takes a `server` the options that make one, in its place."""

    @wraps(command)
    def run(*args: _P.args, **options: _P.kwargs) -> None:
        given: dict[str, Any] = {name: options.pop(name) for name in NAMES}
        options["server"] = _server(**given)
        command(*args, **options)

    own = list(inspect.signature(command).parameters.values())
    place = [each.name for each in own].index("server")
    own[place : place + 1] = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=option)
        for name, (option, default) in _OPTIONS.items()
    ]
    run.__signature__ = inspect.Signature(own)  # type: ignore[attr-defined]  # what typer looks at
    return run


def _server(
    *,
    target: str,
    api_key_file: Path | None,
    tls: bool,
    tls_ca: Path | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    allow_plaintext_key: bool,
) -> Server:
    key = os.environ.get(KEY_VARIABLE) or None
    try:
        if api_key_file is not None:
            key = api_key_file.read_text().strip()
        files = tls_ca or tls_cert or tls_key
        return Server(target, key, TLS(ca=tls_ca, cert=tls_cert, key=tls_key) if files else tls, allow_plaintext_key)
    except (OSError, UnicodeDecodeError) as error:
        fail(
            f"--api-key-file: {api_key_file} cannot be read: {getattr(error, 'strerror', None) or 'it is no text'}",
            USAGE,
        )
    except InvalidArgumentError as error:
        fail(f"--tls-{error}", USAGE)

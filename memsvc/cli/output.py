"""What the commands print: for people through rich, for programs as JSON. Results go to stdout, all else to stderr."""

import errno
import json
import sys
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import fields, is_dataclass
from datetime import datetime, timedelta
from typing import Any, NoReturn, TextIO

import typer
from memsvc_bench import report
from rich.console import Console
from rich.table import Table
from rich.text import Text

FAILED = 1
"""The server refused, or a check does not hold."""
USAGE = 2
"""The command line is wrong."""
NO_SERVER = 3
"""No server answers, or it cannot serve now."""

# Stored text must not drive the terminal: every control character but newline and tab is shown as a replacement.
_CONTROLS = {code: "�" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"}


def results() -> TextIO:
    """Return where results go.

    Raises:
        OSError: it was closed before we began.
    """
    if sys.stdout is None:
        raise OSError(errno.EBADF, "standard output is closed")
    return sys.stdout


def stdin() -> TextIO:
    """Return what is read.

    Raises:
        OSError: it was closed before we began.
    """
    if sys.stdin is None:
        raise OSError(errno.EBADF, "standard input is closed")
    return sys.stdin


def stdout() -> Console:
    """The console for results.

    Raises:
        OSError: they have nowhere to go.
    """
    return Console(highlight=False, file=results())


def stderr() -> Console:
    """The console for progress, notes and errors."""
    return Console(stderr=True, highlight=False)


def fail(message: str, code: int = FAILED) -> NoReturn:
    """Say what went wrong and end the command with this exit code."""
    stderr().print(Text.assemble(("error: ", "bold red"), clean(message)), soft_wrap=True)
    raise typer.Exit(code)


def note(message: str) -> None:
    """Say something that is neither result nor error."""
    stderr().print(Text(clean(message), style="yellow"), soft_wrap=True)


def agree(question: str, *, yes: bool, as_json: bool) -> None:
    """Ask before something that is not easily taken back; end the command unless the answer is yes.

    Args:
        question: what to ask.
        yes: it is agreed to already.
        as_json: a program asks, which cannot be asked back.
    """
    if yes:
        return
    if as_json:
        fail("--json cannot ask; say --yes", USAGE)
    if sys.stdin is None:
        fail("standard input is closed, and nobody can be asked; say --yes", USAGE)
    typer.confirm(clean(question), abort=True, err=True)


def print_json(value: object) -> None:
    """Print one JSON document on one line, in ASCII, so that it survives every terminal and locale."""
    results().write(json.dumps(plain(value), allow_nan=False) + "\n")


def plain(value: object) -> Any:
    """Turn what the client returns into what JSON has.

    Dataclasses and named tuples become objects, times ISO 8601, lengths of time seconds.
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return plain(value._asdict())
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Sequence | AbstractSet) and not isinstance(value, str):
        return [plain(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, float) and value - value != 0:
        return None
    return value


def clean(text: str) -> str:
    """Replace the control characters of a text, newline and tab apart."""
    return text.replace("\r\n", "\n").translate(_CONTROLS)


def table(*columns: str, right: AbstractSet[str] = frozenset()) -> Table:
    """Return an empty table with these columns, those in `right` aligned to the right."""
    result = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        result.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return result


def pairs(values: Mapping[str, object]) -> Table:
    """Return a table of names and values."""
    result = Table(show_header=False, box=None, pad_edge=False)
    result.add_column(style="dim", no_wrap=True)
    result.add_column(overflow="fold")
    for name, value in values.items():
        result.add_row(name.replace("_", " "), Text(show(value)))
    return result


def show(value: object) -> str:
    """Write one value for people."""
    if isinstance(value, int | float):  # as a benchmark's figures are
        return report.show(value)
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(show, value))
    return clean(str(value))

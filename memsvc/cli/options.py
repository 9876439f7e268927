"""The arguments and options that several commands share."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from memsvc_client.types import Moment

DEFAULT_TARGET = "127.0.0.1:50051"

Target = Annotated[
    str,
    typer.Option(envvar="MEMSVC_TARGET", help="Where the server listens; several with commas.", metavar="HOST:PORT"),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text for people.")]
TenantId = Annotated[str, typer.Argument(help="The tenant's id.", metavar="TENANT", show_default=False)]
EntryId = Annotated[str, typer.Argument(help="The entry's id.", metavar="ID", show_default=False)]
LoCoMo = Annotated[
    Path, typer.Option(exists=True, dir_okay=False, help="The LoCoMo file.", metavar="FILE", show_default=False)
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 24 * 3600, "w": 7 * 24 * 3600}


def parse_time(value: str) -> datetime:
    """Read an ISO 8601 time; without a zone it is UTC.

    Raises:
        typer.BadParameter: it is no such time.
    """
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        raise typer.BadParameter(f"{value!r} is no ISO 8601 time, such as 2026-03-01 or 2026-03-01T09:30:00Z") from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def parse_moment(value: str) -> Moment:
    """Read a record's seq, or else an ISO 8601 time; without a zone it is UTC.

    Raises:
        typer.BadParameter: it is neither.
    """
    if value.isascii() and value.isdigit():
        return int(value)
    try:
        return parse_time(value)
    except typer.BadParameter:
        raise typer.BadParameter(f"{value!r} is neither a record's number nor an ISO 8601 time") from None


def parse_duration(value: str) -> timedelta:
    """Read a length of time: a number of seconds, or one with a unit behind it.

    Raises:
        typer.BadParameter: it is none.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw]?)", value, re.ASCII)
    try:
        if found:
            return timedelta(seconds=float(found[1]) * _UNITS[found[2]])
    except OverflowError:
        pass
    raise typer.BadParameter(f"{value!r} is no length of time, such as 30d, 12h, 90m or 3600")


def parse_object(value: str) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        typer.BadParameter: it is none.
    """
    try:
        found = json.loads(value)
    except ValueError as error:
        raise typer.BadParameter(f'not JSON ({error}); give an object such as \'{{"lang": "en"}}\'') from None
    if not isinstance(found, dict):
        raise typer.BadParameter('must be a JSON object, such as \'{"lang": "en"}\'')
    return found


Session = Annotated[str | None, typer.Option(help="Only this session.", show_default=False)]
Role = Annotated[str | None, typer.Option(help="Only this role.", show_default=False)]
After = Annotated[
    datetime | None,
    typer.Option(parser=parse_time, help="Only entries at or after this time.", metavar="TIME", show_default=False),
]
Before = Annotated[
    datetime | None,
    typer.Option(parser=parse_time, help="Only entries before this time.", metavar="TIME", show_default=False),
]
Metadata = Annotated[
    dict[str, Any] | None,
    typer.Option(
        parser=parse_object,
        help='Only entries whose metadata match: \'{"page": {"$gte": 3}}\'; $eq $ne $gt $gte $lt $lte.',
        metavar="JSON",
        show_default=False,
    ),
]
MinSeq = Annotated[
    int | None,
    typer.Option(min=0, help="Wait until this record is applied, 0 waits for none. All when left out."),
]
AsOf = Annotated[
    Any,  # a Moment: typer takes no unions
    typer.Option(
        parser=parse_moment,
        help="As it was then: a record's number, or a time.",
        metavar="SEQ|TIME",
        show_default=False,
    ),
]

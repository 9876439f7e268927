"""`memsvc keys`: create, list, rotate and revoke API keys, at a server or on its store."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from memsvc_client.types import Key, NewKey
from rich.text import Text

from memsvc.cli.connection import connect
from memsvc.cli.options import AsJson, Yes, parse_duration
from memsvc.cli.output import USAGE, agree, clean, fail, print_json, results, show, stderr, stdout, table
from memsvc.cli.target import Server, connects

if TYPE_CHECKING:
    from memsvc_client import MemoryClient

    from memsvc.cli.keys_of_store import StoredKeys

Data = Annotated[
    Path | None,
    typer.Option(help="Work on this data directory, which no server may use meanwhile.", show_default=False),
]
StoreUrl = Annotated[
    str | None,
    typer.Option(
        "--store",
        help="Work on this Redis, whether servers run on it or not. Keep a password in a file: ?password_file=PATH.",
        metavar="URL",
        show_default=False,
    ),
]
KeyId = Annotated[str, typer.Argument(help="The key's id.", metavar="ID", show_default=False)]


def _read_grant(value: str) -> tuple[str, tuple[str, ...]]:
    """Read `PATTERN=RIGHT,…`. A pattern may have a = in it.

    Raises:
        typer.BadParameter: it is no grant.
    """
    pattern, equals, rights = value.rpartition("=")
    names = tuple(dict.fromkeys(right.strip() for right in rights.split(",")))
    if not equals or not pattern or set(names) - {"read", "write", "admin"}:
        raise typer.BadParameter(f"{value!r} is no grant, such as 'team/*=read,write' or '*=admin'")
    return pattern, names


Grants = Annotated[
    list[str],
    typer.Option(
        "--grant",
        help="Which rights (read, write, admin) on which tenants: an id, team/* for all whose id begins with team/, or "
        "* for all. Give it more than once for several.",
        metavar="PATTERN=RIGHT,…",
        show_default=False,
    ),
]


def keys_app() -> typer.Typer:
    """Return the command group."""
    app = typer.Typer(help="Create, list, rotate and revoke API keys.", no_args_is_help=True)
    app.command("create")(create_key)
    app.command("list")(list_keys)
    app.command("rotate")(rotate_key)
    app.command("revoke")(revoke_key)
    return app


@connects
def create_key(
    name: Annotated[str, typer.Argument(help="What to call it.", metavar="NAME", show_default=False)],
    grant: Grants,
    *,
    expire: Annotated[
        timedelta | None,
        typer.Option(
            parser=parse_duration, help="It expires after this long: 90d, 12h.", metavar="DURATION", show_default=False
        ),
    ] = None,
    data: Data = None,
    store: StoreUrl = None,
    server: Server,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it, this once. On a server's own store it needs no other key: so the first one is made."""
    grants: dict[str, tuple[str, ...]] = {}
    for pattern, rights in map(_read_grant, grant):
        grants[pattern] = tuple(dict.fromkeys((*grants.get(pattern, ()), *rights)))
    try:
        at = None if expire is None else datetime.now(UTC) + expire
    except OverflowError:
        fail("--expire: ends after the year 9999; leave it out for a key that does not expire", USAGE)
    with _keys(data, store, server, new=True) as keys:
        _print_new(keys.create_key(name, grants, at), as_json=as_json)


@connects
def list_keys(
    *,
    data: Data = None,
    store: StoreUrl = None,
    server: Server,
    as_json: AsJson = False,
) -> None:
    """List keys, without their secrets; ended ones for 30 days."""
    with _keys(data, store, server) as keys:
        found = list(keys.list_keys())
    if as_json:
        print_json({"keys": found})
        return
    rows = table("id", "name", "grants", "created", "rotated", "ends")
    rows.columns[0].no_wrap = True  # whoever rotates or revokes it takes it from here
    for key in found:
        times = [Text(show(at) if at is not None else "") for at in (key.create_time, key.rotate_time)]
        rows.add_row(key.id, Text(clean(key.name)), Text(clean(_shown(key))), *times, _end(key))
    if found:
        stdout().print(rows)
    else:
        stderr().print("no keys yet; `memsvc keys create` makes one")


@connects
def rotate_key(
    id: KeyId,
    *,
    overlap: Annotated[
        timedelta,
        typer.Option(
            parser=parse_duration, help="How long older secrets stay valid; 0 for not at all.", metavar="DURATION"
        ),
    ] = "1h",  # type: ignore[assignment]  # typer parses the default too
    data: Data = None,
    store: StoreUrl = None,
    server: Server,
    as_json: AsJson = False,
) -> None:
    """Give a key another secret and print it, this once."""
    with _keys(data, store, server) as keys:
        _print_new(keys.rotate_key(id, overlap), as_json=as_json)


@connects
def revoke_key(
    id: KeyId,
    *,
    yes: Yes = False,
    data: Data = None,
    store: StoreUrl = None,
    server: Server,
    as_json: AsJson = False,
) -> None:
    """Make a key worthless, at once and for good."""
    agree(f"Revoke key {id}?", yes=yes, as_json=as_json)
    with _keys(data, store, server) as keys:
        key = keys.revoke_key(id)
    if as_json:
        print_json(key)
    else:
        stdout().print(Text(f"key {clean(key.id)} ({clean(key.name)}) is revoked"))


@contextmanager
def _keys(
    data: Path | None, store: str | None, server: Server, *, new: bool = False
) -> "Iterator[MemoryClient | StoredKeys]":
    """Open a server's keys, or those of a store; of a data directory that is to be made only where it may be `new`."""
    if data is not None and store is not None:
        fail("give --data or --store, not both", USAGE)
    if data is not None and not new and not data.is_dir():
        fail(f"there is no directory {data}", USAGE)
    if data is None and store is None:
        with connect(server) as client:
            yield client
        return
    from memsvc.cli.keys_of_store import open_keys  # noqa: PLC0415  # other commands do without the stores

    with open_keys(data, store, new=new) as keys:
        yield keys


def _print_new(new: NewKey, *, as_json: bool) -> None:
    """Print a key: the secret alone on stdout, so that it can go where it belongs."""
    if as_json:
        print_json({"key": new.key, "secret": new.secret})
        return
    note = f"key {new.key.id} ({new.key.name}): {_shown(new.key)}. This is the only time that it is shown:"
    stderr().print(Text(clean(note)), soft_wrap=True)
    typer.echo(new.secret, file=results())


def _shown(key: Key) -> str:
    return "; ".join(f"{pattern}={','.join(rights)}" for pattern, rights in key.grants.items())


def _end(key: Key) -> Text:
    if key.revoke_time is not None:
        return Text(f"revoked {show(key.revoke_time)}", style="red")
    if key.expire_time is None:
        return Text("")
    expired = key.expire_time <= datetime.now(UTC)
    return Text(show(key.expire_time), style="red" if expired else "")

"""`memsvc doctor`: what is wrong with a store, and what to do about it. It asks no server and changes nothing."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from memsvc.cli.options import AsJson
from memsvc.cli.output import FAILED, NO_SERVER, USAGE, clean, fail, print_json, stdout, table
from memsvc.errors import InvalidArgumentError, MemsvcError

if TYPE_CHECKING:
    from memsvc.store.finding import Finding
    from memsvc.store.redis.doctor import Examination


def doctor(
    *,
    store: Annotated[
        str,
        typer.Option(
            envvar=["MEMSVC_STORE", "MEMSVC_DATA"], help="A data directory, or the URL of a Redis.", metavar="DIR|URL"
        ),
    ] = "memsvc-data",
    as_json: AsJson = False,
) -> None:
    """Look at a store from outside: is it sound, and does it keep what it takes?

    Exits with 1 if anything needs to be put right.
    """
    try:
        if "://" in store:
            shown, examination = _redis(store)
            findings = examination.findings
        else:
            shown, examination, findings = store, None, _sqlite(store)
    except InvalidArgumentError as error:
        fail(str(error), USAGE)
    except MemsvcError as error:
        fail(str(error), NO_SERVER)
    ok = all(finding.ok for finding in findings)
    if as_json:
        shards = {"shards": examination.shards, "members": examination.members} if examination else {}
        print_json({"store": shown, "ok": ok, "findings": findings, **shards})
    else:
        _print(findings, examination)
    if not ok:
        raise typer.Exit(FAILED)


def _sqlite(directory: str) -> "Sequence[Finding]":
    from memsvc.store.sqlite.doctor import examine  # noqa: PLC0415  # other commands do without

    return examine(Path(directory))


def _redis(url: str) -> "tuple[str, Examination]":
    """Return the URL without secrets, and what was found."""
    try:
        from redis.exceptions import RedisError  # noqa: PLC0415
    except ModuleNotFoundError:
        fail("a store in Redis needs the client library: pip install 'memsvc[redis]'", USAGE)
    from memsvc.store.redis.doctor import examine  # noqa: PLC0415
    from memsvc.store.redis.faults import translate  # noqa: PLC0415
    from memsvc.store.redis.url import connect, parse  # noqa: PLC0415

    address = parse(url)

    async def look() -> "Examination":
        connection = connect(address, "reads")
        try:
            return await examine(connection, address.prefix)
        except RedisError as error:
            raise translate(error) from error
        finally:
            await connection.aclose()

    return str(address), asyncio.run(look())


def _print(findings: "Sequence[Finding]", examination: "Examination | None") -> None:
    rows = table("", "what", "found", "what to do or to know")
    for finding in findings:
        mark = Text("ok", style="green") if finding.ok else Text("WEAK", style="bold red")
        rows.add_row(mark, *(Text(clean(part)) for part in (finding.name, finding.found, finding.advice)))
    stdout().print(rows)
    if examination is None or not examination.shards:
        return
    counts = ("epoch", "tenants", "staged", "condemned", "erasing")
    shards = table("shard", "owner", *counts, right={"shard", *counts})
    for state in examination.shards:
        owner = Text(clean(state.owner) or "(none)")
        shards.add_row(str(state.shard), owner, *(str(getattr(state, name)) for name in counts))
    stdout().print()
    stdout().print(shards)

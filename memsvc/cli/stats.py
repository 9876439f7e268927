"""`memsvc stats`, `memsvc entries` and `memsvc get`: what a tenant holds."""

import json
from dataclasses import asdict
from itertools import islice
from typing import Annotated

import typer
from rich.text import Text

from memsvc.cli.connection import connect
from memsvc.cli.options import (
    After,
    AsJson,
    AsOf,
    Before,
    EntryId,
    Metadata,
    Role,
    Session,
    TenantId,
)
from memsvc.cli.output import clean, note, pairs, plain, print_json, show, stderr, stdout, table
from memsvc.cli.target import Server, connects

MOST_LISTED = 10**9


@connects
def stats(
    tenant: TenantId,
    server: Server,
    *,
    live: Annotated[
        bool, typer.Option("--live", help="As they are now: do not wait for what is not applied yet; no hash.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show a tenant's figures."""
    with connect(server) as client:
        found = client.stats(tenant, live=live)
    if as_json:
        print_json(found)
        return
    figures = {name: value for name, value in plain(found).items() if name != "warnings"}
    stdout().print(pairs(figures))
    for warning in found.warnings:
        note(f"warning: {warning}")


@connects
def entries(
    tenant: TenantId,
    *,
    session: Session = None,
    role: Role = None,
    after: After = None,
    before: Before = None,
    metadata: Metadata = None,
    as_of: AsOf = None,
    evicted: Annotated[
        bool, typer.Option("--evicted", help="With those that left the index because there were too many.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, max=MOST_LISTED, help="At most this many, the oldest.")] = 100,
    server: Server,
    as_json: AsJson = False,
) -> None:
    """List a tenant's entries in the order they were written."""
    with connect(server) as client:
        listed = client.list_entries(
            tenant,
            session=session,
            role=role,
            after=after,
            before=before,
            metadata=metadata,
            as_of=as_of,
            include_evicted=evicted,
        )
        found = list(islice(listed, limit + 1))
    more = len(found) > limit
    found = found[:limit]
    if as_json:
        print_json({"entries": found, "more": more})
        return
    rows = table("seq", "time", "session", "role", "id", "text", right={"seq"})
    for entry in found:
        columns = (entry.session or "", entry.role or "", entry.id, _brief(entry.text))
        rows.add_row(str(entry.seq), show(entry.time), *(Text(clean(value)) for value in columns))
    if found:
        stdout().print(rows)
    if more or not found:
        stderr().print(f"… and more; raise --limit above {limit:,}" if more else "no entries match")


@connects
def get(
    tenant: TenantId,
    id: EntryId,
    *,
    as_of: AsOf = None,
    server: Server,
    as_json: AsJson = False,
) -> None:
    """Show one entry, and all that is known of it."""
    with connect(server) as client:
        found = client.get_entry(tenant, id, as_of)
    if as_json:
        print_json(found)
        return
    facts = {name: value for name, value in asdict(found).items() if value is not None and name != "text"}
    facts["metadata"] = json.dumps(plain(found.metadata), ensure_ascii=False)
    stdout().print(pairs(facts))
    stdout().print(Text(f"\n{clean(found.text)}"), soft_wrap=True)


def _brief(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 80 else f"{line[:79]}…"

"""`memsvc feedback`: what was worth keeping."""

from typing import Annotated

import typer
from rich.text import Text

from memsvc.cli.connection import connect
from memsvc.cli.options import AsJson, TenantId
from memsvc.cli.output import print_json, show, stdout
from memsvc.cli.target import Server, connects


@connects
def feedback(
    tenant: TenantId,
    ids: Annotated[list[str], typer.Argument(help="Ids of entries.", metavar="ID…", show_default=False)],
    *,
    not_useful: Annotated[bool, typer.Option("--not-useful", help="Say that they were not.")] = False,
    server: Server,
    as_json: AsJson = False,
) -> None:
    """Say of entries that they were useful: they stay longer when there are too many."""
    with connect(server) as client:
        seq = client.feedback(tenant, ids, useful=not not_useful)
    if as_json:
        print_json({"tenant": tenant, "seq": seq})
    else:
        entries = "1 entry was" if len(ids) == 1 else f"{len(ids):,} entries were"
        stdout().print(Text(f"noted that {entries} {'not ' if not_useful else ''}useful (record {show(seq)})"))

"""`memsvc watch`: what happens to a tenant's memory, as it happens."""

import sys
import time
from contextlib import suppress
from typing import Annotated

import typer
from memsvc_client import Event, MemoryClient, MemsvcError
from rich.console import Console
from rich.live import Live
from rich.text import Text

from memsvc.cli.connection import connect
from memsvc.cli.feed import Feed
from memsvc.cli.figures import Figures
from memsvc.cli.options import TenantId
from memsvc.cli.output import clean, print_json, show, stdout
from memsvc.cli.target import Server, connects

POLL_S = 1.0


@connects
def watch(
    tenant: TenantId,
    *,
    from_seq: Annotated[
        int | None,
        typer.Option(min=0, help="Only events of records after this one; all that are known when left out."),
    ] = None,
    server: Server,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """Show what happens to a tenant's memory, one line for each event, until Ctrl-C.

    On a terminal it shows surprise and gate share of the last minute too.
    """
    with connect(server) as client, suppress(KeyboardInterrupt):
        console = stdout()
        if console.is_terminal and not as_json:
            _watch_live(client, tenant, from_seq, console)
            return
        for event in client.watch(tenant, from_seq):
            if as_json:
                print_json(event)
            else:
                console.print(render_event(event), soft_wrap=True)
            # A pipe's reader shall have it now.
            sys.stdout.flush()


def render_event(event: Event) -> Text:
    """Show one event: its record, its kind and its figures."""
    figures = "  ".join(f"{name} {show(value)}" for name, value in sorted(event.figures.items()))
    return Text.assemble(
        (f"{event.seq:>8}", "dim"), (f"  {clean(event.kind):<14}", "bold"), f"  {clean(figures)}".rstrip()
    )


def _watch_live(client: MemoryClient, tenant: str, from_seq: int | None, console: Console) -> None:
    """Print events above figures that are asked for every second."""
    feed = Feed(client.watch(tenant, from_seq))
    figures = Figures(tenant)
    with Live(console=console, auto_refresh=False) as live:
        while not feed.over:
            # Figures that come late are no reason to end; the feed meets what is.
            with suppress(MemsvcError):
                figures.add(client.stats(tenant, live=True, timeout=5.0))
            live.update(figures, refresh=True)
            until = time.monotonic() + POLL_S
            while (event := feed.next(until - time.monotonic())) is not None:
                live.console.print(render_event(event), soft_wrap=True)

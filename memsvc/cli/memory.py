"""`memsvc verify` and `memsvc restart`: the state of a tenant's memory."""

from dataclasses import asdict

import typer
from rich.text import Text

from memsvc.cli.connection import LONG_TIMEOUT_S, connect
from memsvc.cli.options import AsJson, TenantId
from memsvc.cli.output import FAILED, clean, pairs, print_json, show, stdout
from memsvc.cli.target import Server, connects


@connects
def verify(tenant: TenantId, server: Server, *, as_json: AsJson = False) -> None:
    """Fold a tenant's log afresh and compare the hashes. Succeeds only if they are equal."""
    with connect(server, timeout=LONG_TIMEOUT_S) as client:
        found = client.verify(tenant)
    if as_json:
        print_json(found)
    else:
        stdout().print(pairs(asdict(found)))
    if not found.equal:
        raise typer.Exit(FAILED)


@connects
def restart(tenant: TenantId, server: Server, *, as_json: AsJson = False) -> None:
    """Restart the learning of a tenant's memory, as a drift does by itself. It forgets nothing."""
    with connect(server) as client:
        seq = client.hot_restart(tenant)
    if as_json:
        print_json({"tenant": tenant, "seq": seq})
    else:
        stdout().print(Text(f"the memory of tenant {clean(tenant)} restarts its learning (record {show(seq)})"))

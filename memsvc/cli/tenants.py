"""`memsvc tenants`: list, create and delete tenants."""

from typing import Annotated

import typer
from rich.text import Text

from memsvc.cli.connection import connect
from memsvc.cli.options import DEFAULT_TARGET, AsJson, Target, TenantId
from memsvc.cli.output import USAGE, clean, fail, print_json, show, stderr, stdout, table


def tenants_app() -> typer.Typer:
    """Return the command group; without a command it lists."""
    app = typer.Typer(help="List, create and delete tenants.", invoke_without_command=True)

    @app.callback()
    def group(context: typer.Context, target: Target = DEFAULT_TARGET, *, as_json: AsJson = False) -> None:
        if context.invoked_subcommand is None:
            list_tenants(target, as_json=as_json)
            return
        # Deleting on another server than the one named would be a bad surprise.
        sources = (context.get_parameter_source(name) for name in ("target", "as_json"))
        if any(source is not None and source.name == "COMMANDLINE" for source in sources):
            fail(f"give options after the command: memsvc tenants {context.invoked_subcommand} …", USAGE)

    app.command("list")(list_tenants)
    app.command("create")(create_tenant)
    app.command("delete")(delete_tenant)
    return app


def list_tenants(target: Target = DEFAULT_TARGET, *, as_json: AsJson = False) -> None:
    """List all tenants."""
    with connect(target) as client:
        tenants = list(client.list_tenants())
    if as_json:
        print_json({"tenants": tenants})
        return
    rows = table("tenant", "created", "layers", "gate", right={"layers"})
    for tenant in tenants:
        memory = tenant.memory
        rows.add_row(Text(clean(tenant.tenant)), show(tenant.create_time), str(memory.layers), str(memory.gate))
    if tenants:
        stdout().print(rows)
    else:
        stderr().print("no tenants yet; `memsvc tenants create TENANT` or `memsvc ingest TENANT PATH…` makes one")


def create_tenant(
    tenant: TenantId,
    *,
    exist_ok: Annotated[bool, typer.Option("--exist-ok", help="Succeed if there is one of that id.")] = False,
    target: Target = DEFAULT_TARGET,
    as_json: AsJson = False,
) -> None:
    """Create a tenant."""
    with connect(target) as client:
        client.create_tenant(tenant, exist_ok=exist_ok)
    if as_json:
        print_json({"tenant": tenant})
    else:
        stdout().print(Text(f"tenant {clean(tenant)} is there"))


def delete_tenant(
    tenant: TenantId,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    target: Target = DEFAULT_TARGET,
    as_json: AsJson = False,
) -> None:
    """Delete a tenant with its log, memory and index. Nothing brings it back."""
    if not yes:
        if as_json:
            fail("--json cannot ask whether to delete; say --yes", USAGE)
        typer.confirm(f"Delete tenant {clean(tenant)} and everything it remembers?", abort=True, err=True)
    with connect(target) as client:
        client.delete_tenant(tenant)
    if as_json:
        print_json({"deleted": tenant})
    else:
        stdout().print(Text(f"tenant {clean(tenant)} is deleted"))

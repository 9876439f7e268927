"""`memsvc tenants`: list, create, change and delete tenants."""

from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.text import Text

from memsvc.cli.connection import connect
from memsvc.cli.options import AsJson, TenantId, Yes
from memsvc.cli.output import USAGE, agree, clean, fail, pairs, print_json, show, stderr, stdout, table
from memsvc.cli.settings import with_settings
from memsvc.cli.target import NAMES, Server, connects


def tenants_app() -> typer.Typer:
    """Return the command group; without a command it lists."""
    app = typer.Typer(help="List, create, change and delete tenants.", invoke_without_command=True)

    @app.callback()
    @connects
    def group(context: typer.Context, server: Server, *, as_json: AsJson = False) -> None:
        if context.invoked_subcommand is None:
            _list(server, as_json=as_json)
            return
        # Deleting on another server than the one named would be a bad surprise.
        sources = (context.get_parameter_source(name) for name in (*NAMES, "as_json"))
        if any(source is not None and source.name == "COMMANDLINE" for source in sources):
            fail(f"give options after the command: memsvc tenants {context.invoked_subcommand} …", USAGE)

    app.command("list")(list_tenants)
    app.command("create")(create_tenant)
    app.command("update")(update_tenant)
    app.command("delete")(delete_tenant)
    return app


@connects
def list_tenants(server: Server, *, as_json: AsJson = False) -> None:
    """List all tenants."""
    _list(server, as_json=as_json)


def _list(server: Server, *, as_json: bool) -> None:
    with connect(server) as client:
        tenants = list(client.list_tenants())
    if as_json:
        print_json({"tenants": tenants})
        return
    rows = table("tenant", "created", "layers", "gate", "context memory", right={"layers"})
    for tenant in tenants:
        memory = tenant.memory
        model = tenant.context_memory or ""
        rows.add_row(
            Text(clean(tenant.tenant)), show(tenant.create_time), str(memory.layers), str(memory.gate), Text(model)
        )
    if tenants:
        stdout().print(rows)
    else:
        stderr().print("no tenants yet; `memsvc tenants create TENANT` or `memsvc ingest TENANT PATH…` makes one")


@with_settings
@connects
def create_tenant(
    tenant: TenantId,
    *,
    exist_ok: Annotated[
        bool, typer.Option("--exist-ok", help="Succeed if there is one of that id, and leave it as it is.")
    ] = False,
    preset: Annotated[
        str | None,
        typer.Option(
            help="A set of defaults: default, long-doc, genomics or dialogue.", metavar="NAME", show_default=False
        ),
    ] = None,
    layers: Annotated[
        int | None, typer.Option(min=0, help="Weight matrices of the memory's MLP, 2-12.", show_default=False)
    ] = None,
    context_memory: Annotated[
        str | None,
        typer.Option(
            help="The model that its text streams into as well, for answers of a titans-mac backbone (default none).",
            metavar="MODEL",
            show_default=False,
        ),
    ] = None,
    server: Server,
    as_json: AsJson = False,
    **settings: Any,
) -> None:
    """Create a tenant. What is left out of its settings is the preset's, or the server's default."""
    if layers is not None:
        settings["layers"] = layers
    if context_memory is not None:
        settings["context_memory"] = context_memory
    with connect(server) as client:
        client.create_tenant(tenant, exist_ok=exist_ok, preset=preset, **settings)
    if as_json:
        print_json({"tenant": tenant})
    else:
        stdout().print(Text(f"tenant {clean(tenant)} is there"))


@with_settings
@connects
def update_tenant(
    tenant: TenantId,
    *,
    server: Server,
    as_json: AsJson = False,
    **settings: Any,
) -> None:
    """Change how a tenant's memory learns from now on, and what it keeps. What is left out stays as it is."""
    if not settings:
        fail("say what to change, for example --eta 0.99", USAGE)
    with connect(server) as client:
        changed = client.update_tenant(tenant, **settings)
    if as_json:
        print_json(changed)
    else:
        shown = asdict(changed.memory) | asdict(changed.policies)
        stdout().print(pairs({name: value for name, value in shown.items() if value is not None}))


@connects
def delete_tenant(
    tenant: TenantId,
    *,
    yes: Yes = False,
    server: Server,
    as_json: AsJson = False,
) -> None:
    """Delete a tenant with its log, memory and index. Nothing brings it back."""
    agree(f"Delete tenant {tenant} and everything it remembers?", yes=yes, as_json=as_json)
    with connect(server) as client:
        client.delete_tenant(tenant)
    if as_json:
        print_json({"deleted": tenant})
    else:
        stdout().print(Text(f"tenant {clean(tenant)} is deleted"))

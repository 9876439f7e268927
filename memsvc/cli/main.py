"""The entry point: `memsvc COMMAND`."""

from importlib import metadata
from typing import Annotated

import typer

from memsvc.cli.backup import backup_app
from memsvc.cli.bench import bench_app
from memsvc.cli.demo import demo
from memsvc.cli.doctor import doctor
from memsvc.cli.feedback import feedback
from memsvc.cli.forget import delete, forget
from memsvc.cli.generate import chat, generate
from memsvc.cli.health import health
from memsvc.cli.ingest import ingest
from memsvc.cli.keys import keys_app
from memsvc.cli.memory import restart, verify
from memsvc.cli.recall import recall
from memsvc.cli.restore import restore
from memsvc.cli.serve import serve
from memsvc.cli.stack import stack
from memsvc.cli.stats import entries, get, stats
from memsvc.cli.tenants import tenants_app
from memsvc.cli.transfer import export_tenant, import_tenant
from memsvc.cli.watch import watch


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"memsvc {metadata.version('memsvc')}")
        raise typer.Exit


def make_app() -> typer.Typer:
    """Return the command line with all its commands."""
    app = typer.Typer(
        help="memsvc: stream text into a tenant's memory and recall it.",
        no_args_is_help=True,
        # Rich traces show values of variables, and with them a tenant's text.
        pretty_exceptions_enable=False,
    )
    app.callback()(_root)
    for command in (
        serve,
        ingest,
        recall,
        generate,
        chat,
        entries,
        get,
        feedback,
        delete,
        forget,
        stats,
        watch,
        verify,
        restart,
        restore,
    ):
        app.command()(command)
    app.command("export")(export_tenant)
    app.command("import")(import_tenant)
    app.command()(demo)
    app.command()(doctor)
    app.command()(health)
    app.command()(stack)
    app.add_typer(tenants_app(), name="tenants")
    app.add_typer(keys_app(), name="keys")
    app.add_typer(backup_app(), name="backup")
    app.add_typer(bench_app(), name="bench")
    return app


def main() -> None:
    """Run the command line."""
    make_app()()


def _root(
    *,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Hold the options that go before a command."""


if __name__ == "__main__":
    main()

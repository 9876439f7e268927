"""The entry point: `memsvc COMMAND`."""

import errno
import os
import sys
from contextlib import suppress
from importlib import metadata
from io import TextIOWrapper
from typing import Annotated

import typer
from rich.text import Text

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
from memsvc.cli.output import FAILED, clean, results, stderr
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
        typer.echo(f"memsvc {metadata.version('memsvc')}", file=results())
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
    """Run the command line. Where its output cannot be written it says so, but for a pipe's reader that had enough."""
    if isinstance(sys.stdout, TextIOWrapper) and sys.stdout.errors == "strict":
        # A text with a character that the locale has not is no reason to show none of it.
        sys.stdout.reconfigure(errors="replace")
    try:
        try:
            make_app()()
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()  # here, where something can be said of it
    except OSError as error:
        with suppress(OSError, AttributeError):  # it is no file, or closed
            output = sys.stdout.fileno()
            os.dup2(os.open(os.devnull, os.O_WRONLY), output)  # or the interpreter's end would try again, and tell
        if error.errno != errno.EPIPE:
            stderr().print(Text.assemble(("error: ", "bold red"), clean(str(error))), soft_wrap=True)
        raise SystemExit(FAILED) from None


def _root(
    *,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Hold the options that go before a command."""


if __name__ == "__main__":
    main()

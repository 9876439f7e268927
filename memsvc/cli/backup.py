"""`memsvc backup`: all tenants of a deployment as files, made and brought back while it serves."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from memsvc.backup.error import BackupError
from memsvc.cli.connection import LONG_TIMEOUT_S, connect
from memsvc.cli.options import AsJson
from memsvc.cli.output import FAILED, USAGE, fail, note, pairs, print_json, show, stderr, stdout, table
from memsvc.cli.target import Server, connects

if TYPE_CHECKING:
    from memsvc.backup.directory import Directory
    from memsvc.backup.manifest import Manifest, Saved

Where = Annotated[Path, typer.Argument(help="The directory of the backups.", metavar="DIR", show_default=False)]
Which = Annotated[
    str | None, typer.Option("--backup", help="Which one, by its name (default the newest).", show_default=False)
]


def backup_app() -> typer.Typer:
    """Return the command group."""
    app = typer.Typer(help="Back up all tenants of a deployment, and bring them back.", no_args_is_help=True)
    app.command("create")(create_backup)
    app.command("list")(list_backups)
    app.command("verify")(verify_backup)
    app.command("restore")(restore_backup)
    app.command("prune")(prune_backups)
    return app


@connects
def create_backup(where: Where, *, server: Server, as_json: AsJson = False) -> None:
    """Add a backup: every tenant as it is when its turn comes, read again after it is written.

    A tenant whose log has not grown since the last backup is not read again; both share its file.
    """
    from memsvc.backup.create import create  # noqa: PLC0415  # pydantic, which no other command should pay for

    with _files(), connect(server, timeout=LONG_TIMEOUT_S) as client, _bar("backup", hidden=as_json) as told:
        made = create(client, _directory(where), told)
    figures = {
        "backup": made.manifest.name,
        "tenants": len(made.manifest.tenants),
        "written": made.written,
        "bytes_written": made.bytes,
    }
    if as_json:
        print_json(figures)
    else:
        stdout().print(pairs(figures))


def list_backups(where: Where, *, as_json: AsJson = False) -> None:
    """List the backups, the oldest first."""
    with _files():
        directory = _directory(where)
        manifests = [directory.read(name) for name in directory.names()]
    found = [
        {"backup": each.name, "tenants": len(each.tenants), "bytes": sum(saved.size for saved in each.tenants)}
        for each in manifests
    ]
    if as_json:
        print_json({"backups": found})
        return
    rows = table("backup", "tenants", "bytes", right={"tenants", "bytes"})
    for row in found:
        rows.add_row(*map(show, row.values()))
    stdout().print(rows)


def verify_backup(where: Where, *, backup: Which = None, as_json: AsJson = False) -> None:
    """Read every file of a backup, and check all of its checksums."""
    from memsvc.backup import check  # noqa: PLC0415  # as above

    with _files():
        directory = _directory(where)
        manifest = _read(directory, backup)
        problems = check.problems(directory, manifest)
    if as_json:
        print_json({"backup": manifest.name, "tenants": len(manifest.tenants), "problems": problems})
    else:
        for problem in problems:
            note(f"{problem.tenant}: tenants/{problem.file}: {problem.what}")
        stdout().print(pairs({"backup": manifest.name, "tenants": len(manifest.tenants), "damaged": len(problems)}))
    if problems:
        raise typer.Exit(FAILED)


@connects
def restore_backup(
    where: Where,
    *,
    backup: Which = None,
    tenant: Annotated[
        list[str] | None,
        typer.Option(help="Only this one; may be given more than once.", metavar="TENANT", show_default=False),
    ] = None,
    server: Server,
    as_json: AsJson = False,
) -> None:
    """Make the tenants of a backup again. One that exists is left as it is, and said."""
    from memsvc.backup.restore import restore  # noqa: PLC0415  # as above

    with _files():
        directory = _directory(where)
        manifest = _read(directory, backup)
    chosen = _chosen(manifest, tenant or [])
    with connect(server, timeout=LONG_TIMEOUT_S) as client, _bar("restore", hidden=as_json) as told:
        outcomes = restore(client, directory, chosen, told)
    failed = [outcome for outcome in outcomes if outcome.failed]
    if as_json:
        print_json({"backup": manifest.name, "restored": len(outcomes) - len(failed), "tenants": outcomes})
    else:
        for outcome in failed:
            note(f"{outcome.tenant}: {outcome.outcome}")
        stdout().print(
            pairs({"backup": manifest.name, "restored": len(outcomes) - len(failed), "not restored": len(failed)})
        )
    if failed:
        raise typer.Exit(FAILED)


def prune_backups(
    where: Where,
    *,
    keep: Annotated[int, typer.Option(min=1, help="How many to keep, the newest.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Delete old backups, and the files that only they need: what was forgotten since is then gone from here too."""
    with _files():
        directory = _directory(where)
        _read(directory, None)  # before the lock is made: where there is no backup, nothing is left behind
        with directory.alone():
            gone = directory.prune(keep)
    if as_json:
        print_json({"deleted": gone})
    else:
        stdout().print(pairs({"deleted": len(gone)}))


def _directory(where: Path) -> "Directory":
    from memsvc.backup.directory import Directory  # noqa: PLC0415  # as above

    return Directory(where)


def _read(directory: "Directory", name: str | None) -> "Manifest":
    found = directory.newest() if name is None else directory.read(name)
    if found is None:
        raise BackupError(f"{directory.path}: there is no backup yet")
    return found


def _chosen(manifest: "Manifest", tenants: list[str]) -> "list[Saved]":
    if unknown := set(tenants) - {saved.tenant for saved in manifest.tenants}:
        fail(f"backup {manifest.name} has no tenant {min(unknown)}", USAGE)
    return [saved for saved in manifest.tenants if not tenants or saved.tenant in tenants]


@contextmanager
def _files() -> Iterator[None]:
    """Let what is wrong with the directory end the command with one plain message."""
    try:
        yield
    except (BackupError, OSError) as error:
        fail(str(error))


@contextmanager
def _bar(name: str, *, hidden: bool) -> Iterator[Callable[[int, int], None]]:
    """Draw how many tenants are done; yield what tells it."""
    columns = (TextColumn(name), BarColumn(), MofNCompleteColumn(), TextColumn("tenants"), TimeRemainingColumn())
    progress = Progress(*columns, console=stderr(), disable=hidden)
    task = progress.add_task("", total=None)
    with progress:
        yield lambda done, total: progress.update(task, completed=done, total=total)

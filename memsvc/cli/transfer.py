"""`memsvc export` and `memsvc import`: a tenant as one file."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.text import Text

from memsvc.cli.connection import LONG_TIMEOUT_S, connect
from memsvc.cli.options import AsJson, TenantId
from memsvc.cli.output import clean, fail, note, pairs, print_json, show, stderr, stdout
from memsvc.cli.target import Server, connects


@connects
def export_tenant(
    tenant: TenantId,
    file: Annotated[Path, typer.Argument(help="The file to write.", metavar="FILE", show_default=False)],
    *,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there.")] = False,
    server: Server,
    as_json: AsJson = False,
) -> None:
    """Write a tenant to one file, which is there when it is whole. Only you may read it."""
    with connect(server, timeout=LONG_TIMEOUT_S) as client, _files(), _bar("export", hidden=as_json) as progress:
        size = client.export_tenant(tenant, file, overwrite, progress=progress)
    if as_json:
        print_json({"tenant": tenant, "file": str(file), "bytes": size})
    else:
        stdout().print(Text(clean(f"tenant {tenant} is in {file} ({show(size)} bytes)")), soft_wrap=True)


@connects
def import_tenant(
    file: Annotated[
        Path,
        typer.Argument(exists=True, dir_okay=False, help="The file to read.", metavar="FILE", show_default=False),
    ],
    *,
    as_tenant: Annotated[
        str | None,
        typer.Option("--as", help="The id of the tenant to make, if another.", metavar="NEW", show_default=False),
    ] = None,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Fold the log afresh, here, in any case.")] = False,
    server: Server,
    as_json: AsJson = False,
) -> None:
    """Make a tenant of an exported file."""
    with connect(server, timeout=LONG_TIMEOUT_S) as client, _files(), _bar("import", hidden=as_json) as progress:
        imported = client.import_tenant(file, as_tenant, rebuild, progress=progress)
    if as_json:
        print_json(imported)
        return
    stdout().print(
        pairs({"tenant": imported.tenant.tenant, "head_seq": imported.head_seq, "adopted": imported.adopted})
    )
    if imported.adopted:
        note("its state was made under other numerics and taken as it is; --rebuild folds it afresh")


@contextmanager
def _files() -> Iterator[None]:
    """Let what is wrong with a file end the command with one plain message."""
    try:
        yield
    except FileExistsError as error:
        fail(f"{error.filename} is there already; --overwrite replaces it")
    except OSError as error:
        fail(str(error))


@contextmanager
def _bar(name: str, *, hidden: bool) -> Iterator[Callable[[int, int], None]]:
    """Draw how many bytes are done, of how many; yield what tells it."""
    progress = Progress(
        TextColumn(name),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(compact=True),
        console=stderr(),
        disable=hidden,
    )
    task = progress.add_task("", total=None)
    with progress:
        yield lambda done, total: progress.update(task, completed=done, total=total)
        progress.update(task, total=progress.tasks[0].completed)  # until now it may have been an estimate

"""`memsvc forget` and `memsvc delete`: entries that a tenant shall not return any more."""

import time
from contextlib import suppress
from typing import Annotated, Any

import typer
from memsvc_client import DeadlineExceededError, ForgetReceipt, MemoryClient, MemsvcError
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from memsvc.cli.connection import connect
from memsvc.cli.options import (
    After,
    AsJson,
    Before,
    EntryId,
    Metadata,
    Role,
    Session,
    TenantId,
)
from memsvc.cli.output import USAGE, clean, fail, note, pairs, plain, print_json, show, stderr, stdout
from memsvc.cli.target import Server, connects

POLL_S = 0.2


@connects
def forget(
    tenant: TenantId,
    ids: Annotated[list[str] | None, typer.Argument(help="Ids of entries.", metavar="ID", show_default=False)] = None,
    *,
    session: Session = None,
    role: Role = None,
    after: After = None,
    before: Before = None,
    metadata: Metadata = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; nor does --json.")] = False,
    server: Server,
    as_json: AsJson = False,
) -> None:
    """Erase entries, as if they had never been written: their text, every copy of it, and what the memory learnt of it.

    Erases what satisfies all that is given, ids and filters together. Nothing brings it back.
    """
    selected = {"session": session, "role": role, "after": after, "before": before, "metadata": metadata or None}
    filters: dict[str, Any] = {name: value for name, value in selected.items() if value is not None}
    if not ids and not filters:
        fail("say what to forget: ids, or a filter such as --session; `memsvc tenants delete` forgets a tenant", USAGE)
    if not yes and not as_json:
        typer.confirm(f"Erase {_words(ids or [], filters)} from tenant {clean(tenant)}?", abort=True, err=True)
    with connect(server) as client:
        receipt = client.forget(tenant, ids or None, **filters, wait=False)
        receipt = _follow(client, receipt, hidden=as_json)
    if as_json:
        print_json(receipt)
        return
    stdout().print(
        pairs(
            {name: value for name, value in plain(receipt).items() if name not in {"done", "copies", "files_pending"}}
        )
    )
    for copy in receipt.copies:
        note(f"not reached: {copy}, made before")
    if receipt.files_pending:
        note("the store's files may hold some of the text until the store can write them anew")


@connects
def delete(
    tenant: TenantId,
    id: EntryId,
    *,
    server: Server,
    as_json: AsJson = False,
) -> None:
    """Hide an entry from recall at once. The memory keeps what it learnt of it; forget erases."""
    with connect(server) as client:
        deletion = client.delete_entry(tenant, id)
    if as_json:
        print_json({"id": id, **plain(deletion)})
        return
    kept = "its text is kept to fold the log again, and `memsvc forget` erases it"
    fate = kept if deletion.text_kept else "its text is destroyed"
    stdout().print(Text(f"entry {clean(id)} is deleted (record {show(deletion.seq)}); {fate}"))


def _follow(client: MemoryClient, receipt: ForgetReceipt, *, hidden: bool) -> ForgetReceipt:
    """Show how far an erasure is until it is done."""
    progress = Progress(
        TextColumn("forget"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("records folded again"),
        TimeRemainingColumn(compact=True),
        console=stderr(),
        disable=hidden,
    )
    task = progress.add_task("", total=None)
    try:
        with progress:
            while not receipt.done:
                progress.update(task, total=receipt.total_records or None, completed=receipt.folded_records)
                time.sleep(POLL_S)
                with suppress(DeadlineExceededError):  # a busy server; the erasure goes on, and nothing else is due
                    receipt = client.get_erasure(receipt.operation)
            progress.update(task, total=receipt.total_records, completed=receipt.total_records)
    except (MemsvcError, KeyboardInterrupt):
        note(f"the erasure {receipt.operation} goes on: its entries are hidden, and the server does the rest")
        raise
    return receipt


def _words(ids: list[str], filters: dict[str, Any]) -> str:
    """Return what is selected, in words for a question."""
    count = f"{len(ids):,} entries by id" if len(ids) > 1 else f"entry {ids[0]}" if ids else "all entries"
    conditions = " and ".join(f"{name} {show(value)}" for name, value in filters.items())
    return clean(f"{count} with {conditions}" if conditions else count)

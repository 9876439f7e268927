"""`memsvc ingest`: documents into a tenant's memory."""

import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Annotated

import typer
from memsvc_client import (
    AlreadyExistsError,
    DeadlineExceededError,
    Entry,
    FailedPreconditionError,
    MemoryClient,
    ResourceExhaustedError,
)
from rich.text import Text

from memsvc.cli.connection import connect
from memsvc.cli.documents import Document, NotTextError, Source, decode, entries, find
from memsvc.cli.options import AsJson, TenantId
from memsvc.cli.output import USAGE, fail, note, pairs, print_json, stdin, stdout
from memsvc.cli.progress import IngestProgress
from memsvc.cli.target import Server, connects

# A record becomes recallable as a whole: small ones do so soon, and keep the progress and other tenants moving.
BATCH_ENTRIES = 16
BATCH_BYTES = 64 * 1024
WAIT_S = 0.1


@dataclass(kw_only=True)
class Ingested:
    """What an ingest did."""

    tenant: str
    documents: int = 0
    passages: int = 0
    """Passages that the documents have."""
    written: int = 0
    """Of them, those that were not known."""
    forgotten: int = 0
    """Of them, those that were forgotten: they are not written again."""
    bytes: int = 0
    """Bytes of the passages written."""
    seq: int = 0
    """The last record that holds one of them."""
    tokens: int = 0
    """Tokens that streamed through the memory meanwhile."""
    seconds: float = 0.0
    tokens_per_second: float = 0.0
    surprise: float = 0.0
    """Mean surprise over the last 4,096 tokens."""
    gate_share: float = 0.0
    """Share of the tenant's tokens that wrote to the memory."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Files that are no text, and why."""


@connects
def ingest(
    tenant: TenantId,
    paths: Annotated[list[str], typer.Argument(help="Files, folders, or - for standard input.", metavar="PATH…")],
    *,
    name: Annotated[str, typer.Option(help="What to call the document on standard input.")] = "stdin",
    wait: Annotated[bool, typer.Option(help="Wait until everything is recallable, not only durable.")] = True,
    server: Server,
    as_json: AsJson = False,
) -> None:
    """Write documents into a tenant's memory, passage by passage.

    The tenant is created if there is none of that id. Each document is a session, called by its path; a passage that is
    known already is not written again, so an ingest can be repeated, and one that was interrupted goes on.
    """
    try:
        sources = find(paths, stdin_name=name)
    except FileNotFoundError as error:
        fail(f"no such file or folder: {error.filename}", USAGE)
    except (OSError, ValueError) as error:
        fail(str(error), USAGE)
    if not sources:
        fail("nothing to ingest: the folders hold no files but hidden ones", USAGE)
    done = Ingested(tenant=tenant)
    with connect(server) as client:
        client.create_tenant(tenant, exist_ok=True)
        size = sum(source.size for source in sources)
        with IngestProgress(client, tenant, size, hidden=as_json) as progress:
            write_documents(client, _read(sources, done, progress), done, progress, wait=wait)
    if as_json:
        print_json(done)
    else:
        _show(done, wait=wait)


def write_documents(
    client: MemoryClient,
    documents: Iterable[Document],
    done: Ingested,
    progress: IngestProgress,
    *,
    wait: bool = True,
) -> None:
    """Write documents into the tenant that `done` names, and count there what was done.

    Raises:
        MemsvcError: from the client; what was counted is durable.
    """
    began, tokens = time.monotonic(), client.stats(done.tenant, live=True).tokens
    for document in documents:
        done.documents += 1
        for batch in _batches(entries(document)):
            done.passages += len(batch)
            _write_new(client, done, batch)
            progress.sent(sum(_size(entry) for entry in batch))
    stats = client.stats(done.tenant, live=True)
    while wait and stats.applied_seq < done.seq:
        time.sleep(WAIT_S)
        with suppress(DeadlineExceededError):  # a busy server; the text is safe, and nothing else is due
            stats = client.stats(done.tenant, live=True)
    done.seconds = time.monotonic() - began
    done.tokens = stats.tokens - tokens
    done.tokens_per_second = done.tokens / done.seconds
    done.surprise, done.gate_share = stats.surprise_recent, stats.gate_share


def _write_new(client: MemoryClient, done: Ingested, batch: list[Entry]) -> None:
    """Write those of one document's passages that are not known.

    A passage of an edited document keeps its id where its text is the same, but may stand elsewhere in it; the server
    then refuses the batch, because its metadata differ. What is known stays as it was first written, and what was
    deleted or forgotten stays so.
    """
    listed: set[str] | None = None
    while batch:
        try:
            _write(client, done, batch)
        except (AlreadyExistsError, FailedPreconditionError) as error:
            refused = error.metadata.get("id")
            if error.reason not in {"ENTRY_EXISTS", "FORGOTTEN"} or all(entry.id != refused for entry in batch):
                raise
            if error.reason == "FORGOTTEN":
                done.forgotten += 1
            elif listed is None:  # all at once, where the server names one; what was deleted is in no listing
                listed = {
                    e.id for e in client.list_entries(done.tenant, session=batch[0].session, include_evicted=True)
                }
            batch = [entry for entry in batch if entry.id not in {refused, *(listed or ())}]
        else:
            return


def _write(client: MemoryClient, done: Ingested, batch: list[Entry]) -> None:
    while True:
        try:
            receipt = client.write(done.tenant, batch)
        except ResourceExhaustedError as error:
            # The server has as much as it wants to hold: it computes, we wait, however long that takes.
            if error.retry_after is None or not 0 <= error.retry_after < 60:
                raise
            time.sleep(error.retry_after)
        else:
            break
    done.seq = max(done.seq, receipt.seq)
    fresh = [entry for entry, skipped in zip(batch, receipt.skipped, strict=True) if not skipped]
    done.written += len(fresh)
    done.bytes += sum(_size(entry) for entry in fresh)


def _read(sources: Iterable[Source], done: Ingested, progress: IngestProgress) -> Iterator[Document]:
    for source in sources:
        try:
            data = source.path.read_bytes() if source.path else stdin().buffer.read()
            text = decode(data)
        except NotTextError as reason:
            done.left_out[source.name] = str(reason)
        except OSError as error:
            done.left_out[source.name] = error.strerror or "cannot be read"
        else:
            progress.sized(len(data) - source.size)
            yield Document(source.name, text)
            continue
        progress.sized(-source.size)
        note(f"left out: {source.name} ({done.left_out[source.name]})")


def _batches(passages: list[Entry]) -> Iterator[list[Entry]]:
    batch: list[Entry] = []
    size = 0
    for entry in passages:
        if batch and (len(batch) == BATCH_ENTRIES or size + _size(entry) > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(entry)
        size += _size(entry)
    if batch:
        yield batch


def _size(entry: Entry) -> int:
    return len(entry.text.encode())


def _show(done: Ingested, *, wait: bool) -> None:
    known = done.passages - done.written - done.forgotten
    forgotten = f", {done.forgotten:,} forgotten before and not written" if done.forgotten else ""
    left_out = f", {len(done.left_out):,} files left out" if done.left_out else ""
    counts = (
        f"{done.documents:,} documents, {done.written:,} passages written, {known:,} known already{forgotten}{left_out}"
    )
    stdout().print(Text(counts))
    if done.written and wait:
        stdout().print(
            pairs(
                {
                    "tokens": done.tokens,
                    "tokens/s": done.tokens_per_second,
                    "surprise": done.surprise,
                    "gate share": done.gate_share,
                }
            )
        )

"""`memsvc demo`: the whole service in a minute, a crash included."""

import shutil
import signal
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from memsvc_bench.report import Check, Result, describe_machine
from memsvc_bench.server_process import ServerProcess
from memsvc_client import Hit, MemoryClient
from rich.rule import Rule
from rich.text import Text

from memsvc.cli.connection import connect
from memsvc.cli.documents import Document
from memsvc.cli.ingest import Ingested, write_documents
from memsvc.cli.options import AsJson
from memsvc.cli.output import note, stderr, stdout
from memsvc.cli.progress import IngestProgress
from memsvc.cli.publish import publish
from memsvc.cli.recall import render_hit
from memsvc.cli.target import Server

TENANT = "python"
QUESTIONS = (
    "How do I make an attribute that is computed each time it is read?",
    "Does the finally clause still run when the try clause returns?",
    "How do I pad a number with zeros and align it in a format string?",
    "How can I stop in the debugger when a condition is true?",
    "Why is a default parameter value shared between calls?",
)
ROUNDS = 4
"""How often the questions are asked to time a recall."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answers:
    """What the questions found."""

    best: tuple[Hit, ...]
    """The best hit of each."""
    milliseconds: tuple[float, ...]
    """What each recall took, as its caller sees it."""
    state_hash: str
    """Of the tenant they were asked of."""


def demo(
    *,
    encoder: Annotated[str, typer.Option(help="The server's encoder.")] = "minilm",
    keep: Annotated[bool, typer.Option("--keep", help="Keep the data directory.")] = False,
    as_json: AsJson = False,
) -> None:
    """Watch it work: remember Python's manual, answer five questions, crash, and answer them again.

    Starts a server on a scratch directory, ingests the topics of Python's own help, asks, kills the server with
    SIGKILL, starts it again on the same directory and asks again. Succeeds only if the same five passages come back.
    """
    with _scratch(keep=keep) as folder, _terminable():
        server = ServerProcess(folder / "data", ["--encoder", encoder])
        try:
            publish(lambda: _run(server, quiet=as_json), as_json=as_json)
        finally:
            server.kill()


def _run(server: ServerProcess, *, quiet: bool) -> Result:
    """Play the story and report on it."""
    _tell("Starting a server on a scratch directory", quiet=quiet)
    server.start()
    documents = _documents()
    done = Ingested(tenant=TENANT)
    with connect(Server(server.target)) as client:
        _tell(f"Streaming {len(documents)} topics of Python's help into one tenant's memory", quiet=quiet)
        client.create_tenant(TENANT)
        size = sum(len(document.text.encode()) for document in documents)
        with IngestProgress(client, TENANT, size, hidden=quiet) as progress:
            write_documents(client, documents, done, progress)
        _tell("Five questions", quiet=quiet)
        first = _ask(client)
    if not quiet:
        _show(first.best)
    _tell("Killing the server (SIGKILL) and starting it again on the same directory", quiet=quiet)
    server.kill()
    disk = sum(file.stat().st_size for file in server.data.rglob("*") if file.is_file())
    restart = server.start()
    with connect(Server(server.target)) as client:
        _tell("The same questions", quiet=quiet)
        began = time.perf_counter()
        client.recall(TENANT, QUESTIONS[0], k=1)
        cold = (time.perf_counter() - began) * 1000
        second = _ask(client)
    same = [one.id == other.id for one, other in zip(first.best, second.best, strict=True)]
    figures: dict[str, Any] = {
        "documents": done.documents,
        "passages": done.passages,
        "tokens": done.tokens,
        "ingest_s": round(done.seconds, 2),
        "tokens_per_s": round(done.tokens_per_second),
        "surprise": round(done.surprise, 4),
        "gate_share": round(done.gate_share, 4),
        "data_directory_mib": round(disk / 2**20, 1),
        "recall_p50_ms": round(statistics.median(first.milliseconds + second.milliseconds), 1),
        "restart_s": round(restart, 2),
        "first_recall_after_restart_ms": round(cold, 1),
        "same_passages": sum(same),
    }
    checks = [
        Check.at_least("the same passages come back", sum(same), len(QUESTIONS)),
        Check.holds("the memory is the same, bit for bit", first.state_hash == second.state_hash),
    ]
    return Result(machine=describe_machine(), command="memsvc demo", figures=figures, checks=checks)


def _documents() -> list[Document]:
    from pydoc_data.topics import topics  # noqa: PLC0415  half a megabyte that only the demo reads

    return [Document(name, text) for name, text in sorted(topics.items())]


def _ask(client: MemoryClient) -> _Answers:
    best: list[Hit] = []
    milliseconds = []
    for round_ in range(ROUNDS):
        for question in QUESTIONS:
            began = time.perf_counter()
            found = client.recall(TENANT, question)
            milliseconds.append((time.perf_counter() - began) * 1000)
            if round_ == 0:
                best.append(found[0])
    return _Answers(best=tuple(best), milliseconds=tuple(milliseconds), state_hash=client.stats(TENANT).state_hash)


def _show(hits: Sequence[Hit]) -> None:
    for question, hit in zip(QUESTIONS, hits, strict=True):
        stdout().print(Text(question, style="bold"))
        stdout().print(render_hit(1, hit, max_lines=8, show_id=False))


def _tell(message: str, *, quiet: bool) -> None:
    if not quiet:
        stderr().print(Rule(Text(message, style="bold"), align="left", style="dim"))


@contextmanager
def _scratch(*, keep: bool) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="memsvc-demo-"))
    try:
        yield folder
    finally:
        if keep:
            note(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _terminable() -> Iterator[None]:
    """Turn SIGTERM into an ordinary exit, so that the server does not outlive the demo."""

    def stop(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)

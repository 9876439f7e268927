"""Where the time of an ingest and of a recall goes: the engine's work by its parts, and what the service is beside it.

Parts are Python functions' own times by the interpreter's profiler, what they call included, in a process that does
nothing else. The profiler itself lengthens what calls many functions; `unprofiled_ms` is the same work without it.
"""

import cProfile
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from memsvc_client import Entry, MemoryClient

from memsvc.engine.runner import Runner, prepare_thread
from memsvc.memory.config import MemoryConfig
from memsvc.recall.encoder import load_encoder
from memsvc.recall.index import Index
from memsvc.recall.lexical import Lexical
from memsvc.recall.rank import RankConfig, rank
from memsvc.recall.texts import Texts
from memsvc_bench import service_load as load
from memsvc_bench.corpus import Passage, Stream
from memsvc_bench.progress import told
from memsvc_bench.report import Result, describe_machine
from memsvc_bench.retrieval import folded
from memsvc_bench.server_process import ServerProcess
from memsvc_bench.service_texts import library

WORDS = 9
"""Of a query: the first of an entry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much is done."""

    entries: int = 10_000
    queries: int = 300
    encoder: str = "minilm"
    threads: int = 2


FULL = Scale()
QUICK = Scale(entries=60, queries=5, encoder="kmer", threads=1)


def bench(*, scale: Scale = FULL) -> Result:
    """`memsvc bench profile`. Linux only: it reads the clock of the server's process.

    Raises:
        RuntimeError: the server did not start.
    """
    load_before = os.getloadavg()[0]
    prepare_thread(scale.threads)
    entries = list(islice(cycle(library()), scale.entries))
    spread = max(1, scale.entries // scale.queries)
    queries = [" ".join(entry.text.split()[:WORDS]) for entry in entries[::spread]][: scale.queries]
    work = _Work(Runner(load_encoder(scale.encoder, threads=scale.threads), 1), entries, queries)
    figures: dict[str, Any] = {"load_average_before": load_before, "entries": len(entries), "queries": len(queries)}
    for measure in told((work.ingest, work.recall, lambda: _service(scale, entries, queries)), "parts"):
        figures |= measure()
    figures["load_average_after"] = os.getloadavg()[0]
    return Result(machine=describe_machine(), command="memsvc bench profile", figures=figures, checks=[])


class _Work:
    """The engine's part, in this process."""

    def __init__(self, runner: Runner, entries: Sequence[Passage], queries: Sequence[str]) -> None:
        self._runner, self._queries = runner, queries
        self._memory = MemoryConfig(width=runner.encoder.dim)
        self._stream = Stream("profiled", entries, [])

    def ingest(self) -> dict[str, dict[str, float]]:
        """Fold the entries; return each part's milliseconds for an entry."""
        encoder = type(self._runner.encoder)
        parts: dict[str, Callable[..., Any]] = {
            "tokens": encoder.split,
            "encoder": encoder.encode,
            "memory": Runner.step,
            "index": Index.add,
        }
        return _parts("ingest, an entry", self._fold, len(self._stream.entries), parts)

    def recall(self) -> dict[str, dict[str, float]]:
        """Ask; return each part's milliseconds for a query."""
        view, config = folded(self._runner, self._stream, self._memory), RankConfig()
        encoder = type(self._runner.encoder)
        parts: dict[str, Callable[..., Any]] = {
            "tokens": encoder.split,
            "encoder": encoder.encode_alone,
            "vectors": Texts.products,
            "words": Lexical.scores,
            "ranking but for these": rank,
        }

        def ask() -> None:
            for query in self._queries:
                rank(view.index, self._runner.query(self._stream.name, query), config, load.K)

        found = _parts("recall", ask, len(self._queries), parts)
        ranking = found["recall: ranking but for these"]
        for part in ("vectors", "words"):
            for figure in ranking:
                ranking[figure] -= found[f"recall: {part}"][figure]
        return found

    def _fold(self) -> None:
        folded(self._runner, self._stream, self._memory)
        self._runner.detach(self._stream.name)


def _parts(
    name: str, work: Callable[[], None], count: int, parts: Mapping[str, Callable[..., Any]]
) -> dict[str, dict[str, float]]:
    """Do some work twice, once with the profiler; return what an item of it took, by parts."""
    work()  # warms up
    began = time.perf_counter()
    work()
    plain = time.perf_counter() - began
    profiler = cProfile.Profile()
    began = time.perf_counter()
    profiler.runcall(work)
    whole = time.perf_counter() - began
    seconds = {entry.code: entry.totaltime for entry in profiler.getstats()}
    rows = {}
    for part, function in parts.items():
        taken = seconds.get(function.__code__, 0.0)
        rows[f"{name}: {part}"] = {"ms": 1000 * taken / count, "share": taken / whole}
    rows[f"{name}: all"] = {"ms": 1000 * whole / count, "share": 1.0, "unprofiled_ms": 1000 * plain / count}
    return rows


def _service(scale: Scale, entries: Sequence[Passage], queries: Sequence[str]) -> dict[str, dict[str, float]]:
    """Do the same through a server; return what an item took, and how much of the server's processor time."""
    options = ["--encoder", scale.encoder, "--threads", str(scale.threads)]
    with (
        TemporaryDirectory() as scratch,
        ServerProcess(Path(scratch) / "data", options) as server,
        MemoryClient(server.target, timeout=600.0) as client,
    ):
        if (pid := server.pid) is None:
            raise RuntimeError("the server ended")
        client.create_tenant("t")
        items = [Entry(entry.text, session=entry.session) for entry in entries]
        before = _cpu(pid)
        took = load.send(client, "t", items)
        rows = {"service: an entry": _row(took, _cpu(pid) - before, len(entries))}
        load.wait_for_snapshot(client, "t", 60.0)
        for query in queries[:20]:
            client.recall("t", query, k=load.K)
        before, each = _cpu(pid), []
        for query in queries:
            began = time.perf_counter()
            client.recall("t", query, k=load.K)
            each.append(time.perf_counter() - began)
        rows["service: a recall"] = _row(sum(each), _cpu(pid) - before, len(each))
        rows["service: a recall"]["p50_ms"] = 1000 * statistics.median(each)
        return rows


def _row(seconds: float, cpu: float, count: int) -> dict[str, float]:
    return {"ms": 1000 * seconds / count, "server_cpu_ms": 1000 * cpu / count}


def _cpu(pid: int) -> float:
    """Return the seconds that a process has computed, its threads together; /proc counts in ticks longer than a recall.

    The clock's number is what `clock_getcpuclockid` of the C library makes of a process on Linux.
    """
    return time.clock_gettime((~pid << 3) | 2)

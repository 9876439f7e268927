"""memsvc over gRPC beside what a user would pick instead: the same texts, the same encoder, one run.

All of them run at once, each in a process of its own, and are asked by turns: who is not asked, rests.
"""

import os
import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from memsvc_client import MemoryClient

from memsvc_bench import locomo
from memsvc_bench.corpus import Question, Stream
from memsvc_bench.peer_contenders import Answers, Contender, PeerContender, ServiceContender
from memsvc_bench.peer_corpus import corpus
from memsvc_bench.peer_embedding import USUAL, Way
from memsvc_bench.peer_stores import PEERS, Peer
from memsvc_bench.progress import told
from memsvc_bench.report import Check, Result, describe_machine
from memsvc_bench.retrieval import KS, recall_at
from memsvc_bench.server_process import ServerProcess
from memsvc_bench.service_load import K
from memsvc_bench.service_texts import Synthetic, percentiles

US = "memsvc"
DIM = 384
GIVEN = 100_000
"""From so many entries on, vectors are given: encoding would be all that is measured."""
LARGE = 1_000_000
INGEST_RATIO, RECALL_RATIO = 1.5, 1.6
SLOWER, SLOWER_WHEN_GIVEN = 1.5, 1.0
"""How many times as long as the fastest of the others a recall may take; at `LARGE` it has a time instead."""
LARGE_MS, LARGE_MB = 150, 1500


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much is measured."""

    entries: Sequence[int] = (1_000, 10_000)
    """Sizes, each with stores of its own."""
    encoder: str = "minilm"
    threads: int = 2
    rounds: int = 3
    """Ingests of each; the median counts. One where vectors are given."""
    writes: int = 50
    """Single writes to each."""
    queries: int = 200
    """Timed queries to each, at most."""
    turns: int = 5
    """In so many turns."""
    budget_s: float = 60.0
    """After so many seconds, one turn ends."""


FULL = Scale()
QUICK = Scale(entries=(150,), encoder="kmer", threads=1, rounds=1, writes=3, queries=6, turns=2)


def bench(data: Path, *, names: Sequence[str] = tuple(PEERS), way: Way = "memsvc", scale: Scale = FULL) -> Result:
    """`memsvc bench peers`.

    Args:
        data: a LoCoMo file.
        names: of those to compare with.
        way: how the others run the encoder.
        scale: how much to measure.

    Raises:
        ValueError: the file is not LoCoMo's; there is no such peer.
        RuntimeError: a process ended.
    """
    if unknown := [name for name in names if name not in PEERS]:
        raise ValueError(f"there is no peer {unknown[0]!r}; there are {', '.join(PEERS)}")
    streams = locomo.load(data)
    chosen = [PEERS[name] for name in names]
    figures: dict[str, Any] = {
        "load_average_before": os.getloadavg()[0],
        "corpus": locomo.digest(data),
        "encoder_of_the_others": f"{scale.encoder}, as {way} runs it",
        **{peer.name: _installed(peer) for peer in chosen},
    }
    checks: list[Check] = []
    for entries in told(scale.entries, "sizes"):
        slow = [peer.name for peer in chosen if peer.most and entries > peer.most]
        if slow:
            figures[f"{entries:,} entries: left out, too slow"] = ", ".join(slow)
        peers = [peer for peer in chosen if not peer.missing and peer.name not in slow]
        with _contenders(peers, way, scale) as contenders:
            size = _Size(scale, entries, streams, contenders)
            rows = size.rows()
            figures |= {f"{entries:,} entries: {name}": row for name, row in rows.items()}
            checks += targets(entries, rows, [peer.name for peer in peers if peer.dense])
            if entries < GIVEN:
                figures |= _encoders(size.texts, scale)
    figures["load_average_after"] = os.getloadavg()[0]
    options = "".join(f" --peer {name!r}" for name in names) if tuple(names) != tuple(PEERS) else ""
    sizes = ",".join(map(str, scale.entries))
    options = f"--peer-encoder {way} --rounds {scale.rounds} --queries {scale.queries} --writes {scale.writes}{options}"
    command = f"memsvc bench peers --data {data.name} --entries {sizes} {options}"
    return Result(machine=describe_machine(), command=command, figures=figures, checks=checks)


class _Size:
    """All that is measured with stores of one size."""

    def __init__(
        self, scale: Scale, entries: int, streams: Sequence[Stream], contenders: Mapping[str, Contender]
    ) -> None:
        self._scale, self._entries, self._contenders = scale, entries, contenders
        self._stream = corpus(streams, entries) if entries < GIVEN else None

    @property
    def texts(self) -> list[str]:
        """What is written."""
        return [passage.text for passage in self._stream.entries] if self._stream else []

    def rows(self) -> dict[str, dict[str, Any]]:
        """Measure, and return a row for each, by its name."""
        questions = self._stream.questions if self._stream else []
        synthetic = Synthetic(self._entries, DIM)
        queries = [question.text for question in questions] or synthetic.queries(self._scale.queries)
        rates = self._ingest(synthetic)
        answers = self._recall(queries[: self._scale.queries])
        rows: dict[str, dict[str, Any]] = {}
        for name, contender in self._contenders.items():
            memory = contender.memory()
            row: dict[str, Any] = {"entries_per_s": statistics.median(rates[name])}
            asked = percentiles(answers[name].seconds)
            row |= {
                "queries": len(answers[name].seconds),
                "recall_p50_ms": asked["p50_ms"],
                "recall_p99_ms": asked["p99_ms"],
            }
            if questions:
                found = contender.recall([q.text for q in questions], K, float("inf")).numbers
                row["recall_at_10"] = recall_of(questions, found)
            writes = contender.write(
                [f"Note {i} of the day: {text}" for i, text in zip(range(self._scale.writes), queries, strict=False)]
            )
            for what, seconds in (("acknowledged", writes.acknowledged), ("recallable", writes.recallable)):
                taken = percentiles(seconds)
                row |= {f"{what}_p50_ms": taken["p50_ms"], f"{what}_p99_ms": taken["p99_ms"]}
            row |= {
                "found_at_once": writes.found,
                "memory_mb": memory.own / 1e6,
                "mapped_mb": memory.mapped / 1e6,
                "kept": "on disk" if name == US or PEERS[name].durable else "in memory",
            }
            rows[name] = row
        return rows

    def _ingest(self, synthetic: Synthetic) -> dict[str, list[float]]:
        """Return entries/s of each round of each."""
        rates: dict[str, list[float]] = {name: [] for name in self._contenders}
        for _ in range(self._scale.rounds if self._stream else 1):
            for name, contender in self._contenders.items():
                seconds = contender.ingest(self._stream.entries) if self._stream else contender.load(synthetic)
                rates[name].append(self._entries / seconds)
        return rates

    def _recall(self, queries: Sequence[str]) -> dict[str, Answers]:
        """Ask all the queries by turns."""
        answers = {name: Answers([], []) for name in self._contenders}
        for contender in self._contenders.values():
            contender.recall(queries[:1], K, self._scale.budget_s)  # warms up
        for turn in range(self._scale.turns):
            for name, contender in self._contenders.items():
                got = contender.recall(queries[turn :: self._scale.turns], K, self._scale.budget_s)
                answers[name].seconds.extend(got.seconds)
                answers[name].numbers.extend(got.numbers)
        return answers


def targets(entries: int, rows: Mapping[str, Mapping[str, Any]], dense: Sequence[str]) -> list[Check]:
    """Hold memsvc's row against the others' and, among very many entries, against bounds of its own.

    Args:
        entries: of each store.
        rows: by name, memsvc's among them.
        dense: the names of those that rank by vectors alone.
    """
    ours, at = rows[US], f"{entries:,} entries"
    others = {name: row for name, row in rows.items() if name != US}
    given, large = entries >= GIVEN, entries >= LARGE
    checks: list[Check] = []
    if others and not given:
        ingest = ours["entries_per_s"] / max(row["entries_per_s"] for row in others.values())
        checks.append(Check.at_least(f"{at}: ingest over the fastest other", ingest, INGEST_RATIO))
    if others and not large:
        taken = ours["recall_p50_ms"] / min(row["recall_p50_ms"] for row in others.values())
        most = SLOWER_WHEN_GIVEN if given else SLOWER
        checks.append(Check.at_most(f"{at}: recall p50 over the fastest other", taken, most))
    if found := [others[name]["recall_at_10"] for name in dense if "recall_at_10" in others[name]]:
        ratio = ours["recall_at_10"] / max(found)
        checks.append(Check.at_least(f"{at}: recall@10 over the best dense other", ratio, RECALL_RATIO))
    if large:
        checks += [
            Check.at_most(f"{at}: recall p50, ms", ours["recall_p50_ms"], LARGE_MS),
            Check.at_most(f"{at}: memory less mapped files, MB", ours["memory_mb"], LARGE_MB),
        ]
    return checks


def recall_of(questions: Sequence[Question], found: Sequence[Sequence[int]]) -> float:
    """Return recall@10: the mean share of a question's answering entries among the first ten that were found."""
    shares = [
        recall_at(numbers, question.gold)[KS.index(K)] for question, numbers in zip(questions, found, strict=True)
    ]
    return float(np.mean(shares))


def _installed(peer: Peer) -> str:
    if peer.missing:
        return "not installed"
    return ", ".join(f"{package} {version(package)}" for package in peer.packages) or "numpy"


@contextmanager
def _contenders(peers: Sequence[Peer], way: Way, scale: Scale) -> Iterator[dict[str, Contender]]:
    """All of them, each in a process of its own."""
    options = ["--encoder", scale.encoder, "--threads", str(scale.threads)]
    with TemporaryDirectory() as scratch, ExitStack() as stack:
        server = stack.enter_context(ServerProcess(Path(scratch) / "data", options))
        client = stack.enter_context(MemoryClient(server.target, timeout=600.0))
        contenders: dict[str, Contender] = {US: ServiceContender(server, client)}
        for peer in peers:
            process = stack.enter_context(PeerContender(peer.name, way, scale.encoder, scale.threads, Path(scratch)))
            # Who still starts would take the cores from whoever is measured.
            process.encode(["It answers once it is ready."])
            contenders[peer.name] = process
        yield contenders


def _encoders(texts: Sequence[str], scale: Scale) -> dict[str, dict[str, float]]:
    """Return entries/s of the encoder alone in both ways, on some of the texts: what bounds an ingest."""
    some = texts[:1000]
    rows: dict[str, dict[str, float]] = {}
    with TemporaryDirectory() as scratch:
        ways: tuple[Way, ...] = ("memsvc", USUAL)
        for way in ways:
            with PeerContender("cosine", way, scale.encoder, scale.threads, Path(scratch)) as process:
                process.encode(some[:64])
                rows[f"{len(texts):,} entries: the encoder alone, as {way} runs it"] = {
                    "entries_per_s": len(some) / process.encode(some)
                }
    return rows

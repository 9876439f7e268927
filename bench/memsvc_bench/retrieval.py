"""Recall measured: the service as a client sees it, and controls that share everything with it but one signal.

recall@k is the share of a question's answering entries among the first k, averaged over questions. The controls put
another vector in the place of surprise space, in the same ranking over the same index:

    cosine                the query as it is: no memory
    centred               less the mean of the entries
    ridge residual        x − C(C + λI)⁻¹x, λ = .01, C the entries' second moment: the best linear memory, offline
    memory, zero writes   a memory that was never written; M(x) = 0, so this is cosine by construction
    another's memory      the memory of another stream's tenant
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
from memsvc_client import Entry, MemoryClient
from numpy.typing import NDArray

from memsvc.engine.fold import UNIT_TOKENS, fold
from memsvc.engine.ingest import Ingest
from memsvc.engine.lane import Lane
from memsvc.engine.runner import Runner, prepare_thread
from memsvc.memory.config import MemoryConfig
from memsvc.recall.encoder import Encoder, load_encoder
from memsvc.recall.rank import Query, RankConfig, rank
from memsvc.store.types import Record, RecordKind, StoredEntry
from memsvc.tenant.policies import Policies
from memsvc.tenant.record import Content, encode_create, encode_payload
from memsvc.tenant.view import View
from memsvc_bench.corpus import Stream
from memsvc_bench.report import Check, Result, describe_machine
from memsvc_bench.server_process import ServerProcess

KS = (1, 5, 10, 20)
BATCH = 64
RIDGE = 0.01
RESAMPLES = 2000

Floats = NDArray[np.floating[Any]]
THREADS = 2
CATEGORY_ROWS = ("service", "full: cosine", "full: ridge residual", "dense: cosine", "dense: memory", "BM25")
DENSE = RankConfig(surprise=1, cosine=0, lexical=0, neighbour1=0, neighbour2=0, session=0)


class Recall(NamedTuple):
    """One way to rank, measured on every question."""

    name: str
    at: Floats
    """[questions, len(KS)], recall@k of each question."""


def service(streams: Sequence[Stream], client: MemoryClient) -> Recall:
    """Write every stream to a tenant of its own and ask its questions, through a running server."""
    rows = []
    for stream in streams:
        tenant = f"bench-{stream.name}"
        client.create_tenant(tenant, exist_ok=True)
        entries = [Entry(p.text, id=str(i), session=p.session) for i, p in enumerate(stream.entries)]
        for start in range(0, len(entries), BATCH):
            client.write(tenant, entries[start : start + BATCH])
        for question in stream.questions:
            hits = client.recall(tenant, question.text, k=max(KS))
            rows.append(recall_at([int(hit.id) for hit in hits], question.gold))
    return Recall("service", np.array(rows))


def in_process(streams: Sequence[Stream], encoder: Encoder, memory: MemoryConfig, ranking: RankConfig) -> list[Recall]:
    """Rank every question in each control's way, with the service's own code and without the service."""
    runner = Runner(encoder, slots=len(streams))
    views = [folded(runner, stream, replace(memory, width=encoder.dim)) for stream in streams]
    rows: dict[str, list[list[float]]] = defaultdict(list)
    for i, stream in enumerate(streams):
        view = views[i]
        controls = Controls.of(view.index.texts.vectors.slice(0, view.index.passages))
        other = streams[(i + 1) % len(streams)].name if len(streams) > 1 else None
        for question in stream.questions:
            queries = queries_of(runner, controls, stream.name, other, question.text)
            for name, query in queries.items():
                # With plain cosine in surprise space's place there is nothing to mix.
                ways = {f"full: {name}": ranking, f"dense: {name}": DENSE}
                for way, config in ways.items():
                    found = rank(view.index, query, config, max(KS))
                    rows[way].append(recall_at([r.number - 1 for r in found], question.gold))
            for signal in ("lexical", "neighbours", "session"):
                found = rank(view.index, queries["memory"], without(ranking, signal), max(KS))
                rows[f"full: memory, no {signal}"].append(recall_at([r.number - 1 for r in found], question.gold))
            found = rank(view.index, queries["memory"], replace(DENSE, surprise=0, lexical=1), max(KS))
            rows["BM25"].append(recall_at([r.number - 1 for r in found], question.gold))
    return [Recall(name, np.array(values)) for name, values in rows.items()]


def without(config: RankConfig, signal: str) -> RankConfig:
    """Return the ranking with one signal switched off."""
    if signal == "neighbours":
        return replace(config, neighbour1=0, neighbour2=0)
    return replace(config, **{signal: 0})


def table(recalls: Sequence[Recall], baseline: str) -> dict[str, dict[str, Any]]:
    """Return a row per way: recall@k, and the paired difference from the baseline at 10 with its 95 % interval."""
    base = next(r for r in recalls if r.name == baseline).at[:, KS.index(10)]
    rows: dict[str, dict[str, Any]] = {}
    for recall in recalls:
        low, mean, high = interval(recall.at[:, KS.index(10)] - base)
        rows[recall.name] = {f"@{k}": float(recall.at[:, j].mean()) for j, k in enumerate(KS)}
        rows[recall.name]["less cosine"] = f"{mean:+.3f} [{low:+.3f}, {high:+.3f}]"
    return rows


def interval(differences: Floats) -> tuple[float, float, float]:
    """Return low, mean, high: a 95 % bootstrap interval of paired differences, questions resampled, seeded."""
    rng = np.random.default_rng(0)
    picks = rng.integers(0, len(differences), (RESAMPLES, len(differences)))
    means = differences[picks].mean(1)
    return float(np.quantile(means, 0.025)), float(differences.mean()), float(np.quantile(means, 0.975))


def by_category(streams: Sequence[Stream], recalls: Sequence[Recall]) -> dict[str, dict[str, Any]]:
    """Return a row per category: recall@10 in each way."""
    categories = [question.category for stream in streams for question in stream.questions]
    rows: dict[str, dict[str, Any]] = {}
    for category in sorted(set(categories)):
        mask = np.array([c == category for c in categories])
        row = {recall.name: float(recall.at[mask, KS.index(10)].mean()) for recall in recalls}
        rows[f"@10, {category}"] = {"questions": int(mask.sum()), **row}
    return rows


def at(recalls: Sequence[Recall], name: str, k: int) -> float:
    """Return recall@k of one way."""
    return float(next(r for r in recalls if r.name == name).at[:, KS.index(k)].mean())


def measure(
    command: str, streams: Sequence[Stream], corpus: str, checks: Callable[[Sequence[Recall]], list[Check]]
) -> Result:
    """Measure the service, on an empty directory, and the controls; `corpus` names the data's digest."""
    with (
        TemporaryDirectory() as scratch,
        ServerProcess(Path(scratch) / "data") as server,
        MemoryClient(server.target, timeout=120.0) as client,
    ):
        recalls = [service(streams, client)]
    prepare_thread(THREADS)
    encoder = load_encoder("minilm", threads=THREADS, dtype="auto")
    recalls += in_process(streams, encoder, MemoryConfig(width=encoder.dim), RankConfig())
    full = [r for r in recalls if not r.name.startswith("dense:")]
    dense = [r for r in recalls if r.name.startswith("dense:")]
    wanted = [r for r in recalls if r.name in CATEGORY_ROWS]
    return Result(
        machine=describe_machine(),
        command=command,
        figures={
            "questions": sum(len(stream.questions) for stream in streams),
            "entries": sum(len(stream.entries) for stream in streams),
            "corpus": corpus,
            **table(full, "full: cosine"),
            **table(dense, "dense: cosine"),
            **by_category(streams, wanted),
        },
        checks=[
            # Both may differ in the last bits where two scores tie; a share of questions must not.
            Check.at_most(
                "service and fold, |@10|", abs(at(recalls, "service", 10) - at(recalls, "full: memory", 10)), 0.002
            ),
            *checks(recalls),
        ],
    )


def costs(recalls: Sequence[Recall]) -> list[Check]:
    """No signal ships switched on by default where it costs more than a point."""
    default = at(recalls, "full: memory", 10)
    ablated = {
        "memory": "full: cosine",
        "lexical": "full: memory, no lexical",
        "neighbours": "full: memory, no neighbours",
        "session": "full: memory, no session",
    }
    return [
        Check.at_most(f"cost of {signal} @10", at(recalls, name, 10) - default, 0.01)
        for signal, name in ablated.items()
    ]


def recall_at(found: Sequence[int], gold: frozenset[int]) -> list[float]:
    """Return the share of the answering entries among the first k found, for each k of KS."""
    return [len(gold.intersection(found[:k])) / len(gold) for k in KS]


def folded(runner: Runner, stream: Stream, memory: MemoryConfig, policies: Policies | None = None) -> View:
    """Fold the stream as the service would."""
    return fold(runner, stream.name, records_of(stream, memory, runner.fingerprint, policies))


def followed(runner: Runner, stream: Stream, memory: MemoryConfig, batch: int = BATCH) -> Iterator[View]:
    """Fold the stream as the service would, so many entries to a record; yield its one view after each record."""
    view, ingest = View(runner.encoder.dim), Ingest(runner)
    failures: list[BaseException] = []
    ingest.attach(lane := Lane(stream.name, view, lambda record: None, failures.append))
    for record in records_of(stream, memory, runner.fingerprint, batch=batch):
        ingest.push(lane, record)
        while ingest.unit(UNIT_TOKENS):
            pass
        if failures:
            raise failures[0]
        if record.entries:
            yield view


def records_of(
    stream: Stream, memory: MemoryConfig, fingerprint: str, policies: Policies | None = None, batch: int = BATCH
) -> list[Record]:
    """Return the log that the stream would have, `batch` entries to a record. Entry i has the number i + 1."""
    records = [Record(seq=1, commit_us=0, kind=RecordKind.CREATE, body=encode_create(memory, fingerprint, policies))]
    for start in range(0, len(stream.entries), batch):
        stored = [
            StoredEntry(
                number=n + 1,
                seq=len(records) + 1,
                commit_us=0,
                payload=encode_payload(str(n), Content(text=stream.entries[n].text, session=stream.entries[n].session)),
            )
            for n in range(start, min(start + batch, len(stream.entries)))
        ]
        records.append(Record(seq=len(records) + 1, commit_us=0, kind=RecordKind.WRITE, entries=tuple(stored)))
    return records


class Controls(NamedTuple):
    """What the controls know of a stream's entries, [n, d], offline."""

    mean: Floats
    """[d]."""
    ridge: Floats
    """[d, d]: C(C + λI)⁻¹."""

    @classmethod
    def of(cls, entries: Floats) -> "Controls":
        """Fit them to the entries' vectors, [n, d]."""
        moment = entries.T @ entries / len(entries)
        ridge = np.linalg.solve(moment + RIDGE * np.eye(len(moment), dtype=moment.dtype), moment).T
        return cls(entries.mean(0), ridge)


def queries_of(runner: Runner, controls: Controls, uid: str, other: str | None, text: str) -> dict[str, Query]:
    """Return the question as each control puts it."""
    query = runner.query(uid, text)
    q = query.pooled
    queries = {
        "cosine": query._replace(surprise=q),
        "centred": query._replace(surprise=_unit(q - controls.mean)),
        "ridge residual": query._replace(surprise=_unit(q - q @ controls.ridge)),
        "memory": query,
        "memory, zero writes": query._replace(surprise=q),
    }
    if other is not None:
        queries["another's memory"] = query._replace(surprise=runner.query(other, text).surprise)
    return queries


def _unit(x: Floats) -> Any:
    return x / (np.linalg.norm(x) or 1.0)

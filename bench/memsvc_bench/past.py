"""The past: is it what it was, and what does asking it cost, by which snapshots are kept."""

import random
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from memsvc_client import Entry, MemoryClient, Recall

from memsvc_bench import service_load as load
from memsvc_bench.report import Check, Result, describe_machine
from memsvc_bench.server_process import ServerProcess
from memsvc_bench.service_texts import Synthetic, dialogue

DIM = 384
Retention = Literal["none", "log_spaced", "all"]
RETENTIONS: tuple[Retention, ...] = ("none", "log_spaced", "all")
MOST_BATCH = 12
"""Entries of a record of the tenant whose past is compared, at most."""
SNAPSHOT_TOKENS = 8_192
"""A tenant of given vectors, whose entries are one token each, is saved after so many entries."""
K = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much is measured."""

    encoder: str = "minilm"
    points: int = 50
    """Random records whose past is compared with a tenant that has that prefix alone."""
    turns: int = 300
    queries: int = 5
    """Questions at each point."""
    entries: int = 100_000
    asked: int = 11
    """Random records of the large tenant that are asked, each once."""


FULL = Scale()
QUICK = Scale(encoder="kmer", points=3, turns=40, queries=2, entries=1_500, asked=3)


def bench(*, scale: Scale = FULL, seed: int = 0) -> Result:
    """`memsvc bench past`.

    Raises:
        RuntimeError: the server did not start.
    """
    figures: dict[str, Any] = {}
    with TemporaryDirectory() as scratch:
        config = Path(scratch) / "config.toml"
        config.write_text(f'encoder = "{scale.encoder}"\nsnapshot_tokens = {SNAPSHOT_TOKENS}\n')
        options = ["--config", str(config)]
        with ServerProcess(Path(scratch) / "data", options) as server, MemoryClient(server.target) as client:
            same = _compare(client, scale, random.Random(seed), figures)
            for retention in RETENTIONS:
                figures[f"snapshots: {retention}"] = _ask(server.target, client, retention, scale, random.Random(seed))
            server.stop()
    checks = [Check.at_least("points at which recall, scores included, is that of the prefix", same, scale.points)]
    return Result(machine=describe_machine(), command="memsvc bench past", figures=figures, checks=checks)


def _compare(client: MemoryClient, scale: Scale, dice: random.Random, figures: dict[str, Any]) -> int:
    """Return at how many random points the past answers as a tenant that received nothing else."""
    turns = dialogue(None)[: scale.turns]
    batches = _batches(turns, dice)
    queries = [dice.choice(turns) for _ in range(scale.queries)]
    client.create_tenant("whole", snapshots="log_spaced")
    seqs = [client.write("whole", batch, wait="applied", timeout=load.TIMEOUT_S).seq for batch in batches]
    same, seconds = 0, []
    for point, i in enumerate(sorted(dice.choices(range(len(batches)), k=scale.points))):
        name = f"prefix-{point}"
        client.create_tenant(name)
        for batch in batches[: i + 1]:
            client.write(name, batch, timeout=load.TIMEOUT_S)
        start = time.perf_counter()
        then = [_answer(client.recall("whole", q, k=K, as_of=seqs[i], timeout=load.TIMEOUT_S)) for q in queries]
        seconds.append(time.perf_counter() - start)
        same += then == [_answer(client.recall(name, q, k=K, timeout=load.TIMEOUT_S)) for q in queries]
        client.delete_tenant(name)
    figures |= {"records": len(batches), "entries": len(turns), "points": scale.points, "points alike": same}
    figures["asking a point, s, p50"] = statistics.median(seconds)
    return same


def _batches(turns: Sequence[str], dice: random.Random) -> list[list[Entry]]:
    entries = [Entry(text, id=str(i), session=str(i // load.SESSION_TURNS)) for i, text in enumerate(turns)]
    batches: list[list[Entry]] = []
    while entries:
        n = dice.randint(1, MOST_BATCH)
        batches.append(entries[:n])
        del entries[:n]
    return batches


def _answer(recall: Recall) -> list[tuple[str, float, Any]]:
    return [(hit.id, hit.score, hit.parts) for hit in recall]


def _ask(
    target: str,
    client: MemoryClient,
    retention: Literal["none", "log_spaced", "all"],
    scale: Scale,
    dice: random.Random,
) -> dict[str, float]:
    """Return what it costs to ask a large tenant's past for the first time, and what its snapshots take."""
    tenant = f"large-{retention}"
    synthetic = Synthetic(scale.entries, DIM)
    client.create_tenant(tenant, snapshots=retention)
    load.load(target, tenant, synthetic)
    load.wait_for_snapshot(client, tenant, 120.0)
    stats, queries = client.stats(tenant), synthetic.queries(scale.asked)
    cold: list[float] = []
    warm: list[float] = []
    for query in queries:
        seq = dice.randint(2, stats.head_seq)
        for seconds in (cold, warm):
            start = time.perf_counter()
            client.recall(tenant, query, k=K, as_of=seq, timeout=load.TIMEOUT_S)
            seconds.append(time.perf_counter() - start)
    client.delete_tenant(tenant)
    return {
        "snapshots": stats.snapshots,
        "snapshot_bytes": stats.snapshot_bytes,
        "first_recall_p50_s": statistics.median(cold),
        "first_recall_max_s": max(cold),
        "again_p50_ms": 1000 * statistics.median(warm),
    }

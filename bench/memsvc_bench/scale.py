"""What the service costs as one thing grows: a tenant's history, the tenants, a memory's chunk, a memory's depth."""

import asyncio
import os
import random
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain, count, islice, repeat
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any

from memsvc_client import AsyncMemoryClient, Entry, MemoryClient

from memsvc.engine.runner import prepare_thread
from memsvc.memory.config import MemoryConfig
from memsvc.recall.encoder import load_encoder
from memsvc_bench import service_load as load
from memsvc_bench.corpus import Passage
from memsvc_bench.footprint import disk_bytes
from memsvc_bench.kernels import step_rate
from memsvc_bench.process_memory import resident
from memsvc_bench.progress import told
from memsvc_bench.report import Check, Result, describe_machine
from memsvc_bench.server_process import ServerProcess
from memsvc_bench.service_texts import library, percentiles

CALLERS = 16
"""Calls at once where there are many tenants."""
SNAPSHOT_S = 120.0
STEP_S = 0.5
"""How long a memory's step is timed alone."""
MOST_SHARE: Mapping[int, float] = MappingProxyType({2: 0.15, 8: 0.45})
"""Of an ingest's time that the memory may take, by depth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much is measured. An axis without points is left out."""

    history: Sequence[int] = (10_000, 100_000, 1_000_000)
    """Tokens of one tenant, growing."""
    tenants: Sequence[int] = (1, 10, 100, 1_000)
    chunks: Sequence[int] = (16, 32, 64, 128, 256, 512, 1_024, 2_048)
    depths: Sequence[int] = (2, 4, 6, 8, 10, 12)
    tokens: int = 50_000
    """Of all tenants together; and of a tenant of each depth, in each round."""
    rounds: int = 3
    queries: int = 100
    encoder: str = "minilm"
    threads: int = 2


FULL = Scale()
QUICK = Scale(
    history=(2_000, 4_000),
    tenants=(1, 3),
    chunks=(16, 64),
    depths=(2, 3),
    tokens=6_000,
    rounds=1,
    queries=3,
    encoder="kmer",
    threads=1,
)


def bench(*, scale: Scale = FULL) -> Result:
    """`memsvc bench scale`. Linux only: it reads the server's memory from /proc.

    Raises:
        RuntimeError: the server did not start, or its memory cannot be read.
    """
    load_before = os.getloadavg()[0]
    prepare_thread(scale.threads)
    run = _Run(scale)
    figures: dict[str, Any] = {"load_average_before": load_before, "words_repeat_after_tokens": run.texts.tokens}
    if scale.history:
        figures |= run.history()
    for tenants in told(scale.tenants, "tenants"):
        figures |= run.many(tenants)
    figures |= run.chunks()
    figures |= run.depths()
    figures["load_average_after"] = os.getloadavg()[0]
    checks = [
        Check.at_most(f"depth {depth}: the memory's share of ingest", figures[f"depth {depth}"]["memory_share"], most)
        for depth, most in MOST_SHARE.items()
        if depth in scale.depths
    ]
    axes = (("history", scale.history), ("tenants", scale.tenants), ("chunks", scale.chunks), ("depths", scale.depths))
    options = " ".join(f"--{name} {','.join(map(str, points)) or 'none'}" for name, points in axes)
    return Result(machine=describe_machine(), command=f"memsvc bench scale {options}", figures=figures, checks=checks)


class _Texts:
    """Turns with their tokens, over and over."""

    def __init__(self, scale: Scale) -> None:
        self._turns = list(library())
        encoder = load_encoder(scale.encoder, threads=scale.threads)
        self._counts = encoder.count_tokens([turn.text for turn in self._turns])
        self.tokens = sum(self._counts)

    def endless(self) -> Iterator[tuple[Entry, int]]:
        """Yield entries and their tokens."""
        turns = chain.from_iterable(repeat(list(zip(self._turns, self._counts, strict=True))))
        for number, (turn, tokens) in zip(count(), turns, strict=False):
            yield Entry(turn.text, id=str(number), session=turn.session), tokens

    def queries(self, n: int) -> list[str]:
        """Return n texts to ask for."""
        chosen: list[Passage] = random.Random(0).sample(self._turns, n)
        return [turn.text for turn in chosen]


def take(entries: Iterator[tuple[Entry, int]], tokens: int) -> tuple[list[Entry], int]:
    """Return the next entries that have so many tokens, and how many they have."""
    taken: list[Entry] = []
    total = 0
    while total < tokens:
        entry, n = next(entries)
        taken.append(entry)
        total += n
    return taken, total


class _Run:
    """One run: every axis gives its rows."""

    def __init__(self, scale: Scale) -> None:
        self._scale = scale
        self.texts = _Texts(scale)

    def history(self) -> dict[str, dict[str, Any]]:
        """Let one tenant's history grow."""
        rows: dict[str, dict[str, Any]] = {}
        entries, total = self.texts.endless(), 0
        with self._server() as (server, client):
            client.create_tenant("grows")
            for tokens in told(self._scale.history, "histories"):
                new, added = take(entries, tokens - total)
                total += added
                seconds = load.send(client, "grows", new)
                load.wait_for_snapshot(client, "grows", SNAPSHOT_S)
                asked = percentiles(load.recall(client, "grows", self.texts.queries(self._scale.queries)))
                rows[f"history {tokens:,}"] = {
                    "history": total,
                    "entries": client.stats("grows").entries,
                    "tokens_per_s": added / seconds,
                    **_costs(asked, server),
                }
        return rows

    def many(self, tenants: int) -> dict[str, dict[str, Any]]:
        """Spread the same tokens over so many tenants."""
        new, total = take(self.texts.endless(), self._scale.tokens)
        shares = [new[i::tenants] or new[i % len(new) :][:1] for i in range(tenants)]
        with self._server() as (server, client):
            seconds = asyncio.run(_write_all(server.target, shares))
            queries = zip(
                self.texts.queries(self._scale.queries),
                random.Random(0).choices(range(tenants), k=self._scale.queries),
                strict=True,
            )
            taken = []
            for query, tenant in queries:
                start = time.perf_counter()
                client.recall(f"tenant-{tenant}", query, k=load.K)
                taken.append(time.perf_counter() - start)
            costs = _costs(percentiles(taken), server)
        return {f"tenants {tenants:,}": {"tenants": tenants, "tokens_per_s": total / seconds, **costs}}

    def chunks(self) -> dict[str, dict[str, Any]]:
        """Step memories of each chunk, by turns, alone: what a server steps is no setting."""
        rates: dict[int, list[float]] = {chunk: [] for chunk in self._scale.chunks}
        for _ in range(self._scale.rounds):
            for chunk, found in rates.items():
                found.append(step_rate(replace(MemoryConfig(), chunk=chunk), STEP_S))
        return {
            f"chunk {chunk:,}": {"chunk": chunk, "step_alone_tokens_per_s": statistics.median(found)}
            for chunk, found in rates.items()
        }

    def depths(self) -> dict[str, dict[str, Any]]:
        """Give tenants memories of each depth, by turns."""
        if not self._scale.depths:
            return {}
        new, total = take(self.texts.endless(), self._scale.tokens)
        rates: dict[int, list[float]] = {depth: [] for depth in self._scale.depths}
        asked: dict[int, list[float]] = {depth: [] for depth in self._scale.depths}
        queries = self.texts.queries(max(1, self._scale.queries // self._scale.rounds))
        with self._server() as (_, client):
            for _ in told(range(self._scale.rounds), "depths: rounds"):
                for depth in self._scale.depths:
                    client.create_tenant("one", layers=depth)
                    rates[depth].append(total / load.send(client, "one", new))
                    asked[depth] += load.recall(client, "one", queries)
                    client.delete_tenant("one")
        rows: dict[str, dict[str, Any]] = {}
        for depth in self._scale.depths:
            config = replace(MemoryConfig(), layers=depth)
            rate, alone = statistics.median(rates[depth]), step_rate(config, STEP_S)
            taken = percentiles(asked[depth])
            rows[f"depth {depth:,}"] = {
                "depth": depth,
                "tokens_per_s": rate,
                "recall_p50_ms": taken["p50_ms"],
                "recall_p99_ms": taken["p99_ms"],
                "step_alone_tokens_per_s": alone,
                # After every so many chunks one more is stepped on.
                "memory_share": rate / alone * (1 + (1 / config.replay if config.replay else 0)),
            }
        return rows

    @contextmanager
    def _server(self) -> Iterator[tuple[ServerProcess, MemoryClient]]:
        """A new server, which has its buffers already, and a client."""
        options = ["--encoder", self._scale.encoder, "--threads", str(self._scale.threads)]
        with (
            TemporaryDirectory() as scratch,
            ServerProcess(Path(scratch) / "data", options) as server,
            MemoryClient(server.target, timeout=load.TIMEOUT_S) as client,
        ):
            load.ingest(client, "warm", [entry.text for entry, _ in islice(self.texts.endless(), 100)])
            yield server, client
            server.stop()


async def _write_all(target: str, shares: Sequence[Sequence[Entry]]) -> float:
    """Write each tenant's share, some tenants at once; return the seconds until all is recallable."""
    places = asyncio.Semaphore(CALLERS)
    async with AsyncMemoryClient(target, timeout=load.TIMEOUT_S) as client:
        for i in range(len(shares)):
            await client.create_tenant(f"tenant-{i}")

        async def write(i: int, share: Sequence[Entry]) -> None:
            async with places:
                for first in range(0, len(share), load.BATCH):
                    await client.write(f"tenant-{i}", share[first : first + load.BATCH])
                await client.recall(f"tenant-{i}", share[-1].text, k=1)

        start = time.perf_counter()
        await asyncio.gather(*(write(i, share) for i, share in enumerate(shares)))
        return time.perf_counter() - start


def _costs(asked: dict[str, float], server: ServerProcess) -> dict[str, float]:
    memory = resident(server.pid)
    return {
        "recall_p50_ms": asked["p50_ms"],
        "recall_p99_ms": asked["p99_ms"],
        "memory_mb": memory.own / 1e6,
        "mapped_mb": memory.mapped / 1e6,
        "disk_mb": disk_bytes(server.data) / 1e6,
    }

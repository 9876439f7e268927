"""What tenants cost while nobody uses them: bytes on disk and in memory, and the first recall after a restart."""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from memsvc_client import MemoryClient

from memsvc_bench import service_load as load
from memsvc_bench.process_memory import resident
from memsvc_bench.report import Check, Result, describe_machine
from memsvc_bench.server_process import ServerProcess
from memsvc_bench.service_texts import Synthetic, dialogue

DIM = 384
IDLE_ENTRIES = 3
COLD_LIMIT = 10_000
"""Up to so many entries the first recall has its target."""
IDLE_S = 15.0
"""Longer than a small tenant must rest to leave the memory."""
SNAPSHOT_S = 120.0
UNSAVED_TURNS = 24
"""About the longest text, some 900 tokens, that is folded again at a restart rather than saved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much is measured."""

    encoder: str = "minilm"
    idle: int = 1_000
    """Tenants that nobody uses."""
    idle_s: float = IDLE_S
    """How long they have not been used."""
    sizes: tuple[int, ...] = (1_000, 10_000, 100_000)
    """Entries of the larger tenants."""
    restarts: int = 3
    """Restarts, each with one first recall, of each larger tenant."""


FULL = Scale()
QUICK = Scale(encoder="kmer", idle=5, idle_s=1.0, sizes=(1_200,), restarts=1)


def bench(*, scale: Scale = FULL) -> Result:
    """`memsvc bench footprint`. Linux only: it reads the server's memory from /proc.

    Raises:
        RuntimeError: the server did not start, or its memory cannot be read.
    """
    load_before = os.getloadavg()[0]
    run = _Run(scale)
    run.idle()
    run.unsaved()
    for entries in scale.sizes:
        run.sized(entries)
    averages = {"load_average_before": load_before, "load_average_after": os.getloadavg()[0]}
    return Result(
        machine=describe_machine(),
        command="memsvc bench footprint",
        figures=averages | run.figures,
        checks=run.checks(),
    )


class _Run:
    """One run: every part adds its figures."""

    def __init__(self, scale: Scale) -> None:
        self._scale = scale
        self._options = ["--encoder", scale.encoder]
        self._turns = dialogue(None)
        self._cold: dict[int, float] = {}
        """The slowest first recall after a restart, in ms, for tenants of so many entries."""
        self.figures: dict[str, Any] = {}

    def checks(self) -> list[Check]:
        """Return what the figures must reach."""
        cold = max(ms for entries, ms in self._cold.items() if entries <= COLD_LIMIT)
        return [
            Check.at_most("empty tenant on disk, bytes", self.figures["entries: 0"]["disk_bytes"], 16 * 1024),
            Check.at_most("idle tenants in memory, MB", self.figures["idle_tenants_added_mb"], 200),
            Check.at_most(f"first recall after a restart, up to {COLD_LIMIT:,} entries, ms", cold, 500),
        ]

    def idle(self) -> None:
        """Measure many tenants that hold nothing, and then little."""
        names = [f"idle-{i}" for i in range(self._scale.idle)]
        with TemporaryDirectory() as scratch:
            data = Path(scratch) / "data"
            server = ServerProcess(data, self._options)
            with server:
                server.stop()
            bare = disk_bytes(data)
            with server, MemoryClient(server.target) as client:
                for name in names:
                    client.create_tenant(name)
                server.stop()
            empty = (disk_bytes(data) - bare) / len(names)
            with server, MemoryClient(server.target) as client:
                self._warm_up(client)
                before = memory_bytes(server)
                for name in names:
                    client.recall(name, "nothing")
                opened = memory_bytes(server)
                for i, name in enumerate(names):
                    turns = [self._turns[(IDLE_ENTRIES * i + j) % len(self._turns)] for j in range(IDLE_ENTRIES)]
                    client.write(name, load.entries(turns))
                    client.recall(name, "what was said?")
                time.sleep(self._scale.idle_s)
                after = memory_bytes(server)
                server.stop()
            little = (disk_bytes(data) - bare) / len(names)
        self.figures["idle_tenants"] = len(names)
        self.figures["idle_tenants_added_mb"] = (after - before) / 1e6
        self.figures["entries: 0"] = _row(disk=empty, memory=(opened - before) / len(names))
        self.figures[f"entries: {IDLE_ENTRIES}"] = _row(disk=little, memory=(after - before) / len(names))

    def unsaved(self) -> None:
        """Measure the first recall of a tenant whose text is too short to be saved, and is encoded again."""
        turns = self._turns[:UNSAVED_TURNS]
        with TemporaryDirectory() as scratch:
            server = ServerProcess(Path(scratch) / "data", self._options)
            with server, MemoryClient(server.target) as client:
                load.ingest(client, "tenant", turns)
                self.figures["folded_again_tokens"] = client.stats("tenant").tokens
                server.stop()
            self._cold[len(turns)] = self._coldest(server)
            self.figures["folded_again_first_recall_ms"] = self._cold[len(turns)]

    def sized(self, entries: int) -> None:
        """Measure one tenant of so many entries, whose vectors are given."""
        with TemporaryDirectory() as scratch:
            data = Path(scratch) / "data"
            server = ServerProcess(data, self._options)
            with server:
                server.stop()
            bare = disk_bytes(data)
            with server, MemoryClient(server.target) as client:
                load.load(server.target, "tenant", Synthetic(entries, DIM))
                load.wait_for_snapshot(client, "tenant", SNAPSHOT_S)
                server.stop()
            disk = disk_bytes(data) - bare
            self._cold[entries] = self._coldest(server)
            with server, MemoryClient(server.target) as client:
                self._warm_up(client)
                before = memory_bytes(server)
                client.recall("tenant", "what was said?", timeout=load.TIMEOUT_S)
                memory = memory_bytes(server) - before
                server.stop()
        self.figures[f"entries: {entries}"] = _row(disk=disk, memory=memory, cold_ms=self._cold[entries])

    def _warm_up(self, client: MemoryClient) -> None:
        """Make the server take what every server with one tenant at work has: buffers, and the stack of slots."""
        load.ingest(client, "warm", self._turns[:100])

    def _coldest(self, server: ServerProcess) -> float:
        """The slowest of the first recalls after some restarts, in ms."""
        slowest = 0.0
        for _ in range(self._scale.restarts):
            with server, MemoryClient(server.target) as client:
                next(client.list_tenants(), None)  # connects
                start = time.perf_counter()
                client.recall("tenant", "what was said?", timeout=load.TIMEOUT_S)
                slowest = max(slowest, 1000 * (time.perf_counter() - start))
                server.stop()
        return slowest


def disk_bytes(directory: Path) -> int:
    """Return the bytes that the files of a directory take on disk."""
    return sum(512 * file.stat().st_blocks for file in directory.rglob("*") if file.is_file())


def memory_bytes(server: ServerProcess) -> int:
    """Return the server's resident memory.

    Raises:
        RuntimeError: the system does not say.
    """
    return sum(resident(server.pid))


def _row(*, disk: float, memory: float, cold_ms: float | None = None) -> dict[str, Any]:
    row: dict[str, Any] = {"disk_bytes": round(disk), "memory_bytes": round(memory)}
    return row if cold_ms is None else {**row, "first_recall_after_restart_ms": cold_ms}

"""memsvc over gRPC, and every store beside it, asked in one way."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from memsvc_client import Entry, MemoryClient

from memsvc_bench import service_load as load
from memsvc_bench.asked import AskedProcess
from memsvc_bench.corpus import Passage
from memsvc_bench.peer_embedding import Way
from memsvc_bench.peer_stores import QUIET
from memsvc_bench.process_memory import Resident, resident
from memsvc_bench.server_process import ServerProcess
from memsvc_bench.service_texts import Synthetic

SNAPSHOT_S = 120.0
"""How long memsvc may take to save what it was given, before it is asked."""


class Writes(NamedTuple):
    """Seconds of single writes."""

    acknowledged: list[float]
    recallable: list[float]
    found: float
    """The share of them that a recall of their own text then finds."""


class Answers(NamedTuple):
    """What some queries got."""

    seconds: list[float]
    numbers: list[list[int]]
    """The best entries of each, the best first."""


class Contender(Protocol):
    """One of those that are compared. Each ingest begins anew; what follows is about its entries."""

    def ingest(self, entries: Sequence[Passage]) -> float:
        """Write entries; return the seconds until the last one is recallable."""
        ...

    def load(self, synthetic: Synthetic) -> float:
        """Write synthetic entries with their vectors; return the seconds until the last one is recallable."""
        ...

    def write(self, texts: Sequence[str]) -> Writes:
        """Write one entry after the other."""
        ...

    def recall(self, queries: Sequence[str], k: int, budget_s: float) -> Answers:
        """Ask one query after the other, for so long at most."""
        ...

    def memory(self) -> Resident:
        """Return what its process has in memory."""
        ...


class ServiceContender:
    """A server, and a client beside it."""

    def __init__(self, server: ServerProcess, client: MemoryClient) -> None:
        self._server, self._client = server, client
        self._round = self._written = 0

    def ingest(self, entries: Sequence[Passage]) -> float:
        """Stream entries into a new tenant."""
        tenant = self._begin()
        self._written = len(entries)
        items = [Entry(passage.text, id=str(i), session=passage.session) for i, passage in enumerate(entries)]
        seconds = load.send(self._client, tenant, items)
        load.wait_for_snapshot(self._client, tenant, SNAPSHOT_S)
        return seconds

    def load(self, synthetic: Synthetic) -> float:
        """Stream entries with their vectors into a new tenant."""
        tenant = self._begin()
        self._written = synthetic.entries
        seconds = load.load(self._server.target, tenant, synthetic)
        load.wait_for_snapshot(self._client, tenant, SNAPSHOT_S)
        return seconds

    def write(self, texts: Sequence[str]) -> Writes:
        """Write each text twice: one call answers when it is on disk, another when it is recallable."""
        acknowledged = [self._write(text, "durable") for text in texts]
        recallable = [self._write(text, "applied") for text in texts]
        found = [write.found for write in (*acknowledged, *recallable)]
        return Writes([w.seconds for w in acknowledged], [w.seconds for w in recallable], sum(found) / len(found))

    def recall(self, queries: Sequence[str], k: int, budget_s: float) -> Answers:
        """Ask one query after the other."""
        answers = Answers([], [])
        for query in queries:
            start = time.perf_counter()
            hits = self._client.recall(self._tenant, query, k=k, timeout=load.TIMEOUT_S)
            answers.seconds.append(time.perf_counter() - start)
            answers.numbers.append([int(hit.id) for hit in hits])
            if sum(answers.seconds) > budget_s:
                break
        return answers

    def memory(self) -> Resident:
        """Return what the server has in memory."""
        return resident(self._server.pid)

    def _write(self, text: str, wait: Literal["durable", "applied"]) -> "_Write":
        entry = Entry(text, id=str(self._written), session="written one by one")
        self._written += 1
        start = time.perf_counter()
        self._client.write(self._tenant, entry, wait=wait)
        seconds = time.perf_counter() - start
        hits = self._client.recall(self._tenant, text, k=load.K)
        return _Write(seconds, entry.id in {hit.id for hit in hits})

    @property
    def _tenant(self) -> str:
        return f"round-{self._round}"

    def _begin(self) -> str:
        """Delete the last tenant, and make a new one."""
        if self._round:
            self._client.delete_tenant(self._tenant)
        self._round += 1
        self._client.create_tenant(self._tenant)
        return self._tenant


class _Write(NamedTuple):
    """One write."""

    seconds: float
    found: bool


class PeerContender(AskedProcess):
    """A store in a process of its own (`peer_process`), with its encoder.

    Args:
        name: as `peer_stores.PEERS` has it.
        way: of its encoder.
        encoder: by name.
        threads: torch's, and FAISS's.
        folder: for its files.
    """

    def __init__(self, name: str, way: Way, encoder: str, threads: int, folder: Path) -> None:
        super().__init__("memsvc_bench.peer_process", name, way, encoder, str(threads), str(folder), environment=QUIET)

    def encode(self, texts: Sequence[str]) -> float:
        """Encode texts and keep nothing; return the seconds that it took."""
        seconds: float = self.ask("encode", texts=list(texts))["seconds"]
        return seconds

    def ingest(self, entries: Sequence[Passage]) -> float:
        """Fill an empty store."""
        seconds: float = self.ask("ingest", texts=[passage.text for passage in entries])["seconds"]
        return seconds

    def load(self, synthetic: Synthetic) -> float:
        """Fill an empty store with synthetic entries, which it makes itself."""
        seconds: float = self.ask("load", entries=synthetic.entries)["seconds"]
        return seconds

    def write(self, texts: Sequence[str]) -> Writes:
        """Write one by one; these stores answer when an entry is recallable, so both are the same."""
        answer = self.ask("write", texts=list(texts))
        return Writes(answer["seconds"], answer["seconds"], answer["found"] / len(texts))

    def recall(self, queries: Sequence[str], k: int, budget_s: float) -> Answers:
        """Ask one query after the other."""
        answer = self.ask("recall", queries=list(queries), k=k, budget_s=budget_s)
        return Answers(answer["seconds"], answer["numbers"])

    def memory(self) -> Resident:
        """Return what its process has in memory."""
        return resident(self.pid)

"""Loads on a running server, as clients make them: a stream at full speed, writes at a pace, recalls, given vectors."""

import asyncio
import itertools
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from types import TracebackType
from typing import NamedTuple, Self

import grpc
from memsvc_client import AsyncMemoryClient, Entry, MemoryClient

from memsvc.v1 import memory_pb2, memory_pb2_grpc, tenants_pb2, tenants_pb2_grpc, types_pb2
from memsvc_bench.service_texts import Synthetic

TIMEOUT_S = 600.0
SESSION_TURNS = 20
APPLIED_EVERY = 16
"""One in so many paced turns is written by a call that waits until it is recallable; the others go through a stream."""
BATCH = 64
OVERHEAD = 64
"""Bytes of an entry beside its text, at most: its session and the packing."""
WATCH_S = 0.25
K = 10


def entries(texts: Sequence[str]) -> list[Entry]:
    """Return the texts as entries in sessions."""
    return [Entry(text, id=str(i), session=str(i // SESSION_TURNS)) for i, text in enumerate(texts)]


def ingest(client: MemoryClient, tenant: str, texts: Sequence[str]) -> float:
    """Stream texts into an empty tenant; return the seconds from the first send until the last one is recallable."""
    client.create_tenant(tenant, exist_ok=True)
    return send(client, tenant, entries(texts))


def send(client: MemoryClient, tenant: str, items: Sequence[Entry]) -> float:
    """Stream entries into a tenant; return the seconds from the first send until the last one is recallable."""
    start = time.perf_counter()
    for _ in client.write_stream(tenant, items, timeout=TIMEOUT_S):
        pass
    client.recall(tenant, items[-1].text[:100], k=1, timeout=TIMEOUT_S)
    return time.perf_counter() - start


class Paced(NamedTuple):
    """Seconds of each write, from the moment it was due."""

    acknowledged: list[float]
    recallable: list[float]


def write_paced(target: str, tenant: str, texts: Sequence[str], due: Sequence[float]) -> Paced:
    """Write each text as a batch of its own when it is due, in seconds from the start, answered or not those before."""
    return asyncio.run(_write_paced(target, tenant, entries(texts), due))


async def _write_paced(target: str, tenant: str, items: Sequence[Entry], due: Sequence[float]) -> Paced:
    paced = Paced([], [])
    streamed: deque[float] = deque()
    """When those were due whose acknowledgement is awaited."""

    async with AsyncMemoryClient(target) as client:
        await client.create_tenant(tenant)
        start = time.perf_counter()

        async def call(item: Entry, moment: float) -> None:
            await client.write(tenant, item, wait="applied", timeout=TIMEOUT_S)
            paced.recallable.append(time.perf_counter() - moment)

        async def batches() -> AsyncIterator[list[Entry]]:
            async with asyncio.TaskGroup() as calls:
                for i, (item, offset) in enumerate(zip(items, due, strict=True)):
                    await asyncio.sleep(max(0.0, start + offset - time.perf_counter()))
                    if i % APPLIED_EVERY == 0:
                        calls.create_task(call(item, start + offset))
                    else:
                        streamed.append(start + offset)
                        yield [item]

        async for _ in client.write_stream(tenant, batches(), timeout=TIMEOUT_S):
            paced.acknowledged.append(time.perf_counter() - streamed.popleft())
    return paced


def recall(client: MemoryClient, tenant: str, queries: Sequence[str], every: float = 0.0) -> list[float]:
    """Ask one query after the other, a new one at most every so many seconds; return the seconds of each.

    Raises:
        RuntimeError: a query found fewer entries than it asked for.
    """
    seconds = []
    for query in queries:
        start = time.perf_counter()
        found = client.recall(tenant, query, k=K, timeout=TIMEOUT_S)
        seconds.append(time.perf_counter() - start)
        if len(found) != K:
            raise RuntimeError(f"a recall of {K} found {len(found)}")
        time.sleep(max(0.0, every - seconds[-1]))
    return seconds


def load(target: str, tenant: str, synthetic: Synthetic) -> float:
    """Write synthetic entries with their vectors to an empty tenant; return the seconds until all are recallable."""

    def requests() -> Iterator[memory_pb2.WriteStreamRequest]:
        yield memory_pb2.WriteStreamRequest(open=memory_pb2.WriteStreamOpen(tenant=tenant))
        for block in synthetic.blocks():
            rows = zip(block.texts, block.sessions, block.vectors.tolist(), strict=True)
            batch = [
                types_pb2.Entry(id=str(block.first + i), text=text, session=session, vector=vector)
                for i, (text, session, vector) in enumerate(rows)
            ]
            yield memory_pb2.WriteStreamRequest(batch=memory_pb2.WriteStreamBatch(entries=batch))

    start = time.perf_counter()
    with MemoryClient(target) as client, grpc.insecure_channel(target) as channel:
        client.create_tenant(tenant, exist_ok=True)
        written = 0
        for answer in memory_pb2_grpc.MemoryServiceStub(channel).WriteStream(requests()):
            written += len(answer.ack.results)
        if written != synthetic.entries:
            raise RuntimeError(f"{written} of {synthetic.entries} entries were acknowledged")
        client.recall(tenant, "loaded", k=1, timeout=TIMEOUT_S)
    return time.perf_counter() - start


def wait_for_snapshot(client: MemoryClient, tenant: str, seconds: float) -> None:
    """Wait until the tenant is saved as it stands, for so many seconds at most: saving would slow what is measured."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        stats = client.stats(tenant, live=True)
        if stats.snapshot_seq == stats.head_seq:
            return
        time.sleep(WATCH_S)


class Saturation:
    """A stream that never lets up, into a new tenant, and a watch on how much of it waits.

    As a context manager it starts both, and ends them on the way out.

    Attributes:
        pending_bytes: the bytes committed and not applied, as often as the watch looked.
        largest_batch: bytes of the largest batch that it sends, at most.
    """

    def __init__(self, target: str, tenant: str, texts: Sequence[str]) -> None:
        self._target, self._tenant = target, tenant
        self._batches = [texts[i : i + BATCH] for i in range(0, len(texts), BATCH)]
        self.largest_batch = max(sum(len(text.encode()) + OVERHEAD for text in batch) for batch in self._batches)
        self._stop = threading.Event()
        self._failures: list[Exception] = []
        self._threads = [threading.Thread(target=self._guarded, args=(job,)) for job in (self._write, self._watch)]
        self.pending_bytes: list[int] = []

    def __enter__(self) -> Self:
        """Start."""
        with MemoryClient(self._target) as client:
            client.create_tenant(self._tenant)
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End.

        Raises:
            Exception: what ended a thread before its time.
        """
        self._stop.set()
        for thread in self._threads:
            thread.join()
        if self._failures and error is None:
            raise self._failures[0]

    def wait_until_full(self, window: int, seconds: float) -> bool:
        """Wait until the window is full but for one batch, for so many seconds at most; return whether it is."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.pending_bytes and self.pending_bytes[-1] >= window - self.largest_batch:
                return True
            time.sleep(WATCH_S)
        return False

    def _guarded(self, job: Callable[[], None]) -> None:
        try:
            job()
        except Exception as error:
            self._failures.append(error)
            self._stop.set()

    def _write(self) -> None:
        def batches() -> Iterator[list[Entry]]:
            for i, batch in enumerate(itertools.cycle(self._batches)):
                if self._stop.is_set():
                    return
                yield [Entry(text, session=str(i)) for text in batch]

        with MemoryClient(self._target) as client:
            for _ in client.write_stream(self._tenant, batches(), timeout=TIMEOUT_S):
                if self._stop.is_set():
                    return

    def _watch(self) -> None:
        request = tenants_pb2.GetTenantRequest(tenant=self._tenant)
        request.read_mask.paths.append("stats.pending_bytes")
        with grpc.insecure_channel(self._target) as channel:
            stub = tenants_pb2_grpc.TenantServiceStub(channel)
            while not self._stop.wait(WATCH_S):
                self.pending_bytes.append(stub.GetTenant(request, timeout=TIMEOUT_S).stats.pending_bytes)

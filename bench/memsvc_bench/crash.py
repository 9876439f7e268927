"""SIGKILL under load, over and over: what was acknowledged stays, once, in order; the state is the fold of the log."""

import asyncio
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from memsvc_client import Entry, MemoryClient, MemsvcError

from memsvc.engine.fold import fold
from memsvc.engine.runner import Runner, prepare_thread
from memsvc.recall.encoder import load_encoder
from memsvc.store.sqlite import SqliteStore
from memsvc.store.types import Record
from memsvc_bench.report import Check, Result, describe_machine
from memsvc_bench.server_process import ServerProcess

TENANTS = ("unary", "stream")
THREADS = 1
LOAD_S = (0.2, 1.5)
"""How long a server lives under load before it is killed: from, to."""
PAGE_BYTES = 1 << 22


class Outcome(NamedTuple):
    """What the kills did."""

    kills: int
    acknowledged: int
    """Entries acknowledged, over all kills."""
    stored: int
    """Entries in the logs at the end; those whose acknowledgement the kill cut off may be among them."""
    lost: list[str]
    duplicated: list[str]
    out_of_order: int
    states_equal: bool
    """Whether each tenant's state, as the last server has it, equals the fold of its log from the start."""


class _Load:
    """A writer that never stops by itself and remembers what was acknowledged."""

    def __init__(self, target: str, tenant: str, start: int) -> None:
        self.acknowledged: list[str] = []
        self._target, self._tenant, self._next = target, tenant, start
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def join(self) -> int:
        """Wait for the writer to notice the kill; returns the first number it never tried."""
        self._thread.join()
        return self._next

    def _entries(self) -> list[Entry]:
        first, self._next = self._next, self._next + 5
        return [
            Entry(f"entry number {i} says {i * 7919 % 10007}", id=str(i), session="s") for i in range(first, first + 5)
        ]

    def _run(self) -> None:
        try:
            with MemoryClient(self._target, timeout=5.0) as client:
                if self._tenant == "unary":
                    while True:
                        self.acknowledged += client.write(self._tenant, self._entries(), timeout=5.0).ids
                else:
                    for receipt in client.write_stream(self._tenant, iter(self._entries, None)):
                        self.acknowledged += receipt.ids
        except MemsvcError:
            pass


def bench(*, times: int, seed: int) -> Result:
    """`memsvc bench crash`.

    Raises:
        RuntimeError: a server did not start.
    """
    with TemporaryDirectory() as scratch:
        outcome = kills(Path(scratch) / "data", times=times, seed=seed)
    return Result(
        machine=describe_machine(),
        command=f"memsvc bench crash --times {times} --seed {seed}",
        figures={"kills": times, "entries_acknowledged": outcome.acknowledged, "entries_stored": outcome.stored},
        checks=[
            Check.at_least("acknowledged entries", outcome.acknowledged, 1),
            Check.at_most("lost", len(outcome.lost), 0),
            Check.at_most("stored twice", len(outcome.duplicated), 0),
            Check.at_most("out of order", outcome.out_of_order, 0),
            Check.holds("the state is the fold of the log", outcome.states_equal),
        ],
    )


def kills(data: Path, *, times: int, seed: int, encoder: str = "minilm") -> Outcome:
    """Kill a server so many times at random moments under load, then look at what is left."""
    rng = random.Random(seed)
    acknowledged: dict[str, list[str]] = {tenant: [] for tenant in TENANTS}
    start = dict.fromkeys(TENANTS, 0)
    server = ServerProcess(data, ["--encoder", encoder, "--threads", str(THREADS)])
    try:
        for _ in range(times):
            server.start()
            with MemoryClient(server.target) as client:
                for tenant in TENANTS:
                    client.create_tenant(tenant, exist_ok=True)
            loads = {tenant: _Load(server.target, tenant, start[tenant]) for tenant in TENANTS}
            time.sleep(rng.uniform(*LOAD_S))
            server.kill()
            for tenant, load in loads.items():
                start[tenant] = load.join()
                acknowledged[tenant] += load.acknowledged
        server.start()
        stored, states = {}, {}
        with MemoryClient(server.target) as client:
            for tenant in TENANTS:
                client.recall(tenant, "entry", k=1, timeout=120)
                states[tenant] = client.stats(tenant).state_hash
                stored[tenant] = [entry.id for entry in client.list_entries(tenant)]
        server.stop()
    finally:
        server.kill()
    return Outcome(
        kills=times,
        acknowledged=sum(map(len, acknowledged.values())),
        stored=sum(map(len, stored.values())),
        lost=[f"{t}/{id}" for t in TENANTS for id in sorted(set(acknowledged[t]) - set(stored[t]))],
        duplicated=[f"{t}/{id}" for t in TENANTS for id in sorted(set(stored[t])) if stored[t].count(id) > 1],
        out_of_order=sum(_inversions(acknowledged[t], stored[t]) for t in TENANTS),
        states_equal=_fold_all(data, encoder) == states,
    )


def _inversions(acknowledged: list[str], stored: list[str]) -> int:
    """Neighbours in the order of acknowledgement that are stored the other way round."""
    at = {id: i for i, id in enumerate(stored)}
    places = [at[id] for id in acknowledged if id in at]
    return sum(a > b for a, b in pairwise(places))


def _fold_all(data: Path, encoder: str) -> dict[str, str]:
    """Fold every tenant's log from the start, here; returns the state hashes."""
    # A thread of its own: how it computes must not stay with the caller's.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(_fold(data, encoder))).result()


async def _fold(data: Path, encoder: str) -> dict[str, str]:
    prepare_thread(THREADS)
    runner = Runner(load_encoder(encoder, threads=THREADS, dtype="auto"), slots=len(TENANTS))
    store = SqliteStore.open(data)
    hashes = {}
    try:
        for tenant in TENANTS:
            row = await store.get_tenant(tenant)
            if row is None:
                raise RuntimeError(f"tenant {tenant} is gone")
            records: list[Record] = []
            while page := await store.read(row.uid, records[-1].seq if records else 0, PAGE_BYTES):
                records += page
            view = fold(runner, row.uid, records)
            hashes[tenant] = view.state_hash(runner.weights(row.uid))
    finally:
        await store.close()
    return hashes

"""Clients that write, recall, look up and forget while faults are injected, and tell the oracle what they hear."""

import random
import threading
from collections import Counter, deque
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from memsvc_client import (
    DeadlineExceededError,
    Entry,
    MemoryClient,
    MemsvcError,
    NotFoundError,
    ResourceExhaustedError,
    UnavailableError,
)

from memsvc_bench.fault_oracle import Oracle, text_of

TIMEOUTS_S = (0.5, 2.0, 8.0)
"""How patient a client is. The least patient give up on what is still under way, and say it again."""
PAUSE_S = 0.1
BATCH = 4
"""Entries in a batch, at most."""
RESEND = 0.5
"""How often a client whose batch has no answer says it again before anything else, under the same ids."""
MIX = {"write": 60, "recall": 15, "get": 20}
FORGETS = 13.0
"""Shared by all tenants, and no more than 2: each has a part of a log folded again, and they must not pile up."""

UNKNOWN = (UnavailableError, DeadlineExceededError, ResourceExhaustedError)
"""What a client may hear while something is broken: it may have happened, or not."""


class Load:
    """Some clients, each on a thread of its own. As a context manager they start, and end on the way out.

    Args:
        target: where the servers are.
        tenants: whose memories; they are there.
        clients: how many.
        oracle: is told everything.
        seed: seeds who does what.

    Attributes:
        answered: calls that were answered, by what they were.
        unanswered: calls that failed as calls may, by the error's reason.
    """

    def __init__(self, target: str, tenants: Sequence[str], clients: int, oracle: Oracle, seed: int) -> None:
        self._target, self._tenants, self._oracle = target, tenants, oracle
        self._stop = threading.Event()
        self.answered: Counter[str] = Counter()
        self.unanswered: Counter[str] = Counter()
        self._counting = threading.Lock()
        self._threads = [
            threading.Thread(target=self._run, args=(random.Random(f"{seed}-{number}"),)) for number in range(clients)
        ]

    def __enter__(self) -> Self:
        """Start."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End, each client after the call that it waits for."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, rng: random.Random) -> None:
        open_batches: deque[tuple[str, list[str]]] = deque()
        mix = {**MIX, "forget": min(2.0, FORGETS / len(self._tenants))}
        with MemoryClient(self._target, timeout=rng.choice(TIMEOUTS_S)) as client:
            caller = _Caller(client, self._oracle, rng, open_batches)
            while not self._stop.wait(rng.uniform(0, 2 * PAUSE_S)):
                tenant = rng.choice(self._tenants)
                (what,) = rng.choices(list(mix), list(mix.values()))
                if open_batches and rng.random() < RESEND:
                    what = "resend"
                try:
                    caller.call(what, tenant)
                except UNKNOWN as error:
                    with self._counting:
                        self.unanswered[error.reason] += 1
                except MemsvcError as error:
                    self._oracle.violated("unexpected error", f"{what} of {tenant}: {error.reason}: {error}")
                else:
                    with self._counting:
                        self.answered[what] += 1


class _Caller:
    """The calls of one client."""

    def __init__(
        self, client: MemoryClient, oracle: Oracle, rng: random.Random, open_batches: deque[tuple[str, list[str]]]
    ) -> None:
        self._client, self._oracle, self._rng, self._open = client, oracle, rng, open_batches

    def call(self, what: str, tenant: str) -> None:
        """Do one thing.

        Raises:
            MemsvcError: as the client does.
        """
        match what:
            case "write":
                self._write(tenant, self._oracle.ids(tenant, self._rng.randint(1, BATCH)))
            case "resend":
                self._write(*self._open.popleft())
            case "recall":
                self._recall(tenant)
            case "get":
                self._get(tenant)
            case _:
                self._forget(tenant)

    def _write(self, tenant: str, ids: list[str]) -> None:
        head = self._oracle.head(tenant)
        try:
            receipt = self._client.write(tenant, [Entry(text_of(id), id=id) for id in ids])
        except UNKNOWN:
            self._open.append((tenant, ids))
            raise
        self._oracle.acknowledge(tenant, receipt, head)

    def _recall(self, tenant: str) -> None:
        expected = self._oracle.expected(tenant)
        found = self._client.recall(tenant, f"entry {tenant}", k=5)
        self._oracle.saw(tenant, found.applied_seq, expected.head)
        for hit in found:
            self._oracle.check_entry(tenant, hit.entry, expected.forgotten)

    def _get(self, tenant: str) -> None:
        if (id := self._oracle.pick(tenant, self._rng)) is None:
            return
        forgotten = self._oracle.expected(tenant).forgotten
        try:
            entry = self._client.get_entry(tenant, id)
        except NotFoundError:
            if not self._oracle.may_be_forgotten(tenant, id):
                self._oracle.violated("acknowledged and lost", f"{tenant}: {id}, asked for by its id")
            return
        self._oracle.check_entry(tenant, entry, forgotten)

    def _forget(self, tenant: str) -> None:
        if (id := self._oracle.pick(tenant, self._rng)) is None:
            return
        self._oracle.forgetting(tenant, id)
        try:
            self._client.forget(tenant, id, wait=False)
        except NotFoundError as error:  # another client was faster
            if error.reason != "FORGOTTEN":
                raise
        self._oracle.forgot(tenant, id)

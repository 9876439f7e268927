"""Fault after fault under load: nothing acknowledged is lost, doubled or moved, and every state is its log's fold."""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple, TypeVar

from memsvc_client import FailedPreconditionError, MemoryClient, MemsvcError, Verification

from memsvc_bench import fault_deployments
from memsvc_bench.fault_deployments import Deployment
from memsvc_bench.fault_load import UNKNOWN, Load
from memsvc_bench.fault_oracle import KINDS, Oracle
from memsvc_bench.progress import told
from memsvc_bench.report import Check, Result, describe_machine

T = TypeVar("T")

STORES: Mapping[str, Callable[[Path], Deployment]] = {
    "sqlite": fault_deployments.sqlite,
    "redis": fault_deployments.redis,
}
BEFORE_S = (0.2, 1.0)
"""How long all is well before a fault: from, to."""
HOLD_S = (0.2, 3.0)
"""How long it lasts."""
SAMPLE = 3
"""Tenants that are checked after each fault."""
PATIENCE_S = 240.0
"""How long after a fault is healed every call must be answered, and every erasure done."""
ASK_S = 0.2


class Outcome(NamedTuple):
    """What the faults did."""

    oracle: Oracle
    injected: Counter[str]
    """Faults by name."""
    answered: Counter[str]
    """Calls of the load, by what they were."""
    unanswered: Counter[str]
    """Calls of the load that heard of a fault, by the reason that they were given."""
    read_back: int
    """Entries read back and compared."""
    verified: int
    """Folds of a log from its start that were compared with the state."""


def bench(*, store: str, rounds: int, tenants: int, clients: int, seed: int) -> Result:
    """`memsvc bench faults`.

    Raises:
        RuntimeError: a server did not start.
    """
    with TemporaryDirectory() as scratch:
        deployment = STORES[store](Path(scratch))
        outcome = inject(deployment, rounds=rounds, tenants=tenants, clients=clients, seed=seed, tell=True)
    oracle = outcome.oracle
    options = f"--rounds {rounds} --tenants {tenants} --clients {clients} --store {store} --seed {seed}"
    return Result(
        machine=describe_machine(),
        command=f"memsvc bench faults {options}",
        figures={
            "calls_answered": outcome.answered.total(),
            "calls_that_heard_of_a_fault": outcome.unanswered.total(),
            "entries_sent": oracle.sent,
            "entries_acknowledged": oracle.acknowledged,
            "entries_read_back": outcome.read_back,
            "states_verified": outcome.verified,
            **{f"fault: {name}": {"injected": count} for name, count in sorted(outcome.injected.items())},
            **({"not_injected": missing} if (missing := sorted(deployment.faults.keys() - outcome.injected)) else {}),
            **({"violations": oracle.details} if oracle.details else {}),
        },
        checks=[
            Check.at_least("faults injected", outcome.injected.total(), rounds),
            Check.at_least("acknowledged entries", oracle.acknowledged, 1),
            *(Check.at_most(kind, oracle.violations[kind], 0) for kind in KINDS),
        ],
    )


def inject(
    deployment: Deployment,
    *,
    rounds: int,
    tenants: int,
    clients: int,
    seed: int,
    faults: Sequence[str] = (),
    tell: bool = False,
) -> Outcome:
    """Start a deployment, break it so many times under load, and look each time at what is left.

    Args:
        deployment: what to break.
        rounds: how many times.
        tenants: whose memories are written.
        clients: how many write.
        seed: seeds what is broken when, and what the clients do.
        faults: only these, by their names.
        tell: say how far it is.

    Raises:
        RuntimeError: a server did not start.
    """
    rng = random.Random(seed)
    names = [f"tenant {number}" for number in range(tenants)]
    oracle = Oracle(names)
    with deployment, _Auditor(deployment.target, oracle) as auditor:
        auditor.create(names)
        load = Load(deployment.target, names, clients, oracle, seed)
        try:
            with load:
                kinds = _turns(list(faults or deployment.faults), rng)
                for _ in told(range(rounds), "faults") if tell else range(rounds):
                    time.sleep(rng.uniform(*BEFORE_S))
                    with deployment.faults[next(kinds)](rng):
                        time.sleep(rng.uniform(*HOLD_S))
                    for name in rng.sample(names, min(SAMPLE, tenants)):
                        auditor.audit(name)
            before = auditor.settled(names)
            deployment.kill()
            deployment.start()
            for name, after in auditor.settled(names).items():
                if after != before[name]:
                    oracle.violated("state other than the log's fold", f"{name}: {before[name]}, restarted {after}")
        except _Silence as silence:
            oracle.violated("without an answer long after the last fault", str(silence))
    return Outcome(oracle, deployment.injected, load.answered, load.unanswered, auditor.read_back, auditor.verified)


def _turns(kinds: Sequence[str], rng: random.Random) -> Iterator[str]:
    """Yield every kind once, in some order, then again in another."""
    while True:
        yield from rng.sample(kinds, len(kinds))


class _Silence(Exception):  # noqa: N818  it says what is missing
    """What had to be answered was not."""


class _Auditor:
    """Compares what is there with what was told.

    Attributes:
        read_back: entries compared.
        verified: folds compared.
    """

    def __init__(self, target: str, oracle: Oracle) -> None:
        self._client, self._oracle = MemoryClient(target, timeout=PATIENCE_S), oracle
        self.read_back = self.verified = 0

    def __enter__(self) -> "_Auditor":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def create(self, tenants: Sequence[str]) -> None:
        """Create the tenants."""
        for tenant in tenants:
            self._client.create_tenant(tenant)

    def audit(self, tenant: str) -> Verification | None:
        """Check a tenant's entries and its state; return the state, None while an erasure is under way.

        Raises:
            _Silence: no answer came in time.
        """
        expected = self._oracle.expected(tenant)
        stored = self._insist(lambda: list(self._client.list_entries(tenant)), f"the list of {tenant}")
        self._oracle.check_all(tenant, expected, stored)
        self.read_back += len(stored)
        try:
            found = self._insist(lambda: self._client.verify(tenant), f"the verification of {tenant}")
        except FailedPreconditionError:  # an erasure is under way
            return None
        self.verified += 1
        if not found.equal:
            self._oracle.violated("state other than the log's fold", f"{tenant} at seq {found.seq}")
        if found.seq < expected.head:
            self._oracle.violated("seen to go back", f"{tenant}: head {found.seq}, {expected.head} had been seen")
        return found

    def settled(self, tenants: Sequence[str]) -> dict[str, Verification]:
        """Check the entries and the state of tenants, of each once its erasures are done.

        Raises:
            _Silence: no answer came in time, or for that long not one more tenant's erasures were done.
        """
        found: dict[str, Verification] = {}
        end = time.monotonic() + PATIENCE_S
        while waiting := [tenant for tenant in tenants if tenant not in found]:
            for tenant in waiting:
                if (verified := self.audit(tenant)) is not None:
                    found[tenant], end = verified, time.monotonic() + PATIENCE_S
            if time.monotonic() > end:
                raise _Silence(f"{', '.join(waiting)}: erasures are not done long after the last fault was healed")
            time.sleep(ASK_S)
        return found

    def _insist(self, call: Callable[[], T], what: str) -> T:
        """Return what a call returns in the end.

        Raises:
            FailedPreconditionError: an erasure is under way.
            _Silence: the servers do not answer in time.
        """
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                return call()
            except MemsvcError as error:
                if error.reason == "ERASURE_PENDING":
                    raise
                if not isinstance(error, UNKNOWN):
                    self._oracle.violated("unexpected error", f"{what}: {error.reason}: {error}")
                if time.monotonic() > end:
                    raise _Silence(f"{what}: {error.reason}: {error}") from error
            time.sleep(ASK_S)

"""Faults under load, the seeded short form; `memsvc bench faults` runs a hundred."""

from memsvc_bench.fault_deployments import sqlite
from memsvc_bench.faults import inject

FAULTS = ["SIGKILL a server", "SIGSTOP a server", "die at erase.payloads"]
TENANTS = 6


def test_no_fault_breaks_the_promise(tmp_path) -> None:
    outcome = inject(sqlite(tmp_path), rounds=len(FAULTS), tenants=TENANTS, clients=4, seed=1, faults=FAULTS)
    assert outcome.injected.total() == len(FAULTS)
    assert outcome.oracle.acknowledged > 0
    assert outcome.verified >= 2 * TENANTS, "all of them, before and after a restart"
    assert outcome.oracle.details == []

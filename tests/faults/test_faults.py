"""Faults under load, the seeded short form; `memsvc bench faults` runs a hundred."""

import shutil

import pytest
from memsvc_bench.fault_deployments import redis, sqlite
from memsvc_bench.faults import inject

FAULTS = ["SIGKILL a server", "SIGSTOP a server", "die at erase.payloads"]
FAULTS_ON_REDIS = ["SIGKILL a server", "SIGKILL Redis", "network: one reply lost", "die at takeover"]
TENANTS = 6


def test_no_fault_breaks_the_promise(tmp_path) -> None:
    outcome = inject(sqlite(tmp_path), rounds=len(FAULTS), tenants=TENANTS, clients=4, seed=1, faults=FAULTS)
    assert outcome.injected.total() == len(FAULTS)
    assert outcome.oracle.acknowledged > 0
    assert outcome.verified >= 2 * TENANTS, "all of them, before and after a restart"
    assert outcome.oracle.details == []


@pytest.mark.skipif(shutil.which("redis-server") is None, reason="there is no redis-server")
def test_no_fault_breaks_the_promise_of_servers_on_redis(tmp_path) -> None:
    rounds = len(FAULTS_ON_REDIS)
    outcome = inject(redis(tmp_path), rounds=rounds, tenants=TENANTS, clients=4, seed=1, faults=FAULTS_ON_REDIS)
    assert outcome.injected.total() == rounds
    assert outcome.oracle.acknowledged > 0
    assert outcome.verified >= 2 * TENANTS, "all of them, before and after a restart"
    assert outcome.oracle.details == []

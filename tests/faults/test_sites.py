"""Death at every failpoint, one after the other: what was acknowledged is there, and the state is its log's fold.

`memsvc bench faults` dies at them under load, where it comes by; here none is left out.
"""

import shutil
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from itertools import cycle
from pathlib import Path

import pytest
from memsvc_bench.fault_deployments import REACH, REACH_ON_REDIS
from memsvc_bench.fault_oracle import Oracle, text_of
from memsvc_client import (
    Entry,
    FailedPreconditionError,
    MemoryClient,
    RetryPolicy,
    UnavailableError,
    Verification,
)

from memsvc.failpoints import SITES, VARIABLE
from tests.e2e.on_redis import until
from tests.redis_server import RedisServer
from tests.serving import Server

TENANT = "t"
OFTEN = {"snapshot_min_tokens": 1, "snapshot_idle_s": 0.1, "unload_idle_s": 0.5, "unload_small_idle_s": 0.5}
"""Snapshots at once, and a tenant that leaves the memory as soon as nobody asks."""
LATER = {"append.before": 5, "append.after": 6, "acknowledge.before": 7}
"""At the how manyth time of coming by: the first may be no client's doing."""
PAUSES_S = (0.05, 0.05, 2.5)
"""After a call: the last is long enough to be saved, and to leave."""
PATIENCE_S = 60.0


def use(client: MemoryClient, oracle: Oracle) -> None:
    """Write two entries, look for them, and have one of them forgotten."""
    ids, head = oracle.ids(TENANT, 2), oracle.head(TENANT)
    receipt = client.write(TENANT, [Entry(text_of(id), id=id) for id in ids], wait="applied")
    oracle.acknowledge(TENANT, receipt, head)
    client.recall(TENANT, text_of(ids[0]))
    oracle.forgetting(TENANT, ids[0])
    client.forget(TENANT, ids=ids[:1])
    oracle.forgot(TENANT, ids[0])


def verified(client: MemoryClient) -> Verification | None:
    """Fold the log afresh and compare; None while an erasure is under way."""
    try:
        return client.verify(TENANT)
    except FailedPreconditionError:
        return None


def look(client: MemoryClient, oracle: Oracle) -> None:
    """Compare what is there with what was told, and the state with the fold of its log."""
    expected = oracle.expected(TENANT)
    oracle.check_all(TENANT, expected, list(client.list_entries(TENANT)))
    found = until(lambda: verified(client))
    assert found.equal
    assert found.seq >= expected.head


def live(server: Server, oracle: Oracle) -> None:
    """Look at what the death before has left, and use the server until it dies."""
    with server.client(timeout=PATIENCE_S, retry=RetryPolicy(attempts=1)) as client:
        end, looked, turns = time.monotonic() + PATIENCE_S, False, cycle(PAUSES_S)
        while server.process.poll() is None:
            assert time.monotonic() < end, "it does not come by"
            with suppress(UnavailableError):  # it dies, or waits for a lease: what has no answer may have happened
                if looked:
                    use(client, oracle)
                else:
                    look(client, oracle)
                    looked = True
            time.sleep(next(turns))
    assert server.process.returncode == -signal.SIGKILL


def die_at(sites: Sequence[str], path: Path, patch: pytest.MonkeyPatch, **settings: object) -> None:
    """Die at one after the other."""
    server, oracle = Server(path / "data", **OFTEN, **settings), Oracle([TENANT])
    with server, server.client() as client:
        client.create_tenant(TENANT)
    for site in sites:
        patch.setenv(VARIABLE, f"{site}=crash@{LATER.get(site, 1)}")
        try:
            server.start()
        except RuntimeError:  # so soon that it never served
            assert server.process.returncode == -signal.SIGKILL, site
            continue
        try:
            live(server, oracle)
        except BaseException as error:
            error.add_note(f"about to die at {site}")
            raise
        finally:
            server.__exit__(None, None, None)
        assert not oracle.details, site
    patch.delenv(VARIABLE)
    with server, server.client(timeout=PATIENCE_S) as client:
        look(client, oracle)
    assert not oracle.details
    assert oracle.acknowledged > 0


def test_the_failpoints_are_all_of_them() -> None:
    assert REACH.keys() | REACH_ON_REDIS.keys() == SITES.keys()


def test_no_death_breaks_the_promise_of_a_directory(tmp_path, monkeypatch) -> None:
    die_at(list(REACH), tmp_path, monkeypatch)


@pytest.mark.skipif(shutil.which("redis-server") is None, reason="there is no redis-server")
def test_no_death_breaks_the_promise_of_a_redis(tmp_path, monkeypatch) -> None:
    with RedisServer(tmp_path / "redis") as redis:
        die_at([*REACH, *REACH_ON_REDIS], tmp_path, monkeypatch, store=redis.url, shards=1, lease_s=1.5)

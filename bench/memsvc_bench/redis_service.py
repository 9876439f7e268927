"""Servers on one Redis: how long a cold tenant's first recall takes, and a takeover; what a tenant takes in Redis."""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from memsvc_client import Entry, MemoryClient, MemsvcError
from redis import Redis

from memsvc_bench.redis_process import RedisProcess
from memsvc_bench.report import Check
from memsvc_bench.server_process import ServerProcess

WORDS = "river stone window garden letter music winter bridge market ladder copper harbor lantern meadow saddle thunder"
BATCH = 500
COLD_S = 0.5
TAKEOVER_S = 2.0
"""Beside the lease."""
HANDOVER_S = 1.0
GIGABYTE = 1 << 30
PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much is measured."""

    entries: Sequence[int] = (10, 1_000, 10_000)
    """Of the tenants that are asked cold."""
    tenants: int = 200
    """Of which the room in Redis is measured."""
    leases_s: Sequence[int] = (3, 12)


FULL = Scale()
QUICK = Scale(entries=(5,), tenants=3, leases_s=(1,))


def bench(redis: RedisProcess, directory: Path, scale: Scale, rng: random.Random) -> tuple[dict[str, Any], list[Check]]:
    """Measure all of it.

    Raises:
        RuntimeError: a server did not start.
    """
    size = _size(redis, directory, scale, rng)
    cold, cold_checks = _cold(redis, directory, scale, rng)
    takeover, takeover_checks = _takeovers(redis, directory, scale)
    parts = {"size": size, "cold": cold, "takeover": takeover}
    rows = {f"{part}, {name}": row for part, found in parts.items() for name, row in found.items()}
    return rows, [*cold_checks, *takeover_checks]


def _server(redis: RedisProcess, directory: Path, name: str, *options: str, **environment: object) -> ServerProcess:
    settings = {"store": redis.url, "encoder": "kmer", "threads": 1, **environment}
    variables = {f"MEMSVC_{key.upper()}": str(value) for key, value in settings.items()}
    return ServerProcess(directory / name, options, environment=variables)


def _size(redis: RedisProcess, directory: Path, scale: Scale, rng: random.Random) -> dict[str, Any]:
    """Return the bytes that tenants take in Redis, by their entries: the difference of what Redis uses."""
    rows: dict[str, Any] = {}
    with _server(redis, directory, "size") as server, MemoryClient(server.target) as client:
        for entries in (3, 100):
            before = _used(redis)
            for i in range(scale.tenants):
                _fill(client, f"size {entries} {i}", entries, rng)
            per_tenant = (_used(redis) - before) / scale.tenants
            rows[f"{entries} entries"] = {"bytes": per_tenant, "tenants_per_gigabyte": GIGABYTE / per_tenant}
    return rows


def _cold(redis: RedisProcess, directory: Path, scale: Scale, rng: random.Random) -> tuple[dict[str, Any], list[Check]]:
    """Return how long the first recall takes of a tenant that another server wrote and saved."""
    rows: dict[str, Any] = {}
    checks = []
    with _server(redis, directory, "warm") as server:
        with MemoryClient(server.target) as client:
            for entries in scale.entries:
                _fill(client, f"cold {entries}", entries, rng)
                client.recall(f"cold {entries}", "river stone", k=1, timeout=PATIENCE_S)
        server.stop()
    with _server(redis, directory, "cold") as server, MemoryClient(server.target) as client:
        client.create_tenant("other")
        client.recall("other", "river stone", k=1)
        for entries in scale.entries:
            first = _timed(partial(client.recall, f"cold {entries}", "river stone", k=10))
            then = _timed(partial(client.recall, f"cold {entries}", "garden letter", k=10))
            rows[f"{entries:,} entries"] = {"first_s": first, "second_s": then}
            checks.append(Check.at_most(f"{entries:,} entries: first recall of a cold tenant, s", first, COLD_S))
    return rows, checks


def _takeovers(redis: RedisProcess, directory: Path, scale: Scale) -> tuple[dict[str, Any], list[Check]]:
    """Return how long tenants are without an owner when theirs dies, and when it ends as it should."""
    rows: dict[str, Any] = {}
    checks = []
    for lease_s in scale.leases_s:
        for how, most in (("killed", lease_s + TAKEOVER_S), ("stopped", HANDOVER_S)):
            taken_s = _takeover(redis, directory / f"{how}-{lease_s}", lease_s, kill=how == "killed")
            rows[f"{how}, lease of {lease_s} s"] = {"longest_s": taken_s}
            checks.append(Check.at_most(f"{how}, lease of {lease_s} s: until all is served, s", taken_s, most))
    return rows, checks


def _takeover(redis: RedisProcess, directory: Path, lease_s: int, *, kill: bool) -> float:
    """Return the seconds from the end of one of two servers until the other has answered for every tenant."""
    names = [f"{directory.name} {i}" for i in range(16)]
    directory.mkdir()
    with (
        _server(redis, directory, "a", lease_s=lease_s) as a,
        _server(redis, directory, "b", lease_s=lease_s) as b,
        MemoryClient([a.target, b.target]) as client,
    ):
        for name in names:
            client.create_tenant(name)
            client.write(name, [Entry("something to remember")])
        time.sleep(lease_s)  # until each has its share
        if kill:
            a.kill()
        else:
            a.stop()
        ended = time.monotonic()
        with MemoryClient(b.target) as other:
            for name in names:
                _until(partial(other.write, name, [Entry("something more")], timeout=1.0))
                other.recall(name, "something", k=1)
        return time.monotonic() - ended


def _until(call: Callable[[], object]) -> None:
    stop = time.monotonic() + PATIENCE_S
    while True:
        try:
            call()
        except MemsvcError:
            if time.monotonic() > stop:
                raise
            time.sleep(0.02)
        else:
            return


def _fill(client: MemoryClient, tenant: str, entries: int, rng: random.Random) -> None:
    words = WORDS.split()
    client.create_tenant(tenant)
    for start in range(0, entries, BATCH):
        batch = [
            Entry(f"turn {start + i}: " + " ".join(rng.choices(words, k=12)), session=f"s{i % 7}", role="user")
            for i in range(min(BATCH, entries - start))
        ]
        client.write(tenant, batch, timeout=PATIENCE_S)


def _timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _used(redis: RedisProcess) -> int:
    with Redis.from_url(redis.url) as client:
        return int(client.info("memory")["used_memory"])

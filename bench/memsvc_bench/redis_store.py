"""The store in Redis: what it acknowledges in a second, beside the same commits sent raw and the store in SQLite.

And servers on it: cold recalls, takeovers, and the room that a tenant takes (`redis_service`).
"""

import asyncio
import os
import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from memsvc_bench import redis_log as log
from memsvc_bench import redis_service
from memsvc_bench.progress import told
from memsvc_bench.redis_process import RedisProcess
from memsvc_bench.report import Check, Result, describe_machine
from memsvc_bench.service_texts import percentiles

SETTINGS = {"auto-aof-rewrite-percentage": "0"}
"""Redis does not rewrite its files in the middle of a measurement."""
SHARE_OF_RAW = 0.70
WRITERS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much is measured."""

    rounds: int = 5
    """Rounds of store, raw commits and SQLite."""
    records: int = 2_000
    """Records of a round."""
    alone: int = 200
    """Records of a round with one writer."""
    tenants: Sequence[int] = (1, 16, 64)
    sizes: Sequence[int] = (200, 1024)
    """Bytes of an entry: a turn of a chat, and a long one."""
    service: redis_service.Scale = redis_service.FULL


FULL = Scale()
QUICK = Scale(rounds=1, records=128, alone=5, tenants=(1, 3), sizes=(200,), service=redis_service.QUICK)


def bench(*, seed: int, scale: Scale = FULL) -> Result:
    """`memsvc bench redis`.

    Raises:
        RuntimeError: redis-server did not start, or did not apply a commit.
    """
    load_before = os.getloadavg()[0]
    rng = random.Random(seed)
    with TemporaryDirectory() as scratch, RedisProcess(Path(scratch) / "redis", SETTINGS) as server:
        figures, checks = asyncio.run(_speed(server, Path(scratch) / "data", scale, rng))
        served, more = redis_service.bench(server, Path(scratch), scale.service, rng)
    averages = {"load_average_before": load_before, "load_average_after": os.getloadavg()[0]}
    command = f"memsvc bench redis --seed {seed}"
    return Result(
        machine=describe_machine(), command=command, figures=averages | figures | served, checks=[*checks, *more]
    )


async def _speed(
    server: RedisProcess, directory: Path, scale: Scale, rng: random.Random
) -> tuple[dict[str, Any], list[Check]]:
    """Measure the log with many writers and with one."""
    many: dict[str, Any] = {}
    waits: dict[str, Any] = {}
    checks: list[Check] = []
    kinds = [(tenants, size) for size in scale.sizes for tenants in scale.tenants]
    async with log.open_stores(server, directory) as stores:
        for tenants, size in told(kinds, "loads"):
            name = f"{tenants} tenants, {size:,} bytes"
            load = log.Load(tenants, WRITERS, size, scale.records)
            rounds = [await _round(stores, f"{name}, round {i}", load, rng) for i in range(scale.rounds)]
            many[name] = _row(load, rounds)
            waits[f"{name}, {WRITERS} writers"] = percentiles([s for r in rounds for s in r.redis.latencies])
            share = many[name]["share_of_raw"]
            checks.append(Check.at_least(f"{name}: share of the raw commits", share, SHARE_OF_RAW))
            uids = await log.tenants(stores.redis, f"{name}, alone", tenants)
            alone = await log.append(stores.redis, uids, log.Load(tenants, 1, size, scale.alone), rng)
            waits[f"{name}, 1 writer"] = percentiles(alone.latencies)
    return many | waits, checks


@dataclass(frozen=True, slots=True)
class _Round:
    redis: log.Run
    raw_s: float
    sqlite: log.Run
    commits: int


async def _round(stores: log.Stores, name: str, load: log.Load, rng: random.Random) -> _Round:
    """Do one load three times, each on tenants that are new."""
    uids = await log.tenants(stores.redis, name, load.tenants)
    stores.recorder.take()
    redis = await log.append(stores.redis, uids, load, rng)
    shards = stores.recorder.take()
    raw_s = await stores.replay(shards)
    uids = await log.tenants(stores.sqlite, name, load.tenants)
    sqlite = await log.append(stores.sqlite, uids, load, rng)
    return _Round(redis, raw_s, sqlite, sum(map(len, shards)))


def _row(load: log.Load, rounds: Sequence[_Round]) -> dict[str, Any]:
    redis = load.records / statistics.median(r.redis.seconds for r in rounds)
    raw = load.records / statistics.median(r.raw_s for r in rounds)
    return {
        "records_per_s": redis,
        "raw_records_per_s": raw,
        # Of each round, or a machine that is busy in some of them decides.
        "share_of_raw": statistics.median(r.raw_s / r.redis.seconds for r in rounds),
        "records_per_commit": load.records / statistics.median(r.commits for r in rounds),
        "sqlite_records_per_s": load.records / statistics.median(r.sqlite.seconds for r in rounds),
    }

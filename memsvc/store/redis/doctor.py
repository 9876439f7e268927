"""A look at a deployment in Redis from outside: it takes no lease and writes nothing."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from memsvc.store.finding import Finding
from memsvc.store.redis import promises
from memsvc.store.redis.deployment import FORMAT
from memsvc.store.redis.keys import Keys
from memsvc.store.redis.lease import address_of
from memsvc.store.redis.nodes import primaries
from memsvc.store.redis.promises import Promise
from memsvc.store.redis.url import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardState:
    """One shard."""

    shard: int
    owner: str
    """Address of the process that serves it; empty for none."""
    epoch: int
    """How often it changed hands."""
    tenants: int
    staged: int
    """Copies that are being made."""
    condemned: int
    """Tenants that are deleted, whose keys are not all gone yet."""
    erasing: int
    """Erasures that are not done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What was found."""

    findings: Sequence[Finding]
    shards: Sequence[ShardState] = ()
    members: Sequence[str] = ()
    """Addresses of the processes that serve."""


async def examine(connection: Connection, prefix: str) -> Examination:
    """Look at Redis's promises, and at the deployment under that prefix.

    Raises:
        RedisError: Redis did not answer.
    """
    keys = Keys(prefix)
    findings = [*map(_of_promise, await promises.survey(connection, keys)), *await _room(connection)]
    meta: Any = await connection.hgetall(keys.meta)
    if not meta:
        none = Finding(name="deployment", found="none", advice=f"the first server makes it; prefix {prefix}")
        return Examination(findings=[*findings, none])
    findings.append(_of_format(meta.get(b"format", b"")))
    shards = meta.get(b"shards", b"")
    if not findings[-1].ok or not shards.isdigit():
        return Examination(findings=findings)
    states = await asyncio.gather(*(_shard(connection, keys, shard) for shard in range(int(shards))))
    members = [address_of(name) for name in await _members(connection, keys)]
    return Examination(findings=[*findings, *_of_shards(states, members)], shards=states, members=members)


def _of_promise(promise: Promise) -> Finding:
    name = f"{promise.node} {promise.name}" if promise.node else promise.name
    if promise.kept:
        return Finding(name=name, found=promise.found, advice=promise.risk)
    return Finding(
        name=name, found=promise.found, ok=False, advice=f"wanted: {promise.wanted}; {promise.risk}; {promise.fix}"
    )


async def _room(connection: Connection) -> list[Finding]:
    findings: list[Finding] = []
    for node in await primaries(connection):
        told = await node.info("memory", "persistence")
        name = f"{node.name} bytes".strip()
        of = f" of {told['maxmemory']}" if told.get("maxmemory") else ""
        found = f"{told.get('used_memory', 0)}{of} in memory, {told.get('aof_current_size', 0)} in the append only file"
        findings.append(Finding(name=name, found=found))
    return findings


def _of_format(found: bytes) -> Finding:
    known = found.isdigit() and int(found) <= FORMAT
    advice = "" if known else f"this version of memsvc reads up to {FORMAT}: use a newer one"
    return Finding(name="format", found=found.decode("utf-8", "replace") or "none", ok=known, advice=advice)


async def _members(connection: Connection, keys: Keys) -> list[bytes]:
    """Return the names of those whose sign of life counts yet, by Redis's clock."""
    seconds, _ = await (await primaries(connection))[0].call("TIME")
    members: Any = await connection.zrangebyscore(keys.members, f"({int(seconds) * 1000}", "+inf")
    return list(members)


async def _shard(connection: Connection, keys: Keys, shard: int) -> ShardState:
    of = keys.shard(shard)
    async with connection.pipeline(transaction=False) as pipe:
        pipe.get(of.lease)
        pipe.get(of.epoch)
        pipe.zcard(of.names)
        for members in (of.staged, of.condemned, of.erasing):
            pipe.scard(members)
        lease, epoch, tenants, staged, condemned, erasing = await pipe.execute()
    return ShardState(
        shard=shard,
        owner=address_of(lease) if lease else "",
        epoch=int(epoch or 0),
        tenants=tenants,
        staged=staged,
        condemned=condemned,
        erasing=erasing,
    )


def _of_shards(states: Sequence[ShardState], members: Sequence[str]) -> list[Finding]:
    free = [str(state.shard) for state in states if not state.owner]
    lost = sorted({state.owner for state in states if state.owner} - set(members))
    waits = members and free
    return [
        Finding(name="members", found=", ".join(sorted(members)) or "none", advice="" if members else "no server runs"),
        Finding(
            name="shards without an owner",
            found=f"{len(free)} of {len(states)}",
            advice=f"{', '.join(free)}: a server that runs takes them within seconds" if waits else "",
        ),
        Finding(
            name="owners that give no sign of life",
            found=", ".join(lost) or "none",
            advice="their leases run out within seconds" if lost else "",
        ),
        Finding(name="tenants", found=str(sum(state.tenants for state in states))),
        Finding(
            name="erasures not done",
            found=str(sum(state.erasing for state in states)),
            advice="a shard's owner goes on with them" if any(state.erasing for state in states) else "",
        ),
        Finding(
            name="deleted tenants not wholly gone",
            found=str(sum(state.condemned for state in states)),
            advice="a shard's next owner goes on with them" if any(state.condemned for state in states) else "",
        ),
    ]

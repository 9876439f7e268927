"""What a Redis really promises, read from the server itself before anything rests on it.

What was acknowledged is never lost: for that Redis must log every write to its disk before it answers, must never drop
a key to make room, and must keep to it while it rewrites its files. And it must let us run what we run: a commit that
it refuses in the middle would be half there.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redis.exceptions import ConnectionError, RedisError, TimeoutError  # Redis's own

from memsvc.errors import FailedPreconditionError
from memsvc.store.redis.keys import Keys
from memsvc.store.redis.nodes import Node, primaries
from memsvc.store.redis.permissions import refused
from memsvc.store.redis.url import Connection

log = logging.getLogger(__name__)

OLDEST = (7, 0)

UNSEEN = "(not to be seen)"
"""In the place of what Redis would not tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """One thing that is asked of Redis, and what it answers."""

    name: str
    """As Redis calls it."""
    wanted: str
    found: str
    kept: bool
    risk: str
    """What may happen where it is not kept, in words; of one that is kept, what to know about it, if anything."""
    fix: str
    """What to do about it."""
    node: str = ""
    """HOST:PORT in a cluster."""
    vital: bool = False
    """Whether nothing works without it, so that nobody can accept it."""

    def __str__(self) -> str:
        where = f"{self.node}: " if self.node else ""
        if self.kept:
            return f"{where}{self.name} is {self.found}"
        return f"{where}{self.name} is {self.found}, wanted is {self.wanted}: {self.risk}; {self.fix}"


async def survey(connection: Connection, keys: Keys) -> list[Promise]:
    """Return every promise, kept or not, of every server that takes writes.

    Args:
        connection: to the deployment.
        keys: of the deployment.

    Raises:
        RedisError: a server did not answer.
    """
    found = await asyncio.gather(*(_survey(node, keys) for node in await primaries(connection)))
    return [promise for promises in found for promise in promises]


async def check(connection: Connection, keys: Keys) -> list[Promise]:
    """Return the promises that are not kept; see `survey`."""
    return [promise for promise in await survey(connection, keys) if not promise.kept]


def refuse(weak: Sequence[Promise], *, allow: bool = False) -> None:
    """Return if nothing is weak, or if the loss is accepted, but for what nothing works without.

    Raises:
        FailedPreconditionError: something is (reason STORE_WEAK); the message says how to put it right.
    """
    if allow:
        for promise in weak:
            log.warning("Redis promises less than zero loss: %s", promise)
        weak = [promise for promise in weak if promise.vital]
    if not weak:
        return
    cure = "Put it right." if allow else "Put it right, or accept the loss with --allow-weak-durability."
    raise FailedPreconditionError(
        "Redis promises less than that what was acknowledged is never lost:\n"
        + "\n".join(f"- {promise}" for promise in weak)
        + f"\n{cure}",
        reason="STORE_WEAK",
        metadata={"weak": ",".join(promise.name for promise in weak)},
    )


async def _survey(node: Node, keys: Keys) -> list[Promise]:
    facts = await _facts(node)
    answers = [question.answer(facts, node.name) for question in _QUESTIONS]
    return [*answers, await _commands(node, keys), _replicas(facts, node.name)]


async def _facts(node: Node) -> dict[str, str]:
    """Return what a server tells, of its state and of its settings, as text; what it refuses is not there."""
    facts: dict[str, str] = {}
    for section in ("server", "replication", "persistence", "memory"):
        facts |= await _told(node.info(section))
    for name in ("appendonly", "appendfsync", "no-appendfsync-on-rewrite", "maxmemory-policy"):
        facts |= await _told(node.call("CONFIG GET", name))  # one by one: an ACL may let see one and not the other
    return facts


async def _told(asked: Awaitable[Mapping[Any, Any]]) -> dict[str, str]:
    try:
        answer = await asked
    except (ConnectionError, TimeoutError):
        raise
    except RedisError:  # a command that is renamed, or not for this user
        return {}
    return {_text(name): _text(value) for name, value in answer.items()}


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    """What is asked of one server."""

    name: str
    wanted: str
    risk: str
    fix: str
    find: Callable[[Mapping[str, str]], str | None]
    """Looks it up among a server's facts."""
    holds: Callable[[str], bool]

    def answer(self, facts: Mapping[str, str], node: str) -> Promise:
        """Return it as it is found."""
        found = self.find(facts)
        risk, fix = self.risk, self.fix
        kept = found is not None and self.holds(found)
        if kept:
            risk, fix = "", ""
        elif found is None:
            risk, fix = f"should it be another, {self.risk}", _LET_SEE
        found = UNSEEN if found is None else found
        return Promise(name=self.name, wanted=self.wanted, found=found, kept=kept, risk=risk, fix=fix, node=node)


_LET_SEE = "let this user see it (ACL SETUSER NAME +info +config|get), or see to it yourself that it is as wanted"


def _fact(name: str, wanted: str, risk: str, fix: str, holds: Callable[[str], bool] | None = None) -> _Question:
    return _Question(
        name=name,
        wanted=wanted,
        risk=risk,
        fix=fix,
        find=lambda facts: facts.get(name),
        holds=holds or wanted.__eq__,
    )


def _setting(name: str, wanted: str, risk: str, state: tuple[str, str] | None = None) -> _Question:
    """Ask for a setting. Where it is not told, a field of the server's state may tell, with its value for `wanted`."""

    def find(facts: Mapping[str, str]) -> str | None:
        if name in facts or state is None or (told := facts.get(state[0])) is None:
            return facts.get(name)
        return wanted if told == state[1] else f"not that ({state[0]} is {told})"

    fix = f"CONFIG SET {name} {wanted}, and `{name} {wanted}` in redis.conf"
    return _Question(name=name, wanted=wanted, risk=risk, fix=fix, find=find, holds=wanted.__eq__)


def _is_new(version: str) -> bool:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdecimal()) >= OLDEST


async def _commands(node: Node, keys: Keys) -> Promise:
    """Return whether the store may run what it is made of."""
    missing = await refused(node, keys)
    rules = " ".join(f"+{name.lower()}" for name in missing)
    return Promise(
        name="commands",
        wanted="every one that the store uses",
        found=f"without {', '.join(missing)}" if missing else "all there",
        kept=not missing,
        risk="this user may not run them on the store's keys, or they are renamed" if missing else "",
        fix=f"ACL SETUSER NAME ~{keys.prefix}:* {rules}, and no rename-command for them" if missing else "",
        node=node.name,
        vital=True,
    )


def _replicas(facts: Mapping[str, str], node: str) -> Promise:
    """Return what is to be known about replicas. It is no weakness to have some, or none."""
    found = facts.get("connected_slaves", UNSEEN)
    note = "zero loss is promised for the primary alone: after a failover the last writes may be gone"
    return Promise(
        name="connected_replicas",
        wanted="any number",
        found=found,
        kept=True,
        risk="" if found in {"0", UNSEEN} else note,
        fix="",
        node=node,
    )


_QUESTIONS = (
    _fact(
        "redis_version",
        f"{OLDEST[0]}.{OLDEST[1]} or newer",
        "nothing of this was tried with such an old one",
        "use a newer Redis",
        _is_new,
    ),
    _fact("role", "master", "a replica takes no writes", "name the primary, or its sentinels (redis+sentinel://)"),
    _setting("appendonly", "yes", "a crash loses everything since the last snapshot", ("aof_enabled", "1")),
    # `everysec` would do from Redis 8 on if each acknowledgement waited for WAITAOF: it does not.
    _setting("appendfsync", "always", "a crash loses up to two seconds of what was acknowledged"),
    _setting("no-appendfsync-on-rewrite", "no", "nothing is flushed while Redis rewrites its files"),
    _setting(
        "maxmemory-policy",
        "noeviction",
        "a Redis that is full drops keys, and entries with them",
        ("maxmemory_policy", "noeviction"),
    ),
    _fact("aof_last_write_status", "ok", "a write to the append only file failed", "look whether Redis's disk is full"),
)

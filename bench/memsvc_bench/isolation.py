"""Isolation: many tenants on few slots in little memory; every answer is the asker's own, every state as if alone.

Each tenant has a word of its own in all its texts, its canary. Random tenants are written, recalled, changed and made
to forget, while slots and memory are too few for them. No answer may hold another tenant's canary, what was deleted,
or what the tenant never wrote. Afterwards each tenant's log is folded by itself, in an engine that holds no other: the
state hash at the end, the states noted on the way, and the scores of recalls, which the weights had a part in, must be
the same, bit for bit.
"""

import asyncio
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from memsvc.engine.config import EngineConfig
from memsvc.engine.engine import Engine
from memsvc.engine.ingest import Ingest
from memsvc.engine.lane import Lane
from memsvc.engine.runner import Runner, prepare_thread
from memsvc.errors import ResourceExhaustedError
from memsvc.memory.config import MemoryConfig
from memsvc.recall.encoder import load_encoder
from memsvc.recall.filter import Filter
from memsvc.recall.rank import rank
from memsvc.store.base import Store
from memsvc.store.sqlite import SqliteStore
from memsvc.store.types import Record, StoredEntry
from memsvc.tenant.record import Content, decode_payload, encode_payload
from memsvc.tenant.view import View
from memsvc_bench.progress import told
from memsvc_bench.report import Check, Result, describe_machine

StoreFactory = Callable[[Path], Store]

ENCODER, THREADS = "kmer", 1
LAYERS, CHUNK = 2, 32
"""A chunk is filled by one entry or two, so that weights change with almost every record."""
CANARY = re.compile(r"canary[a-z]{12}")
WORDS = [f"{a}{b}{c}" for a in ("bar", "cor", "del", "fen") for b in ("o", "i", "u") for c in ("mer", "nat", "lis")]
K = 5
UNIT_TOKENS = 2048
PAGE_BYTES = 1 << 22
TOLD = 50
"""Tenants between two notes of how far it is."""
NOTED = 200
"""Recalls and states that are noted of one tenant, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much is done."""

    minutes: float = 10.0
    tenants: int = 1000
    slots: int = 16
    memory_bytes: int = 512 << 20
    """For views and weights: about a fifth of what all tenants take."""
    workers: int = 8
    """Requests under way."""


QUICK = Scale(minutes=0.05, tenants=24, slots=2, memory_bytes=24 << 20, workers=4)


@dataclass(slots=True)
class _Tenant:
    """What one tenant must answer."""

    name: str
    canary: str
    dice: random.Random
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """One request at a time: what it must answer is known."""
    texts: dict[str, str] = field(default_factory=dict)
    """Of the living entries, by id."""
    written: int = 0
    asked: int = 0
    recalls: list[tuple[int, str, list[tuple[int, float]]]] = field(default_factory=list)
    """The record that was applied, the query, and the entries' numbers with their scores."""
    states: dict[int, str] = field(default_factory=dict)
    """State hashes by the record that was applied."""

    def sentence(self) -> str:
        """Some words around the canary."""
        words = [self.dice.choice(WORDS) for _ in range(self.dice.randint(4, 12))]
        words.insert(self.dice.randrange(len(words)), self.canary)
        return " ".join(words)

    def request_id(self) -> str:
        """A new one."""
        self.asked += 1
        return f"{self.name} {self.asked}"


@dataclass(slots=True)
class _Outcome:
    """What the traffic came to."""

    operations: Counter[str] = field(default_factory=Counter)
    foreign: list[str] = field(default_factory=list)
    """Answers with another tenant's canary."""
    wrong: list[str] = field(default_factory=list)
    """Answers with a text that the tenant does not have, or without one that it has."""
    answers: int = 0
    """Texts that were looked at."""
    most_bytes: int = 0


def bench(
    *,
    scale: Scale,
    offload: bool = False,
    seed: int = 0,
    open_store: StoreFactory = SqliteStore.open,
) -> Result:
    """`memsvc bench isolation`.

    Args:
        scale: how much.
        offload: whether weights leave their slots between a tenant's steps.
        seed: of all that is random.
        open_store: makes the store, of a directory.
    """
    tenants = [_tenant(i, seed) for i in range(scale.tenants)]
    with TemporaryDirectory() as scratch:
        data = Path(scratch) / "data"
        outcome, figures, final = asyncio.run(_run(data, tenants, scale, seed, open_store, offload=offload))
        # A thread of its own: how it computes must not stay with the caller's.
        with ThreadPoolExecutor(1) as thread:
            differ = thread.submit(lambda: asyncio.run(_compare(data, tenants, final, open_store))).result()
    noted = sum(len(tenant.states) for tenant in tenants), sum(len(tenant.recalls) for tenant in tenants)
    figures |= {
        "answers_checked": outcome.answers,
        "states_compared": len(final) + noted[0],
        "recalls_compared": noted[1],
        "most_bytes": outcome.most_bytes,
        **{f"{name}s": count for name, count in sorted(outcome.operations.items())},
    }
    checks = [
        Check.at_least("operations", sum(outcome.operations.values()), 1),
        Check.at_least("weights brought into slots, per slot", figures["slot_loads"] / scale.slots, 1),
        Check.at_least("tenants that left the memory", figures["unloads"], 1),
        Check.at_most("bytes over the limit", max(0, outcome.most_bytes - scale.memory_bytes), 0),
        Check.at_most("answers with another tenant's canary", len(outcome.foreign), 0),
        Check.at_most("answers that the tenant should not have given", len(outcome.wrong), 0),
        Check.at_most("states that differ from the tenant's alone", differ["states"], 0),
        Check.at_most("recalls that differ from the tenant's alone", differ["recalls"], 0),
    ]
    options = f"--minutes {scale.minutes:g} --tenants {scale.tenants} --slots {scale.slots} --seed {seed}"
    command = f"memsvc bench isolation {options} {'--offload' if offload else '--no-offload'}"
    return Result(machine=describe_machine(), command=command, figures=figures, checks=checks)


def _tenant(i: int, seed: int) -> _Tenant:
    dice = random.Random(f"{seed}/{i}")
    return _Tenant(f"tenant-{i}", "canary" + "".join(dice.choices("bcdfghjklmnpqrstvwxz", k=12)), dice)


# --- traffic --------------------------------------------------------------------------------------------------------


async def _run(
    data: Path, tenants: Sequence[_Tenant], scale: Scale, seed: int, open_store: StoreFactory, *, offload: bool
) -> tuple[_Outcome, dict[str, float], dict[str, str]]:
    """Returns what the traffic came to, figures, and each tenant's state hash at the end."""
    store = open_store(data)
    config = EngineConfig(
        encoder=ENCODER,
        threads=THREADS,
        slots=scale.slots,
        offload=offload,
        memory_bytes=scale.memory_bytes,
        max_open_tenants=scale.tenants,
        memory=MemoryConfig(layers=LAYERS, chunk=CHUNK),
    )
    engine = Engine(store, config)
    await engine.start()
    outcome = _Outcome()
    try:
        for tenant in tenants:
            await engine.create_tenant(tenant.name, config.memory, f"create {tenant.name}")
        start = time.monotonic()
        end = start + 60 * scale.minutes
        workers = [_Worker(engine, tenants, outcome, random.Random(f"{seed}-{i}")) for i in range(scale.workers)]
        await asyncio.gather(*(worker.work(end) for worker in workers))
        seconds = time.monotonic() - start
        final = {}
        for tenant in tenants:
            final[tenant.name] = (await engine.reads.stats(tenant.name, state_hash=True)).state_hash
        where = await engine.residency.whereabouts()
        await engine.thread.call(engine.thread.ingest.check_integrity)
    finally:
        await engine.close()
        await store.close()
    figures: dict[str, float] = {
        "tenants": len(tenants),
        "slots": scale.slots,
        "seconds": seconds,
        "operations_per_s": sum(outcome.operations.values()) / seconds,
        "slot_loads": where.slot_loads,
        "unloads": where.unloads,
        "limit_bytes": where.limit_bytes,
    }
    return outcome, figures, final


class _Worker:
    """Sends one random request after another, and looks at each answer."""

    def __init__(self, engine: Engine, tenants: Sequence[_Tenant], outcome: _Outcome, dice: random.Random) -> None:
        self._engine, self._tenants, self._outcome, self._dice = engine, tenants, outcome, dice

    async def work(self, end: float) -> None:
        """Go on until then."""
        weighted = {
            self._write: 40,
            self._recall: 32,
            self._list: 6,
            self._update: 6,
            self._delete: 6,
            self._state: 8,
            self._forget: 2,
        }
        operations, weights = list(weighted), list(weighted.values())
        while time.monotonic() < end:
            tenant = self._dice.choice(self._tenants)
            (operation,) = self._dice.choices(operations, weights)
            async with tenant.lock:
                try:
                    await operation(tenant)
                except ResourceExhaustedError as error:
                    self._outcome.operations["refusal"] += 1
                    await asyncio.sleep(error.retry_after or 0.0)
                    continue
            self._outcome.operations[operation.__name__.removeprefix("_")] += 1
            self._outcome.most_bytes = max(self._outcome.most_bytes, self._engine.residency.used)

    async def _write(self, tenant: _Tenant) -> None:
        new = {f"{tenant.name}-{tenant.written + i}": tenant.sentence() for i in range(self._dice.randint(1, 4))}
        tenant.written += len(new)
        payloads = [encode_payload(id, Content(text=text, session=id[-1])) for id, text in new.items()]
        await self._engine.write(tenant.name, payloads, applied=self._dice.random() < 0.1)
        tenant.texts |= new

    async def _recall(self, tenant: _Tenant) -> None:
        # The canary of another tenant is asked for as often as not.
        asked = self._dice.choice(self._tenants) if self._dice.random() < 0.5 else tenant
        query = f"{asked.canary} {self._dice.choice(WORDS)}"
        found = await self._engine.reads.recall(tenant.name, query, k=K, neighbours=1, max_tokens=200)
        for hit in found.hits:
            self._look(tenant, [hit.entry, *hit.before, *hit.after])
        self._look_for_foreign(tenant, found.context)
        if len(found.hits) != min(K, len(tenant.texts)):
            self._outcome.wrong.append(f"{tenant.name}: {len(found.hits)} hits of {len(tenant.texts)} entries")
        if len(tenant.recalls) < NOTED:
            scores = [(hit.entry.number, hit.ranked.score) for hit in found.hits]
            tenant.recalls.append((found.applied_seq, query, scores))

    async def _list(self, tenant: _Tenant) -> None:
        entries, _ = await self._engine.reads.list_entries(tenant.name, 0, 1000, Filter(), PAGE_BYTES)
        self._look(tenant, entries)
        if len(entries) < min(1000, len(tenant.texts)):
            self._outcome.wrong.append(f"{tenant.name}: lists {len(entries)} of {len(tenant.texts)} entries")

    async def _state(self, tenant: _Tenant) -> None:
        stats = await self._engine.reads.stats(tenant.name, state_hash=True)
        if stats.entries != len(tenant.texts):
            self._outcome.wrong.append(f"{tenant.name}: counts {stats.entries} of {len(tenant.texts)} entries")
        if len(tenant.states) < NOTED:
            tenant.states[stats.applied_seq] = stats.state_hash

    async def _update(self, tenant: _Tenant) -> None:
        if tenant.texts:
            id, text = self._dice.choice(list(tenant.texts)), tenant.sentence()
            payload = encode_payload(id, Content(text=text, session=id[-1]))
            await self._engine.changes.update_entry(tenant.name, payload, tenant.request_id())
            tenant.texts[id] = text

    async def _delete(self, tenant: _Tenant) -> None:
        if tenant.texts:
            id = self._dice.choice(list(tenant.texts))
            await self._engine.changes.delete_entry(tenant.name, id, tenant.request_id())
            del tenant.texts[id]

    async def _forget(self, tenant: _Tenant) -> None:
        if tenant.texts:
            id = self._dice.choice(list(tenant.texts))
            # Refused, it is still there.
            asked = await self._engine.changes.forget(tenant.name, [id], None, tenant.request_id())
            # What it was, with the text, cannot be folded again.
            tenant.recalls.clear()
            tenant.states.clear()
            del tenant.texts[id]
            await self._erased(asked.erasure.operation)

    async def _erased(self, operation: str) -> None:
        while True:
            if (await self._engine.changes.erasure(operation)).receipt is not None:
                return
            await asyncio.sleep(0.01)

    def _look(self, tenant: _Tenant, entries: Iterable[StoredEntry]) -> None:
        for entry in entries:
            text = decode_payload(entry.payload).text
            self._outcome.answers += 1
            self._look_for_foreign(tenant, text)
            if tenant.texts.get(entry.payload.id) != text:
                self._outcome.wrong.append(f"{tenant.name}: {entry.payload.id}")

    def _look_for_foreign(self, tenant: _Tenant, text: str) -> None:
        if set(CANARY.findall(text)) - {tenant.canary}:
            self._outcome.foreign.append(f"{tenant.name}: {text}")


# --- alone ----------------------------------------------------------------------------------------------------------


async def _compare(
    data: Path, tenants: Sequence[_Tenant], final: dict[str, str], open_store: StoreFactory
) -> Counter[str]:
    """Fold each tenant's log by itself; returns how many states and recalls differ."""
    prepare_thread(THREADS)
    encoder = load_encoder(ENCODER, threads=THREADS)
    store = open_store(data)
    differ: Counter[str] = Counter()
    try:
        for first in told(range(0, len(tenants), TOLD), "tenants folded alone"):
            for tenant in tenants[first : first + TOLD]:
                records = await _log(store, tenant)
                _fold(tenant, records, final[tenant.name], Runner(encoder, slots=1), differ)
    finally:
        await store.close()
    return differ


async def _log(store: Store, tenant: _Tenant) -> list[Record]:
    row = await store.get_tenant(tenant.name)
    if row is None:
        raise RuntimeError(f"{tenant.name} is gone")
    records: list[Record] = []
    while page := await store.read(row.uid, records[-1].seq if records else 0, PAGE_BYTES):
        records += page
    return records


def _fold(tenant: _Tenant, records: Sequence[Record], final: str, runner: Runner, differ: Counter[str]) -> None:
    """Fold a log, and look at the states on the way that were noted."""
    view, ingest = View(runner.encoder.dim), Ingest(runner)
    ingest.attach(lane := Lane(tenant.name, view, lambda record: None, _raise))
    config = EngineConfig().recall
    for record in records:
        ingest.push(lane, record)
        while ingest.unit(UNIT_TOKENS):
            pass
        noted = tenant.states.get(record.seq)
        differ["states"] += noted not in {None, view.state_hash(runner.weights(tenant.name))}
        for _, query, scores in (recall for recall in tenant.recalls if recall[0] == record.seq):
            ranked = rank(view.index, runner.query(tenant.name, query), config, K, None)
            differ["recalls"] += scores != [(hit.number, hit.score) for hit in ranked]
    differ["states"] += final != view.state_hash(runner.weights(tenant.name))


def _raise(error: BaseException) -> None:
    raise error

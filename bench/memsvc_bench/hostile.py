"""One hostile tenant among many: what the others wait, with it and without, and whether the server stays what it is.

Phases with the attack and without take turns in one run, so that what else happens to the machine, and how much the
server has stored, falls on both alike. The attack's connections stay open in all of them; its tenant is deleted after
each attack, with whatever waits to be folded. Its process stands behind the server and the others where processors are
few: in a network it would have its own.
"""

import signal
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from memsvc_bench.footprint import memory_bytes
from memsvc_bench.fuzz_server import fault_in
from memsvc_bench.hostile_process import Part
from memsvc_bench.progress import told
from memsvc_bench.report import Check, Result, describe_machine
from memsvc_bench.server_process import ServerProcess

PHASE_S = 15.0
SETTLE_S = 1.0
"""Between two phases: what was under way ends."""
NICENESS = 15
DRAINED_S = 10.0
"""How much longer than its grace a server may take to end: it waits up to 5 s for records under way, and saves."""
MOST_RATIO = 2.0
MOST_GROWTH_MIB = 128
ENTRY_BYTES = 6 << 10
"""What a stored entry may add to the server's memory: its vector, terms, hashes and places in the index, and room for
more, about three times what `memsvc bench footprint` measures."""
KINDS = ("write", "recall")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much is done."""

    minutes: float = 10.0
    connections: int = 500
    """In all, half of them the hostile tenant's."""
    tenants: int = 64
    """In all, one of them hostile."""
    rate: float = 40.0
    """Calls of the others a second, half of them writes."""
    phase_s: float = PHASE_S
    drain_s: float = 10.0
    """The server's grace at its end."""

    @property
    def rounds(self) -> int:
        """Phases of each kind."""
        return max(1, round(60 * self.minutes / (2 * (self.phase_s + SETTLE_S))))


QUICK = Scale(minutes=0.05, connections=24, tenants=6, rate=20.0, phase_s=2.0, drain_s=1.0)


@dataclass(slots=True)
class _Seen:
    """What was measured."""

    latencies: dict[str, dict[str, list[float]]] = field(
        default_factory=lambda: {phase: {kind: [] for kind in KINDS} for phase in ("alone", "attacked")}
    )
    """Milliseconds, by phase and kind of call."""
    failed: Counter[str] = field(default_factory=Counter)
    """Calls of the others that were refused or broken off."""
    did: Counter[str] = field(default_factory=Counter)
    """What the hostile tenant did and was answered."""
    drained_s: float = float("inf")
    ended_with: int | None = None


def bench(*, scale: Scale, config: Path | None = None, seed: int = 0) -> Result:
    """`memsvc bench hostile`.

    Args:
        scale: how much.
        config: a TOML file for the server: quotas, say; without it the server's defaults hold.
        seed: of all that is random.

    Raises:
        RuntimeError: the server did not start, or a part of the load ended.
    """
    with TemporaryDirectory() as scratch:
        options = ("--encoder", "kmer", "--threads", "1", *(() if config is None else ("--config", str(config))))
        server = ServerProcess(Path(scratch) / "data", options, environment={"MEMSVC_DRAIN_S": str(scale.drain_s)})
        with server:
            memory = _Memory(server)
            seen = _attack(server, memory, scale, seed)
        fault = fault_in(server.log.read_text(errors="replace"))
    rows = {
        f"{kind}, ms": {
            phase: round(float(np.percentile(seen.latencies[phase][kind], 99)), 2) for phase in seen.latencies
        }
        for kind in KINDS
    }
    taken = seen.did["entries taken"] + seen.did["entries taken from a stream"]
    # Of the others: the hostile tenant is deleted after each attack, so that what it stored may not stay.
    written = 2 * sum(len(phase["write"]) for phase in seen.latencies.values())
    grown = memory.growth_mib - written * ENTRY_BYTES / (1 << 20)
    chosen = "" if config is None else f" --config {config.name}"
    return Result(
        machine=describe_machine(),
        command=f"memsvc bench hostile --minutes {scale.minutes:g} --seed {seed}{chosen}",
        figures={
            "connections": scale.connections,
            "tenants": scale.tenants,
            "calls_of_the_others": sum(len(values) for phase in seen.latencies.values() for values in phase.values()),
            "entries_of_the_hostile_tenant_taken": taken,
            "most_mib": memory.most_mib,
            "grew_mib": round(memory.growth_mib, 1),
            "drained_s": round(seen.drained_s, 1),
            **{f"p99 of a {name}": row for name, row in rows.items()},
            **{f"the hostile tenant: {what}": {"times": n} for what, n in sorted(seen.did.items())},
            **({"failed": dict(seen.failed)} if seen.failed else {}),
            **({"fault": fault} if fault else {}),
        },
        checks=[
            *(Check.at_most(f"p99 of a {kind}, attacked over alone", _ratio(seen, kind), MOST_RATIO) for kind in KINDS),
            Check.at_most("calls of the others that failed", seen.failed.total(), 0),
            Check.at_least("calls of the hostile tenant that a limit refused", seen.did["RESOURCE_EXHAUSTED"], 1),
            Check.at_most("MiB that it grew by, beyond what the others store", grown, MOST_GROWTH_MIB),
            Check.at_most("seconds to drain under attack, beyond its grace", seen.drained_s - scale.drain_s, DRAINED_S),
            Check.holds("it ended as asked", seen.ended_with == 0),
            Check.holds("no fault is in its log", not fault),
        ],
    )


def _attack(server: ServerProcess, memory: "_Memory", scale: Scale, seed: int) -> _Seen:
    seen, half = _Seen(), scale.connections // 2
    common = (server.target, str(scale.tenants - 1), str(scale.connections - half), str(scale.rate), str(seed))
    with (
        Part("memsvc_bench.hostile_load", *common) as load,
        Part("memsvc_bench.hostile_attack", server.target, str(half), str(seed), niceness=NICENESS) as attack,
    ):
        load.ask(prepare=True)
        attack.ask(prepare=True)
        with memory:
            for number in told(range(scale.rounds), "rounds"):
                for phase in ("alone", "attacked") if number % 2 else ("attacked", "alone"):
                    _phase(seen, phase, load, attack, scale.phase_s)
        attack.ask(go=True)
        time.sleep(SETTLE_S)
        began = time.monotonic()
        server.send(signal.SIGTERM)
        if server.ends_within(scale.drain_s + 6 * DRAINED_S):
            seen.drained_s, seen.ended_with = time.monotonic() - began, server.returncode
    return seen


def _phase(seen: _Seen, phase: str, load: Part, attack: Part, seconds: float) -> None:
    if phase == "attacked":
        attack.ask(go=True)
    time.sleep(SETTLE_S)
    measured = load.ask(seconds=seconds)
    if phase == "attacked":
        seen.did.update(attack.ask(pause=True)["did"])
    for kind, values in measured["latencies"].items():
        seen.latencies[phase][kind] += values
    seen.failed.update(measured["failed"])


def _ratio(seen: _Seen, kind: str) -> float:
    alone, attacked = (np.percentile(seen.latencies[phase][kind], 99) for phase in ("alone", "attacked"))
    return float(attacked / alone)


class _Memory:
    """Looks at a server's memory, every second, while it is entered."""

    def __init__(self, server: ServerProcess) -> None:
        self._server, self._ended = server, threading.Event()
        self._samples: list[int] = []
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(1.0 if self._samples else 0.0):
            self._samples.append(memory_bytes(self._server))

    @property
    def most_mib(self) -> int:
        """The most there was."""
        return max(self._samples) >> 20

    @property
    def growth_mib(self) -> float:
        """From the first quarter of the run to the last, by the median of each: what comes and goes is none."""
        quarter = max(1, len(self._samples) // 4)
        first, last = np.median(self._samples[:quarter]), np.median(self._samples[-quarter:])
        return float(last - first) / (1 << 20)

"""The surprise gate: what it costs recall, and what it saves the writers, by policy."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any

import numpy as np
from memsvc_client import MemoryClient

from memsvc.engine.runner import Runner, prepare_thread
from memsvc.memory.config import Gate, MemoryConfig
from memsvc.recall.encoder import load_encoder
from memsvc.recall.rank import RankConfig, rank
from memsvc_bench import locomo
from memsvc_bench import service_load as load
from memsvc_bench.corpus import Stream
from memsvc_bench.progress import told
from memsvc_bench.remembering import Remembering
from memsvc_bench.report import Check, Result, describe_machine
from memsvc_bench.retrieval import DENSE, KS, THREADS, Floats, folded, interval, recall_at
from memsvc_bench.server_process import ServerProcess

DEFAULT = "off"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A gate, as tenants are given it."""

    gate: Gate = "off"
    value: float = 0.0


POLICIES: Mapping[str, Policy] = MappingProxyType(
    {
        "off": Policy(),
        "quantile .25": Policy(gate="quantile", value=0.25),
        "quantile .5": Policy(gate="quantile", value=0.5),
        "quantile .75": Policy(gate="quantile", value=0.75),
        "quantile .9": Policy(gate="quantile", value=0.9),
        "fixed .3": Policy(gate="fixed", value=0.3),
    }
)


def bench(data: Path, *, encoder: str = "minilm", rounds: int = 3) -> Result:
    """`memsvc bench gate`.

    Args:
        data: a LoCoMo file.
        encoder: by name.
        rounds: how often each policy's writing is timed, turn and turn about.

    Raises:
        ValueError: the file is not LoCoMo's.
        RuntimeError: the server did not start.
    """
    prepare_thread(THREADS)
    streams = locomo.load(data)
    remembering = Remembering(load_encoder(encoder, threads=THREADS, dtype="auto"))
    rows = {name: _recall(remembering, streams, policy) for name, policy in told(POLICIES.items(), "gates")}
    rates = _write(encoder, [entry.text for stream in streams for entry in stream.entries], rounds)
    figures: dict[str, Any] = {"corpus": locomo.digest(data)}
    for name, (wrote, dense, full) in rows.items():
        figures[name] = {
            "tokens_that_wrote": wrote,
            "dense @10": float(dense.mean()),
            "dense, less off": _difference(dense - rows[DEFAULT][1]),
            "full @10": float(full.mean()),
            "full, less off": _difference(full - rows[DEFAULT][2]),
            "writing, share of off": rates[name] / rates[DEFAULT],
        }
    best = max(float(full.mean()) for _, _, full in rows.values())
    checks = [Check.at_least("full recall @10 of the default over the best", figures[DEFAULT]["full @10"] / best, 0.99)]
    command = f"memsvc bench gate --data {data.name}"
    return Result(machine=describe_machine(), command=command, figures=figures, checks=checks)


def _difference(differences: Floats) -> str:
    low, mean, high = interval(differences)
    return f"{mean:+.3f} [{low:+.3f}, {high:+.3f}]"


def _recall(encoder: Remembering, streams: Sequence[Stream], policy: Policy) -> tuple[float, Floats, Floats]:
    """Return the share of tokens that wrote, and each question's recall @10, dense alone and full."""
    runner = Runner(encoder, slots=len(streams))
    config = replace(MemoryConfig(width=encoder.dim), gate=policy.gate, gate_value=policy.value)
    stepped = wrote = 0
    rows: list[tuple[float, float]] = []
    for stream in streams:
        view = folded(runner, stream, config)
        stepped, wrote = stepped + view.totals.stepped, wrote + view.totals.wrote
        for question in stream.questions:
            query = runner.query(stream.name, question.text)
            found = [rank(view.index, query, ranking, max(KS)) for ranking in (DENSE, RankConfig())]
            dense, full = (recall_at([hit.number - 1 for hit in hits], question.gold) for hits in found)
            rows.append((dense[KS.index(10)], full[KS.index(10)]))
        runner.detach(stream.name)
    dense, full = np.array(rows).T
    return wrote / max(stepped, 1), dense, full


def _write(encoder: str, turns: Sequence[str], rounds: int) -> dict[str, float]:
    """Return the tokens a second that the service takes under each policy."""
    seconds: dict[str, list[float]] = {name: [] for name in POLICIES}
    with TemporaryDirectory() as scratch:
        server = ServerProcess(Path(scratch) / "data", ["--encoder", encoder, "--threads", str(THREADS)])
        with server, MemoryClient(server.target) as client:
            load.ingest(client, "warm", turns[:100])
            for i in range(rounds):
                for number, (name, policy) in enumerate(POLICIES.items()):
                    tenant = f"{number}-{i}"
                    client.create_tenant(tenant, gate=policy.gate, gate_value=policy.value)
                    seconds[name].append(load.ingest(client, tenant, turns))
                    client.delete_tenant(tenant)
            server.stop()
    return {name: 1 / statistics.median(times) for name, times in seconds.items()}

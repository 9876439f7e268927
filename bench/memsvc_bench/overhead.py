"""What it costs a unary call to be watched: servers with and without, side by side, called by turns.

A machine's speed drifts, so every caller asks one server after the other, each once, in an order that goes round: all
of them live through the same moments. What is measured is the processor's time of the server's process, which is what
bounds its throughput; what a caller waits stands beside it.

Two processes of the same program differ by some parts in a hundred, for where things happen to lie in memory. So all of
them are started afresh several times; "plain again" shows what is left of that.
"""

import asyncio
import threading
import time
import urllib.request
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any, NamedTuple

import grpc
import numpy as np
from memsvc_client import AsyncMemoryClient, Entry

from memsvc_bench.progress import told
from memsvc_bench.redis_process import free_port
from memsvc_bench.report import Check, Result, describe_machine
from memsvc_bench.server_process import ServerProcess

TENANT = "t"
CONCURRENT = 8
SCRAPE_S = 15.0
MOST_OVERHEAD = 0.05
RESAMPLES = 2000
SAME: Mapping[str, str] = MappingProxyType({"PYTHONHASHSEED": "0"})
"""Of all servers: what may be alike is alike."""
KEY = "of-" + 32 * "k"
"""Known to the server that asks for one."""
EXPORT = "opentelemetry.proto.collector.trace.v1.TraceService"


@dataclass(frozen=True, slots=True)
class Variant:
    """One way for a server to be watched, beside the plain one."""

    name: str
    environment: Mapping[str, str]
    """Of the server."""
    client: Mapping[str, Any] = field(default_factory=dict)
    """Options of the client that calls it."""
    most: float | None = MOST_OVERHEAD
    """What it may cost, as a share; None where that is only told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much is measured."""

    starts: int = 10
    """Of every server."""
    calls: int = 1600
    """To each server, of each method, after each start."""
    settle_s: float = 5.5
    """Afterwards, until spans are handed over."""


FULL = Scale()
QUICK = Scale(starts=2, calls=40, settle_s=0.0)


class Cost(NamedTuple):
    """Of all calls of one method to one server."""

    cpu: float
    """Seconds of the server's process."""
    wall: float
    """Seconds of the median call, as its caller sees it."""


async def _get(client: AsyncMemoryClient) -> None:
    await client.get_entry(TENANT, "e")


async def _write(client: AsyncMemoryClient) -> None:
    await client.write(TENANT, Entry("a short thing to say"))


METHODS: Mapping[str, Callable[[AsyncMemoryClient], Awaitable[None]]] = MappingProxyType({"get": _get, "write": _write})


def variants(collector: str, key_file: Path) -> list[Variant]:
    """Return what is compared with the plain server. Whatever else surrounds a call gets its line here."""
    traces = {"MEMSVC_OTLP_ENDPOINT": collector}
    some_traces = {**traces, "MEMSVC_TRACE_SHARE": "0.1"}
    keys = {"MEMSVC_AUTH": "true", "MEMSVC_AUTH_ADMIN_KEY_FILE": str(key_file)}
    return [
        Variant("plain again", {}, most=None),
        Variant("keys", keys, {"api_key": KEY}),
        Variant("metrics", _metrics()),
        Variant("traces, one in ten", some_traces),
        Variant("traces, all", {**traces, "MEMSVC_TRACE_SHARE": "1"}, most=None),
        Variant("keys, metrics and one trace in ten", {**keys, **_metrics(), **some_traces}, {"api_key": KEY}),
    ]


def _metrics() -> dict[str, str]:
    return {"MEMSVC_METRICS_PORT": str(free_port())}


def bench(*, seed: int = 0, scale: Scale = FULL) -> Result:
    """`memsvc bench overhead`.

    Raises:
        RuntimeError: a server did not start.
    """
    figures: dict[str, Any] = {"starts": scale.starts, "calls after each": scale.calls}
    checks = []
    generator = np.random.default_rng(seed)
    found: dict[str, list[Cost]] = {}
    with TemporaryDirectory() as scratch, _collector() as collector:
        key_file = Path(scratch) / "key"
        key_file.write_text(KEY)
        chosen = variants(collector, key_file)
        for start in told(range(scale.starts), "starts"):
            for name, cost in _start(Path(scratch) / str(start), chosen, scale).items():
                found.setdefault(name, []).append(cost)
    for method in METHODS:
        for variant in chosen:
            name = f"{method}, {variant.name}"
            cpu, low, high = _interval([cost.cpu for cost in found[name]], generator)
            figures[name] = {
                "cpu_share_more": cpu - 1,
                "at_least": low - 1,
                "at_most": high - 1,
                "wall_share_more": median(cost.wall for cost in found[name]) - 1,
            }
            if variant.most is not None:
                checks.append(Check.at_most(f"{name}: more processor time", cpu - 1, variant.most))
    command = f"memsvc bench overhead --starts {scale.starts} --seed {seed}"
    return Result(machine=describe_machine(), command=command, figures=figures, checks=checks)


def _start(directory: Path, chosen: Sequence[Variant], scale: Scale) -> dict[str, Cost]:
    """Start all servers, and return what each variant takes over what the plain one does, by method and name."""
    directory.mkdir()
    costs: dict[str, Cost] = {}
    with ExitStack() as stack:
        every = [Variant("plain", {}), *chosen]
        servers = [stack.enter_context(_server(directory / f"data{i}", each)) for i, each in enumerate(every)]
        stack.enter_context(_scraped(_ports(chosen)))
        for name, method in METHODS.items():
            plain, *others = asyncio.run(_call(every, servers, method, scale))
            for variant, cost in zip(chosen, others, strict=True):
                costs[f"{name}, {variant.name}"] = Cost(cost.cpu / plain.cpu, cost.wall / plain.wall)
    return costs


def _ports(chosen: Sequence[Variant]) -> list[int]:
    """Return where there are metrics."""
    return [int(port) for variant in chosen if (port := variant.environment.get("MEMSVC_METRICS_PORT"))]


async def _call(
    variants: Sequence[Variant],
    servers: Sequence[ServerProcess],
    method: Callable[[AsyncMemoryClient], Awaitable[None]],
    scale: Scale,
) -> list[Cost]:
    """Call all servers by turns; return what each of them took."""
    waited: list[list[float]] = [[] for _ in servers]

    async def caller(clients: Sequence[AsyncMemoryClient], first: int) -> None:
        for turn in range(first, first + scale.calls // CONCURRENT):
            for i in range(len(clients)):
                at = (turn + i) % len(clients)
                began = time.perf_counter()
                await method(clients[at])
                waited[at].append(time.perf_counter() - began)

    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(AsyncMemoryClient(server.target, **variant.client))
            for variant, server in zip(variants, servers, strict=True)
        ]
        for client in clients:  # it connects
            await method(client)
        before = [_cpu_seconds(server.pid) for server in servers]
        await asyncio.gather(*(caller(clients, first) for first in range(CONCURRENT)))
        await asyncio.sleep(scale.settle_s)
        return [
            Cost(_cpu_seconds(server.pid) - cpu, median(times))
            for server, cpu, times in zip(servers, before, waited, strict=True)
        ]


def _cpu_seconds(pid: int | None) -> float:
    """Return the processor's time that a process has taken, of all its threads."""
    return sum(int(task.read_text().split()[0]) for task in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


def _interval(ratios: Sequence[float], generator: np.random.Generator) -> tuple[float, float, float]:
    """Return the median of some ratios, and where it lies in 95 of a hundred."""
    drawn = np.median(generator.choice(np.asarray(ratios), (RESAMPLES, len(ratios))), axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(np.median(ratios)), float(low), float(high)


@contextmanager
def _server(data: Path, variant: Variant) -> Iterator[ServerProcess]:
    options = ["--encoder", "kmer", "--threads", "1", "--log-level", "info"]
    with ServerProcess(data, options, environment={**SAME, **variant.environment}) as server:

        async def prepare() -> None:
            async with AsyncMemoryClient(server.target, **variant.client) as client:
                await client.create_tenant(TENANT)
                await client.write(TENANT, Entry("a thing to get", id="e"), wait="applied")

        asyncio.run(prepare())
        yield server


@contextmanager
def _scraped(ports: Sequence[int]) -> Iterator[None]:
    """Read servers' metrics as often as Prometheus would."""
    done = threading.Event()

    def scrape() -> None:
        while not done.wait(SCRAPE_S):
            for port in ports:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as page:
                    page.read()

    thread = threading.Thread(target=scrape)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@contextmanager
def _collector() -> Iterator[str]:
    """Take spans as a collector would, and forget them; yields where."""
    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(lambda request, context: b"")
    server = grpc.server(ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(EXPORT, {"Export": handler})])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.stop(None).wait()

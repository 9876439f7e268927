"""The memory's kernels beside titans-pytorch's NeuralMemory and the machine's peak in matrix products, by turns.

FLOPs are counted as in `kernel_work`, so the share of the peak is what is left after all that is not counted.
"""

import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any

import torch

from memsvc.dtypes import choose_dtype
from memsvc.engine.runner import prepare_thread
from memsvc.memory.config import MemoryConfig
from memsvc.memory.device import CpuDevice
from memsvc.memory.state import MemoryStack
from memsvc.memory.step import read, update
from memsvc_bench.kernel_work import TITANS, counted_flops, draw_tokens
from memsvc_bench.progress import told
from memsvc_bench.report import Check, Result, describe_machine
from memsvc_bench.titans_peer import TitansPeer

WAYS: Mapping[str, torch.dtype] = MappingProxyType({"memsvc": torch.float32, "memsvc, bfloat16": torch.bfloat16})
"""Products of the weights' own numbers, and of rounded ones."""
SHARE_OF_PEAK: Mapping[str, float] = MappingProxyType({"memsvc": 0.8, "memsvc, bfloat16": 1.4})
"""Of the peak in float32 that a write must reach, at depth 2."""
FASTER: Mapping[int, float] = MappingProxyType({1: 5.0, 16: 8.0})
"""How many times titans-pytorch's tokens/s a write must reach, by the number of tenants, at depth 2."""
PEAK_SIZES = (512, 1024, 2048)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much is measured."""

    width: int = 384
    depths: Sequence[int] = (2, 4, 8, 12)
    chunk: int = 64
    tenants: Sequence[int] = (1, 16)
    """Batched together."""
    threads: int = 2
    rounds: int = 5
    seconds: float = 1.0
    """Of each measurement in each round."""
    peak_sizes: Sequence[int] = PEAK_SIZES
    """Widths of the square products that the peak is the best of."""


FULL = Scale()
QUICK = Scale(width=32, depths=(2, 3), chunk=8, tenants=(1, 2), threads=1, rounds=1, seconds=0.01, peak_sizes=(64,))


def bench(*, scale: Scale = FULL) -> Result:
    """`memsvc bench kernels`."""
    load_before = os.getloadavg()[0]
    prepare_thread(scale.threads)
    installed = find_spec("titans_pytorch") is not None
    peak = peak_flops(scale)
    figures: dict[str, Any] = {
        "load_average_before": load_before,
        TITANS: version(TITANS) if installed else "not installed",
        "threads": scale.threads,
        "fp32_peak_gflop_per_s": peak / 1e9,
    }
    checks: list[Check] = []
    cases = [(depth, tenants) for depth in scale.depths for tenants in scale.tenants]
    for depth, tenants in told(cases, "shapes"):
        rates = _rates(scale, depth, tenants, titans=installed)
        counted = counted_flops(depth, scale.width)
        for (way, what), rate in rates.items():
            row = {"tokens_per_s": rate, "counted_gflop_per_s": rate * counted[what] / 1e9}
            row["share_of_peak"] = rate * counted[what] / peak
            figures[f"depth {depth}, tenants {tenants}, {what}: {way}"] = row
        if depth == 2:
            for way, least in SHARE_OF_PEAK.items():
                share = rates[way, "write"] * counted["write"] / peak
                checks.append(Check.at_least(f"tenants {tenants}, write: share of the peak, {way}", share, least))
            if installed and tenants in FASTER:
                times = max(rates[way, "write"] for way in WAYS) / rates[TITANS, "write"]
                checks.append(Check.at_least(f"tenants {tenants}, write: over {TITANS}", times, FASTER[tenants]))
    figures["load_average_after"] = os.getloadavg()[0]
    depths, batched = (",".join(map(str, numbers)) for numbers in (scale.depths, scale.tenants))
    command = (
        f"memsvc bench kernels --depths {depths} --tenants {batched} --chunk {scale.chunk} --threads {scale.threads}"
    )
    return Result(machine=describe_machine(), command=command, figures=figures, checks=checks)


def peak_flops(scale: Scale) -> float:
    """Return the most FLOP/s that a square product in float32 reaches, over some sizes and rounds."""
    best = 0.0
    for size in scale.peak_sizes:
        a, b, out = (torch.randn(size, size) for _ in range(3))
        for _ in range(scale.rounds):
            products = _per_second(partial(torch.mm, a, b, out=out), scale.seconds)
            best = max(best, products * 2 * size**3)
    return best


def step_rate(config: MemoryConfig, seconds: float) -> float:
    """Return the tokens/s of one memory's steps alone, chunk after chunk, computed as the service does."""
    device = CpuDevice(choose_dtype("auto", "memory_dtype"))
    stack, tokens = MemoryStack(config, 1, device=device), draw_tokens(1, config.chunk, config.width)
    step = partial(update, stack, [0], [config], [0.0], tokens)
    step()
    return config.chunk * _per_second(step, seconds)


def _rates(scale: Scale, depth: int, tenants: int, *, titans: bool) -> dict[tuple[str, str], float]:
    """Return the median tokens/s of each way and operation."""
    config = MemoryConfig(layers=depth, width=scale.width, chunk=scale.chunk)
    stacks = {way: MemoryStack(config, tenants, device=CpuDevice(products)) for way, products in WAYS.items()}
    tokens, slots = draw_tokens(tenants, scale.chunk, scale.width), range(tenants)

    def write(way: str) -> None:
        update(stacks[way], slots, [config] * tenants, [0.0] * tenants, tokens)

    def ask() -> None:
        for slot in slots:
            read(stacks["memsvc"], slot, tokens[slot])

    chunks = tenants * scale.chunk
    calls: dict[tuple[str, str], tuple[Callable[[], object], int]] = {
        **{(way, "write"): (partial(write, way), chunks) for way in WAYS},
        ("memsvc", "read"): (ask, chunks),
    }
    if titans:
        peer = TitansPeer(tenants, depth, scale.width, scale.chunk)
        calls[TITANS, "write"] = (partial(peer.write, tokens), chunks)
        calls[TITANS, "read"] = (partial(peer.read, tokens), tenants * (scale.chunk - 1))
    found: dict[tuple[str, str], list[float]] = {name: [] for name in calls}
    for call, _ in calls.values():
        call()  # warms up
    for _ in range(scale.rounds):
        for name, (call, count) in calls.items():
            found[name].append(count * _per_second(call, scale.seconds))
    return {name: statistics.median(rates) for name, rates in found.items()}


def _per_second(call: Callable[[], object], seconds: float) -> float:
    """Call it for so long at least, and return how often a second."""
    calls, start = 0, time.perf_counter()
    while (taken := time.perf_counter() - start) < seconds or not calls:
        call()
        calls += 1
    return calls / taken

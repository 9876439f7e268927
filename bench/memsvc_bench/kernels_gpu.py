"""The memory's kernels on a GPU beside titans-pytorch's NeuralMemory on it, and beside what the GPU can do at most.

FLOPs are counted as in `kernel_work`. Of memory traffic what cannot be avoided is counted: a write reads and writes Δ
and S of every tenant once, a read reads Δ once; in float32.
"""

import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from memsvc_kernels import Bounds, Rates, Weights, backend
from memsvc_kernels.triton import TritonBackend

from memsvc.memory.config import MemoryConfig
from memsvc.memory.state import initial_weights
from memsvc_bench.kernel_work import TITANS, counted_flops, draw_tokens
from memsvc_bench.progress import told
from memsvc_bench.report import Check, Result, describe_machine
from memsvc_bench.titans_peer import TitansPeer

OURS = "memsvc"
FASTER: Mapping[int, float] = MappingProxyType({64: 10.0})
"""How many times titans-pytorch's tokens/s a write must reach, by the number of tenants, at depth 2."""
FASTER_DEPTH = 2
LARGEST_DIFFERENCE = 1e-5
"""Of ‖Δ‖, from the CPU's float64."""
OUT_OF_MEMORY = "out of memory"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much is measured."""

    device: str = "cuda"
    width: int = 384
    depths: Sequence[int] = (2, 8)
    chunk: int = 64
    tenants: Sequence[int] = (1, 16, 64, 256)
    """Batched together."""
    rounds: int = 5
    seconds: float = 0.1
    """Of each measurement in each round."""
    peak_sizes: Sequence[int] = (4096, 8192)
    """Widths of the square products that a peak is the best of."""
    copied_bytes: int = 2**30
    steps: int = 8
    """After which Δ is compared."""


FULL = Scale()
QUICK = Scale(
    device="cpu",
    width=16,
    depths=(2, 3),
    chunk=4,
    tenants=(1, 2),
    rounds=1,
    seconds=0.0,
    peak_sizes=(64,),
    copied_bytes=2**16,
    steps=2,
)
"""Runs in Triton's interpreter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceilings:
    """What the device does at most."""

    flops: float
    """FLOP/s of a product in float32."""
    tf32_flops: float
    bandwidth: float
    """Bytes/s of a copy, read and written."""


def bench(*, scale: Scale = FULL) -> Result:
    """`memsvc bench kernels --device cuda`."""
    installed = find_spec("titans_pytorch") is not None
    ceilings = measure_ceilings(scale)
    figures: dict[str, Any] = {
        "gpu": torch.cuda.get_device_name() if scale.device == "cuda" else f"none: interpreted on {scale.device}",
        "triton": version("triton"),
        TITANS: version(TITANS) if installed else "not installed",
        "fp32_peak_gflop_per_s": ceilings.flops / 1e9,
        "tf32_peak_gflop_per_s": ceilings.tf32_flops / 1e9,
        "copy_gbyte_per_s": ceilings.bandwidth / 1e9,
    }
    checks: list[Check] = []
    for depth in scale.depths:
        difference = largest_difference(scale, depth)
        figures[f"depth_{depth}_difference"] = difference
        checks.append(Check.at_most(f"depth {depth}: Δ beside the CPU's float64", difference, LARGEST_DIFFERENCE))
    for depth, tenants in told([(depth, tenants) for depth in scale.depths for tenants in scale.tenants], "shapes"):
        seconds = _seconds(scale, depth, tenants, titans=installed)
        for (way, what), taken in seconds.items():
            row = OUT_OF_MEMORY if taken is None else _row(_Work(scale, depth, tenants, way, what), taken, ceilings)
            figures[f"depth {depth}, tenants {tenants}, {what}: {way}"] = row
        theirs, ours = seconds.get((TITANS, "write")), seconds[OURS, "write"]
        if depth == FASTER_DEPTH and tenants in FASTER and theirs and ours:
            checks.append(Check.at_least(f"tenants {tenants}, write: over {TITANS}", theirs / ours, FASTER[tenants]))
    options = {"depths": scale.depths, "tenants": scale.tenants, "chunk": [scale.chunk], "rounds": [scale.rounds]}
    chosen = " ".join(f"--{name} {','.join(map(str, numbers))}" for name, numbers in options.items())
    command = f"memsvc bench kernels --device {scale.device} {chosen}"
    return Result(machine=describe_machine(), command=command, figures=figures, checks=checks)


def measure_ceilings(scale: Scale) -> Ceilings:
    """Measure the device's products and copies."""
    count = scale.copied_bytes // 4
    source, target = torch.ones(count, device=scale.device), torch.empty(count, device=scale.device)
    taken = min(_seconds_of(partial(target.copy_, source), scale) for _ in range(scale.rounds))
    bandwidth = 2 * 4 * count / taken
    del source, target
    with _matmul_precision("highest"):
        flops = _product_flops(scale)
    with _matmul_precision("high"):
        tf32_flops = _product_flops(scale)
    return Ceilings(flops=flops, tf32_flops=tf32_flops, bandwidth=bandwidth)


def largest_difference(scale: Scale, depth: int) -> float:
    """Return ‖Δ − Δ'‖ / ‖Δ'‖ after some steps, Δ' by the CPU in float64; the largest of two tenants'."""
    tenants, config = 2, MemoryConfig(layers=depth, width=scale.width, chunk=scale.chunk)
    ours = _weights(config, tenants, scale.device)
    exact = _weights(config, tenants, "cpu", torch.float64)
    rates, bounds = _rates(config, tenants)
    tokens = draw_tokens(tenants * scale.steps, scale.chunk, scale.width)
    cpu, gpu = backend("cpu"), TritonBackend(scale.device)
    for chunk in tokens.view(scale.steps, tenants, scale.chunk, scale.width).unbind():
        there = chunk.to(scale.device)
        gpu.chunk_step(ours, range(tenants), there, there, rates=rates, bounds=bounds)
        wide = chunk.double()
        cpu.chunk_step(exact, range(tenants), wide, wide, rates=rates, bounds=bounds)
    apart = (ours.delta.cpu().double() - exact.delta).flatten(1).norm(dim=1)
    return float((apart / exact.delta.flatten(1).norm(dim=1)).max())


class _Work(NamedTuple):
    """What one call does."""

    scale: Scale
    depth: int
    tenants: int
    way: str
    what: str


def _row(work: _Work, taken: float, ceilings: Ceilings) -> dict[str, Any]:
    """Return what a call of so many seconds amounts to."""
    width, chunk = work.scale.width, work.scale.chunk
    # titans-pytorch reads a token less.
    tokens = work.tenants * (chunk - 1 if (work.way, work.what) == (TITANS, "read") else chunk)
    flops = tokens * counted_flops(work.depth, width)[work.what] / taken
    passes = {"write": 4, "read": 1}[work.what]
    traffic = passes * work.tenants * work.depth * width**2 * 4 / taken
    shares = flops / ceilings.flops, traffic / ceilings.bandwidth
    return {
        "milliseconds": taken * 1e3,
        "tokens_per_s": tokens / taken,
        "counted_gflop_per_s": flops / 1e9,
        "share_of_fp32_peak": shares[0],
        "counted_gbyte_per_s": traffic / 1e9,
        "share_of_bandwidth": shares[1],
        "bound_by": "products" if shares[0] > shares[1] else "memory",
    }


def _seconds(scale: Scale, depth: int, tenants: int, *, titans: bool) -> dict[tuple[str, str], float | None]:
    """Return the median seconds of each way's and operation's call; None where the device has too little memory."""
    config = MemoryConfig(layers=depth, width=scale.width, chunk=scale.chunk)
    weights = _weights(config, tenants, scale.device)
    rates, bounds = _rates(config, tenants)
    tokens, slots = draw_tokens(tenants, scale.chunk, scale.width).to(scale.device), range(tenants)
    arithmetic = TritonBackend(scale.device)
    calls: dict[tuple[str, str], Callable[[], object]] = {
        (OURS, "write"): partial(arithmetic.chunk_step, weights, slots, tokens, tokens, rates=rates, bounds=bounds),
        (OURS, "read"): partial(arithmetic.read, weights, slots, tokens),
    }
    if titans:
        peer = TitansPeer(tenants, depth, scale.width, scale.chunk, device=scale.device)
        calls[TITANS, "write"], calls[TITANS, "read"] = partial(peer.write, tokens), partial(peer.read, tokens)
    found: dict[tuple[str, str], list[float]] = {name: [] for name in calls}
    too_large: set[tuple[str, str]] = set()
    for _ in range(scale.rounds):
        for name, call in calls.items():
            if name in too_large:
                continue
            try:
                found[name].append(_seconds_of(call, scale))
            except torch.OutOfMemoryError:
                too_large.add(name)
    return {name: None if name in too_large else statistics.median(taken) for name, taken in found.items()}


def _weights(config: MemoryConfig, tenants: int, device: str, dtype: torch.dtype = torch.float32) -> Weights:
    """Return memories that have learnt nothing."""
    delta, momentum = (
        torch.zeros(tenants, config.layers, config.width, config.width, dtype=dtype, device=device) for _ in range(2)
    )
    return Weights(delta, momentum, initial_weights(config, torch.float32).to(device, dtype))


def _rates(config: MemoryConfig, tenants: int) -> tuple[Rates, Bounds]:
    """Return the rates and bounds that the service uses, with every gate open."""
    rates = (config.theta / config.chunk, config.eta, config.alpha, 0.0)
    bounds = (config.curvature, config.radius, config.clip)
    return (
        Rates(*(torch.full((tenants, config.chunk), rate, dtype=torch.float64) for rate in rates)),
        Bounds(*(torch.full((tenants,), bound, dtype=torch.float64) for bound in bounds)),
    )


def _product_flops(scale: Scale) -> float:
    best = 0.0
    for size in scale.peak_sizes:
        a, b, out = (torch.randn(size, size, device=scale.device) for _ in range(3))
        taken = min(_seconds_of(partial(torch.mm, a, b, out=out), scale) for _ in range(scale.rounds))
        best = max(best, 2 * size**3 / taken)
    return best


@contextmanager
def _matmul_precision(precision: str) -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _seconds_of(call: Callable[[], object], scale: Scale) -> float:
    """Return the seconds of one call, of as many as fill the time, after one that warms up."""
    call()
    one = _elapsed(call, 1, scale)
    count = max(1, math.ceil(scale.seconds / one))
    return _elapsed(call, count, scale) / count


def _elapsed(call: Callable[[], object], count: int, scale: Scale) -> float:
    """Return the seconds of so many calls, from an idle device to an idle device."""
    _wait(scale)
    start = time.perf_counter()
    for _ in range(count):
        call()
    _wait(scale)
    return time.perf_counter() - start


def _wait(scale: Scale) -> None:
    if scale.device == "cuda":
        torch.cuda.synchronize()

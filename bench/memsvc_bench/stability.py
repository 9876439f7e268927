"""Stability of the memory at its full width: adversarial streams, every depth, and how often each bound had to act."""

import os
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch

from memsvc.memory.config import MAX_LAYERS, MIN_LAYERS, MemoryConfig
from memsvc_bench.report import Check, Result, describe_machine
from memsvc_bench.streams import STREAMS, Stability, run_stability

THREADS = 2
WIDTH = 384
TOKENS = 1_000_000
"""With the default settings, over all depths and streams."""
FRACTION = 10
"""The other settings get one in so many of these."""
HARSH_THETA = 100.0
"""More than a thousand times the default: what no bound would survive without the others."""
OFF = 1e30
SETTINGS: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "default": {},
        "harsh step, all bounds": {"theta": HARSH_THETA},
        "harsh step, clip and radius": {"theta": HARSH_THETA, "curvature": OFF},
        "harsh step, radius alone": {"theta": HARSH_THETA, "curvature": OFF, "clip": OFF},
    }
)
"""What the memory learns with; each bound has to act in one of them."""
ROUNDING = 1e-5
"""What a projected norm may exceed its radius by, relatively, in float32."""


def bench(*, tokens: int = TOKENS, width: int = WIDTH) -> Result:
    """`memsvc bench stability`.

    Args:
        tokens: with the default settings, over all depths and streams, rounded up to whole chunks of each.
        width: of the memory.
    """
    torch.set_num_threads(THREADS)
    depths = range(MIN_LAYERS, MAX_LAYERS + 1)
    start = time.perf_counter()
    runs: dict[str, list[Stability]] = {name: [] for name in SETTINGS}
    for name, changes in SETTINGS.items():
        each = tokens // (len(depths) * len(STREAMS)) // (FRACTION if changes else 1)
        for layers in depths:
            config = MemoryConfig(layers=layers, width=width, **changes)  # type: ignore[arg-type]  # all of them are floats
            runs[name] += run_stability([config], list(STREAMS), each)
    everything = [run for of_setting in runs.values() for run in of_setting]
    figures: dict[str, Any] = {
        "load_average_after": os.getloadavg()[0],
        "width": width,
        "depths": f"{MIN_LAYERS}-{MAX_LAYERS}",
        "seconds": time.perf_counter() - start,
    }
    for stream in STREAMS:
        figures[f"default, {stream}"] = _row([run for run in runs["default"] if run.stream == stream])
    for layers in depths:
        figures[f"default, {layers} layers"] = _row([run for run in runs["default"] if run.layers == layers])
    figures |= {name: _row(of_setting) for name, of_setting in runs.items()}
    return Result(
        machine=describe_machine(),
        command="memsvc bench stability",
        figures=figures,
        checks=[
            Check.holds("weights and momentum are finite", all(run.finite for run in everything)),
            Check.at_most("largest norm over its radius", max(run.radius_share for run in everything), 1 + ROUNDING),
        ],
    )


def _row(runs: list[Stability]) -> dict[str, Any]:
    """Some runs together; chunks as shares of all of theirs."""
    chunks = sum(run.tokens for run in runs) // MemoryConfig().chunk
    return {
        "tokens": sum(run.tokens for run in runs),
        "bound_share": sum(run.bounded for run in runs) / chunks,
        "clip_share": sum(run.clipped for run in runs) / chunks,
        "radius_share": sum(run.projected for run in runs) / chunks,
        "skipped_share": sum(run.skipped for run in runs) / chunks,
        "largest_norm_over_radius": max(run.radius_share for run in runs),
        "finite": all(run.finite for run in runs),
    }

"""Finds the fastest tiles on the GPU at hand and writes them into the table: `python -m memsvc_kernels.triton.tune`.

Results change in their last bits with the table, which is therefore committed and never tuned while serving.
"""

import argparse
import itertools
import json
import math
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch
from triton.runtime.errors import OutOfResources
from triton.testing import do_bench

from memsvc_kernels.interface import Bounds, Rates, Weights
from memsvc_kernels.triton.backend import TritonBackend
from memsvc_kernels.triton.blocks import TABLE, Blocks, shape_name

DEPTHS = (2, 4, 6, 8, 12)
WIDTHS = (128, 256, 384, 512, 768, 1024)
CANDIDATES = (
    Blocks(64, 64, 32, 4, 3),
    Blocks(64, 64, 32, 4, 2),
    Blocks(64, 64, 32, 8, 3),
    Blocks(64, 64, 64, 4, 2),
    Blocks(64, 64, 64, 8, 2),
    Blocks(64, 64, 16, 4, 4),
    Blocks(64, 32, 32, 4, 3),
    Blocks(64, 128, 32, 8, 2),
    Blocks(32, 64, 32, 4, 3),
    Blocks(32, 32, 32, 4, 3),
)
"""On compute capability 9.0 they fit with few or no registers spilled."""


def measure(blocks: Blocks, layers: int, width: int, *, chunk: int, slots: int) -> float:
    """Return the milliseconds of one step in each of the slots; infinity where the device cannot hold the tiles."""
    generator = torch.Generator("cuda").manual_seed(0)
    keys = torch.randn(slots, chunk, width, device="cuda", generator=generator) / math.sqrt(width)
    initial = torch.randn(layers, width, width, device="cuda", generator=generator) / math.sqrt(width)
    delta = torch.zeros(slots, layers, width, width, device="cuda")
    weights = Weights(delta, torch.zeros_like(delta), initial)
    rates = Rates(*(torch.full((slots, chunk), rate, dtype=torch.float64) for rate in (1e-3, 0.9, 1e-4, 0.0)))
    bounds = Bounds(*(torch.full((slots,), bound, dtype=torch.float64) for bound in (0.2, 16.0, 0.25)))
    backend = TritonBackend("cuda", blocks=blocks)
    try:
        return float(
            do_bench(
                lambda: backend.chunk_step(weights, range(slots), keys, keys, rates=rates, bounds=bounds),
                return_mode="median",
            )
        )
    except OutOfResources:
        return math.inf


def compile_for(blocks: Blocks, width: int, chunk: int) -> None:
    """Step once, so that the kernels lie in Triton's cache."""
    delta = torch.zeros(1, 2, width, width, device="cuda")
    weights, keys = Weights(delta, delta.clone(), delta[0].clone()), torch.zeros(1, chunk, width, device="cuda")
    rates = Rates(*(torch.zeros(1, chunk, dtype=torch.float64) for _ in range(4)))
    bounds = Bounds(*(torch.ones(1, dtype=torch.float64) for _ in range(3)))
    try:
        TritonBackend("cuda", blocks=blocks).chunk_step(weights, [0], keys, keys, rates=rates, bounds=bounds)
    except OutOfResources:
        # `measure` finds it too, and says so.
        return


def compile_all(widths: Sequence[int], chunk: int, processes: int) -> None:
    """Compile every candidate, side by side. Kernels know of a width only whether 16 divides it."""
    some = {width % 16 == 0: width for width in widths}.values()
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(compile_for, blocks, width, chunk) for width in some for blocks in CANDIDATES]
        for job in jobs:
            job.result()


def main() -> None:
    """Tune the shapes asked for, all of the usual ones unless told otherwise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, nargs="+", default=DEPTHS)
    parser.add_argument("--width", type=int, nargs="+", default=WIDTHS)
    parser.add_argument("--chunk", type=int, default=64)
    parser.add_argument("--slots", type=int, default=64)
    parser.add_argument("--processes", type=int, default=len(CANDIDATES), help="that compile")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name(TABLE))
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        parser.error("there is no GPU to tune for")
    table = json.loads(arguments.out.read_text()) if arguments.out.exists() else {}
    of_device = table.setdefault(torch.cuda.get_device_name(), {})
    compile_all(arguments.width, arguments.chunk, arguments.processes)
    for layers, width in itertools.product(arguments.layers, arguments.width):
        times = {
            blocks: measure(blocks, layers, width, chunk=arguments.chunk, slots=arguments.slots)
            for blocks in CANDIDATES
        }
        best = min(times, key=times.__getitem__)
        for blocks, taken in times.items():
            print(f"{shape_name(layers, width)}: {taken:.3f} ms with {blocks}", flush=True)
        of_device[shape_name(layers, width)] = list(best)
        # After every shape: a run may take hours.
        arguments.out.write_text(json.dumps(table, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()

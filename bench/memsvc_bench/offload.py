"""What it costs to keep weights in host memory: tenants that take turns, with a slot for each or with fewer.

Measured below the encoder, which takes far longer than a step: unit tokens are random. As in the engine some tenants
step together, a chunk of each at a time. They go on until each has had its turn; then their weights leave, and those of
the next have come meanwhile. The engine's turns are 4,096 tokens where it has slots for all whose steps are due; of
more tenants each steps one chunk before the next, which are turns of one chunk.

With fewer slots than tenants every turn begins with weights that were pulled and ends with weights that leave; with a
slot for each nothing moves. Both do the same by turns, and must come to the same weights.
"""

import os
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import normalize

from memsvc.engine.placement import Placement
from memsvc.engine.runner import prepare_thread
from memsvc.memory.config import MemoryConfig
from memsvc.memory.device import Device
from memsvc.memory.devices import DeviceName, choose_device
from memsvc.memory.step import update
from memsvc_bench.progress import told
from memsvc_bench.report import Check, Result, describe_machine

MOST = 1.15
"""Resident tokens/s over offloaded, at most, in turns of CHECKED tokens: as many as the engine waits for."""
CHECKED = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much is measured."""

    width: int = 384
    depths: Sequence[int] = (2, 8)
    chunk: int = 64
    tenants: int = 64
    together: int = 16
    """Tenants that step together. Offloaded there are slots for two such groups: one steps while the next comes."""
    turns: Sequence[int] = (64, 512, 4096)
    """Tokens of a tenant until it is the next one's turn."""
    threads: int = 2
    rounds: int = 3
    """Of all tenants, both ways by turns; the median counts."""


FULL = Scale()
QUICK = Scale(width=16, depths=(2, 3), chunk=8, tenants=6, together=2, turns=(16, 32), threads=1, rounds=2)


def bench(*, device: DeviceName = "cpu", scale: Scale = FULL) -> Result:
    """`memsvc bench offload`.

    Raises:
        FailedPreconditionError: there is no such device.
    """
    prepare_thread(scale.threads)
    there = choose_device(device, "float32")
    gpu = there.place.type == "cuda"
    figures: dict[str, Any] = {
        "load_average_before": os.getloadavg()[0],
        "device": torch.cuda.get_device_name(there.place) if gpu else "cpu",
        "tenants": scale.tenants,
        "stepped_together": scale.together,
        "chunk": scale.chunk,
    }
    checks: list[Check] = []
    for depth in told(scale.depths, "depths"):
        found, held = _compare(scale, depth, there)
        figures |= found
        checks += held
    figures["load_average_after"] = os.getloadavg()[0]
    lists = f"--depths {','.join(map(str, scale.depths))} --turns {','.join(map(str, scale.turns))}"
    command = f"memsvc bench offload --device {device} {lists} --rounds {scale.rounds} --threads {scale.threads}"
    return Result(machine=describe_machine(), command=command, figures=figures, checks=checks)


def _compare(scale: Scale, depth: int, device: Device) -> tuple[dict[str, Any], list[Check]]:
    """Return what was found of memories of one depth, and what had to hold."""
    gpu = device.place.type == "cuda"
    if gpu:
        torch.cuda.reset_peak_memory_stats(device.place)
        torch.cuda.reset_peak_host_memory_stats()
    figures: dict[str, Any] = {}
    checks: list[Check] = []
    slots = {"resident": scale.tenants, "offloaded": 2 * scale.together}
    ways = {name: _Way(scale, depth, device, count) for name, count in slots.items()}
    for turn in scale.turns:
        rows = _measure(ways, scale, turn)
        figures |= {f"depth {depth}, turns of {turn} tokens: {name}": row for name, row in rows.items()}
        ratio = rows["resident"]["tokens_per_s"] / rows["offloaded"]["tokens_per_s"]
        figures[f"depth_{depth}_turns_of_{turn}_resident_over_offloaded"] = ratio
        if turn == CHECKED:
            checks.append(Check.at_most(f"depth {depth}, turns of {turn} tokens: ratio", ratio, MOST))
    figures |= {f"depth {depth}, memory: {name}": way.memory for name, way in ways.items()}
    checks.append(Check.holds(f"depth {depth}: the same weights", _same(*ways.values())))
    if gpu:
        # Of both ways together, with what steps take besides, and what PyTorch rounds up to.
        figures[f"depth_{depth}_device_peak_bytes"] = torch.cuda.max_memory_allocated(device.place)
        figures[f"depth_{depth}_pinned_peak_bytes"] = torch.cuda.host_memory_stats().get("active_bytes.peak")
    return figures, checks


def _measure(ways: Mapping[str, "_Way"], scale: Scale, turn: int) -> dict[str, dict[str, float]]:
    """Return of each way the median tokens/s, and how often a tenant's weights were pulled in each of its turns."""
    rates: dict[str, list[float]] = {name: [] for name in ways}
    before = {name: way.pulls for name, way in ways.items()}
    for _ in range(scale.rounds):
        for name, way in ways.items():
            start = time.perf_counter()
            way.round(turn)
            rates[name].append(scale.tenants * turn / (time.perf_counter() - start))
    turns = scale.rounds * scale.tenants
    return {
        name: {"tokens_per_s": statistics.median(rates[name]), "pulls_per_turn": (way.pulls - before[name]) / turns}
        for name, way in ways.items()
    }


class _Way:
    """Tenants who have all learnt something, and a number of slots.

    Args:
        scale: how many tenants, and how they step.
        depth: layers of their memories.
        device: where the slots are.
        slots: as many as there are tenants, or fewer.
    """

    def __init__(self, scale: Scale, depth: int, device: Device, slots: int) -> None:
        self._config = MemoryConfig(layers=depth, width=scale.width, chunk=scale.chunk)
        self._place, self._slots, self._resident = device.place, slots, slots >= scale.tenants
        self._placement = Placement(self._config, slots, device)
        self.uids = [f"t{i}" for i in range(scale.tenants)]
        starts = range(0, scale.tenants, scale.together)
        self._groups = [self.uids[start : start + scale.together] for start in starts]
        generator = torch.Generator().manual_seed(0)
        shape = (scale.together, scale.chunk, scale.width)
        self._tokens = normalize(torch.randn(shape, generator=generator), dim=-1)
        self.round(scale.chunk)

    @property
    def pulls(self) -> int:
        """Weights that came back from host memory so far."""
        return self._placement.loads

    @property
    def memory(self) -> dict[str, int]:
        """What all slots take, and what weights take of the host's memory: where slots are the host's, both."""
        size = self._placement.stack.slot_bytes
        return {"slots_bytes": self._slots * size, "host_bytes": self._placement.host_bytes}

    def round(self, turn: int) -> None:
        """Give each tenant a turn of so many tokens; return when the device is done."""
        for group, ahead in zip(self._groups, [*self._groups[1:], self._groups[0]], strict=True):
            for _ in range(turn // self._config.chunk):
                self._step(group, ahead)
            if not self._resident:
                for uid in group:
                    self._placement.offload(uid)
        if self._place.type == "cuda":
            torch.cuda.synchronize(self._place)

    def _step(self, group: Sequence[str], ahead: Sequence[str]) -> None:
        """Step a chunk of each while the weights of those ahead come."""
        leases = [self._placement.lease(uid) for uid in group]
        self._placement.prefetch(ahead)
        configs, slots = [self._config] * len(group), [lease.slot for lease in leases]
        update(self._placement.stack, slots, configs, [0.0] * len(group), self._tokens[: len(group)])
        for lease in leases:
            self._placement.changed(lease)
            self._placement.release(lease)

    def packed(self, uid: str) -> bytes | None:
        """Return a tenant's weights."""
        return self._placement.pack(uid)


def _same(one: _Way, other: _Way) -> bool:
    """Whether all tenants have learnt the same, to the bit."""
    return all(one.packed(uid) == other.packed(uid) for uid in one.uids)

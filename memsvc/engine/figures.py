"""What an engine is doing now, in figures that cost next to nothing to read: for whoever watches over it."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from memsvc.engine.engine import Engine
    from memsvc.engine.opened import OpenTenant


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Sums over all tenants, never one of them alone."""

    hot: int
    """Open tenants whose weights are in a slot."""
    warm: int
    """Open tenants whose weights are not."""
    memory_bytes: Mapping[str, int]
    """What views, weights, and what is about to be opened take of the host's memory."""
    slots: Mapping[str, int]
    """How many are in each state."""
    slot_loads: int
    unloads: int
    """Tenants that left the memory, since the start."""
    queued_bytes: int
    """Text that writers were promised room for, and that is not applied."""
    queued_records: int
    """Committed and not applied, of open tenants."""
    context_tenants: int
    """Open tenants that have a context memory."""
    context_records: int
    """Committed and not applied, of those."""
    unsaved_bytes: int
    """Log of open tenants that no snapshot has: what is folded again after a crash."""
    snapshot_age_s: float
    """Of the oldest newest snapshot among open tenants that were written enough since to be saved."""
    snapshots: int
    """That were saved, since the start."""
    snapshot_failures: int
    shards: int
    """That this process serves."""
    shard_losses: int
    """Shards that it lost unasked, since the start."""
    erasing: int
    """Tenants that are folded again now, to forget."""


def gather(engine: "Engine") -> Figures:
    """Return an engine's figures, once it is started. May be asked on any thread: they are of about one moment."""
    opened, runner, keeper = engine.opened(), engine.thread.runner, engine.keeper
    hot = min(runner.hot, len(opened))
    views, host = runner.views_bytes, runner.host_bytes
    streaming = [t for t in opened if t.view.context is not None]
    enough, now = engine.config.snapshot_min_tokens, time.monotonic()
    behind = [t for t in opened if t.view.totals.tokens - t.snapshot_tokens >= enough]
    return Figures(
        hot=hot,
        warm=len(opened) - hot,
        memory_bytes={"views": views, "weights": host - views, "reserved": engine.residency.reserved},
        slots={state.name.lower(): slots for state, slots in runner.slots.items()},
        slot_loads=runner.loads,
        unloads=keeper.unloads,
        queued_bytes=engine.admission.queued,
        queued_records=_lag(opened),
        context_tenants=len(streaming),
        context_records=_lag(streaming),
        unsaved_bytes=sum(t.unsaved_bytes for t in opened),
        snapshot_age_s=max((now - t.saved_at for t in behind), default=0.0),
        snapshots=keeper.snapshots,
        snapshot_failures=keeper.snapshot_failures,
        shards=len(engine.shards.owned),
        shard_losses=engine.shards.losses,
        erasing=len(engine.eraser.progress),
    )


def _lag(tenants: Iterable["OpenTenant"]) -> int:
    return sum(max(0, tenant.head_seq - tenant.applied_seq) for tenant in tenants)

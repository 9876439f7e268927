"""What the engine answers."""

from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from memsvc.engine.eraser import Receipt
from memsvc.memory.config import MemoryConfig
from memsvc.recall.rank import Ranked
from memsvc.store.types import Erasure, StoredEntry, TenantRow
from memsvc.tenant.policies import Policies
from memsvc.tenant.totals import Totals

Residence: TypeAlias = Literal["hot", "warm", "cold"]
"""In a slot, in memory, or in the store alone."""


class Surprise(NamedTuple):
    """What the memory said of one entry."""

    mean: float
    """Mean surprise of its tokens."""
    gate_share: float
    """Share of its tokens that write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What became of a batch."""

    seq: int
    ids: tuple[str, ...]
    seqs: tuple[int, ...]
    skipped: tuple[bool, ...]
    surprise: tuple[Surprise | None, ...] | None = None
    """Per entry, if it was waited for; None for an entry without tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """One entry found, with its neighbours."""

    ranked: Ranked
    entry: StoredEntry
    also: tuple[str, ...]
    """The ids of other entries found that share its text, in the order of writing."""
    before: tuple[StoredEntry, ...]
    after: tuple[StoredEntry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recalled:
    """The answer to a recall."""

    applied_seq: int
    hits: tuple[Hit, ...]
    context: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """Live figures of one tenant."""

    entries: int
    merged: int
    """Of them, those whose text another one stands for."""
    passages: int
    tail_tokens: int
    head_seq: int
    applied_seq: int
    snapshot_seq: int
    pending_bytes: int
    totals: Totals
    gate_threshold: float
    restart_left: int
    """Tokens that a restart still lasts."""
    config: MemoryConfig
    """How the memory learns now."""
    policies: Policies
    """What is kept now."""
    evicted: int
    snapshots: tuple[int, int]
    """How many are kept, and the bytes that they take."""
    restore_pending: bool
    residency: Residence
    """Where the tenant was when this was asked."""
    memory_bytes: int
    stored_bytes: int
    weight_norms: tuple[float, ...]
    state_hash: str
    fingerprint: str
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Erased:
    """How far an erasure is."""

    erasure: Erasure
    tenant: str
    receipt: Receipt | None
    """None until it is done."""
    progress: tuple[int, int]
    """Records folded again, and in all, while that is under way."""
    copies: tuple[str, ...]
    """What was made of the tenant, and is not reached."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """A tenant made of a file."""

    row: TenantRow
    head_seq: int
    adopted: bool
    """Whether the snapshot in the file was made under other numerics, and taken as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What a verification found."""

    seq: int
    state_hash: str
    folded_hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Whereabouts:
    """Where the tenants of an engine are."""

    hot: int
    """With their weights in a slot."""
    warm: int
    """In memory, the weights outside of slots."""
    cold: int
    """In the store alone."""
    used_bytes: int
    """What hot and warm ones take of the host's memory."""
    limit_bytes: int
    slot_loads: int
    """Weights that were copied into slots, since the start."""
    unloads: int
    """Tenants that left the memory, since the start."""

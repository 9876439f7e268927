"""How the engine runs."""

from dataclasses import dataclass, field

from memsvc.dtypes import Dtype
from memsvc.engine.machine import memory_bytes
from memsvc.memory.config import MemoryConfig
from memsvc.memory.devices import DeviceName
from memsvc.recall.rank import RankConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """How the engine runs. Nothing here changes any tenant's state but the encoder and the memory's defaults."""

    encoder: str = "minilm"
    encoder_dtype: Dtype = "auto"
    memory_dtype: Dtype = "auto"
    """Of what the memory's steps multiply; what it learns is float32."""
    memory_device: DeviceName = "cpu"
    """Where weights are that are stepped: `cuda`, a GPU; `auto` is that where PyTorch sees one and Triton is there."""
    threads: int = 2
    """torch threads."""
    slots: int = 32
    """Tenants whose weights are held ready for steps."""
    offload: bool = False
    """Whether weights leave their slots between a tenant's steps, which then come 4,096 tokens or 200 ms at a time."""
    tenant_queue_bytes: int = 1 << 20
    """Text of one tenant that may wait to be applied."""
    queue_bytes: int = 16 << 20
    """Text of all tenants that may wait to be applied."""
    memory_bytes: int = field(default_factory=lambda: memory_bytes() // 2)
    """Memory for views and weights; half of the machine's unless told otherwise."""
    max_open_tenants: int = 2048
    """Tenants whose views are held in memory."""
    unload_idle_s: float = 600.0
    """A tenant unused for so long leaves the memory."""
    unload_small_idle_s: float = 10.0
    """The same for a tenant of fewer than snapshot_min_tokens, which is back in a moment."""
    snapshot_tokens: int = 65_536
    """A tenant that streams is snapshotted after so many tokens."""
    snapshot_idle_s: float = 1.0
    """A tenant that stopped streaming is snapshotted after so long."""
    snapshot_min_tokens: int = 1_000
    """Fewer tokens than that are folded again rather than saved."""
    recall: RankConfig = field(default_factory=RankConfig)
    context_model: str = ""
    """A model for context memories beside those that ship: its file or folder; none unless it is set."""
    memory: MemoryConfig = field(default_factory=MemoryConfig)

"""The shape of a model, and which of its parts are switched off."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, Self, get_args

from memsvc.errors import InvalidArgumentError

MIN_DEPTH, MAX_DEPTH = 2, 12
"""Weight matrices of a context memory."""
LANES = 32
"""Widths are multiples of this. A processor computes the end of an array otherwise than its body, to the last bit, and
it would show where one row ends and the next begins."""

PIECE_CHUNKS = 4
"""Chunks of what a stream is told at once, at most: together they take half the time of one by one, and others wait."""

Gate = Literal["learned", "surprise", "open"]
Readout = Literal["both", "kv", "residual"]
READOUTS: tuple[Readout, ...] = get_args(Readout)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextMemoryConfig:
    """The memory inside the model: its shape, its bounds, and the ablations.

    Raises:
        InvalidArgumentError: a value is out of its range; names the field.
    """

    depth: int = 2
    """Weight matrices of the MLP."""
    key: int = 64
    """Width of keys and queries, of which one number is constant: the first layer's bias."""
    hidden: int = 1024
    """Width of the MLP's hidden layers: what is stored lies mostly in the last layer, so this is what sets capacity."""
    value: int = 32
    """Width of values and readouts."""
    scale: float = 2.0
    """Spread of the first layer at the start: a small one makes the MLP nearly linear, and `key` its capacity."""
    threshold: float = 0.5
    """How many spreads a hidden unit lies below zero at the start: the larger, the fewer units answer to one key."""
    conv: int = 4
    """Tokens that the short convolution before the query sees."""
    second_order: bool = True
    """Off: the last layer steps along its inputs, as the others do, and holds a third of what it holds else."""
    momentum: bool = True
    """Off: eta is 0."""
    decay: bool = True
    """Off: alpha is 0."""
    gate: Gate = "learned"
    """What opens the gate: the token and its surprise, its surprise alone, or nothing, and then every token writes."""
    sure: float | None = None
    """Logit of the gate at which a token that writes counts half in the second-order step; None: all count alike."""
    readout: Readout = "both"
    """Where the readout goes: extra keys and values of the attention, the residual stream, or both."""
    curvature: float = 1.0
    """c of theta_eff * lambda <= c (1 - eta)."""
    clip: float = 3.0
    """Largest norm of one chunk's summed step."""
    radius: float = 100.0
    """Largest Frobenius norm of what each layer has learnt."""

    def __post_init__(self) -> None:
        _check("memory.depth", MIN_DEPTH <= self.depth <= MAX_DEPTH, f"must be {MIN_DEPTH} to {MAX_DEPTH}")
        _check("memory.key", self.key > 1, "must be at least 2")
        for name in ("value", "conv"):
            _check(f"memory.{name}", getattr(self, name) > 0, "must be positive")
        _check("memory.hidden", self.hidden > 0 and self.hidden % LANES == 0, f"must be a multiple of {LANES}")
        for name in ("scale", "curvature", "clip", "radius"):
            value = getattr(self, name)
            _check(f"memory.{name}", math.isfinite(value) and value > 0, "must be a number above 0")
        _check("memory.sure", self.sure is None or math.isfinite(self.sure), "must be a number, or none")
        _check("memory.threshold", math.isfinite(self.threshold), "must be a number")
        _check("memory.gate", self.gate in {"learned", "surprise", "open"}, "must be learned, surprise or open")
        _check("memory.readout", self.readout in READOUTS, "must be both, kv or residual")

    @property
    def remembered(self) -> int:
        """Width of what the second-order step keeps."""
        return self.hidden if self.second_order else 0

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """[out, in] of each weight matrix."""
        inner = ((self.hidden, self.hidden),) * (self.depth - 2)
        return ((self.hidden, self.key), *inner, (self.value, self.hidden))


@dataclass(frozen=True, slots=True, kw_only=True)
class MacConfig:
    """A model.

    Raises:
        InvalidArgumentError: a value is out of its range; names the field.
    """

    vocabulary: int
    """Tokens that there are."""
    width: int = 128
    """Width of the residual stream, d."""
    heads: int = 4
    """Attention heads; their number divides the width into even parts."""
    layers: int = 3
    """Blocks."""
    expansion: int = 3
    """Hidden width of the blocks' MLP, in widths."""
    conv: int = 4
    """Tokens that the short convolution before the attention sees."""
    persistent: int = 4
    """Learned keys and values that every token sees (arXiv:2501.00663 eq. 19)."""
    chunk: int = 64
    """Tokens of a chunk. A token attends to its own chunk and the one before, no further."""
    memory_layer: int | None = 1
    """The block that reads the memory; None for the same model without one."""
    memory: ContextMemoryConfig = field(default_factory=ContextMemoryConfig)

    def __post_init__(self) -> None:
        for name in ("vocabulary", "width", "heads", "layers", "expansion", "conv", "chunk"):
            _check(name, getattr(self, name) > 0, "must be positive")
        _check("width", self.width % LANES == 0, f"must be a multiple of {LANES}")
        _check("heads", self.width % (2 * self.heads) == 0, "must divide the width into even parts")
        _check("persistent", self.persistent >= 0, "must not be negative")
        _check("conv", self.conv <= self.chunk, "must not pass a chunk")
        _check("memory.conv", self.memory.conv <= self.chunk, "must not pass a chunk")
        at = self.memory_layer
        _check("memory_layer", at is None or 0 <= at < self.layers, "must be one of the layers")

    @property
    def head(self) -> int:
        """Width of one head."""
        return self.width // self.heads

    @property
    def window(self) -> int:
        """The most tokens that a token sees without the memory, itself included."""
        return 2 * self.chunk

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return what `to_json` gave.

        Raises:
            InvalidArgumentError: a field is unknown, missing or out of its range; names it.
        """
        values = dict(data)
        memory = values.pop("memory", {})
        _known("memory.", memory, ContextMemoryConfig)
        _known("", values, cls)
        _check("vocabulary", "vocabulary" in values, "is missing")
        return cls(**values, memory=ContextMemoryConfig(**memory))


def _known(prefix: str, values: Mapping[str, Any], kind: type[Any]) -> None:
    known = {f.name for f in fields(kind)}
    for name in values:
        _check(f"{prefix}{name}", name in known, "is not a setting of this version")


def _check(name: str, ok: bool, message: str) -> None:
    if not ok:
        raise InvalidArgumentError(name, message)

"""The schedule of a training, as data."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A part of a training, with an optimizer and a schedule of its own."""

    steps: int
    rows: int
    """Sequences of a step."""
    length: int
    """Tokens of a sequence."""
    needles: tuple[int, ...]
    """Facts of a sequence; each row draws one of these numbers."""
    rate: float
    """Learning rate after the warm-up; it falls to a twentieth along a cosine."""
    hard: bool
    """Whether the memory's gate opens wholly or not at all."""
    penalty: float
    """On a gate that is not shut at ordinary tokens, or not open at values."""
    prose: float
    """Weight of ordinary tokens in the loss; answers have 1."""
    ramp: int = 300
    """Steps until the penalty is whole; 0 where the gate is learnt already."""

    def scaled(self, factor: float) -> "Stage":
        """Return it with so many times the steps, at least one."""
        return replace(self, steps=max(1, round(self.steps * factor)))


# Soft, so that what to write can be learnt at all; hard, so that ordinary text does not write a little all the time;
# then more facts and longer texts, so that many are kept apart; in between short ones again: to ask in many words is
# learnt from many sequences, not from long ones.
_STAGES = (
    Stage(steps=450, rows=12, length=512, needles=(1, 2, 4, 6, 8), rate=2e-3, hard=False, penalty=0.05, prose=0.2),
    Stage(steps=450, rows=6, length=1024, needles=(1, 4, 8, 16, 24), rate=1e-3, hard=True, penalty=0.3, prose=0.2),
    Stage(steps=350, rows=4, length=2048, needles=(2, 8, 16, 32, 48), rate=1e-3, hard=True, penalty=0.6, prose=0.1),
    Stage(steps=300, rows=8, length=1024, needles=(1, 4, 8, 16, 24), rate=1e-3, hard=True, penalty=0.6, prose=0.1),
    Stage(steps=450, rows=3, length=4096, needles=(2, 16, 64, 100, 110), rate=1e-3, hard=True, penalty=1.0, prose=0.05),
)

STAGES: Mapping[str, tuple[Stage, ...]] = MappingProxyType(dict.fromkeys(("text", "dialogue", "dna"), _STAGES))
"""By kind of text."""

# Short sequences for what is new in the facts, then long ones with many.
_FURTHER = (
    replace(_STAGES[-2], steps=200, rate=5e-4, ramp=0),
    replace(_STAGES[-1], steps=100, rate=5e-4, ramp=0),
)

FURTHER: Mapping[str, tuple[Stage, ...]] = MappingProxyType(dict.fromkeys(("text", "dialogue", "dna"), _FURTHER))
"""What a model that is trained already is trained on with, by kind of text."""

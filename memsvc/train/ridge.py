"""After training, λ of the memory's second-order step is set by how many facts are found.

Training hardly moves it: P is a constant to its gradients. Too large, and what is written disturbs what was written
before; too small, and a question that is not quite its statement finds less, and what was written by mistake, of which
training's texts have little, is learnt like all else however little it counts.
"""

import random
from dataclasses import replace

import torch

from memsvc.backbone.titans_mac.memory import ContextMemory
from memsvc.backbone.titans_mac.model import TitansMac
from memsvc.train.objective import objective
from memsvc.train.samples import batch
from memsvc.train.source import Source
from memsvc.train.stages import Stage

SHARES = (1.0, 0.3, 0.1, 0.03)
"""Of the λ that was learnt, largest first."""
_AS_MUCH = 0.01
"""The first of them is taken that finds the best one's share of right tokens but for this."""
_BATCHES, _LONGER = 4, 4
"""Texts are so many times longer than training's, so that most facts have room."""


@torch.no_grad()
def settle(model: TitansMac, memory: ContextMemory, source: Source, stage: Stage, *, seed: int) -> dict[float, float]:
    """Set λ, in place.

    Args:
        model: trained.
        memory: its memory, of second order.
        source: of training's facts and haystack.
        stage: says how long sequences are, and how many facts there are at most.
        seed: of all that is drawn.

    Returns:
        The share of the answers' tokens that was right, by share of the λ that was learnt.
    """
    memory.hard = True
    most = replace(stage, length=_LONGER * stage.length, needles=(max(stage.needles),))
    learnt, place = memory.ridge.clone(), model.embedding.weight.device
    rng = random.Random(f"ridge/{seed}")  # noqa: S311  # a seed, no secret
    drawn = [batch(source, most, rng, chunk=model.config.chunk) for _ in range(_BATCHES)]

    def found(share: float) -> float:
        memory.ridge.copy_(learnt + torch.tensor(share).log())
        shares = (objective(model, each.to(place), penalty=0.0).digits for each in drawn)
        return float(torch.stack(list(shares)).mean())

    right = {share: found(share) for share in SHARES}
    taken = next(share for share in SHARES if right[share] >= max(right.values()) - _AS_MUCH)
    memory.ridge.copy_(learnt + torch.tensor(taken).log())
    return right

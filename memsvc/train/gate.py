"""After training, the memory's gate is set tighter than it was learnt.

In two million tokens one false write in ten thousand comes to two hundred, which take the room of dozens of facts; a
value that is not written is one fact. So the gate opens no more readily than nearly all of training's values need.
"""

import random
from dataclasses import replace

import torch

from memsvc.backbone.titans_mac.memory import ContextMemory
from memsvc.backbone.titans_mac.model import TitansMac
from memsvc.train.samples import OPEN, batch
from memsvc.train.source import Source
from memsvc.train.stages import Stage

KEPT = 0.998
"""Share of the tokens of training's values that open it still: of five digits one is lost in a hundred values."""
BATCHES = 32
_ROWS = 16


@torch.no_grad()
def tighten(model: TitansMac, memory: ContextMemory, source: Source, stage: Stage, *, seed: int) -> float:
    """Raise what opens the gate, in place.

    Args:
        model: trained.
        memory: its memory.
        source: of facts, and of training's haystack.
        stage: says how long sequences are, and with how many facts.
        seed: of all that is drawn.

    Returns:
        By how much, of the gate's logit; never below 0.
    """
    memory.hard = True
    rng = random.Random(f"gate/{seed}")  # noqa: S311  # a seed, no secret
    place = model.embedding.weight.device
    logits = []
    for _ in range(BATCHES):
        drawn = batch(source, replace(stage, rows=_ROWS), rng, chunk=model.config.chunk)
        streamed = model.stream(drawn.tokens.to(place), model.initial(len(drawn.tokens)))
        logits.append(streamed.logit[drawn.gate.to(place) == OPEN])
    raised = max(0.0, float(torch.cat(logits).quantile(1 - KEPT)))
    memory.shut(raised)
    return raised

"""What a training minimises, and what it reports of a batch."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, softplus

from memsvc.backbone.titans_mac.model import TitansMac
from memsvc.train.samples import Batch

_MARGIN = 2.0
"""So far below zero the gate's logit has to be at ordinary tokens before the penalty fades."""
_HARDEST = 100
"""One in so many ordinary tokens, those nearest to opening the gate, are penalised a second time, by their own mean.
One false write in ten thousand fills a memory within a few million tokens, and would hardly move the mean of all.
"""


class Objective(NamedTuple):
    """Of one batch."""

    loss: Tensor
    """To minimise."""
    digits: Tensor
    """Share of the answers' tokens that are the likeliest."""
    ordinary: Tensor
    """Share of ordinary tokens that open the gate."""


def objective(model: TitansMac, batch: Batch, *, penalty: float, memory: bool = True) -> Objective:
    """Return the weighted cross-entropy, and the penalty on the gate at ordinary tokens."""
    streamed = model.stream(batch.tokens, model.initial(len(batch.tokens)), memory=memory)
    logits = model.logits(streamed.hidden)[:, :-1]
    target, weight = batch.tokens[:, 1:], batch.weight[:, 1:]
    entropy = cross_entropy(logits.flatten(0, 1), target.flatten(), reduction="none").view_as(weight)
    loss = (entropy * weight).sum() / weight.sum()
    count = batch.ordinary.sum()
    if penalty and model.memory is not None:
        opening = softplus(streamed.logit + _MARGIN)[batch.ordinary]
        loss = loss + penalty * (opening.mean() + opening.topk(max(1, len(opening) // _HARDEST)).values.mean())
    with torch.no_grad():
        answers = weight == 1
        digits = (logits.argmax(-1) == target)[answers].float().mean()
        opened = ((streamed.write > 0.5) & batch.ordinary).sum() / count
    return Objective(loss, digits, opened)

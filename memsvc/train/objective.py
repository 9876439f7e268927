"""What a training minimises, and what it reports of a batch."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, softplus

from memsvc.backbone.titans_mac.model import TitansMac
from memsvc.train.samples import OPEN, SHUT, Batch

_MARGIN = 2.0
"""So far from zero the gate's logit has to be, on its side, before the penalty fades."""
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
    stated: Tensor
    """Share of the tokens of stated values that do."""


def objective(model: TitansMac, batch: Batch, *, penalty: float, memory: bool = True) -> Objective:
    """Return the weighted cross-entropy, and the penalty on a gate that is open at ordinary tokens or shut at values.

    The second part is what keeps it from shutting for good, where nothing is written and nothing could be learnt.
    """
    streamed = model.stream(batch.tokens, model.initial(len(batch.tokens)), memory=memory)
    logits = model.logits(streamed.hidden)[:, :-1]
    target, weight = batch.tokens[:, 1:], batch.weight[:, 1:]
    entropy = cross_entropy(logits.flatten(0, 1), target.flatten(), reduction="none").view_as(weight)
    loss = (entropy * weight).sum() / weight.sum()
    ordinary = batch.gate == SHUT
    if penalty and model.memory is not None:
        shut, opened = softplus(streamed.logit + _MARGIN)[ordinary], softplus(_MARGIN - streamed.logit)
        hardest = shut.topk(max(1, len(shut) // _HARDEST)).values
        loss = loss + penalty * (shut.mean() + hardest.mean() + opened[batch.gate == OPEN].mean())
    with torch.no_grad():
        answers = weight == 1
        digits = (logits.argmax(-1) == target)[answers].float().mean()
        written = streamed.write > 0.5
        shares = (written[batch.gate == label].float().mean() for label in (SHUT, OPEN))
    return Objective(loss, digits, *shares)

"""The gate after training: tighter, and open for nearly all of what training states."""

import random
from dataclasses import replace

import pytest
import torch

from memsvc.backbone.titans_mac.model import TitansMac
from memsvc.train.gate import KEPT, tighten
from memsvc.train.samples import OPEN, batch
from tests.train.test_trainer import CONFIG, STAGES
from tests.train.toy import Toy


def logits(model, seed):
    with torch.no_grad():
        drawn = batch(Toy(), replace(STAGES[0], rows=200), random.Random(seed), chunk=model.config.chunk)
        return model.stream(drawn.tokens, model.initial(200)).logit[drawn.gate == OPEN]


@pytest.mark.parametrize(("bias", "raised"), [(20.0, True), (-20.0, False)])
def test_it_shuts_as_far_as_values_allow_and_never_opens(bias, raised):
    torch.manual_seed(0)
    model = TitansMac(CONFIG)
    model.memory.hard = True
    torch.nn.init.normal_(model.memory.rates.weight)
    model.memory.rates.bias.data[:] = bias
    before = logits(model, 1)
    by = tighten(model, model.memory, Toy(), STAGES[0], seed=0)
    assert (by > 0) == raised
    share = float((logits(model, 1) > 0).float().mean())
    assert share == pytest.approx(KEPT if raised else float((before > 0).float().mean()), abs=0.01)

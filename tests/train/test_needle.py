"""The needle test: what its conditions mean, checked on models whose answers are known."""

import random
from functools import partial

import pytest
import torch

from memsvc.backbone.titans_mac.config import ContextMemoryConfig, MacConfig
from memsvc.backbone.titans_mac.model import TitansMac
from memsvc.train.needle import CONDITIONS, NeedleTest, needle_test
from tests.train import toy

LENGTHS = (320, 640)
HAY = torch.tensor(random.Random(0).choices(toy.HAY, k=500))
DRAW = partial(toy.Toy().facts, family="similar")


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    memory = ContextMemoryConfig(key=16, hidden=32, value=16, gate="open")
    model = TitansMac(MacConfig(vocabulary=53, width=32, heads=2, chunk=16, memory=memory)).eval()
    torch.nn.init.normal_(model.entry.added.weight, std=0.5)
    return model


def rows(model, **settings):
    return list(needle_test(model, DRAW, HAY, NeedleTest(lengths=LENGTHS, streams=3, needles=2, **settings)))


@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_row_for_each_length(model, condition):
    found = rows(model, condition=condition)
    assert [(row.condition, row.length, row.n) for row in found] == [(condition, length, 6) for length in LENGTHS]
    assert all(0 <= row.exact <= row.digits <= 1 for row in found)
    assert found[0].depth == pytest.approx(2 * found[1].depth)
    assert {row.gate_share for row in found} == {1.0 if condition in {"memory", "other tenant"} else 0.0}


def test_a_model_that_says_one_digit_is_right_as_often_as_it_is_asked_for(model):
    constant = TitansMac(model.config).eval()
    constant.head = torch.nn.Linear(model.config.width, model.config.vocabulary)
    torch.nn.init.zeros_(constant.head.weight)
    constant.head.bias.data = torch.nn.functional.one_hot(torch.tensor(toy.DIGITS[3]), 53).float()
    rng_free = [row.digits for row in rows(constant, seed=1)]
    assert rng_free[0] == rng_free[1]
    assert any(row.digits > 0 for seed in range(6) for row in rows(constant, seed=seed))
    assert all(row.digits < 1 for row in rows(constant, seed=1))


def test_lengths_that_do_not_fit_are_refused(model):
    with pytest.raises(ValueError, match="multiples of 16"):
        next(needle_test(model, DRAW, HAY, NeedleTest(lengths=(330,), streams=1, needles=1)))
    with pytest.raises(ValueError, match="at least"):
        next(needle_test(model, DRAW, HAY, NeedleTest(lengths=(16,), streams=1, needles=1)))

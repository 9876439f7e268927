"""λ after training: the share of it that finds most facts."""

import torch

from memsvc.backbone.titans_mac.model import TitansMac
from memsvc.train import ridge
from memsvc.train.objective import objective
from memsvc.train.ridge import SHARES, settle
from tests.train.test_trainer import CONFIG, STAGES
from tests.train.toy import Toy


def model():
    torch.manual_seed(0)
    found = TitansMac(CONFIG)
    found.memory.hard = True
    return found


def settled(tried, monkeypatch, rights):
    """Settle where each share of λ finds so many; return what was reported."""
    learnt = tried.memory.ridge.clone()
    asked = []

    def answered(tried, batch, *, penalty):
        share = (tried.memory.ridge - learnt).exp().item()
        asked.append(batch)
        right = min(rights.items(), key=lambda item: abs(item[0] - share))[1]
        return objective(tried, batch, penalty=penalty)._replace(digits=torch.tensor(right))

    monkeypatch.setattr(ridge, "objective", answered)
    right = settle(tried, tried.memory, Toy(), STAGES[-1], seed=0)
    assert all(batch.tokens.shape[1] > STAGES[-1].length for batch in asked)
    return right, (tried.memory.ridge - learnt).exp().item()


def test_the_share_that_finds_most_is_taken_and_all_are_reported(monkeypatch):
    rights = dict.fromkeys(SHARES, 0.5) | {0.1: 0.75}
    right, share = settled(model(), monkeypatch, rights)
    assert right == rights
    assert abs(share - 0.1) < 1e-6


def test_of_those_that_find_as_much_but_for_one_in_a_hundred_the_largest_is_taken(monkeypatch):
    rights = dict(zip(SHARES, (0.7, 0.741, 0.748, 0.75), strict=True))
    _, share = settled(model(), monkeypatch, rights)
    assert abs(share - SHARES[1]) < 1e-6


def test_without_a_better_one_it_stays_as_it_was_learnt(monkeypatch):
    tried = model()
    before = tried.memory.ridge.clone()
    _, share = settled(tried, monkeypatch, dict.fromkeys(SHARES, 0.5))
    assert share == 1
    assert torch.equal(tried.memory.ridge, before)

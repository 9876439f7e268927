"""A training learns, stops and goes on."""

import json
from dataclasses import replace

import pytest
import torch

from memsvc.backbone.titans_mac.checkpoint import Loaded
from memsvc.backbone.titans_mac.config import ContextMemoryConfig, MacConfig
from memsvc.backbone.titans_mac.model import TitansMac
from memsvc.train import metrics
from memsvc.train.stages import Stage
from memsvc.train.trainer import CHECKPOINT, METRICS, Trainer
from tests.train.toy import Toy

CONFIG = MacConfig(vocabulary=53, width=32, heads=2, chunk=16, memory=ContextMemoryConfig(key=16, hidden=32, value=16))
SOFT = Stage(steps=3, rows=2, length=96, needles=(2,), rate=1e-3, hard=False, penalty=0.1, prose=0.2)
STAGES = (SOFT, Stage(steps=4, rows=2, length=128, needles=(2, 4), rate=1e-3, hard=True, penalty=0.1, prose=0.2))


def trainer(folder, stages=STAGES, seed=0, start=None):
    return Trainer(Toy(), CONFIG, stages, seed=seed, folder=folder, device=torch.device("cpu"), start=start)


@pytest.fixture
def start():
    """A trained model of this shape, but for the training."""
    torch.manual_seed(1)
    return Loaded(TitansMac(CONFIG), Toy.tokenizer, {"plan": {"seed": 1}}, "0" * 64)


def same(model, other):
    weights = other.state_dict()
    return all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())


def timeless(rows):
    return [{name: value for name, value in row.items() if name != "step_s"} for row in rows]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """A training, and its rows."""
    whole = trainer(tmp_path_factory.mktemp("whole"))
    return whole, list(whole.run(every=1))


@pytest.mark.parametrize("stop", [1, 2, 3, 4])
def test_a_resumed_training_equals_an_uninterrupted_one(stop, uninterrupted, tmp_path):
    whole, rows = uninterrupted
    assert len(rows) == 7
    cut = trainer(tmp_path / "cut").run(every=1)
    for _ in range(stop):
        next(cut)
    cut.close()
    # Lines after the last checkpoint are not trusted.
    with (tmp_path / "cut" / METRICS).open("a") as file:
        file.write(json.dumps(rows[stop]) + "\n")
    resumed = trainer(tmp_path / "cut")
    assert resumed.total == stop
    list(resumed.run(every=1))
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, resumed.model.state_dict()[name]), name
    assert timeless(metrics.read(tmp_path / "cut" / METRICS)) == timeless(rows)
    assert (tmp_path / "cut" / CHECKPOINT).read_bytes() == (whole.folder / CHECKPOINT).read_bytes()


def test_figures_that_were_cut_off_as_they_were_written_are_written_again(uninterrupted, tmp_path):
    next(trainer(tmp_path).run(every=1))
    with (tmp_path / METRICS).open("a") as file:
        file.write('{"stage": 0, "st')
    list(trainer(tmp_path).run(every=1))
    assert timeless(metrics.read(tmp_path / METRICS)) == timeless(uninterrupted[1])


def test_a_finished_training_has_nothing_to_do(tmp_path):
    list(trainer(tmp_path).run(every=100))
    again = trainer(tmp_path)
    assert again.done
    assert not list(again.run(every=100))


def test_a_training_on_a_model_begins_with_its_weights_and_is_resumed_with_its_own(start, tmp_path):
    whole = trainer(tmp_path / "whole", start=start)
    assert same(whole.model, start.model)
    assert not same(trainer(tmp_path / "new").model, start.model)
    list(whole.run(every=1))
    cut = trainer(tmp_path / "cut", start=start).run(every=1)
    next(cut)
    cut.close()
    resumed = trainer(tmp_path / "cut", start=start)
    assert resumed.total == 1
    list(resumed.run(every=1))
    assert same(resumed.model, whole.model)
    with pytest.raises(ValueError, match="another seed, model or schedule"):
        trainer(tmp_path / "cut", start=start._replace(digest="1" * 64))


@pytest.mark.parametrize(("depth", "share"), [(3, 1.0), (6, 0.25)])
def test_layers_inside_a_deep_memory_share_one_rate(depth, share, tmp_path):
    config = replace(CONFIG, memory=replace(CONFIG.memory, depth=depth))
    deep = Trainer(Toy(), config, STAGES, seed=0, folder=tmp_path, device=torch.device("cpu"))
    first, *inner = deep.model.memory.initial
    layers, shares = (first, *inner), (1.0, *[share] * len(inner))
    before = [layer.detach().clone() for layer in layers]
    rate = next(deep.run(every=1))["rate"]
    # AdamW's first step is the rate, whatever the gradient, and beside it the weight's decay.
    moved = [
        (layer.detach() - old * (1 - 0.01 * share * rate)).abs().max().item() / rate
        for layer, old, share in zip(layers, before, shares, strict=True)
    ]
    assert moved == pytest.approx(shares, rel=0.02)


def test_a_penalty_without_a_ramp_is_whole_from_the_first_step_on(tmp_path):
    def loss(ramp):
        stages = (replace(SOFT, steps=1, ramp=ramp),)
        return next(trainer(tmp_path / str(ramp), stages).run(every=1))["loss"]

    assert loss(0) == loss(1) > loss(300)


@pytest.mark.parametrize("other", [{"seed": 1}, {"stages": (SOFT,)}])
def test_another_training_in_the_folder_is_refused(other, tmp_path):
    next(trainer(tmp_path).run(every=1))
    with pytest.raises(ValueError, match="another seed, model or schedule"):
        trainer(tmp_path, **other)


def test_a_training_learns(tmp_path):
    stages = (Stage(steps=60, rows=8, length=96, needles=(2,), rate=3e-3, hard=False, penalty=0.0, prose=1.0),)
    rows = list(trainer(tmp_path, stages).run(every=20))
    assert rows[-1]["loss"] < 0.9 * rows[0]["loss"]


def test_the_curves_are_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    rows = list(trainer(tmp_path).run(every=2))
    metrics.plot(rows, tmp_path / "curves.svg")
    drawn = (tmp_path / "curves.svg").read_text()
    assert all(label in drawn for label in ("loss", "digits_new", "digits_disjoint", "ordinary"))

"""A training learns, stops and goes on."""

import json

import pytest
import torch

from memsvc.backbone.titans_mac.config import ContextMemoryConfig, MacConfig
from memsvc.train import metrics
from memsvc.train.stages import Stage
from memsvc.train.trainer import CHECKPOINT, METRICS, Trainer
from tests.train.toy import Toy

CONFIG = MacConfig(vocabulary=53, width=32, heads=2, chunk=16, memory=ContextMemoryConfig(key=16, hidden=32, value=16))
SOFT = Stage(steps=3, rows=2, length=96, needles=(2,), rate=1e-3, hard=False, penalty=0.1, prose=0.2)
STAGES = (SOFT, Stage(steps=4, rows=2, length=128, needles=(2, 4), rate=1e-3, hard=True, penalty=0.1, prose=0.2))


def trainer(folder, stages=STAGES, seed=0):
    return Trainer(Toy(), CONFIG, stages, seed=seed, folder=folder, device=torch.device("cpu"))


def timeless(rows):
    return [{name: value for name, value in row.items() if name != "step_s"} for row in rows]


@pytest.mark.parametrize("stop", [1, 2, 3, 4])
def test_a_resumed_training_equals_an_uninterrupted_one(stop, tmp_path):
    whole = trainer(tmp_path / "whole")
    rows = list(whole.run(every=1))
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
    assert (tmp_path / "cut" / CHECKPOINT).read_bytes() == (tmp_path / "whole" / CHECKPOINT).read_bytes()


def test_a_finished_training_has_nothing_to_do(tmp_path):
    list(trainer(tmp_path).run(every=100))
    again = trainer(tmp_path)
    assert again.done
    assert not list(again.run(every=100))


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

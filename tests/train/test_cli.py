"""`memsvc-train`: the model has the shape that was asked for, or is a trained one that was gone on with."""

from dataclasses import replace

import pytest
import torch
import typer
from tokenizers import Tokenizer, models
from typer.testing import CliRunner

from memsvc.backbone.titans_mac import checkpoint
from memsvc.train import cli, gate
from memsvc.train.ridge import SHARES
from memsvc.train.stages import Stage
from memsvc.train.trainer import CHECKPOINT
from tests.train.test_trainer import CONFIG, SOFT, STAGES
from tests.train.toy import Toy

pytest.importorskip("matplotlib")

FURTHER = (replace(SOFT, steps=2, ramp=0),)


@pytest.fixture(scope="module", autouse=True)
def small():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cli, "SOURCES", {"toy": lambda _: Toy()})
        patch.setattr(cli, "SHAPE", CONFIG)
        patch.setattr(cli, "STAGES", {"toy": STAGES})
        patch.setattr(cli, "FURTHER", {"toy": FURTHER})
        patch.setattr(gate, "BATCHES", 2)
        yield


def run(out, *options, kind="toy"):
    app = typer.Typer()
    app.command()(cli.train)
    # The whole process's threads: other tests keep theirs.
    given = [kind, str(out), "--threads", str(torch.get_num_threads()), "--device", "cpu", *options]
    return CliRunner().invoke(app, given)


def trained(out, *options):
    result = run(out, *options)
    assert result.exit_code == 0, result.output
    return checkpoint.load(out / cli.MODEL)


def refused(out, option, *options):
    result = run(out, *options)
    assert result.exit_code == 2
    assert option in result.output
    assert not out.exists()
    return " ".join(result.output.replace("│", " ").split())


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    out = tmp_path_factory.mktemp("base")
    trained(out, "--hidden", "64", "--chunk", "16")
    return out / cli.MODEL


def planned(loaded):
    return [Stage(**stage | {"needles": tuple(stage["needles"])}) for stage in loaded.card["plan"]["stages"]]


def test_the_shape_is_the_one_that_was_asked_for_and_so_are_the_stages(tmp_path):
    shape = ("--hidden", "64", "--depth", "3", "--readout", "kv", "--sure", "2", "--chunk", "8", "--momentum")
    loaded = trained(tmp_path, "--stages", "1", *shape)
    assert loaded.model.config.chunk == 8
    memory = replace(CONFIG.memory, hidden=64, depth=3, readout="kv", sure=2.0, momentum=True)
    assert loaded.model.config.memory == memory
    assert planned(loaded) == [SOFT]
    alike = trained(tmp_path / "alike", "--stages", "0", "--hidden", "64", "--chunk", "16", "--sure", "none")
    assert alike.model.config.memory.sure is None
    assert "start" not in loaded.card["plan"]


def test_a_trained_model_is_gone_on_from_in_its_own_shape_and_its_card_says_so(base, tmp_path):
    start = checkpoint.load(base)
    loaded = trained(tmp_path, "--on", str(base), "--hidden", "32", "--chunk", "8")
    assert loaded.model.config == start.model.config
    assert loaded.card["plan"]["start"] == {"sha256": start.digest, "card": start.card}
    assert (planned(start), planned(loaded)) == (list(STAGES), list(FURTHER))
    assert loaded.digest != start.digest


def test_a_training_from_nothing_is_not_gone_on_with_from_a_model(base):
    result = run(base.parent, "--on", str(base))
    assert result.exit_code == 2
    assert "holds a training with another seed" in " ".join(result.output.replace("│", " ").split())


def test_a_model_of_another_kind_or_with_other_tokens_is_refused(base, tmp_path):
    start = checkpoint.load(base)
    others = Tokenizer(models.WordLevel({"A": 0}, unk_token="A"))
    for tokenizer, kind in ((others, "toy"), (start.tokenizer, "text")):
        other = tmp_path / "other.safetensors"
        checkpoint.save(other, start.model, tokenizer, dict(start.card) | {"kind": kind})
        assert "was not trained on toy" in refused(tmp_path / "out", "--on", "--on", str(other))


def test_prose_may_be_gone_on_from_to_dialogue_and_toys_may_not(base, tmp_path, monkeypatch):
    start = checkpoint.load(base)
    for name in ("SOURCES", "STAGES", "FURTHER"):
        monkeypatch.setattr(cli, name, {"dialogue": getattr(cli, name)["toy"]})
    prose = tmp_path / "prose.safetensors"
    checkpoint.save(prose, start.model, start.tokenizer, dict(start.card) | {"kind": "text"})
    assert run(tmp_path / "out", "--on", str(prose), "--stages", "0", kind="dialogue").exit_code == 0
    card = checkpoint.load(tmp_path / "out" / cli.MODEL).card
    assert (card["kind"], card["plan"]["start"]["card"]["kind"]) == ("dialogue", "text")
    assert run(tmp_path / "toy", "--on", str(base), "--stages", "0", kind="dialogue").exit_code == 2


def test_a_source_of_english_takes_the_tokenizer_of_the_model_that_is_gone_on_from(base, tmp_path, monkeypatch):
    given = []

    def source(tokenizer):
        given.append(tokenizer and tokenizer.to_str())
        return Toy()

    monkeypatch.setattr(cli, "SOURCES", {"toy": source})
    trained(tmp_path / "on", "--on", str(base), "--stages", "0")
    trained(tmp_path / "new", "--stages", "0", "--hidden", "64", "--chunk", "16")
    assert given == [checkpoint.load(base).tokenizer.to_str(), None]


def test_without_stages_gate_and_ridge_are_set_and_readout_and_weights_may_be_others(base, tmp_path):
    start = checkpoint.load(base)
    loaded = trained(tmp_path, "--on", str(base), "--stages", "0", "--readout", "residual", "--sure", "3.5")
    assert loaded.model.config.memory == replace(start.model.config.memory, readout="residual", sure=3.5)
    assert planned(loaded) == []
    assert set(map(float, loaded.card["ridge"])) == set(SHARES)
    weights, before = loaded.model.state_dict(), start.model.state_dict()
    assert set(before) - set(weights) == {"entry.seen.weight"}
    set_here = {"memory.ridge", "memory.rates.bias"}
    assert all(torch.equal(weights[name], before[name]) for name in set(weights) - set_here)


def test_a_model_may_be_the_mean_of_its_family_and_its_card_names_them(base, tmp_path):
    start = checkpoint.load(base)
    other = trained(tmp_path / "other", "--on", str(base), "--readout", "residual")
    file = str(tmp_path / "other" / cli.MODEL)
    mean = trained(tmp_path / "mean", "--on", file, "--stages", "0", "--average", str(base), "--average", str(base))
    assert [each["sha256"] for each in mean.card["average"]] == [start.digest] * 2
    assert (start.card["average"], mean.card["average"][0]["card"]) == ([], start.card)
    weights = [each.model.state_dict() for each in (mean, other, start)]
    for name in set(weights[0]) - {"memory.ridge", "memory.rates.bias"}:
        found, one, two = (each[name] for each in weights)
        torch.testing.assert_close(found, (one + 2 * two) / 3)
    assert not torch.equal(weights[0]["embedding.weight"], weights[1]["embedding.weight"])


def test_a_mean_with_another_shape_other_tokens_or_of_no_family_is_refused(base, tmp_path):
    narrow = tmp_path / "narrow"
    trained(narrow, "--stages", "0", "--hidden", "32", "--chunk", "16")
    other = str(narrow / cli.MODEL)
    assert "of the shape" in refused(tmp_path / "out", "--average", "--on", str(base), "--average", other)
    assert "with the tokenizer of --on" in refused(tmp_path / "out", "--average", "--average", str(base))
    start = checkpoint.load(base)
    foreign = tmp_path / "foreign.safetensors"
    checkpoint.save(foreign, start.model, Tokenizer(models.WordLevel({"A": 0}, unk_token="A")), start.card)
    assert "with the tokenizer" in refused(tmp_path / "out", "--average", "--on", str(base), "--average", str(foreign))


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *[("--readout", "none"), ("--sure", "much"), ("--sure", "inf"), ("--sure", "nan")],
        *[("--depth", "1"), ("--depth", "13"), ("--chunk", "7"), ("--chunk", "24"), ("--chunk", "32")],
        *[("--hidden", "33"), ("--scale", "inf"), ("--device", "abacus"), ("--device", "meta")],
    ],
)
def test_a_shape_that_there_is_not_is_refused(option, value, tmp_path):
    refused(tmp_path / "out", option, option, value)


@pytest.mark.parametrize("option", ["--on", "--average"])
def test_a_file_that_is_no_model_is_refused(option, tmp_path):
    (tmp_path / "file").write_bytes(b"no model")
    assert "no titans-mac model" in refused(tmp_path / "out", option, option, str(tmp_path / "file"))


def test_a_damaged_checkpoint_is_named_and_left_as_it_is(tmp_path):
    trained(tmp_path / "out", "--chunk", "16")
    kept = tmp_path / "out" / CHECKPOINT
    kept.write_bytes(kept.read_bytes()[:-1])
    result = run(tmp_path / "out", "--chunk", "16")
    assert result.exit_code == 2
    assert "is damaged" in " ".join(result.output.replace("│", " ").split())
    assert kept.exists()

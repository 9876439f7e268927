"""The short form of the needle benchmark, on a model without training."""

import json
import shutil
from dataclasses import asdict, replace
from itertools import pairwise

import pytest
import torch
from memsvc_bench import markdown, needle, needle_card, needle_run, needle_service
from memsvc_bench.needle_figures import wilson
from memsvc_bench.needle_plan import FULL, SHIPPED, Scale, passes
from memsvc_bench.needle_switches import SWITCHES, switches
from typer.testing import CliRunner

from memsvc.backbone.titans_mac import checkpoint
from memsvc.backbone.titans_mac.config import ContextMemoryConfig, MacConfig
from memsvc.backbone.titans_mac.model import TitansMac
from memsvc.cli.main import make_app
from memsvc.train import dna
from memsvc.train.stages import STAGES

SMALL = Scale(
    lengths=(1_024, 1_536, 2_048),
    similar=2,
    fresh=2,
    controls=2,
    strangers=2,
    far=(2_048, 2),
    short=1_536,
    hard=1_536,
    capacity={1: (3, 2), 12: (2, 2)},
    many=12,
    ablations=2,
    tenants=2,
    rows=2,
    histories=(256, 512, 768),
    rounds=1,
    timed=16,
    shaped=16,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        # Genomes for training take seconds to make.
        patch.setattr(dna, "LENGTH", 4_000)
        yield tmp_path_factory.mktemp("needle")


def save(path, seed):
    torch.manual_seed(seed)
    memory = ContextMemoryConfig(key=16, hidden=32, value=16)
    model = TitansMac(MacConfig(vocabulary=5, width=32, heads=2, chunk=16, memory=memory))
    torch.nn.init.normal_(model.memory.rates.weight, std=0.7)
    model.memory.rates.bias.data[3] = -2.0
    stages = [asdict(replace(STAGES["dna"][0], steps=3))]
    plan = {"seed": seed, "config": model.config.to_json(), "stages": stages}
    card = {"kind": "dna", "plan": plan, "torch": "2", "python": "3", "device": "cpu", "threads": 1}
    checkpoint.save(path, model, dna.Dna().tokenizer, card)
    return path


@pytest.fixture(scope="module")
def model(folder):
    return save(folder / "model.safetensors", 0)


@pytest.fixture(scope="module")
def hay(folder):
    path = folder / "hay.fasta"
    path.write_text(">one\n" + "ACGTTGCATTGACCA\n" * 100)
    return path


def measured(folder, model, hay, threads=1, scale=SMALL, **options):
    return needle.bench("dna", folder / "run", model=model, file=hay, threads=threads, scale=scale, **options)


def again(folder, model, hay, **options):
    """Measure what `result` has, in its folder."""
    return measured(folder, model, hay, ablations={"wide": folder / "wide.safetensors"}, beyond=3_072, **options)


def found(result):
    """Return what is no time of this machine."""
    return {name: figure for name, figure in result.figures.items() if name != "passes_core_minutes"}


@pytest.fixture(scope="module")
def result(folder, model, hay):
    other = save(folder / "wide.safetensors", 1)
    return measured(folder, model, hay, ablations={"wide": other}, beyond=3_072)


def test_every_question_has_its_row(result, model):
    figures = result.figures
    assert "--lengths 1024,1536,2048 " in result.command
    for family in ("similar", "fresh"):
        assert [figures[f"{family}, memory, {n:,}"]["n"] for n in SMALL.lengths] == [16] * 3
        assert figures[f"{family}, memory, 3,072"]["n"] == {"similar": 64, "fresh": 32}[family]
        for control in ("memory off", "zero writes", "other tenant"):
            assert figures[f"{family}, {control}, 1,536"]["n"] == 16
            far = (family, control) == ("similar", "other tenant")
            assert (f"{family}, {control}, 2,048" in figures) == far
    assert figures["similar, memory, distractors haystack, 1,536"]["n"] == 16
    assert [figures[f"{n} facts, 2,048"]["n"] for n in (1, 8, 12)] == [2, 16, 24]
    assert [figures[f"{n} facts, 1,536"]["n"] for n in (1, 8, 12)] == [3, 16, 24]
    assert figures["wide, 12 facts, 1,536"]["n"] == 24
    switched = switches(checkpoint.load(model).model.config)
    assert all(figures[name]["n"] == 16 for name in ("shipped", "wide", *switched))
    assert not any(name in figures for name in SWITCHES.keys() - set(switched))
    assert {
        name for name in figures if name.endswith(", 2,048") and name.partition(", ")[0] in {"shipped", *switched}
    } == {f"{name}, 2,048" for name in ("shipped", "gate: always open", "no decay")}


def test_all_answers_are_listed_for_programs_as_well(result):
    figures = result.figures
    assert {"condition", "length", "depth", "n", "exact", "digits", "gate_share"} <= figures["rows"][0].keys()
    rows = {
        (row["family"], row["condition"], row["length"]): row
        for row in figures["rows"]
        if (row["table"], row["haystack"]) == ("curve", "unseen")
    }
    for (family, condition, length), row in rows.items():
        shown = figures[f"{family}, {condition}, {length:,}"]
        assert all(row[name] == shown[name] for name in ("n", "exact", "depth", "gate_share"))
    assert figures["passes_core_minutes"] > 0
    assert "| rows |" not in markdown.render(json.loads(result.to_json()))


def test_a_gate_that_is_always_open_is_seen_to_be(result):
    assert result.figures["gate: always open"]["gate_share"] == 1.0
    assert 0 < result.figures["shipped"]["gate_share"] < 1
    assert result.figures["similar, zero writes, 1,536"]["gate_share"] == 0.0


def test_a_model_that_knows_nothing_fails_its_checks_and_says_so(result, folder):
    assert not result.ok
    failed = {check.name for check in result.checks if not check.ok}
    assert {"similar, exact at 2,048", "fresh, exact at 2,048", "12 facts, exact at 2,048"} <= failed
    assert "**no**" in (folder / "run" / "tables.md").read_text()


def test_a_server_is_asked_beside_the_passes_once_in_a_run(result, folder, model, hay, monkeypatch):
    for name in ("through the service", "through the service, other tenant"):
        row = result.figures[f"{name}, 1,536"]
        assert (row["tenants"], row["n"]) == (2, 16)
        assert row["tokens"] >= 1_536
    assert {check.name for check in result.checks if "through the service" in check.name} == {
        "through the service, exact at 1,536",
        "through the service, other tenant, share of right characters",
    }
    assert "--no-service" not in result.command
    monkeypatch.setattr(needle_service, "served", None)
    assert again(folder, model, hay).figures == result.figures
    monkeypatch.setattr(needle_service, "served", lambda *_, **asked: asked)
    task = needle_run.Task(folder=folder / "run", kind="dna", models={SHIPPED: model})
    # Another length in the same folder is another question.
    kept = (task.folder / "service.json").read_text()
    assert needle_service.through(task, replace(SMALL, short=1_024)) == {"tenants": 2, "length": 1_024}
    (task.folder / "service.json").write_text(kept)


def test_without_tenants_no_server_is_started(result, folder, model, hay, monkeypatch, tmp_path):
    (tmp_path / "wide.safetensors").symlink_to(folder / "wide.safetensors")
    shutil.copytree(folder / "run", tmp_path / "run")
    (tmp_path / "run" / "service.json").unlink()
    monkeypatch.setattr(needle_service, "served", None)
    alone = again(tmp_path, model, hay, scale=replace(SMALL, tenants=0))
    assert not any("service" in name for name in (*alone.figures, *(check.name for check in alone.checks)))
    assert "--no-service" in alone.command


def test_what_it_costs_is_measured(result):
    row = result.figures["haystack, 1 streams"]
    assert row["flops_per_token"] > row["flops_without_memory"] > 0
    sizes = {result.figures[f"history of {length}"]["state_bytes"] for length in SMALL.histories}
    assert len(sizes) == 1
    deep = [result.figures[f"memory of depth {depth}"] for depth in (2, 6, 8, 12)]
    for less, more in pairwise(deep):
        assert less["flops_per_token"] < more["flops_per_token"]
        assert less["state_bytes"] < more["state_bytes"]
    assert result.figures["memory in chunks of 32"]["state_bytes"] == deep[0]["state_bytes"]


def test_the_tables_and_the_curves_are_written(result, folder):
    kept = json.loads((folder / "run" / "result.json").read_text())
    assert kept == json.loads(result.to_json())
    assert (folder / "run" / "tables.md").read_text() == markdown.render(kept)
    for name in ("needle-dna.svg", "needle-capacity-dna.svg"):
        assert "<svg" in (folder / "run" / name).read_text()


def test_a_run_that_was_broken_off_is_gone_on_with(result, folder, model, hay, monkeypatch):
    file = folder / "run" / "passes.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[:-2]) + lines[-2][:40])
    computed, test = [], needle_run.needle_test
    monkeypatch.setattr(needle_run, "needle_test", lambda *given: computed.append(given) or test(*given))
    assert found(again(folder, model, hay)) == found(result)
    assert len(computed) == 2
    assert len(file.read_text().splitlines()) == len(lines)


def test_another_process_finds_the_same(result, folder, model, hay):
    file = folder / "run" / "passes.jsonl"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[1:]))
    assert found(again(folder, model, hay, threads=2)) == found(result)


def test_a_folder_with_another_run_is_refused(result, folder, hay):
    with pytest.raises(ValueError, match="holds a run of other models"):
        measured(folder, save(folder / "new.safetensors", 2), hay)


def test_what_does_not_fit_is_refused_before_anything_is_computed(folder, model, hay):
    with pytest.raises(ValueError, match="trained on dna, not on text"):
        needle.bench("text", folder / "other", model=model, scale=SMALL)
    for lengths in ((2_048,), (2_048, 1_024), (1_024, 1_024), (2_048, 4_096)):
        with pytest.raises(ValueError, match="the first of them at most 1536"):
            needle.bench("dna", folder / "other", model=model, scale=replace(SMALL, lengths=lengths))
    for beyond in (2_048, 3_000):
        with pytest.raises(ValueError, match="multiple of 16 past 2048"):
            measured(folder, model, hay, beyond=beyond)
    assert not (folder / "other").exists()


def test_a_model_that_is_not_there_is_named_and_so_is_an_ablation_without_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr(needle, "MODELS", tmp_path)
    result = CliRunner().invoke(make_app(), ["bench", "needle", "--preset", "dna", "--folder", str(tmp_path / "run")])
    assert result.exit_code != 0
    assert "there is no model at" in result.output
    for option, wrong in (("--ablation", "wide"), ("--lengths", "2048,two")):
        result = CliRunner().invoke(make_app(), ["bench", "needle", option, wrong])
        assert result.exit_code != 0
        assert option in result.output


def test_a_card_says_what_the_model_is_and_what_it_reached(result, folder, model):
    kept = json.loads(result.to_json())
    text = needle_card.card("dna", checkpoint.load(model), kept)
    assert checkpoint.load(model).digest in text
    assert "no chat model" in text
    assert "| similar, memory, 2,048 | 16 |" in text
    assert "**no**" in text
    with pytest.raises(ValueError, match="not one of wide"):
        needle_card.card("wide", checkpoint.load(folder / "wide.safetensors"), kept)


def test_a_card_tells_every_training_that_a_model_went_through(result, folder, model, tmp_path):
    kept, start = json.loads(result.to_json()), checkpoint.load(model)
    config = replace(start.model.config, memory=replace(start.model.config.memory, sure=3.5)).to_json()
    plan = start.card["plan"] | {"stages": [], "start": {"sha256": start.digest, "card": start.card}, "config": config}
    further = tmp_path / "further.safetensors"
    checkpoint.save(
        further, start.model, start.tokenizer, start.card | {"plan": plan, "ridge": {"1.0": 0.5, "0.1": 0.75}}
    )
    loaded = checkpoint.load(further)
    kept["figures"]["model_sha256"] = loaded.digest
    text = needle_card.card("further", loaded, kept)
    first, then = (
        text.index(
            "`memsvc-train dna DIR --hidden 32 --depth 2 --chunk 16 --readout both --sure none --momentum --seed"
        ),
        text.index(f"--on {start.digest[:12]}.safetensors --stages 0 --readout both --sure 3.5"),
    )
    assert first < text.index("3 steps") < then < text.index("0 steps")
    assert "| 0.1 | 0.75 |" in text
    # Its stage has three steps.
    assert text.count("the command has others today") == 1


def test_the_full_run_asks_often_enough_at_the_last_length():
    asked = {}
    planned = passes("text", FULL, MacConfig(vocabulary=5), [])
    for each in planned:
        if each.hay == "unseen" and each.condition == "memory" and each.lengths[-1] == FULL.lengths[-1]:
            asked[each.table, each.family, each.needles] = (
                asked.get((each.table, each.family, each.needles), 0) + each.streams * each.needles
            )
    assert asked["curve", "similar", 8] >= 200
    assert asked["curve", "fresh", 8] >= 200
    assert asked["capacity", "similar", 100] >= 200
    assert len(set(planned)) == len(planned)


@pytest.mark.parametrize(
    ("right", "n", "low", "high"), [(0, 10, 0.0, 0.2775), (81, 263, 0.2553, 0.3662), (10, 10, 0.7225, 1.0)]
)
def test_the_interval_is_wilsons(right, n, low, high):
    # Of 81 in 263: Newcombe 1998, Statistics in Medicine 17:857, table I, method 3.
    assert wilson(right / n, n) == pytest.approx((low, high), abs=1e-4)

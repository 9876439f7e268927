"""All benchmarks in one run: its files, its page, and what it does when a part cannot be run or was run before."""

import dataclasses
import inspect
import json
import re
from importlib import import_module

import pytest
from memsvc_bench import suite
from memsvc_bench.peer_stores import PEERS
from memsvc_bench.report import Check, Result, describe_machine

from tests.bench.test_importance import conversation
from tests.bench.test_plot import FIGURES


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    file = tmp_path_factory.mktemp("data") / "locomo.json"
    file.write_text(json.dumps([conversation("a", 60), conversation("b", 40)]))
    return file


@pytest.fixture(scope="module")
def ran(tmp_path_factory, data):
    """The folder of a real run in short, and what it returned. Peers are not installed, and what grows takes long."""
    folder = tmp_path_factory.mktemp("run")
    return folder, suite.bench(folder, data=data, names=["kernels", "memory"], quick=True)


class Asked:
    """Stands for the processes: answers what it was told, and keeps what it was asked."""

    def __init__(self, **answers) -> None:
        self.answers = {name: done(name) for name in suite.PARTS} | answers
        self.names: list[str] = []

    def __call__(self, module):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def ask(self, op, *, name, data, quick):
        self.names.append(name)
        assert (data is not None) == suite.PARTS[name]
        if isinstance(self.answers[name], Exception):
            raise self.answers[name]
        return self.answers[name]


def done(name: str, value: float = 1.0) -> dict:
    checks = [Check.at_least("it", value, 1.0)]
    figures = FIGURES.get(name, {"it": value})
    result = Result(machine=describe_machine(), command=f"memsvc bench {name}", figures=figures, checks=checks)
    return json.loads(result.to_json())


@pytest.fixture
def processes(monkeypatch):
    def put(**answers) -> Asked:
        asked = Asked(**answers)
        monkeypatch.setattr(suite, "AskedProcess", asked)
        return asked

    monkeypatch.setattr(suite, "PEERS", {"cosine": PEERS["cosine"]})
    return put


def test_every_part_has_its_result_and_the_page_its_tables_checks_and_plots(ran):
    folder, parts = ran
    assert list(parts) == ["kernels", "memory"]
    assert all(json.loads((folder / f"{name}.json").read_text()) == part for name, part in parts.items())
    page = (folder / suite.PAGE).read_text()
    assert describe_machine()["cpu"] in page
    assert f"`memsvc bench all --folder {folder.name} --data locomo.json --only kernels,memory --quick`" in page
    assert "no figure here is a measurement" in page
    assert "| depth 2, tenants 1, write: memsvc |" in page
    assert "| documents: dense memory over ridge residual |" in page
    plots = re.findall(r"!\[.+\]\((.+)\)", page)
    assert plots == ["kernels-read.svg", "kernels-write.svg", "memory.svg"]
    assert all((folder / plot).read_text().startswith("<?xml") for plot in plots)


def test_what_is_there_is_not_run_again(ran, data, processes):
    folder, parts = ran
    asked = processes()
    page = (folder / suite.PAGE).read_text()
    assert suite.bench(folder, data=data, names=["kernels", "memory"], quick=True) == parts
    assert asked.names == []
    assert (folder / suite.PAGE).read_text() == page


@pytest.mark.parametrize("name", suite.PARTS)
def test_every_part_takes_what_it_is_given_in_both_forms(name, data):
    benchmark = import_module(f"memsvc_bench.{name}")
    given = [data] if suite.PARTS[name] else []
    for scale in (benchmark.FULL, benchmark.QUICK):
        inspect.signature(benchmark.bench).bind(*given, scale=scale)


def test_a_file_that_is_not_the_parts_own_is_said_by_the_part(tmp_path):
    other = tmp_path / "other.json"
    other.write_text("[{}]")
    parts = suite.bench(tmp_path, data=other, names=["memory"], quick=True)
    assert parts == {"memory": {"error": "other.json is not a LoCoMo file"}}
    assert not (tmp_path / "memory.json").exists()


def test_all_parts_run_in_order_and_their_plots_are_on_the_page(tmp_path, data, processes):
    asked = processes()
    parts = suite.bench(tmp_path, data=data)
    assert asked.names == list(parts) == list(suite.PARTS)
    assert all(map(suite.holds, parts.values()))
    page = (tmp_path / suite.PAGE).read_text()
    assert [line for line in page.splitlines() if line.startswith("## ")] == [f"## {name}" for name in suite.PARTS]
    assert "`memsvc bench scale`" in page
    assert "(scale-chunk-step-alone-tokens-per-s.svg)" in page
    assert {path.name for path in tmp_path.iterdir()} == {
        suite.PAGE,
        *(f"{name}.json" for name in suite.PARTS),
        *re.findall(r"\((.+\.svg)\)", page),
    }


def test_a_part_that_cannot_be_run_is_named_and_stops_no_other(tmp_path, data, processes, monkeypatch):
    missing = dataclasses.replace(PEERS["cosine"], name="elsewhere", modules=("no_such_module",))
    monkeypatch.setattr(suite, "PEERS", {"cosine": PEERS["cosine"], "elsewhere": missing})
    asked = processes(kernels=RuntimeError("it ended"), memory={"error": "no memory"}, scale=done("scale", 0.5))
    parts = suite.bench(tmp_path, data=data)
    assert asked.names == ["kernels", "memory", "scale"]
    assert [part.get("error") for part in parts.values()] == ["it ended", "no memory", "not installed: elsewhere", None]
    assert not any(map(suite.holds, parts.values()))
    page = (tmp_path / suite.PAGE).read_text()
    for why in ("it ended", "no memory", "not installed: elsewhere"):
        assert f"**Not run**: {why}" in page
    assert "| it | 0.5 | >= 1 | **no** |" in page
    assert [path.name for path in tmp_path.glob("*.json")] == ["scale.json"]


def test_a_part_that_failed_is_run_again_and_the_others_are_not(tmp_path, data, processes, monkeypatch):
    processes(memory={"error": "no memory"})
    suite.bench(tmp_path, data=data)
    asked = processes()
    # What is there needs nothing that it was run with.
    missing = dataclasses.replace(PEERS["cosine"], modules=("no_such_module",))
    monkeypatch.setattr(suite, "PEERS", {"cosine": missing})
    assert all(map(suite.holds, suite.bench(tmp_path, data=data).values()))
    assert asked.names == ["memory"]


def test_without_data_what_needs_it_is_left_out(tmp_path, processes):
    asked = processes()
    parts = suite.bench(tmp_path)
    assert asked.names == ["kernels", "scale"]
    assert parts["memory"] == parts["peers"] == {"error": "it needs a LoCoMo file (--data)"}


@pytest.mark.parametrize("other", ["machine", "data", "form", "no part"])
def test_a_folder_of_another_run_is_refused_and_kept(tmp_path, data, processes, monkeypatch, other):
    processes()
    suite.bench(tmp_path, data=data)
    quick = other == "form"
    if other == "machine":
        monkeypatch.setattr(suite, "describe_machine", lambda: {**describe_machine(), "cores": 1000})
    elif other == "data":
        elsewhere = tmp_path / "other" / data.name
        elsewhere.parent.mkdir()
        elsewhere.write_text(f"{data.read_text()} ")
        data = elsewhere
    elif other == "no part":
        (tmp_path / "memory.json").write_text("[1]")
    before = {path: path.read_bytes() for path in tmp_path.glob("*.*")}
    asked = processes()
    with pytest.raises(ValueError, match="is of another machine, version, data or form"):
        suite.bench(tmp_path, data=data, quick=quick)
    assert asked.names == []
    assert {path: path.read_bytes() for path in tmp_path.glob("*.*")} == before

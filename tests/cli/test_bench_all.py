"""`memsvc bench all`: what it is told, what it prints, and the exit code."""

import json

import pytest
from memsvc_bench import suite


def part(ok: bool) -> dict:
    return {"command": "memsvc bench kernels", "checks": [{"name": "it", "value": 1.0, "target": ">= 1", "ok": ok}]}


@pytest.fixture
def told(monkeypatch):
    """What the parts come to is set here; what they are asked with is kept."""
    told = {"parts": {"kernels": part(ok=True)}}

    def bench(folder, **options):
        told.update(options, folder=folder)
        return told["parts"]

    monkeypatch.setattr(suite, "bench", bench)
    return told


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        ({"kernels": part(ok=True)}, 0),
        ({"kernels": part(ok=True), "scale": part(ok=False)}, 1),
        ({"kernels": part(ok=True), "peers": {"error": "it needs what memsvc[bench] installs"}}, 1),
    ],
)
def test_it_succeeds_only_if_all_ran_and_all_checks_hold(memsvc, told, tmp_path, parts, code):
    told["parts"] = parts
    ran = memsvc("bench", "all", "--folder", tmp_path, "--json")
    assert ran.code == code
    assert ran.json == {"parts": parts}
    ran = memsvc("bench", "all", "--folder", tmp_path)
    assert ran.code == code
    assert all(name in ran.out for name in parts)
    assert all(found.get("error", "") in ran.out for found in parts.values())
    assert suite.PAGE in ran.out


def test_the_chosen_parts_run_in_their_own_order(memsvc, told, tmp_path):
    memsvc("bench", "all", "--folder", tmp_path, "--only", "scale, kernels", "--quick")
    assert (told["names"], told["quick"], told["data"], told["folder"]) == (["kernels", "scale"], True, None, tmp_path)
    memsvc("bench", "all", "--folder", tmp_path)
    assert (told["names"], told["quick"]) == (list(suite.PARTS), False)


@pytest.mark.parametrize("only", ["locomo", "kernels,,scale", " "])
def test_a_part_that_there_is_not_is_refused_by_the_options_name(memsvc, told, tmp_path, only):
    ran = memsvc("bench", "all", "--folder", tmp_path, "--only", only)
    assert ran.code == 2
    assert "--only" in ran.err
    assert "folder" not in told


def test_a_folder_of_another_run_is_named(memsvc, tmp_path):
    (tmp_path / "kernels.json").write_text(json.dumps(part(ok=True)))
    ran = memsvc("bench", "all", "--folder", tmp_path, "--only", "kernels")
    assert ran.code == 1
    assert "kernels.json is of another machine" in ran.err


def test_a_part_without_its_data_is_an_error_of_its_own(memsvc, tmp_path):
    ran = memsvc("bench", "all", "--folder", tmp_path / "new", "--only", "memory", "--json")
    assert ran.code == 1
    assert ran.json == {"parts": {"memory": {"error": "it needs a LoCoMo file (--data)"}}}
    assert "**Not run**: it needs a LoCoMo file (--data)" in (tmp_path / "new" / suite.PAGE).read_text()

"""Results as Markdown."""

import json

from memsvc_bench import markdown
from memsvc_bench.report import Check, Result, describe_machine


def result() -> Result:
    rows = {"one": {"p50_ms": 1.5, "n": 1000}, "two": {"p50_ms": 2.0, "n": None}, "other": {"x": True}}
    checks = [Check.at_most("a | b", 3, 2), Check.holds("c", value=True)]
    return Result(machine=describe_machine(), command="memsvc bench x", figures={"speed_x": 2.0, **rows}, checks=checks)


def test_renders_figures_rows_and_checks():
    text = markdown.render(json.loads(result().to_json()))
    assert "`memsvc bench x`" in text
    assert "| speed x | 2 |" in text
    assert "|  | p50 ms | n |" in text
    assert "| one | 1.5 | 1,000 |" in text
    assert "| two | 2 |  |" in text
    assert "| other | yes |" in text
    assert r"| a \| b | 3 | <= 2 | **no** |" in text
    assert "| c | yes | true | yes |" in text


def test_rows_of_equal_columns_are_one_table():
    text = markdown.render(json.loads(result().to_json()))
    assert text.count("p50 ms") == 1


def test_prints_files(tmp_path, capsys):
    file = tmp_path / "x.json"
    file.write_text(result().to_json())
    markdown.main([str(file), str(file)])
    assert capsys.readouterr().out.count("`memsvc bench x`") == 2

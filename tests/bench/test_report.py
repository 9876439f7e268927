"""The form that every benchmark reports in."""

import json
import math

import numpy as np
from memsvc_bench.report import Check, Result, describe_machine, render
from rich.console import Console


def result(**figures) -> Result:
    return Result(machine=describe_machine(), command="memsvc bench it", figures=figures)


def test_checks_hold_when_the_value_reaches_the_target():
    checks = [
        Check.at_least("recall", 0.79, 0.79),
        Check.at_least("recall", 0.789, 0.79),
        Check.at_least("recall", math.nan, 0.79),
        Check.at_most("p99_ms", 50.0, 50.0),
        Check.at_most("p99_ms", 50.1, 50.0),
        Check.at_most("p99_ms", math.nan, 50.0),
        Check.holds("same", True),
        Check.holds("same", False),
    ]
    assert [check.ok for check in checks] == [True, False, False, True, False, False, True, False]
    assert checks[0].target == ">= 0.79"


def test_a_result_is_ok_only_if_every_check_is():
    good, bad = Check.at_least("a", 1, 1), Check.at_least("b", 0, 1)
    assert Result(machine={}, command="c", figures={}, checks=[good]).ok
    assert not Result(machine={}, command="c", figures={}, checks=[good, bad]).ok


def test_json_is_one_object_of_the_agreed_shape_whatever_the_figures_are_made_of():
    check = Check.at_most("p99", np.float32(0.5), np.float64(1.0))
    figures = {"a": np.int64(3), "b": math.inf, "rows": {"x": {"@5": np.float64(0.5)}}, "list": [1, math.nan]}
    text = Result(machine={"cores": 2}, command="memsvc bench it", figures=figures, checks=[check]).to_json()
    assert "\n" not in text
    assert json.loads(text) == {
        "machine": {"cores": 2},
        "command": "memsvc bench it",
        "figures": {"a": 3, "b": None, "rows": {"x": {"@5": 0.5}}, "list": [1, None]},
        "checks": [{"name": "p99", "value": 0.5, "target": "<= 1", "ok": True}],
    }


def test_the_machine_is_described_without_naming_it(tmp_path):
    cpu = tmp_path / "cpuinfo"
    cpu.write_text(
        "processor\t: 0\nmodel name\t: Fast CPU\nflags\t\t: fpu avx2 avx512f\n\nprocessor\t: 1\nmodel name\t: Other\n"
    )
    machine = describe_machine(cpu_info=cpu, cores=lambda: 2)
    assert (machine["cpu"], machine["cpu_flags"], machine["cores"]) == ("Fast CPU", ["avx2", "avx512f"], 2)
    assert {"memory_gib", "system", "python", "versions"} < set(machine)
    assert describe_machine(cpu_info=tmp_path / "none")["cpu"]


def test_rows_of_one_shape_are_shown_as_one_table():
    console = Console(width=120)
    with console.capture() as capture:
        console.print(
            render(
                result(
                    questions=1996,
                    share=0.12345,
                    cosine={"@5": 0.37, "@10": 0.472},
                    service={"@5": 0.68, "@10": 0.79},
                    by_category={"n": 12, "cosine": 0.4},
                )
            )
        )
    lines = [" ".join(line.split()) for line in capture.get().splitlines()]
    assert {"questions 1,996", "share 0.1235", "@5 @10", "cosine 0.37 0.472", "service 0.68 0.79"} <= set(lines)
    assert lines.index("n cosine") > lines.index("service 0.68 0.79")


def test_a_failed_check_shows():
    console = Console(width=120)
    with console.capture() as capture:
        console.print(render(Result(machine={}, command="c", figures={}, checks=[Check.at_least("@10", 0.5, 0.79)])))
    assert "FAILED" in capture.get()

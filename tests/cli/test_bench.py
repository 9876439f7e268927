"""`memsvc bench`: what is printed, and the exit code."""

import pytest
import typer
from memsvc_bench.report import Check, Result

from memsvc.cli.connection import connect
from memsvc.cli.publish import publish
from memsvc.cli.target import Server


def run(value: float) -> Result:
    return Result(machine={"cpu": "x"}, command="c", figures={"at": value}, checks=[Check.at_least("at", value, 0.5)])


@pytest.mark.parametrize(("value", "code"), [(0.5, 0), (0.4, 1)])
@pytest.mark.parametrize("as_json", [True, False])
def test_a_benchmark_succeeds_only_if_its_checks_hold(capsys, value, code, as_json):
    with pytest.raises(typer.Exit) as end:
        publish(lambda: run(value), as_json=as_json)
    assert end.value.exit_code == code
    assert f"{value}" in capsys.readouterr().out


def test_a_benchmark_that_cannot_run_says_why(capsys):
    def broken() -> Result:
        raise ValueError("the file has no conversation conv-99")

    with pytest.raises(typer.Exit) as end:
        publish(broken, as_json=False)
    assert end.value.exit_code == 1
    assert capsys.readouterr().err == "error: the file has no conversation conv-99\n"


def test_what_was_said_already_is_not_said_again(capsys):
    def unreachable() -> Result:
        with connect(Server("127.0.0.1:9")) as client:
            client.stats("ada")
        raise AssertionError

    with pytest.raises(typer.Exit) as end:
        publish(unreachable, as_json=False)
    assert end.value.exit_code == 3
    assert capsys.readouterr().err.count("error:") == 1


def test_a_missing_data_file_is_said(memsvc):
    ran = memsvc("bench", "locomo", "--data", "none.json")
    assert ran.code == 2
    assert "none.json" in ran.err

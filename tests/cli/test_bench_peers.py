"""What the benchmarks of peers and of growth are told."""

import pytest
import typer

from memsvc.cli.bench_peers import NONE, _numbers


def test_numbers_stand_with_commas_between():
    assert _numbers("1000, 10", "--entries") == (1000, 10)
    assert _numbers(NONE, "--depths") == ()


@pytest.mark.parametrize("value", ["", "1,,2", "0", "-1", "1.5", "x", "²"])
def test_anything_else_is_refused_by_the_options_name(value):
    with pytest.raises(typer.BadParameter) as refused:
        _numbers(value, "--entries")
    assert refused.value.param_hint == "--entries"


def test_a_peer_that_there_is_not_is_named(memsvc, tmp_path):
    (tmp_path / "locomo.json").write_text("[]")
    ran = memsvc("bench", "peers", "--data", str(tmp_path / "locomo.json"), "--peer", "oracle")
    assert ran.code == 1
    assert "no peer 'oracle'" in ran.err
